"""The files of one pass of one task in a token store: `PassWriter` writes and `PassFiles` maps them.

`token_store.py` documents the layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqio_tasks.base import UserError


class StoreError(UserError):
    """A store that is missing, damaged, or made with other settings; says what differs and what to do."""


class Document(NamedTuple):
    """What the store knows of a sequence that asks about one document of a query.

    group: the same for all documents of the query, which follow each other. grade: of the judgments.
    teacher: the score of another ranker, if there is one.
    """

    group: str
    grade: float
    teacher: float | None = None


class Documents(NamedTuple):
    """The documents of the queries of a pass.

    starts     0        3     5      int64 [queries + 1]
    grades     1  0  0  2  0         float32 [sequences]
    teacher    9  4  5  8  1         float32 [sequences]; None: without a teacher
    """

    starts: np.ndarray
    grades: np.ndarray
    teacher: np.ndarray | None


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest integer type for all ids: uint16 up to a vocabulary of 65,536, else uint32."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class PassWriter:
    """Writes one pass of one task to `folder`, which must not exist; `finish` returns its counts."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.vocab_size = vocab_size
        self._dtype = token_dtype(vocab_size)
        self._tokens = (folder / "tokens.bin").open("wb", buffering=1 << 20)
        self._digest = hashlib.blake2b(digest_size=16)
        self._lengths: list[int] = []
        self._target_starts: list[int] = []
        self._ids: list[bytes] = []
        self._documents: list[Document] = []
        self._groups: list[int] = []  # where the documents of each query start

    @property
    def examples(self) -> int:
        """Examples so far; a query with its documents is one."""
        return len(self._groups) if self._documents else len(self._ids)

    def add(
        self, tokens: np.ndarray, target_start: int, example_id: str, document: Document | None = None
    ) -> None:
        """Append a sequence, int [n >= 2]; ``tokens[target_start:]`` is the completion (not empty).

        Args:
          tokens: the sequence.
          target_start: where its completion starts.
          example_id: its id.
          document: of all sequences of a pass, or of none.

        Raises:
          ValueError: no context, no target, an id outside the vocabulary, or a document among sequences
            without.
        """
        if not 1 <= target_start < len(tokens):
            raise ValueError(
                f"{example_id}: target_start {target_start} in a sequence of {len(tokens)} tokens; the first "
                "token is never predicted, and at least one target must be"
            )
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise ValueError(
                f"{example_id}: token ids {tokens.min()}..{tokens.max()} are outside the vocabulary of "
                f"{self.vocab_size}; was it encoded with another tokenizer?"
            )
        if self._ids and (document is not None) != bool(self._documents):
            raise ValueError(f"{example_id}: a pass has documents of queries only, or none")
        data = tokens.astype(self._dtype).tobytes()
        self._tokens.write(data)
        self._digest.update(data)
        self._lengths.append(len(tokens))
        self._target_starts.append(target_start)
        self._ids.append(example_id.encode())
        if document is not None:
            if not self._documents or self._documents[-1].group != document.group:
                self._groups.append(len(self._documents))
            self._documents.append(document)

    def finish(self) -> dict[str, Any]:
        """Complete the files; counts of the pass. Passes with the same sequences have the same digest."""
        self._tokens.close()
        lengths = np.array(self._lengths, np.int64)
        starts = np.array(self._target_starts, np.int32)
        np.save(self.folder / "offsets.npy", _offsets(lengths))
        np.save(self.folder / "target_starts.npy", starts)
        np.save(self.folder / "id_offsets.npy", _offsets(np.array([len(i) for i in self._ids], np.int64)))
        (self.folder / "ids.bin").write_bytes(b"".join(self._ids))
        self._digest.update(lengths.tobytes() + starts.tobytes())
        return {
            "kept": self.examples,
            "tokens": int(lengths.sum()),
            "target_tokens": int((lengths - starts).sum()),
            "longest": int(np.max(lengths, initial=0)),
            **self._finish_documents(),
            "digest": self._digest.hexdigest(),
        }

    def _finish_documents(self) -> dict[str, Any]:
        """The files about documents, and the counts of a pass that has some."""
        if not self._documents:
            return {}
        scores = [one.teacher for one in self._documents]
        has_teacher = scores[0] is not None
        if any((score is not None) != has_teacher for score in scores):
            raise ValueError(f"{self.folder}: some documents have a score of the teacher and some have none")
        arrays: dict[str, np.ndarray] = {
            "group_starts": np.array([*self._groups, len(self._documents)], np.int64),
            "grades": np.array([one.grade for one in self._documents], np.float32),
        }
        if has_teacher:
            arrays["teacher"] = np.array(scores, np.float32)
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
            self._digest.update(array.tobytes())
        return {"sequences": len(self._documents), "teacher": has_teacher}


