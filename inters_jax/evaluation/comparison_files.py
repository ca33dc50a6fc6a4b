"""Read what is compared from disk: run files with their judgments, or the results of evaluations.

    compare_run_files(paths, "qrels.txt", ["nDCG@10"])     TREC or MS MARCO runs, query by query
    compare_evaluations({"a": folder, "b": folder})        the tasks both have, item by item

Both give a `Comparison`. Nothing here imports JAX or TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.evaluation import records
from inters_jax.evaluation.average_tests import average_tests
from inters_jax.evaluation.comparison import (
    MEASURES,
    CompareError,
    Comparison,
    Options,
    Values,
    compare_runs,
    compare_values,
)
from inters_jax.evaluation.results import read_result, wrong_file
from seqio_tasks.base import UserError
from seqio_tasks.metrics import parse_measure, read_qrels, read_run
from seqio_tasks.metrics.protocols import per_item

# Settings of an evaluation that should be equal when models are compared.
_SHARED_SETTINGS = ("split", "seed", "max_length", "max_examples", "raw_data")


def named_paths(runs: Sequence[str]) -> dict[str, Path]:
    """The paths of runs by short names (`short_names`).

    Raises:
      CompareError: a path does not exist, or is there twice.
    """
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.exists():
            raise CompareError(f"{path}: no such file or folder")
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise CompareError(f"different runs are needed; given: {', '.join(runs) or 'none'}")
    return short_names(paths)


def short_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Give every path a short unique name: its last part, with as many parts before it as needed.

    >>> list(short_names([Path("/a/x/results.json"), Path("/a/y"), Path("/b/y")]))
    ['a/x', 'a/y', 'b/y']
    """
    resolved = [path.resolve() for path in paths]
    stripped = [
        path.parent if path.name == "results.json" else path.with_suffix("") if path.is_file() else path
        for path in resolved
    ]
    for depth in range(1, max((len(path.parts) for path in stripped), default=0) + 1):
        names = ["/".join(path.parts[-depth:]) for path in stripped]
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    return dict(zip(map(str, paths), paths, strict=True))  # run.trec and run.txt in one folder


def is_evaluation(path: Path) -> bool:
    """Whether a path names an evaluation (a results.json or its folder) rather than a run file."""
    return path.is_dir() or path.suffix == ".json"


def compare_run_files(
    paths: Mapping[str, Path],
    qrels: str | Path | None,
    measures: Sequence[str] = MEASURES,
    options: Options | None = None,
    *,
    missing: str = "refuse",
    run_format: str = "auto",
) -> Comparison:
    """Compare run files on the same judgments; of a single one, the means and their intervals.

    Args:
      paths: name -> TREC or MS MARCO run.
      qrels: judgments, TREC or BEIR.
      measures: ranking measures, in the spelling of ir_measures or trec_eval.
      options: of the tests and intervals.
      missing: see `compare_runs`.
      run_format: "ranks", "scores" or "auto": the third column of runs with three.
    """
    if qrels is None:
        raise CompareError("run files need their judgments: --qrels FILE")
    if not Path(qrels).is_file():
        raise CompareError(f"{qrels}: no such file")
    try:
        wanted = [str(parse_measure(measure)) for measure in measures]
    except ValueError as error:
        raise CompareError(str(error)) from error
    runs = {name: read_run(path, run_format) for name, path in paths.items()}
    return compare_runs(runs, read_qrels(qrels), wanted, options, missing=missing, title=Path(qrels).name)


