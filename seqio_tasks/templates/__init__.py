"""Instruction templates of the tasks: the packaged files (`files`), overridden by your own (`own`)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from seqio_tasks import catalog, settings
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
    general,
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

    Of datasets of your own, those that their declaration names come before these files.

    Args:
      task: name of the task.
      files: own files, read by `templates.own`, the later ones winning; None: those of the settings.

    Raises:
      TemplateError: there is no such task, or a file cannot be used.
    """
    given = settings.current().templates if files is None else tuple(files)
    return _load(task, (*catalog.template_files(task), *given))


@functools.cache
def _load(task: str, files: tuple[str, ...]) -> TaskTemplates:
    shape = catalog.TASKS.get(task)
    if shape is not None and shape.description:
        found = TaskTemplates(task, shape.description, {})
    else:
        found = packaged(task)
    if shape is not None and shape.kind == "rank":
        found = dataclasses.replace(found, general=general())
    return own.overlay(found, files) if files else found
