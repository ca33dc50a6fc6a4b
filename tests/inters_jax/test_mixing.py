"""Mixing: shares by rates, every row of a task before any of them again, a fresh pass on every cycle."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inters_jax.data.mixing import draw, shares


class Stub:
    """The counts of a store without its files: task -> (rate, examples of each pass)."""

    def __init__(self, epoch_examples, **tasks):
        self.epoch_examples = epoch_examples
        self.content = tasks
        self.tasks = tuple(tasks)

    def rate(self, task):
        return self.content[task][0]

    def passes(self, task):
        return len(self.content[task][1])

    def examples(self, task, pass_):
        return self.content[task][1][pass_]


def stream(store, epochs, task=0, seed=0):
    """(pass, index) of one task over several epochs, in order of epochs."""
    found = []
    for epoch in range(epochs):
        examples = draw(store, seed, epoch)
        found.append([tuple(example[1:]) for example in examples.tolist() if example[0] == task])
    return found


def test_counts_follow_the_rates():
    store = Stub(620, a=(500.0, [500]), b=(100.0, [100]), c=(20.0, [20]))
    counts = Counter(draw(store, 0, 0)[:, 0].tolist())
    assert counts == {0: 500, 1: 100, 2: 20}


def test_size_of_an_epoch_may_be_set():
    store = Stub(620, a=(500.0, [500]), b=(100.0, [100]), c=(20.0, [20]))
    assert Counter(draw(store, 0, 0, epoch_examples=62)[:, 0].tolist()) == {0: 50, 1: 10, 2: 2}


def test_an_epoch_of_one_task_holds_every_row_once():
    store = Stub(40, a=(40.0, [40, 40]))
    first, second, third = stream(store, 3)
    assert sorted(first) == [(0, i) for i in range(40)]
    assert sorted(second) == [(1, i) for i in range(40)]  # the second pass: fresh templates
    assert sorted(third) == [(0, i) for i in range(40)]  # and around, in another order
    assert first != third


def test_a_capped_task_shows_all_its_rows_before_any_again():
    store = Stub(10, a=(10.0, [25]))
    drawn = [index for epoch in stream(store, 5) for _, index in epoch]
    assert sorted(drawn[:20]) == sorted(set(drawn[:20]))
    assert Counter(drawn) == dict.fromkeys(range(25), 2)


def test_a_short_task_returns_within_an_epoch_under_the_next_pass():
    store = Stub(5, a=(5.0, [3, 3]))
    first = stream(store, 1)[0]
    assert Counter(pass_ for pass_, _ in first) == {0: 3, 1: 2}
    assert {index for pass_, index in first if pass_ == 0} == {0, 1, 2}


def test_passes_may_hold_different_numbers_of_rows():
    # Other templates are longer, so another pass may drop more rows.
    store = Stub(4, a=(4.0, [4, 2, 3]))
    drawn = Counter(example for epoch in stream(store, 9) for example in epoch)
    assert drawn == {(p, i): 4 for p, n in enumerate([4, 2, 3]) for i in range(n)}


def test_tasks_are_spread_over_the_epoch():
    store = Stub(2000, a=(1000.0, [1000]), b=(1000.0, [1000]))
    tasks = draw(store, 0, 0)[:, 0]
    assert 0.4 < tasks[:500].mean() < 0.6


def test_a_function_of_seed_and_epoch():
    store = Stub(60, a=(40.0, [40]), b=(20.0, [20]))
    assert np.array_equal(draw(store, 3, 7), draw(store, 3, 7))
    assert not np.array_equal(draw(store, 3, 7), draw(store, 4, 7))
    assert not np.array_equal(draw(store, 3, 7), draw(store, 3, 8))


def test_order_of_a_task_does_not_depend_on_its_neighbours():
    alone = Stub(40, a=(40.0, [40]))
    beside = Stub(60, z=(20.0, [20]), a=(40.0, [40]))
    assert set(stream(alone, 1)[0]) == set(stream(beside, 1, task=1)[0])


@given(
    rates=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=12),
    extra=st.integers(0, 5000),
)
@settings(max_examples=200, deadline=None)
def test_shares_are_exact_and_leave_no_task_out(rates, extra):
    total = len(rates) + extra
    counts = shares(np.array(rates), total)
    assert counts.sum() == total
    assert counts.min() >= 1
    exact = total * np.array(rates) / np.sum(rates)
    # Beyond rounding, a share is only given up to a task that would have none.
    assert np.abs(counts - exact).max() < 1 + np.sum(exact < 1)


@pytest.mark.parametrize("rates", [[0.0, 1.0], [-1.0], [float("nan")], []])
def test_rates_must_be_positive(rates):
    with pytest.raises(ValueError, match="positive rates"):
        shares(np.array(rates), 10)


def test_an_epoch_smaller_than_the_mixture_is_refused():
    with pytest.raises(ValueError, match="has no room for one of each of 3 tasks"):
        shares(np.ones(3), 2)
