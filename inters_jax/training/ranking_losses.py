"""Losses over the documents of a query, for ``LOSS = @RankNet()``.

Every loss is a pure function of four arrays [documents] and gives the sum of its terms and their number. The
caller divides by the number of terms of the whole global batch, so the result does not depend on how the
documents are spread over rows, microbatches and devices.

    scores    2.1  0.3 -1.0 | 0.5  0.7 | 0.0     logit(Yes) - logit(No), as pointwise reranking scores
    groups      1    1    1 |   2    2 |   0     documents of one query share a number; 0 is a free slot
    grades      2    0    1 |   0    1 |   0     of the judgments
    teacher   9.0  1.0  4.0 | 0.1  0.4 | 0.0     scores of another ranker, where the store has them

Documents are compared through masks [documents, documents]: two documents belong together where their groups
are equal. Whatever a free slot holds counts nothing.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp

from inters_jax.field_types import check_field_types
from seqio_tasks.base import UserError

Terms = tuple[jax.Array, jax.Array]  # float32 []: the sum of the loss terms, and their number

LABELS = ("grades", "teacher")


@dataclasses.dataclass(frozen=True)
class RankingLoss(abc.ABC):
    """What the losses have in common; called with the four arrays [documents] above."""

    def __post_init__(self) -> None:
        check_field_types(self)

    @property
    def needs_teacher(self) -> bool:
        """Whether it reads the scores of a teacher."""
        return False

    @abc.abstractmethod
    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The sum of the terms and their number, float32 []; the number depends on no score."""


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Pointwise(RankingLoss):
    """Cross entropy of Yes against No, every document by itself: a term per document.

        scores   0.0  0.0        probability of Yes   1/2  1/2
        grades     1    0        answer               Yes   No

    >>> total, terms = Pointwise()(*map(jnp.array, ([0.0, 0.0], [1, 1], [1.0, 0.0], [0.0, 0.0])))
    >>> round(float(total), 4), float(terms)                                       # 2 log 2
    (1.3863, 2.0)
    """

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """log(1 + exp(-score)) of relevant documents, log(1 + exp(score)) of the others."""
        losses = jax.nn.softplus(jnp.where(grades > 0, -scores, scores))
        return _sums(losses, groups > 0)


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class RankNet(RankingLoss):
    """log(1 + exp(-(s_i - s_j))) for every pair of a query in which i is the better one (Burges 2005).

        groups   1  1  1 | 2  2
        grades   2  0  1 | 0  1        pairs   (0, 1) (0, 2) (2, 1) | (4, 3)

    A term per pair. With ``labels="teacher"`` the better one is that of the teacher: so are permutations
    distilled (Sun et al. 2023, RankGPT).

    >>> grades = jnp.array([2.0, 0.0, 1.0, 0.0, 1.0])
    >>> total, terms = RankNet()(jnp.zeros(5), jnp.array([1, 1, 1, 2, 2]), grades, grades)
    >>> round(float(total), 4), float(terms)                                       # 4 log 2
    (2.7726, 4.0)
    """

    labels: str = "grades"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels not in LABELS:
            raise UserError(
                f"RankNet.labels is {self.labels!r:.80}, expected {' or '.join(map(repr, LABELS))}"
            )

    @property
    def needs_teacher(self) -> bool:
        """If the pairs are the teacher's."""
        return self.labels == "teacher"

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The loss of all pairs."""
        labels = teacher if self.needs_teacher else grades
        losses = jax.nn.softplus(scores[None, :] - scores[:, None])
        return _sums(losses, _better(groups, labels))


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class ListNet(RankingLoss):
    """Cross entropy of a query's softmax over scores against that over grades (Cao et al. 2007, top one).

        grades       1     0     0        temperature 1
        wanted    .576  .212  .212        softmax of the grades
        scores       0     0     0        softmax 1/3 1/3 1/3: the loss is log 3

    A term per query with at least two documents. A lower `temperature` of the grades asks more of the best
    documents: at 0.2 the first of the row above gets .987.

    >>> total, terms = ListNet()(jnp.zeros(3), jnp.ones(3, int), jnp.array([1.0, 0.0, 0.0]), jnp.zeros(3))
    >>> round(float(total), 4), float(terms)
    (1.0986, 1.0)
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_temperature(self, self.temperature)

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The cross entropy of all queries."""
        wanted = jnp.exp(_log_softmax(grades / self.temperature, groups))
        return _per_query(-wanted * _log_softmax(scores, groups), groups, _several(groups))


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class ListwiseSoftmax(RankingLoss):
    """Cross entropy of the softmax over a query's scores against its grades as shares.

        grades    3     1     0
        wanted    .75   .25   0        with one relevant document: -log of its share, as contrastive losses

    A term per query with at least one relevant document.

    >>> scores, grades = jnp.array([0.0, 0.0, 0.0]), jnp.array([3.0, 1.0, 0.0])
    >>> total, terms = ListwiseSoftmax()(scores, jnp.ones(3, int), grades, jnp.zeros(3))
    >>> round(float(total), 4), float(terms)                                       # log 3
    (1.0986, 1.0)
    """

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The cross entropy of all queries."""
        gains = jnp.maximum(grades, 0.0)
        # Divided by the largest first: grades may be clicks, and their sum too large for float32.
        gains = gains / jnp.maximum(_largest(gains, groups), 1e-30)
        total = _total(gains, groups)
        wanted = gains / jnp.maximum(total, 1.0)
        return _per_query(-wanted * _log_softmax(scores, groups), groups, (groups > 0) & (total > 0))


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class LambdaLoss(RankingLoss):
    """RankNet's pairs, each weighted by what it is worth in nDCG (Wang et al. 2018, NDCG-Loss2++).

        scores   0.3  0.2  0.1        ranks       1     2     3
        grades     0    1    0        discounts   1   .631   .5        1 / log2(1 + rank)
                                      gains       0     1     0        (2^grade - 1) / ideal DCG
        pairs    (1, 0) weighs |1 - 0| (|.631 - 1| + mu |1 - .631|); (1, 2) likewise with .631 and .5

    The weight of a pair is ``|gain_i - gain_j| (rho + mu delta)``: rho is the difference of the discounts at
    the two ranks (with `mu` 0 this is LambdaRank), delta that of the discounts at the distance of the ranks
    and one further. Of documents with equal scores the one with the lower grade is ranked first, so that they
    are told apart. Ranks carry no gradient. A term per query with at least one pair.

    >>> scores, grades = jnp.array([0.3, 0.2, 0.1]), jnp.array([0.0, 1.0, 0.0])
    >>> total, terms = LambdaLoss(mu=0.0)(scores, jnp.ones(3, int), grades, jnp.zeros(3))
    >>> round(float(total), 4), float(terms)          # .369 log(1 + e^.1) + .131 log(1 + e^-.1)
    (0.3591, 1.0)
    """

    mu: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mu >= 0:
            raise UserError(f"LambdaLoss.mu is {self.mu}, expected a number of at least 0")

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The weighted loss of all pairs."""
        pairs = _better(groups, grades)
        ranks, ideal = _ranks(groups, scores, -grades), _ranks(groups, grades, grades)
        # 2^grade - 1, divided by 2^(largest grade): clicks as grades would overflow.
        top = _largest(grades, groups)
        gains = jnp.exp2(grades - top) - jnp.exp2(-top)
        gains = gains / jnp.maximum(_total(gains / jnp.log2(1.0 + ideal), groups), 1e-30)
        distance = jnp.maximum(jnp.abs(ranks[:, None] - ranks[None, :]), 1.0)
        rho = jnp.abs(_difference(1.0 / jnp.log2(1.0 + ranks)))
        delta = 1.0 / jnp.log2(1.0 + distance) - 1.0 / jnp.log2(2.0 + distance)
        weights = jnp.abs(_difference(gains)) * (rho + self.mu * delta)
        losses = jax.lax.stop_gradient(weights) * jax.nn.softplus(-_difference(scores))
        total, _ = _sums(losses, pairs)
        has_pair = _total(jnp.any(pairs, axis=1).astype(jnp.float32), groups) > 0
        return total, _queries(groups, (groups > 0) & has_pair)


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Distillation(RankingLoss):
    """KL divergence of the softmax over a query's scores from that over its teacher's scores.

        teacher    2     0         temperature 1
        wanted   .881  .119        softmax of teacher / temperature
        scores     2     0         the same softmax: the loss is 0

    `temperature` divides the teacher's scores alone: how sharp the order is that they mean depends on the
    teacher, and the scale of the student's scores is its own. A term per query with at least two documents.

    >>> teacher = jnp.array([2.0, 0.0])
    >>> total, terms = Distillation()(jnp.zeros(2), jnp.ones(2, int), jnp.zeros(2), teacher)
    >>> round(float(total), 4), float(terms)          # .881 log(.881 / .5) + .119 log(.119 / .5)
    (0.3278, 1.0)
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_temperature(self, self.temperature)

    @property
    def needs_teacher(self) -> bool:
        """Always."""
        return True

    def __call__(self, scores: jax.Array, groups: jax.Array, grades: jax.Array, teacher: jax.Array) -> Terms:
        """The divergence of all queries."""
        wanted = _log_softmax(teacher / self.temperature, groups)
        losses = jnp.exp(wanted) * (wanted - _log_softmax(scores, groups))
        return _per_query(losses, groups, _several(groups))


