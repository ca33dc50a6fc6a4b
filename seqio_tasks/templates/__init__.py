"""Instruction templates of the tasks: the packaged files (`files`), overridden by your own (`own`)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from seqio_tasks import settings
from seqio_tasks.templates import own
from seqio_tasks.templates.files import (
    FAMILIES,
    FOLDER,
    JUDGED,
    OPTION_FIELDS,
    SLOTS,
    Parts,
    TaskTemplates,
    Template,
    TemplateError,
    load_entries,
    load_file,
    packaged,
    packaged_tasks,
    parse,
)

__all__ = [
    "FAMILIES",
    "FOLDER",
    "JUDGED",
    "OPTION_FIELDS",
    "SLOTS",
    "Parts",
    "TaskTemplates",
    "Template",
    "TemplateError",
    "load",
    "load_entries",
    "load_file",
    "packaged_tasks",
    "parse",
]


def load(task: str, files: Sequence[str] | None = None) -> TaskTemplates:
    """The templates of a task: the packaged ones, overridden by own template files.

    Args:
      task: name of the task.
      files: own files, read by `templates.own`, the later ones winning; None: those of the settings.
    """
    return _load(task, settings.current().templates if files is None else tuple(files))


@functools.cache
def _load(task: str, files: tuple[str, ...]) -> TaskTemplates:
    return own.overlay(packaged(task), files) if files else packaged(task)
