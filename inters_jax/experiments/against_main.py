"""Experiments held against the main one: two questions, two answers.

* intervals: would other seeds and other items show the difference too? 95 % intervals over seeds and items
  (`inters_jax.evaluation.multi_bootstrap`).
* tests: do *these* models differ? Two-sided paired permutation tests over items, whose values are averaged
  over the seeds first; Holm's correction over all tests of the sweep. The spread over seeds is no part of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from inters_jax.evaluation.comparison import Options, PairTest, Values, compare_values
from inters_jax.evaluation.multi_bootstrap import Interval, multi_bootstrap
from inters_jax.evaluation.significance import Floats
from inters_jax.experiments.results import Found


def tests(
    found: Mapping[str, Found], main: str, options: Options | None = None
) -> dict[tuple[str, str], PairTest]:
    """(experiment, pair) -> its test against the main experiment, on the items that both were asked."""
    if main not in found:
        return {}
    keys, values = [], []
    for name, own in found.items():
        for pair in own.items:
            if name == main or pair not in found[main].items:
                continue
            one, other = _over_seeds(found[main].items[pair]), _over_seeds(own.items[pair])
            if one and one.keys() == other.keys():
                keys.append((name, pair))
                values.append(Values(f"{name}: {pair}", {"headline": {main: one, name: other}}))
    if not values:
        return {}
    compared = compare_values(values, options or Options(samples=10_000, bootstrap=1_000))
    return dict(zip(keys, (table.tests[0] for table in compared.tables), strict=True))


def _over_seeds(items: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """item -> mean over the seeds; {} when the seeds were not asked the same."""
    first = next(iter(items.values()))
    if any(own.keys() != first.keys() for own in items.values()):
        return {}
    return {item: statistics.fmean(own[item] for own in items.values()) for item in first}


def intervals(
    found: Mapping[str, Found], main: str, names: Mapping[str, Sequence[str]]
) -> dict[str, Interval]:
    """experiment -> the interval of its difference to the main one, over the pairs that are named for it.

    Pairs without values per item, or with other items, are left out; an experiment without a pair has none.
    """
    made = {}
    for name, pairs in names.items():
        own, theirs = found[name], found[main]
        kept = [
            (_matrix(theirs, pair), _matrix(own, pair)) for pair in pairs if _same_items(theirs, own, pair)
        ]
        if not kept or len({one.shape[0] for one, _ in kept}) > 1 or len({o.shape[0] for _, o in kept}) > 1:
            continue
        one, other = zip(*kept, strict=True)
        paired = own.experiment.model_of == main and one[0].shape[0] == other[0].shape[0]
        made[name] = multi_bootstrap(one, other, paired_seeds=paired)
    return made


def _same_items(one: Found, other: Found, pair: str) -> bool:
    """Whether all seeds of both were asked the same items."""
    asked = [items.keys() for own in (one, other) for items in own.items.get(pair, {}).values()]
    both = one.items.get(pair) and other.items.get(pair)
    return bool(both) and all(items == asked[0] for items in asked)


def _matrix(own: Found, pair: str) -> Floats:
    """float64 [seeds, items], in the order of seeds and of the items' names."""
    rows = own.items[pair]
    return np.array([[rows[seed][item] for item in sorted(rows[seed])] for seed in sorted(rows)], np.float64)
