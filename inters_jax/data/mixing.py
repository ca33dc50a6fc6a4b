"""The examples of an epoch: counts follow the mixing rates, and a task repeats no row before all were used.

Each task is an infinite stream: its first pass in a random order, then its second pass in another order, and
so on, cyclically. (`prepare` writes several passes: the same rows with other templates and demonstrations.)
An epoch takes the next `share` examples of every stream. A task larger than its share shows other rows in
every epoch; a smaller one repeats its rows in other words.

    task   rows  rate     epoch 0          epoch 1            (epoch of 6 examples)
    big     8      4      b5 b0 b7 b2      b1 b6 b3 b4
    small   2      2      s1 s0            s0' s1'            ' the second pass
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from inters_jax.data.pass_files import Documents
from inters_jax.data.shuffling import permutation
from seqio_tasks.base import UserError


class Mixable(Protocol):
    """The part of a `TokenStore` that mixing uses."""

    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def epoch_examples(self) -> int: ...
    def rate(self, task: str | int) -> float: ...
    def passes(self, task: str | int) -> int: ...
    def examples(self, task: str | int, pass_: int) -> int: ...


class Grouped(Protocol):
    """The part of a `TokenStore` that knows which sequences are the documents of one query."""

    def documents(self, task: str | int, pass_: int) -> Documents | None: ...


def shares(rates: np.ndarray, total: int) -> np.ndarray:
    """Split `total` examples by the rates: largest remainders, and at least one example per task.

    Args:
      rates: float [tasks], positive.
      total: examples to split; the result sums to it.

    >>> shares(np.array([5000.0, 1200.0, 3.0]), 6203).tolist()
    [5000, 1200, 3]
    >>> shares(np.array([2.0, 1.0, 0.001]), 10).tolist()
    [6, 3, 1]
    """
    if len(rates) == 0 or not np.all(np.isfinite(rates)) or np.any(rates <= 0):
        raise UserError(f"mixing needs positive rates, one for each task; got {rates.tolist()}")
    if total < len(rates):
        raise UserError(
            f"an epoch of {total} examples has no room for one of each of {len(rates)} tasks; "
            "raise EPOCH_EXAMPLES"
        )
    exact = total * rates / rates.sum()
    counts = np.floor(exact).astype(np.int64)
    # Remainders that differ only by rounding error are ties, and ties go to the earlier task.
    remainders = np.round(exact - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - counts.sum()]] += 1
    for task in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[task] = 1
    return counts


def draw(store: Mixable, seed: int, epoch: int, epoch_examples: int | None = None) -> np.ndarray:
    """The examples of an epoch in order: int64 [n, 3] of (task number, pass, index in the pass).

    Args:
      store: an open store; tasks are numbered as in `store.tasks`.
      seed: of the run.
      epoch: from 0.
      epoch_examples: size of an epoch; None: the store's.
    """
    total = store.epoch_examples if epoch_examples is None else epoch_examples
    rates = np.array([store.rate(task) for task in store.tasks], np.float64)
    parts = []
    for number, (task, share) in enumerate(zip(store.tasks, shares(rates, total).tolist(), strict=True)):
        drawn = _stretch(store, task, seed, epoch * share, (epoch + 1) * share)
        parts.append(np.concatenate([np.full((share, 1), number, np.int64), drawn], axis=1))
    examples = np.concatenate(parts)
    return examples[permutation(len(examples), seed, "epoch", epoch)]


def sequences(store: Grouped, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sequences of drawn examples: several where an example is a query with its documents.

        draws        (0, 0, 7)   (1, 0, 2)                          task 1 has three documents for query 2
        sequences    (0, 0, 7)   (1, 0, 5) (1, 0, 6) (1, 0, 7)      which begin with sequence 5
        sizes            1           3

    Args:
      store: an open store.
      draws: int64 [n, 3] of (task number, pass, index of the example), from `draw`.

    Returns:
      int64 [m, 3] of (task number, pass, index of the sequence), in the order of the draws, and int64 [n],
      the sequences of every example.
    """
    first, sizes = draws[:, 2].copy(), np.ones(len(draws), np.int64)
    for task, pass_ in np.unique(draws[:, :2], axis=0).tolist():
        documents = store.documents(task, pass_)
        if documents is not None:
            chosen = (draws[:, 0] == task) & (draws[:, 1] == pass_)
            sizes[chosen] = np.diff(documents.starts)[draws[chosen, 2]]
            first[chosen] = documents.starts[draws[chosen, 2]]
    found = np.repeat(draws, sizes, axis=0)
    within = np.arange(len(found)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found[:, 2] = np.repeat(first, sizes) + within
    return found, sizes


def _stretch(store: Mixable, task: str, seed: int, start: int, end: int) -> np.ndarray:
    """Examples start..end-1 of the infinite stream of a task: int64 [end - start, 2] of (pass, index)."""
    sizes = [store.examples(task, pass_) for pass_ in range(store.passes(task))]
    if 0 in sizes:
        raise UserError(f"pass {sizes.index(0)} of {task} has no example; prepare the store again")
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
