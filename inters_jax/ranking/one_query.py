"""The ranking of one query, by any method: what all methods have in common.

* Documents with the same title and text are shown once and stay together, in first-stage order: a model would
  order them by position, or by differences of rounding between batches.
* A query whose prompts exceed the length limit, however few documents they show, keeps its first-stage order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from inters_jax.ranking.errors import TooLong
from inters_jax.ranking.methods.common import by_order
from inters_jax.ranking.questions import Method, Ranked, Ranking

log = logging.getLogger(__name__)


def ranking_of(method: Method, query: str, documents: Sequence[Any]) -> Ranking:
    """Rank `documents`, which are in first-stage order, by `method`."""
    copies: dict[tuple[str, str], list[int]] = {}
    for number, document in enumerate(documents):
        copies.setdefault((document.title, document.text), []).append(number)
    groups = list(copies.values())
    try:
        ranked = yield from method.rank(query, [documents[group[0]] for group in groups])
    except TooLong as error:
        log.warning("query %r keeps its first-stage order: %s", query[:80], error)
        return dataclasses.replace(by_order(range(len(documents))), reranked=False)
    if len(groups) == len(documents):
        return ranked
    scores = np.empty(len(documents), np.float32)
    for group, score in zip(groups, ranked.scores, strict=True):
        scores[group] = score
    return Ranked([number for place in ranked.order for number in groups[place]], scores)
