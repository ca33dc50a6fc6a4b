"""Shared by all readers: finding files, decoding lines, counting what is left out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from seqio_tasks.base import DataError, MissingData

Row = dict[str, Any]


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


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every non-blank line of a JSON-lines file."""
    for number, text in lines(path):
        if text.strip():
            yield number, json_object(text, path, number)


def json_object(text: str, path: Path, number: int | None = None) -> dict[str, Any]:
    """The object on one line of a JSON-lines file; path and line number are for error messages."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON ({error.msg}, column {error.colno})",
            path=path,
            line=number,
            todo="download the file again",
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            f"a JSON {type(value).__name__}, expected an object",
            path=path,
            line=number,
            todo="check the file",
        )
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


def tsv_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of a tab-separated file with a header; quotes are plain characters.

    ``csv`` with its default quoting merges rows of files with unbalanced quotes (MSRP loses 114 of 4,076), so
    lines are split at tabs only. Trailing empty cells may be missing; extra non-empty cells are an error.
    """
    header: list[str] | None = None
    for number, text in lines(path):
        if header is None:
            header = [cell.strip() for cell in text.split("\t")]
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
