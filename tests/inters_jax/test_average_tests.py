"""Averages over pairs compared between evaluations, by values worked out by hand."""

import dataclasses
import itertools

import numpy as np
import pytest

from inters_jax.evaluation.average_tests import average_tests
from inters_jax.evaluation.comparison import Options, Values, compare_values
from inters_jax.reports import comparison_page

GECOR, CAST = "inters_query_reformulation_gecor", "inters_query_reformulation_trec_cast"
SCIFACT = "inters_fact_retrieval_scifact_rerank"


def table(task, differences, measure="rouge_l", start=5.0):
    one = {f"q{n}": start for n in range(len(differences))}
    other = {f"q{n}": start + change for n, change in enumerate(differences)}
    return Values(task, {measure: {"one": one, "other": other}})


def compared(*tables, **options):
    comparison = compare_values(tables, Options(bootstrap=4000, **options))
    return {test.name: test for test in average_tests(comparison)}


def test_every_pair_has_the_same_weight():
    found = compared(table(GECOR, [10.0, 30.0]), table(CAST, [0.0, 0.0, 10.0, -2.0]))
    assert set(found) == {"all pairs", "query_understanding", "other datasets"}
    test = found["query_understanding"]
    assert (test.setting, test.pairs, test.questions, test.one, test.other) == (
        "zero-shot",
        2,
        6,
        "one",
        "other",
    )
    assert test.difference == pytest.approx(11.0)
    assert (test.before, test.after) == pytest.approx((5.0, 16.0))
    assert (test.wins, test.ties, test.losses) == (3, 2, 1)


def test_the_p_value_is_that_of_all_assignments_of_signs():
    first, second = [10.0, 30.0], [1.0, -4.0, 10.0, -2.0]
    test = compared(table(GECOR, first), table(CAST, second))["all pairs"]
    means = [
        np.mean([np.mean(np.multiply(signs[:2], first)), np.mean(np.multiply(signs[2:], second))])
        for signs in itertools.product((1, -1), repeat=6)
    ]
    reached = np.abs(means) >= abs(means[0]) - 1e-9
    assert test.p_value == pytest.approx(reached.mean())
    assert test.p_adjusted == pytest.approx(min(1.0, 3 * reached.mean()))  # three averages of the same pairs


def test_questions_are_resampled_within_their_pair():
    # Resampled over the pairs, the interval would reach from 2 to 20.
    test = compared(table(GECOR, [20.0] * 3), table(CAST, [2.0] * 3))["all pairs"]
    assert (test.low, test.high) == pytest.approx((11.0, 11.0))
    # Two draws from {10, 30} have the mean 10, 20 or 30 (chances 1/4, 1/2, 1/4); of the other pair always 2.
    test = compared(table(GECOR, [10.0, 30.0]), table(CAST, [2.0] * 3))["all pairs"]
    assert (test.low, test.high) == pytest.approx((6.0, 16.0))
    # At a level of 40 % the outer outcomes are cut off.
    test = compared(table(GECOR, [10.0, 30.0]), table(CAST, [2.0] * 3), level=0.4)["all pairs"]
    assert (test.low, test.high) == pytest.approx((11.0, 11.0))


def test_ranking_measures_are_in_per_cent_and_forms_made_for_judging_count():
    msrp = "inters_query_matching_msrp"
    found = compared(
        table(msrp, [100.0], "accuracy", start=0.0),
        table(f"{msrp}_choices", [50.0, 50.0], "accuracy", start=0.0),
        table(SCIFACT, [0.25, 0.75], "nDCG@10", start=0.0),
        table(f"{GECOR}_5shot", [1.0]),
    )
    assert set(found) == {"all pairs", "other datasets"}  # one pair of each group; one with demonstrations
    assert found["all pairs"].after == pytest.approx(50.0) and found["all pairs"].questions == 4


def test_averages_stand_first_in_the_report():
    comparison = compare_values([table(GECOR, [10.0, 30.0]), table(CAST, [1.0, 2.0])])
    assert not comparison_page.tables(comparison)[0].title.startswith("Averages")
    comparison = dataclasses.replace(comparison, averages=average_tests(comparison))
    means, differences = comparison_page.tables(comparison)[:2]
    assert means.rows[1] == ["query understanding (2 pairs)", "5.00", "15.75"]
    assert differences.rows[1][:4] == [
        "one → other", "query understanding (2 pairs)", "+10.7500", "+5.5000 to +16.0000",
    ]  # fmt: skip
    text = comparison_page.page(comparison, title="t", eyebrow="", facts={}, made_by="test")
    assert text.index("+10.7500") < text.index("+20.0000")
