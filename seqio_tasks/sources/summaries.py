"""Documents with summaries: XSum, CNN/DailyMail, WikiSum, Multi-News.

    XSum        bbc-summary-data/<id>.summary, sections headed [SN]URL[SN] ... [SN]FIRST-SENTENCE[SN] (the
                summary) and [SN]RESTBODY[SN] (the article), and the official split file (JSON lists of ids)
    CNN/DM      cnn/stories/<sha1 of the url>.story and dailymail/stories/: the article, then "@highlight"
                before each line of the summary; all_{train,val,test}.txt list the urls
    WikiSum     WikiSumDataset.jsonl: {"url", "title", "summary", "article", "step_headers", "fold"}
    Multi-News  {train,val,test}.src.cleaned and .tgt, line by line: articles between "|||||", line ends as
                the word NEWLINE_CHAR, summaries that begin with a dash

All have official splits. JSON lines with the Hugging Face columns ({train,validation,test}.jsonl) are read
too. TFDS has builders for three of them, but they have no more than these files.

The sets are large and training uses 10,000 documents: they are chosen by a hash of their ids before they are
read, and those whose article is also held out are left out and counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import (
    Row,
    SourceReport,
    find_file,
    find_files,
    json_file,
    json_lines,
    lines,
    one_line,
)
from seqio_tasks.sources.splits import (
    BEYOND_CAP,
    MOST_TRAINING_ROWS,
    SPLITS,
    check_split,
    group_key,
    stable_hash,
)

ARTICLE_HELD_OUT = "article is also in the official validation or test set"
EMPTY = "no article or no summary"
EMPTY_DOCUMENT = "empty document among the articles of a cluster"
_ENDS = (".", "!", "?", "...", "'", "`", '"', "\u2019", "\u201d", ")")  # sentence endings
_SECTION = re.compile(r"^\[SN\]([A-Z-]+)\[SN\]$", re.MULTILINE)
_PASSAGE = re.compile(r"^Passage \d+:\n", re.MULTILINE)
_FOLDS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


class Documents(Protocol):
    """One dataset's files."""

    def ids(self, split: str) -> list[str]: ...

    def rows(
        self, split: str, wanted: Collection[str] | None, report: SourceReport | None
    ) -> Iterator[Row]: ...


def article_key(row: Row) -> int:
    """A hash that is equal for articles that differ only in case, punctuation and spacing."""
    article = row["article"]
    return stable_hash(group_key(article if isinstance(article, str) else " ".join(article)))


def select_documents(source: Documents, split: str, report: SourceReport | None) -> Iterator[Row]:
    """Rows of one official split, in file order; no article of a later split is in an earlier one."""
    check_split(split)
    held_out: set[int] = set()
    for later in SPLITS[SPLITS.index(split) + 1 :]:
        held_out.update(map(article_key, source.rows(later, None, None)))
    wanted: Collection[str] | None = None
    if split == "train":
        order = sorted(source.ids("train"), key=lambda name: (stable_hash(name), name))
        if len(order) > MOST_TRAINING_ROWS:
            wanted = set(order[:MOST_TRAINING_ROWS])
            if report is not None:
                report[BEYOND_CAP] += len(order) - len(wanted)
    for row in source.rows(split, wanted, report):
        if article_key(row) not in held_out:
            yield row
        elif report is not None:
            report[ARTICLE_HELD_OUT] += 1


def _row(
    example_id: str, article: str | list[str], summary: str, report: SourceReport | None
) -> Iterator[Row]:
    """The row, unless one of its texts is empty."""
    if article and summary:
        yield {"example_id": example_id, "article": article, "summary": summary}
    elif report is not None:
        report[EMPTY] += 1


