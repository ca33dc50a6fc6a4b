"""Pairwise ranking: which of two documents is better, asked in both orders.

    both orders name the same document      it wins
    the orders contradict each other        a tie: the model prefers a position, not a text

allpairs counts wins (1) and ties (0.5) over n (n - 1) / 2 pairs, n (n - 1) requests, all at once. heapsort
and bubble compare only what they need; there a tie goes to the document with the better first-stage rank.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.ranking.methods.common import Steps, at_least, by_order, by_score, one_of
from inters_jax.ranking.methods.sorting import ALGORITHMS, remembering
from inters_jax.ranking.questions import CHECK, CHOICE, Answer, Labels, Question, Ranking, Request


@dataclass(frozen=True)
class Pairwise:
    """Pairwise ranking.

    sort: allpairs, heapsort or bubble.
    top_k: ranks that heapsort and bubble put in order; allpairs orders all.
    question: choice (name the better one) or check (is this one better? asked about each of the two).
    whole: log-probabilities of whole answers instead of the logit of the first token that differs.
    """

    sort: str = "heapsort"
    top_k: int = 10
    question: str = "choice"
    whole: bool = False

    def __post_init__(self) -> None:
        one_of(self.sort, ("allpairs", *ALGORITHMS), "SORT")
        one_of(self.question, ("choice", "check"), "question")
        at_least(self.top_k, 1, "TOP_K")

    @property
    def scored(self) -> bool:
        return self.sort == "allpairs"

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        if self.sort == "allpairs":
            pairs = list(itertools.combinations(range(len(documents)), 2))
            requests: list[Request] = []
            for one, other in pairs:
                requests += self._both_orders(query, documents[one], documents[other])
            answers = yield requests
            points = np.zeros(len(documents), np.float32)
            for number, (one, other) in enumerate(pairs):
                won = preference(answers[2 * number], answers[2 * number + 1])
                points[one] += won
                points[other] += 1 - won
            return by_score(points)

        def better(members: tuple[int, ...]) -> Steps:
            one, other = members
            answers = yield self._both_orders(query, documents[one], documents[other])
            return other if preference(*answers) < 0.5 else one

        compare = remembering(better)

        def choose(members: tuple[int, ...]) -> Steps:
            best = members[0]
            for other in members[1:]:
                best = yield from compare((min(best, other), max(best, other)))
            return best

        children = 2 if self.sort == "heapsort" else 1
        order = yield from ALGORITHMS[self.sort](len(documents), choose, children=children, top_k=self.top_k)
        return by_order(order)

    def _both_orders(self, query: str, one: Any, other: Any) -> list[Request]:
        if self.question == "check":
            # Each of the two documents is once the first and claimed to be better: the answers (Yes, No) are
            # compared as (first is better, second is better).
            return [
                Labels(Question(CHECK, query, (one, other), 1), self.whole),
                Labels(Question(CHECK, query, (other, one), 1), self.whole),
            ]
        return [
            Labels(Question(CHOICE, query, (one, other)), self.whole),
            Labels(Question(CHOICE, query, (other, one)), self.whole),
        ]


def preference(first: Answer, second: Answer) -> float:
    """1 if both orders name document A, 0 if both name document B, else 0.5.

    Args:
      first: logits [2] of (first shown, second shown) with A shown first; of a check, (Yes, No) to "the first
        is better".
      second: the same with B shown first.

    >>> preference([2.0, 1.0], [0.0, 3.0]), preference([2.0, 1.0], [3.0, 0.0]), preference([1, 2], [2, 1])
    (1.0, 0.5, 0.0)
    """
    wins = int(first[0] > first[1]) + int(second[1] > second[0])
    losses = int(first[1] > first[0]) + int(second[0] > second[1])
    if wins == 2:
        return 1.0
    return 0.0 if losses == 2 else 0.5
