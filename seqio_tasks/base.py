"""Basics for every module: user-facing errors, atomic writes, locks, hashes.

Imports only the standard library.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


class UserError(ValueError):
    """A problem that the user can fix: a setting, a file, a machine.

    The message says what is wrong, where, and what to do. Commands print it as one line. Subclasses exist
    only where code catches them by name.
    """


class DataError(UserError):
    """A data file that cannot be used.

    The message has the form ``file:line: what; what to do`` (unknown parts are left out):

    >>> print(DataError("3 columns, expected 5", path="orcas.tsv", line=7, todo="download the file again"))
    orcas.tsv:7: 3 columns, expected 5; download the file again
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        todo: str | None = None,
    ) -> None:
        self.what = what
        self.path = None if path is None else Path(path)
        self.line = line
        self.todo = todo
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(f"{where}{what}" + (f"; {todo}" if todo else ""))


class MissingData(DataError):
    """An official file is missing (as opposed to broken)."""


def nearest(name: str, candidates: Iterable[str], *, most: int = 3) -> str:
    """``; did you mean X?`` for the candidates closest to `name`, ignoring case; "" if none is close.

    >>> nearest("max_lenth", ["max_length", "seed"])
    '; did you mean max_length?'
    >>> nearest("zebra", ["max_length", "seed"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in sorted(candidates)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(by_folded[folded] for folded in close)}?" if close else ""


def some(names: list[str], separator: str = ", ", limit: int = 5) -> str:
    """The first `limit` names and how many more there are, for error messages."""
    more = f"{separator}and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


def aligned(rows: Sequence[Sequence[str]], align: str = "") -> list[str]:
    """Lines of text whose cells stand in columns, two spaces apart.

    Args:
      rows: cells; every row has the same number of them.
      align: "l" or "r" for each column; columns beyond it are aligned left.

    >>> aligned([["task", "rows"], ["a", "1,200"]], "lr")
    ['task   rows', 'a     1,200']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if side == "r" else "<" for side in align.ljust(len(widths), "l")]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives the system's errors of writing, such as that of a full disk, the name of the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path next to `path`, renamed to it when the block succeeds and removed otherwise.

    The temporary file is hidden (`.NAME.xxxxxxxx.partial`), has the permissions of a new file, and is unique
    to this process. Missing folders are created.

    >>> target = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with replacing(target) as partial:
    ...     _ = partial.write_text("x")
    ...     target.exists()
    False
    >>> [path.name for path in target.parent.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        partial.chmod(0o666 & ~_umask())
        with named(path):
            yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
      json.JSONDecodeError: it is no JSON, nested too deeply, or has a number that Python does not read.
      UnicodeDecodeError: bytes that are not UTF-8.
    """
    text = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:
        reason = "a number has more than 4,300 digits"
    raise json.JSONDecodeError(reason, text, 0)


def read_json(path: Path, error: type[UserError] = UserError) -> Any:
    """The value of a JSON file.

    Raises:
      error: the file is not JSON in UTF-8; the message has its line.
    """
    try:
        return parse_json(path.read_bytes())
    except json.JSONDecodeError as wrong:
        raise error(f"{path}:{wrong.lineno}: not JSON ({wrong.msg})") from wrong
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: not UTF-8 ({wrong.reason} at byte {wrong.start})") from wrong


def read_json_object(path: Path, error: type[UserError] = UserError) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      error: the file is not JSON, or holds another value.
    """
    value = read_json(path, error)
    if not isinstance(value, dict):
        raise error(f"{path}: a JSON {json_kind(value)}, expected an object")
    return value


def json_kind(value: Any) -> str:
    """What JSON calls a value.

    >>> [json_kind(value) for value in ({}, [], "a", 1, 0.5, True, None)]
    ['object', 'list', 'text', 'number', 'number', 'truth value', 'null']
    """
    kinds = {dict: "object", list: "list", str: "text", int: "number", float: "number", bool: "truth value"}
    return kinds.get(type(value), "null")


def read_text(path: Path, error: type[UserError] = UserError) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
      error: the file is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: not UTF-8 ({wrong.reason} at byte {wrong.start})") from wrong


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class AlreadyLocked(UserError):
    """Another process holds a lock."""


@contextlib.contextmanager
def locked(path: str | Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; it is released when its process ends, even if killed.

    On systems without locks (Windows, some network file systems) nothing is locked.

    Args:
      path: the lock file; it is created, and not removed.
      busy: the error message if another process holds the lock; None waits for the lock.

    Raises:
      AlreadyLocked: another process holds the lock and `busy` is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
            except BlockingIOError:
                raise AlreadyLocked(busy or "") from None
            except OSError:
                pass
        yield


def whole_number(text: str) -> int | None:
    """The number of a text; None if it is not a whole number of 32 bits.

    >>> whole_number("2"), whole_number("0.5"), whole_number("9" * 5000)
    (2, None, None)
    """
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**31) <= number < 2**31 else None


def text_hash(text: str, byteorder: Literal["little", "big"] = "little") -> int:
    """A stable 64-bit hash of a text: the same on every machine, Python version and run.

    >>> text_hash("pearl farming"), text_hash("pearl farming", "big")
    (11841703917829405627, 13527566597529425572)
    """
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), byteorder)


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
