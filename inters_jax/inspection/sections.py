"""The sections of the page: tasks, mixing, packing and the frame of the examples, as HTML.

Every text that comes from a store passes through `html.escape` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection.numbers import Epoch, Packed, Share, TaskNumbers
from inters_jax.inspection.sampling import Sample
from inters_jax.reports import inspection_figures


def tasks_section(store: TokenStore, tasks: Sequence[TaskNumbers]) -> str:
    """A row for every task: kept, left out, shortened, lengths; then the reasons."""
    longest = max((int(task.lengths.max(initial=1)) for task in tasks), default=1)
    axis = _length_axis(longest)
    rows = []
    for task in tasks:
        left_out = sum(task.dropped.values())
        passes = f"{task.passes} passes" if task.passes > 1 else "1 pass"
        rows.append(
            f'<tr><th scope="row">{_task_link(task.name)}<small>{passes}</small></th>'
            f'<td data-name="kept">{task.kept:,}<small>of {task.rows:,}</small></td>'
            f'<td data-name="left out"{_zero(left_out)}>{left_out:,}</td>'
            f'<td data-name="shortened"{_zero(task.shortened)}>{task.shortened:,}</td>'
            f'<td class="wide" data-name="lengths">{inspection_figures.histogram(task, longest)}{axis}</td>'
            f'<td data-name="tokens">{_spread(inspection_figures.quantiles(task.lengths))}</td>'
            f'<td data-name="in the loss">{_spread(inspection_figures.quantiles(task.completions))}</td></tr>'
        )
    head = _head("task", "kept", "left out", "shortened", "lengths:wide", "tokens", "in the loss")
    return f"""<section id="tasks" aria-labelledby="h-tasks"><h2 id="h-tasks">Tasks</h2>
<p class="lead">Rows kept of those read, over all passes; how many tokens a sequence has
(<i class="key whole"></i> prompt and completion) and how many of them carry loss (<i class="key loss"></i>
completion). Lengths are on a logarithmic axis; the number is the median.</p>
{_table("tasks", head, rows)}
{_left_out(store, tasks)}</section>"""


def _length_axis(longest: int) -> str:
    last = inspection_figures.octaves(longest)
    marks = "".join(
        f'<span style="left:{100 * power / last:.2f}%">{_power(power)}</span>'
        for power in range(0, last + 1, 2)
    )
    return f'<div class="axis" aria-hidden="true">{marks}</div>'


def _power(power: int) -> str:
    """
    >>> _power(2), _power(10), _power(20)
    ('4', '1k', '1M')
    """
    scale = min(power // 10, 3)
    return f"{2 ** (power - 10 * scale)}{('', 'k', 'M', 'G')[scale]}"


def _left_out(store: TokenStore, tasks: Sequence[TaskNumbers]) -> str:
    """Drops, shortenings and notes by task and reason; tasks of the mixture without data."""
    rows = []
    for task in tasks:
        for kind, reason, n in _reasons(task):
            # Notes count records of the source or tokens: a share of the rows would mislead.
            share = f"{100 * n / task.rows:.1f} %" if kind != "noted" and task.rows else ""
            rows.append(
                f'<tr><th scope="row">{_task_link(task.name)}</th>'
                f'<td><span class="tag {kind}">{kind}</span></td>'
                f'<td class="words">{escape(reason)}</td><td>{n:,}</td><td>{share}</td></tr>'
            )
    shown = '<p class="quiet">Nothing was dropped and nothing was shortened.</p>'
    if rows:
        shown = _table("reasons", _head("task", "what", "reason:words", "count", "of the rows"), rows)
    absent = _named_list(store.manifest["without_data"])
    if absent:
        absent = f'<h3>Tasks of the mixture without data</h3><ul class="plain">{absent}</ul>'
    return f"<h3>Left out, shortened, noted</h3>{shown}{absent}"


def _reasons(task: TaskNumbers) -> Iterator[tuple[str, str, int]]:
    for reason, n in task.dropped.items():
        yield "dropped", reason, n
    if task.shortened:
        yield "shortened", "documents cut so that the prompt fits", task.shortened
    for reason, n in task.notes.items():
        yield "noted", reason, n


def mixing_section(shares: Sequence[Share], epoch: Epoch, seed: int) -> str:
    """Rates asked and drawn side by side, and what tasks weigh in tokens."""
    largest = max((max(share.asked, share.drawn) for share in shares), default=1.0)
    rows = [
        f'<tr><th scope="row">{_task_link(share.name)}</th><td data-name="rate">{share.rate:,.6g}</td>'
        f'<td class="wide" data-name="asked and drawn">{inspection_figures.share_bars(share, largest)}</td>'
        f'<td data-name="asked">{_percent(share.asked)}</td>'
        f'<td data-name="drawn">{_percent(share.drawn)}</td>'
        f'<td data-name="examples">{share.examples:,}{_repeats(share)}</td>'
        f'<td data-name="each row">{share.cycles:.2f}&times;</td>'
        f'<td data-name="of the tokens">{_percent(share.tokens)}</td>'
        f'<td data-name="of the loss">{_percent(share.loss)}</td></tr>'
        for share in shares
    ]
    head = _head(
        "task", "rate", "asked and drawn:wide", "asked", "drawn", "examples", "each row", "of the tokens",
        "of the loss",
    )  # fmt: skip
    return f"""<section id="mixing" aria-labelledby="h-mixing"><h2 id="h-mixing">Mixing</h2>
