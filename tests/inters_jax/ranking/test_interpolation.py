"""Interpolation with the first stage: the formula by hand, the choice of a weight, and what is refused."""

import json

import numpy as np
import pytest

from inters_jax.evaluation import verify
from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.candidates import Candidates
from inters_jax.ranking.collection import Collection
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.interpolation import WEIGHTS, best_weight, interpolate
from inters_jax.ranking.methods import make_method
from inters_jax.ranking.questions import Document
from inters_jax.ranking.reranking import rerank_candidates, write_results
from inters_jax.ranking.tuned_weight import CrossValidation, Interpolation, read_tuning
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.metrics.trec_files import read_run

BM25 = {"q": {"a": 9.0, "b": 8.0, "c": 5.0}}
MODEL = {"q": {"a": -1.0, "b": 3.0, "c": 1.0}}


def test_scores_are_scaled_to_their_range_and_weighted():
    # (9-5)/4, (8-5)/4, 0 and 0, (3+1)/4, (1+1)/4: PyTerrier's PerQueryMaxMinScore and ranx's min_max_norm.
    [found] = interpolate(MODEL, BM25, 0.3).values()
    expected = {"b": 0.3 * 1 + 0.7 * 0.75, "a": 0.7 * 1, "c": 0.3 * 0.5}
    assert list(found) == list(expected) and found == pytest.approx(expected)


def test_ranks_are_fused_by_their_reciprocals():
    [found] = interpolate(MODEL, BM25, 0.25, by_rank=True).values()
    first, second, third = (1 / (60 + rank) for rank in (1, 2, 3))
    half = (second - third) / (first - third)
    expected = {"a": 0.75, "b": 0.25 + 0.75 * half, "c": 0.25 * half}
    assert found == pytest.approx(expected)
    other = {"q": {"a": 0.0, "b": 700.0, "c": 0.5}}  # only the order counts
    assert interpolate(other, BM25, 0.25, by_rank=True) == {"q": found}


@pytest.mark.parametrize("by_rank", [False, True])
def test_the_ends_are_the_orders_of_the_two_runs(by_rank):
    random = np.random.default_rng(0)
    names = [f"d{n}" for n in range(30)]
    first = {"q": dict(zip(names, np.sort(random.normal(size=30))[::-1].tolist(), strict=True))}
    model = {"q": dict(zip(names, random.normal(size=30).tolist(), strict=True))}
    assert list(interpolate(model, first, 0, by_rank=by_rank)["q"]) == names
    assert list(interpolate(model, first, 1, by_rank=by_rank)["q"]) == sorted(
        names, key=lambda name: -model["q"][name]
    )


def test_equal_scores_count_nothing_and_ties_keep_the_first_stage_order():
    equal = {"q": dict.fromkeys("abc", 2.0)}
    assert list(interpolate(equal, BM25, 0.9)["q"]) == ["a", "b", "c"]
    assert interpolate(equal, BM25, 1)["q"] == dict.fromkeys("abc", 0.0)
    assert interpolate({"q": {"x": 5.0}}, {"q": {"x": 1.0}}, 0.5) == {"q": {"x": 0.0}}
    # b and c are tied: 1 * .5 of the first stage, and 1 * .5 of the model.
    tied = interpolate({"q": {"a": 1.0, "b": 1.0, "c": 3.0}}, {"q": {"a": 1.0, "b": 3.0, "c": 1.0}}, 0.5)
    assert list(tied["q"].items()) == [("b", 0.5), ("c", 0.5), ("a", 0.0)]


def test_a_document_or_query_that_a_run_lacks_counts_zero_there():
    found = interpolate({"q": {"c": 2.0, "x": 4.0}, "p": {"y": 1.0, "z": 2.0}}, BM25, 0.5)
    assert found["q"] == {"a": 0.5, "x": 0.5, "b": 0.375, "c": 0.0} and next(iter(found["q"])) == "a"
    assert found["p"] == {"z": 0.5, "y": 0.0}


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_a_weight_is_between_0_and_1(weight):
    with pytest.raises(RerankError, match=f"the weight of the model is {weight}; it must be from 0 to 1"):
        interpolate(MODEL, BM25, weight)


