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

The separator stands between every cue and its answer, in demonstrations too, so training, generation and
scoring share one token boundary. Every prompt is a pure function of (seed, epoch, example_id).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqio_tasks import templates as template_files
from seqio_tasks.base import DataError
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.prompts.filling import (
    Block,
    Rendered,
    Value,
    fill,
    keyword_template,
    numbered,
    options_text,
    without_blank_lines,
)
from seqio_tasks.prompts.ranking import NO, YES, Style, values_for
from seqio_tasks.seeded import Draws
from seqio_tasks.templates import OPTION_FIELDS, Template

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

Row = Mapping[str, Any]
# Rows to draw demonstrations from: all of them, or a function giving candidates for a row in random order.
Demonstrations = Sequence[Row] | Callable[[Row, Draws], Iterable[Row]]

_EVALUATION_FIELDS = ("references", "query_id", "doc_id", "relevance")
_GROUP_FIELDS = ("group_id", "group_size", "teacher")  # see `document_groups`


@dataclass(frozen=True)
class Variant:
    """The form of the prompts of a task.

    shots: demonstrations; None draws 0..max_shots in the training split and means 0 elsewhere.
    template: index of the template; None draws one. Outside training, reversed templates are not drawn:
        they are another task.
    keyword_only: no template wording, only `field: value` lines (the ablation without templates).
    family: ranking only, one of `templates.FAMILIES`.
    variety: how many of the templates are used (`some_of`); None: all. A row that can fill none of these gets
        the first one that it can fill.
    preferred: index of the template used wherever a row can fill it; other rows get the first one that they
        can fill. Unlike `template`, this is never an error.
    """

    shots: int | None = None
    template: int | None = None
    description: bool = True
    keyword_only: bool = False
    family: str | None = None
    variety: int | None = None
    preferred: int | None = None


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

    Args:
      row: fields of the pair and `example_id`.
      pair: the pair of the row.
      variant: the form of the prompt.
      demonstrations: rows of the *training* split. A row is never demonstrated by itself, nor by a row that
        asks the same (same id, or equal texts in the fields that make up the question).
      seed: of all draws, with `epoch` and the row's `example_id`.
      epoch: draws differ from epoch to epoch.
      split: "train" allows reversed templates and a random number of demonstrations.
      separator: the end of the prompt.
      max_shots: the most demonstrations drawn, where `variant.shots` is None.
      largest_list: the most documents of a listwise prompt.
      templates: own template files (`templates.own`); None: those of the current settings.

    Raises:
      DataError: the row can fill no template, or its label is not in the label set.
    """
    example_id = row["example_id"]
    loaded = template_files.load(pair.task, templates)
    options = loaded.of(pair.dataset)
    # The documents of a query are asked about in the same words, or their scores would not be comparable.
    worded = row.get("group_id", example_id)
    index = _choose_template(row, pair, options, variant, Draws(seed, epoch, worded, "template"), split)
    filler = Filler(
        pair, options, variant.keyword_only, Draws(seed, epoch, example_id, "options"), largest_list
    )
    shots = variant.shots
    if shots is None:
        drawn = Draws(seed, epoch, example_id, "shots").integer(max_shots + 1) if split == "train" else 0
        shots = drawn if demonstrations else 0
    # A question is asked with the other answer when its row comes round again.
    answer = Draws(seed, 0, example_id, "answer").coin() != bool(epoch % 2)
    item, extras = filler.block(row, index, Draws(seed, epoch, example_id, "values"), answer)
    blocks = []
    if shots:
        # All candidates of a query have the same demonstrations, or their scores would not be comparable.
        asked = row["query_id"] if "document" in row else example_id
        draws = Draws(seed, epoch, asked, "demonstrations")
        kept = some_of(len(options), variant.variety)
        blocks = _demonstrate(row, index, filler, demonstrations, shots, draws, item, kept)
    choices: tuple[str, ...] = ()
    if options[index].output_field == "judgment" and pair.kind == "rank":
        choices = (YES, NO)
    elif pair.kind == "classify" and options[index].output_field == pair.label_field:
        choices = tuple(pair.labels)
    extras.update({name: row[name] for name in (*_EVALUATION_FIELDS, *_GROUP_FIELDS) if name in row})
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
            raise ValueError(f"{pair.name}: no template {variant.template}; there are {len(options)}")
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
    # Some templates use fields that a row may lack (a title, say): draw again among those that it can fill.
    if allowed:
        index = draws.choice(allowed)
        if _usable(row, pair, options[index]):
            return index
        if usable := [i for i in allowed if _usable(row, pair, options[i])]:
            return draws.choice(usable)
    raise DataError(
        f"{pair.name}: {row['example_id']}: no template can be filled (variant {variant})",
        todo="either the row lacks a field that every template needs, or the variant excludes all templates",
    )


def some_of(templates: int, variety: int | None) -> Sequence[int]:
    """The indices of `variety` templates, evenly spread and always including the first; None: all.

    Six of the twelve templates of a ranking pair (two per family) are one of each family.

    >>> [list(some_of(12, variety)) for variety in (1, 3, 6)], len(some_of(12, None))
    ([[0], [0, 4, 8], [0, 2, 4, 6, 8, 10]], 12)
    """
    if variety is None or variety >= templates:
        return range(templates)
    if variety < 1:
        raise ValueError(f"a variety of {variety} leaves no template; it must be at least 1")
    return [number * templates // variety for number in range(variety)]


def _usable(row: Row, pair: Pair, template: Template) -> bool:
    if pair.kind == "rank":
        return bool(row.get("document")) or bool(row.get("positives") and row.get("negatives"))
    names = (*template.input_fields, template.output_field)
    if any(row.get(name) and name not in names for name in pair.indispensable_fields):
        return False
    return all(row.get(name) or name in OPTION_FIELDS for name in names)


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

    No two blocks have the same text, nor has one that of the item. It can happen for different rows: a
    document that answers two queries, in templates that ask for a query.
    """
    templates = filler.templates
    indices = [index]
    neighbour = index ^ 1
    if neighbour < len(templates) and not draws.coin() and _alike(templates[index], templates[neighbour]):
        indices += [neighbour] if neighbour in kept else []
    candidates = source(row, draws) if callable(source) else draws.shuffled(source)
    seen, texts, blocks = [_asked(row, filler.pair, templates[index])], {item.text()}, []
    for candidate in candidates:
        chosen = draws.choice(indices)
        asked = _asked(candidate, filler.pair, templates[index])
        if asked in seen or candidate["example_id"] == row["example_id"]:
            continue
        if not _usable(candidate, filler.pair, templates[chosen]):
            continue
        block = filler.block(candidate, chosen, draws)[0]
        if block.text() in texts:
            continue
        seen.append(asked)  # no demonstration twice
        texts.add(block.text())
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
    names = [name for name in short if name not in OPTION_FIELDS] or template.input_fields
    return tuple(str(row.get(name, "")).strip().lower() for name in names)


