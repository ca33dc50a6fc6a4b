"""Whether two evaluations differ in an average over pairs: the whole collection, a group, a hold-out.

A model that is a little better on each of 19 pairs may be significantly better on none. The average has one
question less to answer: every pair has the same weight, whatever the number of its questions.

    pair a     differences of 2 questions    +10  +30         mean +20
    pair b     differences of 4 questions    0  0  +10  -2    mean  +2
    average                                                   +11

    bootstrap      the questions of every pair are resampled among themselves
    permutation    the sign of every question's difference is random (weights: 1/2 x 1/2 in a, 1/2 x 1/4 in b)
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from inters_jax.evaluation.averages import form_of, headline_of, parts, per_cent
from inters_jax.evaluation.comparison import AverageTest, Comparison, Options
from inters_jax.evaluation.significance import (
    Floats,
    holm,
    permutation_test,
    resampled_means,
    win_tie_loss,
)

LEVELS = ("all", "group", "hold-out")  # the averages of a task are of one to six pairs: read these


def average_tests(comparison: Comparison) -> tuple[AverageTest, ...]:
    """Test every average of at least two pairs that the evaluations share, between every two systems.

    The value of a pair is the mean of its headline metric over the compared items. Intervals are percentiles.

    Args:
      comparison: of evaluations: the titles of its tables are tasks.
    """
    found = [
        test
        for setting, own in _headlines(comparison).items()
        for level, name, members in parts()
        if level in LEVELS and sum(pair in own for pair in members) > 1
        for test in _tests(comparison, setting, name, [own[pair] for pair in members if pair in own])
    ]
    adjusted = holm([test.p_value for test in found]).tolist() if found else []
    return tuple(
        dataclasses.replace(test, p_adjusted=value) for test, value in zip(found, adjusted, strict=True)
    )


def _headlines(comparison: Comparison) -> dict[str, dict[str, Floats]]:
    """setting -> pair -> its headline metric in per cent, float64 [systems, items]."""
    found: dict[str, dict[str, Floats]] = {}
    # As in `averages`: of several forms of a pair the one made for judging counts.
    for table in sorted(comparison.tables, key=lambda one: not one.title.endswith(("_choices", "_rerank"))):
        main = headline_of(table.title, dict.fromkeys(table.measures, 0.0))
        form = form_of(table.title)
        if main is not None and form is not None and table.systems == comparison.systems:
            pair, setting = form
            found.setdefault(setting, {}).setdefault(pair.name, per_cent(main, 1.0) * table.values[main])
    return found


def _tests(
    comparison: Comparison, setting: str, name: str, values: Sequence[Floats]
) -> Iterator[AverageTest]:
    means = np.mean([own.mean(axis=1) for own in values], axis=0).tolist()
    questions, options = np.concatenate(values, axis=1), comparison.options
    prompted = "" if setting == "zero-shot" else f", {setting}"
    measure = f"{name.replace('_', ' ')} ({len(values)} pairs{prompted})"
    for a, b in itertools.combinations(range(len(comparison.systems)), 2):
        differences = [own[b] - own[a] for own in values]
        weighted = np.concatenate([own / (len(own) * len(differences)) for own in differences])
        permuted = permutation_test(weighted, samples=options.samples, seed=options.seed)
        p_value = float(permuted.p_values[0])
        yield AverageTest(
            measure, comparison.systems[a], comparison.systems[b], means[b] - means[a],
            *_interval(differences, options), p_value, p_value, *win_tie_loss(questions[a], questions[b]),
            setting=setting, name=name, pairs=len(values), questions=len(weighted),
            before=means[a], after=means[b],
        )  # fmt: skip


def _interval(differences: Sequence[Floats], options: Options) -> tuple[float, float]:
    """Of the mean over pairs. Seeds differ: pairs with as many questions must not draw the same ones."""
    total = np.zeros(options.bootstrap)
    for number, own in enumerate(differences):
        total += resampled_means(own, samples=options.bootstrap, seed=options.seed + number)[:, 0]
    tails = [(1 - options.level) / 2, (1 + options.level) / 2]
    low, high = np.quantile(total / len(differences), tails)
    return float(low), float(high)
