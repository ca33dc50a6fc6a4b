"""The answers of a model to the rows of a task, saved as they are given.

Answers are appended to a journal in chunks of rows. An interrupted evaluation reads its journal and continues
with the next row. When every row is answered, the journal becomes `predictions.jsonl` (the same lines without
the settings), which appears under its name only when it is complete.

    .predictions.part.jsonl    {"settings": {...}}        what the answers depend on
                               {"inputs_pretokenized": ..., "score": -1.5, ...}       one line per row

A shard (`inters_jax.shards`) writes `predictions.3of8.jsonl`, whose lines also have the number of their
row. The process that ends the work takes the answers of all shards over, and removes their files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.journal import Entry, Journal, read_at, read_objects
from inters_jax.shards import Shard, shared_file
from seqio_tasks.base import replacing

PREDICTIONS = "predictions.jsonl"
JOURNAL = ".predictions.part.jsonl"
_OF_SHARDS = "predictions.*of*.jsonl"


class Records:
    """The records of one task in row order: in memory, or on disk when a folder is given.

    Args:
      folder: where `predictions.jsonl` is written; None keeps the records in memory.
      settings: everything that the answers depend on (model, data, limits).
      shard: whose answers these are; None: the whole task, with the answers of the shards found in `folder`.

    Raises:
      UserError: the folder holds unfinished answers that were given with other settings.
    """

    def __init__(
        self,
        folder: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.folder, self.shard = folder, shard
        self._store: list[Entry] | Journal = []
        self._finished = False
        self._of_shards: dict[int, tuple[Path, int]] = {}  # row -> file, place of its line
        if folder is not None:
            todo = "set another OUTPUT_DIR, or delete the file to evaluate this task again"
            path = folder / JOURNAL if shard is None else shared_file(folder / PREDICTIONS, shard)
            self._store = Journal(path, settings or {}, todo=todo)
            if shard is None:
                others = self._store.others(_OF_SHARDS)
                self._of_shards = {line.value["row"]: (path, line.place) for path, line in others}

    def of_shards(self, row: int) -> Entry | None:
        """The record of a row that a shard has answered."""
        if row not in self._of_shards:
            return None
        record = read_at(*self._of_shards[row])
        del record["row"]
        return record

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Entry]:
        """Every record, read from the file if there is one."""
        if self.folder is not None and self._finished:
            return read(self.folder / PREDICTIONS)
        return iter(self._store)

    def append(self, records: Sequence[Entry]) -> None:
        """Add the records of the next rows."""
        if isinstance(self._store, Journal):
            self._store.append(records)
        else:
            self._store += records

    def finish(self) -> None:
        """All rows are answered: the journal becomes `predictions.jsonl`."""
        if self.folder is None or not isinstance(self._store, Journal):
            return
        with replacing(self.folder / PREDICTIONS) as partial, partial.open("wb") as file:
            self._store.copy_entries(file)
        self._store.path.unlink()
        for path in self.folder.glob(_OF_SHARDS):
            path.unlink()
        self._of_shards = {}
        self._finished = True


def read(path: Path) -> Iterator[Entry]:
    """The records of a `predictions.jsonl`.

    Raises:
      UserError: a line is not a JSON object.
    """
    return (record for _, record in read_objects(path, todo="evaluate this task again"))
