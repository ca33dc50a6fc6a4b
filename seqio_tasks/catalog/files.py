"""The official files of every dataset: where they are, how large, which checksum, under which licence.

``folder`` is the name of the dataset's folder inside the raw directory. A checksum is given only where a
published list has one (ir_datasets, BEIR, TFDS); empty means unknown.
"""

from __future__ import annotations

from seqio_tasks.catalog import document_understanding, query_document, query_understanding
from seqio_tasks.catalog.types import OfficialFile, Source

__all__ = ["SOURCES", "OfficialFile", "Source"]

SOURCES: dict[str, Source] = {}
for _group in (query_understanding, document_understanding, query_document):
    if _twice := sorted(SOURCES.keys() & _group.SOURCES.keys()):
        raise ValueError(f"{_group.__name__}: SOURCES already has {', '.join(_twice)}")
    SOURCES.update(_group.SOURCES)
