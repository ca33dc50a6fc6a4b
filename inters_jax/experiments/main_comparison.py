"""Compare experiments with the main one, which raises two different questions.

* `intervals`: would other seeds and items show the difference too? 95 % intervals over seeds and items
  (`inters_jax.evaluation.multi_bootstrap`).
* `tests`: do these trained models differ? Two-sided paired permutation tests over items, whose values are
  averaged over the seeds first; Holm's correction over all tests of the sweep. They ignore the spread over
  seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from inters_jax.evaluation.comparison import Options, PairTest, Values, compare_values
from inters_jax.evaluation.multi_bootstrap import Interval, multi_bootstrap
from inters_jax.evaluation.significance import Floats
from inters_jax.experiments.results import Results


def tests(
    results: Mapping[str, Results], main: str, options: Options | None = None
) -> dict[tuple[str, str], PairTest]:
    """Test every pair of every experiment against the main experiment.

    Returns:
      (experiment, pair) -> test, for the pairs that both were judged on with the same items.
    """
    if main not in results:
        return {}
    keys, values = [], []
    for name, own in results.items():
        for pair in own.items:
            if name == main or pair not in results[main].items:
                continue
            one, other = _over_seeds(results[main].items[pair]), _over_seeds(own.items[pair])
            if one and one.keys() == other.keys():
                keys.append((name, pair))
                values.append(Values(f"{name}: {pair}", {"headline": {main: one, name: other}}))
    if not values:
        return {}
    compared = compare_values(values, options or Options(samples=10_000, bootstrap=1_000))
    return dict(zip(keys, (table.tests[0] for table in compared.tables), strict=True))


def _over_seeds(items: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """item -> mean over the seeds; {} when the seeds have different items."""
    first = next(iter(items.values()))
    if any(own.keys() != first.keys() for own in items.values()):
        return {}
    return {item: statistics.fmean(own[item] for own in items.values()) for item in first}


def intervals(
    results: Mapping[str, Results], main: str, names: Mapping[str, Sequence[str]]
) -> dict[str, Interval]:
    """The interval of the difference between experiments and the main one.

    Args:
      results: by experiment.
      main: name of the main experiment.
      names: experiment -> the pairs to take the mean over. Pairs without values per item, or with other
        items than the main experiment, are left out.

    Returns:
      experiment -> interval; without the experiments that have no pair left.
    """
    made = {}
    for name, pairs in names.items():
        own, theirs = results[name], results[main]
        kept = [
            (_matrix(theirs, pair), _matrix(own, pair)) for pair in pairs if _same_items(theirs, own, pair)
        ]
        if not kept or len({one.shape[0] for one, _ in kept}) > 1 or len({o.shape[0] for _, o in kept}) > 1:
            continue
        one, other = zip(*kept, strict=True)
        paired = own.experiment.model_of == main and one[0].shape[0] == other[0].shape[0]
        made[name] = multi_bootstrap(one, other, paired_seeds=paired)
    return made


def _same_items(one: Results, other: Results, pair: str) -> bool:
    """Whether all seeds of both have the same items."""
    keys = [items.keys() for own in (one, other) for items in own.items.get(pair, {}).values()]
    both = one.items.get(pair) and other.items.get(pair)
    return bool(both) and all(items == keys[0] for items in keys)


def _matrix(own: Results, pair: str) -> Floats:
    """float64 [seeds, items], sorted by seed and by item."""
    rows = own.items[pair]
    return np.array([[rows[seed][item] for item in sorted(rows[seed])] for seed in sorted(rows)], np.float64)
