"""Shared by all readers: finding files, decoding lines, counting what is left out."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from seqio_tasks.base import DataError, MissingData, json_kind, parse_json

Row = dict[str, Any]

BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
# JSON text that may hold a lone surrogate or a number that is not finite; most text has none of these.
_SUSPECT = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity|[eE]\+?\d{3}|\d{309}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class SourceReport(Counter[str]):
    """The numbers of records that a source left out, by reason; ``summary()`` is one readable line.

    >>> report = SourceReport()
    >>> report["no narrative"] += 2
    >>> report.summary()
    'no narrative: 2'
    """

    def summary(self) -> str:
        parts = [f"{reason}: {count}" for reason, count in sorted(self.items()) if count]
        return ", ".join(parts) or "nothing left out"


def find_files(raw_dir: Path | str, folder: str, patterns: tuple[str, ...], what: str) -> list[Path]:
    """Files of the first pattern that matches in ``raw_dir/folder``, sorted by name."""
    base = Path(raw_dir) / folder
    for pattern in patterns:
        found = sorted(path for path in base.glob(pattern) if path.is_file())
        if found:
            return found
    raise MissingData(
        f"no {what} here (looked for {', '.join(patterns)})",
        path=base,
        todo=f"put the official file into {base} (`python -m seqio_tasks.catalog` names it)",
    )


def find_file(raw_dir: Path | str, folder: str, patterns: tuple[str, ...], what: str) -> Path:
    """The single file of the first matching pattern; several candidates are an error."""
    found = find_files(raw_dir, folder, patterns, what)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"several files could be the {what}: {names}", path=found[0].parent, todo="keep one")
    return found[0]


def open_bytes(path: Path) -> IO[bytes]:
    """A file to read, unzipped if its first bytes are those of gzip, whatever its name."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]  # a reader too


def plain_or_gz(path: Path) -> Path:
    """The file `path`, or `path`.gz where that alone exists; `path` if neither does."""
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if zipped.is_file() and not path.is_file() else path


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without line end) of a UTF-8 file, gzipped or not; BOM and CR are removed.

    Only LF and CRLF end a line: characters such as U+2028 or a vertical tab inside a cell are kept.
    """
    with open_bytes(path) as file:
        number = 0
        rows = iter(file)
        while True:
            try:
                raw = next(rows, None)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    f"broken gzip file ({error})", path=path, line=number + 1, todo="download it again"
                ) from None
            if raw is None:
                return
            number += 1
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"not UTF-8 ({error.reason} at byte {error.start})",
                    path=path,
                    line=number,
                    todo="convert it to UTF-8",
                ) from None
            yield number, text.removesuffix("\n").removesuffix("\r")


@contextlib.contextmanager
def reading_gzip(path: Path) -> Iterator[None]:
    """Turns the errors of a cut or damaged gzip file into one that names it."""
    try:
        yield
    except BROKEN_GZIP as error:
        raise DataError(f"broken gzip file ({error})", path=path, todo="download it again") from None


def unusable(text: str, value: Any, start: int = 0, end: int | None = None) -> str:
    """What in a JSON value cannot be used as data; "" if nothing.

    Python reads lone surrogates, which are no text, and numbers that are not finite, unlike JSON.

    Args:
      text: the JSON text.
      value: its value.
      start, end: the part of the text that belongs to the value.

    >>> unusable('{"a": "\\\\ud83d"}', {"a": "\\ud83d"})
    "half of a surrogate pair (\\\\ud83d) under 'a', which is no text"
    >>> unusable('[1e999]', [float("inf")])
    'the number inf, which is not finite'
    """
    if _SUSPECT.search(text, start, len(text) if end is None else end) is None:
        return ""
    return fault_of(value)


def fault_of(value: Any) -> str:
    """What in a value, of a JSON text, cannot be used as data; "" if nothing. See `unusable`."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, one = waiting.pop()
        where = f" under {name!r}" if name else ""
        if isinstance(one, float) and not math.isfinite(one):
            return f"the number {one}{where}, which is not finite"
        if isinstance(one, dict):
            for key, inner in one.items():
                waiting += [("", key), (key.encode("utf-8", "backslashreplace").decode(), inner)]
        elif isinstance(one, list):
            waiting += [(name, inner) for inner in one]
        elif isinstance(one, str):
            half = _SURROGATE.search(one)
            if half is not None:
                return f"half of a surrogate pair (\\u{ord(half[0]):04x}){where}, which is no text"
    return ""