<p class="lead">What the rates ask for (<i class="key asked"></i>) and what the first epoch draws
(<i class="key drawn"></i>): {len(epoch.draws):,} examples with seed&nbsp;{seed}. The last two columns say
what a task weighs once examples are tokens.</p>
{_table("mixing", head, rows)}</section>"""


def _repeats(share: Share) -> str:
    return "" if share.distinct == share.examples else f"<small>{share.distinct:,} different</small>"


def packing_section(packed: Packed, seed: int) -> str:
    """How full the rows of an epoch are, one of them large, and the first ones small."""
    row = packed.pictured[packed.featured]
    items = "".join(
        f'<li><b class="mono">{escape(segment.name)}</b><small>positions {segment.start:,} to '
        f"{segment.end - 1:,}, {segment.end - segment.loss:,} of {segment.end - segment.start:,} in the loss"
        "</small></li>"
        for segment in row
    )
    filled = 100 * row[-1].end / packed.max_length
    return f"""<section id="packing" aria-labelledby="h-packing"><h2 id="h-packing">Packing</h2>
<p class="lead">The epoch fits {plural(packed.rows, "row")} of {packed.max_length:,} positions,
{100 * packed.density:.2f} % of them filled; a row holds {packed.segments:.1f} examples on average and
{packed.most_segments:,} at most. Segments (<i class="key even"></i><i class="key odd"></i>) do not see each
other; loss falls on the completions (<i class="key loss"></i>); the rest is empty
(<i class="key empty"></i>).</p>
<h3>Row {packed.featured}: {plural(len(row), "example")}, {filled:.1f} % filled</h3>
{inspection_figures.featured_row(packed)}
<div class="ends" aria-hidden="true"><span>0</span><span>{packed.max_length:,}</span></div>
<details class="list"><summary>Its {plural(len(row), "segment")}</summary><ol>{items}</ol></details>
<h3>The first {plural(len(packed.pictured), "row")} of epoch 0, seed {seed}</h3>
{inspection_figures.packed_rows(packed)}</section>"""


def examples_section(
    tasks: Sequence[TaskNumbers], sample: Sample, not_rendered: Mapping[str, str] | None
) -> str:
    """What the script fills: filters, the count, the cards."""
    total = sum(task.kept for task in tasks)
    more = " The page is full: raise MAX_BYTES to show more." if sample.full else ""
    unknown = ""
    if not_rendered is None:
        unknown = '<p class="lead">Template and shots were not looked up.</p>'
    elif not_rendered:
        unknown = (
            '<details class="list"><summary>Template and shots are not known for '
            f"{plural(len(not_rendered), 'task')}</summary><ul>{_named_list(not_rendered)}</ul></details>"
        )
    return f"""<section id="examples" aria-labelledby="h-examples"><h2 id="h-examples">Examples</h2>
<p class="lead">A random sample of the sequences, token by token:
<span class="text demo"><span class="t">prompt </span><span class="t b">tokens</span></span> are read,
<span class="text demo"><span class="t l">completion </span><span class="t l b">tokens</span><span
 class="t l end">EOS</span></span> are learnt. Point at a token, tap it, or walk with the arrow keys: its id
and position appear. <span class="keys">Keys: <kbd>/</kbd> search, <kbd>j</kbd> <kbd>k</kbd> next and previous
example, <kbd>o</kbd> unfold, <kbd>Esc</kbd> clear.</span></p>
<p class="lead" id="shown">{plural(len(sample.picks), "example")} of {total:,} in the store are on this
page.{more}</p>
{unknown}
<noscript><p class="notice">This page's own script shows the examples; allow it to run.</p></noscript>
<form class="filters" role="search" id="filters" hidden>
<label class="grow">Search<input id="q" type="search" autocomplete="off" spellcheck="false"
 placeholder="words, or &ldquo;a phrase in quotes&rdquo;, or an example id"></label>
<label>Task<select id="task"></select></label>
<label>Template<select id="template"></select></label>
<label>Shots<select id="shots"></select></label>
<p class="status"><output id="count" for="q task template shots" aria-live="polite"></output>
<button type="button" id="clear" hidden>Clear filters</button></p>
</form>
<div id="cards" data-total="{total}"></div>
<p class="more"><button type="button" id="more" hidden></button></p></section>"""


def _table(kind: str, head: str, rows: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(*columns: str) -> str:
    """Column heads; what follows a colon is the class."""
    cells = (column.partition(":") for column in columns)
    return "".join(
        f'<th scope="col"{f" class={kind}" if kind else ""}>{escape(name)}</th>' for name, _, kind in cells
    )


def _named_list(entries: Mapping[str, str]) -> str:
    return "".join(
        f'<li><b class="mono">{escape(name)}</b> {escape(text)}</li>' for name, text in entries.items()
    )


def _task_link(task: str) -> str:
    breakable = escape(task).replace("_", "_<wbr>")
    return f'<a class="task" href="#examples" data-task="{escape(task)}">{breakable}</a>'


def _spread(quantiles: tuple[int, int, int]) -> str:
    median, most, longest = quantiles
    return f"{median:,}<small>95 %: {most:,} · max {longest:,}</small>"


def _zero(number: int) -> str:
    return "" if number else ' class="zero"'


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def plural(number: int, what: str) -> str:
    """
    >>> plural(1, "row"), plural(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
