"""Compare systems on the same items: values, confidence intervals and significance tests.

    compare_runs({"bm25": run, "model": run}, qrels, ["nDCG@10"])     TREC runs
    compare_values([Values(...)])                                     anything with a value per item

Both give a `Comparison`: one `ComparisonTable` for each set of items (the queries of the judgments, the items
of a task), with all values, so that reports can draw what they like. Every system is tested against every
later one; Holm's correction is over all tests of the comparison.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.evaluation.significance import (
    Floats,
    Permutation,
    bootstrap_intervals,
    holm,
    permutation_test,
    win_tie_loss,
)
from seqio_tasks.base import UserError
from seqio_tasks.metrics.ranking import evaluate_run

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP")


class CompareError(UserError):
    """Systems that cannot be compared as asked."""


@dataclass(frozen=True)
class Options:
    """How differences are tested.

    Attributes:
      samples: sign assignments of the permutation test.
      bootstrap: resamples of an interval.
      level: of the confidence intervals.
      interval: "percentile" or "bca".
      seed: of both.
    """

    samples: int = 100_000
    bootstrap: int = 10_000
    level: float = 0.95
    interval: str = "percentile"
    seed: int = 0


@dataclass(frozen=True)
class Values:
    """The input of one table: measure -> system -> item -> value; every system has the same items."""

    title: str
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairTest:
    """`other` minus `one` in a measure.

    Attributes:
      difference, low, high: the mean difference and its confidence interval.
      p_value: of the permutation test.
      p_adjusted: by Holm, over all tests of the comparison.
      wins, ties, losses: items on which `other` is better, equal, worse.
    """

    measure: str
    one: str
    other: str
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class AverageTest(PairTest):
    """The same for an average over pairs, in per cent, as `average_tests` computes it.

    `measure` names the average for the reader, `p_adjusted` is over all averages of the comparison, and wins,
    ties and losses are questions.

    Attributes:
      setting, name: how the pairs were prompted, and what is averaged (see `averages.Average`).
      pairs, questions: that enter the average.
      before, after: the averages of `one` and `other`.
    """

    setting: str
    name: str
    pairs: int
    questions: int
    before: float
    after: float


@dataclass(frozen=True)
class ComparisonTable:
    """Systems compared on one set of items.

    Attributes:
      values: measure -> float64 [systems, items].
      means: measure -> float64 [systems].
      intervals: measure -> float64 [systems, 2].
      tests: of every pair of systems in every measure.
      samples: sign assignments that the permutation test looked at.
      exact: whether these were all there are.
      notes: remarks for the reader.
    """

    title: str
    systems: tuple[str, ...]
    items: tuple[str, ...]
    values: dict[str, Floats]
    means: dict[str, Floats]
    intervals: dict[str, Floats]
    tests: tuple[PairTest, ...]
    samples: int
    exact: bool
    notes: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures, in the order given."""
        return tuple(self.values)


@dataclass(frozen=True)
class Comparison:
    """All tables of a comparison, and how they were made."""

    systems: tuple[str, ...]
    tables: tuple[ComparisonTable, ...]
    options: Options
    notes: tuple[str, ...] = ()
    averages: tuple[AverageTest, ...] = ()  # over the tables of a group; of evaluations only

    @property
    def tests(self) -> tuple[PairTest, ...]:
        """The tests of all tables."""
        return tuple(test for table in self.tables for test in table.tests)

    def as_json(self) -> dict[str, Any]:
        """Everything as dictionaries and lists, including the values of every item."""
        return dataclasses.asdict(self)  # results.write_json turns arrays into lists


