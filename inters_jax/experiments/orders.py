"""First-stage candidates in another order, to measure how much a reranking method depends on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seqio_tasks.base import UserError, write_text


def write(first_stage: str | Path, order: str, path: str | Path) -> None:
    """Write a TREC run with the same candidates per query in another order.

    Args:
      first_stage: the TREC run to reorder.
      order: `reversed`, or `shuffled-N`. Shuffles sort by hashes of (N, query, document), so they are the
        same on every machine.
      path: the run to write.

    Raises:
      UserError: a line is not one of a TREC run.
    """
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(Path(first_stage).read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split()
        if len(parts) != 6:
            raise UserError(f"{first_stage}:{number}: a line of a TREC run has six columns")
        rows.setdefault(parts[0], []).append(parts[2])
    lines = []
    for query, documents in rows.items():
        for place, document in enumerate(reordered(query, documents, order)):
            lines.append(f"{query} Q0 {document} {place + 1} {len(documents) - place} {order}\n")
    write_text(path, "".join(lines))


def reordered(query: str, documents: list[str], order: str) -> list[str]:
    """The documents of one query in another order.

    >>> reordered("q", ["a", "b", "c"], "reversed")
    ['c', 'b', 'a']
    >>> sorted(reordered("q", ["a", "b", "c"], "shuffled-0"))
    ['a', 'b', 'c']
    """
    if order == "reversed":
        return documents[::-1]
    return sorted(
        documents, key=lambda document: hashlib.sha256(f"{order}\0{query}\0{document}".encode()).digest()
    )
