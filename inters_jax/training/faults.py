"""Disk-full errors, from wherever they come, as one error that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

from seqio_tasks.base import UserError


class DiskFull(UserError):
    """A file of the run could not be written because the disk is full; says where and how to resume."""


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
