"""A reranking interpolated with its first stage.

    score(d) = w * norm(model, d) + (1 - w) * norm(first stage, d)        w: the weight of the model

    methods that score documents    norm(s) = (s - min) / (max - min), over the candidates of a query
    methods that order documents    1 / (60 + rank) in place of both scores, then the same

Min-max per query is what PyTerrier (`PerQueryMaxMinScore`, scikit-learn's `minmax_scale`) and ranx
(`min_max_norm`, then `wsum`) do; like scikit-learn, equal scores become 0. An order has no scores that could
be compared with those of BM25, so ranks are interpolated with ranks: weighted reciprocal rank fusion with the
constant of Cormack et al. (SIGIR 2009), which Pyserini and ranx have as well. A document that one of the
runs lacks counts 0 there, as in ranx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inters_jax.ranking.errors import RerankError
from seqio_tasks.metrics.ranking import evaluate_run

Run = Mapping[str, Mapping[str, float]]
Floats = npt.NDArray[np.float64]

RANK_CONSTANT = 60
WEIGHTS = tuple(number / 20 for number in range(21))
_EQUAL = 1e-12  # means that differ by less differ in the order of summation only


class _Query(NamedTuple):
    """The candidates of a query, in first-stage order, and their normalised scores."""

    documents: list[str]
    model: Floats
    first_stage: Floats


def min_max(scores: Sequence[float] | Floats) -> Floats:
    """Scores from 0 for the lowest to 1 for the highest; all 0 if they are equal.

    >>> min_max([12.0, 9.0, 6.0]).tolist(), min_max([3.0, 3.0]).tolist(), min_max([7.0]).tolist()
    ([1.0, 0.5, 0.0], [0.0, 0.0], [0.0])
    """
    values = np.asarray(scores, np.float64)
    low, high = np.min(values), np.max(values)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def interpolate(
    model: Run, first_stage: Run, weight: float, *, by_rank: bool = False
) -> dict[str, dict[str, float]]:
    """The interpolated run: query id -> document id -> score, best first.

    Documents with equal scores keep their first-stage order. With weight 1 the order is the model's, with 0
    the first stage's.

    Args:
      model: query id -> document id -> score of the model.
      first_stage: query id -> document id -> score, best first.
      weight: of the model, from 0 to 1.
      by_rank: interpolate reciprocal ranks, because the model gave an order and no scores.

    Raises:
      RerankError: the weight is not within 0 and 1.

    >>> bm25 = {"q": {"a": 12.0, "b": 9.0, "c": 6.0}}       # min-max:  1    .5   0
    >>> model = {"q": {"a": -2.0, "b": 2.0, "c": 0.0}}      #           0    1    .5
    >>> interpolate(model, bm25, 0.75)                      # .75 of this row, .25 of the one above
    {'q': {'b': 0.875, 'c': 0.375, 'a': 0.25}}
    """
    if not 0 <= weight <= 1:
        raise RerankError(f"the weight of the model is {weight}; it must be from 0 to 1")
    return {
        query: {own.documents[place]: float(scores[place]) for place in order}
        for query, own in _normalised(model, first_stage, by_rank).items()
        for scores, order in [_ordered(own, weight)]
    }


def best_weight(
    model: Run,
    first_stage: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    *,
    by_rank: bool = False,
    weights: Sequence[float] = WEIGHTS,
) -> tuple[float, dict[float, float]]:
    """The weight whose interpolated run is the best by a measure, and the mean of every weight.

    Of weights with equal means the smallest is chosen: the model has to earn its share.

    Args:
      model, first_stage, by_rank: see `interpolate`.
      qrels: query id -> document id -> grade.
      measure: such as nDCG@10.
      weights: to choose from.

    >>> bm25 = {"q": {"a": 12.0, "b": 9.0, "c": 6.0}}
    >>> model = {"q": {"a": -2.0, "b": 2.0, "c": 0.0}}
    >>> best_weight(model, bm25, {"q": {"b": 1}}, "RR@10", weights=(0, 0.25, 0.5, 1))
    (0.5, {0: 0.5, 0.25: 0.5, 0.5: 1.0, 1: 1.0})
    """
    queries = _normalised(model, first_stage, by_rank)
    means: dict[float, float] = {}
    for weight in weights:
        # By place, so that scores which only differ beyond float32 are measured in the order they have.
        run = {
            query: {own.documents[place]: -float(rank) for rank, place in enumerate(_ordered(own, weight)[1])}
            for query, own in queries.items()
        }
        [means[weight]] = evaluate_run(qrels, run, [measure]).means.values()
    most = max(means.values())
    return min(weight for weight, mean in means.items() if mean >= most - _EQUAL), means


def _normalised(model: Run, first_stage: Run, by_rank: bool) -> dict[str, _Query]:
    """Every query of either run with both normalised scores of its documents."""
    found = {}
    for query in dict.fromkeys([*first_stage, *model]):
        ours, theirs = model.get(query, {}), first_stage.get(query, {})
        documents = list(dict.fromkeys([*theirs, *ours]))
        found[query] = _Query(
            documents, _aligned(documents, ours, by_rank), _aligned(documents, theirs, by_rank)
        )
    return found


def _aligned(documents: Sequence[str], scores: Mapping[str, float], by_rank: bool) -> Floats:
    """float64 [documents]: the normalised scores of a run, 0 for documents that it lacks."""
    aligned = np.zeros(len(documents))
    present = [place for place, document in enumerate(documents) if document in scores]
    if not present:
        return aligned
    # In float32, as runs are compared: documents that are tied there are tied here.
    values = np.asarray([scores[documents[place]] for place in present], np.float32).astype(np.float64)
    if by_rank:
        order = np.argsort(-values, kind="stable")
        values[order] = 1 / (RANK_CONSTANT + np.arange(1, len(order) + 1))
    aligned[present] = min_max(values)
    return aligned


def _ordered(own: _Query, weight: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The scores of a query's documents, and their numbers from best to worst."""
    scores = weight * own.model + (1 - weight) * own.first_stage
    return scores, np.argsort(-scores, kind="stable")
