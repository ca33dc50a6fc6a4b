"""Query and document: the retrieval tasks over BEIR folders."""

from __future__ import annotations

from seqio_tasks.catalog_types import Pair, Source

SOURCES: dict[str, Source] = {}

PAIRS: tuple[Pair, ...] = ()
