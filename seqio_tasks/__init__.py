"""Public information-retrieval data sets as instruction-tuning tasks for SeqIO.

    import seqio, seqio_tasks
    dataset = seqio.get_mixture_or_task("inters").get_dataset({"inputs": 1792, "targets": 256}, "train")

Importing this package registers all tasks and mixtures with SeqIO: at once if SeqIO is already imported,
otherwise as soon as it is. Only `tasks`, `mixtures.registered`, `pipeline`, `vocabularies` and `registration`
import SeqIO or TensorFlow; everything else is light. No data file is opened and no tokenizer loaded before a
task is used. `seqio_tasks.configure(raw_dir=..., tokenizer=...)` sets where the data is; without it, the
small collection that comes with the package is read. `configure(datasets="mine.yaml")` adds data of your own,
`add` the same from Python (`own_data`).
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import wrapt

from seqio_tasks.settings import configure

_SEQIO_SIDE = frozenset(
    f"seqio_tasks.{name}" for name in ("vocabularies", "pipeline", "tasks", "mixtures.registered")
)
_imported: set[str] = set()


def _register(module: ModuleType) -> None:
    """Register once SeqIO is imported, but not while a module that registration needs is being imported."""
    _imported.add(module.__name__)
    if "seqio" in _imported and _SEQIO_SIDE & sys.modules.keys() <= _imported:
        importlib.import_module("seqio_tasks.registration")


for _name in ("seqio", *_SEQIO_SIDE):
    wrapt.when_imported(_name)(_register)


def __getattr__(name: str) -> Any:
    if name in ("mixtures", "tasks"):
        return importlib.import_module(f"seqio_tasks.{name}")
    if name == "add":
        return importlib.import_module("seqio_tasks.own_data").add
    if name in ("available", "members"):
        importlib.import_module("seqio_tasks.own_data").register()
        owner = "named_tasks" if name == "available" else "mixtures"
        return getattr(importlib.import_module(f"seqio_tasks.{owner}"), name)
    raise AttributeError(f"module 'seqio_tasks' has no attribute {name!r}")


__all__ = ["add", "available", "configure", "members", "mixtures", "tasks"]
