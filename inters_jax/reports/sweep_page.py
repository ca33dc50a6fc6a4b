"""The report of a sweep: sweep.html, .md, .csv, .tex and .json of the finished runs of a list."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.evaluation import averages
from inters_jax.evaluation.manifest import versions
from inters_jax.evaluation.results import write_json
from inters_jax.experiments.lists import ExperimentList
from inters_jax.experiments.main_comparison import tests
from inters_jax.experiments.results import Results, gather, series
from inters_jax.experiments.runs import Run
from inters_jax.reports import charts
from inters_jax.reports.page import Block, Heading, Picture, Section, Tile, report
from inters_jax.reports.sweep_tables import Tests, loss_tables, spread, tables
from inters_jax.reports.tables import Table, latex, markdown
from seqio_tasks.base import write_text


def write(
    experiments: ExperimentList, runs: Sequence[Run], folder: Path, states: Mapping[str, tuple[str, str]]
) -> dict[str, Results]:
    """Write sweep.html, .md, .csv, .tex and .json; they also name the runs that are not finished.

    Args:
      experiments: the list.
      runs: all of its runs.
      folder: where the files go.
      states: run -> (state, reason).

    Returns:
      the results by experiment.
    """
    results, main = gather(experiments, runs), experiments.main
    tested = tests(results, main)
    of_losses, loss_tests = loss_tables(results, main)
    made = [*tables(results, main, tested), *of_losses]
    if unfinished := [[name, state, why] for name, (state, why) in states.items() if state != "finished"]:
        made.append(Table("Not finished", ["run", "state", "why"], unfinished))
    write_text(folder / "sweep.md", markdown(experiments.name, made))
    write_text(folder / "sweep.html", page(experiments, results, made, len(runs)))
    write_text(folder / "sweep.csv", made[2].csv())
    write_text(folder / "sweep.tex", latex(made))
    write_json(folder / "sweep.json", as_json(experiments, results, tested, loss_tests, states))
    return results


def as_json(
    experiments: ExperimentList,
    results: Mapping[str, Results],
    tested: Tests,
    loss_tests: Tests,
    states: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    """sweep.json."""
    return {
        "list": experiments.name,
        "main": experiments.main,
        "versions": versions(),
        "runs": {name: {"state": state, "why": why} for name, (state, why) in states.items()},
        "values": {name: own.values for name, own in results.items()},
        "losses": {name: own.losses for name, own in results.items() if own.losses},
        "series": series(results),
        "tests": _as_rows(tested),
        "loss_tests": _as_rows(loss_tests),
    }


def _as_rows(tested: Tests) -> list[dict[str, Any]]:
    return [
        {"experiment": name, "pair": pair, **dataclasses.asdict(test)}
        for (name, pair), test in tested.items()
    ]


def page(
    experiments: ExperimentList, results: Mapping[str, Results], made: Sequence[Table], runs: int
) -> str:
    """The page: spread of the experiments over their seeds, as a whole and by group; curves; all tables.

    Args:
      experiments: the list.
      results: by experiment.
      made: the tables, beginning with experiments and groups.
      runs: number of runs of the list.
    """
    sections = []
    if charted := _spread_chart(results, lambda own: list(own.values)):
        lead = "Mean over pairs in per cent; the band spans the seeds."
        sections.append(Section("experiments", "Experiments", lead, [*charted, made[0].untitled()]))
    blocks: list[Block] = []
    for group, title in averages.GROUP_TITLES.items():
        if charted := _spread_chart(results, lambda own, group=group: own.pairs_of(group)):  # type: ignore[misc]
            blocks += [Heading(title), *charted]
    if blocks:
        lead = "The same over the pairs of a group; each group has its own axis."
        sections.append(Section("groups", "Groups", lead, [*blocks, made[1].untitled()]))
    if lines := series(results):
        limits = charts.curve_limits(lines)
        curves: list[Block] = []
        for name, points in lines.items():
            curves += [Heading(name), Picture(charts.curve(points, limits))]
        sections.append(Section("series", "Series", "Experiments that differ in one number.", curves))
    sections.append(
        Section("pairs", "Pairs", "Every pair with its test against the main experiment.", made[2:])
    )
    tiles = [
        Tile(spread(own.means(list(own.values))), name, f"{len(own.seeds)} seeds")
        for name, own in results.items()
    ]
    facts = {"experiments": len(results), "runs": runs, "main": experiments.main}
    return report(experiments.name, "Sweep", facts, tiles[:4], sections, "python -m inters_jax.sweep")


def _spread_chart(results: Mapping[str, Results], pairs: Callable[[Results], Sequence[str]]) -> list[Block]:
    """A band per experiment that has some of the pairs; nothing without one."""
    rows = [
        (name, min(means), statistics.fmean(means), max(means))
        for name, own in results.items()
        if (means := own.means(pairs(own)))
    ]
    return [Picture(charts.interval_rows(rows, digits=2))] if rows else []