def json_file(path: Path) -> Any:
    """The value of a JSON file that is small enough to be read at once."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = parse_json(text)
    except ValueError as error:  # neither UTF-8 nor JSON
        line = getattr(error, "lineno", None)
        raise DataError(f"not JSON ({error})", path=path, line=line, todo="download the file again") from None
    if found := unusable(text, value):
        raise DataError(found, path=path, todo="repair or remove the record")
    return value


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every non-blank line of a JSON-lines file."""
    for number, text in lines(path):
        if text.strip():
            yield number, json_object(text, path, number)


def json_object(text: str, path: Path, number: int | None = None) -> dict[str, Any]:
    """The object on one line of a JSON-lines file; path and line number are for error messages."""
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON ({error.msg}, column {error.colno})",
            path=path,
            line=number,
            todo="download the file again",
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            f"a JSON {json_kind(value)}, expected an object",
            path=path,
            line=number,
            todo="check the file",
        )
    if found := unusable(text, value):
        raise DataError(found, path=path, line=number, todo="repair or remove the line")
    return value


def _whole(path: Path) -> bytes:
    with open_bytes(path) as file:
        try:
            return file.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"broken gzip file ({error})", path=path, todo="download it again") from None


def xml_root(path: Path) -> ElementTree.Element:
    """The root element of an XML file."""
    try:
        return ElementTree.fromstring(_whole(path))
    except ElementTree.ParseError as error:
        raise DataError(
            f"not XML ({error.msg})", path=path, line=error.position[0], todo="download it again"
        ) from None


def tsv_rows(
    path: Path, required: tuple[str, ...], *, complete: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of a tab-separated file with a header; quotes are plain characters.

    ``csv`` with its default quoting merges rows of files with unbalanced quotes (MSRP loses 114 of 4,076), so
    lines are split at tabs only. Extra non-empty cells are an error. Trailing empty cells may be missing,
    unless the lines must be `complete`: then every line has a cell, if an empty one, for each named column.
    """
    header: list[str] | None = None
    named = 0
    for number, text in lines(path):
        if header is None:
            header = [cell.strip() for cell in text.split("\t")]
            named = max((place for place, name in enumerate(header, 1) if name), default=0)
            missing = [name for name in required if name not in header]
            if missing:
                raise DataError(
                    f"header lacks {', '.join(missing)} (it has {', '.join(header)})",
                    path=path,
                    line=number,
                    todo="use the official file with its header line",
                )
            continue
        if not text.strip():
            continue
        cells = text.split("\t")
        if any(cell.strip() for cell in cells[len(header) :]):
            raise DataError(
                f"{len(cells)} columns, header has {len(header)}",
                path=path,
                line=number,
                todo="download the file again",
            )
        if complete and len(cells) < named:
            raise DataError(
                f"{len(cells)} columns, header has {named}",
                path=path,
                line=number,
                todo="the line is cut or not part of the file; download the file again",
            )
        padded = cells + [""] * (len(header) - len(cells))
        yield number, {name: cell.strip() for name, cell in zip(header, padded, strict=False) if name}
    if header is None:
        raise DataError("the file is empty", path=path, todo="download the file again")


def one_line(text: str) -> str:
    """Text on one line with single spaces.

    >>> one_line("Describe the history\\n   of the  U.S. oil industry ")
    'Describe the history of the U.S. oil industry'
    """
    return " ".join(text.split())
