"""Journals: what interrupted work has finished, one JSON object per line.

    {"settings": {...}}      line 1: what the entries belong to
    {...}                    one line per entry, in the order of writing

Entries are written as whole lines, so a killed process can cut off the last line only. Opening the journal
again removes such a line and says so. Any other damage is refused with its line number, and so is a journal
that was written with other settings.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from seqio_tasks.base import UserError, named, parse_json

log = logging.getLogger(__name__)

Entry = dict[str, Any]


class Line(NamedTuple):
    """An object on a line of a file; place: the byte at which the line begins."""

    number: int
    place: int
    value: Entry


class Journal:
    """An append-only file of finished work; opens an existing one or starts a new one.

    Args:
      path: the file. Missing folders are created.
      settings: everything that the entries depend on.
      todo: what the user can do about a journal that cannot be continued.

    Raises:
      UserError: the file was written with other settings, or is no journal.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, todo: str) -> None:
        self.path, self.todo = path, todo
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        self._entries = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._resume():
            self._write("wb", [{"settings": self.settings}])

    def __len__(self) -> int:
        return self._entries

    def __iter__(self) -> Iterator[Entry]:
        """The entries, read from the file one by one."""
        return (entry for _, entry in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Entry]]:
        """(line number, entry) of every entry, for messages about single entries."""
        lines = read_objects(self.path, todo=self.todo)
        next(lines)  # the settings
        return lines

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; they are handed to the operating system when this returns."""
        self._write("ab", entries)
        self._entries += len(entries)

    def copy_entries(self, file: IO[bytes]) -> None:
        """Write all entries, without the settings, to a binary file."""
        with self.path.open("rb") as source:
            source.readline()
            shutil.copyfileobj(source, file)

    def _write(self, mode: str, entries: Sequence[Entry]) -> None:
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        with named(self.path), self.path.open(mode) as file:
            file.write(text.encode("utf-8", "backslashreplace"))  # a lone surrogate as its JSON escape

    def _resume(self) -> bool:
        """Count the entries of an existing file and remove a cut last line; False if nothing is left."""
        if not self.path.is_file():
            return False
        whole, lines, cut = 0, 0, b""
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    cut = line
                    break
                whole, lines = whole + len(line), lines + 1
        if lines:
            self._check_settings()
            self._entries = lines - 1
        if cut:
            log.warning(
                "%s: removed line %d, which was cut off after %d bytes; its work is done again",
                self.path, lines + 1, len(cut),
            )  # fmt: skip
            with self.path.open("rb+") as file:
                file.truncate(whole)
        return lines > 0

    def _check_settings(self) -> None:
        _, header = next(read_objects(self.path, todo=self.todo))
        check_settings(self.path, header, self.settings, self.todo)

    def others(self, pattern: str) -> Iterator[tuple[Path, Line]]:
        """(path, line) of every entry of other journals of the folder, which have the same settings.

        Processes may still be writing them: a cut last line is not read.

        Raises:
          UserError: one was written with other settings, or is no journal.
        """
        for path in sorted(self.path.parent.glob(pattern)):
            if path == self.path:
                continue
            lines = _lines(path, todo=self.todo, growing=True)
            header = next(lines, None)
            if header is not None:
                check_settings(path, header.value, self.settings, self.todo)
                yield from ((path, line) for line in lines)


def check_settings(path: Path, header: Entry, settings: Mapping[str, Any], todo: str) -> None:
    """Refuse the first line of a journal that has other settings.

    Raises:
      UserError: it has, or is no such line.
    """
    found = header.get("settings")
    if header.keys() != {"settings"} or not isinstance(found, dict):
        raise UserError(f"{path}:1: expected settings, as at the start of a journal; {todo}")
    differing = [
        f"{name} was {found.get(name)!r:.60} and is now {settings.get(name)!r:.60}"
        for name in sorted({*found, *settings})
        if found.get(name) != settings.get(name)
    ]
    if differing:
        raise UserError(f"{path} was written with other settings: {'; '.join(differing)}; {todo}")


def read_objects(path: Path, *, todo: str) -> Iterator[tuple[int, Entry]]:
    """(line number, object) of every line of a JSON-lines file.

    Raises:
      UserError: a line is not a JSON object; `todo` ends the message.
    """
    return ((line.number, line.value) for line in _lines(path, todo=todo))


def read_at(path: Path, place: int) -> Entry:
    """The object on the line that begins at a place of a file (`Line.place`)."""
    with path.open("rb") as file:
        file.seek(place)
        found: Entry = parse_json(file.readline())
    return found


def _lines(path: Path, *, todo: str, growing: bool = False) -> Iterator[Line]:
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if growing and not line.endswith(b"\n"):
                return  # it is being written, or was cut off
            try:
                value = parse_json(line)
            except ValueError as error:  # not JSON, or not UTF-8
                reason = getattr(error, "msg", None) or getattr(error, "reason", error)
                raise UserError(f"{path}:{number}: not JSON ({reason}); {todo}") from None
            if not isinstance(value, dict):
                raise UserError(f"{path}:{number}: not a JSON object; {todo}")
            yield Line(number, place, value)
            place += len(line)
