"""JSON files too large to load at once: one value at a time, from plain or gzipped text.

    hotpot_train_v1.1.json    [{...}, {...}, ...]                          566 MB
    web-train.json            {"Data": [{...}, ...], "Version": 1.0}       one array below a key
    merged_train_intents.json {"17": {...}, "18": {...}}                   one object, member by member
    train_v2.1.json.gz        {"query": {"0": "..."}, "passages": {...}}   a table, column by column

Whether a file is gzipped is detected from its first bytes: some files named .gz are plain text.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO, Any

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import BROKEN_GZIP, open_bytes, unusable

_CHUNK = 1 << 20
_LARGEST = 1 << 28  # characters of one value


def open_text(path: Path) -> IO[str]:
    """A text file in UTF-8, or in UTF-16 with its byte order mark, gzipped or not."""
    with open_bytes(path) as file:
        try:
            utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"broken gzip file ({error})", path=path, todo="download it again") from None
    return io.TextIOWrapper(open_bytes(path), encoding="utf-16" if utf16 else "utf-8-sig")


def array_items(path: Path, key: str = "") -> Iterator[Any]:
    """The elements of the top-level array or, with a key, of the array under this key of an object.

    Several top-level arrays one after the other (``cat a.json b.json``) are read as one.
    """
    with open_text(path) as file:
        stream = _Stream(file, path)
        if not key:
            yield from stream.items()
            while stream.peek() == "[":
                yield from stream.items()
            stream.end()
            return
        found = False
        for name in stream.names():
            if name == key and not found:
                found = True
                yield from stream.items()
            else:
                stream.value()
        if not found:
            raise stream.error(f"no key {key!r}")
        stream.end()


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, value) of every member of the top-level object."""
    with open_text(path) as file:
        stream = _Stream(file, path)
        for name in stream.names():
            yield name, stream.value()
        stream.end()


def is_columns(path: Path) -> bool:
    """Whether the file is stored by columns, {"query": {"0": ...}}, rather than one row per line."""
    with open_text(path) as file:
        stream = _Stream(file, path)
        return any(stream.peek() == "{" for _ in stream.names(first_only=True))


def columns(path: Path, wanted: Container[str]) -> Iterator[tuple[str, str, Any]]:
    """(column, row key, value) for the wanted columns, in file order."""
    with open_text(path) as file:
        stream = _Stream(file, path)
        for column in stream.names():
            for key in stream.names():
                value = stream.value()
                if column in wanted:
                    yield column, key, value
        stream.end()


class _Stream:
    """Reads tokens of a JSON text through a buffer; `at` is the position in it."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.at, self.passed, self.lines = "", 0, 0, 1
        self.decoder = json.JSONDecoder()

    def error(self, what: str, at: int | None = None) -> DataError:
        at = self.at if at is None else at
        where = f"character {self.passed + at:,}"
        line = self.lines + self.text.count("\n", 0, at)
        return DataError(f"{what} ({where})", path=self.path, line=line, todo="download the file again")

    def more(self) -> bool:
        """Reads more and drops what has been consumed. The size doubles with the current value."""
        try:
            chunk = self.file.read(max(_CHUNK, len(self.text) - self.at))
        except (UnicodeError, OSError, *BROKEN_GZIP) as error:
            raise self.error(f"not readable as UTF-8 text ({error})") from None
        if not chunk:
            return False
        self.passed += self.at
        self.lines += self.text.count("\n", 0, self.at)
        self.text, self.at = self.text[self.at :] + chunk, 0
        return True

    def peek(self) -> str:
        """The next character that is not whitespace; "" at the end of the file."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in " \t\r\n":
                    return self.text[self.at]
                self.at += 1
            if not self.more():
                return ""

    def take(self, *wanted: str) -> str:
        found = self.peek()
        if found not in wanted:
            raise self.error(f"not JSON: {found!r} where {' or '.join(map(repr, wanted))} was expected")
        self.at += 1
        return found

    def end(self) -> None:
        """Refuse anything behind the value of the file, which would be lost."""
        if self.peek():
            raise self.error("more text behind the end of the JSON value")

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > _LARGEST or not self.more():
                    raise self.error(f"not JSON: {error.msg}", error.pos) from None
                continue
            except RecursionError:
                raise self.error("not JSON: nested too deeply") from None
            except ValueError:
                raise self.error("not JSON: a number has more than 4,300 digits") from None
            if end == len(self.text) and self.more():
                continue  # a number may continue beyond the buffer
            if found := unusable(self.text, value, self.at, end):
                raise self.error(found)
            self.at = end
            return value

    def items(self) -> Iterator[Any]:
        self.take("[")
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            yield self.value()
            if self.take(",", "]") == "]":
                return

    def names(self, *, first_only: bool = False) -> Iterator[str]:
        """The keys of an object; the caller must consume each value."""
        self.take("{")
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise self.error(f"not JSON: the key {name!r} is not a string")
            self.take(":")
            yield name
            if first_only or self.take(",", "}") == "}":
                return
