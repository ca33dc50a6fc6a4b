"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv.

    corpus.jsonl   {"_id": "MED-10", "title": "...", "text": "...", "metadata": {...}}
    queries.jsonl  {"_id": "PLAIN-3", "text": "...", "metadata": {...}}
    qrels/*.tsv    query-id<TAB>corpus-id<TAB>score, with a header line and CRLF line ends

The official zip, unpacked, is such a folder. Grades may be 0 (judged, not relevant) and above.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqio_tasks.errors import DataError, MissingData
from seqio_tasks.sources.common import SourceReport, json_lines, one_line, tsv_rows
from seqio_tasks.sources.splits import IN_OFFICIAL_DEV, IN_OFFICIAL_TEST, assign, check_split, group_key

Qrels = dict[str, dict[str, int]]
QUERY_WITHOUT_TEXT = "judged query without text"


class Document(NamedTuple):
    """Title (may be empty) and text of one document, each on one line."""

    title: str
    text: str

    def joined(self) -> str:
        """Title and text as one string, as a first stage searches it."""
        return f"{self.title} {self.text}".strip()


def beir_folder(raw_dir: Path | str, name: str) -> Path:
    """``raw_dir/beir_<name>`` or ``raw_dir/beir_<name>/<name>`` (as the official zip unpacks)."""
    outer = Path(raw_dir) / f"beir_{name}"
    for folder in (outer, outer / name):
        if (folder / "corpus.jsonl").is_file():
            return folder
    raise MissingData(
        "no corpus.jsonl here", path=outer, todo=f"unpack the official BEIR zip {name}.zip into {outer}"
    )


def iterate_corpus(folder: Path | str) -> Iterator[tuple[str, Document]]:
    """(doc_id, Document) in file order, without holding the corpus in memory."""
    path = _existing(folder, "corpus.jsonl")
    for number, record in json_lines(path):
        doc_id = _text(record, "_id", path, number)
        if not doc_id:
            raise DataError("empty _id", path=path, line=number, todo="every document needs its own _id")
        yield (
            doc_id,
            Document(
                one_line(_text(record, "title", path, number, "")),
                one_line(_text(record, "text", path, number)),
            ),
        )


def read_corpus(folder: Path | str) -> dict[str, Document]:
    """doc_id -> Document(title, text), in file order."""
    corpus: dict[str, Document] = {}
    for doc_id, document in iterate_corpus(folder):
        if doc_id in corpus:
            raise DataError(
                f"document {doc_id!r} appears twice",
                path=Path(folder) / "corpus.jsonl",
                todo="keep one of the two",
            )
        corpus[doc_id] = document
    return corpus


def read_queries(folder: Path | str) -> dict[str, str]:
    """query id -> query text on one line, in file order (all splits together, as BEIR ships them)."""
    path = _existing(folder, "queries.jsonl")
    queries: dict[str, str] = {}
    for number, record in json_lines(path):
        query_id = _text(record, "_id", path, number)
        if query_id in queries:
            raise DataError(
                f"query {query_id!r} appears twice", path=path, line=number, todo="keep one of the two"
            )
        queries[query_id] = one_line(_text(record, "text", path, number))
    return queries


def read_qrels_file(path: Path | str) -> Qrels:
    """query id -> {doc id: grade} of one BEIR qrels file, queries in file order."""
    path = Path(path)
    if not path.is_file():
        raise MissingData("no such qrels file", path=path, todo="unpack the whole BEIR zip, qrels included")
    qrels: Qrels = {}
    for number, cells in tsv_rows(path, ("query-id", "corpus-id", "score")):
        query_id, doc_id, score = cells["query-id"], cells["corpus-id"], cells["score"]
        if not query_id or not doc_id:
            raise DataError("empty query or document id", path=path, line=number, todo="check the line")
        try:
            grade = int(score)
        except ValueError:
            raise DataError(
                f"score {score!r} is not a whole number", path=path, line=number, todo="check the line"
            ) from None
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


def read_qrels(folder: Path | str, split: str, report: SourceReport | None = None) -> Qrels:
    """query id -> {doc id: grade} of one split: "train", "validation" (also "dev") or "test".

    The official files are taken as they are, with two exceptions: a folder without dev.tsv gives validation
    from the training queries by the rule of `splits`; and a query whose text is also in the test set (or, for
    training, in the dev set) is left out and counted, so that no test query is trained on. A folder without
    train.tsv has only a test set: its queries are never handed out as training data.
    """
    folder = Path(folder)
    split = "validation" if split == "dev" else split
    check_split(split)
    if split == "test":
        return read_qrels_file(folder / "qrels" / "test.tsv")
    queries = read_queries(folder)
    test = read_qrels_file(folder / "qrels" / "test.tsv")
    has_dev = (folder / "qrels" / "dev.tsv").is_file()
    dev = read_qrels_file(folder / "qrels" / "dev.tsv") if has_dev else {}
    tested = {group_key(queries[query_id]) for query_id in test if query_id in queries}
    validated = {group_key(queries[query_id]) for query_id in dev if query_id in queries}
    pool = dev if has_dev and split == "validation" else read_qrels_file(folder / "qrels" / "train.tsv")
    kept: Qrels = {}
    for query_id, judged in pool.items():
        if query_id not in queries:
            _count(report, QUERY_WITHOUT_TEXT)
        elif query_id in test or group_key(queries[query_id]) in tested:
            _count(report, IN_OFFICIAL_TEST)
        elif split == "train" and (query_id in dev or group_key(queries[query_id]) in validated):
            _count(report, IN_OFFICIAL_DEV)
        else:
            kept[query_id] = judged
    if has_dev:
        return kept
    # The 10,000-row cap of the rule is about rendered rows; a ranking source samples queries itself.
    places = assign([group_key(queries[query_id]) for query_id in kept], official_test=True)
    return {
        query_id: kept[query_id]
        for query_id, place in zip(kept, places, strict=True)
        if (place or "train") == split
    }


def _existing(folder: Path | str, name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        raise MissingData("no such file", path=path, todo="unpack the official BEIR zip here")
    return path


def _text(record: dict[str, object], field: str, path: Path, line: int, default: str | None = None) -> str:
    value = record.get(field, default)
    if isinstance(value, int) and field == "_id":
        value = str(value)
    if not isinstance(value, str):
        raise DataError(
            f"field {field!r} is {value!r}, expected text", path=path, line=line, todo="check the record"
        )
    return value


def _count(report: SourceReport | None, reason: str) -> None:
    if report is not None:
        report[reason] += 1
