"""Averages over tasks, groups and domains, by hand."""

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
    assert found["zero-shot", "domain", "out of domain"].value == pytest.approx(50.0)
    assert found["zero-shot", "domain", "in domain"].judged == 3
    assert found["5shot", "task", "query_expansion"].value == pytest.approx(30.0)


def test_the_group_averages_beside_the_paper_leave_held_out_datasets_out():
    metrics = {
        "inters_fact_retrieval_climate_fever_rerank": {"nDCG@10": 0.1},
        "inters_fact_retrieval_scifact_rerank": {"nDCG@10": 0.7},
    }
    assert averages.in_domain_groups(metrics) == {"query_document": pytest.approx(70.0)}


def test_the_figures_of_the_paper_have_all_three_groups():
    for before_after in averages.PUBLISHED.values():
        assert len(before_after) == len(averages.GROUP_TITLES) == 3
