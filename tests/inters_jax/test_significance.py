"""Permutation test and bootstrap against scipy, Holm's correction against its definition, values by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from inters_jax.evaluation import significance
from inters_jax.evaluation.significance import bootstrap_intervals, holm, permutation_test, win_tie_loss


def mean_difference(x, y, axis):
    return np.mean(x, axis=axis) - np.mean(y, axis=axis)


def test_permutation_by_hand() -> None:
    """Of the 16 assignments of signs to 1, 2, 3, -1 four reach |sum| 5: all but one of the small ones."""
    found = permutation_test([1.0, 2.0, 3.0, -1.0])
    sums = [abs(a + 2 * b + 3 * c + d) for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)]
    assert found.p_values[0] == sum(value >= 5 for value in sums) / 16 == 6 / 16
    assert found.exact and found.samples == 16


def test_items_without_a_difference_change_nothing() -> None:
    one = permutation_test([1.0, 2.0, 3.0, -1.0])
    other = permutation_test([1.0, 0.0, 2.0, 0.0, 3.0, 0.0, -1.0] + [0.0] * 100)
    assert other.exact and other.p_values == one.p_values
    assert permutation_test(np.zeros(30)).p_values == [1.0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rounded", [False, True])
def test_exact_permutation_equals_scipy(seed: int, rounded: bool) -> None:
    random = np.random.default_rng(seed)
    x, y = random.random(9), random.random(9) + 0.2
    if rounded:  # many equal sums
        x, y = x.round(1), y.round(1)
    expected = stats.permutation_test(
        (x, y), mean_difference, permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert permutation_test(y - x).p_values[0] == pytest.approx(expected.pvalue)


def test_random_permutation_is_near_the_exact_value_and_repeats() -> None:
    random = np.random.default_rng(3)
    differences = random.normal(0.3, 1.0, (16, 3))
    exact = permutation_test(differences, samples=2**16)
    drawn = permutation_test(differences, samples=50_000, seed=1)
    assert exact.exact and not drawn.exact and drawn.samples == 50_000
    # Five standard errors of a share.
    error = 5 * np.sqrt(exact.p_values * (1 - exact.p_values) / 50_000)
    assert (np.abs(exact.p_values - drawn.p_values) < error + 1e-4).all()
    assert (permutation_test(differences, samples=50_000, seed=1).p_values == drawn.p_values).all()
    assert permutation_test(np.ones(60), samples=999).p_values == [1 / 1000]


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, (40, 2))
    whole = bootstrap_intervals(values, samples=500)
    signs = permutation_test(values[:12]).p_values
    monkeypatch.setattr(significance, "_CHUNK", 1000)
    np.testing.assert_array_equal(bootstrap_intervals(values, samples=500), whole)
    np.testing.assert_array_equal(permutation_test(values[:12]).p_values, signs)


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bootstrap_equals_scipy(method: str, level: float) -> None:
    """With the same random numbers, hence the same resamples."""
    values = np.random.default_rng(5).gamma(1.0, 1.0, 25)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, confidence_level=level, method=method,
        rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    found = bootstrap_intervals(values, samples=2000, level=level, method=method, seed=7)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def test_intervals_of_columns_are_those_of_each_column() -> None:
    values = np.random.default_rng(1).random((30, 3))
    together = bootstrap_intervals(values, samples=300, method="bca")
    for column in range(3):
        np.testing.assert_array_equal(
            bootstrap_intervals(values[:, column], samples=300, method="bca")[0], together[column]
        )


def test_percentile_intervals_cover_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    held = 0
    for trial in range(200):
        low, high = bootstrap_intervals(random.normal(0.0, 1.0, 60), samples=400, seed=trial)[0]
        held += low <= 0.0 <= high
    assert 0.88 < held / 200 < 0.99


def test_holm_by_its_definition() -> None:
    """The adjusted value is the least level at which the step-down procedure rejects that test."""

    def rejected(p_values: np.ndarray, level: float) -> set[int]:
        found: set[int] = set()
        for step, index in enumerate(np.argsort(p_values).tolist()):
            if p_values[index] > level / (len(p_values) - step):
                break
            found.add(index)
        return found

    random = np.random.default_rng(4)
    for size in (1, 2, 5, 20):
        p_values = random.random(size) ** 3
        for index, adjusted in enumerate(holm(p_values).tolist()):
            assert index not in rejected(p_values, adjusted - 1e-9)
            assert adjusted == 1.0 or index in rejected(p_values, adjusted + 1e-9)
    assert holm([]).tolist() == []


def test_win_tie_loss_takes_the_second_side() -> None:
    assert win_tie_loss([0.0, 0.1, 0.5], [1.0, 0.1 + 1e-15, 0.4]) == (1, 1, 1)


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="item 1, column 0: nan"):
        permutation_test([1.0, np.nan])
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_intervals([])
    with pytest.raises(ValueError, match="'percentile' and 'bca'"):
        bootstrap_intervals([1.0], method="normal")
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_intervals([1.0], level=95)


def test_a_large_collection_takes_seconds() -> None:
    values = np.random.default_rng(0).normal(0.0, 1.0, (300, 6))
    start = time.process_time()
    permutation_test(values)
    bootstrap_intervals(values)
    assert time.process_time() - start < 6.0  # 0.5 s on an idle core