def compare_values(
    tables: Sequence[Values], options: Options | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Compute means, intervals and tests.

    Args:
      tables: at least one; each has its own systems and items.
      options: of the tests and intervals.
      notes: remarks for the reader.

    Raises:
      CompareError: no table, or systems with different items.
    """
    options = options or Options()
    compared = [_table(values, options) for values in tables]
    if not compared:
        raise CompareError("there is nothing to compare")
    adjusted = iter(holm([test.p_value for table in compared for test in table.tests]).tolist())
    corrected = [
        dataclasses.replace(
            table,
            tests=tuple(dataclasses.replace(test, p_adjusted=next(adjusted)) for test in table.tests),
        )
        for table in compared
    ]
    return Comparison(compared[0].systems, tuple(corrected), options, tuple(notes))


def compare_runs(
    runs: Mapping[str, Mapping[str, Mapping[str, float]]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = MEASURES,
    options: Options | None = None,
    *,
    missing: str = "refuse",
    title: str = "runs",
) -> Comparison:
    """Compare runs on all queries of the judgments, ordered as trec_eval orders them.

    Args:
      runs: name -> query id -> document id -> score.
      qrels: query id -> document id -> grade. A judged query that no run has counts 0 for all, with a note.
      measures: ranking measures.
      options: of the tests and intervals.
      missing: when one run has judged queries that another has not: "refuse", or "zero" to count 0.
      title: of the table.

    Raises:
      CompareError: runs over different queries, or a run without a judged query.
    """
    if missing not in ("refuse", "zero"):
        raise CompareError(f"MISSING is {missing!r}; choose 'refuse' or 'zero'")
    notes = _check_queries(runs, qrels, missing)
    per_query = {}
    for name, run in runs.items():
        try:
            per_query[name] = evaluate_run(qrels, run, measures).per_query
        except ValueError as error:
            raise CompareError(f"{name}: {error}") from error
    names = list(next(iter(per_query.values()), {}))
    values = {measure: {name: own[measure] for name, own in per_query.items()} for measure in names}
    return compare_values([Values(title, values, tuple(notes))], options)


def _check_queries(
    runs: Mapping[str, Mapping[str, Any]], qrels: Mapping[str, Any], missing: str
) -> list[str]:
    """Notes about queries; runs over different judged queries are refused unless they count 0."""
    judged = {name: {query for query in run if query in qrels} for name, run in runs.items()}
    for name, queries in judged.items():
        if not queries:
            raise CompareError(f"{name}: none of its {len(runs[name])} queries is judged; other query ids?")
    anywhere = set().union(*judged.values())
    notes = []
    for name, queries in judged.items():
        if absent := sorted(anywhere - queries):
            shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            what = f"{name} has no results for {len(absent)} of {len(anywhere)} judged queries ({shown})"
            if missing == "refuse":
                raise CompareError(
                    f"the runs are over different queries: {what}, but another run has; with MISSING=zero "
                    "they count 0"
                )
            notes.append(f"{what}: they count 0.")
        if unjudged := len(runs[name]) - len(queries):
            notes.append(f"{name}: {unjudged} of its queries are not judged and left out.")
    if nowhere := len(qrels) - len(anywhere):
        notes.append(f"{nowhere} of {len(qrels)} judged queries are in no run: they count 0 for all.")
    return notes


def _table(values: Values, options: Options) -> ComparisonTable:
    measures = tuple(values.values)
    first = values.values[measures[0]]
    systems = tuple(first)
    items = tuple(first[systems[0]])
    for measure in measures:
        for system, own in values.values[measure].items():
            if own.keys() != first[systems[0]].keys():
                raise CompareError(
                    f"{values.title}, {measure}: {systems[0]} has {len(items)} items, {system} {len(own)}; "
                    f"{len(own.keys() & first[systems[0]].keys())} are the same"
                )
    arrays = {
        measure: np.asarray([[values.values[measure][s][item] for item in items] for s in systems])
        for measure in measures
    }
    pairs = list(itertools.combinations(range(len(systems)), 2))
    # float64 [items, columns]: every system in every measure, then every difference in every measure
    columns = np.concatenate([arrays[measure].T for measure in measures], axis=1)
    paired = [arrays[measure][b] - arrays[measure][a] for measure in measures for a, b in pairs]
    differences = np.stack(paired, axis=1) if paired else np.zeros((len(items), 0))
    intervals = bootstrap_intervals(
        np.concatenate([columns, differences], axis=1),
        samples=options.bootstrap,
        level=options.level,
        method=options.interval,
        seed=options.seed,
    )
    permutation = Permutation(np.zeros(0), 0, True)
    if paired:
        permutation = permutation_test(differences, samples=options.samples, seed=options.seed)
    tests = []
    for column, (measure, (a, b)) in enumerate(itertools.product(measures, pairs)):
        low, high = intervals[columns.shape[1] + column].tolist()
        wins, ties, losses = win_tie_loss(arrays[measure][a], arrays[measure][b])
        p_value = float(permutation.p_values[column])
        difference = float(differences[:, column].mean())
        tests.append(
            PairTest(
                measure, systems[a], systems[b], difference, low, high, p_value, p_value, wins, ties, losses
            )
        )
    size = len(systems)
    return ComparisonTable(
        values.title,
        systems,
        items,
        arrays,
        {measure: array.mean(axis=1) for measure, array in arrays.items()},
        {measure: intervals[at * size : (at + 1) * size] for at, measure in enumerate(measures)},
        tuple(tests),
        permutation.samples,
        permutation.exact,
        values.notes,
    )
