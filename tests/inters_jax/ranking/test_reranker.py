"""Reranking from Python: inputs of every form, ties, batches, errors; and a PyTerrier pipeline."""

import numpy as np
import pytest

from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods import METHODS, make_method
from inters_jax.ranking.reranker import Document, Reranker, ranking_pair
from inters_jax.settings.judging import MethodOptions


def by_length(query, document):
    return float(len(document.text) + 10 * len(document.title))


@pytest.fixture
def ranker():
    return Reranker(FunctionBackend(by_length), make_method("pointwise"))


def test_documents_may_be_texts_objects_or_mappings(ranker):
    results = ranker.rank("q", ["four", Document("sixsix", "own"), {"text": "a", "title": "title"}])
    assert [result.doc_id for result in results] == [2, "own", 0]
    assert [result.rank for result in results] == [1, 2, 3]
    assert results.get_score_by_docid("own") == 6.0 and results.top_k(1)[0].text == "a"
    with pytest.raises(KeyError, match="no document 'none' among 3"):
        results.get_result_by_docid("none")


def test_ids_and_metadata_come_back_with_their_documents(ranker):
    results = ranker.rank("q", ["a", "bbb"], doc_ids=["x", "y"], metadata=[{"n": 1}, {"n": 2}])
    assert [(r.doc_id, r.document.metadata["n"]) for r in results] == [("y", 2), ("x", 1)]


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_each_query_gives_alone(method):
    ranker = Reranker(FunctionBackend(by_length), make_method(method))
    docs = [["a" * (n * k % 11 + 1) for k in range(2, 9)] for n in range(1, 5)]
    queries = [f"q{n}" for n in range(4)]
    together = ranker.rank_batch(queries, docs)
    for query, own, found in zip(queries, docs, together, strict=True):
        alone = ranker.rank(query, own)
        assert [r.doc_id for r in found] == [r.doc_id for r in alone]
        assert found[0].text == max(own, key=len)
        assert all(np.diff([r.score for r in found]) <= 0)


def test_equal_scores_keep_the_given_order_and_no_documents_give_no_results(ranker):
    assert [r.text for r in ranker.rank("q", ["bb", "a", "cc"])] == ["bb", "cc", "a"]
    assert len(ranker.rank("q", [])) == 0


def test_wrong_inputs_say_what_is_wrong(ranker):
    with pytest.raises(RerankError, match="docs must be a list"):
        ranker.rank("q", "one text")
    with pytest.raises(RerankError, match="document 1 must be a text or have a 'text'"):
        ranker.rank("q", ["a", 3])
    with pytest.raises(RerankError, match="2 docs, but 1 doc_ids"):
        ranker.rank("q", ["a", "b"], doc_ids=["x"])
    with pytest.raises(RerankError, match="two documents have the id 'x'"):
        ranker.rank("q", ["a", "b"], doc_ids=["x", "x"])
    with pytest.raises(RerankError, match="a query must be a text"):
        ranker.rank(" ", ["a"])
    with pytest.raises(RerankError, match="no ranking task; choose one of"):
        ranking_pair("inters_query_matching_msrp")
    with pytest.raises(RerankError, match="has no option 'window'"):
        Reranker.from_pretrained("nowhere", options=MethodOptions(window=3))


def test_a_pyterrier_pipeline_reorders_its_frame(ranker):
    pandas = pytest.importorskip("pandas", reason="pandas comes with pip install inters-jax[pyterrier]")
    pyterrier = pytest.importorskip("pyterrier", reason="pip install inters-jax[pyterrier]")
    from inters_jax.ranking.pyterrier import InstructionReranker

    frame = pandas.DataFrame(
        {
            "qid": ["1", "1", "2", "1"],
            "query": ["a", "a", "b", "a"],
            "docno": ["d1", "d2", "d1", "d3"],
            "text": ["xx", "yyyy", "z", "ww"],
            "score": [1.0, 3.0, 1.0, 2.0],
        }
    )
    pipeline = pyterrier.Transformer.identity() >> InstructionReranker(ranker)
    out = pipeline(frame)
    # d3 and d1 are as long; d3 stood higher in the first stage.
    assert out[["qid", "docno", "rank"]].values.tolist() == [
        ["1", "d2", 0], ["1", "d3", 1], ["1", "d1", 2], ["2", "d1", 0],
    ]  # fmt: skip
    assert out["score"].tolist() == [4.0, 2.0, 2.0, 1.0]
    assert len(pipeline(frame.iloc[:0])) == 0
    with pytest.raises(RerankError, match="no column text"):
        pipeline(frame.drop(columns="text"))
