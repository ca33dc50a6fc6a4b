"""Which examples make up an epoch: counts by the rates, every row of a task before any of them again.

Each task is an endless stream. Its first cycle is its first pass (`prepare` wrote several: the same rows
under other templates and demonstrations) in a random order; when that is used up, the next pass follows in
another order, and so on around. An epoch takes the next `share` examples of every stream. So a task larger
than its share shows other rows in every epoch, and a smaller one comes back in fresh words.

    task   rows  rate     epoch 0          epoch 1            (epoch of 6 examples)
    big     8      4      b5 b0 b7 b2      b1 b6 b3 b4
    small   2      2      s1 s0            s0' s1'            ' the second pass
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from inters_jax.data.shuffling import permutation


class Mixable(Protocol):
    """What mixing asks of a store (`TokenStore`)."""

    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def epoch_examples(self) -> int: ...
    def rate(self, task: str | int) -> float: ...
    def passes(self, task: str | int) -> int: ...
    def examples(self, task: str | int, pass_: int) -> int: ...


def shares(rates: np.ndarray, total: int) -> np.ndarray:
    """Splits `total` examples by the rates, exactly: largest remainders, and at least one for every task.

    >>> shares(np.array([5000.0, 1200.0, 3.0]), 6203).tolist()
    [5000, 1200, 3]
    >>> shares(np.array([2.0, 1.0, 0.001]), 10).tolist()
    [6, 3, 1]
    """
    if len(rates) == 0 or not np.all(np.isfinite(rates)) or np.any(rates <= 0):
        raise ValueError(f"mixing needs positive rates, one for each task; got {rates.tolist()}")
    if total < len(rates):
        raise ValueError(
            f"an epoch of {total} examples cannot hold one of each of {len(rates)} tasks; "
            "raise epoch_examples"
        )
    exact = total * rates / rates.sum()
    counts = np.floor(exact).astype(np.int64)
    # Remainders that differ by rounding error only must not decide: ties go to the earlier task.
    remainders = np.round(exact - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - counts.sum()]] += 1
    for task in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[task] = 1
    return counts


def draw(store: Mixable, seed: int, epoch: int, epoch_examples: int | None = None) -> np.ndarray:
    """The examples of an epoch in their order: int64 [n, 3] of (task number, pass, index in the pass).

    Args:
      store: an open store; tasks are numbered as in `store.tasks`.
      seed: of the run.
      epoch: from 0.
      epoch_examples: size of an epoch; the one of the store when None.
    """
    total = store.epoch_examples if epoch_examples is None else epoch_examples
    rates = np.array([store.rate(task) for task in store.tasks], np.float64)
    parts = []
    for number, (task, share) in enumerate(zip(store.tasks, shares(rates, total).tolist(), strict=True)):
        drawn = _stretch(store, task, seed, epoch * share, (epoch + 1) * share)
        parts.append(np.concatenate([np.full((share, 1), number, np.int64), drawn], axis=1))
    examples = np.concatenate(parts)
    return examples[permutation(len(examples), seed, "epoch", epoch)]


def _stretch(store: Mixable, task: str, seed: int, start: int, end: int) -> np.ndarray:
    """Examples start..end-1 of the endless stream of a task: int64 [end - start, 2] of (pass, index)."""
    sizes = [store.examples(task, pass_) for pass_ in range(store.passes(task))]
    if 0 in sizes:
        raise ValueError(f"pass {sizes.index(0)} of {task} holds no example; prepare the store again")
    around, first = divmod(start, sum(sizes))
    cycle = around * len(sizes)
    while first >= sizes[cycle % len(sizes)]:
        first -= sizes[cycle % len(sizes)]
        cycle += 1
    pieces, missing = [np.zeros((0, 2), np.int64)], end - start
    while missing:
        pass_ = cycle % len(sizes)
        indices = permutation(sizes[pass_], seed, task, cycle)[first : first + missing]
        pieces.append(np.stack([np.full(len(indices), pass_, np.int64), indices], axis=1))
        missing -= len(indices)
        cycle, first = cycle + 1, 0
    return np.concatenate(pieces)
