"""Permutation self-consistency: aggregates several answers to one question into one order.

The documents are shown in different orders, so preferences for a position cancel out. The shuffles come in
pairs, an order and its reverse (an odd one is the given order): a model that always repeats the order it sees
has no influence, and the first-stage order stays.

    borda     mean rank over the answers
    kemeny    the order with the least pairwise disagreement with the answers, found from Borda's by moving
              single documents while that helps (a local optimum, mostly the global one)

Ties keep the given order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def balanced_shuffles(n: int, count: int, seed: int) -> list[list[int]]:
    """`count` orders of range(n): pairs of a random order and its reverse, and range(n) if count is odd.

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
    """Order by mean rank. orders: int [answers, n], each best first.

    >>> borda(np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0]]))
    [1, 0, 2]
    """
    return np.argsort(np.argsort(orders, axis=1).sum(axis=0), kind="stable").tolist()


def preferences(orders: np.ndarray) -> np.ndarray:
    """int [n, n]: the number of answers that put document i (row) before document j (column)."""
    ranks = np.argsort(orders, axis=1)
    return (ranks[:, :, None] < ranks[:, None, :]).sum(axis=0)


def kemeny(orders: np.ndarray) -> list[int]:
    """The order that no move of a single document improves. orders: int [answers, n], each best first.

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
            # gain[p]: decrease of the disagreement if the document moves to place p.
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
