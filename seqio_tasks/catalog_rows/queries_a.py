"""Query understanding: topics, conversations and expansions."""

from __future__ import annotations

from seqio_tasks.catalog_types import Pair, Source

SOURCES: dict[str, Source] = {}

PAIRS: tuple[Pair, ...] = ()
