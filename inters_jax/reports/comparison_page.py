"""A comparison as one page: means with intervals, tests, and the movement of every item.

page(comparison, facts)     compare.html of `compare` and the page of `rerank` (first stage, reranked)
tables(comparison)          the same figures as Markdown, CSV and LaTeX through `Table`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from inters_jax.evaluation.comparison import Comparison, p_text
from inters_jax.evaluation.comparison import Table as Compared
from inters_jax.reports import charts
from inters_jax.reports.document import Section, document
from inters_jax.reports.tables import Table

MOVEMENTS = 6  # pairs of systems whose items are drawn, for each table
EXTREMES = 10  # items named on each side


def tables(comparison: Comparison) -> list[Table]:
    """Two tables for each set of items: means, and differences with their tests."""
    made = []
    percent = f"{100 * comparison.options.level:g} %"
    for table in comparison.tables:
        rows = [
            [system, measure, f"{table.means[measure][at]:.4f}", _interval(*table.intervals[measure][at])]
            for at, system in enumerate(table.systems)
            for measure in table.measures
        ]
        made.append(
            Table(
                f"{table.title}: means over {len(table.items)} items",
                ["system", "measure", "mean", percent],
                rows,
                table.notes,
            )
        )
        tests = [
            [
                f"{test.one} → {test.other}",
                test.measure,
                f"{test.difference:+.4f}",
                _interval(test.low, test.high, sign="+"),
                p_text(test.p_value),
                p_text(test.p_adjusted),
                f"{test.wins} / {test.ties} / {test.losses}",
            ]
            for test in table.tests
        ]
        how = "all" if table.exact else "random"
        note = (
            f"Two-sided paired permutation test over {table.samples:,} {how} assignments of signs; Holm's "
            f"correction over the {len(comparison.tests)} tests of this comparison; win, tie, loss are those "
            "of the second system."
        )
        header = ["systems", "measure", "difference", percent, "p", "p (Holm)", "win / tie / loss"]
        made.append(Table(f"{table.title}: differences", header, tests, [note]))
    return made


def page(
    comparison: Comparison,
    *,
    title: str,
    eyebrow: str,
    facts: Mapping[str, object],
    made_by: str,
    more: Sequence[Section] = (),
    tiles: Sequence[tuple[str, str, str]] = (),
) -> str:
    """The whole page; `more` sections and `tiles` come from the caller."""
    shown = list(tiles)
    for test in comparison.tests[: max(0, 4 - len(shown))]:
        shown.append(
            (
                f"{test.difference:+.4f}",
                f"{test.measure}: {test.one} → {test.other}",
                f"p (Holm) {p_text(test.p_adjusted)}",
            )
        )
    sections = [
        Section(
            "figures",
            "Means and differences",
            "Systems on the same items, with bootstrap intervals and a paired permutation test.",
            "".join(
                _means_picture(table) + "".join(part.html() for part in pair)
                for table, pair in zip(comparison.tables, _pairs(tables(comparison)), strict=True)
            )
            + "".join(f"<p class='note'>{escape(note)}</p>" for note in comparison.notes),
        ),
        Section(
            "items",
            "Movement per item",
            "Sorted by change in the first measure; hold the pointer over a bar to see which item it is.",
            "".join(_movements(table) for table in comparison.tables),
        ),
    ]
    return document(title, eyebrow, facts, shown, [*sections, *more], made_by)


def _pairs(made: Sequence[Table]) -> list[Sequence[Table]]:
    return [made[at : at + 2] for at in range(0, len(made), 2)]


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"{low:{sign}.4f} to {high:{sign}.4f}"


def _means_picture(table: Compared) -> str:
    measure = table.measures[0]
    rows = [
        (system, float(low), float(mean), float(high))
        for system, mean, (low, high) in zip(
            table.systems, table.means[measure], table.intervals[measure], strict=True
        )
    ]
    caption = f"<p class='note'>{escape(measure)} with its interval:</p>"
    return f"<h3>{escape(table.title)}</h3>{caption}{charts.interval_rows(rows)}"


def _movements(table: Compared) -> str:
    measure = table.measures[0]
    body = [f"<h3>{escape(table.title)}: {escape(measure)}</h3>"]
    for one, other in _neighbours(len(table.systems)):
        before, after = (dict(zip(table.items, table.values[measure][at].tolist(), strict=True))
                         for at in (one, other))  # fmt: skip
        names = f"{table.systems[one]} → {table.systems[other]}"
        body.append(f"<p class='note'>{escape(names)}</p>{charts.movement(before, after)}")
        changes = sorted((after[item] - before[item], item) for item in table.items)
        worst = [[item, f"{before[item]:.4f}", f"{after[item]:.4f}"] for c, item in changes if c < 0]
        best = [[item, f"{before[item]:.4f}", f"{after[item]:.4f}"] for c, item in changes[::-1] if c > 0]
        for heading, rows in (("Most lost", worst), ("Most gained", best)):
            if rows:
                header = ["item", table.systems[one], table.systems[other]]
                body.append(Table(f"{heading}, {names}", header, rows[:EXTREMES]).html())
    return "".join(body)


def _neighbours(systems: int) -> list[tuple[int, int]]:
    """Every system against the first."""
    return [(0, other) for other in range(1, systems)][:MOVEMENTS]
