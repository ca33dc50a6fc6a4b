"""Building blocks of inline SVG: elements whose attributes and text are escaped.

Colours are CSS classes, so that one picture works in light mode, dark mode and print. Every picture carries
its values as text for readers who cannot see it.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """An SVG element.

    Args:
      tag: its name.
      *children: text, which is escaped, or elements.
      **attributes: numbers are rounded to hundredths; a trailing underscore is dropped (``class_``), others
        become hyphens (``text_anchor``).

    >>> element("text", "a < b", class_="name", x=1.2345, text_anchor="end")
    Markup('<text class="name" x="1.23" text-anchor="end">a &lt; b</text>')
    """
    given = Markup().join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _value(value))
        for name, value in attributes.items()
    )
    inside = Markup().join(map(escape, children))
    return Markup("<{0}{1}>{2}</{0}>" if children else "<{0}{1}/>").format(Markup(tag), given, inside)


def picture(
    kind: str, width: float, height: float, label: str, shapes: Iterable[Markup], *, stretched: bool = False
) -> Markup:
    """A whole picture.

    Args:
      kind: its CSS class.
      width, height: of the coordinates.
      label: its values as text.
      shapes: elements, the last on top.
      stretched: the page stretches it, so that it must not hold text.
    """
    more = {"preserveAspectRatio": "none"} if stretched else {}
    box = f"0 0 {_value(width)} {_value(height)}"
    inside = Markup().join(shapes)
    return element("svg", inside, class_=kind, role="img", viewBox=box, **more, aria_label=label)


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):.10g}"
