"""One filled template: field values, option lists, numbering, and the parts that may be shortened.

Placeholders are replaced field by field and values are never searched for placeholders: braces, special-token
strings or template-like text inside data stay what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqio_tasks import templates as template_files
from seqio_tasks.base import DataError
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.prompts.ranking_values import Style, Value, one_blank_line_less, values_for
from seqio_tasks.seeded import Draws
from seqio_tasks.templates import Template

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """A filled template. `documents` are the positions in `texts` that the length rule may shorten."""

    texts: tuple[str, ...]
    documents: tuple[int, ...]
    cue: str
    target: str

    def text(self, documents: Sequence[str] | None = None) -> str:
        """Input and cue; `documents`, when given, replace the document texts in order."""
        texts = list(self.texts)
        if documents is not None:
            for position, document in zip(self.documents, documents, strict=True):
                texts[position] = document
        return "".join(texts) + (f"\n{self.cue}" if self.cue else "")


class Filler:
    """Fills the templates of one prompt: option order and numbering style are the same throughout."""

    def __init__(
        self, pair: Pair, options: Sequence[Template], keyword_only: bool, draws: Draws, largest_list: int
    ) -> None:
        self.pair, self.templates, self.keyword_only = pair, options, keyword_only
        self.largest_list = largest_list
        self.style = Style.draw(draws) if pair.kind == "rank" else Style()
        self.labels = draws.sample(pair.labels, len(pair.labels)) if pair.kind == "classify" else []

    def block(self, row: Row, index: int, draws: Draws) -> tuple[Block, dict[str, Any]]:
        template, pair = self.templates[index], self.pair
        if self.keyword_only:
            # A reversed template asks for something else than a label: the labels are no options then.
            labelled = bool(self.labels) and template.output_field == pair.label_field
            template = keyword_template(template, labelled)
        extras: dict[str, Any] = {}
        if pair.kind == "rank":
            most = self.largest_list
            values, shown = values_for(row, template.family, draws, self.style, largest_list=most)
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
                f"{pair.name}: {row['example_id']}: label {target!r} is not of the label set",
                todo=f"the source must map it to one of {', '.join(pair.labels)}",
            )
        return Block(tuple(texts), tuple(documents), template.cue, target), extras

    def _value(self, row: Row, name: str) -> Value:
        if name == "options":
            return _spoken_list(self.labels)
        if name == "option_lines":
            return "\n".join(f"- {label}" for label in self.labels)
        value = row[name]
        long = name in self.pair.document_fields
        if isinstance(value, str):
            text = one_blank_line_less(value)
            return ((text, True),) if long else text
        lines = [one_blank_line_less(text) for text in value]
        if not long:
            return numbered(lines)
        chunks: list[tuple[str, bool]] = []
        for number, line in enumerate(lines, start=1):
            chunks += [(f"{'' if number == 1 else chr(10)}{number}. ", False), (line, True)]
        return tuple(chunks)


def fill(parts: template_files.Parts, values: Mapping[str, Value]) -> tuple[list[str], list[int]]:
    """Replace the placeholders; the values are never searched for placeholders themselves."""
    texts: list[str] = []
    documents: list[int] = []
    for literal, name in parts:
        if literal:
            texts.append(literal)
        if name is None:
            break
        value = values[name]
        if isinstance(value, str):
            texts.append(value)
            continue
        for text, is_document in value:
            if is_document:
                documents.append(len(texts))
            texts.append(text)
    return texts, documents


def numbered(lines: Iterable[str]) -> str:
    """
    >>> numbered(["red kites", "black kites"])
    '1. red kites\\n2. black kites'
    """
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _spoken_list(labels: Sequence[str]) -> str:
    """'a', 'a or b', 'a, b or c'."""
    return " or ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


@functools.cache
def keyword_template(template: Template, classify: bool) -> Template:
    """The same fields without any wording: `field: value` per line, and the name of the answer as the cue.

    >>> keyword_template(Template('Is "{claim}" true? {options}', '{claim_label}', 'Say:'), True).input
    'claim: {claim}\\noptions: {options}'
    """
    names = [name for name in template.input_fields if name not in template_files.OPTION_FIELDS]
    blanks = {"documents": "\n"}  # a list of documents begins on its own line
    lines = [f"{name.replace('_', ' ')}:{blanks.get(name, ' ')}{{{name}}}" for name in names]
    if classify:
        lines.append("options: {options}")
    cue = f"{template.output_field.replace('_', ' ')}:"
    return Template("\n".join(lines), template.output, cue, template.reverse, template.family)
