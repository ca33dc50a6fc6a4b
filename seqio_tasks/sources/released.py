"""The JSON lines that the INTERS authors released, read lazily (the files have up to 673 MB).

    train.jsonl, dev- and test-qu-du-zero-shot/*.jsonl     {"prompt", "completion", "source"}
    test-qdu/*.bm25.100.jsonl, test-qdu/cqadupstack/*/*    {"query", "query_id", "key", "key_index",
                                                            "pos", "pos_index", "pos_score"}

A file is read once completely, to check every line and to record its offset; a row is parsed again on
request. `key` are the candidates of BM25 in order (an index of -1 is padding), `pos` the judged documents;
`pos_score`, their grades, defaults to 1, and `query_id` to the line number from 0, as in the authors'
evaluation.
"""

from __future__ import annotations

import functools
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from seqio_tasks.base import DataError, parse_json
from seqio_tasks.sources.common import Row, SourceReport, unusable

FOLDER = "inters_released"
EMPTY = "empty completion"
TWICE = "candidate listed twice"
_INSTRUCTION = {"prompt": str, "completion": str}


class JsonLines(Sequence[dict[str, Any]]):
    """The objects of a JSON-lines file; `number(i)` is the line of the i-th, from 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts, self._lengths, self._numbers = array("q"), array("q"), array("q")
        self._last = functools.lru_cache(maxsize=4)(self._parse)  # consecutive rows come from the same line

    def scan(self) -> Iterator[dict[str, Any]]:
        """Every object of the file; `keep` makes one a member."""
        start = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    self._candidate = (start, len(line), number)
                    yield self._decode(line, number)
                start += len(line)

    def keep(self) -> None:
        """Make the object just scanned a member."""
        for column, value in zip((self._starts, self._lengths, self._numbers), self._candidate, strict=True):
            column.append(value)

    def fail(self, what: str) -> DataError:
        """An error about the object just scanned."""
        return DataError(
            what, path=self.path, line=self._candidate[2], todo="download the released file again"
        )

    def number(self, index: int) -> int:
        return self._numbers[index]

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._last(range(len(self))[index])

    def _parse(self, index: int) -> dict[str, Any]:
        with self.path.open("rb") as file:  # opened again: several threads may read
            return self._decode(
                os.pread(file.fileno(), self._lengths[index], self._starts[index]), self._numbers[index]
            )

    def _decode(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            value = parse_json(line)
        except ValueError as error:
            raise DataError(
                f"not JSON ({error})", path=self.path, line=number, todo="download the released file again"
            ) from None
        if not isinstance(value, dict):
            raise DataError("not a JSON object", path=self.path, line=number, todo="check the file")
        if found := unusable(line.decode("utf-8", "replace"), value):
            raise DataError(found, path=self.path, line=number, todo="repair or remove the line")
        return value


class Instructions(Sequence[Row]):
    """{"example_id": "train/7" (line), "prompt", "completion", "source"} of one file."""

    def __init__(self, path: Path, report: SourceReport) -> None:
        self._lines = JsonLines(path)
        self._stem = path.name.removesuffix(".jsonl")
        for value in self._lines.scan():
            for name, kind in _INSTRUCTION.items():
                if not isinstance(value.get(name), kind):
                    raise self._lines.fail(f"no text under {name!r} (the line has {', '.join(value)})")
            if value["completion"].strip():
                self._lines.keep()
            else:
                report[EMPTY] += 1

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        value = self._lines[index]
        number = self._lines.number(range(len(self))[index])
        return {
            "example_id": f"{self._stem}/{number}",
            "prompt": value["prompt"],
            "completion": value["completion"],
            "source": str(value.get("source", "")),
        }


class Candidates(Sequence[Row]):
    """One row per (query, candidate), as in `ranking_rows.set_rerank_rows`.

    paths: files, each with the prefix of its ids (the forum of CQADupStack, otherwise empty).
    depth: candidates per query.
    `qrels`: query id -> document id -> grade, of every query of the files.
    """

    def __init__(self, paths: Sequence[tuple[Path, str]], depth: int, report: SourceReport) -> None:
        self.qrels: dict[str, dict[str, int]] = {}
        self._files = [(JsonLines(path), prefix) for path, prefix in paths]
        self._depth = depth
        self._ends = array("q")  # rows up to and including each query
        self._queries: list[tuple[int, int]] = []  # (file, line)
        total = 0
        for place, (lines, prefix) in enumerate(self._files):
            for value in lines.scan():
                query_id = prefix + str(value.get("query_id", lines._candidate[2] - 1))
                if query_id in self.qrels:
                    raise lines.fail(f"query {query_id} occurs twice")
                self.qrels[query_id] = {prefix + d: g for d, g in _grades(value, lines).items()}
                kept, double = _kept(value, depth, lines)
                report[TWICE] += double
                lines.keep()
                self._queries.append((place, len(lines) - 1))
                total += len(kept)
                self._ends.append(total)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        query = bisect_right(self._ends, index)
        place, line = self._queries[query]
        lines, prefix = self._files[place]
        value = lines[line]
        rank = index - (self._ends[query - 1] if query else 0)
        position = _kept(value, self._depth, lines)[0][rank]
        query_id = prefix + str(value.get("query_id", lines.number(line) - 1))
        doc_id = prefix + str(value["key_index"][position])
        return {
            "example_id": f"{query_id}/{doc_id}",
            "query_id": query_id,
            "doc_id": doc_id,
            "relevance": self.qrels[query_id].get(doc_id, 0),
            "rank": rank + 1,
            "query": value["query"],
            "document": {"doc_id": doc_id, "title": "", "text": value["key"][position]},
        }


def _kept(value: dict[str, Any], depth: int, lines: JsonLines) -> tuple[list[int], int]:
    """Positions in `key` of the first `depth` candidates, and the number of repeated ones."""
    texts, ids = value.get("key"), value.get("key_index")
    if not isinstance(value.get("query"), str) or not isinstance(texts, list) or not isinstance(ids, list):
        raise lines.fail("needs a text under 'query' and lists under 'key' and 'key_index'")
    if len(texts) != len(ids) or not all(isinstance(text, str) for text in texts):
        raise lines.fail(f"{len(texts)} texts under 'key', {len(ids)} numbers under 'key_index'")
    first: dict[str, int] = {}
    double = 0
    for position, doc_id in enumerate(ids):
        if str(doc_id) == "-1":
            continue
        double += str(doc_id) in first
        first.setdefault(str(doc_id), position)
    return list(first.values())[:depth], double


def _grades(value: dict[str, Any], lines: JsonLines) -> dict[str, int]:
    ids = value.get("pos_index")
    if not isinstance(ids, list):
        raise lines.fail("needs a list under 'pos_index'")
    scores = value.get("pos_score")
    if scores is None:
        scores = [1] * len(ids)
    if not isinstance(scores, list) or len(scores) != len(ids):
        raise lines.fail(f"{len(ids)} judged documents under 'pos_index', but 'pos_score' is {scores!r:.60}")
    if not all(isinstance(score, int | float) and float(score).is_integer() for score in scores):
        raise lines.fail(f"grades that are not whole numbers: {scores!r:.60}")
    return {str(doc): int(score) for doc, score in zip(ids, scores, strict=True) if str(doc) != "-1"}
