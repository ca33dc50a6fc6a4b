"""The HTML frame of every page: one file with its style and script inside, which makes no network requests.

`report` renders a page of sections, `render` any template of ``templates/`` that extends ``frame.html``.
Templates escape everything but `Markup`. Should markup from data get in all the same, the page's
Content-Security-Policy stops it: it allows the page's own style, its own script by hash, and no connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from inters_jax.reports.tables import Table

TEMPLATES = Path(__file__).parent / "templates"


class Tile(NamedTuple):
    """One of the most important figures of a page."""

    figure: str
    name: str
    detail: str


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Note:
    """A small paragraph."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A chart of `inters_jax.reports.charts`."""

    svg: Markup


@dataclass(frozen=True)
class Passage:
    """Text from data, with its line breaks."""

    text: str


@dataclass(frozen=True)
class Case:
    """An example: a caption and named passages."""

    caption: str
    passages: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until the reader opens them."""

    summary: str
    blocks: Sequence[Block]


Block = Heading | Note | Picture | Passage | Case | Details | Table


@dataclass(frozen=True)
class Section:
    """A part of a page: a short name for the navigation, a title, a sentence, and its content."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block]


def report(
    title: str,
    eyebrow: str,
    facts: Mapping[str, object],
    tiles: Sequence[Tile],
    sections: Sequence[Section],
    made_by: str,
) -> str:
    """A page of sections.

    Args:
      title: headline.
      eyebrow: the line above it.
      facts: shown in one line below it; None values are left out.
      tiles: the most important figures.
      sections: in the order of the page.
      made_by: the command, for the footer.
    """
    return render(
        "report", title=title, eyebrow=eyebrow, facts=facts, tiles=tiles, sections=sections, made_by=made_by
    )


def render(name: str, *, script: str = "", connect: str = "", **values: Any) -> str:
    """Render ``templates/<name>.html`` with the style ``frame.css`` and ``<name>.css``.

    Args:
      name: of the template.
      script: of the page; "" for none.
      connect: sources that the script may request, such as "'self'"; "" for none.
      **values: of the template. Those of the frame are title, eyebrow and facts (as in `report`), and
        optionally heading (the headline, if it is not the title), tiles, sections and made_by.
    """
    frame = {
        "heading": "",
        "tiles": (),
        "sections": (),
        "made_by": "",
        "style": Markup(asset("frame.css") + asset(f"{name}.css")),
        "script": Markup(script),
        "policy": Markup(content_policy(script, connect)),
    }
    return _environment().get_template(f"{name}.html").render(frame | values)


def asset(name: str) -> str:
    """A style or script of ``templates/``."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def content_policy(script: str = "", connect: str = "") -> str:
    """The Content-Security-Policy of a page with this script.

    >>> content_policy()
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    >>> content_policy("let a = 1").split("; ")[1]
    "script-src 'sha256-LAfYd7pbFUgwfQu8b4q135PeTG2z+/coPEUYCd74eCQ='"
    """
    policy = ["default-src 'none'"]
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy.append(f"script-src 'sha256-{digest}'")
    policy += ["style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    return "; ".join([*policy, *([f"connect-src {connect}"] if connect else [])])


def excerpt(text: object, limit: int = 600) -> str:
    """Text of at most about `limit` characters; the middle of a longer one is replaced by its length.

    >>> excerpt("abc")
    'abc'
    >>> excerpt("a" * 700).count("100 characters left out")
    1
    """
    words = str(text)
    if len(words) <= limit:
        return words
    return f"{words[: limit // 2]} […{len(words) - limit} characters left out…] {words[-limit // 2 :]}"


def folded_json(summary: str, value: Mapping[str, Any]) -> Details:
    """Settings as JSON, folded away."""
    return Details(summary, [Passage(json.dumps(value, indent=1, ensure_ascii=False, default=str))])


def breakable(name: str) -> Markup:
    """A name that may be broken into lines behind its underscores.

    >>> breakable("a_<b>")
    Markup('a_<wbr>&lt;b&gt;')
    """
    return escape(name).replace("_", Markup("_<wbr>"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment
