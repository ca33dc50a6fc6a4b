"""Disk-full errors, from wherever they come, as one error that says what to do."""

from __future__ import annotations

from pathlib import Path

from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import no_space


class DiskFull(UserError):
    """A file of the run could not be written because the disk is full; says where and how to resume."""


def disk_full(what: str, folder: Path) -> DiskFull:
    """The error to raise when `what` could not be written below `folder`."""
    return DiskFull(
        f"{what} could not be written: {no_space(folder)}. Free some space (or lower KEEP_CHECKPOINTS), "
        "then start the same command again: it resumes from the newest complete checkpoint"
    )
