"""Shared by ranking methods: finished orders, generators that run side by side, checks of options."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import numpy as np

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Answer, Ranked, Request

# Part of a ranking: yields requests and returns a value.
Steps = Generator[list[Request], list[Answer], Any]


def by_score(scores: np.ndarray) -> Ranked:
    """Best score first; equal scores keep their first-stage order. scores: [n].

    >>> by_score(np.float32([0.5, 2, 0.5])).order
    [1, 0, 2]
    """
    scores = np.asarray(scores, np.float32)
    return Ranked(np.argsort(-scores, kind="stable").tolist(), scores)


def by_order(order: Sequence[int]) -> Ranked:
    """An order without scores of its own: n for the first, 1 for the last.

    >>> by_order([2, 0, 1]).scores.tolist()
    [2.0, 1.0, 3.0]
    """
    scores = np.empty(len(order), np.float32)
    scores[list(order)] = np.arange(len(order), 0, -1)
    return Ranked(list(order), scores)


def together(parts: Iterable[Steps]) -> Generator[list[Request], list[Answer], list[Any]]:
    """Run generators side by side, with their requests in one list; returns the list of their results.

    >>> def part(name, steps):
    ...     for step in range(steps):
    ...         yield [f"{name}{step}"]
    ...     return name
    >>> both = together([part("a", 1), part("b", 2)])
    >>> next(both), both.send(["", ""])
    (['a0', 'b0'], ['b1'])
    """
    running = list(parts)
    results: list[Any] = [None] * len(running)
    asked: dict[int, list[Request]] = {}

    def step(number: int, answers: list[Answer] | None) -> None:
        try:
            asked[number] = next(running[number]) if answers is None else running[number].send(answers)
        except StopIteration as end:
            asked.pop(number, None)
            results[number] = end.value

    for number in range(len(running)):
        step(number, None)
    while asked:
        order = list(asked)
        answers = yield [request for number in order for request in asked[number]]
        at = 0
        for number in order:
            size = len(asked[number])
            step(number, answers[at : at + size])
            at += size
    return results


def at_least(value: int, least: int, name: str) -> None:
    """Refuse an option below its minimum."""
    if value < least:
        raise RerankError(f"{name} must be at least {least}, got {value}")


def one_of(value: str, known: Sequence[str], name: str) -> None:
    """Refuse an unknown value of an option."""
    if value not in known:
        raise RerankError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
