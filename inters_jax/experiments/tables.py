"""Tables of a sweep: experiments, their groups, every pair with its test, and series.

    mean, spread     over the seeds: mean and standard deviation (n - 1) of the mean over pairs
    difference       to the main experiment, over the pairs that both have
    interval, p      see `inters_jax.experiments.against_main`

Runs that were judged with TARGET_LOSS also have tables of the losses of the right answers, where less is
better: they tell models apart that give hardly any right answer.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from inters_jax.evaluation import averages
from inters_jax.evaluation.comparison import PairTest, p_text
from inters_jax.evaluation.multi_bootstrap import Interval
from inters_jax.experiments.against_main import intervals, tests
from inters_jax.experiments.results import Found
from inters_jax.reports.tables import Table

_NONE = "-"
_OVER_SEEDS = (
    "95 % interval: of the difference, by resampling seeds and items; with one seed, items only. It tells "
    "whether the way of training makes the difference; p tells whether these models differ."
)


def _interval(found: Interval | None) -> str:
    return _NONE if found is None else f"{found.low:+.2f} to {found.high:+.2f}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    >>> spread([1.0, 3.0]), spread([2.0]), spread([])
    ('2.00 ± 1.41', '2.00', '-')
    """
    if not values:
        return _NONE
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def tables(found: Mapping[str, Found], main: str, tested: Mapping[tuple[str, str], PairTest]) -> list[Table]:
    """Experiments, their groups, every pair, and the series."""
    made = [_overall(found, main, tested), _groups(found), _pairs(found, main, tested)]
    if any(own.experiment.series for own in found.values()):
        made.append(_series_table(found))
    return made


def loss_tables(found: Mapping[str, Found], main: str) -> tuple[list[Table], dict[tuple[str, str], PairTest]]:
    """The same of the losses of the right answers, with their own tests; [] where none were measured."""
    losses = {name: own.of_losses() for name, own in found.items() if own.losses}
    if not losses:
        return [], {}
    tested = tests(losses, main)
    overall = _overall(losses, main, tested, less=True)
    lead = (
        "Means over pairs of the loss of the right answers: nats per target token, less is better; "
        "± is the standard deviation over seeds. Pairs that rank documents have none."
    )
    made = [dataclasses.replace(overall, notes=[lead, *overall.notes[1:]]), _pairs(losses, main, tested)]
    if any(own.experiment.series for own in losses.values()):
        made.append(_series_table(losses))
    title = "Losses of the right answers: {}".format
    return [dataclasses.replace(table, title=title(table.title.lower())) for table in made], tested


def _common(found: Mapping[str, Found], main: str, own: Found) -> list[str]:
    return [pair for pair in own.values if main in found and pair in found[main].values]


def _overall(
    found: Mapping[str, Found], main: str, tested: Mapping[tuple[str, str], PairTest], less: bool = False
) -> Table:
    """less: whether less is better."""
    rows, sign = [], -1 if less else 1
    common_of = {name: _common(found, main, own) for name, own in found.items()}
    whole = intervals(
        found, main, {name: pairs for name, pairs in common_of.items() if name != main and pairs}
    )
    for name, own in found.items():
        common, cells = common_of[name], [_NONE, _NONE, _NONE]
        if name != main and common and (theirs := found[main].means(common)) and (ours := own.means(common)):
            cells[0] = f"{statistics.fmean(ours) - statistics.fmean(theirs):+.2f}"
            results = [tested[name, pair] for pair in common if (name, pair) in tested]
            better = sum(test.p_adjusted < 0.05 and sign * test.difference > 0 for test in results)
            worse = sum(test.p_adjusted < 0.05 and sign * test.difference < 0 for test in results)
            cells[1:] = [_interval(whole.get(name)), f"{better} / {worse} of {len(results)}"]
        pairs = list(own.values)
        rows.append(
            [name, str(len(own.seeds)), str(len(pairs)), spread(own.means(pairs)), str(len(common)), *cells]
        )
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
        "per item. Better / worse: pairs whose p (Holm) over items is below 0.05 for these very models.",
        *(note for own in found.values() for note in own.notes),
    ]
    return Table("Experiments", header, rows, notes)


def _groups(found: Mapping[str, Found]) -> Table:
    titles = averages.GROUP_TITLES
    rows = [
        [name, *(spread(own.means(pairs_of_group(own, group))) for group in titles)]
        for name, own in found.items()
    ]
    return Table("Groups", ["experiment", *titles.values()], rows)


def pairs_of_group(own: Found, group: str) -> list[str]:
    from seqio_tasks import catalog

    names = {pair.name for pair in catalog.PAIRS if pair.group == group}
    return [pair for pair in own.values if pair in names]


def _pairs(found: Mapping[str, Found], main: str, tested: Mapping[tuple[str, str], PairTest]) -> Table:
    rows = []
    for pair in dict.fromkeys(pair for own in found.values() for pair in own.values):
        for name, own in found.items():
            if pair not in own.values:
                continue
            test = tested.get((name, pair))
            cells = [_NONE] * 4
            if name != main and main in found and pair in found[main].values:
                means = [statistics.fmean(one.values[pair].values()) for one in (own, found[main])]
                cells[0] = f"{means[0] - means[1]:+.2f}"
                cells[1] = _interval(intervals(found, main, {name: [pair]}).get(name))
            if test is not None:
                cells[2:] = [p_text(test.p_value), p_text(test.p_adjusted)]
            rows.append(
                [pair, name, str(len(own.values[pair])), spread(list(own.values[pair].values())), *cells]
            )
    note = (
        f"p: two-sided paired permutation test over items against {main}, values averaged over the "
        f"seeds; Holm's correction over the {len(tested)} tests of the sweep. Measures without a "
        "value per item have none."
    )
    header = ["pair", "experiment", "seeds", "mean ± sd", "difference", "95 % interval", "p", "p (Holm)"]
    return Table("Pairs", header, rows, [_OVER_SEEDS, note])


def series(found: Mapping[str, Found]) -> dict[str, list[tuple[float, float]]]:
    """Series -> its points (place, mean over seeds), over the pairs that all of its experiments have."""
    members: dict[str, list[Found]] = {}
    for own in found.values():
        for name in own.experiment.series:
            members.setdefault(name, []).append(own)
    made = {}
    for name, these in members.items():
        shared = [pair for pair in these[0].values if all(pair in own.values for own in these)]
        points = [(own.experiment.series[name], own.means(shared)) for own in these]
        made[name] = sorted((place, statistics.fmean(means)) for place, means in points if means)
    return {name: points for name, points in made.items() if points}


def _series_table(found: Mapping[str, Found]) -> Table:
    rows = []
    for name, points in series(found).items():
        values = [value for _, value in points]
        shown = ", ".join(f"{place:g}: {value:.2f}" for place, value in points)
        rows.append(
            [name, str(len(values)), spread(values), f"{min(values):.2f}", f"{max(values):.2f}", shown]
        )
    note = "Mean and spread over the points of a series: over wordings, how sensitive a model is to them."
    return Table("Series", ["series", "points", "mean ± sd", "least", "most", "points"], rows, [note])
