"""Seeded orders that never change: hashes of a counter, not the stream of a random generator.

A run resumed next year, under another NumPy or on another number of hosts, must meet the same data. NumPy
does not promise that ``Generator.permutation`` keeps its stream, so the order here is the sort of 64-bit
hashes.
"""

from __future__ import annotations

import numpy as np

from seqio_tasks.base import text_hash
from seqio_tasks.seeded import GOLDEN, MASK, mix64

Key = int | str


def fold(*keys: Key) -> int:
    """One 64-bit number for a sequence of integers and names; every key and its place matter.

    >>> fold(1, 2) == fold(2, 1), fold("squad", 0) == fold("squad", 0)
    (False, True)
    """
    state = 0
    for key in keys:
        number = text_hash(key) if isinstance(key, str) else int(key) & MASK
        state = mix64(((state + GOLDEN) & MASK) ^ mix64(number))
    return state


def permutation(n: int, *keys: Key) -> np.ndarray:
    """A random order of 0..n-1, int64 [n], given by the keys alone.

    >>> permutation(6, 0, "epoch", 1)
    array([3, 1, 0, 5, 2, 4])
    """
    counters = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(fold(*keys))
    return np.argsort(mix64(counters), kind="stable")
