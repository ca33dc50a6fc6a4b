"""Methods that score every document independently: n requests, all at once.

    pointwise           score(q, d) = logit(Yes | q, d) - logit(No | q, d)
    query_likelihood    score(q, d) = log p(q | d)            per_token: divided by the tokens of q

Both use trained wordings: is the document relevant, and which query does it answer? A softmax over Yes and No
would give the same order but saturate; the difference of float32 logits keeps documents distinct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.ranking.methods.common import by_score
from inters_jax.ranking.questions import GENERATION, JUDGMENT, Labels, Likelihood, Question, Ranking


@dataclass(frozen=True)
class Pointwise:
    """A Yes/No question per document. whole: log-probabilities of whole answers instead of logits."""

    whole: bool = False

    @property
    def scored(self) -> bool:
        return True

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        answers = yield [Labels(Question(JUDGMENT, query, (d,)), self.whole) for d in documents]
        return by_score(np.asarray([answer[0] - answer[1] for answer in answers], np.float32))


@dataclass(frozen=True)
class QueryLikelihood:
    """The log-probability of the query given the document. per_token: divided by the query's tokens."""

    per_token: bool = False

    @property
    def scored(self) -> bool:
        return True

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        answers = yield [
            Likelihood(Question(GENERATION, query, (d,)), query, self.per_token) for d in documents
        ]
        return by_score(np.asarray(answers, np.float32))
