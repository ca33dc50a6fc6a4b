"""What fills the placeholders of one ranking prompt: documents, markers, orders and the expected answer.

A ranking row (see `ranking.py`) holds a query with graded positives and negatives. For each of the six
template families the functions below choose documents, put them in random order and derive the answer from
the grades:

    pointwise_judgment  one document                        Yes when it came from the positives, else No
    query_generation    one positive                        the query
    pairwise_choice     a positive and a negative           marker of the positive
    pairwise_check      the same and a number               Yes when the number names the positive, else No
    listwise_order      3..n documents                      markers by grade, ties in the order shown
    listwise_check      the same and a claimed order        Yes when it is that order, else No

Yes and No are a fair coin each time. A wrong claimed order is made by shuffling the *grades* and sorting by
them, so that right and wrong orders have the same form and only reading the documents tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqio_tasks.seeded import Draws

# A value is text, or chunks (text, is_document): the document chunks may be shortened by the length rule.
Chunks = tuple[tuple[str, bool], ...]
Value = str | Chunks

YES, NO = "Yes", "No"
MAX_LIST = 10
_MARKERS = ("1.", "[1]", "(1)")
_ORDER_JOINERS = (" > ", ", ")


@dataclass(frozen=True)
class Style:
    """Numbering of one prompt: drawn once, shared by its demonstrations and the item itself."""

    marker: str = "[1]"
    joiner: str = " > "

    @classmethod
    def draw(cls, draws: Draws) -> Style:
        return cls(draws.choice(_MARKERS), draws.choice(_ORDER_JOINERS))

    def label(self, number: int) -> str:
        """The marker in front of a document: `1.`, `[1]` or `(1)`."""
        return self.marker.replace("1", str(number))

    def name(self, number: int) -> str:
        """The marker inside a sentence or an answer; the dot of `1.` would end a sentence there."""
        return self.label(number).rstrip(".")

    def order(self, numbers: Sequence[int]) -> str:
        """
        >>> Style("[1]", " > ").order([2, 1, 3])
        '[2] > [1] > [3]'
        """
        return self.joiner.join(self.name(number) for number in numbers)


def one_blank_line_less(text: str) -> str:
    """Trim a value and close up its blank lines: in a prompt a blank line separates the demonstrations.

    >>> one_blank_line_less(' a\\n \\n\\nb ')
    'a\\nb'
    """
    text = text.strip()
    if "\n" not in text:
        return text
    return "\n".join(line for line in text.splitlines() if line.strip())


def document_text(document: Mapping[str, Any]) -> str:
    """`title: T` above `content: C`; the bare text when the document has no title, and the other way round.

    >>> document_text({"title": "Bees", "text": "They dance."})
    'title: Bees\\ncontent: They dance.'
    >>> document_text({"title": "Bees", "text": ""})
    'title: Bees'
    """
    title = one_blank_line_less(document.get("title") or "")
    text = one_blank_line_less(document["text"])
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
    """The order that follows from the same grades dealt out differently."""
    for _ in range(64):
        dealt = [grades[i] for i in draws.permutation(len(grades))]
        if dealt != list(grades):
            return graded_order(dealt)
    return graded_order([-grade for grade in grades])  # 2**-64 for the least favourable list of two


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
    row: Mapping[str, Any], family: str | None, draws: Draws, style: Style, *, largest_list: int = MAX_LIST
) -> tuple[dict[str, Value], list[Mapping[str, Any]]]:
    """Field values of one ranking prompt, and the documents shown in their order.

    `row` is a training row ({query, positives, negatives}) or a row with the one `document` to judge
    ({query, document, relevance}), which only the pointwise family can show.
    """
    values: dict[str, Value] = {"query": one_blank_line_less(row["query"])}
    if "document" in row:
        if family != "pointwise_judgment":
            raise ValueError(f"{row['example_id']}: a row with one document cannot fill a {family} template")
        values["document"] = ((document_text(row["document"]), True),)
        values["judgment"] = YES if row["relevance"] > 0 else NO
        return values, [row["document"]]
    if family in ("pointwise_judgment", "query_generation"):
        relevant = family == "query_generation" or draws.coin()
        document = draws.choice(row["positives"] if relevant else row["negatives"])
        values["document"] = ((document_text(document), True),)
        values["judgment"] = YES if relevant else NO
        return values, [document]
    if family in ("pairwise_choice", "pairwise_check"):
        better, worse = draws.choice(row["positives"]), draws.choice(row["negatives"])
        first = draws.coin()
        shown = [better, worse] if first else [worse, better]
        best = 1 if first else 2
        right = draws.coin()
        values["identifier"] = style.name(best)
        values["number"] = style.name(best if right else 3 - best)
        values["judgment"] = YES if right else NO
    elif family in ("listwise_order", "listwise_check"):
        shown = _shuffled_list(row, draws, largest_list)
        grades = [document["grade"] for document in shown]
        right = family == "listwise_order" or draws.coin()
        values["order"] = style.order(graded_order(grades) if right else _wrong_order(grades, draws))
        values["judgment"] = YES if right else NO
    else:
        raise ValueError(f"{row['example_id']}: unknown ranking family {family!r}")
    values["documents"] = numbered_documents(shown, style)
    return values, shown
