"""Every task by name: its pair and its form, and whether its data is there. No SeqIO needed.

`tasks` registers the same tasks with SeqIO.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from seqio_tasks import catalog, evaluation_only, released, row_source, settings
from seqio_tasks.base import UserError, nearest
from seqio_tasks.catalog import Pair
from seqio_tasks.variants import Form, forms_of


@functools.cache
def _table() -> dict[str, tuple[Pair, Form]]:
    return {pair.name + form.suffix: (pair, form) for pair, form in _own()}


def _own() -> Iterator[tuple[Pair, Form]]:
    for pair in catalog.PAIRS:
        for form in forms_of(pair):
            yield pair, form
    yield from released.tasks()
    for pair in catalog.EVALUATION_ONLY:
        yield pair, evaluation_only.FORM


def every() -> Mapping[str, tuple[Pair, Form]]:
    """Task name -> pair and form."""
    return MappingProxyType(_table())


def add(pair: Pair, form: Form) -> str:
    """Add a task, unless its name is taken, and return the name."""
    name = pair.name + form.suffix
    _table().setdefault(name, (pair, form))
    return name


def find(name: str) -> tuple[Pair, Form]:
    """The pair and the form of a task.

    Raises:
      UserError: there is no such task.
    """
    if name not in _table():
        raise UserError(f"no task of seqio_tasks is named {name!r}{nearest(name, _table())}")
    return _table()[name]


def missing(name: str, split: str) -> str | None:
    """Why a split of a task cannot be read, naming the folder expected; None if it can be read."""
    pair, form = find(name)
    return form.missing(pair, split, settings.current().raw_dir)


def available(name: str, split: str | None = None) -> bool:
    """Whether the raw directory of the settings has the files of a task: of one split, or of any."""
    return any(missing(name, one) is None for one in ((split,) if split else row_source.SPLITS))
