"""Seeded permutations that are stable across versions and machines, from hashes of a counter.

A run that is resumed with another NumPy version or on another number of hosts must see the same data. NumPy
does not guarantee the stream of ``Generator.permutation``, so the order here sorts 64-bit hashes.
"""

from __future__ import annotations

import numpy as np

from seqio_tasks.base import text_hash
from seqio_tasks.seeded import GOLDEN, MASK, mix64

Key = int | str


def fold(*keys: Key) -> int:
    """Hash a sequence of integers and names to one 64-bit number; the order of the keys matters.

    >>> fold(1, 2) == fold(2, 1), fold("squad", 0) == fold("squad", 0)
    (False, True)
    """
    state = 0
    for key in keys:
        number = text_hash(key) if isinstance(key, str) else int(key) & MASK
        state = mix64(((state + GOLDEN) & MASK) ^ mix64(number))
    return state


def permutation(n: int, *keys: Key) -> np.ndarray:
    """A random permutation of 0..n-1, int64 [n], determined by the keys alone.

    >>> permutation(6, 0, "epoch", 1)
    array([3, 1, 0, 5, 2, 4])
    """
    counters = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(fold(*keys))
    return np.argsort(mix64(counters), kind="stable")
