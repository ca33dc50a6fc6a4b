"""The frame of a report: one HTML file without a script, which loads nothing from anywhere.

Whatever comes from data is escaped where it enters, and nothing else could run (`page_head`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from inters_jax.reports.page_head import head


@dataclass(frozen=True)
class Section:
    """A part of the page: a short name for the navigation, a title, one sentence, HTML that is safe."""

    name: str
    title: str
    lead: str
    body: str


def document(
    title: str,
    eyebrow: str,
    facts: Mapping[str, object],
    tiles: Sequence[tuple[str, str, str]],
    sections: Sequence[Section],
    made_by: str,
) -> str:
    """The whole page.

    Args:
      title: headline.
      eyebrow: the line above it.
      facts: shown in one line below it; None values are left out.
      tiles: (figure, name, addition) of the most important figures.
      sections: in the order of the page.
      made_by: the command, for the footer.
    """
    line = "".join(
        f"<span>{escape(name)} <b>{escape(str(value))}</b></span>"
        for name, value in facts.items()
        if value is not None
    )
    boxes = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b><span>{escape(more)}</span></dd></div>"
        for value, name, more in tiles
    )
    links = "".join(f'<li><a href="#{part.name}">{escape(part.name)}</a></li>' for part in sections)
    parts = "".join(
        f'<section id="{part.name}"><h2>{escape(part.title)}</h2><p class="lead">{escape(part.lead)}</p>'
        f"{part.body}</section>"
        for part in sections
    )
    style = resources.files("inters_jax.reports").joinpath("report.css").read_text(encoding="utf-8")
    return f"""{head(title, style)}
<body>
<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1><p class="facts">{line}</p>
<dl class="tiles">{boxes}</dl></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>{parts}</main>
<footer><p>Written by <code>{escape(made_by)}</code>. This page loads nothing from anywhere.</p></footer>
</body>
</html>
"""


def details(summary: str, body: str) -> str:
    """A part that opens when it is clicked; `body` is safe HTML."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def passage(text: object, limit: int = 600) -> str:
    """Text of data: escaped, long ones cut in the middle and said so.

    >>> passage("<b>")
    '<div class="text">&lt;b&gt;</div>'
    >>> passage("a" * 700).count("100 characters left out")
    1
    """
    words = str(text)
    if len(words) > limit:
        left = len(words) - limit
        words = f"{words[: limit // 2]} […{left} characters left out…] {words[-limit // 2 :]}"
    return f'<div class="text">{escape(words)}</div>'
