"""Disk-full errors, from wherever they come, as one error that says what to do."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from seqio_tasks.base import UserError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# TensorStore writes in C++ and passes on only the text of the error.
_NO_SPACE_TEXT = re.compile(
    r"no space left|ENOSPC|EDQUOT|EFBIG|disk quota exceeded|file too large|OS error (28|27|122)\b",
    re.IGNORECASE,
)


class DiskFull(UserError):
    """A file of the run could not be written because the disk is full; says where and how to resume."""


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


def disk_full(what: str, folder: Path) -> DiskFull:
    """The error to raise when `what` could not be written below `folder`."""
    return DiskFull(
        f"{what} could not be written: no disk space is left in {folder} ({_room(folder)}). Free some space "
        "(or lower KEEP_CHECKPOINTS), then start the same command again: it resumes from the newest complete "
        "checkpoint"
    )


def _room(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 2**30:.2f} of {usage.total / 2**30:.2f} GiB free"
