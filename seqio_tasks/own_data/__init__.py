"""Search data of one's own as tasks: declared in a YAML file, or added from Python.

    seqio_tasks.configure(datasets="mine.yaml")    or INTERS_DATASETS=mine.yaml, or DATASETS of a command
    seqio_tasks.add(pair)                          a `Pair` with a reader (docs/add_a_dataset.md)

docs/own_data.md shows the file, `declaration` and `mixture` read it. Either way the datasets become the same
objects as the packaged ones, and everything that takes a task knows them. No mixture of INTERS gets them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from seqio_tasks import catalog, mixtures, named_tasks, settings
from seqio_tasks.base import DataError, file_sha256
from seqio_tasks.catalog import Pair
from seqio_tasks.own_data import declaration
from seqio_tasks.own_data.mixture import OwnRecipe, read_mixtures
from seqio_tasks.sources import retrieval_sets
from seqio_tasks.sources.retrieval_sets import RetrievalSet
from seqio_tasks.variants import forms_of

_registered: dict[Path, str] = {}  # file -> digest of its content
_SEQIO_SIDE = "seqio_tasks.registration"  # imported as soon as SeqIO is; it registers all that is known then


def add(pair: Pair, collection: RetrievalSet | None = None) -> None:
    """Add a pair of your own, in all forms of tasks, for this process.

    Args:
      pair: its task is one of `catalog.TASKS`.
      collection: the collection of a ranking pair, where it is no BEIR folder `beir_<dataset>` of the raw
        directory with published train, dev and test queries.

    Raises:
      DataError: there is such a pair, or no such task.
    """
    catalog.add(pair)
    if collection is not None:
        retrieval_sets.add(collection)
    seqio_side = sys.modules.get(_SEQIO_SIDE)
    for form in forms_of(pair):
        named_tasks.add(pair, form)
        if seqio_side is not None:
            seqio_side.tasks.add(pair, form)


def register(files: Sequence[str | Path] = ()) -> None:
    """Register the datasets and mixtures that files declare, once.

    Args:
      files: the files; (): those of INTERS_DATASETS.

    Raises:
      DataError: anything that is wrong in a file, with its line; nothing of that file is registered then.
    """
    for name in files or settings.from_environment().datasets:
        path = Path(name)
        known = _registered.get(path.absolute())
        if known is not None:
            if known != file_sha256(path):
                raise DataError("changed since it was registered", path=path, todo="start Python again")
            continue
        _register(declaration.read(path))
        _registered[path.absolute()] = file_sha256(path)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--datasets`, whose value `register` takes."""
    what = "files that declare data of your own; default: those of INTERS_DATASETS"
    parser.add_argument("--datasets", action="append", default=[], metavar="FILE", help=what)


def members(mixture: str) -> dict[str, float | None] | None:
    """The members of a mixture that a file declares, with their examples; None for any other mixture."""
    recipe = mixtures.recipes().get(mixture)
    if not isinstance(recipe, OwnRecipe):
        return None
    return {member.name: member.examples for member in recipe.members}


def _register(found: declaration.Declared) -> None:
    datasets = {one.pair.dataset: one.pair.name for one in found.datasets}
    for one in found.datasets:
        for form in forms_of(one.pair):
            if (name := one.pair.name + form.suffix) in named_tasks.every():
                raise one.entry.error(None, f"there is already a task {name}", "use another name")
    mixed = {} if found.mixtures is None else read_mixtures(found.mixtures, datasets)
    for one in found.datasets:
        catalog.add_task(one.pair.task, one.task)
        add(one.pair, one.collection)
    for name, recipe in mixed.items():
        mixtures.add(name, recipe)
    if mixed and (seqio_side := sys.modules.get(_SEQIO_SIDE)) is not None:
        seqio_side.registered.register()
