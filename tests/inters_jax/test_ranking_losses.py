"""Losses over a query's documents against loops in float64, their gradients against finite differences."""

from __future__ import annotations

import functools
import math

import jax
import numpy as np
import pytest

from inters_jax.training.ranking_losses import (
    Distillation,
    LambdaLoss,
    ListNet,
    ListwiseSoftmax,
    Pointwise,
    RankNet,
)
from seqio_tasks.base import UserError

# Three queries in no order, a query of one document, one without a relevant document, and free slots (0).
GROUPS = np.array([1, 2, 1, 1, 0, 2, 3, 1, 4, 4, 0, 2])
GRADES = np.array([2, 0, 0, 1, 3, 1, 1, 0, 0, 0, 0, 0], np.float32)
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(0, 2, 12).astype(np.float32)
TEACHER = RANDOM.normal(0, 2, 12).astype(np.float32)

LOSSES = [
    Pointwise(),
    RankNet(),
    RankNet(labels="teacher"),
    ListNet(),
    ListNet(temperature=0.3),
    ListwiseSoftmax(),
    LambdaLoss(mu=0.0),
    LambdaLoss(),
    Distillation(temperature=2.0),
]


def softmax(values):
    values = np.asarray(values, np.float64)
    return np.exp(values - values.max()) / np.exp(values - values.max()).sum()


def of_query(loss, scores, grades, teacher):
    """(sum, terms) of one query: plain loops, as the papers write the losses."""
    n = len(scores)
    labels = teacher if isinstance(loss, RankNet) and loss.labels == "teacher" else grades
    pairs = [(i, j) for i in range(n) for j in range(n) if labels[i] > labels[j]]
    if isinstance(loss, Pointwise):
        signs = [1 if grade > 0 else -1 for grade in grades]
        return sum(math.log(1 + math.exp(-sign * s)) for sign, s in zip(signs, scores, strict=True)), n
    if isinstance(loss, RankNet):
        return sum(math.log(1 + math.exp(scores[j] - scores[i])) for i, j in pairs), len(pairs)
    if isinstance(loss, ListNet):
        wanted = softmax(np.array(grades) / loss.temperature)
        return (-(wanted * np.log(softmax(scores))).sum(), 1) if n > 1 else (0.0, 0)
    if isinstance(loss, ListwiseSoftmax):
        if not sum(grades):
            return 0.0, 0
        return -(np.array(grades) / sum(grades) * np.log(softmax(scores))).sum(), 1
    if isinstance(loss, Distillation):
        wanted = softmax(np.array(teacher) / loss.temperature)
        return ((wanted * np.log(wanted / softmax(scores))).sum(), 1) if n > 1 else (0.0, 0)
    if not pairs:
        return 0.0, 0
    ideal = sum((2**g - 1) / math.log2(1 + r) for r, g in enumerate(sorted(grades, reverse=True), 1))
    order = sorted(range(n), key=lambda i: (-scores[i], grades[i]))
    rank = {document: place for place, document in enumerate(order, 1)}

    def discount(place):
        return 1 / math.log2(1 + place)

    total = 0.0
    for i, j in pairs:
        rho = abs(discount(rank[i]) - discount(rank[j]))
        distance = abs(rank[i] - rank[j])
        delta = discount(distance) - discount(distance + 1)
        gain = abs(2 ** grades[i] - 2 ** grades[j]) / ideal
        total += gain * (rho + loss.mu * delta) * math.log(1 + math.exp(scores[j] - scores[i]))
    return total, 1


def by_hand(loss, scores, groups=GROUPS, grades=GRADES, teacher=TEACHER):
    total, terms = 0.0, 0
    for query in sorted(set(groups.tolist()) - {0}):
        own = groups == query
        found = of_query(loss, *(np.asarray(a, np.float64)[own].tolist() for a in (scores, grades, teacher)))
        total, terms = total + found[0], terms + found[1]
    return total, terms


