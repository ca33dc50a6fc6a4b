"""The page itself: one HTML file with its style, its script and its data inside, and nothing from elsewhere.

Whatever comes from data or files is escaped where it enters: text through `html.escape`, the examples as JSON
in which no `<` is left. The page's Content-Security-Policy allows its own script by its hash, and no
connection at all: even text that found a way to be taken for markup could run and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection import figures
from inters_jax.inspection.numbers import Epoch, Packed, Share, TaskNumbers
from inters_jax.inspection.rendering import Rendering
from inters_jax.inspection.sampling import Pick, Sample

_AXIS_NAMES = {0: "1", 2: "4", 4: "16", 6: "64", 8: "256", 10: "1k", 12: "4k", 14: "16k", 16: "66k", 18: "262k"}


def page(
    store: TokenStore,
    *,
    tasks: Sequence[TaskNumbers],
    epoch: Epoch,
    packed: Packed,
    sample: Sample,
    renderings: Mapping[Pick, Rendering],
    not_rendered: Mapping[str, str],
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
      not_rendered: task -> why it is not known for all of its examples.
      seed: of the epoch and the sample.
    """
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    name = str(store.manifest["settings"]["name"])
    shown = {task.name for task in tasks}
    data = _examples_json(store, [task.name for task in tasks], sample, renderings)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(name)}: training data</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#examples">Skip to the examples</a>
{_header(store, tasks, epoch, packed)}
<nav aria-label="Sections"><ul>
<li><a href="#tasks">Tasks</a></li><li><a href="#mixing">Mixing</a></li>
<li><a href="#packing">Packing</a></li><li><a href="#examples">Examples</a></li>
</ul></nav>
<main>
{_tasks(store, tasks)}
{_mixing([share for share in epoch.shares if share.name in shown], epoch, seed)}
{_packing(packed, seed)}
{_examples(store, tasks, sample, not_rendered)}
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

    Keys of an example: k task, p pass, e example id, c first token of the completion, t tokens; and when known
    m template, f family, s shots, x document tokens cut, r parts.
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
    tiles = (
        (f"{len(store.tasks)}", "tasks", f"{len(tasks)} on this page" if len(tasks) < len(store.tasks) else ""),
        (_count(examples), "examples", f"{_plural(store.epoch_examples, 'example')} an epoch"),
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


def _tasks(store: TokenStore, tasks: Sequence[TaskNumbers]) -> str:
    longest = max((int(task.lengths.max(initial=1)) for task in tasks), default=1)
    last = figures.octaves(longest)
    axis = "".join(
        f'<span style="left:{100 * power / last:.2f}%">{_AXIS_NAMES.get(power, f"2^{power}")}</span>'
        for power in range(0, last + 1, 2)
    )
    rows = []
    for task in tasks:
        length, completion = figures.quantiles(task.lengths), figures.quantiles(task.completions)
        left_out = sum(task.dropped.values())
        passes = f"{task.passes} passes" if task.passes > 1 else "1 pass"
        rows.append(
            f'<tr><th scope="row">{_task_link(task.name)}<small>{passes}</small></th>'
            f'<td data-name="kept">{task.kept:,}<small>of {task.rows:,}</small></td>'
            f'<td data-name="left out"{_zero(left_out)}>{left_out:,}</td>'
            f'<td data-name="shortened"{_zero(task.shortened)}>{task.shortened:,}</td>'
            f'<td class="wide" data-name="lengths">{figures.histogram(task, longest)}'
            f'<div class="axis" aria-hidden="true">{axis}</div></td>'
            f'<td data-name="tokens">{length[0]:,}<small>95 %: {length[1]:,} · max {length[2]:,}</small></td>'
            f'<td data-name="in the loss">{completion[0]:,}'
            f"<small>95 %: {completion[1]:,} · max {completion[2]:,}</small></td></tr>"
        )
    return f"""<section id="tasks" aria-labelledby="h-tasks"><h2 id="h-tasks">Tasks</h2>
<p class="lead">Rows kept of those read, over all passes; how many tokens a sequence has (<i class="key whole"></i>
prompt and completion) and how many of them carry loss (<i class="key loss"></i> completion). Lengths are on a
logarithmic axis; the number is the median.</p>
<div class="scroll"><table class="tasks"><thead><tr><th scope="col">task</th><th scope="col">kept</th>
<th scope="col">left out</th><th scope="col">shortened</th><th scope="col" class="wide">lengths</th>
<th scope="col">tokens</th><th scope="col">in the loss</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>
{_left_out(store, tasks)}</section>"""


def _left_out(store: TokenStore, tasks: Sequence[TaskNumbers]) -> str:
    """Drops, shortenings and notes by task and reason; tasks of the mixture without data."""
    lines = []
    for task in tasks:
        reasons = [
            *((reason, n, "dropped") for reason, n in task.dropped.items()),
            *([("documents cut so that the prompt fits", task.shortened, "shortened")] if task.shortened else []),
            *((reason, n, "noted") for reason, n in task.notes.items()),
        ]
        for reason, n, kind in reasons:
            # Notes count records of the source or tokens: a share of the rows would mislead.
            share = f"{100 * n / task.rows:.1f} %" if kind != "noted" and task.rows else ""
            lines.append(
                f'<tr><th scope="row">{_task_link(task.name)}</th><td><span class="tag {kind}">{kind}</span></td>'
                f'<td class="text">{escape(reason)}</td><td>{n:,}</td><td>{share}</td></tr>'
            )
    shown = (
        f"""<div class="scroll"><table class="reasons"><thead><tr><th scope="col">task</th><th scope="col">what</th>
<th scope="col" class="text">reason</th><th scope="col">count</th><th scope="col">of the rows</th></tr></thead>
<tbody>{"".join(lines)}</tbody></table></div>"""
        if lines
        else '<p class="quiet">Nothing was dropped and nothing was shortened.</p>'
    )
    absent = "".join(
        f'<li><b class="mono">{escape(task)}</b> {escape(reason)}</li>'
        for task, reason in store.manifest["without_data"].items()
    )
    if absent:
        absent = f'<h3>Tasks of the mixture without data</h3><ul class="plain">{absent}</ul>'
    return f"<h3>Left out, shortened, noted</h3>{shown}{absent}"


def _mixing(shares: Sequence[Share], epoch: Epoch, seed: int) -> str:
    largest = max((max(share.asked, share.drawn) for share in shares), default=1.0)
    rows = "".join(
        f'<tr><th scope="row">{_task_link(share.name)}</th>'
        f'<td data-name="rate">{share.rate:,.6g}</td>'
        f'<td class="wide" data-name="asked and drawn">{figures.share_bars(share, largest)}</td>'
        f'<td data-name="asked">{_percent(share.asked)}</td><td data-name="drawn">{_percent(share.drawn)}</td>'
        f'<td data-name="examples">{share.examples:,}<small>{share.distinct:,} different</small></td>'
        f'<td data-name="each row">{share.cycles:.2f}×</td>'
        f'<td data-name="of the tokens">{_percent(share.tokens)}</td>'
        f'<td data-name="of the loss">{_percent(share.loss)}</td></tr>'
        for share in shares
    )
    return f"""<section id="mixing" aria-labelledby="h-mixing"><h2 id="h-mixing">Mixing</h2>
<p class="lead">What the rates ask for (<i class="key asked"></i>) and what the first epoch draws
(<i class="key drawn"></i>): {len(epoch.draws):,} examples with seed {seed}. The last two columns say what a task
weighs once examples are tokens.</p>
<div class="scroll"><table class="mixing"><thead><tr><th scope="col">task</th><th scope="col">rate</th>
<th scope="col" class="wide">asked and drawn</th><th scope="col">asked</th><th scope="col">drawn</th>
<th scope="col">examples</th><th scope="col">each row</th><th scope="col">of the tokens</th>
<th scope="col">of the loss</th></tr></thead><tbody>{rows}</tbody></table></div></section>"""


def _packing(packed: Packed, seed: int) -> str:
    row = packed.pictured[packed.featured]
    items = "".join(
        f'<li><b class="mono">{escape(segment.name)}</b><small>positions {segment.start:,} to '
        f"{segment.end - 1:,}, {segment.end - segment.loss:,} of {segment.end - segment.start:,} in the loss"
        "</small></li>"
        for segment in row
    )
    filled = row[-1].end
    return f"""<section id="packing" aria-labelledby="h-packing"><h2 id="h-packing">Packing</h2>
<p class="lead">The epoch fits {packed.rows:,} rows of {packed.max_length:,} positions, {100 * packed.density:.2f} %
of them filled; a row holds {packed.segments:.1f} examples on average and {packed.most_segments:,} at most. Segments
(<i class="key even"></i><i class="key odd"></i>) do not see each other; loss falls on the completions
(<i class="key loss"></i>); the rest is empty (<i class="key empty"></i>).</p>
<h3>Row {packed.featured}: {_plural(len(row), "example")}, {100 * filled / packed.max_length:.1f} % filled</h3>
{figures.featured_row(packed)}
<div class="ends" aria-hidden="true"><span>0</span><span>{packed.max_length:,}</span></div>
<details class="list"><summary>Its {_plural(len(row), "segment")}</summary><ol>{items}</ol></details>
<h3>The first {len(packed.pictured)} rows of epoch 0, seed {seed}</h3>
{figures.packed_rows(packed)}</section>"""


def _examples(
    store: TokenStore, tasks: Sequence[TaskNumbers], sample: Sample, not_rendered: Mapping[str, str]
) -> str:
    total = sum(task.kept for task in tasks)
    more = " The page is full: raise MAX_BYTES to show more." if sample.full else ""
    unknown = "".join(
        f'<li><b class="mono">{escape(task)}</b> {escape(reason)}</li>' for task, reason in not_rendered.items()
    )
    if unknown:
        unknown = (
            '<details class="list"><summary>Template and shots are not known for '
            f"{_plural(len(not_rendered), 'task')}</summary><ul>{unknown}</ul></details>"
        )
    return f"""<section id="examples" aria-labelledby="h-examples"><h2 id="h-examples">Examples</h2>
<p class="lead">A random sample of the sequences, token by token: <span class="text demo"><span class="t a">prompt
</span><span class="t b">tokens</span></span> are read, <span class="text demo"><span class="t l">completion</span>
<span class="t l b">tokens</span><span class="t l end">EOS</span></span> are learnt. Point at a token, or tap it, or
walk with the arrow keys: id and position appear. <span class="keys">Keys: <kbd>/</kbd> search, <kbd>j</kbd>
<kbd>k</kbd> next and previous example, <kbd>o</kbd> unfold, <kbd>Esc</kbd> clear.</span></p>
<p class="lead" id="shown">{_plural(len(sample.picks), "example")} of {total:,} in the store are on this page.{more}</p>
{unknown}
<noscript><p class="notice">The examples are shown by this page's own script; allow scripts to see them.</p></noscript>
<form class="filters" role="search" id="filters" hidden>
<label class="grow">Search<input id="q" type="search" autocomplete="off" spellcheck="false"
 placeholder="words, or “a phrase in quotes”, or an example id"></label>
<label>Task<select id="task"></select></label>
<label>Template<select id="template"></select></label>
<label>Shots<select id="shots"></select></label>
<p class="status"><output id="count" for="q task template shots" aria-live="polite"></output>
<button type="button" id="clear" hidden>Clear filters</button></p>
</form>
<div id="cards" data-total="{total}"></div>
<p class="more"><button type="button" id="more" hidden></button></p></section>"""


def _task_link(task: str) -> str:
    return f'<a class="task" href="#examples" data-task="{escape(task)}">{_breakable(task)}</a>'


def _breakable(name: str) -> str:
    return escape(name).replace("_", "_<wbr>")


def _zero(number: int) -> str:
    return "" if number else ' class="zero"'


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)


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
