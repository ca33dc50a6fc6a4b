"""Query2Doc: MS MARCO queries with a passage that a language model wrote for them.

    train.jsonl, test.jsonl   {"query_id": "1030303", "query": "...", "pseudo_doc": "..."}

The training file has half a million lines: it is read twice and never kept in memory, first for the split
(10,000 training rows by the rule), then for the rows. dev.jsonl, whose queries are often used as test queries
of MS MARCO, is not needed and not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_lines, one_line
from seqio_tasks.sources.splits import BEYOND_CAP, IN_OFFICIAL_TEST, assign, check_split, group_key

EMPTY = "empty query or pseudo document"


def iterate(path: Path, name: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, query, pseudo_doc} of one file, in file order."""
    for number, record in json_lines(path):
        query, text, query_id = (record.get(field) for field in ("query", "pseudo_doc", "query_id"))
        if not isinstance(query, str) or not isinstance(text, str) or not isinstance(query_id, str | int):
            raise DataError(
                "query, pseudo_doc and query_id expected as text",
                path=path,
                line=number,
                todo="use the official JSON lines (intfloat/query2doc_msmarco)",
            )
        query, text = one_line(query), one_line(text)
        if query and text:
            yield {"example_id": f"query2doc/{name}/{query_id}", "query": query, "pseudo_doc": text}
        elif report is not None:
            report[EMPTY] += 1


def query2doc(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_expansion: a query -> the pseudo document. Official test file."""
    check_split(split)
    test = find_file(raw_dir, "query2doc", ("test.jsonl",), "Query2Doc test file")
    if split == "test":
        yield from iterate(test, "test", report)
        return
    train = find_file(raw_dir, "query2doc", ("train.jsonl",), "Query2Doc training file")
    counted = report if split == "train" else None
    tested = {group_key(row["query"]) for row in iterate(test, "test")}
    keys = [group_key(row["query"]) for row in iterate(train, "train", counted)]
    kept = [key for key in keys if key not in tested]
    places = dict(zip(kept, assign(kept, official_test=True), strict=True))
    if counted is not None:
        counted[IN_OFFICIAL_TEST] += len(keys) - len(kept)
        counted[BEYOND_CAP] += sum(not places[key] for key in kept)
    for key, row in zip(keys, iterate(train, "train"), strict=True):
        if places.get(key) == split:
            yield row
