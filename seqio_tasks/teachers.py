"""Scores of documents by another ranker, for distillation.

A file is a TREC run (`rerank` writes one), or has a JSON object for every query:

    {"query_id": "3", "scores": {"d7": 2.5, "d2": -1.0}}
    {"query_id": "3", "ranking": ["d7", "d2"]}                                       best first
    {"query": {"qid": "3", "text": "..."}, "candidates": [{"docid": "d7"}, ...]}     rank_llm, best first
    {"query": "...", "retrieved_passages": [{"docid": "d7"}, ...]}                   RankGPT, best first

RankGPT's passages are those of the first stage, and a second file orders them: a JSON array with an answer
such as "[2] > [1] > [3]" for each of its lines. It is named after the file that it belongs to.

Of an order, a document's score is minus its rank. A query is found by its id, or else by its text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.metrics.ranking import is_score
from seqio_tasks.metrics.trec_files import read_run
from seqio_tasks.sources.common import json_file, json_lines, one_line, open_bytes

Scores = Mapping[str, float]  # document id -> score

_FORMS = (
    'expected {"query_id", "scores": {document: score}}, {"query_id", "ranking": [document, ...]}, '
    '{"query": {"qid"}, "candidates": [{"docid"}]} or {"query", "retrieved_passages": [{"docid"}]}'
)


@dataclass(frozen=True)
class Teacher:
    """The scores of all queries, by query id and by query text."""

    by_id: Mapping[str, Scores]
    by_text: Mapping[str, Scores]

    def scores(self, query_id: str, query: str) -> Scores:
        """The scores of a query's documents; empty if the teacher has none."""
        return self.by_id.get(query_id) or self.by_text.get(_plain(query), {})


def read(paths: Sequence[str]) -> Teacher:
    """Read the files of a teacher; they are read again only after they have changed.

    Raises:
      MissingData: there is no such file.
      DataError: a line of none of these forms, or a query that comes twice.
    """
    return _read(stamps(paths))


def stamps(paths: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Path, time and size of files; they change with the files.

    Raises:
      MissingData: there is no such file.
    """
    found = []
    for path in paths:
        if not Path(path).is_file():
            raise MissingData("no such file", path=path, todo="TEACHER names the scores of a teacher")
        stat = Path(path).stat()
        found.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=2)
def _read(stamps: tuple[tuple[str, int, int], ...]) -> Teacher:
    found = Teacher({}, {})
    files = [Path(path) for path, _, _ in stamps]
    for path, following in zip(files, [*files[1:], None], strict=True):
        begin = _beginning(path)
        if begin == b"[":
            if path is files[0] or _beginning(files[files.index(path) - 1]) != b"{":
                todo = "name the JSON lines with the passages before it"
                raise DataError("an array of answers, without what they order", path=path, todo=todo)
            continue  # read with the file before it
        if begin != b"{":
            for query, scores in read_run(path).items():
                _add(found.by_id, query, scores, path, None)
            continue
        orders = _orders(following) if following is not None and _beginning(following) == b"[" else None
        number = 0
        for number, (line, record) in enumerate(json_lines(path), start=1):
            if orders is not None and number > len(orders):
                what = f"more queries than {following} has answers ({len(orders)})"
                raise DataError(what, path=path, line=line, todo="name the files that belong together")
            _read_record(found, record, None if orders is None else orders[number - 1], path, line)
        if orders is not None and number < len(orders):
            what = f"{len(orders)} answers for {number} queries of {path}"
            raise DataError(what, path=following, todo="name the files that belong together")
    return found


def _read_record(found: Teacher, record: Any, order: str | None, path: Path, line: int) -> None:
    try:
        query_id, text, scores = _scores_of(record, order)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"no scores of a query ({type(error).__name__}: {error})"
        raise DataError(reason, path=path, line=line, todo=_FORMS) from None
    if query_id is not None:
        _add(found.by_id, query_id, scores, path, line)
    else:
        _add(found.by_text, _plain(text), scores, path, line)


def _scores_of(record: Mapping[str, Any], order: str | None) -> tuple[str | None, str, Scores]:
    """(query id or None, query text, scores) of one object."""
    query = record.get("query")
    identity = query.get("qid") if isinstance(query, dict) else record.get("query_id", record.get("qid"))
    text = query if isinstance(query, str) else ""
    if identity is None and not text.strip():
        raise ValueError("neither an id nor a text of the query")
    if "scores" in record:
        scores = record["scores"]
        if not isinstance(scores, dict) or not all(map(is_score, scores.values())):
            raise ValueError("scores must be numbers by document")
        return None if identity is None else str(identity), text, scores
    if "ranking" in record:
        ranked = [str(document) for document in _list(record["ranking"])]
    else:
        listed = record["candidates"] if "candidates" in record else record["retrieved_passages"]
        ranked = [str(passage["docid"]) for passage in _list(listed)]
    if order is not None:
        ranked = [ranked[number] for number in permutation(order, len(ranked))]
    if len(set(ranked)) < len(ranked):
        raise ValueError("a document is listed twice")
    return None if identity is None else str(identity), text, {d: -float(r) for r, d in enumerate(ranked, 1)}


def permutation(answer: str, count: int) -> list[int]:
    """The order that a listwise answer means, numbers from 0.

    A repeated or impossible number is left out, and what is not named follows as it was.

    >>> permutation("[2] > [9] > [2] > [3]", 4)
    [1, 2, 0, 3]
    """
    named = [int(number) - 1 for number in re.findall(r"\d+", answer)]
    return list(dict.fromkeys([number for number in named if 0 <= number < count] + list(range(count))))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("the documents must be a list of at least one")
    return value


def _orders(path: Path) -> list[str]:
    value = json_file(path)
    for number, answer in enumerate(value, start=1):
        if not isinstance(answer, str):
            what = f"entry {number} is no text"
            raise DataError(what, path=path, todo='expected an array of answers such as "[2] > [1]"')
    return list(value)


def _add(known: Any, query: str, scores: Scores, path: Path, line: int | None) -> None:
    if query in known:
        todo = "keep one of its rankings"
        raise DataError(f"query {query!r:.80} has been ranked before", path=path, line=line, todo=todo)
    known[query] = scores


def _beginning(path: Path) -> bytes:
    """The first character of a file that is no space."""
    with open_bytes(path) as file:
        for block in iter(lambda: file.read(1 << 12), b""):
            if text := block.removeprefix(b"\xef\xbb\xbf").lstrip():
                return text[:1]
    return b""


def _plain(text: str) -> str:
    return one_line(text).casefold()
