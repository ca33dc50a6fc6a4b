"""Compare runs or evaluations: `python -m inters_jax.compare RUN_A RUN_B ... --qrels FILE`

What is compared, in the order given, is either

    TREC or MS MARCO runs, with --qrels FILE          ranking measures of --measures, query by query
    results.json of evaluate, or their folders        the measures of the tasks they share, item by item,
                                                      from the predictions beside them

Means with confidence intervals are printed and, for every two systems, the difference, its interval, the
p-value of a paired permutation test (also with Holm's correction over all tests) and wins, ties and losses.
A single run is measured.
--output_dir also writes compare.md, .html, .csv and .tex, and compare.json with the values of every item.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inters_jax.command_line import run_command
from inters_jax.evaluation.comparison import CompareError, Comparison, Options
from inters_jax.evaluation.comparison_files import (
    compare_evaluations,
    compare_run_files,
    is_evaluation,
    named_paths,
)
from inters_jax.evaluation.results import write_json
from inters_jax.reports import comparison_page
from inters_jax.settings.tools import CompareSettings
from seqio_tasks import own_data
from seqio_tasks.base import file_sha256
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics.measures import split_measures

_PLAIN = ("qrels", "measures", "tasks", "datasets", "output_dir", "missing", "run_format")
_WITH_VALUE = ("--gin_file", "--gin_search_paths")


def compare(settings: CompareSettings) -> Comparison:
    """Measure runs on the same judgments and compare them, or evaluations on their common tasks."""
    own_data.register(settings.datasets)
    options = Options(settings.samples, settings.bootstrap, settings.level, settings.interval, settings.seed)
    paths = named_paths(settings.runs)
    evaluations = {name: is_evaluation(path) for name, path in paths.items()}
    if all(evaluations.values()):
        if settings.qrels is not None:
            raise CompareError("evaluations bring their judgments: leave QRELS out")
        found = compare_evaluations(paths, list(settings.tasks) or None, options)
    elif not any(evaluations.values()):
        found = compare_run_files(
            paths,
            settings.qrels,
            split_measures(settings.measures),
            options,
            missing=settings.missing,
            run_format=settings.run_format,
        )
    else:
        one = next(name for name, evaluation in evaluations.items() if evaluation)
        raise CompareError(f"{one} is an evaluation and others are run files: give either, not both")
    print(comparison_page.markdown(found), end="", flush=True)
    if settings.output_dir is not None:
        folder = Path(settings.output_dir)
        inputs = {name: {"path": str(path), **_hash(path)} for name, path in paths.items()}
        write_json(folder / "compare.json", {"inputs": inputs, **found.as_json()})
        comparison_page.write(found, folder)
    return found


def _hash(path: Path) -> dict[str, str]:
    file = path / "results.json" if path.is_dir() else path
    return {"sha256": file_sha256(file)}


def plain_arguments(argv: Sequence[str]) -> list[str]:
    """Translate paths, --qrels FILE and the like to the gin arguments that run_command reads.

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
    """The command; ends with one line for an error of the user."""
    with one_line("compare"):
        arguments = plain_arguments(argv)
    return run_command(compare, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
