"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv.

    corpus.jsonl   {"_id": "MED-10", "title": "...", "text": "...", "metadata": {...}}
    queries.jsonl  {"_id": "PLAIN-3", "text": "...", "metadata": {...}}
    qrels/*.tsv    query-id<TAB>corpus-id<TAB>score, with a header line and CRLF line ends

The official zip, unpacked, is such a folder. Grades are 0 (judged, not relevant) or above. The original
format of MS MARCO is read as well (`read_queries`, `read_judgments` and `corpus_index` look for both):

    collection.tsv  pid<TAB>text          queries.*.tsv  qid<TAB>text          qrels.*.tsv  qid 0 pid 1

Each of these files may be gzipped, with .gz behind its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seqio_tasks.base import DataError, MissingData, whole_number
from seqio_tasks.sources.common import Row, SourceReport, json_lines, lines, one_line, plain_or_gz, tsv_rows
from seqio_tasks.sources.splits import (
    IN_OFFICIAL_DEV,
    IN_OFFICIAL_TEST,
    check_split,
    group_key,
    select,
    select_official,
    select_three,
)

__all__ = [
    "IN_OFFICIAL_DEV", "IN_OFFICIAL_TEST", "QUERY_WITHOUT_TEXT", "Document", "Part", "Qrels", "SplitFiles",
    "beir_folder", "iterate_corpus", "read_corpus", "read_judgments", "read_qrels", "read_qrels_file",
    "read_queries", "split_qrels",
]  # fmt: skip

T = TypeVar("T")

Qrels = dict[str, dict[str, int]]
QUERY_WITHOUT_TEXT = "judged query without text"
CORPUS_FILES = ("corpus.jsonl", "collection.tsv", "corpus.jsonl.gz", "collection.tsv.gz")


class Document(NamedTuple):
    """Title (may be empty) and text of one document, each on one line."""

    title: str
    text: str

    def joined(self) -> str:
        """Title and text as one string, as searched by a first stage."""
        return f"{self.title} {self.text}".strip()


class Part(NamedTuple):
    """One BEIR folder of a collection; `prefix` distinguishes the ids of its parts ("android/")."""

    folder: Path
    prefix: str = ""

    def own(self, by_query: Mapping[str, Mapping[str, T]]) -> dict[str, dict[str, T]]:
        """Judgments or a run of this folder alone, with ids without its prefix.

        >>> Part(Path("unix"), "unix/").own({"unix/1": {"unix/7": 2}, "tex/1": {"tex/7": 1}})
        {'1': {'7': 2}}
        """
        return {
            query_id.removeprefix(self.prefix): {
                doc_id.removeprefix(self.prefix): value for doc_id, value in values.items()
            }
            for query_id, values in by_query.items()
            if query_id.startswith(self.prefix)
        }


class SplitFiles(NamedTuple):
    """The qrels file (its name without .tsv) of each split.

    train:      "" if there is none: the test queries are divided by the rule of `splits`
    validation: "" if there is none: validation is taken from the training queries by that rule
    beside:     a further file, if it exists, whose queries are not trained on either
    """

    train: str = "train"
    validation: str = "dev"
    test: str = "test"
    beside: str = ""


def beir_folder(raw_dir: Path | str, name: str, unzipped: str = "") -> Path:
    """``raw_dir/beir_<name>``, or the folder in it that the official zip (named `unzipped`) creates."""
    outer, unzipped = Path(raw_dir) / f"beir_{name}", unzipped or name
    for folder in (outer, outer / unzipped):
        if any((folder / corpus).is_file() for corpus in CORPUS_FILES):
            return folder
    raise MissingData("no corpus.jsonl here", path=outer, todo=todo_unpack(outer, unzipped))


def todo_unpack(folder: Path, unzipped: str) -> str:
    """What to do when a collection is missing: unpack its zip, which may be there already."""
    name = f"{unzipped}.zip"
    if not (folder / name).is_file():
        return f"unpack the official BEIR zip {name} into {folder}"
    return f"{name} is there: unpack it (python -m seqio_tasks.download {folder.name} does)"


def document(record: dict[str, Any], path: Path, line: int | None = None) -> tuple[str, Document]:
    """(doc_id, Document) of one object of corpus.jsonl."""
    doc_id = _text(record, "_id", path, line)
    if not doc_id:
        raise DataError("empty _id", path=path, line=line, todo="every document needs its own _id")
    title = "" if record.get("title") is None else _text(record, "title", path, line)
    text = _text(record, "text", path, line)
    return doc_id, Document(one_line(title), one_line(text))


def iterate_corpus(folder: Path | str) -> Iterator[tuple[str, Document]]:
    """(doc_id, Document) in file order, without loading the corpus into memory."""
    for doc_id, found, _, _ in _documents(folder):
        yield doc_id, found


def _documents(folder: Path | str) -> Iterator[tuple[str, Document, Path, int]]:
    """(doc_id, Document, file, line)."""
    path = _existing(folder, "corpus.jsonl")
    for number, record in json_lines(path):
        yield *document(record, path, number), path, number


def empty_corpus(path: Path) -> DataError:
    """The error of a corpus file without a document."""
    return DataError("the corpus is empty", path=path, todo="unpack the official BEIR zip again")


def read_corpus(folder: Path | str) -> dict[str, Document]:
    """doc_id -> Document(title, text), in file order; `corpus_index.Corpus` is the same on disk."""
    corpus: dict[str, Document] = {}
    places: dict[str, int] = {}
    for doc_id, found, path, line in _documents(folder):
        if doc_id in corpus:
            raise DataError(
                f"document {doc_id!r} appears twice, first in line {places[doc_id]}",
                path=path,
                line=line,
                todo="keep one of the two",
            )
        corpus[doc_id], places[doc_id] = found, line
    if not corpus:
        raise empty_corpus(_existing(folder, "corpus.jsonl"))
    return corpus


def read_queries(folder: Path | str) -> dict[str, str]:
    """query id -> query text on one line, in file order (all splits together, as in BEIR)."""
    queries: dict[str, str] = {}
    for query_id, text, _, path, number in _queries(folder):
        if queries.get(query_id, text) != text or (query_id in queries and ".jsonl" in path.suffixes):
            raise DataError(
                f"query {query_id!r} appears twice", path=path, line=number, todo="keep one of the two"
            )
        queries[query_id] = text
    return queries


def query_tables(folder: Path | str) -> list[Path]:
    """queries.*.tsv, MS MARCO's form; of a file and its gzipped copy the plain one."""
    tables = [*Path(folder).glob("queries.*.tsv"), *Path(folder).glob("queries.*.tsv.gz")]
    return sorted({plain_or_gz(path.with_name(path.name.removesuffix(".gz"))) for path in tables})


def _queries(folder: Path | str) -> Iterator[tuple[str, str, dict[str, Any], Path, int]]:
    """(query id, text, metadata, file, line) of queries.jsonl, or of queries.*.tsv where that is missing."""
    tables = query_tables(folder)
    if tables and not plain_or_gz(Path(folder) / "queries.jsonl").is_file():
        for path in tables:
            for number, text in lines(path):
                query_id, tab, query = text.partition("\t")
                if not tab or not query_id:
                    raise DataError("expected qid<TAB>text", path=path, line=number, todo="check the line")
                yield query_id, one_line(query), {}, path, number
        return
    path = _existing(folder, "queries.jsonl")
    for number, record in json_lines(path):
        metadata = record.get("metadata")
        text = one_line(_text(record, "text", path, number))
        yield (
            _text(record, "_id", path, number),
            text,
            metadata if isinstance(metadata, dict) else {},
            path,
            number,
        )


def read_qrels_file(path: Path | str) -> Qrels:
    """query id -> {doc id: grade} of one BEIR qrels file, queries in file order."""
    path = Path(path)
    if not path.is_file():
        raise MissingData("no such qrels file", path=path, todo="unpack the whole BEIR zip, including qrels")
    qrels: Qrels = {}
    for number, cells in tsv_rows(path, ("query-id", "corpus-id", "score")):
        query_id, doc_id, score = cells["query-id"], cells["corpus-id"], cells["score"]
        if not query_id or not doc_id:
            raise DataError("empty query or document id", path=path, line=number, todo="check the line")
        grade = whole_number(score)
        if grade is None:
            raise DataError(
                f"score {score!r:.40} is not a whole number of 32 bits",
                path=path,
                line=number,
                todo="check the line",
            )
        judged = qrels.setdefault(query_id, {})
        if judged.get(doc_id, grade) != grade:
            raise DataError(
                f"query {query_id} and document {doc_id} have grades {judged[doc_id]} and {grade}",
                path=path,
                line=number,
                todo="keep one of the two lines",
            )
        judged[doc_id] = grade
    return qrels


def judgment_file(folder: Path | str, name: str) -> Path:
    """The qrels file with this name: qrels/<name>.tsv, or that of MS MARCO, the small one first."""
    folder = Path(folder)
    names = (f"qrels/{name}.tsv", f"qrels.{name}.small.tsv", f"qrels.{name}.tsv")
    found = (plain_or_gz(folder / file) for file in names)
    return next((path for path in found if path.is_file()), folder / names[0])


def judged_splits(folder: Path | str) -> list[str]:
    """The names of the judgment files of a folder, in either format, as `judgment_file` takes them."""
    folder = Path(folder)
    names = {_stem(path): None for path in sorted((folder / "qrels").glob("[!.]*.tsv*"))}
    for path in sorted(folder.glob("qrels.*.tsv*")):
        names[_stem(path).removeprefix("qrels.").removesuffix(".small")] = None
    return list(names)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".tsv")


def read_judgments(folder: Path | str, name: str) -> Qrels:
    """`read_qrels_file` of a folder's "train", "dev" or "test", in either format."""
    path = judgment_file(folder, name)
    if path.parent.name == "qrels":
        return read_qrels_file(path)
    from seqio_tasks.metrics.trec_files import read_qrels as read_trec_qrels

    return read_trec_qrels(path)


def read_qrels(folder: Path | str, split: str, report: SourceReport | None = None) -> Qrels:
    """query id -> {doc id: grade} of one split: "train", "validation" (also "dev") or "test".

    The official files are used unchanged, with three exceptions: a folder without dev.tsv takes validation
    from the training queries by the rule of `splits`; a query whose text is also in the test set (or, for
    training, in the dev set) is left out and counted, so that no test query is trained on; and at most 10,000
    training queries are kept. A folder without train.tsv has only a test set here; `retrieval_sets` names the
    sets that divide it.
    """
    has_dev = judgment_file(folder, "dev").is_file()
    files = SplitFiles(validation="dev" if has_dev else "")
    return split_qrels((Part(Path(folder)),), files, split, report)


def split_qrels(
    parts: Sequence[Part],
    files: SplitFiles,
    split: str,
    report: SourceReport | None = None,
    *,
    key_field: str = "",
) -> Qrels:
    """The judgments of one split over all parts, with their prefixes before query and document ids.

    key_field: the metadata field by which queries are divided, if it is not their text (two tasks on one
        dataset must have the same split).
    """
    split = "validation" if split == "dev" else split
    check_split(split)
    if split == "test" and files.train:
        return _merged(parts, files.test)
    own = files.train or files.test if split == "train" or not files.validation else files.validation
    keys = {
        part.prefix + query_id: group_key(str(metadata.get(key_field) or text))
        for part in parts
        for query_id, text, metadata, _, _ in _queries(part.folder)
    }

    def read(file: str) -> tuple[list[Row], list[str]]:
        rows: list[Row] = []
        for query_id, judged in _merged(parts, file).items():
            if query_id in keys:
                rows.append({"query_id": query_id, "judged": judged})
            elif report is not None and file == own:
                report[QUERY_WITHOUT_TEXT] += 1
        return rows, [keys[row["query_id"]] for row in rows]

    if not files.train:
        kept = select(*read(files.test), split, report)
    elif files.validation:
        kept = select_three(lambda name: read(getattr(files, name)), split, report)
    else:
        held_out = set(read(files.test)[1])
        if files.beside and all(judgment_file(part.folder, files.beside).is_file() for part in parts):
            held_out |= set(read(files.beside)[1])
        kept = select_official(*read(files.train), held_out, split, report)
    return {row["query_id"]: row["judged"] for row in kept}


def _merged(parts: Sequence[Part], file: str) -> Qrels:
    return {
        prefix + query_id: {prefix + doc_id: grade for doc_id, grade in judged.items()}
        for folder, prefix in parts
        for query_id, judged in read_judgments(folder, file).items()
    }


def _existing(folder: Path | str, name: str) -> Path:
    path = plain_or_gz(Path(folder) / name)
    if not path.is_file():
        raise MissingData("no such file", path=path, todo="unpack the official BEIR zip here")
    return path


def _text(
    record: dict[str, object], field: str, path: Path, line: int | None, default: str | None = None
) -> str:
    value = record.get(field, default)
    if isinstance(value, int) and field == "_id":
        value = str(value)
    if not isinstance(value, str):
        raise DataError(
            f"field {field!r} is {value!r}, expected text", path=path, line=line, todo="check the record"
        )
    return value
