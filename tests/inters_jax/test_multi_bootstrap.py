"""Intervals over seeds and questions: as wide as theory says, and covering as often as they claim."""

import numpy as np
import pytest

from inters_jax.evaluation.multi_bootstrap import multi_bootstrap


def test_the_spread_over_seeds_is_that_of_a_mean_of_so_many():
    """Questions alike, seeds apart: the variance of the difference is s1**2 / 3 + s2**2 / 3."""
    one = np.repeat([[1.0], [2.0], [6.0]], 5, axis=1)
    other = np.repeat([[10.0], [11.0], [12.0]], 5, axis=1)
    found = multi_bootstrap([one], [other], samples=50_000, level=0.6826895)
    assert found.difference == pytest.approx(8.0)
    deviation = np.sqrt(np.var([1, 2, 6], ddof=1) / 3 + 1 / 3)
    # Two of three seeds are drawn: 36 outcomes, so the quantiles are coarse; the variance itself is not.
    assert (found.high - found.low) / 2 == pytest.approx(deviation, rel=0.25)


def test_paired_seeds_cancel_what_the_models_have_in_common():
    models = np.repeat([[0.0], [50.0], [100.0]], 4, axis=1)
    paired = multi_bootstrap([models], [models + 1.0], paired_seeds=True)
    assert (paired.low, paired.high) == (1.0, 1.0)
    unpaired = multi_bootstrap([models], [models + 1.0])
    assert unpaired.low <= 0 <= unpaired.high


def test_a_seed_is_drawn_for_all_pairs_together():
    """Two pairs that move with the seed are as uncertain as one; independent draws would make them surer."""
    rows = np.repeat([[0.0], [3.0], [6.0]], 4, axis=1)
    single = multi_bootstrap([rows * 0], [rows], samples=20_000)
    double = multi_bootstrap([rows * 0, rows * 0], [rows, rows], samples=20_000)
    assert (double.low, double.high) == (single.low, single.high)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(7)

    def experiment():
        return random.normal(0, 1, (4, 1)) + difficulty + random.normal(0, 1, (4, 60))

    covered = 0
    for _ in range(400):
        difficulty = random.normal(0, 2, (1, 60))  # of the questions, the same for both
        found = multi_bootstrap([experiment()], [experiment()], samples=400)
        covered += found.low <= 0 <= found.high
    # On so few seeds an interval is narrower than Student's; over questions alone it would cover 18 %.
    assert 0.82 < covered / 400 < 0.97


@pytest.mark.parametrize(
    ("one", "other", "paired"),
    [
        ([], [], False),
        ([np.ones((2, 3))], [np.ones((2, 4))], False),
        ([np.ones((2, 3))], [np.ones((3, 3))], True),
    ],
)
def test_what_does_not_fit_is_refused(one, other, paired):
    with pytest.raises(ValueError, match=r"pairs|questions|seeds"):
        multi_bootstrap(one, other, paired_seeds=paired)
