"""The finished runs of a list in one place: tables, tests against the main experiment, figures, one page.

Everything rests on the headline measure of each pair of the catalog (per cent), and on nDCG@10 of a reranked
collection. A pair counts under its own name in whatever form it was judged (choices, with shots, with one
template), so that experiments can be held against each other.

    mean, spread     over the seeds: mean and standard deviation (n - 1) of the mean over pairs
    difference       to the main experiment, over the pairs that both have
    95 % interval    of the difference, over seeds and items (`inters_jax.evaluation.multi_bootstrap`): would
                     other seeds and other items show it too?
    p                two-sided paired permutation test over items, whose values are averaged over the seeds
                     first; Holm's correction over all tests of the sweep. Do *these* models differ? The
                     spread over seeds is no part of it.

Runs that were judged with TARGET_LOSS also have tables of the losses of the right answers (nats per token,
less is better), which tell models apart that give hardly any right answer.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.compare import CompareError, _per_item
from inters_jax.evaluation import averages, charts, records, report, target_loss
from inters_jax.evaluation.comparison import Options, PairTest, Values, compare_values, p_text
from inters_jax.evaluation.document import Section, document
from inters_jax.evaluation.multi_bootstrap import Interval, multi_bootstrap
from inters_jax.evaluation.significance import Floats
from inters_jax.evaluation.tables import Table
from inters_jax.experiments.curves import curves
from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.experiments.runs import Run, is_finished

RERANKED = "reranking of "
_NONE = "-"
_OVER_SEEDS = (
    "95 % interval: of the difference, by resampling seeds and items; with one seed, items only. It tells "
    "whether the way of training makes the difference; p tells whether these models differ."
)


@dataclass
class Found:
    """What the seeds of one experiment gave: pair -> seed -> per cent, and the same by item."""

    experiment: Experiment
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    items: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    losses: dict[str, dict[int, float]] = field(default_factory=dict)
    loss_items: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for own in self.values.values() for seed in own})

    def means(self, pairs: Sequence[str]) -> list[float]:
        """The mean over `pairs`, seed by seed, for the seeds that have all of them."""
        whole = [seed for seed in self.seeds if pairs and all(seed in self.values[pair] for pair in pairs)]
        return [statistics.fmean(self.values[pair][seed] for pair in pairs) for seed in whole]

    def of_losses(self) -> Found:
        """The same experiment with the losses of the right answers as its values."""
        return Found(self.experiment, values=self.losses, items=self.loss_items)


def gather(experiments: ExperimentList, runs: Sequence[Run]) -> dict[str, Found]:
    """Results of all finished runs, by experiment; experiments without one are left out."""
    found = {one.name: Found(one) for one in experiments.experiments}
    for run in runs:
        if is_finished(run):
            own = found[run.experiment.name]
            for step in run.steps:
                if step.results is not None:
                    _add(own, run.seed, step.results, step.name)
    return {name: own for name, own in found.items() if own.values}


def _add(own: Found, seed: int, folder: Path, step: str) -> None:
    result = report.read_result(folder)
    if step == "rerank":
        name = RERANKED + str(result["manifest"].get("collection", "a collection"))
        value = result["metrics"].get("reranked", {}).get("nDCG@10")
        if value is not None:
            own.values.setdefault(name, {})[seed] = averages.per_cent("nDCG@10", value)
            own.items.setdefault(name, {})[seed] = _per_cent("nDCG@10", _reranked(folder))
        return
    judged = {
        task: form
        for task, metrics in result["metrics"].items()
        if (form := averages.form_of(task)) is not None and averages.headline_of(task, metrics)
    }
    several = len({setting for _, setting in judged.values()}) > 1
    for task in sorted(judged, key=lambda name: not name.endswith(("_choices", "_rerank"))):
        pair, setting = judged[task]
        # Judged in several settings, without and with shots, say: all but the first have names of their own.
        name = f"{pair.name}_{setting}" if several and setting != "zero-shot" else pair.name
        if seed in own.values.get(name, {}):
            continue
        main = averages.headline_of(task, result["metrics"][task])
        assert main is not None  # of `judged`
        own.values.setdefault(name, {})[seed] = averages.per_cent(main, result["metrics"][task][main])
        try:
            items = _per_item(folder, task).get(main)
        except CompareError as error:
            own.notes.append(f"{own.experiment.name}, seed {seed}: no values per item: {error}.")
            continue
        if items:
            own.items.setdefault(name, {})[seed] = _per_cent(main, items)
        if target_loss.LOSS in result["metrics"][task]:
            own.losses.setdefault(name, {})[seed] = result["metrics"][task][target_loss.LOSS]
            losses = target_loss.by_question(records.read(folder / task / records.PREDICTIONS))
            own.loss_items.setdefault(name, {})[seed] = losses


def _per_cent(measure: str, items: Mapping[str, float]) -> dict[str, float]:
    return {item: averages.per_cent(measure, value) for item, value in items.items()}


def _reranked(folder: Path) -> Mapping[str, float]:
    from seqio_tasks.metrics.ranking import evaluate_run
    from seqio_tasks.metrics.trec_files import read_qrels, read_run

    files = folder / "reranked.trec", folder / "qrels.txt"
    if not all(file.is_file() for file in files):
        return {}
    return evaluate_run(read_qrels(files[1]), read_run(files[0]), ["nDCG@10"]).per_query["nDCG@10"]


def tests(
    found: Mapping[str, Found], main: str, options: Options | None = None
) -> dict[tuple[str, str], PairTest]:
    """(experiment, pair) -> its test against the main experiment, on the items that both were asked."""
    if main not in found:
        return {}
    keys, values = [], []
    for name, own in found.items():
        for pair in own.items:
            if name == main or pair not in found[main].items:
                continue
            one, other = _over_seeds(found[main].items[pair]), _over_seeds(own.items[pair])
            if one and one.keys() == other.keys():
                keys.append((name, pair))
                values.append(Values(f"{name}: {pair}", {"headline": {main: one, name: other}}))
    if not values:
        return {}
    compared = compare_values(values, options or Options(samples=10_000, bootstrap=1_000))
    return dict(zip(keys, (table.tests[0] for table in compared.tables), strict=True))


def _over_seeds(items: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """item -> mean over the seeds; {} when the seeds were not asked the same."""
    first = next(iter(items.values()))
    if any(own.keys() != first.keys() for own in items.values()):
        return {}
    return {item: statistics.fmean(own[item] for own in items.values()) for item in first}


def intervals(
    found: Mapping[str, Found], main: str, names: Mapping[str, Sequence[str]]
) -> dict[str, Interval]:
    """experiment -> the interval of its difference to the main one, over the pairs that are named for it.

    Pairs without values per item, or with other items, are left out; an experiment without a pair has none.
    """
    made = {}
    for name, pairs in names.items():
        own, theirs = found[name], found[main]
        kept = [
            (_matrix(theirs, pair), _matrix(own, pair)) for pair in pairs if _same_items(theirs, own, pair)
        ]
        if not kept or len({one.shape[0] for one, _ in kept}) > 1 or len({o.shape[0] for _, o in kept}) > 1:
            continue
        one, other = zip(*kept, strict=True)
        paired = own.experiment.model_of == main and one[0].shape[0] == other[0].shape[0]
        made[name] = multi_bootstrap(one, other, paired_seeds=paired)
    return made


def _same_items(one: Found, other: Found, pair: str) -> bool:
    """Whether all seeds of both were asked the same items."""
    asked = [items.keys() for own in (one, other) for items in own.items.get(pair, {}).values()]
    both = one.items.get(pair) and other.items.get(pair)
    return bool(both) and all(items == asked[0] for items in asked)


def _matrix(own: Found, pair: str) -> Floats:
    """float64 [seeds, items], in the order of seeds and of the items' names."""
    rows = own.items[pair]
    return np.array([[rows[seed][item] for item in sorted(rows[seed])] for seed in sorted(rows)], np.float64)


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
        [name, *(spread(own.means(_of_group(own, group))) for group in titles)] for name, own in found.items()
    ]
    return Table("Groups", ["experiment", *titles.values()], rows)


