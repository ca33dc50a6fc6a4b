"""Errors that are no fault of the program, as the one line with which a command ends.

Imports only the standard library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import UserError

TRACEBACK = "INTERS_TRACEBACK"  # set in the environment, it shows where an error was raised

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# TensorStore writes in C++ and passes on only the text of the error.
_NO_SPACE_TEXT = re.compile(
    r"no space left|ENOSPC|EDQUOT|EFBIG|disk quota exceeded|file too large|OS error (28|27|122)\b",
    re.IGNORECASE,
)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, means that the disk is full.

    >>> is_disk_full(OSError(28, "No space left on device")), is_disk_full(ValueError("OS error 5"))
    (True, False)
    """
    seen: BaseException | None = error
    while seen is not None:
        if (isinstance(seen, OSError) and seen.errno in _NO_SPACE) or _NO_SPACE_TEXT.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def no_space(folder: Path) -> str:
    """What to say of a folder without room."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    free, total = usage.free / 2**30, usage.total / 2**30
    return f"no disk space is left in {folder} ({free:.2f} of {total:.2f} GiB free)"


def expected(error: BaseException) -> str | None:
    """What was wrong, where and what to do, in one line; None for a fault of the program.

    >>> expected(PermissionError(13, "Permission denied", "/data/run"))
    '/data/run: Permission denied; check the path, its permissions and its disk'
    >>> expected(KeyError("weight_map")) is None
    True
    """
    if isinstance(error, UserError):
        return str(error)
    if is_disk_full(error):
        place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        return f"{place}no disk space is left; free some, then start the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path, its permissions and its disk"
    # So XLA begins the error of a device without room.
    if isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED"):
        reason = (str(error).strip() or "MemoryError").splitlines()[0]
        return f"out of memory ({reason:.200}); lower BATCH_SIZE, BATCH_TOKENS or MAX_LENGTH, or add devices"
    return None


@contextlib.contextmanager
def one_line(command: str) -> Iterator[None]:
    """End the program with one line if the block raises an error that is no fault of it."""
    try:
        yield
    except Exception as error:
        message = expected(error)
        if message is None or os.environ.get(TRACEBACK):
            raise
        raise SystemExit(f"{command}: {message}") from error
