"""Tables of a sweep: experiments, their groups, every pair with its test, and series.

    mean ± sd        over the seeds: mean and standard deviation (n - 1) of the mean over pairs
    difference       to the main experiment, over the pairs that both have
    interval, p      see `inters_jax.experiments.main_comparison`

Runs that were judged with TARGET_LOSS also have tables of the losses of the right answers, where less is
better: they tell models apart that rarely give a right answer.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from inters_jax.evaluation import averages
from inters_jax.evaluation.comparison import PairTest
from inters_jax.evaluation.multi_bootstrap import Interval
from inters_jax.experiments.main_comparison import intervals, tests
from inters_jax.experiments.results import Results, series
from inters_jax.reports.tables import NONE, Table, p_text

Tests = Mapping[tuple[str, str], PairTest]  # (experiment, pair) -> its test against the main experiment

_OVER_SEEDS = (
    "95 % interval: of the difference, by resampling seeds and items; with one seed, items only. It tells "
    "whether the training method makes the difference; p tells whether these models differ."
)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    >>> spread([1.0, 3.0]), spread([2.0]), spread([])
    ('2.00 ± 1.41', '2.00', '-')
    """
    if not values:
        return NONE
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def tables(results: Mapping[str, Results], main: str, tested: Tests) -> list[Table]:
    """Tables of experiments, their groups, every pair and, where there are any, the series.

    Args:
      results: by experiment.
      main: name of the main experiment.
      tested: see `inters_jax.experiments.main_comparison.tests`.
    """
    made = [_overall(results, main, tested), _groups(results), _pairs(results, main, tested)]
    return [*made, *_series_tables(results)]


def loss_tables(
    results: Mapping[str, Results], main: str
) -> tuple[list[Table], dict[tuple[str, str], PairTest]]:
    """The same of the losses of the right answers, with their own tests; empty where none were measured."""
    losses = {name: own.of_losses() for name, own in results.items() if own.losses}
    if not losses:
        return [], {}
    tested = tests(losses, main)
    overall = _overall(losses, main, tested, less_is_better=True)
    lead = (
        "Means over pairs of the loss of the right answers: nats per target token, less is better; "
        "± is the standard deviation over seeds. Pairs that rank documents have none."
    )
    made = [dataclasses.replace(overall, notes=[lead, *overall.notes[1:]]), _pairs(losses, main, tested)]
    made += _series_tables(losses)
    titled = "Losses of the right answers: {}".format
    return [dataclasses.replace(table, title=titled(table.title.lower())) for table in made], tested


def _overall(
    results: Mapping[str, Results], main: str, tested: Tests, *, less_is_better: bool = False
) -> Table:
    """One row per experiment: its mean over pairs, and its difference to the main experiment."""
    rows, sign = [], -1 if less_is_better else 1
    shared = {
        name: [pair for pair in own.values if main in results and pair in results[main].values]
        for name, own in results.items()
    }
    compared = {name: pairs for name, pairs in shared.items() if name != main and pairs}
    whole = intervals(results, main, compared)
    for name, own in results.items():
        pairs, cells = shared[name], [NONE, NONE, NONE]
        if name in compared and (theirs := results[main].means(pairs)) and (ours := own.means(pairs)):
            cells[0] = f"{statistics.fmean(ours) - statistics.fmean(theirs):+.2f}"
            found = [tested[name, pair] for pair in pairs if (name, pair) in tested]
            better = sum(test.p_adjusted < 0.05 and sign * test.difference > 0 for test in found)
            worse = sum(test.p_adjusted < 0.05 and sign * test.difference < 0 for test in found)
            cells[1:] = [_interval(whole.get(name)), f"{better} / {worse} of {len(found)}"]
        mean = spread(own.means(list(own.values)))
        rows.append([name, str(len(own.seeds)), str(len(own.values)), mean, str(len(pairs)), *cells])
    header = [
        "experiment",
        "seeds",
        "pairs",
        "mean ± sd",
        f"shared with {main}",
        "difference",
        "95 % interval",
        "better / worse",
    ]
    notes = [
        "Means over pairs of their headline measures, per cent; ± is the standard deviation over seeds.",
        "Difference: over the shared pairs; its interval is over seeds and items, of the pairs with values "
        "per item. Better / worse: pairs whose p (Holm) over items is below 0.05 for these models.",
        *(note for own in results.values() for note in own.notes),
    ]
    return Table("Experiments", header, rows, notes)


def _groups(results: Mapping[str, Results]) -> Table:
    """One row per experiment: its mean over the pairs of each group."""
    titles = averages.GROUP_TITLES
    rows = [
        [name, *(spread(own.means(own.pairs_of(group))) for group in titles)] for name, own in results.items()
    ]
    return Table("Groups", ["experiment", *titles.values()], rows)


def _pairs(results: Mapping[str, Results], main: str, tested: Tests) -> Table:
    """One row per pair and experiment: its mean, and its test against the main experiment."""
    rows = []
    for pair in dict.fromkeys(pair for own in results.values() for pair in own.values):
        for name, own in results.items():
            if pair not in own.values:
                continue
            test, cells = tested.get((name, pair)), [NONE] * 4
            if name != main and main in results and pair in results[main].values:
                ours, theirs = (statistics.fmean(one.values[pair].values()) for one in (own, results[main]))
                cells[0] = f"{ours - theirs:+.2f}"
                cells[1] = _interval(intervals(results, main, {name: [pair]}).get(name))
            if test is not None:
                cells[2:] = [p_text(test.p_value), p_text(test.p_adjusted)]
            values = list(own.values[pair].values())
            rows.append([pair, name, str(len(values)), spread(values), *cells])
    note = (
        f"p: two-sided paired permutation test over items against {main}, values averaged over the "
        f"seeds; Holm's correction over the {len(tested)} tests of the sweep. Measures without a "
        "value per item have none."
    )
    header = ["pair", "experiment", "seeds", "mean ± sd", "difference", "95 % interval", "p", "p (Holm)"]
    return Table("Pairs", header, rows, [_OVER_SEEDS, note])


def _series_tables(results: Mapping[str, Results]) -> list[Table]:
    """One row per series: how far its points are apart; no table without series."""
    rows = []
    for name, points in series(results).items():
        values = [value for _, value in points]
        shown = ", ".join(f"{place:g}: {value:.2f}" for place, value in points)
        limits = [f"{min(values):.2f}", f"{max(values):.2f}"]
        rows.append([name, str(len(values)), spread(values), *limits, shown])
    note = "Mean and spread over the points of a series: over wordings, how sensitive a model is to them."
    header = ["series", "points", "mean ± sd", "least", "most", "points"]
    return [Table("Series", header, rows, [note])] if rows else []


def _interval(found: Interval | None) -> str:
    return NONE if found is None else f"{found.low:+.2f} to {found.high:+.2f}"
