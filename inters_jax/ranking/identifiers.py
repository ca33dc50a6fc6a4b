"""Identifiers of documents in prompts and answers, in the tokens of one tokenizer.

Training writes `[2] > [1]`, `2, 1` or `(2) > (1)`. To choose by the logits of a single token, the identifiers
must differ in the first token behind their common prefix:

    answers       [1] [2] ... [9]        common "[", then 1, 2, ... 9             distinct
    answers       [1] ... [10]           common "[", then 1, ..., 1 0             not: one token per digit
    answers       [A] ... [J]            common "[", then A, ..., J               distinct

For a generated order the tokens are split so that joining them gives exactly what training saw:
`[2] > [1]` = "[" + `2]` + ` > [` + `1]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inters_jax.data.answer_tokens import Choices, Ids, choices_of, common_length, encode_answers
from inters_jax.ranking.errors import RerankError
from seqio_tasks.prompts.ranking import Letters, Style

KINDS = ("auto", "numbers", "letters")


@dataclass(frozen=True)
class OrderCode:
    """A generated order: `common`, then items with `separator` between them.

    exact: whether orders built like this equal, token for token, the tokenizer's encoding of their text.
    """

    common: Ids
    items: tuple[Ids, ...]
    separator: Ids
    exact: bool


class Identifiers:
    """The document identifiers of a backend.

    Args:
      vocabulary: a HuggingFaceTokenizer of the model's tokenizer.
      marker: one of the trained ones, `[1]`, `(1)` or `1.`.
      joiner: text between the identifiers of an order, ` > ` or `, `.
      kind: numbers, letters, or auto: numbers if their first tokens are distinct, else letters.
    """

    def __init__(self, vocabulary: Any, *, marker: str = "[1]", joiner: str = " > ", kind: str = "auto"):
        if marker.count("1") != 1:
            raise RerankError(f"marker {marker!r} must contain the digit 1 once, as [1] does")
        if not joiner:
            raise RerankError("joiner is empty; an order needs something between its identifiers, as ' > '")
        if kind not in KINDS:
            raise RerankError(f"identifiers {kind!r} are unknown; choose one of {', '.join(KINDS)}")
        self.vocabulary, self.marker, self.joiner, self.kind = vocabulary, marker, joiner, kind
        self._choices: dict[tuple[str, ...], Choices | None] = {}
        self._orders: dict[tuple[str, ...], OrderCode] = {}
        self._styles: dict[tuple[int, bool], Any] = {}

    def style(self, count: int, *, by_first_token: bool) -> Any:
        """The numbering style of a prompt that shows `count` documents."""
        key = (count, by_first_token)
        if key not in self._styles:
            self._styles[key] = self._chosen_style(count, by_first_token)
        return self._styles[key]

    def names(self, count: int, *, by_first_token: bool) -> tuple[str, ...]:
        """The identifiers of `count` documents, as an answer writes them."""
        style = self.style(count, by_first_token=by_first_token)
        return tuple(style.name(number) for number in range(1, count + 1))

    def choices(self, answers: Sequence[str]) -> Choices:
        """Answers in tokens.

        Raises:
          RerankError: two answers have the same first token behind the common prefix.
        """
        found = self._encoded(tuple(answers))
        if found is None:
            raise RerankError(
                f"the answers {', '.join(answers[:12])} do not differ in their first token with this "
                "tokenizer; set IDENTIFIERS=letters, a smaller window, or compare whole answers"
            )
        return found

    def whole(self, answers: Sequence[str]) -> tuple[Ids, ...]:
        """Answers in tokens, with or without distinct first tokens."""
        return self._encode(answers)

    def order(self, names: Sequence[str]) -> OrderCode:
        """The tokens with which an order of these identifiers is generated."""
        key = tuple(names)
        if key not in self._orders:
            self._orders[key] = self._order_code(key)
        return self._orders[key]

    def _chosen_style(self, count: int, by_first_token: bool) -> Any:
        numbers, letters = Style(self.marker, self.joiner), Letters(self.marker, self.joiner)
        if self.kind == "letters":
            style: Any = letters
        elif self.kind == "numbers" or not by_first_token:
            return numbers
        else:
            names = tuple(numbers.name(number) for number in range(1, count + 1))
            style = numbers if self._encoded(names) is not None else letters
        if style is letters and count > 26:
            raise RerankError(f"letters name at most 26 documents, the window has {count}; use a smaller one")
        return style

    def _encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        ids = encode_answers(self.vocabulary, texts)
        for text, one in zip(texts, ids, strict=True):
            if not one:
                raise RerankError(f"the tokenizer encodes the answer {text!r} as nothing")
        return ids

    def _encoded(self, answers: tuple[str, ...]) -> Choices | None:
        """None if two answers have the same first token behind their common prefix, or one ends there."""
        if answers not in self._choices:
            self._choices[answers] = choices_of(self._encode(answers))
        return self._choices[answers]

    def _order_code(self, names: tuple[str, ...]) -> OrderCode:
        ids = self._encode(names)
        size = common_length(ids)
        common, items = ids[0][:size], tuple(one[size:] for one in ids)
        for one in items:
            if any(other is not one and other[: len(one)] == one for other in items):
                raise RerankError(
                    f"with this tokenizer an identifier of {', '.join(names[:12])} is a prefix of another; "
                    "set MARKER to [1], or use letters"
                )
        [pair] = self._encode([names[0] + self.joiner + names[1]])
        head, tail = common + items[0], items[1]
        separator = pair[len(head) : len(pair) - len(tail)]
        if pair == head + separator + tail and separator:
            code = OrderCode(common, items, separator, True)
            if all(self._exact(code, names, order) for order in _probes(len(names))):
                return code
        [joiner] = self._encode([self.joiner])
        return OrderCode(common, items, joiner + common, False)

    def _exact(self, code: OrderCode, names: Sequence[str], order: Sequence[int]) -> bool:
        tokens = list(code.common)
        for place, number in enumerate(order):
            tokens += [*(code.separator if place else ()), *code.items[number]]
        return self._encode([self.joiner.join(names[number] for number in order)]) == (tuple(tokens),)


def _probes(n: int) -> list[list[int]]:
    """Orders in which every item is first, last, and between others."""
    up = list(range(n))
    return [up, up[::-1], up[1::2] + up[::2]]
