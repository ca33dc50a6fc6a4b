"""Files of mined negatives: the hard negatives for the queries of one split, in the form of BEIR judgments.

    query-id<TAB>corpus-id<TAB>score      the header
    3<TAB>14717500<TAB>0                  the score is 0: not relevant

A collection has at most one for each split: `negatives/<split>.tsv` in its BEIR folder, or the one that its
declaration names. `seqio_tasks.negatives` writes them, `ranking_rows` reads them in place of a first stage.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqio_tasks.base import DataError, replacing
from seqio_tasks.sources.common import tsv_rows

COLUMNS = ("query-id", "corpus-id", "score")


@dataclass(frozen=True)
class Mined:
    """A file of negatives: query id -> document id -> line."""

    path: Path
    lines: Mapping[str, Mapping[str, int]]

    def of(self, query_id: str, relevant: Container[str], corpus: Container[str], prefix: str) -> list[str]:
        """The negatives of a query, in the order of the file, without the prefix of their forum.

        Args:
          query_id: with the prefix.
          relevant: the documents that are judged relevant; without it, as below.
          corpus: the documents that there are.
          prefix: of the forum, "" in most collections.

        Raises:
          DataError: a negative is judged relevant, or is not in the corpus.
        """
        found = []
        for name, line in self.lines.get(query_id, {}).items():
            doc_id = name.removeprefix(prefix)
            if doc_id in relevant:
                what = f"document {name!r} is judged relevant to query {query_id!r}"
                raise DataError(what, path=self.path, line=line, todo="mine the negatives again")
            if not name.startswith(prefix) or doc_id not in corpus:
                what = f"document {name!r}, a negative of query {query_id!r}, is not in the corpus"
                raise DataError(what, path=self.path, line=line, todo="use the file with its own corpus")
            found.append(doc_id)
        return found

    def check_queries(self, known: Container[str]) -> None:
        """Refuse a query that the collection does not have.

        Raises:
          DataError: there is one.
        """
        for query_id, negatives in self.lines.items():
            if query_id not in known:
                what = f"query {query_id!r} is not in the collection"
                line = min(negatives.values())
                raise DataError(what, path=self.path, line=line, todo="use the file of this collection")


def read_mined(path: Path) -> Mined:
    """The negatives of a file.

    Raises:
      DataError: a line that is no negative, a line that is there twice, or none at all.
    """
    found: dict[str, dict[str, int]] = {}
    for number, cells in tsv_rows(path, COLUMNS):
        query_id, doc_id, score = (cells[name] for name in COLUMNS)
        if not query_id or not doc_id:
            raise DataError("empty query or document id", path=path, line=number, todo="check the line")
        if score != "0":
            todo = "leave out what is not a negative"
            raise DataError(f"the score is {score!r:.40}, not 0", path=path, line=number, todo=todo)
        first = found.setdefault(query_id, {}).setdefault(doc_id, number)
        if first != number:
            what = f"document {doc_id!r} of query {query_id!r} is also in line {first}"
            raise DataError(what, path=path, line=number, todo="keep one of the two")
    if not found:
        raise DataError("no negative in the file", path=path, todo="remove it, or mine with other rules")
    return Mined(path, found)


def text_of(negatives: Mapping[str, Sequence[str]]) -> str:
    """The content of a file of negatives.

    Raises:
      DataError: an id that such a file cannot hold.

    >>> text_of({"q1": ["d2", "d1"], "q2": []})
    'query-id\\tcorpus-id\\tscore\\nq1\\td2\\t0\\nq1\\td1\\t0\\n'
    """
    rows = [COLUMNS, *((query, doc, "0") for query, found in negatives.items() for doc in found)]
    for row in rows:
        for cell in row:
            if not cell or cell.strip() != cell or any(mark in cell for mark in "\t\r\n"):
                what = f"the id {cell!r} is empty, begins or ends with a blank, or has a tab"
                raise DataError(what, todo="give the document or query another id")
    return "".join("\t".join(row) + "\n" for row in rows)


def write_mined(path: Path, negatives: Mapping[str, Sequence[str]]) -> bool:
    """Write a file of negatives; False if it is there already, with the same content.

    Raises:
      DataError: the file is there with another content, or an id cannot be written.
    """
    content = text_of(negatives).encode()
    if path.exists():
        if path.read_bytes() == content:
            return False
        raise DataError("there are other negatives in this file", path=path, todo="remove it first")
    with replacing(path) as partial:
        partial.write_bytes(content)
    return True
