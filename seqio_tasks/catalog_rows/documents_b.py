"""Document understanding: reading comprehension and conversational question answering."""

from __future__ import annotations

from seqio_tasks.catalog_types import Pair, Source

SOURCES: dict[str, Source] = {}

PAIRS: tuple[Pair, ...] = ()
