"""Filled templates, and the prompt that consists of them.

Placeholders are replaced field by field and values are never searched for placeholders: braces, special-token
strings and template-like text in the data are left alone. A prompt is kept in pieces (`Rendered`), because
the length rule of `encoding` asks for it again with shorter documents or fewer demonstrations.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seqio_tasks.templates import OPTION_FIELDS, Parts, Template

# A value is text, or chunks (text, is_document): the length rule may shorten the document chunks.
Chunks = tuple[tuple[str, bool], ...]
Value = str | Chunks

BLANK = "\n\n"


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


@dataclass
class Example:
    """A finished example; `inputs` ends with the separator."""

    inputs: str
    targets: str
    example_id: str
    template: int
    shots: int
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """A prompt in pieces. `choices`: the possible answers, for scoring; () where they are no fixed set."""

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
        """The texts that may be shortened, in prompt order, with the first `shots` demonstrations."""
        return [b.texts[i] for b in (*self.demonstrations[:shots], self.item) for i in b.documents]

    def inputs(self, shots: int | None = None, documents: Sequence[str] | None = None) -> str:
        """The prompt with its first `shots` demonstrations (default: all) and other `documents` if given."""
        parts = [self.description] if self.description else []
        rest = iter(documents) if documents is not None else None
        for block in self.demonstrations[:shots]:
            own = None if rest is None else list(itertools.islice(rest, len(block.documents)))
            parts.append(block.text(own) + self.separator + block.target)
        parts.append(self.item.text(None if rest is None else list(rest)))
        return BLANK.join(parts) + self.separator

    def example(self, shots: int | None = None, documents: Sequence[str] | None = None) -> Example:
        """The finished example, with `inputs(shots, documents)`."""
        kept = self.shots if shots is None else min(shots, self.shots)
        inputs = self.inputs(kept, documents)
        return Example(inputs, self.targets, self.example_id, self.template, kept, dict(self.extras))


def fill(parts: Parts, values: Mapping[str, Value]) -> tuple[list[str], list[int]]:
    """Replace the placeholders of a template.

    Args:
      parts: the template, as `templates.parse` splits it.
      values: field name -> value; values are not searched for placeholders.

    Returns:
      The texts whose concatenation is the result, and the positions of the documents among them.
    """
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


def without_blank_lines(text: str) -> str:
    """Trim a value and drop its blank lines: in a prompt, a blank line separates the demonstrations.

    >>> without_blank_lines(' a\\n \\n\\nb ')
    'a\\nb'
    """
    text = text.strip()
    if "\n" not in text:
        return text
    return "\n".join(line for line in text.splitlines() if line.strip())


def options_text(field: str, labels: Sequence[str]) -> str:
    """The labels of a classification, as one of `templates.OPTION_FIELDS` writes them.

    >>> [options_text(f"options{kind}", ["a", "b", "c"]) for kind in ("", "_and", "_comma")]
    ['a, b or c', 'a, b and c', 'a, b, c']
    >>> options_text("option_lines", ["a", "b"])
    '- a\\n- b'
    """
    if field == "option_lines":
        return "\n".join(f"- {label}" for label in labels)
    word = {"options": " or ", "options_and": " and ", "options_comma": ", "}[field]
    return word.join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def numbered(lines: Iterable[str]) -> str:
    """Lines as a numbered list.

    >>> numbered(["red kites", "black kites"])
    '1. red kites\\n2. black kites'
    """
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


@functools.cache
def keyword_template(template: Template, classify: bool) -> Template:
    """The same fields without wording: one `field: value` per line, and the name of the answer as the cue.

    >>> keyword_template(Template('Is "{claim}" true? {options}', '{claim_label}', 'Say:'), True).input
    'claim: {claim}\\noptions: {options}'
    """
    names = [name for name in template.input_fields if name not in OPTION_FIELDS]
    separators = {"documents": "\n"}  # a list of documents begins on its own line
    lines = [f"{name.replace('_', ' ')}:{separators.get(name, ' ')}{{{name}}}" for name in names]
    if classify:
        lines.append("options: {options}")
    cue = f"{template.output_field.replace('_', ' ')}:"
    return Template("\n".join(lines), template.output, cue, template.reverse, template.family)
