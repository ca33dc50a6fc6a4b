"""Questions that clarify a request: MIMICS-Duo (options), ClariQ-FKw and RaoCQ (one question).

Task2-QualityLabelling.tsv   query, question, option_1..5, Quality_Option1..5, and empty trailing columns
ClariQ-FKw.tsv.train, .dev   (number), topic_id, initial_request, facet_desc, question
<site>/post_data.tsv         postid, title, post                     tokenised, lower case
<site>/qa_data.tsv           postid, q1..q10, a1..a10                q1 was asked about the post itself
<site>/human_annotations     davit_unix_setno_1,47830,5,0 5 6,2<TAB>the same of a second annotator
                             (annotator, site and set; post; best question, from 0; valid ones; confidence)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import Row, SourceReport, find_file, lines, tsv_rows
from seqio_tasks.sources.splits import check_split, group_key, select, select_official

NO_GOOD_OPTION = "no option has a quality of 4 or 5"
NO_POST = "annotated post that is not in the data files"
SITES = ("askubuntu.com", "superuser.com", "unix.stackexchange.com")

_QUESTIONS = tuple(f"q{number}" for number in range(1, 11))


def read_mimics_duo(path: Path, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, query, clarification: list of options of quality 4 or 5}.

    The file has 21 columns, the last eight of them unnamed and empty; one line has only 13. Panes without a
    good option are left out and counted: 120 of 1,034 in the official file.
    """
    rows: list[Row] = []
    required = ("query", "option_1", "Quality_Option1")
    for number, cells in tsv_rows(path, required, complete=True):
        options = []
        for index in range(1, 6):
            option, quality = cells.get(f"option_{index}", ""), cells.get(f"Quality_Option{index}", "")
            if quality not in (("1", "2", "3", "4", "5") if option else ("",)):
                raise DataError(
                    f"option {index} is {option!r} with quality {quality!r}",
                    path=path,
                    line=number,
                    todo="use the official Task2-QualityLabelling.tsv",
                )
            if quality in ("4", "5"):
                options.append(option)
        if not cells["query"] or not cells["option_1"]:
            raise DataError("empty query or option 1", path=path, line=number, todo="download the file again")
        if options:
            rows.append(
                {"example_id": f"mimics_duo/{number - 1}", "query": cells["query"], "clarification": options}
            )
        elif report is not None:
            report[NO_GOOD_OPTION] += 1
    return rows


