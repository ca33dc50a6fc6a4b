"""Charts of a token store: histograms of lengths, shares of the mixture, packed rows.

The page stretches them, so that they hold no text; labels stand beside them, in HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from inters_jax.inspection.numbers import PER_OCTAVE, Packed, Segment, Share, TaskNumbers, bins, octaves
from inters_jax.reports.svg import element, picture

_HEIGHT = 40  # of a histogram


def histogram(task: TaskNumbers, longest: int) -> Markup:
    """Lengths of whole sequences (pale) and of completions (strong), each scaled to its fullest bin.

    longest: length at the right end of the logarithmic axis.
    """
    width = octaves(longest) * PER_OCTAVE
    ticks = "".join(f"M{power * PER_OCTAVE} 0v{_HEIGHT}" for power in range(0, octaves(longest) + 1, 2))
    label = (
        f"{task.name}: lengths of {len(task.lengths)} examples; half have at most "
        f"{task.length_quantiles.median} tokens, the longest {task.length_quantiles.largest}; "
        f"completions {task.completion_quantiles.median} and {task.completion_quantiles.largest}"
    )
    shapes = [
        element("path", class_="grid", d=ticks),
        element("path", class_="whole", d=_outline(bins(task.lengths, longest))),
        element("path", class_="loss", d=_outline(bins(task.completions, longest))),
    ]
    return picture("histogram", width, _HEIGHT, label, shapes, stretched=True)


def _outline(counts: np.ndarray) -> str:
    """Bars as one path: a bar of height h at bin i is M i,base v-h h1 v+h."""
    top = max(int(counts.max(initial=0)), 1)
    bars = []
    for place, count in enumerate(counts.tolist()):
        if count:
            height = max(1.0, round((_HEIGHT - 2) * count / top, 1))
            bars.append(f"M{place + 0.06:g} {_HEIGHT}v-{height:g}h.88v{height:g}z")
    return "".join(bars)


def share_bars(share: Share, largest: float) -> Markup:
    """The share set by the rates (upper bar) and the share drawn (lower bar).

    largest: the largest share of any task, which fills the width.
    """
    asked, drawn = (100 * value / largest for value in (share.asked, share.drawn))
    label = f"{share.name}: asked {100 * share.asked:.2f} %, drawn {100 * share.drawn:.2f} %"
    shapes = [
        element("rect", class_="asked", y=1, width=asked, height=8),
        element("rect", class_="drawn", y=11, width=drawn, height=8),
    ]
    return picture("shares", 100, 20, label, shapes, stretched=True)


def packed_rows(packed: Packed) -> Markup:
    """The first rows of the epoch, one above the other."""
    step, height = 10, 8
    shapes = [
        shape
        for number, row in enumerate(packed.pictured)
        for shape in _segments(row, packed.max_length, height, number * step)
    ]
    count = len(packed.pictured)
    label = f"the first {count} rows of an epoch, {packed.max_length} positions wide"
    return picture("rows", packed.max_length, count * step - 2, label, shapes, stretched=True)


def featured_row(packed: Packed) -> Markup:
    """One row, large, with the names of its examples as tooltips."""
    row = packed.pictured[packed.featured]
    label = f"row {packed.featured}: {len(row)} segments on {packed.max_length} positions"
    shapes = _segments(row, packed.max_length, 40, named=True)
    return picture("row", packed.max_length, 40, label, shapes, stretched=True)


def _segments(
    row: Sequence[Segment], max_length: int, height: int, y: int = 0, *, named: bool = False
) -> list[Markup]:
    """The segments of a row in two alternating tints, with their completions on top of them."""
    shapes = [element("rect", class_="empty", y=y, width=max_length, height=height)]
    for number, segment in enumerate(row):
        size, loss = segment.end - segment.start, segment.end - segment.loss
        tip = [element("title", f"{number + 1}: {segment.name}, {size} positions")] if named else []
        kind = f"segment {'odd' if number % 2 else 'even'}"
        place = {"x": segment.start, "y": y, "width": size, "height": height}
        shapes.append(element("rect", *tip, class_=kind, **place))
        shapes.append(element("rect", class_="loss", x=segment.loss, y=y, width=loss, height=height))
    return shapes
