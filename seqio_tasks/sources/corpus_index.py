"""A corpus as a mapping that stays on disk: an index of line offsets, with documents read on request.

MS MARCO has 8.8 million passages, the Wikipedia sets 2.7 to 5.4 million: as Python objects they would take
several gigabytes. The index takes twenty bytes per document: the offset of its line, and a 64-bit hash of its
id. A document found by its hash is read and its id compared, so hash collisions do no harm.

The index of a large file is cached in the cache directory of the settings, by path, size and modification
time.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import logging
import mmap
import shutil
import zlib
from array import array
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData, replacing
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Document
from seqio_tasks.sources.common import json_object, one_line, open_bytes
from seqio_tasks.sources.splits import stable_hash

log = logging.getLogger(__name__)

KEEP_FROM = 64 << 20  # bytes; the index of a larger corpus file is kept on disk
_VERSION = 1


class _Index(NamedTuple):
    """offsets: uint64 [n], lines in file order; hashes: uint64 [n], ascending; places: uint32 [n], the
    position of each hash's document.
    """

    offsets: np.ndarray
    hashes: np.ndarray
    places: np.ndarray


def _cached(path: Path, suffix: str) -> Path:
    """Where something made from a file is cached: by its path, size and modification time."""
    status = path.stat()
    what = f"{_VERSION}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    digest = hashlib.sha256(what.encode()).hexdigest()[:32]
    return Path(settings.current().cache_dir) / "corpora" / f"{digest}{suffix}"


def _unpacked(path: Path) -> Path:
    """The plain copy of a gzipped corpus in the cache: documents are read at offsets, which gzip lacks."""
    copy = _cached(path, path.with_suffix("").suffix)
    if not copy.is_file():
        log.info("%s is unpacked to %s", path, copy)
        with replacing(copy) as temporary, open_bytes(path) as packed, temporary.open("wb") as file:
            try:
                shutil.copyfileobj(packed, file, 1 << 20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"broken gzip file ({error})", path=path, todo="download it again") from None
    return copy


class Corpus(Mapping[str, Document]):
    """doc_id -> Document of a folder's corpus.jsonl (or MS MARCO's collection.tsv), in file order.

    Equivalent to `beir.read_corpus`, including the errors.
    """

    def __init__(self, folder: Path | str) -> None:
        found = [Path(folder) / name for name in beir.CORPUS_FILES if (Path(folder) / name).is_file()]
        if not found:
            raise MissingData(
                "no such file",
                path=Path(folder) / beir.CORPUS_FILES[0],
                todo="unpack the official BEIR zip here",
            )
        self.path = found[0]
        plain = self.path if self.path.suffix != ".gz" else _unpacked(self.path)
        with plain.open("rb") as file:
            empty = not plain.stat().st_size
            self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._index = self._kept_index()
        if not len(self):
            raise beir.empty_corpus(self.path)

    def __len__(self) -> int:
        return len(self._index.offsets)

    def __iter__(self) -> Iterator[str]:
        return (doc_id for doc_id, _ in self.items())

    def __getitem__(self, doc_id: str) -> Document:
        hashes = self._index.hashes
        key = np.uint64(stable_hash(doc_id))
        for number in range(int(np.searchsorted(hashes, key)), len(hashes)):
            if hashes[number] != key:
                break
            found, document = self.at(int(self._index.places[number]))
            if found == doc_id:
                return document
        raise KeyError(doc_id)

    def at(self, position: int) -> tuple[str, Document]:
        """(doc_id, Document) at a position of the file, from 0."""
        start = int(self._index.offsets[position])
        end = self._bytes.find(b"\n", start)
        return self._parse(self._bytes[start : end if end >= 0 else len(self._bytes)], start)

    def items(self) -> ItemsView[str, Document]:
        return _Items(self)

    def values(self) -> ValuesView[Document]:
        return _Values(self)

    def _parse(self, raw: bytes, start: int, line: int | None = None) -> tuple[str, Document]:
        try:
            text = raw.decode("utf-8" if start else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8 ({error.reason} at byte {error.start})",
                path=self.path,
                line=line,
                todo="convert it to UTF-8",
            ) from None
        if ".jsonl" in self.path.suffixes:
            return beir.document(json_object(text, self.path, line), self.path, line)
        doc_id, tab, passage = text.partition("\t")
        if not tab or not doc_id:
            raise DataError("expected pid<TAB>text", path=self.path, line=line, todo="check the line")
        return doc_id, Document("", one_line(passage))

    def _kept_index(self) -> _Index:
        if len(self._bytes) < KEEP_FROM:
            return self._build()
        kept = _cached(self.path, ".npz")
        if kept.is_file():
            with np.load(kept) as stored:
                return _Index(*(stored[name] for name in _Index._fields))
        index = self._build()
        try:
            with replacing(kept) as temporary, temporary.open("wb") as file:
                np.savez(file, **index._asdict())
        except OSError as error:  # a read-only or full cache costs time only
            log.warning("the index of %s could not be kept in %s: %s", self.path, kept, error)
        return index

    def _build(self) -> _Index:
        offsets, hashes = array("Q"), array("Q")
        start = 0
        for line in itertools.count(1):
            if start >= len(self._bytes):
                break
            end = self._bytes.find(b"\n", start)
            end = end if end >= 0 else len(self._bytes)
            raw = self._bytes[start:end]
            if raw.strip():
                doc_id, _ = self._parse(raw, start, line)
                offsets.append(start)
                hashes.append(stable_hash(doc_id))
            start = end + 1
        unordered = np.asarray(hashes, np.uint64)
        places = np.argsort(unordered, kind="stable").astype(np.uint32)
        index = _Index(np.asarray(offsets, np.uint64), unordered[places], places)
        self._refuse_repeated_ids(index)
        return index

    def _refuse_repeated_ids(self, index: _Index) -> None:
        self._index = index
        same = np.flatnonzero(index.hashes[1:] == index.hashes[:-1])
        # In file order, so that the error names the first line that repeats an id.
        for number in same[np.argsort(index.places[same + 1])].tolist():
            place = int(index.places[number + 1])
            first, _ = self.at(int(index.places[number]))
            second, _ = self.at(place)
            if first == second:
                lines = [self._line(int(index.places[n])) for n in (number, number + 1)]
                raise DataError(
                    f"document {first!r} appears twice, first in line {min(lines)}",
                    path=self.path,
                    line=max(lines),
                    todo="keep one of the two",
                )

    def _line(self, position: int) -> int:
        """The line number of a document."""
        end = int(self._index.offsets[position])
        blocks = range(0, end, 1 << 24)
        return 1 + sum(self._bytes[start : min(start + (1 << 24), end)].count(b"\n") for start in blocks)


class _Items(ItemsView[str, Document]):
    """(doc_id, Document) in file order, each line read once."""

    _mapping: Corpus

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        return (self._mapping.at(position) for position in range(len(self._mapping)))


class _Values(ValuesView[Document]):
    _mapping: Corpus

    def __iter__(self) -> Iterator[Document]:
        return (document for _, document in self._mapping.items())