def _of_group(own: Found, group: str) -> list[str]:
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


def write(
    experiments: ExperimentList, runs: Sequence[Run], folder: Path, outcome: Mapping[str, tuple[str, str]]
) -> dict[str, Found]:
    """sweep.html, .md, .csv, .tex and .json in `folder`; what is not finished is named in all of them."""
    found, main = gather(experiments, runs), experiments.main
    tested = tests(found, main)
    made = tables(found, main, tested)
    of_losses, loss_tests = loss_tables(found, main)
    made += of_losses
    open_runs = [[name, status, why] for name, (status, why) in outcome.items() if status != "finished"]
    if open_runs:
        made.append(Table("Not finished", ["run", "state", "why"], open_runs))
    body = "\n".join(table.markdown() for table in made)
    report.write_text(folder / "sweep.md", f"# {experiments.name}\n\n{body}")
    report.write_text(folder / "sweep.html", page(experiments, found, made, len(runs)))
    report.write_text(folder / "sweep.csv", made[2].csv())
    report.write_text(folder / "sweep.tex", "\n".join(table.latex() for table in made))
    report.write_json(folder / "sweep.json", as_json(experiments, found, tested, loss_tests, outcome))
    return found


def as_json(
    experiments: ExperimentList,
    found: Mapping[str, Found],
    tested: Mapping[tuple[str, str], PairTest],
    loss_tests: Mapping[tuple[str, str], PairTest],
    outcome: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    return {
        "list": experiments.name,
        "main": experiments.main,
        "versions": report.versions(),
        "runs": {name: {"state": status, "why": why} for name, (status, why) in outcome.items()},
        "values": {name: own.values for name, own in found.items()},
        "losses": {name: own.losses for name, own in found.items() if own.losses},
        "series": series(found),
        "tests": _as_rows(tested),
        "loss_tests": _as_rows(loss_tests),
    }


def _as_rows(tested: Mapping[tuple[str, str], PairTest]) -> list[dict[str, Any]]:
    return [
        {"experiment": name, "pair": pair, **dataclasses.asdict(test)}
        for (name, pair), test in tested.items()
    ]


def page(experiments: ExperimentList, found: Mapping[str, Found], made: Sequence[Table], runs: int) -> str:
    """The whole page: bands of the experiments over their seeds, whole and by group, curves, all tables."""
    sections = []
    if picture := _bands(found, lambda own: list(own.values)):
        lead = "Mean over pairs in per cent; the band goes from the least to the most of the seeds."
        sections.append(Section("experiments", "Experiments", lead, picture + made[0].html(titled=False)))
    pictures = [
        f"<h3>{title}</h3>{picture}"
        for group, title in averages.GROUP_TITLES.items()
        if (picture := _bands(found, lambda own, group=group: _of_group(own, group)))  # type: ignore[misc]
    ]
    if pictures:
        lead = "The same over the pairs of a group; each group has its own axis."
        body = "".join(pictures) + made[1].html(titled=False)
        sections.append(Section("groups", "Groups", lead, body))
    if lines := series(found):
        lead = "Experiments that differ in one number."
        sections.append(Section("series", "Series", lead, curves(lines)))
    rest = "".join(table.html() for table in made[2:])
    sections.append(Section("pairs", "Pairs", "Every pair with its test against the main experiment.", rest))
    tiles = [
        (spread(own.means(list(own.values))), name, f"{len(own.seeds)} seeds") for name, own in found.items()
    ]
    facts = {"experiments": len(found), "runs": runs, "main": experiments.main}
    return document(experiments.name, "Sweep", facts, tiles[:4], sections, "python -m inters_jax.sweep")


def _bands(found: Mapping[str, Found], pairs: Callable[[Found], Sequence[str]]) -> str:
    """A band per experiment that has some of the pairs, as SVG; nothing without one."""
    rows = [
        (name, min(means), statistics.fmean(means), max(means))
        for name, own in found.items()
        if (means := own.means(pairs(own)))
    ]
    return charts.interval_rows(rows, digits=2) if rows else ""