def settings_of(loss: RankingLoss) -> Mapping[str, Any]:
    """A loss as JSON values, for the records of a run: ``{"loss": "RankNet", "labels": "grades"}``."""
    return {"loss": type(loss).__name__, **dataclasses.asdict(loss)}


def _check_temperature(loss: RankingLoss, value: float) -> None:
    if not value > 0:
        raise UserError(f"{type(loss).__name__}.temperature is {value}, expected a number above 0")


def _together(groups: jax.Array) -> jax.Array:
    """bool [documents, documents]: the same query; a free slot belongs to itself alone.

    >>> _together(jnp.array([1, 0, 1])).astype(int).tolist()
    [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    same = (groups[:, None] == groups[None, :]) & (groups > 0)[:, None]
    return same | jnp.eye(len(groups), dtype=bool)


def _difference(values: jax.Array) -> jax.Array:
    """[documents, documents]: value of the row minus value of the column."""
    return values[:, None] - values[None, :]


def _better(groups: jax.Array, labels: jax.Array) -> jax.Array:
    """bool [documents, documents]: the document of the row is better than that of the column.

    >>> _better(jnp.array([1, 1, 2]), jnp.array([1.0, 0.0, 0.0])).astype(int).tolist()
    [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    return _together(groups) & (labels[:, None] > labels[None, :])


def _ranks(groups: jax.Array, values: jax.Array, ties: jax.Array) -> jax.Array:
    """Ranks from 1 within each query, float32 [documents]: by value, then by `ties`, then as they come.

    >>> values, ties = jnp.array([0.5, 0.9, 0.5, 0.1]), jnp.array([0.0, 0.0, 1.0, 0.0])
    >>> _ranks(jnp.array([1, 1, 1, 2]), values, ties).tolist()
    [3.0, 1.0, 2.0, 1.0]
    """
    place = jnp.arange(len(groups))
    earlier = place[None, :] < place[:, None]
    before = (ties[None, :] > ties[:, None]) | ((ties[None, :] == ties[:, None]) & earlier)
    above = (values[None, :] > values[:, None]) | ((values[None, :] == values[:, None]) & before)
    return 1.0 + jnp.sum(_together(groups) & above, axis=1).astype(jnp.float32)


def _log_softmax(values: jax.Array, groups: jax.Array) -> jax.Array:
    """Log of the softmax within each query, float32 [documents]; finite for any finite values."""
    values = values - jax.lax.stop_gradient(_largest(values, groups))
    return values - jax.nn.logsumexp(jnp.where(_together(groups), values[None, :], -jnp.inf), axis=1)


def _largest(values: jax.Array, groups: jax.Array) -> jax.Array:
    """The largest value of each document's query, [documents]."""
    return jnp.max(jnp.where(_together(groups), values[None, :], -jnp.inf), axis=1)


def _total(values: jax.Array, groups: jax.Array) -> jax.Array:
    """The sum over each document's query, [documents]."""
    return jnp.sum(jnp.where(_together(groups), values[None, :], 0.0), axis=1)


def _several(groups: jax.Array) -> jax.Array:
    """bool [documents]: the query has at least two documents."""
    return (groups > 0) & (jnp.sum(_together(groups), axis=1) > 1)


def _queries(groups: jax.Array, counted: jax.Array) -> jax.Array:
    """The number of queries whose documents are `counted`, float32 []."""
    place = jnp.arange(len(groups))
    first = ~jnp.any(_together(groups) & (place[None, :] < place[:, None]), axis=1)
    return jnp.sum(first & counted).astype(jnp.float32)


def _sums(losses: jax.Array, counted: jax.Array) -> Terms:
    """Sum and number of the losses that count."""
    return jnp.sum(jnp.where(counted, losses, 0.0)), jnp.sum(counted).astype(jnp.float32)


def _per_query(losses: jax.Array, groups: jax.Array, counted: jax.Array) -> Terms:
    """Sum of the losses [documents] that count, and the number of their queries."""
    return _sums(losses, counted)[0], _queries(groups, counted)
