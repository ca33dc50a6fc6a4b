"""Listwise ranking: orders a window of documents at once, sliding from the last rank to the first.

    n = 7, window 4, stride 2      ranks 3..6, then 1..4, then 0..3

The last window always starts at the first rank, and windows overlap in at least window - stride documents, so
every document is shown for any n (the loops of RankGPT and INTERS skip documents if n is not a multiple of
the stride, and all of them if n is below the window). One pass moves the best window - stride documents to
the top, in order; `passes=None` runs enough passes to place top_k documents.

    listwise            the model generates the order; constrained decoding makes it a permutation
    first_token         FIRST: the order of the identifiers' logits at the first generated position
    self_consistency    each window is ordered several times, shuffled, and the answers are aggregated
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.ranking.errors import RerankError, TooLong
from inters_jax.ranking.methods.aggregation import AGGREGATIONS, balanced_shuffles
from inters_jax.ranking.methods.common import Steps, at_least, by_order, one_of
from inters_jax.ranking.questions import ORDER, Labels, Permutation, Question, Ranking, Request

ANSWERS = ("generated", "first_token")


@dataclass(frozen=True)
class Listwise:
    """Listwise ranking by a sliding window.

    window: documents per prompt.
    stride: ranks between two windows; None: half a window.
    passes: how often the window slides over all ranks; None: until top_k documents are in place (each pass
      then stops below the documents that earlier passes placed).
    top_k: see passes.
    answers: generated or first_token.
    shuffles: 0 asks once, in the current order; k asks k times and aggregates.
    aggregate: how answers are aggregated: kemeny or borda.
    seed: seed of the shuffles.
    """

    window: int = 20
    stride: int | None = None
    passes: int | None = None
    top_k: int = 10
    answers: str = "generated"
    shuffles: int = 0
    aggregate: str = "kemeny"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self.window, 2, "WINDOW")
        at_least(self.step, 1, "STRIDE")
        at_least(self.top_k, 1, "TOP_K")
        at_least(self.shuffles, 0, "SHUFFLES")
        one_of(self.answers, ANSWERS, "answers")
        one_of(self.aggregate, tuple(AGGREGATIONS), "AGGREGATE")
        if self.step > self.window:
            raise RerankError(
                f"STRIDE {self.step} is larger than WINDOW {self.window}: documents between two windows "
                "would never be shown; choose a stride below the window"
            )
        if self.passes is not None:
            at_least(self.passes, 1, "WINDOW_PASSES")
        elif self.step == self.window:
            raise RerankError(
                f"with STRIDE = WINDOW = {self.window} no document can leave its window, so no number of "
                f"passes moves the best {self.top_k} to the top; choose a smaller stride or set WINDOW_PASSES"
            )

    @property
    def scored(self) -> bool:
        return False

    @property
    def step(self) -> int:
        return max(1, self.window // 2) if self.stride is None else self.stride

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        """Rank by windows; where one is too long for a prompt, start over with windows of half the size."""
        try:
            return (yield from self._rank(query, documents))
        except TooLong:
            shown = min(self.window, len(documents))
            if shown <= 2:
                raise
            window = max(2, shown // 2)
            stride = None if self.stride is None else max(1, self.stride * window // self.window)
            narrower = dataclasses.replace(self, window=window, stride=stride)
        return (yield from narrower.rank(query, documents))

    def _rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        order = list(range(len(documents)))
        known: dict[tuple[int, ...], list[int]] = {}  # a later pass may find a window unchanged
        for top in self._tops(len(documents)):
            for first, end in windows(len(documents), self.window, self.step, top):
                members = tuple(order[first:end])
                if members not in known:
                    known[members] = yield from self._ordered(query, documents, members)
                order[first:end] = known[members]
        return by_order(order)

    def _tops(self, n: int) -> Iterator[int]:
        """For each pass, the rank at which its last window starts."""
        if self.passes is not None:
            yield from (0 for _ in range(self.passes))
            return
        for top in range(0, max(1, self.top_k), self.window - self.step):
            yield top
            if n - top <= self.window:
                return  # that window held all the others

    def _ordered(self, query: str, documents: Sequence[Any], members: tuple[int, ...]) -> Steps:
        """The members of a window, best first."""
        if len(members) < 2:
            return list(members)
        if not self.shuffles:
            [found] = yield [self._request(query, documents, members)]
            return [members[place] for place in self._order(found)]
        text = f"{self.seed}\n{query}\n{members}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        shuffled = [
            tuple(members[place] for place in places)
            for places in balanced_shuffles(len(members), self.shuffles, seed)
        ]
        answers = yield [self._request(query, documents, shown) for shown in shuffled]
        place = {number: at for at, number in enumerate(members)}
        orders = [
            [place[shown[at]] for at in self._order(found)]
            for shown, found in zip(shuffled, answers, strict=True)
        ]
        return [members[at] for at in AGGREGATIONS[self.aggregate](np.asarray(orders))]

    def _request(self, query: str, documents: Sequence[Any], members: Sequence[int]) -> Request:
        question = Question(ORDER, query, tuple(documents[number] for number in members))
        return Permutation(question) if self.answers == "generated" else Labels(question)

    def _order(self, answer: Any) -> list[int]:
        if self.answers == "generated":
            return list(answer)
        return np.argsort(-np.asarray(answer, np.float32), kind="stable").tolist()


def windows(n: int, window: int, stride: int, top: int = 0) -> Iterator[tuple[int, int]]:
    """(first rank, end) of each window over ranks top..n-1, from the last ranks up to `top`.

    >>> list(windows(7, 4, 2)), list(windows(3, 4, 2)), list(windows(8, 4, 2, top=2))
    ([(3, 7), (1, 5), (0, 4)], [(0, 3)], [(4, 8), (2, 6)])
    """
    end = n
    while end > top:
        first = max(top, end - window)
        yield first, min(n, first + window)
        if first == top:
            return
        end = first + window - stride if first - stride > top else top + window
