"""Whether a difference is more than chance: paired permutation test, Holm's correction, bootstrap intervals.

Columns of an array are measured on the same items (queries, questions). They are resampled together, so that
one set of random numbers serves all tests and intervals. numpy only, seeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from seqio_tasks.base import UserError

Floats = npt.NDArray[np.float64]

_CHUNK = 4_000_000  # numbers held at once
_EXACT_ITEMS = 20  # at most 2**20 assignments are enumerated, whatever the number of samples
_EQUAL = 1e-12  # relative tolerance between sums of the same numbers in another order


@dataclass(frozen=True)
class Permutation:
    """The outcome of a permutation test.

    Attributes:
      p_values: float64 [columns].
      samples: sign assignments looked at.
      exact: whether these are all there are.
    """

    p_values: Floats
    samples: int
    exact: bool


def permutation_test(differences: npt.ArrayLike, *, samples: int = 100_000, seed: int = 0) -> Permutation:
    """Two-sided paired permutation (randomisation) test of the mean difference, for each column.

    Under the null hypothesis the sign of every difference is random. The p-value is the share of sign
    assignments whose mean is at least as far from 0 as the observed one. If there are at most `samples`
    assignments, all are enumerated; otherwise `samples` are drawn and the observed one is added to them, so
    that no p-value is 0.

    Args:
      differences: [items] or [items, columns], one system's value minus the other's.
      samples: number of random assignments.
      seed: of the random assignments.

    >>> permutation_test([1.0, 2.0, 3.0]).p_values
    array([0.25])
    """
    values = _columns(differences)
    observed = np.abs(values.sum(axis=0))
    moving = values[np.any(values != 0, axis=1)]  # the sign of a 0 changes nothing
    items = len(moving)
    exact = items <= _EXACT_ITEMS and 2**items <= samples
    reached = np.zeros(values.shape[1], np.float64)
    bound = observed - _EQUAL * np.maximum(np.abs(values).sum(axis=0), 1e-300)
    total = moving.sum(axis=0)
    for flipped in _all_signs(items) if exact else _random_signs(items, samples, seed):
        sums = total - 2.0 * (flipped.astype(np.float64) @ moving)
        reached += (np.abs(sums) >= bound).sum(axis=0)
    if exact:
        return Permutation(reached / 2.0**items, 2**items, True)
    return Permutation((reached + 1.0) / (samples + 1.0), samples, False)


def _all_signs(items: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Every sign assignment once, in chunks: uint8 [chunk, items], 1 where the sign is flipped."""
    chunk = max(1, _CHUNK // max(items, 1))
    for start in range(0, 2**items, chunk):
        codes = np.arange(start, min(start + chunk, 2**items))
        yield ((codes[:, None] >> np.arange(items)) & 1).astype(np.uint8)


def _random_signs(items: int, samples: int, seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Random sign assignments, in chunks: uint8 [chunk, items]."""
    random = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(items, 1))
    for start in range(0, samples, chunk):
        rows = min(chunk, samples - start)
        packed = random.integers(0, 256, (rows, -(-items // 8)), np.uint8)
        yield np.unpackbits(packed, axis=1, count=items)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's step-down correction for n tests: adjusted p-values [n].

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def bootstrap_intervals(
    values: npt.ArrayLike,
    *,
    samples: int = 10_000,
    level: float = 0.95,
    method: str = "percentile",
    seed: int = 0,
) -> Floats:
    """Confidence intervals of the mean of each column: float64 [columns, 2].

    Args:
      values: [items] or [items, columns]. Items are drawn with replacement, all columns of an item together.
      samples: number of resamples.
      level: of confidence.
      method: "percentile", or "bca", which corrects for bias and skewness.
      seed: of the resamples.

    Raises:
      UserError: an unknown method, or a level outside (0, 1).

    >>> bootstrap_intervals([[1.0, 5.0], [1.0, 5.0]]).tolist()
    [[1.0, 1.0], [5.0, 5.0]]
    """
    if method not in ("percentile", "bca"):
        raise UserError(f"interval method {method!r} is unknown; there are 'percentile' and 'bca'")
    if not 0 < level < 1:
        raise UserError(f"level {level} must lie between 0 and 1, for instance 0.95")
    data = _columns(values)
    means = resampled_means(data, samples=samples, seed=seed)
    tails = np.asarray([(1 - level) / 2, (1 + level) / 2])
    found = np.empty((data.shape[1], 2))
    for column in range(data.shape[1]):
        own = tails if method == "percentile" else _bca_tails(data[:, column], means[:, column], tails)
        found[column] = np.quantile(means[:, column], own)
    return found


def resampled_means(values: npt.ArrayLike, *, samples: int, seed: int) -> Floats:
    """Means of items drawn with replacement: float64 [samples, columns].

    Args:
      values: [items] or [items, columns].
      samples: number of resamples.
      seed: of the resamples.
    """
    data = _columns(values)
    random = np.random.default_rng(seed)
    items = len(data)
    means = np.empty((samples, data.shape[1]))
    chunk = max(1, _CHUNK // items)
    for start in range(0, samples, chunk):
        drawn = random.integers(0, items, (min(chunk, samples - start), items))
        for column in range(data.shape[1]):
            means[start : start + len(drawn), column] = data[drawn, column].mean(axis=1)
    return means


def _bca_tails(values: Floats, means: Floats, tails: Floats) -> Floats:
    """`tails` after Efron's bias-corrected and accelerated (BCa) adjustment."""
    normal = NormalDist()
    mean = values.mean()
    below = (np.sum(means < mean) + np.sum(means <= mean)) / (2 * len(means))
    spread = values - mean  # jackknife deviations, up to a factor that cancels out
    scale = np.sum(spread**2) ** 1.5
    if scale == 0 or not 0 < below < 1:
        return tails  # all values are equal
    bias = normal.inv_cdf(float(below))
    acceleration = np.sum(spread**3) / (6 * scale)
    corrected = []
    for tail in tails:
        shifted = bias + normal.inv_cdf(float(tail))
        corrected.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    return np.asarray(corrected)


def win_tie_loss(one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[int, int, int]:
    """Items on which `other` is better than, equal to and worse than `one`; up to 1e-9 counts as equal.

    >>> win_tie_loss([0.5, 0.5, 0.5], [1.0, 0.5, 0.25])
    (1, 1, 1)
    """
    change = np.asarray(other, np.float64) - np.asarray(one, np.float64)
    wins, losses = int(np.sum(change > 1e-9)), int(np.sum(change < -1e-9))
    return wins, len(change) - wins - losses, losses


def _columns(values: npt.ArrayLike) -> Floats:
    """float64 [items, columns]; an empty array and values that are not finite are refused."""
    found = np.asarray(values, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise UserError(f"values of shape {np.shape(values)}: expected one row per item, at least one")
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0]
        raise UserError(f"item {row}, column {column}: {found[row, column]} is not a finite number")
    return found
