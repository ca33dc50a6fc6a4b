"""Rows and templates become prompts.

    description                                  (left out with Variant(description=False))
    <blank line>
    demonstration 1: its input                   each demonstration: another training row, its answer included
    cue
    output
    <blank line>
    ...
    input of the item itself
    cue
    <separator>                                  ends `inputs`; what follows is `targets`

The separator stands between every cue and its answer, in demonstrations too, so one and the same token
boundary is seen in training, generation and scoring. Everything is a pure function of (seed, epoch,
example_id).

`render` keeps the pieces of a prompt (`Rendered`): the length rule of `encoding.py` asks for the same
prompt again with shorter documents or fewer demonstrations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seqio_tasks import templates as template_files
from seqio_tasks.base import DataError
from seqio_tasks.prompts.filling import Block, Filler
from seqio_tasks.prompts.ranking_values import NO, YES
from seqio_tasks.seeded import Draws
from seqio_tasks.templates import Template

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

Row = Mapping[str, Any]
# Rows to draw demonstrations from: all of them, or a function giving candidates for a row in random order.
Demonstrations = Sequence[Row] | Callable[[Row, Draws], Iterable[Row]]

BLANK = "\n\n"
_EVALUATION_FIELDS = ("references", "query_id", "doc_id", "relevance")


@dataclass(frozen=True)
class Variant:
    """Which form of a task is wanted.

    shots: None draws 0..max_shots in the training split and means 0 elsewhere.
    template: None draws one; outside training the reversed ones are left out, being another task.
    keyword_only: no template wording, only `field: value` lines (the ablation without templates).
    family: ranking only, one of `templates.FAMILIES`.
    variety: how many of the templates there are (`some_of`); None: all. A row that none of them fits is
        asked with the first one that does.
    preferred: the template wherever a row can fill it, and the first one that it can elsewhere; no error,
        unlike `template`.
    """

    shots: int | None = None
    template: int | None = None
    description: bool = True
    keyword_only: bool = False
    family: str | None = None
    variety: int | None = None
    preferred: int | None = None


@dataclass
class Example:
    """One finished example; `inputs` ends with the separator."""

    inputs: str
    targets: str
    example_id: str
    template: int
    shots: int
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """A prompt in pieces. `choices`: the answers a model may be asked to score; () without such a set."""

    description: str
    demonstrations: tuple[Block, ...]
    item: Block
    separator: str
    example_id: str
    template: int
    choices: tuple[str, ...]
    extras: dict[str, Any]

    @property
    def targets(self) -> str:
        return self.item.target

    @property
    def shots(self) -> int:
        return len(self.demonstrations)

    def documents(self, shots: int | None = None) -> list[str]:
        """The texts that may be shortened, in the order of the prompt, with `shots` demonstrations."""
        return [b.texts[i] for b in (*self.demonstrations[:shots], self.item) for i in b.documents]

    def inputs(self, shots: int | None = None, documents: Sequence[str] | None = None) -> str:
        """The prompt with its first `shots` demonstrations (default all) and other `documents` if given."""
        parts = [self.description] if self.description else []
        rest = iter(documents) if documents is not None else None
        for block in self.demonstrations[:shots]:
            own = None if rest is None else list(itertools.islice(rest, len(block.documents)))
            parts.append(block.text(own) + self.separator + block.target)
        parts.append(self.item.text(None if rest is None else list(rest)))
        return BLANK.join(parts) + self.separator

    def example(self, shots: int | None = None, documents: Sequence[str] | None = None) -> Example:
        kept = self.shots if shots is None else min(shots, self.shots)
        inputs = self.inputs(kept, documents)
        return Example(inputs, self.targets, self.example_id, self.template, kept, dict(self.extras))


def render(
    row: Row,
    pair: Pair,
    *,
    variant: Variant,
    demonstrations: Demonstrations = (),
    seed: int,
    epoch: int = 0,
    split: str = "train",
    separator: str = "\n",
    max_shots: int = 5,
    largest_list: int = 10,
    templates: Sequence[str] | None = None,
) -> Rendered:
    """The prompt of one row.

    demonstrations: rows of the *training* split. A row is never demonstrated by itself, nor by a row that
        asks the same (same id, or equal texts in the fields that make the question).
    largest_list: the most documents a listwise prompt may show.
    templates: own template files (`templates.own`); None: those of the settings in force.
    """
    example_id = row["example_id"]
    loaded = template_files.load(pair.task, templates)
    options = loaded.of(pair.dataset)
    index = _choose_template(row, pair, options, variant, Draws(seed, epoch, example_id, "template"), split)
    filler = Filler(
        pair, options, variant.keyword_only, Draws(seed, epoch, example_id, "options"), largest_list
    )
    shots = variant.shots
    if shots is None:
        drawn = Draws(seed, epoch, example_id, "shots").integer(max_shots + 1) if split == "train" else 0
        shots = drawn if demonstrations else 0
    item, extras = filler.block(row, index, Draws(seed, epoch, example_id, "values"))
    blocks = []
    if shots:
        draws = Draws(seed, epoch, example_id, "demonstrations")
        kept = some_of(len(options), variant.variety)
        blocks = _demonstrate(row, index, filler, demonstrations, shots, draws, item, kept)
    choices: tuple[str, ...] = ()
    if options[index].output_field == "judgment" and pair.kind == "rank":
        choices = (YES, NO)
    elif pair.kind == "classify" and options[index].output_field == pair.label_field:
        choices = tuple(pair.labels)
    extras.update({name: row[name] for name in _EVALUATION_FIELDS if name in row})
    if choices:
        extras["labels"] = choices
    return Rendered(
        description=loaded.description if variant.description else "",
        demonstrations=tuple(blocks),
        item=item,
        separator=separator,
        example_id=example_id,
        template=index,
        choices=choices,
        extras=extras,
    )


def _choose_template(
    row: Row, pair: Pair, options: Sequence[Template], variant: Variant, draws: Draws, split: str
) -> int:
    if variant.template is not None:
        if not 0 <= variant.template < len(options):
            raise ValueError(f"{pair.name}: template {variant.template} asked for, there are {len(options)}")
        if variant.family not in (None, options[variant.template].family):
            raise ValueError(f"{pair.name}: template {variant.template} is not of family {variant.family}")
        allowed: Sequence[int] = (variant.template,)
    else:
        every = [
            i
            for i, template in enumerate(options)
            if (variant.family is None or template.family == variant.family)
            and (split == "train" or not template.reverse)
            and ("document" not in row or template.family in (None, "pointwise_judgment"))
        ]
        kept = some_of(len(options), variant.variety) if variant.preferred is None else [variant.preferred]
        allowed = [i for i in every if i in kept]
        restricted = len(allowed) < len(every)
        if restricted and not any(_usable(row, pair, options[i]) for i in allowed):
            allowed = [i for i in every if _usable(row, pair, options[i])][:1]
    # Some templates name fields that a row may lack (a title, say): draw again among those that it can fill.
    if allowed:
        index = draws.choice(allowed)
        if _usable(row, pair, options[index]):
            return index
        if usable := [i for i in allowed if _usable(row, pair, options[i])]:
            return draws.choice(usable)
    raise DataError(
        f"{pair.name}: {row['example_id']}: no template can be filled (variant {variant})",
        todo="the row lacks a field that every template needs, or the variant excludes every template",
    )


def some_of(templates: int, variety: int | None) -> Sequence[int]:
    """Which templates there are when there shall be only so many: evenly spread, the first one always.

    Of the twelve slots of a ranking pair, two for each family, six are one of each family.

    >>> [list(some_of(12, variety)) for variety in (1, 3, 6)], len(some_of(12, None))
    ([[0], [0, 4, 8], [0, 2, 4, 6, 8, 10]], 12)
    """
    if variety is None or variety >= templates:
        return range(templates)
    if variety < 1:
        raise ValueError(f"a variety of {variety} leaves no template; the least is 1")
    return [number * templates // variety for number in range(variety)]


def _usable(row: Row, pair: Pair, template: Template) -> bool:
    if pair.kind == "rank":
        return bool(row.get("document")) or bool(row.get("positives") and row.get("negatives"))
    names = (*template.input_fields, template.output_field)
    if any(row.get(name) and name not in names for name in pair.indispensable_fields):
        return False
    return all(row.get(name) or name in template_files.OPTION_FIELDS for name in names)


def _demonstrate(
    row: Row,
    index: int,
    filler: Filler,
    source: Demonstrations,
    shots: int,
    draws: Draws,
    item: Block,
    kept: Sequence[int],
) -> list[Block]:
    """Up to `shots` answered examples: all in the item's template or (a coin) mixed with its neighbour, if
    that is `kept`.

    None reads like the item itself, as two rows may: a document that answers two queries, in the templates
    that ask for a query.
    """
    templates = filler.templates
    indices = [index]
    neighbour = index ^ 1
    if neighbour < len(templates) and not draws.coin() and _alike(templates[index], templates[neighbour]):
        indices += [neighbour] if neighbour in kept else []
    candidates = source(row, draws) if callable(source) else draws.shuffled(source)
    seen, blocks = [_asked(row, filler.pair, templates[index])], []
    for candidate in candidates:
        chosen = draws.choice(indices)
        asked = _asked(candidate, filler.pair, templates[index])
        if asked in seen or candidate["example_id"] == row["example_id"]:
            continue
        if not _usable(candidate, filler.pair, templates[chosen]):
            continue
        block = filler.block(candidate, chosen, draws)[0]
        if block.text() == item.text():
            continue
        seen.append(asked)  # nor twice the same demonstration
        blocks.append(block)
        if len(blocks) == shots:
            break
    return blocks


def _alike(a: Template, b: Template) -> bool:
    """Whether one may demonstrate the other: same answer field, direction, family; hence the same labels."""
    return (a.output_field, a.reverse, a.family) == (b.output_field, b.reverse, b.family)


def _asked(row: Row, pair: Pair, template: Template) -> tuple[str, ...]:
    """What identifies the question of a row: its query, or its short input fields (all, if none is short)."""
    if pair.kind == "rank":
        return (row["query"].strip().lower(),)
    short = [name for name in template.input_fields if name not in pair.document_fields]
    names = [name for name in short if name not in template_files.OPTION_FIELDS] or template.input_fields
    return tuple(str(row.get(name, "")).strip().lower() for name in names)
