"""Systems held against each other on the same items: values, intervals, tests, and tables of them.

    compare_runs({"bm25": run, "model": run}, qrels, ["nDCG@10"])     TREC runs
    compare_values([Values(...)])                                     anything with a value per item

Both give a `Comparison`: one `Table` for each set of items (the queries of the judgments, the items of a
task) with all values, so that reports can draw what they like. Every system is tested against every later
one; Holm's correction is over all tests of the comparison.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.evaluation import report
from inters_jax.evaluation.significance import (
    Floats,
    bootstrap_intervals,
    holm,
    permutation_test,
    win_tie_loss,
)
from seqio_tasks.base import UserError

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP")


class CompareError(UserError):
    """Systems that cannot be compared as asked."""


@dataclass(frozen=True)
class Options:
    """How differences are tested.

    samples: assignments of signs of the permutation test; bootstrap: resamples of an interval; level of the
    intervals; interval: "percentile" or "bca"; seed of both.
    """

    samples: int = 100_000
    bootstrap: int = 10_000
    level: float = 0.95
    interval: str = "percentile"
    seed: int = 0


@dataclass(frozen=True)
class Values:
    """What is compared in one table: measure -> system -> item -> value; every system has the same items."""

    title: str
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairTest:
    """`other` minus `one` in a measure. p_adjusted: by Holm, over all tests of the comparison."""

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
class Table:
    """Systems on one set of items.

    values: measure -> float64 [systems, items]; means: measure -> [systems]; intervals: measure ->
    [systems, 2]; samples, exact: of the permutation test (exact: every assignment of signs was looked at).
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
        return tuple(self.values)


@dataclass(frozen=True)
class Comparison:
    """All tables, and how they were made."""

    systems: tuple[str, ...]
    tables: tuple[Table, ...]
    options: Options
    notes: tuple[str, ...] = ()

    @property
    def tests(self) -> tuple[PairTest, ...]:
        return tuple(test for table in self.tables for test in table.tests)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain lists and dictionaries, the values of every item too."""
        return dataclasses.asdict(self)  # report.write_json turns arrays into lists

    def markdown(self) -> str:
        """The tables for reading."""
        parts = [part for table in self.tables for part in _table_text(table, self.options)]
        many = len(self.tests)
        parts += [f"- {note}" for note in self.notes]
        parts.append(
            f"p (Holm): corrected over the {many} test{'s' * (many != 1)} of this comparison. Wins, ties and "
            "losses are those of the second system."
        )
        return "\n\n".join(parts) + "\n"


def compare_values(
    tables: Sequence[Values], options: Options | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Means, intervals and tests of all tables."""
    options = options or Options()
    made = [_table(values, options) for values in tables]
    if not made:
        raise CompareError("there is nothing to compare")
    adjusted = iter(holm([test.p_value for table in made for test in table.tests]).tolist())
    corrected = [
        dataclasses.replace(
            table,
            tests=tuple(dataclasses.replace(test, p_adjusted=next(adjusted)) for test in table.tests),
        )
        for table in made
    ]
    return Comparison(made[0].systems, tuple(corrected), options, tuple(notes))


def compare_runs(
    runs: Mapping[str, Mapping[str, Mapping[str, float]]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = MEASURES,
    options: Options | None = None,
    *,
    missing: str = "refuse",
    title: str = "runs",
) -> Comparison:
    """Runs (query id -> document id -> score) on all queries of the judgments, in trec_eval's order.

    missing: what happens when one run has judged queries that another has not: "refuse", or "zero", where
        such a query counts 0. A judged query that no run has counts 0 for all, and is said.
    """
    from seqio_tasks.metrics.ranking import evaluate_run

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
    found = {measure: {name: own[measure] for name, own in per_query.items()} for measure in names}
    return compare_values([Values(title, found, tuple(notes))], options)


def _check_queries(
    runs: Mapping[str, Mapping[str, Any]], qrels: Mapping[str, Any], missing: str
) -> list[str]:
    """Notes about queries; runs over different judged queries are refused unless they count 0."""
    judged = {name: {query for query in run if query in qrels} for name, run in runs.items()}
    for name, found in judged.items():
        if not found:
            raise CompareError(f"{name}: none of its {len(runs[name])} queries is judged; other query ids?")
    anywhere = set().union(*judged.values())
    notes = []
    for name, found in judged.items():
        if lost := sorted(anywhere - found):
            shown = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
            what = f"{name} has no results for {len(lost)} of {len(anywhere)} judged queries ({shown})"
            if missing == "refuse":
                raise CompareError(
                    f"the runs are over different queries: {what}, but another run has; with MISSING=zero "
                    "they count 0"
                )
            notes.append(f"{what}: they count 0.")
        if more := len(runs[name]) - len(found):
            notes.append(f"{name}: {more} of its queries are not judged and left out.")
    if nowhere := len(qrels) - len(anywhere):
        notes.append(f"{nowhere} of {len(qrels)} judged queries are in no run: they count 0 for all.")
    return notes


def _table(values: Values, options: Options) -> Table:
    measures = tuple(values.values)
    first = values.values[measures[0]]
    systems = tuple(first)
    items = tuple(first[systems[0]])
    if len(systems) < 2:
        raise CompareError(f"{values.title}: only {', '.join(systems)} to compare; at least two are needed")
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
    differences = np.stack(
        [arrays[measure][b] - arrays[measure][a] for measure in measures for a, b in pairs], axis=1
    )
    intervals = bootstrap_intervals(
        np.concatenate([columns, differences], axis=1),
        samples=options.bootstrap,
        level=options.level,
        method=options.interval,
        seed=options.seed,
    )
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
    return Table(
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


def _table_text(table: Table, options: Options) -> list[str]:
    """Heading, means, tests and what they rest on."""
    percent = f"{100 * options.level:g} %"
    means = [
        [
            system,
            *(
                f"{table.means[m][at]:.4f} [{table.intervals[m][at, 0]:.4f}, {table.intervals[m][at, 1]:.4f}]"
                for m in table.measures
            ),
        ]
        for at, system in enumerate(table.systems)
    ]
    tests = [
        [
            f"{test.one} -> {test.other}",
            test.measure,
            f"{test.difference:+.4f}",
            f"[{test.low:+.4f}, {test.high:+.4f}]",
            p_text(test.p_value),
            p_text(test.p_adjusted),
            f"{test.wins}/{test.ties}/{test.losses}",
        ]
        for test in table.tests
    ]
    how = "all" if table.exact else "random"
    return [
        f"## {table.title} ({len(table.items)} items)",
        report.table(["system", *(f"{measure} [{percent}]" for measure in table.measures)], means),
        report.table(["systems", "measure", "difference", percent, "p", "p (Holm)", "win/tie/loss"], tests),
        *(f"- {note}" for note in table.notes),
        f"Two-sided paired permutation test over {table.samples:,} {how} assignments of signs; "
        f"{options.interval} intervals from {options.bootstrap:,} bootstrap samples; seed {options.seed}.",
    ]


def p_text(value: float) -> str:
    """A p-value as the tables show it.

    >>> p_text(0.03), p_text(0.00001)
    ('0.0300', '1e-05')
    """
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"