def test_the_best_weight_is_the_smallest_of_the_best():
    # b passes a when w + .75 (1 - w) > 1 - w, that is from w = .2 on, where a first-stage tie still wins.
    weight, means = best_weight(MODEL, BM25, {"q": {"b": 1}}, "RR@10")
    assert weight == 0.25 and list(means) == list(WEIGHTS) and means[0.2] == 0.5 and means[0.25] == 1
    assert best_weight(MODEL, BM25, {"q": {"a": 1}}, "RR@10")[0] == 0
    # The means are those of the run as it would be written.
    for tried in (0.1, 0.6):
        run = interpolate(MODEL, BM25, tried)
        assert means[tried] == evaluate_run({"q": {"b": 1}}, run, ["RR@10"]).means["RR@10"]


TEXTS = {f"d{n}": Document("", f"text {n}", f"d{n}") for n in range(4)}
QRELS = {"q1": {"d2": 1}, "q2": {"d1": 1}, "q3": {"d3": 1}}


def rank(folder, queries, method="pointwise", weight=None, relevance=None, **manifest):
    """A reranking of some queries with four candidates each, as the command writes it."""
    qrels = None if manifest.get("split") is None else {query: QRELS[query] for query in queries}
    data = Collection("c", "c", {q: q for q in queries}, TEXTS, qrels, tuple(queries))
    scores = dict.fromkeys(queries, (8.0, 7.0, 5.0, 4.0))
    candidates = Candidates(dict.fromkeys(queries, tuple(TEXTS)), scores, 4, "bm25", "f")
    made = make_method(method)
    told = {"command": "rerank", "collection": "c", "method": method, "options": dict(vars(made))}
    told |= {"first_stage": "bm25", "depth": 4, "model_fingerprint": "m", "wording": "w"}
    backend = FunctionBackend(relevance or (lambda query, document: int(document.doc_id in QRELS[query])))
    result = rerank_candidates(
        data, candidates, made, backend, folder, told | manifest, measures=["nDCG@10"], interpolation=weight
    )
    write_results(folder, result)
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(("method", "of"), [("pointwise", "scores, min-max"), ("listwise", "ranks, 1 / (60")])
def test_an_interpolated_run_is_written_measured_and_tested_against_both(tmp_path, method, of):
    def never(query, document):
        raise AssertionError("nothing is ranked again")

    first = rank(tmp_path, ["q1", "q2"], method, split="test")
    assert "interpolation" not in first and not (tmp_path / "interpolated.trec").exists()
    result = rank(tmp_path, ["q1", "q2"], method, Interpolation(0.0), never, split="test")
    assert result["metrics"]["interpolated"] == result["metrics"]["first stage"]
    result = rank(tmp_path, ["q1", "q2"], method, Interpolation(1.0), never, split="test")
    assert result["metrics"]["interpolated"] == result["metrics"]["reranked"] == {"nDCG@10": 1.0}
    assert result["interpolation"]["weight"] == 1 and result["interpolation"]["of"].startswith(of)
    assert result["counts"]["queries resumed"] == 2
    runs = [read_run(tmp_path / f"{name}.trec") for name in ("reranked", "interpolated")]
    assert list(runs[0]["q1"]) == list(runs[1]["q1"])
    tables = (tmp_path / "results.md").read_text()
    for pair in ("first stage → reranked", "first stage → interpolated", "reranked → interpolated"):
        assert pair in tables and pair in (tmp_path / "report.html").read_text()
    assert "1 · model + 0 · first stage" in tables and "The weight was given." in tables
    assert verify.verify(tmp_path) == {
        "files": 5,
        "figures": 3 + sum(map(len, result["paper_metrics"].values())),
    }
    # Without the setting the run of an earlier weight does not stay.
    assert "interpolated" not in rank(tmp_path, ["q1", "q2"], method, split="test")["metrics"]
    assert not (tmp_path / "interpolated.trec").exists()


