"""Compare runs or evaluations: `python -m inters_jax.compare RUN_A RUN_B ... --qrels FILE`

What is compared, in the order given, is either

    TREC or MS MARCO runs, with --qrels FILE          ranking measures of --measures, query by query
    results.json of evaluate, or their folders        the measures of the tasks they share, item by item,
                                                      from the predictions beside them

Means with confidence intervals are printed and, for every two systems, the difference, its interval, the
p-value of a paired permutation test (also with Holm's correction over all tests) and wins, ties and losses.
--output_dir also writes compare.md, .html, .csv and .tex, and compare.json with the values of every item.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inters_jax.config import run_command
from inters_jax.evaluation.comparison import MEASURES, CompareError, Comparison, Options
from inters_jax.evaluation.comparison_files import (
    compare_evaluations,
    compare_run_files,
    is_evaluation,
    named_paths,
)
from inters_jax.evaluation.results import write_json
from inters_jax.reports import comparison_page
from seqio_tasks.base import file_sha256

_PLAIN = ("qrels", "measures", "tasks", "output_dir", "missing")
_WITH_VALUE = ("--gin_file", "--gin_search_paths")
_BETWEEN = re.compile(r"[,\s]+(?![^()]*\))")  # commas inside RR(rel=2,judged_only=True) do not separate


def compare(
    runs: str | Sequence[str],
    qrels: str | None = None,
    measures: str | Sequence[str] = MEASURES,
    tasks: str | Sequence[str] | None = None,
    output_dir: str | None = None,
    missing: str = "refuse",
    samples: int = 100_000,
    bootstrap: int = 10_000,
    level: float = 0.95,
    interval: str = "percentile",
    seed: int = 0,
) -> Comparison:
    """Compare two or more runs on the same judgments, or two or more evaluations on the tasks they share.

    Args:
      runs: run files, or results.json files or folders of evaluate; separated by commas, or as arguments.
      qrels: judgments (TREC or BEIR); needed for run files.
      measures: of run files, in the spelling of ir_measures or trec_eval, separated by commas.
      tasks: of evaluations; None: all that every one of them has.
      output_dir: folder for compare.md, .html, .csv, .tex and .json; None: the tables are only printed.
      missing: 'refuse' runs over different judged queries, or count a query without results as 'zero'.
      samples: random sign assignments; for few queries all assignments are enumerated instead.
      bootstrap: resamples of a confidence interval.
      level: of the confidence intervals.
      interval: 'percentile' or 'bca'.
      seed: of the random assignments and resamples.
    """
    if min(samples, bootstrap) < 1:
        raise CompareError(f"SAMPLES is {samples} and BOOTSTRAP {bootstrap}; both must be at least 1")
    options = Options(samples, bootstrap, level, interval, seed)
    paths = named_paths(split(runs))
    evaluations = {name: is_evaluation(path) for name, path in paths.items()}
    if all(evaluations.values()):
        if qrels is not None:
            raise CompareError("evaluations bring their judgments: leave QRELS out")
        comparison = compare_evaluations(paths, split(tasks) if tasks else None, options)
    elif not any(evaluations.values()):
        comparison = compare_run_files(paths, qrels, split(measures), options, missing=missing)
    else:
        one = next(name for name, evaluation in evaluations.items() if evaluation)
        raise CompareError(f"{one} is an evaluation and others are run files: give either, not both")
    print(comparison_page.markdown(comparison), end="", flush=True)
    if output_dir is not None:
        folder = Path(output_dir)
        inputs = {name: {"path": str(path), **_hash(path)} for name, path in paths.items()}
        write_json(folder / "compare.json", {"inputs": inputs, **comparison.as_json()})
        comparison_page.write(comparison, folder)
    return comparison


def _hash(path: Path) -> dict[str, str]:
    file = path / "results.json" if path.is_dir() else path
    return {"sha256": file_sha256(file)}


def split(values: str | Sequence[str]) -> list[str]:
    """Split text at commas and blanks; a list is returned as it is.

    >>> split("nDCG@10, RR(rel=2,judged_only=True)@10 AP")
    ['nDCG@10', 'RR(rel=2,judged_only=True)@10', 'AP']
    """
    parts = _BETWEEN.split(values) if isinstance(values, str) else [str(value) for value in values]
    return [part for part in parts if part]


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
    try:
        arguments = plain_arguments(argv)
    except CompareError as error:
        raise SystemExit(f"compare: {error}") from error
    return run_command(compare, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
