"""Document understanding: fact verification and summarization."""

from __future__ import annotations

from seqio_tasks.catalog_types import Pair, Source

SOURCES: dict[str, Source] = {}

PAIRS: tuple[Pair, ...] = ()
