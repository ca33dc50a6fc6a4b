"""Setwise ranking: which of c + 1 documents is the best, read off the logits of one position.

The question is the trained listwise one. The first identifier of its answer names the best document, so the
logits of the identifiers at that position decide. One call compares c + 1 documents; pairwise needs c
comparisons of two calls each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.ranking.errors import TooLong
from inters_jax.ranking.methods.common import Steps, at_least, by_order, one_of
from inters_jax.ranking.methods.sorting import ALGORITHMS, remembering
from inters_jax.ranking.questions import ORDER, Labels, Question, Ranking


@dataclass(frozen=True)
class Setwise:
    """Setwise ranking.

    num_child: c, the documents compared with one.
    sort: heapsort (a heap with c children per node) or bubble (c + 1 documents at a time).
    top_k: ranks that are put in order.
    whole: the log-likelihood of each whole identifier instead of the logit of its first distinct token.
    """

    num_child: int = 3
    sort: str = "heapsort"
    top_k: int = 10
    whole: bool = False

    def __post_init__(self) -> None:
        one_of(self.sort, tuple(ALGORITHMS), "SORT")
        at_least(self.num_child, 1, "NUM_CHILD")
        at_least(self.top_k, 1, "TOP_K")

    @property
    def scored(self) -> bool:
        return False

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        """Rank by sets; where one is too long for a prompt, start over with half as many children."""
        try:
            return (yield from self._rank(query, documents))
        except TooLong:
            children = min(self.num_child, len(documents) - 1)
            if children <= 1:
                raise
            narrower = dataclasses.replace(self, num_child=children // 2)
        return (yield from narrower.rank(query, documents))

    def _rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        def choose(members: tuple[int, ...]) -> Steps:
            shown = tuple(documents[number] for number in members)
            [logits] = yield [Labels(Question(ORDER, query, shown), self.whole)]
            return members[int(np.argmax(logits))]  # a tie goes to the first

        order = yield from ALGORITHMS[self.sort](
            len(documents), remembering(choose), children=self.num_child, top_k=self.top_k
        )
        return by_order(order)
