"""The page about a token store: tasks, mixing, packing, and examples token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection.numbers import Epoch, Packed, Quantiles, Share, TaskNumbers, octaves
from inters_jax.inspection.rendering import Rendering
from inters_jax.inspection.sampling import Pick, Sample
from inters_jax.reports.page import Section, Tile, asset, render
from inters_jax.reports.store_charts import featured_row, histogram, packed_rows, share_bars
from inters_jax.reports.tables import Cell, Row, Table

_SECTIONS = ("tasks", "mixing", "packing", "examples")


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
    """The page as HTML text.

    Args:
      store: what is shown.
      tasks: the tasks shown.
      epoch: the first epoch of all tasks.
      packed: how it packs.
      sample: the examples shown.
      renderings: template, shots and parts of the examples for which they are known.
      not_rendered: task -> why they are not known for all of its examples; None: they were not looked up.
      seed: of the epoch and the sample.
    """
    name = str(store.manifest["settings"]["name"])
    shown = [task.name for task in tasks]
    row = packed.pictured[packed.featured]
    return render(
        "inspection",
        script=asset("inspection.js"),
        title=f"{name}: training data",
        heading=name,
        eyebrow="Training data, as the model reads it",
        facts=_facts(store),
        tiles=_tiles(store, len(tasks), packed),
        sections=[Section(section, "", "", ()) for section in _SECTIONS],
        made_by="python -m inters_jax.inspect_data",
        fingerprint=store.fingerprint[:12],
        plural=plural,
        seed=seed,
        tasks=_task_table(tasks),
        reasons=_reason_table(tasks),
        without_data=store.manifest["without_data"],
        mixing=_mixing_table([share for share in epoch.shares if share.name in shown]),
        drawn=len(epoch.draws),
        packed=packed,
        row=row,
        filled=100 * row[-1].end / packed.max_length,
        featured_row=featured_row(packed),
        packed_rows=packed_rows(packed),
        sample=sample,
        total=sum(task.kept for task in tasks),
        not_rendered=not_rendered,
        data=_data(store, shown, sample, renderings),
    )


def _facts(store: TokenStore) -> dict[str, object]:
    settings, tokenizer = store.manifest["settings"], store.manifest["tokenizer"]
    ends = ["none" if tokenizer[end] is None else str(tokenizer[end]) for end in ("bos_id", "eos_id")]
    return {
        "tokenizer": str(tokenizer["name"]).rstrip("/").split("/")[-1] or "not named",
        "vocabulary": f"{tokenizer['vocab_size']:,}",
        "BOS, EOS": ", ".join(ends),
        "split": settings.get("split"),
        "longest allowed": f"{settings['max_length']:,}" if "max_length" in settings else None,
        "seed": settings.get("seed"),
        "passes": settings.get("passes"),
        "demonstrations": f"0 to {settings['max_shots']}" if "max_shots" in settings else None,
    }


def _tiles(store: TokenStore, shown: int, packed: Packed) -> list[Tile]:
    passes = [counts for entry in store.manifest["tasks"].values() for counts in entry["passes"]]
    examples, tokens, loss = (sum(c[name] for c in passes) for name in ("kept", "tokens", "target_tokens"))
    part = f"{shown} on this page" if shown < len(store.tasks) else ""
    filled, average = f"{100 * packed.density:.1f} %", f"{packed.segments:.1f} examples per row"
    return [
        Tile(f"{len(store.tasks)}", "tasks", part),
        Tile(_count(examples), "examples", f"{store.epoch_examples:,} per epoch"),
        Tile(_count(tokens), "tokens", f"{tokens / examples:,.0f} per example"),
        Tile(f"{100 * loss / tokens:.1f} %", "of the tokens in the loss", f"{loss:,} tokens"),
        Tile(filled, "of the positions filled", average),
    ]


def _task_table(tasks: Sequence[TaskNumbers]) -> Table:
    """A row per task: kept, left out, shortened, lengths."""
    longest = max((int(task.lengths.max(initial=1)) for task in tasks), default=1)
    axis = _length_axis(longest)
    rows = [
        [
            Cell(task.name, plural(task.passes, "pass", "passes"), task=task.name),
            Cell(f"{task.kept:,}", f"of {task.rows:,}"),
            _number(sum(task.dropped.values())),
            _number(task.shortened),
            Cell(picture=histogram(task, longest) + axis),
            _spread(task.length_quantiles),
            _spread(task.completion_quantiles),
        ]
        for task in tasks
    ]
    header = ["task", "kept", "left out", "shortened", "lengths", "tokens", "in the loss"]
    return Table("", header, rows, align="lrrrprr", kind="tasks")


def _length_axis(longest: int) -> Markup:
    last = octaves(longest)
    mark = Markup('<span style="left:{}%">{}</span>')
    marks = (mark.format(f"{100 * power / last:.2f}", _power(power)) for power in range(0, last + 1, 2))
    return Markup('<div class="axis" aria-hidden="true">{}</div>').format(Markup().join(marks))


def _power(power: int) -> str:
    """A power of two in few characters.

    >>> _power(2), _power(10), _power(20)
    ('4', '1k', '1M')
    """
    scale = min(power // 10, 3)
    return f"{2 ** (power - 10 * scale)}{('', 'k', 'M', 'G')[scale]}"


def _reason_table(tasks: Sequence[TaskNumbers]) -> Table:
    """What was dropped, shortened or noted, by task and reason."""
    rows: list[Row] = [
        [
            Cell(task.name, task=task.name),
            Cell(kind, tag=kind),
            reason,
            f"{n:,}",
            # Notes count records of the source or tokens: a share of the rows would mislead.
            f"{100 * n / task.rows:.1f} %" if kind != "noted" and task.rows else "",
        ]
        for task in tasks
        for kind, reason, n in _reasons(task)
    ]
    header = ["task", "what", "reason", "count", "of the rows"]
    return Table("", header, rows, align="lllrr", kind="reasons")


def _reasons(task: TaskNumbers) -> Iterator[tuple[str, str, int]]:
    for reason, n in task.dropped.items():
        yield "dropped", reason, n
    if task.shortened:
        yield "shortened", "documents cut so that the prompt fits", task.shortened
    for reason, n in task.notes.items():
        yield "noted", reason, n


def _mixing_table(shares: Sequence[Share]) -> Table:
    """Rates asked and drawn side by side, and the weight of tasks in tokens."""
    largest = max((max(share.asked, share.drawn) for share in shares), default=1.0)
    rows: list[Row] = [
        [
            Cell(share.name, task=share.name),
            f"{share.rate:,.6g}",
            Cell(picture=share_bars(share, largest)),
            _percent(share.asked),
            _percent(share.drawn),
            Cell(
                f"{share.examples:,}",
                "" if share.distinct == share.examples else f"{share.distinct:,} different",
            ),
            f"{share.cycles:.2f}\u00d7",
            _percent(share.tokens),
            _percent(share.loss),
        ]
        for share in shares
    ]
    header = ["task", "rate", "asked and drawn", "asked", "drawn", "examples", "each row", "of the tokens",
              "of the loss"]  # fmt: skip
    return Table("", header, rows, align="lrprrrrrr", kind="mixing")


def _data(
    store: TokenStore, tasks: Sequence[str], sample: Sample, renderings: Mapping[Pick, Rendering]
) -> dict[str, Any]:
    """What the script shows: the table of tokens and, per example, indices into it.

    Keys of an example: k task, p pass, e example id, c first token of the completion, t tokens; and, where
    known, m template, f family, s shots, x document tokens cut, r parts.
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
    return {"tokens": sample.table, "tasks": list(tasks), "examples": examples}


def _number(number: int) -> Cell:
    """A count, pale where it is 0."""
    return Cell(f"{number:,}", kind="" if number else "zero")


def _spread(quantiles: Quantiles) -> Cell:
    return Cell(f"{quantiles.median:,}", f"95 %: {quantiles.most:,} · max {quantiles.largest:,}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _count(number: int) -> str:
    """A large number in few characters.

    >>> _count(998), _count(12_345), _count(1_508_394), _count(98_000_000)
    ('998', '12,345', '1.51 M', '98 M')
    """
    if number < 1_000_000:
        return f"{number:,}"
    unit, name = next(pair for pair in ((10**12, "T"), (10**9, "G"), (10**6, "M")) if number >= pair[0])
    return f"{number / unit:.3g} {name}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> plural(1, "row"), plural(2000, "row"), plural(2, "pass", "passes")
    ('1 row', '2,000 rows', '2 passes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
