"""What a model said about the rows of a task, written down while it says it.

A journal is a JSON-lines file that grows by whole chunks of rows; its first line says what the answers belong
to. An evaluation that was interrupted takes up the rows of its journal and goes on behind them; a last line
that a killed process left torn is dropped. When all rows are answered the journal becomes `predictions.jsonl`
(without the first line), which appears under its name when it is whole.

    .predictions.part.jsonl    {"settings": {...}}        what the answers belong to
                               {"inputs_pretokenized": ..., "score": -1.5, ...}       one line per row
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, replacing

PREDICTIONS = "predictions.jsonl"
JOURNAL = ".predictions.part.jsonl"

_ANEW = "remove the folder and evaluate this task anew"

Record = dict[str, Any]


class Records:
    """The records of one task in row order: in memory, or in a journal on disk when a folder is given.

    Args:
      folder: where `predictions.jsonl` goes; None keeps the records in memory.
      settings: whatever decides the answers (model, data, limits); a journal of other settings is refused.
    """

    def __init__(self, folder: Path | None = None, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings or {}, default=str))
        self._kept: list[Record] = []
        self._count = 0
        self._finished = False
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._take_up(folder / JOURNAL)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        """Every record, read from the file when there is one."""
        if self.folder is None:
            yield from self._kept
        elif self._finished:
            yield from read(self.folder / PREDICTIONS)
        else:
            yield from self._journalled()

    def append(self, records: Sequence[Record]) -> None:
        """Add finished rows; on disk they are complete or absent, never half."""
        self._count += len(records)
        if self.folder is None:
            self._kept += records
            return
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write("".join(lines))

    def finish(self) -> None:
        """Every row is there: the journal becomes `predictions.jsonl`."""
        if self.folder is None:
            return
        with replacing(self.folder / PREDICTIONS) as whole, whole.open("w", encoding="utf-8") as file:
            for record in self._journalled():
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        (self.folder / JOURNAL).unlink()
        self._finished = True

    def _journalled(self) -> Iterator[Record]:
        assert self.folder is not None
        with (self.folder / JOURNAL).open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def _take_up(self, path: Path) -> None:
        if path.is_file():
            with path.open("rb") as file:
                header = file.readline()
                whole = file.tell() if header.endswith(b"\n") else 0
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    whole += len(line)
                    self._count += 1
            if whole:
                self._refuse_strangers(path, header)
                with path.open("rb+") as file:
                    file.truncate(whole)
                return
            self._count = 0
        path.write_text(json.dumps({"settings": self.settings}, ensure_ascii=False) + "\n", encoding="utf-8")

    def _refuse_strangers(self, path: Path, header: bytes) -> None:
        try:
            there = json.loads(header)["settings"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}:1: not the beginning of a journal; remove the file") from None
        for name in sorted({*there, *self.settings}):
            if there.get(name) != self.settings.get(name):
                raise UserError(
                    f"{path}: half-finished answers of another evaluation: {name} is {there.get(name)!r:.80} "
                    f"there and {self.settings.get(name)!r:.80} here; set another OUTPUT_DIR, or remove the "
                    "file to begin anew"
                )


def read(path: Path) -> Iterator[Record]:
    """The records of a `predictions.jsonl`; a line that is no JSON object is refused by number."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path}:{number}: not JSON ({error.msg}); evaluate this task anew"
                ) from error
            if not isinstance(record, dict):
                raise UserError(f"{path}:{number}: not a JSON object; evaluate this task anew")
            yield record
