"""Data of one's own for tests; what a block registers is forgotten after it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seqio_tasks import catalog, mixtures, named_tasks, own_data, row_source, templates
from seqio_tasks.catalog import types
from seqio_tasks.sources import retrieval_sets
from seqio_tasks.templates import own

# The declaration of what `helpdesk` writes.
HELPDESK = """
    task: general_retrieval
    documents: {files: docs, id: url, title: title, text: body}
    judgments: {files: clicks.jsonl, query: query, document: url, clicks: clicks}
    grades: {1: 1, 10: 2}
"""
WORDS = (
    "password",
    "invoice",
    "printer",
    "calendar",
    "holiday",
    "laptop",
    "badge",
    "parking",
    "travel",
    "phone",
)


def write(path: Path, rows: Iterable[Any]) -> Path:
    """A file of lines; what is no text is written as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def helpdesk(folder: Path) -> None:
    """The documents and the click log of docs/own_data.md, small."""
    for number, half in enumerate((WORDS[:5], WORDS[5:])):
        rows = [
            {"url": f"help/{w}", "title": f"Your {w}", "body": f"All about the {w} you need."} for w in half
        ]
        write(folder / "docs" / f"{number}.jsonl", rows)
    clicks = [
        {"query": f"{verb} my {word}", "url": f"help/{word}", "clicks": 3 + 10 * (number % 2)}
        for number, word in enumerate(WORDS)
        for verb in ("find", "lost", "change", "order")
    ]
    clicks += [{"query": "find my badge", "url": "help/phone", "clicks": 0}, clicks[0]]
    write(folder / "clicks.jsonl", clicks)


@contextlib.contextmanager
def registrations_end() -> Iterator[None]:
    """What is registered inside the block is forgotten after it."""
    tables: list[dict[Any, Any]] = [
        catalog._BY_NAME, catalog._TEMPLATES, types._TASKS, retrieval_sets._OWN, named_tasks._table(),
        mixtures._recipes(), own_data._registered,
    ]  # fmt: skip
    if "seqio_tasks.registration" in sys.modules:
        import seqio

        tables += [seqio.TaskRegistry._REGISTRY, seqio.MixtureRegistry._REGISTRY]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)
        row_source._kept.clear()
        row_source._alive.clear()
        for function in (row_source._count, templates._load, own._read_file):
            function.cache_clear()
