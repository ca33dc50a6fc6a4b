"""Averages over tasks, groups and domains, by hand."""

import numpy as np
import pytest

from inters_jax.evaluation import averages


def test_averages_take_one_headline_per_dataset_in_per_cent():
    metrics = {
        "inters_query_expansion_gov2": {"bleu_1": 90.0, "rouge_l": 20.0},
        "inters_query_expansion_fire": {"rouge_l": 40.0},
        "inters_query_matching_msrp_choices": {"accuracy": 60.0, "macro_f1": 1.0},
        "inters_query_matching_msrp": {"accuracy": 10.0},  # label scoring is the judged form
        "inters_fact_retrieval_climate_fever_rerank": {"nDCG@10": 0.5},  # held out by the paper
        "inters_query_expansion_gov2_5shot": {"rouge_l": 30.0},
        "a_strangers_task": {"accuracy": 100.0},
    }
    found = {(a.setting, a.level, a.name): a for a in averages.averages(metrics)}
    expansion = found["zero-shot", "task", "query_expansion"]
    assert expansion.value == pytest.approx(30.0) and (expansion.judged, expansion.pairs) == (2, 7)
    assert found["zero-shot", "group", "query_understanding"].value == pytest.approx((20 + 40 + 60) / 3)
    assert found["zero-shot", "hold-out", "the seven held-out datasets"].value == pytest.approx(50.0)
    assert found["zero-shot", "hold-out", "other datasets"].judged == 3
    assert found["zero-shot", "all", "all pairs"].value == pytest.approx((20 + 40 + 60 + 50) / 4)
    assert found["5shot", "task", "query_expansion"].value == pytest.approx(30.0)


def test_the_in_domain_averages_of_the_paper_are_over_all_pairs():
    metrics = {
        "inters_summarization_xsum": {"rouge_l": 50.0},
        "inters_summarization_cnn_dm": {"rouge_l": 10.0},
    }
    assert averages.in_domain_groups(metrics) == {"document_understanding": pytest.approx(30.0)}


SMALL, LARGE = "inters_argument_retrieval_touche_rerank", "inters_fact_retrieval_fever_rerank"
METRICS = {SMALL: {"nDCG@10": 1.0}, LARGE: {"nDCG@10": 0.5}}
COUNTS = {SMALL: {"queries": 4, "questions": 400}, LARGE: {"queries": 396, "questions": 39_600}}


def of_group(**more):
    (found,) = (one for one in averages.averages(METRICS, **more) if one.level == "group")
    return found


def test_an_average_by_question_weights_a_test_set_by_its_size():
    found = of_group(counts=COUNTS)
    assert found.value == pytest.approx(75.0) and found.questions == 400
    assert found.by_question == pytest.approx(50.5)
    assert of_group(counts={SMALL: COUNTS[SMALL]}).by_question is None  # one size is unknown


def test_the_interval_of_an_average_resamples_the_questions_of_every_pair():
    # Of four queries with 0 or 200 the mean has a standard deviation of 50, of the others it is known.
    values = {SMALL: np.array([0.0, 0.0, 200.0, 200.0]), LARGE: np.full(396, 50.0)}
    found = of_group(counts=COUNTS, values=values)
    low, high = found.interval
    assert low == pytest.approx(25.0) and high == pytest.approx(125.0)  # half of 0 and half of 200, plus 25
    low, high = found.by_question_interval
    assert low == pytest.approx(49.5) and high == pytest.approx(51.5)
    assert of_group(counts=COUNTS, values={SMALL: values[SMALL]}).interval is None


def test_pairs_of_one_size_are_resampled_independently():
    values = {SMALL: np.arange(200.0), LARGE: -np.arange(200.0)}
    low, high = of_group(counts=COUNTS, values=values).interval
    assert high - low > 8  # with the same draws the two would cancel out


def test_the_figures_of_the_paper_have_all_three_groups():
    for before_after in averages.PUBLISHED.values():
        assert len(before_after) == len(averages.GROUP_TITLES) == 3
