"""The finished runs of a list in one place: sweep.md, .csv, .tex, .json and a page with figures."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.evaluation import averages, report
from inters_jax.evaluation.comparison import PairTest
from inters_jax.experiments.against_main import tests
from inters_jax.experiments.lists import ExperimentList
from inters_jax.experiments.results import Found, gather
from inters_jax.experiments.runs import Run
from inters_jax.experiments.tables import loss_tables, pairs_of_group, series, spread, tables
from inters_jax.reports import charts
from inters_jax.reports.curves import curves
from inters_jax.reports.document import Section, document
from inters_jax.reports.tables import Table


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
        if (picture := _bands(found, lambda own, group=group: pairs_of_group(own, group)))  # type: ignore[misc]
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