def mimics_duo(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """MIMICS-Duo: query -> options of a clarification pane. The panes of a query stay together."""
    path = find_file(
        raw_dir,
        "mimics_duo",
        ("Task2-QualityLabelling.tsv", "**/Task2-QualityLabelling.tsv"),
        "MIMICS-Duo file",
    )
    rows = read_mimics_duo(path, report if split == "train" else None)
    yield from select(rows, [group_key(row["query"]) for row in rows], split, report)


def read_clariq_fkw(path: Path, name: str) -> list[Row]:
    """Rows {example_id, title, clarification, references}.

    A request has about nine clarifying questions, one per facet, and the prompt does not say which facet is
    meant: all questions of the request in this file are references.
    """
    rows: list[Row] = []
    asked: dict[str, list[str]] = {}
    for number, cells in tsv_rows(path, ("topic_id", "initial_request", "question")):
        request, question = cells["initial_request"], cells["question"]
        if not request or not question:
            raise DataError(
                "empty request or question", path=path, line=number, todo="download the file again"
            )
        references = asked.setdefault(group_key(request), [])
        if question not in references:
            references.append(question)
        rows.append(
            {
                "example_id": f"clariq_fkw/{name}/{number - 1}",
                "title": request,
                "clarification": question,
                "references": references,
            }
        )
    return rows


def clariq_fkw(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """ClariQ-FKw: the official dev set is the test set here, as there is no other."""
    check_split(split)

    def read(part: str) -> list[Row]:
        names = (f"ClariQ-FKw.tsv.{part}", f"**/ClariQ-FKw.tsv.{part}")
        return read_clariq_fkw(find_file(raw_dir, "clariq_fkw", names, f"ClariQ-FKw {part} file"), part)

    test = read("dev")
    if split == "test":
        yield from test
        return
    train = read("train")

    def key(row: Row) -> str:
        return group_key(row["title"])

    yield from select_official(train, [key(row) for row in train], {key(row) for row in test}, split, report)


class Annotation(NamedTuple):
    """One annotator's judgment of the ten questions of a post."""

    site: str
    post: str
    best: int
    valid: tuple[int, ...]
    confidence: int


def read_annotations(path: Path) -> dict[str, Annotation]:
    """ "site_post" -> the annotation of the more confident of two annotators (in a tie, of the first)."""
    chosen: dict[str, Annotation] = {}
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            found = [_annotation(cell) for cell in text.split("\t")]
        except ValueError as error:
            raise DataError(
                f"not an annotation ({error})", path=path, line=number, todo="download the file again"
            ) from None
        if len({(entry.site, entry.post) for entry in found}) != 1:
            raise DataError(
                "the annotators judge different posts",
                path=path,
                line=number,
                todo="download the file again",
            )
        surest = max(found, key=lambda entry: entry.confidence)  # max() keeps the first of equals
        chosen[f"{surest.site}_{surest.post}"] = surest
    return chosen


def _annotation(cell: str) -> Annotation:
    """One annotator's entry.

    >>> _annotation("davit_unix_setno_1,47830,5, 0 5 6,2")
    Annotation(site='unix', post='47830', best=5, valid=(0, 5, 6), confidence=2)
    """
    name, post, best, valid, confidence = cell.split(",")
    annotation = Annotation(
        name.split("_")[1], post.strip(), int(best), tuple(map(int, valid.split())), int(confidence)
    )
    if not 0 <= annotation.best < len(_QUESTIONS):
        raise ValueError(f"best question {best} of {len(_QUESTIONS)}")
    return annotation


def raocq(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """RaoCQ: rows {example_id, title, description, clarification}, the posts that people annotated (500).

    There is no official split of these posts. The question is the one that the more confident annotator finds
    best, which may have been asked about another post. Any subset of the three sites can be used.
    """
    check_split(split)
    rows: list[Row] = []
    for site in SITES:
        rows += _site_rows(Path(raw_dir), site, report if split == "train" else None)
    if not rows:
        raise MissingData(
            f"no post_data.tsv in folders {', '.join(SITES)} here",
            path=Path(raw_dir) / "raocq",
            todo=f"unpack the official archive into {Path(raw_dir) / 'raocq'}",
        )
    yield from select(rows, [group_key(row["title"]) for row in rows], split, report)


def _site_rows(raw_dir: Path, site: str, report: SourceReport | None) -> list[Row]:
    base = raw_dir / "raocq"
    posts = next(iter(sorted(base.glob(f"**/{site}/post_data.tsv"))), None)
    if posts is None:
        return []
    annotations = read_annotations(find_file(posts.parent, ".", ("human_annotations",), "RaoCQ annotations"))
    chosen: dict[str, tuple[str, str]] = {}
    for _, cells in tsv_rows(posts, ("postid", "title", "post")):
        if cells["postid"] in annotations:
            chosen[cells["postid"]] = cells["title"], cells["post"]
    rows: list[Row] = []
    path = find_file(posts.parent, ".", ("qa_data.tsv",), "RaoCQ question file")
    for number, cells in tsv_rows(path, ("postid", *_QUESTIONS)):
        post = cells["postid"]
        if post not in annotations or post not in chosen:
            continue
        title, description = chosen.pop(post)
        question = cells[_QUESTIONS[annotations[post].best]]
        if not title or not description or not question:
            raise DataError(
                f"post {post} has an empty title, text or chosen question",
                path=path,
                line=number,
                todo="download the archive again",
            )
        row = {"title": title, "description": description, "clarification": question}
        rows.append({"example_id": f"raocq/{post}", **row})
    if report is not None and (missing := len(annotations) - len(rows)):
        report[NO_POST] += missing
    return rows
