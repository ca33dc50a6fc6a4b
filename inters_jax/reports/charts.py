"""The pictures of a report as inline SVG: change per task, group averages, movement per query.

Colours are CSS classes, so that one picture serves light, dark and print. Every picture carries its figures
as text for readers who do not see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

MAX_BARS = 600


def change(
    before: float | None, after: float, interval: tuple[float, float] | None, largest: float = 100.0
) -> str:
    """One row of the task table: before as a ring, after as a disc, its interval as a band, on one axis."""
    width, middle = 200, 9

    def x(value: float) -> float:
        return round(6 + (width - 12) * min(max(value / largest, 0.0), 1.0), 1)

    label = f"{after:.4g} of {largest:g}" + ("" if before is None else f", before {before:.4g}")
    shapes = [f'<path class="axis" d="M6 {middle}H{width - 6}"/>']
    if interval is not None:
        low, high = x(interval[0]), x(interval[1])
        shapes.append(
            f'<rect class="band" x="{low}" y="5" width="{max(high - low, 0.5):.1f}" height="8" rx="2"/>'
        )
    if before is not None:
        kind = "up" if after >= before else "down"
        shapes.append(f'<path class="move {kind}" d="M{x(before)} {middle}H{x(after)}"/>')
        shapes.append(f'<circle class="ring" cx="{x(before)}" cy="{middle}" r="3.5"/>')
    shapes.append(f'<circle class="disc" cx="{x(after)}" cy="{middle}" r="4"/>')
    return _svg(width, 18, label, shapes, "change")


def groups(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Bars side by side for each group, per cent: [(group, [(series, value), ...]), ...]."""
    height, bar, gap, base = 200, 26, 34, 160
    shapes = [
        f'<path class="grid" d="M40 {base - 1.4 * value:g}H1000"/>'
        f'<text class="tick" x="34" y="{base - 1.4 * value + 4:g}" text-anchor="end">{value}</text>'
        for value in (0, 25, 50, 75, 100)
    ]
    at, said = 56, []
    for name, series in rows:
        start = at
        for number, (title, value) in enumerate(series):
            tall = 1.4 * max(value, 0.0)
            shapes.append(
                f'<rect class="series s{number}" x="{at}" y="{base - tall:.1f}" width="{bar}" '
                f'height="{tall:.1f}"><title>{escape(title)}: {value:.1f}</title></rect>'
                f'<text class="value" x="{at + bar / 2}" y="{base - tall - 4:.1f}">{value:.1f}</text>'
            )
            said.append(f"{name}, {title}: {value:.1f}")
            at += bar + 4
        shapes.append(f'<text class="name" x="{(start + at - 4) / 2}" y="{base + 20}">{escape(name)}</text>')
        at = max(at + gap, start + 190)
    return _svg(max(at, 300), height, "; ".join(said), shapes, "groups")


def movement(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """A bar for every query, sorted by its change: upwards where the new run is better."""
    queries = [query for query in after if query in before]
    changes = sorted(((after[query] - before[query], query) for query in queries), reverse=True)
    picked = changes
    if len(changes) > MAX_BARS:  # evenly, first and last included
        places = np.linspace(0, len(changes) - 1, MAX_BARS).round().astype(int)
        picked = [changes[place] for place in places]
    wide, tall, middle = 720, 160, 80
    step = (wide - 20) / max(len(picked), 1)
    largest = max((abs(value) for value, _ in picked), default=0.0) or 1.0
    shapes = [f'<path class="axis" d="M10 {middle}H{wide - 10}"/>']
    for number, (value, query) in enumerate(picked):
        high = 70 * abs(value) / largest
        y = middle - high if value > 0 else middle
        title = f"{query}: {before[query]:.4f} to {after[query]:.4f}"
        shapes.append(
            f'<rect class="{"up" if value > 0 else "down"}" x="{10 + number * step:.2f}" y="{y:.2f}" '
            f'width="{max(step * 0.85, 0.4):.2f}" height="{max(high, 0.6):.2f}">'
            f"<title>{escape(title)}</title></rect>"
        )
    better, worse = sum(value > 0 for value, _ in changes), sum(value < 0 for value, _ in changes)
    label = f"{len(changes)} queries: {better} better, {worse} worse, largest change {largest:.4f}"
    return _svg(wide, tall, label, shapes, "movement")


def interval_rows(rows: Sequence[tuple[str, float, float, float]], digits: int = 4) -> str:
    """A mean with its interval per row: [(name, low, mean, high), ...] on one axis that fits them all.

    digits: of the means, behind the point. Long names are cut; the pointer over one shows it whole.
    """
    low = min(row[1] for row in rows)
    high = max(row[3] for row in rows)
    spread = (high - low) or 1.0
    low, high = low - 0.08 * spread, high + 0.08 * spread
    wide, left, line = 720, 210, 26

    def x(value: float) -> float:
        return round(left + (wide - left - 70) * (value - low) / (high - low), 1)

    shapes = []
    for number, (name, lower, mean, upper) in enumerate(rows):
        y = 16 + number * line
        shapes.append(
            f'<text class="row" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(shortened(name))}'
            f"<title>{escape(name)}</title></text>"
            f'<path class="axis" d="M{left} {y}H{wide - 70}"/>'
            f'<rect class="band" x="{x(lower)}" y="{y - 5}" width="{max(x(upper) - x(lower), 0.5):.1f}" '
            f'height="10" rx="2"/><circle class="disc" cx="{x(mean)}" cy="{y}" r="4"/>'
            f'<text class="row" x="{wide - 60}" y="{y + 4}">{mean:.{digits}f}</text>'
        )
    said = "; ".join(
        f"{name}: {mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" for name, low, mean, high in rows
    )
    return _svg(wide, 16 + line * len(rows), said, shapes, "intervals")


def shortened(name: str, most: int = 28) -> str:
    """A name in at most so many characters, its middle left out.

    >>> shortened("rows 25"), shortened("without query_intent_classification, five shots")
    ('rows 25', 'without query_\u2026n, five shots')
    """
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}\u2026{name[-(most - most // 2 - 1) :]}"


def _svg(width: float, height: float, label: str, shapes: Sequence[str], kind: str) -> str:
    return (
        f'<svg class="{kind}" role="img" viewBox="0 0 {width:g} {height:g}" aria-label="{escape(label)}">'
        f"{''.join(shapes)}</svg>"
    )
