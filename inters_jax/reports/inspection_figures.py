"""The pictures of a page as inline SVG: length histograms, bars of shares, packed rows.

Colours are CSS classes, so that one picture serves light and dark. Widths are stretched by the page; what
must not be stretched (text) stands beside the pictures, in HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from inters_jax.inspection.numbers import Packed, Segment, Share, TaskNumbers

PER_OCTAVE = 4
_HEIGHT = 40


def octaves(longest: int) -> int:
    """Octaves of the length axis: from 1 token to the first power of two that is not below `longest`.

    >>> octaves(1), octaves(2048), octaves(2049)
    (1, 11, 12)
    """
    return max(1, int(np.ceil(np.log2(max(longest, 1)))))


def bins(lengths: np.ndarray, longest: int) -> np.ndarray:
    """Counts of lengths (>= 1) on a logarithmic axis, `PER_OCTAVE` bins an octave: int64 [bins].

        lengths    1 | 2 3 | 4 .. 7 | 8      octaves

    >>> bins(np.array([1, 2, 3, 3, 8]), 8).tolist()
    [1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1]
    """
    count = octaves(longest) * PER_OCTAVE
    # A length on the border of two bins must not fall by rounding error.
    places = np.floor(np.log2(np.maximum(lengths, 1)) * PER_OCTAVE + 1e-9).astype(np.int64)
    return np.bincount(np.minimum(places, count - 1), minlength=count)


def histogram(task: TaskNumbers, longest: int) -> str:
    """Lengths of whole sequences (pale) and of completions (strong), each as high as its fullest bin."""
    label = (
        f"{task.name}: lengths of {len(task.lengths)} examples; half have at most "
        f"{_quantile(task.lengths, 50)} tokens, the longest {_quantile(task.lengths, 100)}; "
        f"completions {_quantile(task.completions, 50)} and {_quantile(task.completions, 100)}"
    )
    width = octaves(longest) * PER_OCTAVE
    ticks = "".join(f"M{power * PER_OCTAVE} 0v{_HEIGHT}" for power in range(0, octaves(longest) + 1, 2))
    areas = "".join(
        f'<path class="{kind}" d="{_outline(bins(values, longest))}"/>'
        for kind, values in (("whole", task.lengths), ("loss", task.completions))
    )
    return (
        f'<svg class="histogram" role="img" viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none" '
        f'aria-label="{escape(label)}"><path class="grid" d="{ticks}"/>{areas}</svg>'
    )


def _outline(counts: np.ndarray) -> str:
    """Bars as one path: a bar of height h at bin i is M i,base v-h h1 v+h."""
    top = max(int(counts.max(initial=0)), 1)
    bars = []
    for place, count in enumerate(counts.tolist()):
        if count:
            height = max(1.0, round((_HEIGHT - 2) * count / top, 1))
            bars.append(f"M{place + 0.06:g} {_HEIGHT}v-{height:g}h.88v{height:g}z")
    return "".join(bars)


def _quantile(values: np.ndarray, percent: int) -> int:
    return int(np.percentile(values, percent, method="higher")) if len(values) else 0


def quantiles(values: np.ndarray) -> tuple[int, int, int]:
    """Median, 95th percentile and maximum, as lengths that occur."""
    return _quantile(values, 50), _quantile(values, 95), _quantile(values, 100)


def share_bars(share: Share, largest: float) -> str:
    """Rates asked (upper bar) and drawn (lower bar), as parts of the largest share of any task."""
    asked, drawn = (100 * value / largest for value in (share.asked, share.drawn))
    label = f"{share.name}: asked {100 * share.asked:.2f} %, drawn {100 * share.drawn:.2f} %"
    return (
        f'<svg class="shares" role="img" viewBox="0 0 100 20" preserveAspectRatio="none" '
        f'aria-label="{escape(label)}"><rect class="asked" y="1" width="{asked:.2f}" height="8"/>'
        f'<rect class="drawn" y="11" width="{drawn:.2f}" height="8"/></svg>'
    )


def packed_row(
    row: Sequence[Segment], max_length: int, height: int, y: int = 0, *, named: bool = False
) -> str:
    """The shapes of one row: segments in two alternating tints, their completions on top of them."""
    shapes = [f'<rect class="empty" y="{y}" width="{max_length}" height="{height}"/>']
    for number, segment in enumerate(row):
        length = segment.end - segment.start
        title = f"<title>{number + 1}: {escape(segment.name)}, {length} positions</title>" if named else ""
        shapes.append(
            f'<rect class="segment {"odd" if number % 2 else "even"}" x="{segment.start}" y="{y}" '
            f'width="{length}" height="{height}">{title}</rect>'
            f'<rect class="loss" x="{segment.loss}" y="{y}" width="{segment.end - segment.loss}" '
            f'height="{height}"/>'
        )
    return "".join(shapes)


def packed_rows(packed: Packed) -> str:
    """The first rows of the epoch, one above the other."""
    step, height = 10, 8
    label = f"the first {len(packed.pictured)} rows of an epoch, {packed.max_length} positions wide"
    shapes = "".join(
        packed_row(row, packed.max_length, height, number * step)
        for number, row in enumerate(packed.pictured)
    )
    return (
        f'<svg class="rows" role="img" viewBox="0 0 {packed.max_length} {len(packed.pictured) * step - 2}" '
        f'preserveAspectRatio="none" aria-label="{escape(label)}">{shapes}</svg>'
    )


def featured_row(packed: Packed) -> str:
    """One row, large."""
    row = packed.pictured[packed.featured]
    label = f"row {packed.featured}: {len(row)} segments on {packed.max_length} positions"
    return (
        f'<svg class="row" role="img" viewBox="0 0 {packed.max_length} 40" preserveAspectRatio="none" '
        f'aria-label="{escape(label)}">{packed_row(row, packed.max_length, 40, named=True)}</svg>'
    )