def compare_evaluations(
    paths: Mapping[str, Path], tasks: Sequence[str] | None = None, options: Options | None = None
) -> Comparison:
    """Compare evaluations on the tasks they share, with one table per task and set of items, and in averages.

    Args:
      paths: name -> results.json of `evaluate`, or its folder.
      tasks: which of the shared tasks; None: all.
      options: of the tests and intervals.
    """
    if len(paths) < 2:
        raise CompareError(
            f"{', '.join(paths)} is one evaluation, whose report has its figures: name another"
        )
    results = {name: read_result(path) for name, path in paths.items()}
    for name, result in results.items():
        if result["manifest"].get("command") == "rerank":
            raise CompareError(f"{name} is a result of rerank: compare its reranked.trec, with --qrels")
    shared = [
        task
        for task in next(iter(results.values()))["metrics"]
        if all(task in result["metrics"] for result in results.values())
    ]
    notes = _notes(results, shared)
    if tasks is not None:
        for task in tasks:
            if task not in shared:
                owners = [name for name, result in results.items() if task in result["metrics"]]
                raise CompareError(
                    f"task {task} is not in every evaluation, but in {', '.join(owners) or 'none'}; all have "
                    f"{', '.join(shared) or 'no task'}"
                )
        shared = [task for task in shared if task in tasks]
    tables: list[Values] = []
    for task in shared:
        for name, result in results.items():
            if (wrong := wrong_file(_folder(paths[name]), result, task)) is not None:
                raise CompareError(f"{wrong}; evaluate this task again")
        tables += _by_items(task, {name: per_item_values(path, task) for name, path in paths.items()})
    if not tables:
        raise CompareError("the evaluations have no task in common with a value per item")
    compared = compare_values(tables, options, notes)
    return dataclasses.replace(compared, averages=average_tests(compared))


def per_item_values(path: Path, task: str) -> dict[str, dict[str, float]]:
    """measure -> item -> value for one task of an evaluation, from its predictions.

    Raises:
      CompareError: the predictions are missing, damaged, or not of this task.
    """
    folder = _folder(path) / task
    predictions, judgments = folder / records.PREDICTIONS, folder / "qrels.txt"
    if not predictions.is_file():
        raise CompareError(f"{predictions}: no such file; evaluate writes it beside its results.json")
    try:
        rows = list(records.read(predictions))
    except UserError as error:
        raise CompareError(str(error)) from error
    for number, row in enumerate(rows, start=1):
        if "score" not in row and not isinstance(row.get("prediction", ""), str):
            raise CompareError(
                f"{predictions}:{number}: the prediction is {row['prediction']!r:.40}, not a text"
            )
    try:
        return per_item(task, rows, qrels=read_qrels(judgments) if judgments.is_file() else None)
    except (KeyError, ValueError) as error:
        raise CompareError(f"{predictions}: {error}") from error


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _notes(results: Mapping[str, Mapping[str, Any]], shared: Sequence[str]) -> list[str]:
    """Settings in which the evaluations differ, and tasks that not all of them have."""
    notes = []
    first, *others = results
    for other in others:
        for key in _SHARED_SETTINGS:
            one, two = results[first]["manifest"].get(key), results[other]["manifest"].get(key)
            if one != two:
                notes.append(f"Not the same {key}: {first} {one}, {other} {two}.")
    for name, result in results.items():
        if alone := [task for task in result["metrics"] if task not in shared]:
            notes.append(f"Not compared, because not every evaluation has them: {name}: {', '.join(alone)}.")
    return notes


def _by_items(task: str, values: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Values]:
    """Group measures that have the same items; systems with different items are refused."""
    first, *others = values
    groups: dict[tuple[str, ...], dict[str, dict[str, Mapping[str, float]]]] = {}
    for measure, own in values[first].items():
        for other in others:
            theirs = values[other].get(measure, {})
            if own.keys() != theirs.keys():
                raise CompareError(
                    f"{task}: the evaluations are over different items: {first} has {len(own)}, {other} "
                    f"{len(theirs)}, {len(own.keys() & theirs.keys())} are the same; choose other TASKS"
                )
        groups.setdefault(tuple(own), {})[measure] = {
            name: system[measure] for name, system in values.items()
        }
    return [Values(task, group) for group in groups.values()]
