"""Series of experiments as small line charts, in SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

_LEFT, _RIGHT, _TOP, _BOTTOM = 72.0, 516.0, 26.0, 156.0
_LETTER, _LINE = 7.0, 12.0  # room that a letter and a line of text take


def curves(lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Points joined by lines, one picture per series, all on one scale: {series: [(place, value), ...]}.

    A number that would lie on another one is left out of the picture; the pointer over a point shows it, and
    the text of the picture has all.
    """
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    room = (high - low or 1.0) * 0.1
    return "".join(_picture(name, points, low - room, high + room) for name, points in lines.items())


def _picture(name: str, points: Sequence[tuple[float, float]], low: float, high: float) -> str:
    places = [place for place, _ in points]
    wide = (max(places) - min(places)) or 1.0
    at = [
        (
            _LEFT + (_RIGHT - _LEFT) * ((place - min(places)) / wide if len(points) > 1 else 0.5),
            _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low),
        )
        for place, value in points
    ]
    shapes = []
    for value in (low, (low + high) / 2, high):
        y = _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)
        shapes.append(
            f'<path class="grid" d="M{_LEFT - 20:g} {y:.1f}H{_RIGHT + 8:g}"/>'
            f'<text class="tick" x="{_LEFT - 26:g}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        )
    shapes.append(f'<path class="curve" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in at)}"/>')
    for (x, y), (place, value) in zip(at, points, strict=True):
        shapes.append(
            f'<circle class="disc" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{place:g}: {value:.2f}</title></circle>"
        )
    above_or_below = [
        (f"{value:.1f}", x, (y - 9, y + 18)) for (x, y), (_, value) in zip(at, points, strict=True)
    ]
    axis = [(f"{place:g}", x, (_BOTTOM + 20,)) for (x, _), (place, _) in zip(at, points, strict=True)]
    discs = [(x, y + 4, 5.0) for x, y in at]
    for kind, texts, taken in (("value", above_or_below, discs), ("name", axis, [])):
        shapes += [
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{text}</text>'
            for text, x, y in placed(texts, taken)
        ]
    said = "; ".join(f"{place:g}: {value:.2f}" for place, value in points)
    return (
        f'<h3>{escape(name)}</h3><svg class="curves" role="img" viewBox="0 0 540 184" '
        f'aria-label="{escape(said)}">{"".join(shapes)}</svg>'
    )


def placed(
    texts: Sequence[tuple[str, float, Sequence[float]]], taken: Sequence[tuple[float, float, float]] = ()
) -> Iterator[tuple[str, float, float]]:
    """Texts at the first of their heights where they lie on nothing; the others are left out.

    Args:
      texts: (text, its middle, heights of its lower edge to try).
      taken: (middle, lower edge, half the width) of what is there.

    >>> list(placed([("75", 0.0, (9.0, 40.0)), ("76", 4.0, (9.0, 40.0)), ("77", 8.0, (9.0, 40.0))]))
    [('75', 0.0, 9.0), ('76', 4.0, 40.0)]
    """
    there = list(taken)
    for text, x, heights in texts:
        half = _LETTER * len(text) / 2
        for y in heights:
            if all(abs(x - other) >= half + wide or abs(y - edge) >= _LINE for other, edge, wide in there):
                there.append((x, y, half))
                yield text, x, y
                break
