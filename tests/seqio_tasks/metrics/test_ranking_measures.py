"""Ranking measures equal trec_eval (through pytrec_eval) and ir_measures on irregular runs."""

from __future__ import annotations

import math
import time

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from seqio_tasks.metrics.measures import parse_measure
from seqio_tasks.metrics.ranking import evaluate_run, ranking_order

CUTOFFS = (1, 3, 5, 10)
TREC = {f"nDCG@{k}": f"ndcg_cut_{k}" for k in CUTOFFS}
TREC |= {f"P@{k}": f"P_{k}" for k in CUTOFFS}
TREC |= {f"R@{k}": f"recall_{k}" for k in CUTOFFS}
TREC |= {f"Success@{k}": f"success_{k}" for k in CUTOFFS}
TREC |= {f"AP@{k}": f"map_cut_{k}" for k in CUTOFFS}
TREC |= {"nDCG": "ndcg", "AP": "map", "RR": "recip_rank", "Rprec": "Rprec", "NumRet": "num_ret"}

_documents = st.sampled_from([f"d{i}" for i in range(12)] + ["D1", "é", "d-1", "10", "9"])
# A coarse grid makes ties common; the tiny offsets tie as float32 but not as float64.
_scores = st.one_of(
    st.integers(-3, 3).map(float),
    st.integers(1, 3).map(lambda n: n + 1e-9),
    st.floats(-1e6, 1e6, allow_nan=False),
)
_query_ids = st.sampled_from(["q1", "q2", "q3", "q4"])
_qrels = st.dictionaries(
    _query_ids, st.dictionaries(_documents, st.integers(-2, 3), min_size=1, max_size=10), min_size=1
)
_runs = st.dictionaries(_query_ids, st.dictionaries(_documents, _scores, min_size=1, max_size=14))


def not_negative(qrels: dict) -> dict:
    """pytrec_eval writes outside its arrays on negative grades (it hangs or crashes after some thousand
    calls).

    In trec_eval's definitions they gain what grade 0 gains, so that is what the reference is given.
    """
    return {query: {doc: max(grade, 0) for doc, grade in judged.items()} for query, judged in qrels.items()}


def trec_eval(qrels: dict, run: dict, names: set[str], level: int = 1) -> dict[str, dict[str, float]]:
    qrels = not_negative(qrels)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, names, relevance_level=level)
    return evaluator.evaluate(run)