def _offsets(lengths: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class PassFiles:
    """The memory-mapped files of one pass of one task, each opened on first access.

    Offsets and target starts are checked against the counts of the manifest before they are used.
    """

    def __init__(self, folder: Path, dtype: np.dtype, counts: Mapping[str, Any]) -> None:
        self.folder = folder
        self._dtype = dtype
        self._counts = counts
        self._sequences: int = counts.get("sequences", counts["kept"])

    @cached_property
    def tokens(self) -> np.ndarray:
        return _mapped(self.folder / "tokens.bin", self._dtype)

    @cached_property
    def offsets(self) -> np.ndarray:
        path = self.folder / "offsets.npy"
        offsets = _load(path, np.dtype(np.int64), self._sequences + 1)
        lengths = np.diff(offsets)
        if offsets[0] != 0 or offsets[-1] != self._counts["tokens"] or (lengths < 2).any():
            raise damaged(path, "its offsets are not those of the sequences in tokens.bin")
        if lengths.max(initial=0) != self._counts["longest"]:
            raise damaged(path, f"the longest sequence has {lengths.max(initial=0)} tokens, not as written")
        return offsets

    @cached_property
    def target_starts(self) -> np.ndarray:
        path = self.folder / "target_starts.npy"
        starts = _load(path, np.dtype(np.int32), self._sequences)
        if (starts < 1).any() or (starts >= self.lengths).any():
            raise damaged(path, "a completion starts outside its sequence")
        targets = int((self.lengths - starts).sum(dtype=np.int64))
        if targets != self._counts["target_tokens"]:
            raise damaged(path, f"{targets} target tokens, the manifest says {self._counts['target_tokens']}")
        return starts

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets).astype(np.int32)

    @cached_property
    def ids(self) -> np.ndarray:
        return _mapped(self.folder / "ids.bin", np.dtype(np.uint8))

    @cached_property
    def id_offsets(self) -> np.ndarray:
        path = self.folder / "id_offsets.npy"
        offsets = _load(path, np.dtype(np.int64), self._sequences + 1)
        if offsets[0] != 0 or offsets[-1] != len(self.ids) or (np.diff(offsets) < 0).any():
            raise damaged(path, "its offsets are not those of ids.bin")
        return offsets

    @cached_property
    def documents(self) -> Documents | None:
        """The documents of queries; None in a pass without."""
        if "sequences" not in self._counts:
            return None
        path = self.folder / "group_starts.npy"
        starts = _load(path, np.dtype(np.int64), self._counts["kept"] + 1)
        if starts[0] != 0 or starts[-1] != self._sequences or (np.diff(starts) < 1).any():
            raise damaged(path, "its queries are not those of the sequences in tokens.bin")
        values = []
        for name in ("grades", *(["teacher"] if self._counts["teacher"] else [])):
            file = self.folder / f"{name}.npy"
            values.append(_load(file, np.dtype(np.float32), self._sequences))
            if not np.isfinite(values[-1]).all():
                raise damaged(file, "not all of its values are finite")
        return Documents(starts, values[0], values[1] if len(values) > 1 else None)

    def digest(self) -> str:
        """The digest that `PassWriter.finish` computes, of the files as they are."""
        digest = hashlib.blake2b(digest_size=16)
        with (self.folder / "tokens.bin").open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(np.diff(self.offsets).tobytes() + self.target_starts.tobytes())
        for array in self.documents or ():
            if array is not None:
                digest.update(array.tobytes())
        return digest.hexdigest()


def _load(path: Path, dtype: np.dtype, size: int) -> np.ndarray:
    """An array file of a pass."""
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy reads the header with Python's parser, which raises many kinds
        raise damaged(path, f"cannot be read ({error})") from error
    if array.dtype != dtype or array.shape != (size,):
        raise damaged(path, f"{array.dtype}{list(array.shape)}, expected {dtype}[{size}]")
    return array


def damaged(path: Path, what: str) -> StoreError:
    """The error that a file of a store is not as it was written."""
    return StoreError(
        f"{path}: {what}: the store is damaged. Copy it again, or prepare it again (--gin.REBUILD=True)"
    )


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)
