"""Compare runs or evaluations: `python -m inters_jax.compare RUN_A RUN_B ... --qrels FILE`

What is compared, in the order given, is either

    TREC or MS MARCO runs, with --qrels FILE          ranking measures of --measures, query by query
    results.json of evaluate, or their folders        the measures of their common tasks, item by item, from
                                                      the predictions that lie beside them

Printed and, with --output_dir, written: means with confidence intervals, and for each two systems the
difference, its interval, the p-value of a paired permutation test (also with Holm's correction over all that
is tested) and wins, ties and losses: compare.md and compare.json, which holds the values of every item.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.command_line import run_command
from inters_jax.evaluation import report
from inters_jax.evaluation.comparison import (
    CompareError,
    Comparison,
    Options,
    Values,
    compare_runs,
    compare_values,
)
from inters_jax.reports import comparison_page
from inters_jax.reports.tables import Table
from inters_jax.settings.tools import CompareSettings
from seqio_tasks.base import file_sha256
from seqio_tasks.metrics.measures import split_measures

_PLAIN = ("qrels", "measures", "tasks", "output_dir", "missing")
_WITH_VALUE = ("--gin_file", "--gin_search_paths")


def compare(settings: CompareSettings) -> Comparison:
    """Compare two or more runs on the same judgments, or two or more evaluations on their common tasks."""
    options = Options(settings.samples, settings.bootstrap, settings.level, settings.interval, settings.seed)
    paths = named_paths(settings.runs)
    evaluations = {name: _is_evaluation(path) for name, path in paths.items()}
    if all(evaluations.values()):
        if settings.qrels is not None:
            raise CompareError("evaluations bring their judgments: leave QRELS out")
        found = compare_evaluations(paths, list(settings.tasks) or None, options)
    elif not any(evaluations.values()):
        found = _compare_run_files(
            paths, settings.qrels, split_measures(settings.measures), settings.missing, options
        )
    else:
        one = next(name for name, evaluation in evaluations.items() if evaluation)
        raise CompareError(f"{one} is an evaluation and others are run files: give either, not both")
    text = f"# Comparison of {', '.join(found.systems)}\n\n" + found.markdown()
    print(text, flush=True)
    if settings.output_dir is not None:
        inputs = {name: {"path": str(path), **_hash(path)} for name, path in paths.items()}
        report.write_json(Path(settings.output_dir) / "compare.json", {"inputs": inputs, **found.as_json()})
        _write(Path(settings.output_dir), found, text)
    return found


def _write(folder: Path, found: Comparison, text: str) -> None:
    """compare.md, compare.html, compare.csv (the differences) and compare.tex."""
    tables = comparison_page.tables(found)
    html = comparison_page.page(
        found,
        title=" · ".join(found.systems),
        eyebrow="Comparison",
        facts={"tables": len(found.tables), "tests": len(found.tests), "seed": found.options.seed},
        made_by="python -m inters_jax.compare",
    )
    differences = [row for table in tables[1::2] for row in ([table.title, *cells] for cells in table.rows)]
    whole = Table("differences", ["items", *tables[1].header], differences)
    report.write_text(folder / "compare.md", text)
    report.write_text(folder / "compare.html", html)
    report.write_text(folder / "compare.csv", whole.csv())
    report.write_text(folder / "compare.tex", "\n".join(table.latex() for table in tables))


def _hash(path: Path) -> dict[str, str]:
    file = path / "results.json" if path.is_dir() else path
    return {"sha256": file_sha256(file)}


def named_paths(runs: Sequence[str]) -> dict[str, Path]:
    """Short names that tell the paths apart: the last part, with as many before it as are needed."""
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.exists():
            raise CompareError(f"{path}: no such file or folder")
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise CompareError(f"two or more different runs are needed, given are {', '.join(runs) or 'none'}")
    wholes = [path.resolve() for path in paths]
    stripped = [
        whole.parent if whole.name == "results.json" else whole.with_suffix("") if whole.is_file() else whole
        for whole in wholes
    ]
    for depth in range(1, max(len(whole.parts) for whole in stripped) + 1):
        names = ["/".join(whole.parts[-depth:]) for whole in stripped]
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    return dict(zip(map(str, paths), paths, strict=True))  # run.trec and run.txt in one folder


def _is_evaluation(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".json"


def _compare_run_files(
    paths: Mapping[str, Path],
    qrels: str | None,
    measures: Sequence[str],
    missing: str,
    options: Options,
) -> Comparison:
    from seqio_tasks.metrics import parse_measure, read_qrels, read_run

    if qrels is None:
        raise CompareError("run files need their judgments: --qrels FILE")
    if not Path(qrels).is_file():
        raise CompareError(f"{qrels}: no such file")
    try:
        wanted = [str(parse_measure(measure)) for measure in measures]
    except ValueError as error:
        raise CompareError(str(error)) from error
    runs = {name: read_run(path) for name, path in paths.items()}
    return compare_runs(runs, read_qrels(qrels), wanted, options, missing=missing, title=Path(qrels).name)


def compare_evaluations(
    paths: Mapping[str, Path], tasks: Sequence[str] | None = None, options: Options | None = None
) -> Comparison:
    """Evaluations on their common tasks, or on `tasks`; one table for each task and set of items."""
    results = {name: report.read_result(path) for name, path in paths.items()}
    for name, result in results.items():
        if result["manifest"].get("command") == "rerank":
            raise CompareError(f"{name} is a result of rerank: compare its reranked.trec, with --qrels")
    common = [
        task
        for task in next(iter(results.values()))["metrics"]
        if all(task in result["metrics"] for result in results.values())
    ]
    notes = _notes(results, common)
    if tasks is not None:
        for task in tasks:
            if task not in common:
                have = [name for name, result in results.items() if task in result["metrics"]]
                raise CompareError(
                    f"task {task} is not in every evaluation, but in {', '.join(have) or 'none'}; all have "
                    f"{', '.join(common) or 'no task'}"
                )
        common = [task for task in common if task in tasks]
    tables: list[Values] = []
    for task in common:
        found = {name: per_item_values(path, task) for name, path in paths.items()}
        tables += _tables_of(task, found)
    if not tables:
        raise CompareError("the evaluations have no task in common with a value per item")
    return compare_values(tables, options, notes)


def _notes(results: Mapping[str, Mapping[str, Any]], common: Sequence[str]) -> list[str]:
    """What makes the evaluations differ beside their models."""
    notes = []
    first, *others = results
    for other in others:
        for key in ("split", "seed", "max_length", "max_examples", "raw_data"):
            one, two = results[first]["manifest"].get(key), results[other]["manifest"].get(key)
            if one != two:
                notes.append(f"Not the same {key}: {first} {one}, {other} {two}.")
    for name, result in results.items():
        if alone := [task for task in result["metrics"] if task not in common]:
            notes.append(f"Not compared, because not every evaluation has them: {name}: {', '.join(alone)}.")
    return notes


def per_item_values(path: Path, task: str) -> dict[str, dict[str, float]]:
    """measure -> item -> value of one task of an evaluation."""
    from seqio_tasks.metrics import read_qrels
    from seqio_tasks.metrics.protocols import per_item

    folder = (path if path.is_dir() else path.parent) / task
    predictions, judgments = folder / "predictions.jsonl", folder / "qrels.txt"
    if not predictions.is_file():
        raise CompareError(f"{predictions}: no such file; evaluate writes it beside its results.json")
    records = []
    with predictions.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise CompareError(f"{predictions}:{number}: not JSON ({error.msg})") from error
    try:
        return per_item(task, records, qrels=read_qrels(judgments) if judgments.is_file() else None)
    except (KeyError, ValueError) as error:
        raise CompareError(f"{predictions}: {error}") from error


def _tables_of(task: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Values]:
    """One table for the measures that have the same items; systems with different items are refused."""
    first, *others = found
    tables: dict[tuple[str, ...], dict[str, dict[str, Mapping[str, float]]]] = {}
    for measure, values in found[first].items():
        for other in others:
            theirs = found[other].get(measure, {})
            if values.keys() != theirs.keys():
                raise CompareError(
                    f"{task}: the evaluations are over different items: {first} has {len(values)}, {other} "
                    f"{len(theirs)}, {len(values.keys() & theirs.keys())} are the same. TASKS chooses others"
                )
        tables.setdefault(tuple(values), {})[measure] = {name: own[measure] for name, own in found.items()}
    return [Values(task, values) for values in tables.values()]


def plain_arguments(argv: Sequence[str]) -> list[str]:
    """Paths, --qrels FILE and the like as the gin arguments that run_command reads.

    >>> plain_arguments(["a.trec", "b.trec", "--qrels", "q.tsv", "--gin.SEED=1"])
    ['--gin.SEED=1', "--gin.QRELS='q.tsv'", "--gin.RUNS=['a.trec', 'b.trec']"]
    """
    gin: list[str] = []
    plain: list[str] = []
    paths: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        flag, separator, value = argument.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") in _PLAIN:
            if not separator:
                if not rest:
                    raise CompareError(f"{flag} needs a value: {flag} VALUE")
                value = rest.pop(0)
            plain.append(f"--gin.{flag[2:].replace('-', '_').upper()}={value!r}")
        elif argument in _WITH_VALUE and rest:
            gin += [argument, rest.pop(0)]
        elif argument.startswith("-"):
            gin.append(argument)
        else:
            paths.append(argument)
    return [*gin, *plain, *([f"--gin.RUNS={paths!r}"] if paths else [])]


def main(argv: Sequence[str]) -> Any:
    try:
        arguments = plain_arguments(argv)
    except CompareError as error:
        raise SystemExit(f"compare: {error}") from error
    return run_command(compare, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
