"""Lists of experiments, in YAML:

main: main                          # the others are compared with this one; default: the first
seeds: [0, 1, 2]
gin_files: [mistral.gin]            # before those of every experiment
overrides: {TASKS: inters}          # for every experiment, unless it sets them itself
experiments:
  - name: main
  - name: rows_{p}                  # `for` creates one experiment per combination of values
    for: {p: [25, 50]}
    gin_files: [lora.gin]
    overrides: {MIXTURE_OR_TASK_NAME: 'inters_{p}pct', TRAIN_STEPS: 100}
    steps: [train, evaluate]        # what is done; also rerank
    series: {per cent of rows: '{p}'}   # a curve of the report, and where on it this experiment lies
  - name: five shots
    model_of: main                  # no training: the model of another experiment, seed by seed
    overrides: {TASKS: inters_5shot}
  - name: reversed
    model_of: main
    steps: [rerank]
    order_of: pointwise             # reranks the candidates of this experiment ...
    order: reversed                 # ... in another order: reversed, or shuffled-0, shuffled-1, ...
  - name: distilled
    teacher_of: pointwise           # TEACHER is the reranked run of this experiment, seed by seed
    overrides: {LOSS: '@Distillation()'}
  - name: untuned
    steps: [evaluate]               # no training and no model_of: MODEL itself, as it is

An override reaches the steps whose command reads the setting (`inters_jax.experiments.routing`).
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, nearest
from seqio_tasks.yaml_files import read_yaml

STEPS = ("train", "evaluate", "rerank")
ORDER = re.compile(r"reversed|shuffled-\d+")
_LIST_KEYS = ("main", "seeds", "gin_files", "overrides", "experiments")
_LISTS = ("experiments", "gin_files", "steps")
_MAPPINGS = ("overrides", "series", "for")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Experiment:
    """One experiment; fields as in the YAML, with `for` resolved."""

    name: str
    gin_files: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    model_of: str | None = None
    order_of: str | None = None
    order: str | None = None
    teacher_of: str | None = None
    series: Mapping[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name of its folder.

        >>> Experiment("5 tasks, 25 %").folder
        '5_tasks_25'
        """
        return _NAME.sub("_", self.name).strip("_")

    @property
    def untuned(self) -> bool:
        """Whether it judges MODEL as it is."""
        return self.model_of is None and "train" not in self.steps

    @property
    def needs(self) -> tuple[str, ...]:
        """The experiments that must be finished before this one, seed by seed."""
        return tuple(name for name in (self.model_of, self.order_of, self.teacher_of) if name is not None)