class _JsonLines:
    """{train,validation,test}.jsonl, or one file whose rows name their fold."""

    def __init__(self, folder: Path, dataset: str, article: str, summary: str, single: str = "") -> None:
        self.folder, self.dataset, self.single = folder, dataset, single
        self.columns = (article, summary)

    def _records(self, split: str) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        names = ("validation", "val", "dev") if split == "validation" else (split,)
        what = f"{self.dataset} {split} file"
        patterns = tuple(f"{name}.jsonl" for name in names)
        if self.single:
            try:
                path = find_file(
                    self.folder.parent, self.folder.name, (self.single, f"*/{self.single}"), what
                )
            except MissingData:
                pass
            else:
                for number, record in json_lines(path):
                    if record.get("fold") not in _FOLDS:
                        raise DataError(
                            f"the fold is {record.get('fold')!r}, expected one of {', '.join(_FOLDS)}",
                            path=path,
                            line=number,
                            todo="use the official file",
                        )
                    if _FOLDS[record["fold"]] == split:
                        yield path, number, record
                return
        path = find_file(self.folder.parent, self.folder.name, patterns, what)
        yield from ((path, number, record) for number, record in json_lines(path))

    def ids(self, split: str) -> list[str]:
        return [self._id(split, number, record) for _, number, record in self._records(split)]

    def _id(self, split: str, number: int, record: dict[str, Any]) -> str:
        return f"{self.dataset}/{split}/{record.get('id') or number}"

    def rows(self, split: str, wanted: Collection[str] | None, report: SourceReport | None) -> Iterator[Row]:
        for path, number, record in self._records(split):
            example_id = self._id(split, number, record)
            if wanted is not None and example_id not in wanted:
                continue
            article, summary = (record.get(column) for column in self.columns)
            if not isinstance(article, str) or not isinstance(summary, str):
                raise DataError(
                    f"{' and '.join(self.columns)} expected as text",
                    path=path,
                    line=number,
                    todo="use the official rows",
                )
            # Multi-sentence summaries may have one line per sentence: the lines are kept.
            summary_lines = "\n".join(filter(None, map(one_line, summary.splitlines())))
            yield from _row(example_id, one_line(article), summary_lines, report)


def read_bbc(path: Path) -> tuple[str, str]:
    """(article, summary) of one .summary file of XSum."""
    pieces = _SECTION.split(path.read_text(encoding="utf-8"))
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if missing := [name for name in ("FIRST-SENTENCE", "RESTBODY") if name not in sections]:
        raise DataError(
            f"no section {' and '.join(missing)}", path=path, todo="unpack the official archive again"
        )
    return one_line(sections["RESTBODY"]), one_line(sections["FIRST-SENTENCE"])


class _Xsum:
    def __init__(self, raw_dir: Path) -> None:
        pattern = ("XSum-TRAINING-DEV-TEST-SPLIT*.json",)
        self.path = find_file(raw_dir, "xsum", pattern, "XSum split file or JSON lines")
        try:
            self.splits: dict[str, list[str]] = json_file(self.path)
            if missing := [name for name in SPLITS if not isinstance(self.splits[name], list)]:
                raise KeyError(missing[0])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"not the XSum split file ({type(error).__name__}: {error})",
                path=self.path,
                todo="download it again",
            ) from None

    def ids(self, split: str) -> list[str]:
        return self.splits[split]

    def rows(self, split: str, wanted: Collection[str] | None, report: SourceReport | None) -> Iterator[Row]:
        for name in self.splits[split]:
            if wanted is not None and name not in wanted:
                continue
            path = self.path.parent / "bbc-summary-data" / f"{name}.summary"
            if not path.is_file():
                raise MissingData(
                    f"document {name} of the split file is not here",
                    path=path,
                    todo=f"unpack XSUM-EMNLP18-Summary-Data-Original.tar.gz into {self.path.parent}",
                )
            yield from _row(f"xsum/{name}", *read_bbc(path), report)


def xsum(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, article, summary}: a news article and its introductory sentence."""
    folder = Path(raw_dir) / "xsum"
    source: Documents = _JsonLines(folder, "xsum", "document", "summary")
    if not (folder / "test.jsonl").is_file():
        source = _Xsum(Path(raw_dir))
    yield from select_documents(source, split, report)


def ended(text: str) -> str:
    """Append a full stop, which headlines and captions lack.

    >>> ended("Storm hits the coast"), ended('He said "no"')
    ('Storm hits the coast.', 'He said "no"')
    """
    return text if not text or text.endswith(_ENDS) else f"{text}."


def read_story(path: Path) -> tuple[str, str]:
    """(article on one line, summary with one line per highlight) of a .story file."""
    article: list[str] = []
    highlights: list[str] = []
    marked = False
    for _, line in lines(path):
        text = one_line(line)
        if text == "@highlight":
            marked = True
        elif text:
            # A highlight is one paragraph; what follows without a mark goes on with the article's rule.
            (highlights if marked else article).append(ended(text))
    return " ".join(article), "\n".join(highlights)


class _Stories:
    _FOLDERS = ("cnn/stories", "dailymail/stories", "cnn_stories", "dailymail_stories")
    _LISTS: ClassVar = {"train": "all_train.txt", "validation": "all_val.txt", "test": "all_test.txt"}

    def __init__(self, raw_dir: Path) -> None:
        self.raw_dir, self.folder = raw_dir, raw_dir / "cnn_dm"

    def ids(self, split: str) -> list[str]:
        names = (self._LISTS[split], f"url_lists/{self._LISTS[split]}")
        path = find_file(self.raw_dir, "cnn_dm", names, f"CNN/DailyMail url list {self._LISTS[split]}")
        urls = [text.strip() for _, text in lines(path) if text.strip()]
        return [hashlib.sha1(url.encode("utf-8"), usedforsecurity=False).hexdigest() for url in urls]

    def rows(self, split: str, wanted: Collection[str] | None, report: SourceReport | None) -> Iterator[Row]:
        for name in self.ids(split):
            if wanted is not None and name not in wanted:
                continue
            paths = (self.folder / folder / f"{name}.story" for folder in self._FOLDERS)
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise MissingData(
                    f"story {name} of the {split} list is in none of {', '.join(self._FOLDERS)}",
                    path=self.folder,
                    todo=f"unpack cnn_stories.tgz and dailymail_stories.tgz into {self.folder}",
                )
            yield from _row(f"cnn_dm/{name}", *read_story(path), report)


def cnn_dm(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, article, summary}: a news article and its highlights, one per line."""
    folder = Path(raw_dir) / "cnn_dm"
    source: Documents = _JsonLines(folder, "cnn_dm", "article", "highlights")
    if not (folder / "test.jsonl").is_file():
        source = _Stories(Path(raw_dir))
    yield from select_documents(source, split, report)


