"""Seeded orders that never change: hashes of a counter, not the stream of a random generator.

A run resumed next year, under another NumPy or on another number of hosts, must meet the same data. NumPy
does not promise that ``Generator.permutation`` keeps its stream, so the order here is the sort of 64-bit
hashes.
"""

from __future__ import annotations

import hashlib

import numpy as np

Key = int | str

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over uint64 of any shape."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(*keys: Key) -> int:
    """One 64-bit number for a sequence of integers and names; every key and its place matter.

    >>> fold(1, 2) == fold(2, 1), fold("squad", 0) == fold("squad", 0)
    (False, True)
    """
    state = np.zeros(1, np.uint64)
    for key in keys:
        if isinstance(key, str):
            number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        else:
            number = int(key) & _MASK
        state = _mix((state + np.uint64(_STEP)) ^ _mix(np.array([number], np.uint64)))
    return int(state[0])


def permutation(n: int, *keys: Key) -> np.ndarray:
    """A random order of 0..n-1, int64 [n], given by the keys alone.

    >>> permutation(6, 0, "epoch", 1)
    array([3, 1, 0, 5, 2, 4])
    """
    counters = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_STEP) + np.uint64(fold(*keys))
    return np.argsort(_mix(counters), kind="stable")
