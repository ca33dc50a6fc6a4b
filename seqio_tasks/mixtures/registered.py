"""The mixtures in SeqIO's registry."""

from __future__ import annotations

import functools
import logging
from typing import Any

import seqio
import tensorflow as tf

from seqio_tasks import mixtures
from seqio_tasks.base import MissingData

log = logging.getLogger(__name__)


class InstructionMixture(seqio.Mixture):
    """A mixture of those of its tasks that have data."""

    def available(self, split: str = "train") -> mixtures.Members:
        """The tasks that have data, with their rates, and those that have none."""
        rates = {t.name: functools.partial(self.rate_per_task_name[t.name], t) for t in self.tasks}
        return mixtures.members_of(rates, split)

    def num_input_examples(self, split: str) -> int:
        """The rows of the tasks that have data."""
        names = [name for name, _ in self.available(split).available]
        return sum(task.num_input_examples(split) for task in self.tasks if task.name in names)

    def get_dataset(
        self,
        sequence_length: Any = None,
        split: str = "train",
        *args: Any,
        **kwargs: Any,
    ) -> tf.data.Dataset:
        """As `seqio.Mixture.get_dataset`, over the tasks that have data.

        Raises:
          MissingData: no task has data.
        """
        found = self.available(split)
        lines = "\n".join(f"  {name}: {reason}" for name, reason in found.missing)
        if not found.available:
            raise MissingData(f"no task of mixture {self.name} has data for split {split}:\n{lines}")
        if found.missing:
            log.warning(
                "mixture %s, split %s: %d of %d tasks have no data and are left out:\n%s",
                self.name, split, len(found.missing), len(self.tasks), lines,
            )  # fmt: skip
        # Mixed by the rates of this split: SeqIO would ask for those of the training split.
        part = seqio.Mixture(self.name, found.available)
        return part.get_dataset(sequence_length, split, *args, **kwargs)


def rate(task: seqio.Task, split: str = "train", *, recipe: mixtures.Recipe, **options: Any) -> float:
    """The rate of a SeqIO task in a mixture."""
    return recipe.rate(task.name, split, **options)


def register() -> None:
    """Add every mixture to SeqIO's registry, once; the tasks must be there."""
    registered = seqio.MixtureRegistry.names()
    for name, recipe in mixtures.recipes().items():
        if name not in registered:
            rates = [(task, functools.partial(rate, recipe=recipe)) for task in recipe.tasks]
            seqio.MixtureRegistry.add_provider(name, InstructionMixture(name, rates))
