"""Sorting by choosing the best of a few documents: heapsort and bubble sort over any `choose`.

`choose(members)` is a generator that takes candidate numbers in first-stage order (ascending) and returns the
best of them. If it finds no difference it must return the first, so a constant scorer keeps the first-stage
order. With contradictory comparisons (models make them) the algorithms still end, with a permutation.

    heapsort   a heap with c children per node: build it, then remove the best top_k times
    bubble     top_k passes from the last rank to the first, each moving the best document up,
               c + 1 documents at a time

Documents below top_k follow: with heapsort in first-stage order, with bubble as the passes left them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from inters_jax.ranking.methods.common import Steps, together
from inters_jax.ranking.questions import Answer, Request

Choose = Callable[[tuple[int, ...]], Steps]
Sorted = Generator[list[Request], list[Answer], list[int]]


def remembering(choose: Choose) -> Choose:
    """`choose` with a cache: bubble meets most groups again in every pass."""
    known: dict[tuple[int, ...], int] = {}

    def asked(members: tuple[int, ...]) -> Steps:
        if members not in known:
            known[members] = yield from choose(members)
        return known[members]

    return asked


def heapsort(n: int, choose: Choose, *, children: int, top_k: int) -> Sorted:
    """The top_k of range(n) by a heap, then the others in first-stage order."""
    heap = list(range(n))
    # Subtrees with roots on one level are disjoint: they are sifted side by side.
    levels: list[range] = []
    first, size = 0, 1
    while first < n:
        levels.append(range(first, min(n, first + size)))
        first, size = first + size, size * children
    for level in reversed(levels[:-1]):
        yield from together(_sift(heap, node, n, choose, children) for node in level)
    best: list[int] = []
    while len(best) < min(n, top_k):
        best.append(heap[0])
        end = n - len(best)
        heap[0] = heap[end]
        if len(best) < top_k:
            yield from _sift(heap, 0, end, choose, children)
    taken = set(best)
    return best + [number for number in range(n) if number not in taken]


def _sift(heap: list[int], node: int, end: int, choose: Choose, children: int) -> Steps:
    """Sink heap[node] in heap[:end] until none of its children is better."""
    while (first := node * children + 1) < end:
        below = range(first, min(end, first + children))
        members = tuple(sorted(heap[place] for place in (node, *below)))
        best = yield from choose(members)
        if best == heap[node]:
            return None
        place = next(place for place in below if heap[place] == best)
        heap[node], heap[place] = heap[place], heap[node]
        node = place
    return None


def bubble(n: int, choose: Choose, *, children: int, top_k: int) -> Sorted:
    """top_k passes; pass i moves the best of ranks i.. to rank i and keeps the others in order."""
    order = list(range(n))
    choose = remembering(choose)
    for done in range(min(top_k, n - 1)):
        last = n - 1
        while last > done:
            first = max(done, last - children)
            best = yield from choose(tuple(sorted(order[first : last + 1])))
            order.insert(first, order.pop(order.index(best, first)))
            last = first
    return order


ALGORITHMS: dict[str, Callable[..., Any]] = {"heapsort": heapsort, "bubble": bubble}