class Filler:
    """Fills the templates of one prompt, with the same option order and numbering style throughout."""

    def __init__(
        self, pair: Pair, options: Sequence[Template], keyword_only: bool, draws: Draws, largest_list: int
    ) -> None:
        self.pair, self.templates, self.keyword_only = pair, options, keyword_only
        self.largest_list = largest_list
        self.style = Style.draw(draws) if pair.kind == "rank" else Style()
        self.labels = draws.sample(pair.labels, len(pair.labels)) if pair.kind == "classify" else []

    def block(
        self, row: Row, index: int, draws: Draws, answer: bool | None = None
    ) -> tuple[Block, dict[str, Any]]:
        """A row in the template `index`, and extras for the example (family and documents of ranking).

        `answer` is that of a Yes/No question about documents; None: drawn.
        """
        template, pair = self.templates[index], self.pair
        if self.keyword_only:
            # A reversed template does not ask for a label, so the labels are not options.
            labelled = bool(self.labels) and template.output_field == pair.label_field
            template = keyword_template(template, labelled)
        extras: dict[str, Any] = {}
        if pair.kind == "rank":
            most = self.largest_list
            values, shown = values_for(
                row, template.family, draws, self.style, largest_list=most, answer=answer
            )
            extras["family"] = template.family
            extras["document_ids"] = tuple(document["doc_id"] for document in shown if "doc_id" in document)
        else:
            names = (*template.input_fields, template.output_field)
            values = {name: self._value(row, name) for name in names}
        texts, documents = fill(template.input_parts, values)
        target = "".join(fill(template.output_parts, values)[0])
        stated = split_labels(target) if pair.multi_label else [target]
        if (
            self.labels
            and template.output_field == pair.label_field
            and not (stated and set(stated) <= set(pair.labels))
        ):
            raise DataError(
                f"{pair.name}: {row['example_id']}: label {target!r} is not in the label set",
                todo=f"the source must map it to one of {', '.join(pair.labels)}",
            )
        return Block(tuple(texts), tuple(documents), template.cue, target), extras

    def _value(self, row: Row, name: str) -> Value:
        if name in OPTION_FIELDS:
            return options_text(name, self.labels)
        value = row[name]
        long = name in self.pair.document_fields
        if isinstance(value, str):
            text = without_blank_lines(value)
            return ((text, True),) if long else text
        lines = [without_blank_lines(text) for text in value]
        if not long:
            return numbered(lines)
        chunks: list[tuple[str, bool]] = []
        for number, line in enumerate(lines, start=1):
            chunks += [(f"{'' if number == 1 else chr(10)}{number}. ", False), (line, True)]
        return tuple(chunks)
