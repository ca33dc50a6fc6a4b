"""Judgment files of one's own: TREC and BEIR qrels, or JSON lines such as a click log; and what grades mean.

    {"query": "pearl farming", "url": "doc-17", "clicks": 3}

Lines of JSON have a grade, or are counted: lines of the same query and document are summed, by a field or as
one each. A query without an id gets one from its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError, whole_number
from seqio_tasks.metrics.trec_files import read_qrels
from seqio_tasks.own_data.entries import Entry
from seqio_tasks.sources.beir import Qrels
from seqio_tasks.sources.collection_files import first_of, lines
from seqio_tasks.sources.common import json_lines, one_line
from seqio_tasks.sources.splits import group_key, stable_hash

KEYS = ("files", "query", "query_id", "document", "grade", "clicks")


@dataclass(frozen=True)
class Grades:
    """What is read -> the grade that counts.

    steps: (number, grade), ascending: a number counts as the last step that it reaches, and below all as 0.
    words: the grade of each word.
    """

    steps: tuple[tuple[float, int], ...] = ()
    words: tuple[tuple[str, int], ...] = ()

    def of(self, value: float | str) -> int | None:
        """The grade of a number or word; None if it has none.

        >>> clicks = Grades(((1, 1), (5, 2)))
        >>> [clicks.of(value) for value in (0, 1, 4.5, 5, "good")]
        [0, 1, 1, 2, None]
        >>> Grades().of(3), Grades(words=(("good", 2),)).of("good"), Grades().of(0.5)
        (3, 2, None)
        """
        if self.words:
            return dict(self.words).get(str(value))
        if isinstance(value, str):
            number = whole_number(value)
            return None if number is None else self.of(number)
        if not self.steps:
            return int(value) if float(value).is_integer() and abs(value) < 2**31 else None
        return next((grade for least, grade in reversed(self.steps) if value >= least), 0)


def read_grades(entry: Entry) -> Grades:
    """What the key `grades` of an entry says.

    Raises:
      DataError: a grade that is no whole number, or words and numbers together.
    """
    found = entry.mapping("grades")
    if found is None:
        return Grades()
    for key, grade in found.value.items():
        if isinstance(grade, bool) or not isinstance(grade, int):
            what = f"{found.title}: the grade of {key!r} is {grade!r:.40}"
            raise found.error(key, what, "write a whole number; 0 is not relevant")
    keys = list(found.value)
    if all(isinstance(key, str) for key in keys):
        return Grades(words=tuple(found.value.items()))
    if any(isinstance(key, bool) or not isinstance(key, int | float) for key in keys):
        todo = "write numbers (from this one on), or words in quotes"
        raise entry.error("grades", f"{found.title}: some keys are no numbers", todo)
    return Grades(tuple(sorted((float(key), grade) for key, grade in found.value.items())))


@dataclass(frozen=True)
class Judgments:
    """How judgment files are read.

    query: field of the text of the query; query_id: of its id, "" for one made of the text.
    document: field of the id of the document.
    grade: field of the grade; "": lines are counted. clicks: what is summed then; "": every line is one.
    """

    entry: Entry
    files: tuple[Path, ...] = ()
    query: str = ""
    query_id: str = ""
    document: str = ""
    grade: str = ""
    clicks: str = ""

    def read(self, paths: Sequence[Path], grades: Grades, texts: dict[str, str] | None = None) -> Qrels:
        """query id -> document id -> grade, in file order.

        Args:
          paths: the files.
          grades: what their grades mean.
          texts: gets the text of every query, if the files have them.

        Raises:
          DataError: a line that is no judgment, with its number.
        """
        found: Qrels = {}
        counts: dict[str, dict[str, float]] = {}
        for path in paths:
            head = next((text.lstrip() for _, text in lines(path)), "")
            if head.startswith("{"):
                self._read_lines(path, grades, found, counts, {} if texts is None else texts)
                continue
            for query, judged in read_qrels(path).items():
                for document, value in judged.items():
                    _keep(found, query, document, grades.of(value), value, str(path))
        for query, counted in counts.items():
            for document, clicks in counted.items():
                _keep(found, query, document, grades.of(clicks), clicks, str(self.entry.path))
        return found

    def _read_lines(
        self,
        path: Path,
        grades: Grades,
        found: Qrels,
        counts: dict[str, dict[str, float]],
        texts: dict[str, str],
    ) -> None:
        if not self.document:
            todo = "judgments: {files: ..., query: FIELD, document: FIELD, grade: FIELD}"
            raise self.entry.error("judgments", f"{path} has JSON lines, whose fields must be named", todo)
        for number, record in json_lines(path):
            where = f"{path}:{number}"
            document = first_of(record, (self.document,), where, "a document").strip()
            text = one_line(first_of(record, (self.query,), where, "a query")) if self.query else ""
            if self.query_id:
                query = first_of(record, (self.query_id,), where, "a query id").strip()
            else:
                query = f"{stable_hash(group_key(text)):016x}"
            if text and group_key(texts.setdefault(query, text)) != group_key(text):
                what = f"query {query!r} is {text!r:.60} here and {texts[query]!r:.60} before"
                raise DataError(what, path=path, line=number, todo="keep one of the two")
            if self.grade:
                value = record.get(self.grade)
                grade = None
                if isinstance(value, int | float | str) and not isinstance(value, bool):
                    grade = grades.of(value)
                _keep(found, query, document, grade, value, where)
                continue
            clicks = record.get(self.clicks) if self.clicks else 1
            if isinstance(clicks, bool) or not isinstance(clicks, int | float) or clicks < 0:
                what = f"{clicks!r:.40} under {self.clicks!r} is no number of clicks"
                raise DataError(what, path=path, line=number, todo="write a number from 0 on")
            counted = counts.setdefault(query, {})
            counted[document] = counted.get(document, 0) + clicks


def _keep(found: Qrels, query: str, document: str, grade: int | None, value: Any, where: str) -> None:
    if grade is None:
        todo = "map it to one: grades: {word or least number: grade}"
        raise DataError(f"{where}: the grade {value!r:.40} is not a whole number", todo=todo)
    judged = found.setdefault(query, {})
    if judged.setdefault(document, grade) != grade:
        what = f"{where}: document {document!r} of query {query!r} is judged {judged[document]} and {grade}"
        raise DataError(what, todo="keep one judgment")


def read_judgments(entry: Entry, *, ids: bool) -> Judgments:
    """What the key `judgments` of an entry says: a file, several, or a mapping of their fields.

    Args:
      entry: of the dataset.
      ids: whether queries come from elsewhere, so that the files have to name them by id.
    """
    if not isinstance(entry.value.get("judgments"), dict):
        return Judgments(entry, entry.files("judgments"))
    found = entry.mapping("judgments")
    assert found is not None
    found.check_keys(KEYS)
    names = {name: found.text(name) for name in KEYS[1:]}
    if not names["document"]:
        raise found.error(None, f"{found.title} names no document", "document: FIELD OF ITS ID")
    if ids and (names["query"] or not names["query_id"]):
        todo = "query_id: FIELD, and no query, or leave `queries` out"
        raise found.error(None, f"{found.title}: the texts of queries come from `queries`", todo)
    if not ids and not names["query"]:
        todo = "query: FIELD OF ITS TEXT, or name a file of queries"
        raise found.error(None, f"{found.title} names no query", todo)
    if names["grade"] and names["clicks"]:
        raise found.error("clicks", f"{found.title} has a grade and clicks", "keep one of the two")
    if not names["grade"] and "grades" not in entry:
        todo = "say which number is which grade: grades: {1: 1, 5: 2}"
        raise found.error(None, f"{found.title} names no grade, so its lines are counted", todo)
    return Judgments(entry, found.files("files"), **names)