@settings(max_examples=300, deadline=None)
@given(_qrels, _runs)
def test_equal_to_trec_eval_on_tied_missing_graded_and_negative(qrels: dict, run: dict) -> None:
    result = evaluate_run(qrels, run, list(TREC))
    parameters = {
        f"{name}.{','.join(map(str, CUTOFFS))}" for name in ("ndcg_cut", "P", "recall", "success", "map_cut")
    }
    reference = trec_eval(qrels, run, parameters | {"ndcg", "map", "recip_rank", "Rprec", "num_ret"})
    for ours, theirs in TREC.items():
        for query in qrels:
            expected = reference[query][theirs] if query in run else 0.0
            assert result.per_query[ours][query] == pytest.approx(expected, abs=1e-6), (ours, query)
        total = np.sum if ours == "NumRet" else np.mean
        assert result.means[ours] == pytest.approx(total(list(result.per_query[ours].values())), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(_qrels, _runs, st.integers(1, 3))
def test_bpref_equals_trec_eval(qrels: dict, run: dict, level: int) -> None:
    """Negative grades are no judgments for bpref: the reference does not get them."""
    option = "" if level == 1 else f"(rel={level})"
    name = f"Bpref{option}"
    found = evaluate_run(qrels, run, [name]).per_query[name]
    judged = {query: {doc: g for doc, g in row.items() if g >= 0} for query, row in qrels.items()}
    reference = trec_eval({query: row for query, row in judged.items() if row}, run, {"bpref"}, level)
    for query in qrels:
        assert found[query] == pytest.approx(reference.get(query, {"bpref": 0.0})["bpref"], abs=1e-6)


def test_bpref_by_hand() -> None:
    """Two relevant, three not: 1 - 1/2 with one of these before it, then 1 - min(3, 2)/2."""
    qrels = {"q": {"a": 0, "b": 1, "c": 0, "d": 0, "e": 2}}
    run = {"q": {"x": 9.0, "a": 8.0, "b": 7.0, "y": 6.0, "c": 5.0, "d": 4.0, "e": 3.0}}
    assert evaluate_run(qrels, run, ["bpref"]).means == {"Bpref": 0.25}
    without_e = {"q": {document: score for document, score in run["q"].items() if document != "e"}}
    assert evaluate_run(qrels, without_e, ["bpref"]).means == {"Bpref": 0.25}  # 0 either way
    assert evaluate_run({"q": {"b": 1}}, run, ["bpref"]).means == {"Bpref": 1.0}  # none judged not relevant


def test_numbers_of_documents_are_summed() -> None:
    qrels = {"q1": {"a": 1, "b": 2, "c": 0}, "q2": {"a": 1}, "q3": {"a": 1}}
    run = {"q1": {"a": 1.0, "x": 2.0}, "q2": {"b": 1.0}}
    means = evaluate_run(qrels, run, ["num_ret", "num_rel", "NumRel(rel=2)"]).means
    assert means == {"NumRet": 3.0, "NumRel": 4.0, "NumRel(rel=2)": 1.0}


def test_minus_zero_ties_with_zero() -> None:
    run = {"q": {"a": 0.0, "b": -0.0, "c": -1e-46}}
    result = evaluate_run({"q": {"b": 1}}, run, ["RR"])
    assert result.means["RR"] == 0.5 and result.counts["documents_tied"] == 3
    assert ranking_order(run["q"]) == ["c", "b", "a"]


@settings(max_examples=150, deadline=None)
@given(_qrels, _runs, st.integers(1, 3))
def test_relevance_level_equals_trec_eval(qrels: dict, run: dict, level: int) -> None:
    option = "" if level == 1 else f"(rel={level})"
    result = evaluate_run(qrels, run, [f"AP{option}", f"RR{option}", f"P{option}@5", f"R{option}@5"])
    reference = trec_eval(qrels, run, {"map", "recip_rank", "P.5", "recall.5"}, level)
    for ours, theirs in (("AP", "map"), ("RR", "recip_rank"), ("P", "P_5"), ("R", "recall_5")):
        name = f"{ours}{option}" + ("@5" if ours in "PR" else "")
        for query in set(qrels) & set(run):
            assert result.per_query[name][query] == pytest.approx(reference[query][theirs], abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(_qrels, _runs)
def test_reciprocal_rank_with_cutoff_follows_the_same_order(qrels: dict, run: dict) -> None:
    result = evaluate_run(qrels, run, ["RR@3"])
    reference = trec_eval(qrels, run, {"recip_rank"})
    for query in set(qrels) & set(run):
        uncut = reference[query]["recip_rank"]
        assert result.per_query["RR@3"][query] == pytest.approx(uncut if uncut >= 1 / 3 else 0.0, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(_qrels, st.dictionaries(_query_ids, st.lists(_documents, unique=True, min_size=1)))
def test_equal_to_ir_measures_without_ties(qrels: dict, lists: dict) -> None:
    run = {query: {doc: float(len(docs) - i) for i, doc in enumerate(docs)} for query, docs in lists.items()}
    names = ["Rprec", "nDCG@5", "RR@3", "RR(rel=2)@3", "AP", "P@3", "R@3", "Success@3", "Judged@3",
             "Judged@10", "nDCG(judged_only=True)@3", "AP(judged_only=True)"]  # fmt: skip
    result = evaluate_run(qrels, run, names)
    measures = [ir_measures.parse_measure(name) for name in names]
    expected = {name: dict.fromkeys(qrels, 0.0) for name in names}
    # judged_only drops negative grades: the reference gets them as documents without a judgment.
    without = {q: {doc: grade for doc, grade in judged.items() if grade >= 0} for q, judged in qrels.items()}
    dropping = [measure for name, measure in zip(names, measures, strict=True) if "judged_only" in name]
    others = [measure for measure in measures if measure not in dropping]
    calculated = [
        *ir_measures.iter_calc(others, not_negative(qrels), run),
        *ir_measures.iter_calc(dropping, without, run),
    ]
    for value in calculated:
        if value.query_id in qrels:
            expected[names[measures.index(value.measure)]][value.query_id] = value.value
    for name in names:
        assert result.per_query[str(parse_measure(name))] == pytest.approx(expected[name], abs=1e-6), name


def test_ties_fall_by_document_id_descending_after_float32() -> None:
    assert ranking_order({"a": 1.0, "b": 1.00000001, "c": 0.5}) == ["b", "a", "c"]
    result = evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.00000001, "b": 1.0}}, ["RR"])
    assert result.means["RR"] == 0.5
    assert result.counts["documents_tied"] == 2


def test_negative_judgments_by_hand() -> None:
    """Values that trec_eval itself gives for this case (computed once, in a process of its own)."""
    qrels = {"q": {"a": -1, "b": 0, "c": 2, "d": -3, "e": 1}}
    run = {"q": {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "x": 1.0}}
    means = evaluate_run(qrels, run, ["AP", "RR", "P@5", "R@5", "nDCG@5", "Success@1", "Judged@5"]).means
    expected = {"AP": 1 / 6, "RR": 1 / 3, "P@5": 0.2, "R@5": 0.5, "nDCG@5": 0.38009376671593426,
                "Success@1": 0.0, "Judged@5": 0.8}  # fmt: skip
    assert means == pytest.approx(expected, abs=1e-9)


