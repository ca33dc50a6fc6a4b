"""Permutation self-consistency: several answers to one question become one order.

The documents are shown in different orders; what a model prefers only for its place then cancels out. The
shuffles come in pairs, an order and its reverse (an odd one is the order given), so a model that always
repeats the order it sees has no influence at all: the first stage stays.

    borda     mean rank over the answers
    kemeny    the order with the least pairwise disagreement with the answers, found from Borda's by moving
              single documents as long as that helps (an optimum of such moves, mostly the true one)

Ties go to the order given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def balanced_shuffles(n: int, count: int, seed: int) -> list[list[int]]:
    """`count` orders of range(n): pairs of a random one and its reverse, and range(n) when count is odd.

    >>> [len(balanced_shuffles(4, k, 0)) for k in (1, 2, 5)], balanced_shuffles(3, 1, 0)
    ([1, 2, 5], [[0, 1, 2]])
    """
    random = np.random.default_rng(seed)
    orders = [list(range(n))] if count % 2 else []
    for _ in range(count // 2):
        order = random.permutation(n).tolist()
        orders += [order, order[::-1]]
    return orders


def borda(orders: np.ndarray) -> list[int]:
    """By mean rank. orders: int [answers, n], each best first.

    >>> borda(np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0]]))
    [1, 0, 2]
    """
    return np.argsort(np.argsort(orders, axis=1).sum(axis=0), kind="stable").tolist()


def preferences(orders: np.ndarray) -> np.ndarray:
    """int [n, n]: how many answers put document i (row) before document j (column)."""
    ranks = np.argsort(orders, axis=1)
    return (ranks[:, :, None] < ranks[:, None, :]).sum(axis=0)


def kemeny(orders: np.ndarray) -> list[int]:
    """Least disagreement among orders that differ by moving one document.

    >>> kemeny(np.array([[0, 1, 2], [1, 2, 0], [1, 0, 2]]))
    [1, 0, 2]
    """
    wins = preferences(orders)
    margin = wins - wins.T  # margin[i, j] > 0: more answers put i before j
    order = borda(orders)
    improved = True
    while improved:
        improved = False
        for number in list(order):
            at = order.index(number)
            # gain[p]: by how much disagreement falls when the document moves to place p.
            margins = margin[number, order]
            gain = np.zeros(len(order), np.int64)
            gain[:at] = np.cumsum(margins[:at][::-1])[::-1]
            gain[at + 1 :] = np.cumsum(-margins[at + 1 :])
            best = int(np.argmax(gain))
            if gain[best] > 0:
                order.insert(best, order.pop(at))
                improved = True
    return order


AGGREGATIONS: dict[str, Callable[[np.ndarray], list[int]]] = {"kemeny": kemeny, "borda": borda}