@functools.cache
def program(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def computed(loss, scores=SCORES, groups=GROUPS, grades=GRADES, teacher=TEACHER):
    """The sum, the number of terms, and the gradient of the sum."""
    arrays = [np.asarray(array, np.float32) for array in (scores, grades, teacher)]
    (total, terms), gradient = program(loss)(arrays[0], groups.astype(np.int32), *arrays[1:])
    return float(total), float(terms), np.asarray(gradient)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_is_what_loops_over_queries_and_pairs_give(loss):
    total, terms, _ = computed(loss)
    expected, number = by_hand(loss, SCORES)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert terms == number


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradients_are_finite_differences_of_the_loops(loss):
    step = 1e-5
    moved = [SCORES.astype(np.float64) + sign * step * np.eye(12)[i] for i in range(12) for sign in (1, -1)]
    values = np.array([by_hand(loss, scores)[0] for scores in moved]).reshape(12, 2)
    expected = (values[:, 0] - values[:, 1]) / (2 * step)
    np.testing.assert_allclose(computed(loss)[2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_order_of_the_documents_and_the_numbers_of_the_queries_mean_nothing(loss):
    order = np.random.default_rng(1).permutation(12)
    tied = np.where(
        GROUPS == 1, np.float32(0.5), SCORES
    )  # equal scores must not be told apart by their place
    renumbered = np.array([0, 7, 1, 9, 5])[GROUPS]
    for scores in (SCORES, tied):
        total, terms, gradient = computed(loss, scores)
        again = computed(loss, scores[order], renumbered[order], GRADES[order], TEACHER[order])
        np.testing.assert_allclose(again[0], total, rtol=1e-5)
        assert again[1] == terms
        if loss not in (LambdaLoss(), LambdaLoss(mu=0.0)):  # which of two equal documents it moves is open
            np.testing.assert_allclose(again[2], gradient[order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_queries_in_several_rows_sum_to_those_in_one(loss):
    rows = [computed(loss, groups=GROUPS * (query == GROUPS)) for query in (1, 2, 3, 4)]
    for found, whole in zip(zip(*rows, strict=True), computed(loss), strict=True):
        np.testing.assert_allclose(sum(found), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_any_scores_and_grades_stay_finite_and_free_slots_count_nothing(loss):
    large = np.where(np.arange(12) % 2, np.float32(1e30), np.float32(-1e30))
    total, _, gradient = computed(loss, large, grades=GRADES * 1000, teacher=large)
    assert np.isfinite(total) and np.isfinite(gradient).all()
    assert (gradient[GROUPS == 0] == 0).all()
    assert computed(loss, groups=np.zeros(12, int))[:2] == (0.0, 0.0)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not loss.needs_teacher], ids=repr)
def test_a_document_that_beats_a_better_one_is_pushed_down(loss):
    groups, grades = np.array([1, 1] + [0] * 10), np.array([0.0, 1.0] + [0.0] * 10)
    gradient = computed(loss, np.array([1.0, 0.0] + [0.0] * 10), groups, grades)[2]
    assert gradient[0] > 0 > gradient[1]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_descent_turns_the_worst_order_into_the_best(loss):
    labels = TEACHER if loss.needs_teacher else np.minimum(GRADES, 1) if loss == Pointwise() else GRADES
    scores = -labels
    for _ in range(200):
        scores = scores - 0.5 * computed(loss, scores)[2]
    better = (GROUPS[:, None] == GROUPS) & (GROUPS > 0) & (labels[:, None] > labels)
    assert better.any() and (scores[:, None] > scores)[better].all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankNet(labels="clicks"), "RankNet.labels is 'clicks', expected 'grades' or 'teacher'"),
        (lambda: ListNet(temperature=0), "ListNet.temperature is 0, expected a number above 0"),
        (lambda: Distillation(temperature="1"), "Distillation.temperature is '1', expected a number"),
        (lambda: LambdaLoss(mu=-1.0), "LambdaLoss.mu is -1.0, expected a number of at least 0"),
    ],
)
def test_a_wrong_option_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
