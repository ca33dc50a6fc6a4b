"""Which settings of a list and of the sweep's own command line reach which step.

A step gets the settings that its command reads: TASKS goes to `evaluate`, BATCH_SIZE to `train`. A setting
that no step reads is refused before anything runs, and so is one SPLIT for training and judging.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.gin_files import read_file, search_paths
from inters_jax.settings.commands import COMMANDS, settings_of_command
from inters_jax.settings.fields import settings_of
from seqio_tasks.base import UserError, nearest


@dataclass(frozen=True)
class Arguments:
    """Gin files and settings for every run; a setting reaches the commands that read it."""

    files: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    search_paths: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """The arguments as they are typed."""
        return [*self.file_words(), *(f"--gin.{name}={value}" for name, value in self.values.items())]

    def file_words(self, before: Sequence[str] = ()) -> list[str]:
        """The search path and the gin files, behind those of an experiment."""
        folders = [f"--gin_search_paths={','.join(self.search_paths)}"] if self.search_paths else []
        return [*folders, *(f"--gin_file={name}" for name in (*before, *self.files))]


NO_ARGUMENTS = Arguments()


def check(experiments: ExperimentList, extra: Arguments) -> None:
    """Refuse a setting that no step reads, and one that the sweep itself gives every run.

    Raises:
      UserError: names the experiment or the argument, the setting and the nearest name.
    """
    for one in experiments.experiments:
        own = [name for name in one.overrides if name not in experiments.overrides]
        _check(one.name, own, [one], extra)
    _check("overrides of the list", experiments.overrides, experiments.experiments, extra)
    _check("sweep", extra.values, experiments.experiments, extra, prefix="--gin.")


def _check(
    where: str,
    names: Iterable[str],
    experiments: Sequence[Experiment],
    extra: Arguments,
    prefix: str = "",
) -> None:
    for name in names:
        if instead := _given_by_sweep(name):
            raise UserError(f"{where}: {prefix}{name} is set by the sweep for every run; {instead}")
        if name == "SPLIT" and (judges := _both_train_and_judge(experiments)):
            raise UserError(
                f"{where}: {prefix}SPLIT would be what train learns from and what {judges} judges on: the "
                f"model would be judged on its training questions; write {prefix}{judges}.split"
            )
        if name == "MODEL" and any(one.untuned for one in experiments):
            continue  # it is MODEL_DIR of their steps (`model_of_recipe`)
        if not any(reaches(step, name, one, extra) for one in experiments for step in one.steps):
            steps = dict.fromkeys(step for one in experiments for step in one.steps)
            known = {known for step in steps for known in settings_of_command(step)}
            raise UserError(
                f"{where}: no step ({', '.join(steps)}) reads {prefix}{name}{nearest(name, known)}"
            )


def _both_train_and_judge(experiments: Sequence[Experiment]) -> str | None:
    """A step that judges a split, of an experiment that also trains on one."""
    steps = [step for one in experiments if "train" in one.steps for step in one.steps if step != "train"]
    return next((step for step in steps if reads(step, "SPLIT")), None)


def _given_by_sweep(name: str) -> str | None:
    """What to set instead of a setting that depends on the run.

    >>> _given_by_sweep("SEED"), _given_by_sweep("evaluate.seed")
    ('set SEEDS, or evaluate.seed for the seed of the evaluation', None)
    """
    owner, _, argument = name.rpartition(".")
    if argument.upper() in ("MODEL_DIR", "OUTPUT_DIR"):
        return "set SWEEP_DIR"
    if argument.upper() == "SEED" and owner in ("", "train", "DataSettings"):
        return "set SEEDS, or evaluate.seed for the seed of the evaluation"
    return None


def values_for(step: str, one: Experiment, extra: Arguments) -> dict[str, str]:
    """The settings of a step's command line, by name; those of the sweep's command line win."""
    return {name: value for name, value in _given(one, extra).items() if reaches(step, name, one, extra)}


def model_of_recipe(one: Experiment, extra: Arguments) -> str:
    """MODEL of an experiment that judges it untuned: of the command line, its own, or of its gin files.

    Raises:
      UserError: there is none, or it is a shape without weights.
    """
    given = _given(one, extra)
    if "MODEL" in given:
        return given["MODEL"]
    paths = search_paths(extra.search_paths)
    files = (*one.gin_files, *extra.files)
    bound = [said for file in files for said in read_file(file, paths) if said.target == "MODEL"]
    if not bound:
        raise UserError(
            f"{one.name}: it neither trains nor has model_of, and no gin file sets MODEL, the model to judge"
        )
    model = ast.literal_eval(bound[-1].value) if not bound[-1].references | bound[-1].macros else None
    if not isinstance(model, str):
        raise UserError(
            f"{one.name}: it judges MODEL as it is, and {bound[-1].where} sets MODEL={bound[-1].value}, "
            "which has no weights; name a folder or hub model"
        )
    return model


def _given(one: Experiment, extra: Arguments) -> dict[str, str]:
    return {name: _text(value) for name, value in one.overrides.items()} | dict(extra.values)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def reaches(step: str, name: str, one: Experiment, extra: Arguments) -> bool:
    """Whether a step of an experiment gets a setting.

    A name that is no setting goes to every step if a gin file of the experiment uses it: %NAME.
    """
    if any(reads(command, name) for command in COMMANDS):
        return reads(step, name)
    return name in _macros((*one.gin_files, *extra.files), search_paths(extra.search_paths))


def reads(command: str, name: str) -> bool:
    """Whether a command reads a setting as it is typed; fields of third-party objects count for training.

    >>> reads("evaluate", "TASKS"), reads("evaluate", "BATCH_SIZE"), reads("train", "LoRA.rank")
    (True, False, True)
    """
    owner, _, argument = name.rpartition(".")
    if not owner:
        return name in settings_of_command(command)
    if owner in COMMANDS:
        return owner == command
    owner = owner.rpartition("/")[2].rpartition(".")[2]
    groups = {group.__name__: group for command in COMMANDS for group in COMMANDS[command]}
    if owner in groups:
        known = {one.field for one in settings_of(groups[owner])}
        return argument in known and groups[owner] in COMMANDS[command]
    objects = {known for one in settings_of_command(command).values() for known in one.meaning.objects}
    return bool(objects) and (owner in objects or owner not in _all_objects())


@functools.cache
def _all_objects() -> frozenset[str]:
    return frozenset(
        known
        for command in COMMANDS
        for one in settings_of_command(command).values()
        for known in one.meaning.objects
    )


def _macros(files: Iterable[str], paths: Sequence[Path]) -> set[str]:
    """The names that gin files refer to as %NAME."""
    return {name for file in files for statement in read_file(file, paths) for name in statement.macros}