def test_exponential_gain_by_hand() -> None:
    result = evaluate_run({"q": {"a": 1, "b": 2}}, {"q": {"a": 2.0, "b": 1.0}}, ["nDCG(dcg='exp-log2')@10"])
    ideal = 3.0 + 1.0 / math.log2(3)
    assert result.means["nDCG(dcg='exp-log2')@10"] == pytest.approx((1.0 + 3.0 / math.log2(3)) / ideal)


def test_every_judged_query_counts_and_irregularities_are_reported() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}}
    result = evaluate_run(qrels, {"q1": {"a": 1.0}, "q3": {"a": 1.0}, "q9": {"a": 1.0}}, ["RR@10"])
    assert result.means["RR@10"] == pytest.approx(1 / 3)
    assert result.counts == {
        "queries": 3, "queries_missing": 1, "queries_unjudged": 1, "documents": 2, "documents_tied": 0,
        "queries_without_relevant": 1,
    }  # fmt: skip


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_scores_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    with pytest.raises(ValueError, match="query 'q', document 'b'"):
        evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0, "b": bad}}, ["RR"])


def test_numpy_scores_are_accepted() -> None:
    scores = {"a": np.float32(2.0), "b": np.float32(1.0)}
    assert evaluate_run({"q": {"b": 1}}, {"q": scores}, ["RR"]).means["RR"] == 0.5


@pytest.mark.parametrize(
    "spelling, canonical",
    [
        ("nDCG@10", "nDCG@10"), ("NDCG@10", "nDCG@10"), ("ndcg_cut_10", "nDCG@10"), ("ndcg_cut.10",
        "nDCG@10"), ("ndcg", "nDCG"), ("MRR@10", "RR@10"), ("recip_rank", "RR"), ("MAP", "AP"),
        ("map_cut_100", "AP@100"), ("P_5", "P@5"), ("Recall@100", "R@100"), ("recall_1000", "R@1000"),
        ("success_1", "Success@1"), ("Judged@10", "Judged@10"), ("bpref", "Bpref"),
        ("Bpref(rel=2)", "Bpref(rel=2)"), ("R-prec", "Rprec"), ("num_ret", "NumRet"),
        ("AP(rel=2)", "AP(rel=2)"),
        ("nDCG(judged_only=True)@10", "nDCG(judged_only=True)@10"),
        ("nDCG(dcg='exp-log2')@10", "nDCG(dcg='exp-log2')@10"),
    ],
)  # fmt: skip
def test_spellings(spelling: str, canonical: str) -> None:
    assert str(parse_measure(spelling)) == canonical
    assert parse_measure(canonical) == parse_measure(spelling)


@pytest.mark.parametrize(
    "bad",
    [
        "nDGC@10",
        "P",
        "R",
        "nDCG@0",
        "RR(rel=0)",
        "AP(gains=2)",
        "",
        "Judged(rel=2)@5",
        "Bpref@10",
        "num_ret_10",
        "NumRet(rel=1)",
        "Bpref(judged_only=True)",
    ],
)
def test_unknown_measures_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="measure"):
        parse_measure(bad)


def test_empty_judgments_are_refused() -> None:
    with pytest.raises(ValueError, match="qrels are empty"):
        evaluate_run({}, {"q": {"a": 1.0}}, ["RR"])


def test_ten_thousand_queries_are_evaluated_quickly() -> None:
    rng = np.random.default_rng(0)
    run = {f"q{i}": {f"d{j}": s for j, s in enumerate(rng.random(100).tolist())} for i in range(2000)}
    qrels = {f"q{i}": {f"d{j}": int(j % 3) for j in range(0, 100, 7)} for i in range(2000)}
    start = time.process_time()
    evaluate_run(qrels, run, ["nDCG@10", "RR@10", "R@100", "AP"])
    assert time.process_time() - start < 1.0  # 0.03 s on an idle core


def test_judged_only_drops_negative_grades_as_trec_eval_does() -> None:
    names = ["nDCG(judged_only=True)", "AP(judged_only=True)", "RR(judged_only=True)",
             "P(judged_only=True)@1", "Success(judged_only=True)@1"]  # fmt: skip
    run = {"q": {"spam": 3.0, "unjudged": 2.0, "good": 1.0}}
    ours = evaluate_run({"q": {"spam": -2, "good": 1}}, run, names).means
    assert set(ours.values()) == {1.0}
    qrels = {"q": {"spam": -2, "good": 1, "bad": 0}}
    run["q"] |= {"bad": 1.5}
    assert evaluate_run(qrels, run, ["RR(judged_only=True)"]).means == {"RR(judged_only=True)": 0.5}
    # pytrec_eval cannot take negative grades; without a judgment, the document is dropped all the same.
    judged = {"q": {"good": 1, "bad": 0}}
    reference = pytrec_eval.RelevanceEvaluator(judged, {"map", "recip_rank"}, judged_docs_only_flag=True)
    theirs = reference.evaluate(run)["q"]
    ours = evaluate_run(qrels, run, [f"{name}(judged_only=True)" for name in ("AP", "RR")]).means
    assert list(ours.values()) == pytest.approx([theirs["map"], theirs["recip_rank"]])
