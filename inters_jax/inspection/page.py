"""The page itself: one HTML file with its style, its script and its data inside, and nothing from elsewhere.

Whatever comes from data or files is escaped where it enters: text through `html.escape`, the examples as JSON
in which no `<` is left. Nothing but the page's own script could run (`inters_jax.reports.page_head`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection import sections
from inters_jax.inspection.numbers import Epoch, Packed, TaskNumbers
from inters_jax.inspection.rendering import Rendering
from inters_jax.inspection.sampling import Pick, Sample
from inters_jax.reports.page_head import head


def page(
    store: TokenStore,
    *,
    tasks: Sequence[TaskNumbers],
    epoch: Epoch,
    packed: Packed,
    sample: Sample,
    renderings: Mapping[Pick, Rendering],
    not_rendered: Mapping[str, str] | None,
    seed: int,
) -> str:
    """The whole HTML text.

    Args:
      store: what is shown.
      tasks: the tasks shown.
      epoch: the first epoch of all tasks.
      packed: how it packs.
      sample: the examples shown.
      renderings: how they came about, where that is known.
      not_rendered: task -> why it is not known for all of its examples; None when it was not looked up.
      seed: of the epoch and the sample.
    """
    style, script = _asset("page.css"), _asset("page.js")
    name = str(store.manifest["settings"]["name"])
    shown = {task.name for task in tasks}
    data = _examples_json(store, [task.name for task in tasks], sample, renderings)
    return f"""{head(f"{name}: training data", style, script)}
<body>
<a class="skip" href="#examples">Skip to the examples</a>
{_header(store, tasks, epoch, packed)}
<nav aria-label="Sections"><ul>
<li><a href="#tasks">Tasks</a></li><li><a href="#mixing">Mixing</a></li>
<li><a href="#packing">Packing</a></li><li><a href="#examples">Examples</a></li>
</ul></nav>
<main>
{sections.tasks_section(store, tasks)}
{sections.mixing_section([share for share in epoch.shares if share.name in shown], epoch, seed)}
{sections.packing_section(packed, seed)}
{sections.examples_section(tasks, sample, not_rendered)}
</main>
<footer><p>Written by <code>python -m inters_jax.inspect_data</code> from the store
<code>{escape(store.fingerprint[:12])}</code>. This page loads nothing from anywhere.</p></footer>
<div id="tip" role="tooltip" aria-live="polite" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return resources.files("inters_jax.inspection").joinpath(name).read_text(encoding="utf-8")


def json_inside_html(content: Any) -> str:
    r"""JSON that can stand inside a script element: no `<`, `>` or `&`, and no line separators.

    >>> json_inside_html(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _examples_json(
    store: TokenStore, tasks: Sequence[str], sample: Sample, renderings: Mapping[Pick, Rendering]
) -> str:
    """What the script shows: the table of tokens and, per example, places in it.

    Keys of an example: k task, p pass, e example id, c first token of the completion, t tokens; and when
    known m template, f family, s shots, x document tokens cut, r parts.
    """
    numbers = {task: number for number, task in enumerate(tasks)}
    examples = []
    for pick, tokens in zip(sample.picks, sample.tokens, strict=True):
        entry: dict[str, Any] = {
            "k": numbers[pick.task],
            "p": pick.pass_,
            "e": store.example_id(pick.task, pick.pass_, pick.index),
            "c": store.target_start(pick.task, pick.pass_, pick.index),
            "t": tokens,
        }
        if made := renderings.get(pick):
            entry |= {"m": made.template, "s": made.shots, "x": made.shortened, "r": made.parts}
            if made.family:
                entry["f"] = made.family
        examples.append(entry)
    return json_inside_html({"tokens": sample.table, "tasks": list(tasks), "examples": examples})


def _header(store: TokenStore, tasks: Sequence[TaskNumbers], epoch: Epoch, packed: Packed) -> str:
    settings, tokenizer = store.manifest["settings"], store.manifest["tokenizer"]
    passes = [counts for entry in store.manifest["tasks"].values() for counts in entry["passes"]]
    examples, tokens, loss = (sum(c[name] for c in passes) for name in ("kept", "tokens", "target_tokens"))
    part = f"{len(tasks)} on this page" if len(tasks) < len(store.tasks) else ""
    tiles = (
        (f"{len(store.tasks)}", "tasks", part),
        (_count(examples), "examples", f"{store.epoch_examples:,} an epoch"),
        (_count(tokens), "tokens", f"{tokens / examples:,.0f} an example"),
        (f"{100 * loss / tokens:.1f} %", "of the tokens in the loss", f"{loss:,} tokens"),
        (f"{100 * packed.density:.1f} %", "of the positions filled", f"{packed.segments:.1f} examples a row"),
    )
    boxes = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b><span>{escape(more)}</span></dd></div>"
        for value, name, more in tiles
    )
    facts = {
        "tokenizer": str(tokenizer["name"]).rstrip("/").split("/")[-1] or "not named",
        "vocabulary": f"{tokenizer['vocab_size']:,}",
        "BOS, EOS": f"{_or_none(tokenizer['bos_id'])}, {_or_none(tokenizer['eos_id'])}",
        "split": settings.get("split"),
        "longest allowed": f"{settings['max_length']:,}" if "max_length" in settings else None,
        "seed": settings.get("seed"),
        "passes": settings.get("passes"),
        "demonstrations": f"0 to {settings['max_shots']}" if "max_shots" in settings else None,
    }
    line = "".join(
        f"<span>{escape(name)} <b>{escape(str(value))}</b></span>"
        for name, value in facts.items()
        if value is not None
    )
    return (
        f'<header><p class="eyebrow">Training data, as the model reads it</p>'
        f'<h1>{escape(str(settings["name"]))}</h1><p class="facts">{line}</p>'
        f'<dl class="tiles">{boxes}</dl></header>'
    )


def _count(number: int) -> str:
    """A large number in few characters.

    >>> _count(998), _count(12_345), _count(1_508_394), _count(98_000_000)
    ('998', '12,345', '1.51 M', '98 M')
    """
    if number < 1_000_000:
        return f"{number:,}"
    for unit, name in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    raise AssertionError(number)


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)
