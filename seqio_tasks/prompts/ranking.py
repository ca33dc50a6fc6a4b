"""Ranking prompts: documents, markers, orders and expected answers for the six template families.

    family              shows                               expected answer
    pointwise_judgment  one document                        Yes when it came from the positives, else No
    query_generation    one positive                        the query
    pairwise_choice     a positive and a negative           marker of the positive
    pairwise_check      the same and a number               Yes when the number names the positive, else No
    listwise_order      3..n documents                      markers by grade, ties in the order shown
    listwise_check      the same and a claimed order        Yes when it is that order, else No

For training, `values_for` draws the documents of a prompt from a ranking row (see `ranking_rows`), shuffles
them and derives the answer from their grades. Yes and No are a fair coin each time. A wrong claimed order is
made by shuffling the *grades* and sorting by them, so that right and wrong orders have the same form and only
reading the documents tells them apart.

For ranking, `question` asks the same question, in the same wording, about documents chosen by the caller.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqio_tasks import settings, templates
from seqio_tasks.base import UserError
from seqio_tasks.prompts.filling import Block, Chunks, Rendered, Value, fill, without_blank_lines
from seqio_tasks.seeded import Draws

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

YES, NO = "Yes", "No"
MAX_LIST = 10
_MARKERS = ("1.", "[1]", "(1)")
_ORDER_JOINERS = (" > ", ", ")
# Documents that a family shows; the others show two or more.
_DOCUMENTS = {"pointwise_judgment": 1, "query_generation": 1, "pairwise_choice": 2, "pairwise_check": 2}


@dataclass(frozen=True)
class Style:
    """Numbering of one prompt: drawn once, shared by its demonstrations and the item itself.

    marker: the pattern of the markers, for document 1. joiner: stands between the markers of an order.
    """

    marker: str = "[1]"
    joiner: str = " > "

    @classmethod
    def draw(cls, draws: Draws) -> Style:
        """One of the six styles of training."""
        return cls(draws.choice(_MARKERS), draws.choice(_ORDER_JOINERS))

    def label(self, number: int) -> str:
        """The marker in front of a document: `1.`, `[1]` or `(1)`."""
        return self.marker.replace("1", str(number))

    def name(self, number: int) -> str:
        """The marker inside a sentence or an answer; the dot of `1.` would end a sentence there."""
        return self.label(number).rstrip(".")

    def order(self, numbers: Sequence[int]) -> str:
        """An order of documents, as an answer states it.

        >>> Style("[1]", " > ").order([2, 1, 3])
        '[2] > [1] > [3]'
        """
        return self.joiner.join(self.name(number) for number in numbers)


@dataclass(frozen=True)
class Letters(Style):
    """Markers with capital letters, for tokenizers in which `1` and `10` begin with the same token.

    >>> Letters("[1]", " > ").order([2, 1, 3])
    '[B] > [A] > [C]'
    """

    def label(self, number: int) -> str:
        return self.marker.replace("1", string.ascii_uppercase[number - 1])


def document_text(document: Mapping[str, Any]) -> str:
    """`title: T` above `content: C`; only the text of a document without title, and vice versa.

    >>> document_text({"title": "Bees", "text": "They dance."})
    'title: Bees\\ncontent: They dance.'
    >>> document_text({"title": "Bees", "text": ""})
    'title: Bees'
    """
    title = without_blank_lines(document.get("title") or "")
    text = without_blank_lines(document["text"])
    if not title:
        return text
    return f"title: {title}\ncontent: {text}" if text else f"title: {title}"


def numbered_documents(documents: Sequence[Mapping[str, Any]], style: Style) -> Chunks:
    """Documents one below the other, each after its marker."""
    chunks: list[tuple[str, bool]] = []
    for number, document in enumerate(documents, start=1):
        chunks.append((f"{'' if number == 1 else chr(10)}{style.label(number)} ", False))
        chunks.append((document_text(document), True))
    return tuple(chunks)


def graded_order(grades: Sequence[int]) -> list[int]:
    """Numbers (from 1) of documents shown in this order, best grade first, ties as shown.

    >>> graded_order([0, 2, 1, 2])
    [2, 4, 3, 1]
    """
    return sorted(range(1, len(grades) + 1), key=lambda number: -grades[number - 1])


def _wrong_order(grades: Sequence[int], draws: Draws) -> list[int]:
    """The order that follows from the same grades, shuffled."""
    for _ in range(64):
        dealt = [grades[i] for i in draws.permutation(len(grades))]
        if dealt != list(grades):
            return graded_order(dealt)
    return graded_order([-grade for grade in grades])  # probability 2**-64, for a list of two


def _shuffled_list(row: Mapping[str, Any], draws: Draws, largest: int) -> list[Mapping[str, Any]]:
    """3..largest documents (2 where no more exist) with at least one positive and one negative."""
    positives, negatives = row["positives"], row["negatives"]
    most = max(2, min(largest, MAX_LIST, len(positives) + len(negatives)))
    least = min(3, most)
    n = least + draws.integer(most - least + 1)
    least_positives = max(1, n - len(negatives))
    most_positives = min(len(positives), n - 1)
    p = least_positives + draws.integer(most_positives - least_positives + 1)
    shown = [*draws.sample(positives, p), *draws.sample(negatives, n - p)]
    return draws.sample(shown, n)


def values_for(
    row: Mapping[str, Any],
    family: str | None,
    draws: Draws,
    style: Style,
    *,
    largest_list: int = MAX_LIST,
    answer: bool | None = None,
) -> tuple[dict[str, Value], list[Mapping[str, Any]]]:
    """Field values of one ranking prompt, and the documents in the order shown.

    Args:
      row: a training row ({query, positives, negatives}), or a row with one `document` to judge ({query,
        document, relevance}), which only the pointwise family can show.
      family: one of `templates.FAMILIES`.
      draws: the random stream of the prompt.
      style: the markers in front of documents.
      largest_list: the most documents of a listwise prompt.
      answer: whether the answer of a Yes/No question is Yes; None: drawn.

    Raises:
      ValueError: the row cannot fill a template of the family.
    """
    values: dict[str, Value] = {"query": without_blank_lines(row["query"])}
    if "document" in row:
        if family != "pointwise_judgment":
            raise ValueError(f"{row['example_id']}: a row with one document cannot fill a {family} template")
        values["document"] = ((document_text(row["document"]), True),)
        values["judgment"] = YES if row["relevance"] > 0 else NO
        return values, [row["document"]]

    def yes() -> bool:
        drawn = draws.coin()  # also where it is not needed: the other draws stay the same
        return drawn if answer is None else answer

    if family in ("pointwise_judgment", "query_generation"):
        relevant = family == "query_generation" or yes()
        document = draws.choice(row["positives"] if relevant else row["negatives"])
        values["document"] = ((document_text(document), True),)
        values["judgment"] = YES if relevant else NO
        return values, [document]
    if family in ("pairwise_choice", "pairwise_check"):
        better, worse = draws.choice(row["positives"]), draws.choice(row["negatives"])
        first = draws.coin()
        shown = [better, worse] if first else [worse, better]
        best = 1 if first else 2
        right = yes()
        values["identifier"] = style.name(best)
        values["number"] = style.name(best if right else 3 - best)
        values["judgment"] = YES if right else NO
    elif family in ("listwise_order", "listwise_check"):
        shown = _shuffled_list(row, draws, largest_list)
        grades = [document["grade"] for document in shown]
        right = family == "listwise_order" or yes()
        values["order"] = style.order(graded_order(grades) if right else _wrong_order(grades, draws))
        values["judgment"] = YES if right else NO
    else:
        raise ValueError(f"{row['example_id']}: unknown ranking family {family!r}")
    values["documents"] = numbered_documents(shown, style)
    return values, shown


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
    """A ranking prompt for the given documents.

    Args:
      pair: the pair whose templates are used.
      family: one of `templates.FAMILIES`.
      query: the query.
      documents: mappings or objects with `title` and `text`, in the order shown.
      wording: which template of the family, from 0.
      style: the markers in front of documents; default `[1]`.
      number: pairwise_check only: the document (1 or 2) that is claimed to be the better one.
      description: whether the prompt begins with the task description.
      separator: the end of the prompt.

    Raises:
      ValueError: the family has no such template, or does not show this number of documents.
    """
    index = _slot(pair.task, pair.dataset, family, wording, settings.current().templates)
    loaded = templates.load(pair.task)
    template = loaded.of(pair.dataset)[index]
    style = style or Style()
    shown = [_fields(document) for document in documents]
    if len(shown) != _DOCUMENTS.get(family, max(2, len(shown))):
        raise ValueError(f"a {family} template cannot show {len(shown)} documents")
    values: dict[str, Value] = {"query": without_blank_lines(query)}
    if _DOCUMENTS.get(family) == 1:
        values["document"] = ((document_text(shown[0]), True),)
    else:
        values["documents"] = numbered_documents(shown, style)
    if family == "pairwise_check":
        if number not in (1, 2):
            raise ValueError(f"pairwise_check needs number=1 or 2, got {number}")
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


@functools.cache
def _slot(task: str, dataset: str, family: str, wording: int, files: tuple[str, ...]) -> int:
    """The index of a template among those of its dataset."""
    options = templates.load(task, files).of(dataset)
    slots = [slot for slot, template in enumerate(options) if template.family == family]
    if not 0 <= wording < len(slots):
        raise UserError(
            f"{task}, {dataset}: no template {wording} of the family {family}; there are {len(slots)}, "
            "counted from 0"
        )
    return slots[wording]


def _fields(document: Any) -> Mapping[str, Any]:
    if isinstance(document, Mapping):
        return document
    return {"title": document.title, "text": document.text}