@dataclass(frozen=True)
class ExperimentList:
    """All experiments of a list.

    overrides: those of the whole list; every experiment has them among its own, too.
    """

    name: str
    main: str
    seeds: tuple[int, ...]
    experiments: tuple[Experiment, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def experiment(self, name: str) -> Experiment:
        """The experiment of a name."""
        return next(one for one in self.experiments if one.name == name)


def read(path: str | Path) -> ExperimentList:
    """Read a list.

    Raises:
      UserError: a key, value or name that is wrong, with the experiment's number and name.
    """
    path = Path(path)
    content = read_yaml(path, UserError)
    if not isinstance(content, Mapping) or not content.get("experiments"):
        raise UserError(f"{path}: a list of experiments has the key 'experiments' with at least one")
    _check_keys(str(path), content, _LIST_KEYS)
    shared = content.get("overrides") or {}
    found: list[Experiment] = []
    for number, entry in enumerate(content["experiments"], start=1):
        where = f"{path}: experiment {number}"
        if not isinstance(entry, Mapping) or not entry.get("name"):
            raise UserError(f"{where}: it has no name")
        _check_keys(where, entry, [*(f.name for f in dataclasses.fields(Experiment)), "for"])
        found += [
            _experiment(where, one, content.get("gin_files") or (), shared) for one in _expanded(where, entry)
        ]
    main = str(content.get("main", found[0].name))
    _check(path, found, main)
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise UserError(f"{path}: seeds are whole numbers, such as [0, 1, 2]; found {seeds!r}")
    return ExperimentList(path.stem, main, tuple(dict.fromkeys(seeds)), tuple(found), shared)


def _check_keys(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [key for key in given if key not in known]:
        near = nearest(str(unknown[0]), known)
        raise UserError(f"{where}: unknown key {unknown[0]!r}{near}; known are {', '.join(known)}")
    for key, value in given.items():
        if key in _LISTS and not isinstance(value, list | None):
            raise UserError(f"{where}: {key} must be a list, such as [{value}]; found {value!r}")
        if key in _MAPPINGS and not isinstance(value, Mapping | None):
            raise UserError(f"{where}: {key} must be a mapping, such as {{name: value}}; found {value!r}")


def _expanded(where: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per combination of the values in `for`; they replace {name} in every text.

    A text that is {name} alone becomes the value, a number for instance.
    """
    rest = {key: value for key, value in entry.items() if key != "for"}
    axes = entry.get("for") or {}
    if any(not isinstance(values, list) or not values for values in axes.values()):
        raise UserError(f"{where}: every name in 'for' must have a list of values")
    return [
        _filled(rest, dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())
    ]


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        for name, chosen in names.items():
            if value == f"{{{name}}}":
                return chosen
            value = value.replace(f"{{{name}}}", str(chosen))
        return value
    if isinstance(value, Mapping):
        return {_filled(key, names): _filled(item, names) for key, item in value.items()}
    return [_filled(item, names) for item in value] if isinstance(value, list) else value


def _experiment(
    where: str, entry: Mapping[str, Any], files: Sequence[str], overrides: Mapping[str, Any]
) -> Experiment:
    where = f"{where} ({entry['name']})"
    trains = entry.get("model_of") is None
    steps = tuple(entry.get("steps") or (("train", "evaluate") if trains else ("evaluate",)))
    if wrong := [step for step in steps if step not in STEPS]:
        raise UserError(f"{where}: no step {wrong[0]!r}; the steps are {', '.join(STEPS)}")
    if not trains and "train" in steps:
        raise UserError(f"{where}: an experiment either trains, or has model_of")
    order = entry.get("order")
    if (order is None) != (entry.get("order_of") is None) or (order and steps != ("rerank",)):
        raise UserError(f"{where}: order and order_of must be set together, with rerank as the only step")
    if order is not None and not ORDER.fullmatch(str(order)):
        raise UserError(f"{where}: order must be reversed or shuffled-N, got {order!r}")
    if entry.get("teacher_of") and ("train" not in steps or "TEACHER" in (entry.get("overrides") or {})):
        raise UserError(f"{where}: teacher_of is for an experiment that trains, in place of TEACHER")
    try:
        series = {str(key): float(value) for key, value in (entry.get("series") or {}).items()}
    except (TypeError, ValueError):
        if order is None:
            raise UserError(f"{where}: the values of series are numbers") from None
        places = {"reversed": -1.0}  # on the axis of orders, left of the shuffles
        series = {str(key): places.get(str(order), float(str(order)[9:] or 0)) for key in entry["series"]}
    return Experiment(
        name=str(entry["name"]),
        gin_files=(*files, *(entry.get("gin_files") or ())),
        overrides={**overrides, **(entry.get("overrides") or {})},
        steps=tuple(step for step in STEPS if step in steps),
        model_of=entry.get("model_of"),
        order_of=entry.get("order_of"),
        order=order,
        teacher_of=entry.get("teacher_of"),
        series=series,
    )


def _check(path: Path, found: Sequence[Experiment], main: str) -> None:
    """Check that every folder is used once and that what an experiment needs comes before it."""
    folders: dict[str, str] = {}
    earlier: dict[str, Experiment] = {}
    for one in found:
        if not one.folder.strip("."):
            raise UserError(f"{path}: {one.name!r} has no letter or digit that could name its folder")
        if one.folder in folders:
            raise UserError(f"{path}: {one.name!r} and {folders[one.folder]!r} would have the same folder")
        for name in one.needs:
            if name not in earlier:
                raise UserError(f"{path}: {one.name} needs {name!r}, which is not an earlier experiment")
        if one.model_of and "train" not in earlier[one.model_of].steps:
            raise UserError(f"{path}: {one.name}: {one.model_of} trains no model")
        for name in filter(None, (one.order_of, one.teacher_of)):
            if "rerank" not in earlier[name].steps:
                raise UserError(f"{path}: {one.name}: {name} reranks nothing")
        folders[one.folder] = one.name
        earlier[one.name] = one
    if main not in earlier:
        raise UserError(f"{path}: main is {main!r}, which is not an experiment of the list")