def test_a_weight_is_chosen_on_the_queries_of_another_reranking(tmp_path):
    # Of the validation queries the model knows q3 and is wrong about q2, which BM25 has on rank 2.
    def relevance(query, document):
        return {"d3": 5.0, "d2": 1.0}.get(document.doc_id, 0.0)

    rank(tmp_path / "dev", ["q2", "q3"], relevance=relevance, split="dev")
    tuning = read_tuning(tmp_path / "dev")
    assert list(tuning.model["q3"].values()) == [0.0, 0.0, 1.0, 5.0]
    tuning.check({"method": "pointwise", "split": "test", "wording": "w"})
    tuning.refuse_queries("c", ["q1"])
    tuning.refuse_queries("another", ["q2"])
    chosen = tuning.best("nDCG@10", by_rank=False)
    # By hand, 1 / log2(1 + rank): d1 of q2 is second until d3 passes it (w > 3/7), then third; d3 of q3 is
    # last until it passes d2 (w > 1/6), d1 and last d0 (w > 1/2).
    at = [1 / np.log2(1 + place) for place in range(1, 5)]
    means = chosen.chosen_on["weights"]
    assert means["0.00"] == pytest.approx((at[1] + at[3]) / 2) and means["0.45"] == pytest.approx(
        (at[2] + at[1]) / 2
    )
    assert means["0.55"] == pytest.approx((at[2] + at[0]) / 2) and chosen.weight == 0.55
    told = rank(tmp_path / "test", ["q1"], weight=chosen, split="test")["interpolation"]
    assert told["weight"] == 0.55 and told["chosen_on"]["split"] == "dev"
    assert told["chosen_on"]["folder"] == str(tmp_path / "dev") and told["chosen_on"]["queries"] == 2
    page, tables = (tmp_path / "test" / name for name in ("report.html", "results.md"))
    for text in (page.read_text(), tables.read_text()):
        assert (
            "Weights on c, split dev" in text and "the best of 21 by nDCG@10 on the 2 judged queries" in text
        )


def test_cross_validation_gives_each_half_the_best_weight_of_the_other(tmp_path):
    # q1 and q3 are one half, q2 is the other. The model is right about q1 and q3 alone.
    def relevance(query, document):
        return float(document.doc_id in QRELS[query]) if query != "q2" else float(document.doc_id == "d3")

    crossed = CrossValidation("nDCG@10")
    result = rank(tmp_path, ["q1", "q2", "q3"], weight=crossed, relevance=relevance, split="t")
    first, second = result["interpolation"]["halves"]
    # For q2, which BM25 has on rank 2, any weight of the model does harm at last: the smallest is chosen.
    assert first["weight"] == 0 and first["queries"] == 2 and first["judged queries of the other half"] == 1
    assert second["weight"] == best_weight(
        *(read_run(tmp_path / f"{name}.trec") for name in ("reranked", "first_stage")),
        {query: QRELS[query] for query in ("q1", "q3")}, "nDCG@10",
    )[0] > 0  # fmt: skip
    runs = {name: read_run(tmp_path / f"{name}.trec") for name in ("first_stage", "reranked", "interpolated")}
    assert list(runs["interpolated"]["q1"]) == list(runs["first_stage"]["q1"])
    assert list(runs["interpolated"]["q2"]) == list(
        interpolate(runs["reranked"], runs["first_stage"], second["weight"])["q2"]
    )
    assert list(runs["interpolated"]) == ["q1", "q2", "q3"]
    assert "two-fold cross-validation" in (tmp_path / "results.md").read_text()
    with pytest.raises(RerankError, match="needs judged queries in both halves of the 2 queries"):
        rank(tmp_path / "unjudged", ["q1", "q2"], weight=crossed)


def test_what_no_weight_can_be_chosen_on_is_refused(tmp_path):
    rank(tmp_path / "dev", ["q2", "q3"], split="dev")
    tuning = read_tuning(tmp_path / "dev")
    for other in ({"method": "listwise"}, {"model_fingerprint": "n"}, {"wording": "v"}, {"depth": 9}):
        [(name, value)] = other.items()
        with pytest.raises(
            RerankError, match=f"dev {name} is .* and in this run {value!r}; rerank the valid"
        ):
            tuning.check(other)
    with pytest.raises(RerankError, match="ranks 1 queries that this run ranks as well, the first is 'q3'"):
        tuning.refuse_queries("c", ["q1", "q3"])
    (tmp_path / "dev" / "scores.jsonl").unlink()
    with pytest.raises(RerankError, match=r"INTERPOLATION: .*scores\.jsonl: missing.*; run rerank again"):
        read_tuning(tmp_path / "dev")
    with pytest.raises(RerankError, match=r"INTERPOLATION: .*none: no such file"):
        read_tuning(tmp_path / "none")
    rank(tmp_path / "unjudged", ["q2"], split=None)
    with pytest.raises(RerankError, match="unjudged was reranked without judgments"):
        read_tuning(tmp_path / "unjudged")
    rank(tmp_path / "evaluation", ["q2"], split="dev", command="evaluate")
    with pytest.raises(RerankError, match="evaluation is not the OUTPUT_DIR of rerank"):
        read_tuning(tmp_path / "evaluation")
