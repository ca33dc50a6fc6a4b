"""Mixtures of the training tasks, each task as often as min(its rows, 5,000).

    inters                                  everything
    inters_<group>, inters_<task>           a part
    inters_without_<group>, .._<task>       everything but a part (hold-out experiments)
    inters_in_domain, inters_out_of_domain  by dataset
    inters_no_description, inters_no_template   everything, in an ablated form

Data sets are rarely all at hand. What is missing does not count: a mixture is made of the tasks whose files
lie under the raw directory, the others are named in a warning, and only a mixture without any data is an
error. `members` tells both beforehand.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import seqio
import tensorflow as tf

from seqio_tasks import catalog, tasks
from seqio_tasks.errors import MissingData

log = logging.getLogger(__name__)

CAP = 5000


class Members(NamedTuple):
    """available: (task name, rate); missing: (task name, why, naming the folder expected)."""

    available: list[tuple[str, float]]
    missing: list[tuple[str, str]]


class InstructionMixture(seqio.Mixture):
    """A mixture that is made of those of its tasks that have data."""

    def available(self, split: str = "train") -> Members:
        found = Members([], [])
        for task in self.tasks:
            reason = tasks.missing(task.name, split)
            if reason is None:
                found.available.append((task.name, rate(task, split=split)))
            else:
                found.missing.append((task.name, reason))
        return found

    def num_input_examples(self, split: str) -> int:
        names = [name for name, _ in self.available(split).available]
        return sum(task.num_input_examples(split) for task in self.tasks if task.name in names)

    def get_dataset(
        self,
        sequence_length: Any = None,
        split: str = "train",
        *args: Any,
        **kwargs: Any,
    ) -> tf.data.Dataset:
        """As `seqio.Mixture.get_dataset`, over the tasks that have data."""
        found = self.available(split)
        lines = "\n".join(f"  {name}: {reason}" for name, reason in found.missing)
        if not found.available:
            raise MissingData(f"no task of mixture {self.name} has data for split {split}:\n{lines}")
        if not found.missing:
            return super().get_dataset(sequence_length, split, *args, **kwargs)
        log.warning(
            "mixture %s, split %s: %d of %d tasks have no data and are left out:\n%s",
            self.name, split, len(found.missing), len(self.tasks), lines,
        )  # fmt: skip
        part = seqio.Mixture(self.name, found.available)
        return part.get_dataset(sequence_length, split, *args, **kwargs)


def rate(task: seqio.Task, split: str = "train", cap: int = CAP) -> float:
    """min(rows, cap): large data sets do not drown small ones. 0 for a task without data.

    The rows are those the catalog declares when the official files are there, and counted otherwise.
    """
    if tasks.missing(task.name, split) is not None:
        return 0.0
    return float(min(task.num_input_examples(split), cap))


def members(name: str, split: str = "train") -> Members:
    """The tasks of a mixture (or one task by itself) that have data now, with their rates, and the others."""
    if name in seqio.TaskRegistry.names():
        task = seqio.TaskRegistry.get(name)
        reason = tasks.missing(name, split)
        return Members([(name, rate(task, split))], []) if reason is None else Members([], [(name, reason)])
    mixture = seqio.MixtureRegistry.get(name)
    if not isinstance(mixture, InstructionMixture):
        raise ValueError(f"{name} is registered, but not a mixture of seqio_tasks")
    return mixture.available(split)


def definitions() -> dict[str, list[str]]:
    """Mixture name -> names of its tasks."""
    pairs = catalog.PAIRS
    everything = [pair.name for pair in pairs]
    found = {"inters": everything}
    parts = {pair.group: [entry.name for entry in pairs if entry.group == pair.group] for pair in pairs}
    parts |= {pair.task: [entry.name for entry in pairs if entry.task == pair.task] for pair in pairs}
    for part, names in parts.items():
        found[f"inters_{part}"] = names
        found[f"inters_without_{part}"] = [name for name in everything if name not in names]
    found["inters_in_domain"] = [pair.name for pair in pairs if pair.in_domain]
    found["inters_out_of_domain"] = [pair.name for pair in pairs if not pair.in_domain]
    for form in ("no_description", "no_template"):
        found[f"inters_{form}"] = [f"{name}_{form}" for name in everything]
    return {name: names for name, names in found.items() if names}


def register() -> None:
    """Adds every mixture to SeqIO's registry, once; the tasks must be there."""
    registered = seqio.MixtureRegistry.names()
    for name, names in definitions().items():
        if name not in registered:
            seqio.MixtureRegistry.add_provider(
                name, InstructionMixture(name, [(task, rate) for task in names])
            )
