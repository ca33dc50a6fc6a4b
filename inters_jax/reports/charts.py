"""Charts of results: change per task, group averages, movement per query, intervals, series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from inters_jax.reports.svg import element, picture

MAX_BARS = 600

# The plot area of `curve`, and the room that a letter and a line of text take.
_LEFT, _RIGHT, _TOP, _BOTTOM = 72.0, 516.0, 26.0, 156.0
_LETTER, _LINE = 7.0, 12.0


def change(
    before: float | None, after: float, interval: tuple[float, float] | None, largest: float = 100.0
) -> Markup:
    """One row of the task table: a ring for before, a disc for after, a band for its interval.

    Args:
      before: None draws `after` alone.
      after: the value.
      interval: of `after`; None draws no band.
      largest: end of the axis, which begins at 0.
    """
    width, middle = 200, 9

    def x(value: float) -> float:
        return round(6 + (width - 12) * min(max(value / largest, 0.0), 1.0), 1)

    shapes = [element("path", class_="axis", d=f"M6 {middle}H{width - 6}")]
    if interval is not None:
        low, high = x(interval[0]), x(interval[1])
        shapes.append(element("rect", class_="band", x=low, y=5, width=max(high - low, 0.5), height=8, rx=2))
    if before is not None:
        kind = "up" if after >= before else "down"
        shapes.append(element("path", class_=f"move {kind}", d=f"M{x(before)} {middle}H{x(after)}"))
        shapes.append(element("circle", class_="ring", cx=x(before), cy=middle, r=3.5))
    shapes.append(element("circle", class_="disc", cx=x(after), cy=middle, r=4))
    label = f"{after:.4g} of {largest:g}" + ("" if before is None else f", before {before:.4g}")
    return picture("change", width, 18, label, shapes)


def groups(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Markup:
    """Grouped bars, in per cent: [(group, [(series, value), ...]), ...]."""
    height, bar, gap, base, scale = 200, 26, 34, 160, 1.4
    shapes = []
    for tick in (0, 25, 50, 75, 100):
        y = base - scale * tick
        shapes.append(element("path", class_="grid", d=f"M40 {y:g}H1000"))
        shapes.append(element("text", str(tick), class_="tick", x=34, y=y + 4, text_anchor="end"))
    at, values = 56, []
    for name, series in rows:
        start = at
        for number, (title, value) in enumerate(series):
            tall = scale * max(value, 0.0)
            tip = element("title", f"{title}: {value:.1f}")
            place = {"x": at, "y": base - tall, "width": bar, "height": tall}
            shapes.append(element("rect", tip, class_=f"series s{number}", **place))
            shapes.append(element("text", f"{value:.1f}", class_="value", x=at + bar / 2, y=base - tall - 4))
            values.append(f"{name}, {title}: {value:.1f}")
            at += bar + 4
        shapes.append(element("text", name, class_="name", x=(start + at - 4) / 2, y=base + 20))
        at = max(at + gap, start + 190)
    return picture("groups", max(at, 300), height, "; ".join(values), shapes)


def movement(before: Mapping[str, float], after: Mapping[str, float]) -> Markup:
    """A bar for every query, sorted by its change; upwards where `after` is better.

    Of more than `MAX_BARS` queries an even selection is drawn, including the first and the last.
    """
    queries = [query for query in after if query in before]
    changes = sorted(((after[query] - before[query], query) for query in queries), reverse=True)
    drawn = changes
    if len(changes) > MAX_BARS:
        places = np.linspace(0, len(changes) - 1, MAX_BARS).round().astype(int)
        drawn = [changes[place] for place in places]
    width, height, middle = 720, 160, 80
    step = (width - 20) / max(len(drawn), 1)
    largest = max((abs(value) for value, _ in drawn), default=0.0) or 1.0
    shapes = [element("path", class_="axis", d=f"M10 {middle}H{width - 10}")]
    for number, (value, query) in enumerate(drawn):
        tall = 70 * abs(value) / largest
        shapes.append(
            element(
                "rect",
                element("title", f"{query}: {before[query]:.4f} to {after[query]:.4f}"),
                class_="up" if value > 0 else "down",
                x=10 + number * step,
                y=middle - tall if value > 0 else middle,
                width=max(step * 0.85, 0.4),
                height=max(tall, 0.6),
            )
        )
    better, worse = sum(value > 0 for value, _ in changes), sum(value < 0 for value, _ in changes)
    label = f"{len(changes)} queries: {better} better, {worse} worse, largest change {largest:.4f}"
    return picture("movement", width, height, label, shapes)


def interval_rows(rows: Sequence[tuple[str, float, float, float]], digits: int = 4) -> Markup:
    """A mean with its interval per row, on one axis that fits them all.

    Args:
      rows: (name, low, mean, high). Long names are shortened; the tooltip has the whole name.
      digits: decimals of the means.
    """
    lowest, highest = min(row[1] for row in rows), max(row[3] for row in rows)
    margin = 0.08 * ((highest - lowest) or 1.0)
    lowest, highest = lowest - margin, highest + margin
    width, left, line = 720, 210, 26

    def x(value: float) -> float:
        return round(left + (width - left - 70) * (value - lowest) / (highest - lowest), 1)

    shapes, values = [], []
    for number, (name, low, mean, high) in enumerate(rows):
        y, tip = 16 + number * line, element("title", name)
        band = {"x": x(low), "y": y - 5, "width": max(x(high) - x(low), 0.5), "height": 10, "rx": 2}
        shapes += [
            element("text", shortened(name), tip, class_="row", x=left - 12, y=y + 4, text_anchor="end"),
            element("path", class_="axis", d=f"M{left} {y}H{width - 70}"),
            element("rect", class_="band", **band),
            element("circle", class_="disc", cx=x(mean), cy=y, r=4),
            element("text", f"{mean:.{digits}f}", class_="row", x=width - 60, y=y + 4),
        ]
        values.append(f"{name}: {mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
    return picture("intervals", width, 16 + line * len(rows), "; ".join(values), shapes)


def shortened(name: str, most: int = 28) -> str:
    """A name of at most `most` characters; the middle of a longer one is left out.

    >>> shortened("rows 25"), shortened("without query_intent_classification, five shots")
    ('rows 25', 'without query_\u2026n, five shots')
    """
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}\u2026{name[-(most - most // 2 - 1) :]}"


def curve(points: Sequence[tuple[float, float]], limits: tuple[float, float]) -> Markup:
    """Points joined by lines.

    A number that would overlap another one is left out of the picture; the tooltip of its point shows it, and
    the label of the picture has them all.

    Args:
      points: (place, value), sorted by place.
      limits: lowest and highest value of the vertical axis (`curve_limits`).
    """
    low, high = limits
    places = [place for place, _ in points]
    span = (max(places) - min(places)) or 1.0

    def height(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)

    at = [
        (_LEFT + (_RIGHT - _LEFT) * ((place - min(places)) / span if len(points) > 1 else 0.5), height(value))
        for place, value in points
    ]
    shapes = []
    for value in (low, (low + high) / 2, high):
        y = height(value)
        shapes.append(element("path", class_="grid", d=f"M{_LEFT - 20:g} {y:.1f}H{_RIGHT + 8:g}"))
        text = f"{value:.1f}"
        shapes.append(element("text", text, class_="tick", x=_LEFT - 26, y=y + 4, text_anchor="end"))
    shapes.append(element("path", class_="curve", d=f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in at)}"))
    for (x, y), (place, value) in zip(at, points, strict=True):
        tip = element("title", f"{place:g}: {value:.2f}")
        shapes.append(element("circle", tip, class_="disc", cx=x, cy=y, r=4))
    discs = [(x, y + 4, 5.0) for x, y in at]
    numbers = [(f"{value:.1f}", x, (y - 9, y + 18)) for (x, y), (_, value) in zip(at, points, strict=True)]
    axis = [(f"{place:g}", x, (_BOTTOM + 20,)) for (x, _), (place, _) in zip(at, points, strict=True)]
    for kind, texts, taken in (("value", numbers, discs), ("name", axis, [])):
        shapes += [element("text", text, class_=kind, x=x, y=y) for text, x, y in placed(texts, taken)]
    label = "; ".join(f"{place:g}: {value:.2f}" for place, value in points)
    return picture("curves", 540, 184, label, shapes)


def curve_limits(series: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """A vertical axis that fits all series, so that their pictures can be compared.

    >>> curve_limits({"a": [(1, 10.0), (2, 20.0)]})
    (9.0, 21.0)
    """
    values = [value for points in series.values() for _, value in points]
    margin = 0.1 * ((max(values) - min(values)) or 1.0)
    return min(values) - margin, max(values) + margin


def placed(
    texts: Sequence[tuple[str, float, Sequence[float]]], taken: Sequence[tuple[float, float, float]] = ()
) -> Iterator[tuple[str, float, float]]:
    """Place texts where they overlap nothing; a text without such a place is left out.

    Args:
      texts: (text, middle, baselines to try, in order).
      taken: (middle, baseline, half width) of what is already drawn.

    >>> list(placed([("75", 0.0, (9.0, 40.0)), ("76", 4.0, (9.0, 40.0)), ("77", 8.0, (9.0, 40.0))]))
    [('75', 0.0, 9.0), ('76', 4.0, 40.0)]
    """
    drawn = list(taken)
    for text, x, heights in texts:
        half = _LETTER * len(text) / 2
        for y in heights:
            if all(abs(x - other) >= half + wide or abs(y - edge) >= _LINE for other, edge, wide in drawn):
                drawn.append((x, y, half))
                yield text, x, y
                break
