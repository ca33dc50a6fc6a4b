"""The trained ranking questions for documents that somebody else has chosen.

Training draws which documents a prompt shows (`ranking_values`); a ranking method decides that itself. The
wording is the very same: one of the six template families of a pair, filled with this query and these
documents.

    pointwise_judgment  1 document               Yes, No
    query_generation    1 document               the query
    pairwise_choice     2 documents              the marker of one
    pairwise_check      2 documents, a number    Yes, No
    listwise_order      n documents              all markers, best first
"""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqio_tasks import templates as template_files
from seqio_tasks.prompts.filling import Block, fill
from seqio_tasks.prompts.ranking_values import (
    NO,
    YES,
    Style,
    Value,
    document_text,
    numbered_documents,
    one_blank_line_less,
)
from seqio_tasks.prompts.render import Rendered

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

_DOCUMENTS = {"pointwise_judgment": 1, "query_generation": 1, "pairwise_choice": 2, "pairwise_check": 2}


@dataclass(frozen=True)
class Letters(Style):
    """Markers with capital letters, for tokenizers in which `1` and `10` begin with the same token.

    >>> Letters("[1]", " > ").order([2, 1, 3])
    '[B] > [A] > [C]'
    """

    def label(self, number: int) -> str:
        return self.marker.replace("1", string.ascii_uppercase[number - 1])


def question(
    pair: Pair,
    family: str,
    query: str,
    documents: Sequence[Any],
    *,
    wording: int = 0,
    style: Style | None = None,
    number: int | None = None,
    description: bool = True,
    separator: str = "\n",
) -> Rendered:
    """A prompt of one family.

    Args:
      documents: mappings or objects with `title` and `text`, in the order in which they are shown.
      wording: which of the two templates of the family.
      style: the markers before documents; default `[1]`.
      number: pairwise_check only: which document (1 or 2) is held to be the better one.
    """
    index = _slot(pair, family, wording)
    loaded = template_files.load(pair.task)
    template = loaded.of(pair.dataset)[index]
    style = style or Style()
    shown = [_fields(document) for document in documents]
    if len(shown) != _DOCUMENTS.get(family, max(2, len(shown))):
        raise ValueError(f"{len(shown)} documents cannot fill a {family} template")
    values: dict[str, Value] = {"query": one_blank_line_less(query)}
    if _DOCUMENTS.get(family) == 1:
        values["document"] = ((document_text(shown[0]), True),)
    else:
        values["documents"] = numbered_documents(shown, style)
    if family == "pairwise_check":
        if number not in (1, 2):
            raise ValueError(f"pairwise_check asks about document 1 or 2, not {number}")
        values["number"] = style.name(number)
    texts, long = fill(template.input_parts, values)
    return Rendered(
        description=loaded.description if description else "",
        demonstrations=(),
        item=Block(tuple(texts), tuple(long), template.cue, ""),
        separator=separator,
        example_id="",
        template=index,
        choices=(YES, NO) if template.output_field == "judgment" else (),
        extras={},
    )


def _slot(pair: Pair, family: str, wording: int) -> int:
    """The number of a template among the twelve of its dataset."""
    from seqio_tasks import settings

    return _slots(pair.task, pair.dataset, family, wording, settings.current().templates)


@functools.cache
def _slots(task: str, dataset: str, family: str, wording: int, files: tuple[str, ...]) -> int:
    options = template_files.load(task, files).of(dataset)
    slots = [slot for slot, template in enumerate(options) if template.family == family]
    if not 0 <= wording < len(slots):
        raise ValueError(
            f"{task}, {dataset}: there are {len(slots)} templates of the family {family}, "
            f"number {wording} was asked for"
        )
    return slots[wording]


def _fields(document: Any) -> Mapping[str, Any]:
    if isinstance(document, Mapping):
        return document
    return {"title": document.title, "text": document.text}
