"""Seeded permutations that are stable across versions and machines, from hashes of a counter.

A run that is resumed with another NumPy version or on another number of hosts must see the same data. NumPy
does not guarantee the stream of ``Generator.permutation``, so the order here sorts 64-bit hashes.
"""

from __future__ import annotations

import numpy as np

from seqio_tasks.base import text_hash

Key = int | str

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over uint64 of any shape."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(*keys: Key) -> int:
    """Hash a sequence of integers and names to one 64-bit number; the order of the keys matters.

    >>> fold(1, 2) == fold(2, 1), fold("squad", 0) == fold("squad", 0)
    (False, True)
    """
    state = np.zeros(1, np.uint64)
    for key in keys:
        number = text_hash(key) if isinstance(key, str) else int(key) & _MASK
        state = _mix((state + np.uint64(_STEP)) ^ _mix(np.array([number], np.uint64)))
    return int(state[0])


def permutation(n: int, *keys: Key) -> np.ndarray:
    """A random permutation of 0..n-1, int64 [n], determined by the keys alone.

    >>> permutation(6, 0, "epoch", 1)
    array([3, 1, 0, 5, 2, 4])
    """
    counters = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_STEP) + np.uint64(fold(*keys))
    return np.argsort(_mix(counters), kind="stable")