def wikisum(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, article, summary}: a how-to guide and its summary paragraph (Cohen et al., 2021)."""
    folder = Path(raw_dir) / "wikisum"
    source = _JsonLines(folder, "wikisum", "article", "summary", single="WikiSumDataset.jsonl")
    yield from select_documents(source, split, report)


def cluster(text: str, report: SourceReport | None = None) -> list[str]:
    """The articles of a Multi-News cluster, each on one line, in the official or the LongBench layout.

    >>> cluster("One NEWLINE_CHAR NEWLINE_CHAR more. ||||| Two. |||||")
    ['One more.', 'Two.']
    >>> cluster("Passage 1:\\nOne.\\nPassage 2:\\nTwo.\\n")
    ['One.', 'Two.']
    """
    pieces = _PASSAGE.split(text)[1:] if text.startswith("Passage 1:") else text.split("|||||")
    articles = [one_line(piece.replace("NEWLINE_CHAR", " ")) for piece in pieces]
    if not articles[-1]:
        articles.pop()  # a separator at the end does not begin another document
    if report is not None and "" in articles:
        report[EMPTY_DOCUMENT] += articles.count("")
    return [article for article in articles if article]


def cluster_summary(text: str) -> str:
    """The target without its leading dash."""
    return one_line(text.replace("NEWLINE_CHAR", " ")).lstrip("\u2013\u2014 ")


class _MultiNews:
    _NAMES: ClassVar = {"train": "train", "validation": "val", "test": "test"}

    def __init__(self, raw_dir: Path) -> None:
        self.raw_dir = raw_dir

    def _paths(self, split: str) -> tuple[Path, Path]:
        found = []
        for ending, what in (("src.cleaned", "articles"), ("tgt", "summaries")):
            name = f"{self._NAMES[split]}.{ending}"
            found.append(
                find_files(self.raw_dir, "multi_news", (name, f"data/{name}"), f"Multi-News {what}")[0]
            )
        return found[0], found[1]

    def ids(self, split: str) -> list[str]:
        return [f"multi_news/{split}/{number}" for number, _ in lines(self._paths(split)[1])]

    def rows(self, split: str, wanted: Collection[str] | None, report: SourceReport | None) -> Iterator[Row]:
        articles, summaries = self._paths(split)
        try:
            for (number, text), (_, summary) in zip(lines(articles), lines(summaries), strict=True):
                example_id = f"multi_news/{split}/{number}"
                if wanted is None or example_id in wanted:
                    yield from _row(example_id, cluster(text, report), cluster_summary(summary), report)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"not as many lines as {summaries.name}", path=articles, todo="download both files again"
            ) from None


def read_longbench(path: Path, report: SourceReport | None = None) -> list[Row]:
    """Rows of the LongBench copy of 200 test clusters: {"context": "Passage 1:...", "answers": [summary]}."""
    rows: list[Row] = []
    for number, record in json_lines(path):
        try:
            articles = cluster(record["context"], report)
            summary = cluster_summary(record["answers"][0])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(
                f"not a LongBench record ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use LongBench's multi_news.jsonl",
            ) from None
        rows += _row(f"multi_news/longbench/{number}", articles, summary, report)
    return rows


def multi_news(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, article: list of articles, summary}.

    If only LongBench's multi_news.jsonl is available, its test clusters are the test split.
    """
    folder = Path(raw_dir) / "multi_news"
    official = any(folder.glob("test.src*")) or any(folder.glob("data/test.src*"))
    if not official and split == "test" and (folder / "multi_news.jsonl").is_file():
        yield from read_longbench(folder / "multi_news.jsonl", report)
        return
    yield from select_documents(_MultiNews(Path(raw_dir)), split, report)
