"""Mixtures of one's own: members with the number of their examples in an epoch.

    mixtures:
      clicks_and_inters: {clicks: 20000, inters: 100000}

A member is a task, a dataset of one's own, or a mixture; without a number it has as many examples as alone.
The tasks of a member share its examples in the proportion that they have in it, those without data left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seqio_tasks import mixtures, named_tasks
from seqio_tasks.base import nearest
from seqio_tasks.mixtures import Recipe
from seqio_tasks.own_data.declaration import check_name
from seqio_tasks.own_data.entries import Entry


@dataclass(frozen=True)
class Member:
    """A task or mixture; examples: of it in an epoch, None: as many as alone."""

    name: str
    examples: float | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks."""
        recipe = mixtures.recipes().get(self.name)
        return (self.name,) if recipe is None else recipe.tasks

    def natural(self, task: str, split: str, rows: int | None = None) -> float:
        """The rate of one of its tasks where the member stands alone."""
        recipe = mixtures.recipes().get(self.name)
        return mixtures.rate(task, split, rows=rows) if recipe is None else recipe.rate(task, split, rows)

    def rate(self, task: str, split: str, rows: int | None = None) -> float:
        """The examples of a task in an epoch that come from this member."""
        if task not in self.tasks:
            return 0.0
        own = self.natural(task, split, rows)
        total = math.fsum(rate for name in self.tasks if (rate := self.natural(name, split)))
        if self.examples is not None:
            return own * self.examples / total if total else 0.0
        recipe = mixtures.recipes().get(self.name)
        most = total if recipe is None or split != "train" else min(total, recipe.epoch())
        return own * most / total if total else 0.0


@dataclass(frozen=True)
class OwnRecipe(Recipe):
    """A mixture that a file declares."""

    members: tuple[Member, ...] = field(kw_only=True)

    def rate(self, task: str, split: str = "train", rows: int | None = None) -> float:
        """The sum of what the members have of a task."""
        return math.fsum(member.rate(task, split, rows) for member in self.members)

    def published_rate(self, task: str) -> float:
        """The rate by the files that are there: other sizes are not published."""
        return self.rate(task)

    def epoch(self) -> int:
        """All its examples."""
        return round(math.fsum(self.rate(task) for task in self.tasks))


def read_mixtures(entry: Entry, datasets: Mapping[str, str]) -> dict[str, OwnRecipe]:
    """The mixtures that a file declares.

    Args:
      entry: the key `mixtures`.
      datasets: name of a dataset of one's own -> its task.

    Raises:
      DataError: an unknown member, or a number of examples that is none.
    """
    found: dict[str, OwnRecipe] = {}
    for name in entry.value:
        one = entry.mapping(name)
        if one is None or not one.value:
            raise entry.error(name, f"mixture {name} is empty", "write its members: {NAME: EXAMPLES}")
        one.title = f"mixture {name}"
        check_name(one, str(name), [*mixtures.recipes(), *named_tasks.every(), *datasets, *datasets.values()])
        members = tuple(_member(one, str(key), datasets) for key in one.value)
        tasks = tuple(dict.fromkeys(task for member in members for task in member.tasks))
        about = ", ".join(map(str, one.value))
        found[str(name)] = OwnRecipe(tasks, about, members=members)
    return found


def _member(entry: Entry, name: str, datasets: Mapping[str, str]) -> Member:
    value = entry.value[name]
    known: Sequence[str] = [*datasets, *mixtures.recipes(), *named_tasks.every()]
    if name not in known:
        what = f"{entry.title}: {name!r} is no dataset of your own, task or mixture{nearest(name, known)}"
        raise entry.error(name, what, "python -m seqio_tasks.mixtures lists the mixtures")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < 1e9):
        what = f"{entry.title}: {name} has {value!r:.40} examples"
        raise entry.error(name, what, "write how many an epoch has, above 0, or nothing for as many as alone")
    return Member(datasets.get(name, name), None if value is None else float(value))
