"""A comparison as tables and as a page: means with intervals, tests, and the movement of every item.

page(comparison, ...)     compare.html of `compare`, and the page of `rerank` (first stage, reranked)
tables(comparison)        the same figures for Markdown, CSV and LaTeX
write(comparison, ...)    every file of `compare` but compare.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from inters_jax.evaluation.comparison import Comparison, ComparisonTable, PairTest
from inters_jax.reports import charts
from inters_jax.reports.page import Block, Heading, Note, Picture, Section, Tile, report
from inters_jax.reports.tables import Table, latex, p_text
from inters_jax.reports.tables import markdown as markdown_page
from seqio_tasks.base import write_text

MOVEMENTS = 6  # pairs of systems whose items are drawn, for each table
_DIFFERENCES = ": differences"
EXTREMES = 10  # items named on each side


def write(comparison: Comparison, folder: Path) -> None:
    """Write compare.md, compare.html, compare.csv (differences; of one system, means) and compare.tex."""
    made = tables(comparison)
    listed = differences(comparison) or made
    facts = {
        "tables": len(comparison.tables),
        "tests": len(comparison.tests),
        "seed": comparison.options.seed,
    }
    title, made_by = " · ".join(comparison.systems), "python -m inters_jax.compare"
    html = page(comparison, title=title, eyebrow="Comparison", facts=facts, made_by=made_by)
    rows = [[table.title, *cells] for table in listed for cells in table.rows]
    write_text(folder / "compare.md", markdown(comparison))
    write_text(folder / "compare.html", html)
    write_text(folder / "compare.csv", Table("", ["items", *listed[0].header], rows).csv())
    write_text(folder / "compare.tex", latex(made))


def markdown(comparison: Comparison) -> str:
    """compare.md, which `compare` also prints."""
    notes = "\n".join(f"- {note}" for note in comparison.notes)
    title = f"{'Comparison' if comparison.tests else 'Measures'} of {', '.join(comparison.systems)}"
    return markdown_page(title, [*tables(comparison), notes])


def differences(comparison: Comparison) -> list[Table]:
    """The tables of `tables` with the tests."""
    return [table for table in tables(comparison) if table.title.endswith(_DIFFERENCES)]


def tables(comparison: Comparison) -> list[Table]:
    """The averages; of each set of items: means, and differences with their tests if there are any."""
    made = _averages(comparison)
    for found in comparison.tables:
        made += [_means(found, comparison), *([_tests(found, comparison)] if found.tests else [])]
    return made


def _averages(comparison: Comparison) -> list[Table]:
    """Means and differences of the averages over pairs, in the frames of the other tables."""
    if not comparison.averages:
        return []
    names = list(dict.fromkeys(test.measure for test in comparison.averages))
    means = {(test.one, test.measure): test.before for test in comparison.averages}
    means |= {(test.other, test.measure): test.after for test in comparison.averages}
    rows = [
        [name, *(f"{means[system, name]:.2f}" for system in comparison.systems if (system, name) in means)]
        for name in names
    ]
    count = len(comparison.averages)
    notes = [
        "Per cent of the headline metric, every pair with the same weight. Intervals: percentiles, the "
        "questions of every pair resampled. p: two-sided paired permutation test over the questions of all "
        f"pairs. p (Holm): corrected over the {count} tests of this table. Wins, ties and losses are "
        "questions."
    ]
    return [
        Table("Averages", ["average", *comparison.systems], rows),
        _differences("Averages", comparison.averages, comparison, notes),
    ]


def _differences(
    title: str, tests: Sequence[PairTest], comparison: Comparison, notes: Sequence[str]
) -> Table:
    percent = f"{100 * comparison.options.level:g} %"
    header = ["systems", "measure", "difference", percent, "p", "p (Holm)", "win / tie / loss"]
    rows = [
        [
            f"{test.one} → {test.other}",
            test.measure,
            f"{test.difference:+.4f}",
            _interval(test.low, test.high, sign="+"),
            p_text(test.p_value),
            p_text(test.p_adjusted),
            f"{test.wins} / {test.ties} / {test.losses}",
        ]
        for test in tests
    ]
    return Table(f"{title}{_DIFFERENCES}", header, rows, notes)


def _means(found: ComparisonTable, comparison: Comparison) -> Table:
    rows = [
        [
            system,
            *(
                f"{found.means[measure][at]:.4f} [{_interval(*found.intervals[measure][at])}]"
                for measure in found.measures
            ),
        ]
        for at, system in enumerate(found.systems)
    ]
    percent = f"{100 * comparison.options.level:g} %"
    header = ["system", *(f"{measure} [{percent}]" for measure in found.measures)]
    notes = list(found.notes) if found.tests else [*found.notes, _bootstrap(comparison)]
    return Table(f"{found.title}: means over {len(found.items)} items", header, rows, notes)


def _bootstrap(comparison: Comparison) -> str:
    options = comparison.options
    return (
        f"Intervals: {options.interval}, from {options.bootstrap:,} bootstrap samples. Seed {options.seed}."
    )


def _tests(found: ComparisonTable, comparison: Comparison) -> Table:
    count = len(comparison.tests)
    assignments = f"all {found.samples:,}" if found.exact else f"{found.samples:,} random"
    notes = [
        f"p: two-sided paired permutation test over {assignments} assignments of signs. p (Holm): corrected "
        f"over the {count} test{'s' * (count != 1)} of this comparison. Wins, ties and losses are those of "
        "the second system.",
        _bootstrap(comparison),
    ]
    return _differences(found.title, found.tests, comparison, notes)


def page(
    comparison: Comparison,
    *,
    title: str,
    eyebrow: str,
    facts: Mapping[str, object],
    made_by: str,
    more: Sequence[Section] = (),
    tiles: Sequence[Tile] = (),
) -> str:
    """The whole page.

    Args:
      comparison: what is shown.
      title, eyebrow, facts, made_by: see `inters_jax.reports.page.report`.
      more: further sections of the caller.
      tiles: of the caller; up to four tiles are filled up with the first tests.
    """
    shown = list(tiles)
    for test in [*comparison.averages, *comparison.tests][: max(0, 4 - len(shown))]:
        name = f"{test.measure}: {test.one} → {test.other}"
        shown.append(Tile(f"{test.difference:+.4f}", name, f"p (Holm) {p_text(test.p_adjusted)}"))
    figures: list[Block] = [*_averages(comparison)]
    for found in comparison.tables:
        figures += [*_means_chart(found), _means(found, comparison)]
        figures += [_tests(found, comparison)] if found.tests else []
    figures += [Note(note) for note in comparison.notes]
    movements = [block for found in comparison.tables for block in _movements(found)]
    sections = [
        Section(
            "figures",
            "Means and differences",
            "Systems on the same items, with bootstrap intervals and a paired permutation test.",
            figures,
        )
    ]
    if comparison.tests:
        lead = "Sorted by change in the first measure; point at a bar to see its item."
        sections.append(Section("items", "Movement per item", lead, movements))
    return report(title, eyebrow, facts, shown, [*sections, *more], made_by)


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"{low:{sign}.4f} to {high:{sign}.4f}"


def _means_chart(found: ComparisonTable) -> list[Block]:
    measure = found.measures[0]
    rows = [
        (system, float(low), float(mean), float(high))
        for system, mean, (low, high) in zip(
            found.systems, found.means[measure], found.intervals[measure], strict=True
        )
    ]
    return [Heading(found.title), Note(f"{measure} with its interval:"), Picture(charts.interval_rows(rows))]


def _movements(found: ComparisonTable) -> Iterator[Block]:
    """Every system against the first, item by item."""
    measure = found.measures[0]
    yield Heading(f"{found.title}: {measure}")
    before = dict(zip(found.items, found.values[measure][0].tolist(), strict=True))
    for other in range(1, min(len(found.systems), MOVEMENTS + 1)):
        after = dict(zip(found.items, found.values[measure][other].tolist(), strict=True))
        names = f"{found.systems[0]} → {found.systems[other]}"
        yield Note(names)
        yield Picture(charts.movement(before, after))
        changes = sorted((after[item] - before[item], item) for item in found.items)
        lost = [item for change, item in changes if change < 0]
        gained = [item for change, item in reversed(changes) if change > 0]
        for title, items in (("Most lost", lost), ("Most gained", gained)):
            if items:
                rows = [[item, f"{before[item]:.4f}", f"{after[item]:.4f}"] for item in items[:EXTREMES]]
                yield Table(f"{title}, {names}", ["item", found.systems[0], found.systems[other]], rows)
