"""Reranking from Python: inputs of every form, ties, batches, errors; and a PyTerrier pipeline."""

import asyncio
import math
import time

import numpy as np
import pytest

from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods import METHODS, make_method
from inters_jax.ranking.pairs import ranking_pair
from inters_jax.ranking.reranker import Document, Reranker
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


class TheirDocument:
    """As `rerankers.Document`."""

    def __init__(self, text, doc_id=None, metadata=None):
        self.document_type, self.text, self.doc_id = "text", text, doc_id
        self.base64 = self.image_path = None
        self.metadata = {} if metadata is None else metadata


def test_what_programs_for_the_rerankers_library_use(ranker):
    theirs = [TheirDocument("a"), TheirDocument("bbb", 7, {"n": 1}), TheirDocument("cc", "x")]
    results = ranker.rank("q", theirs)
    assert [(r.doc_id, r.text) for r in results] == [(7, "bbb"), ("x", "cc"), (0, "a")]
    assert (results.results_count(), results.has_scores) == (3, True)
    assert results[0].metadata == {"n": 1} and results[1].metadata == {}
    assert results.get_score_by_docid(7) == 3.0 and results.get_score_by_docid("zz") is None
    assert [r.doc_id for r in ranker.rank("q", theirs, doc_ids=[3, 4, 5])] == [4, 5, 3]
    assert ranker.rank("q", theirs, metadata=[{"m": 2}] * 3)[0].metadata == {"m": 2}


@pytest.mark.parametrize("one", ["four", TheirDocument("four"), Document("four", 0)])
def test_a_single_document_need_not_be_in_a_list(ranker, one):
    results = ranker.rank("q", one)
    assert [(r.doc_id, r.score) for r in results] == [(0, 4.0)]
    assert ranker.score("q", one) == 4.0
    assert [r.score for r in asyncio.run(ranker.rank_async("q", one))] == [4.0]


def test_a_single_text_may_have_an_id_and_metadata(ranker):
    [result] = ranker.rank("q", "four", doc_ids="d", metadata={"n": 1})
    assert (result.doc_id, result.metadata) == ("d", {"n": 1})


def test_ranking_does_not_block_the_event_loop():
    backend = FunctionBackend(lambda query, document: time.sleep(0.2) or 1.0)
    ranker = Reranker(backend, make_method("pointwise"))

    async def both():
        ticks, ranking = 0, asyncio.ensure_future(ranker.rank_async("q", ["a"]))
        while not ranking.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(both()) > 3


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
        ranker.rank_batch(["q"], ["one text"])
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
    with pytest.raises(RerankError, match="has no option WINDOW"):
        Reranker.from_pretrained("nowhere", options=MethodOptions(window=3))


def test_missing_titles_are_empty_and_missing_texts_are_refused(ranker):
    docs = [
        {"text": "four", "title": math.nan},
        {"text": "sixsix", "title": None},
        Document("a", 7, math.nan),
    ]
    results = ranker.rank("q", docs)
    assert [r.document.title for r in results] == ["", "", ""] and [r.score for r in results] == [6, 4, 1]
    for bad in ({"text": math.nan}, {"text": None}, Document(math.nan, 1), math.nan, None):
        with pytest.raises(RerankError, match="document 1 must be a text or have a 'text'"):
            ranker.rank("q", ["a", bad])
    with pytest.raises(RerankError, match="the title of document 0 must be a text, got 3"):
        ranker.rank("q", [{"text": "a", "title": 3}])
    with pytest.raises(RerankError, match="a query must be a text"):
        ranker.rank(math.nan, ["a"])


def test_documents_must_come_in_an_order(ranker):
    for docs in ({"text": "a"}, {"d1": "a", "d2": "b"}, {"a", "b"}, b"a"):
        with pytest.raises(
            RerankError, match=f"docs must be a list of documents, got a {type(docs).__name__}"
        ):
            ranker.rank("q", docs)
    pandas = pytest.importorskip("pandas", reason="pandas comes with pip install inters-jax[pyterrier]")
    frame = pandas.DataFrame({"text": ["a", "bbb"]})
    with pytest.raises(RerankError, match="got a DataFrame"):
        ranker.rank("q", frame)
    assert [r.doc_id for r in ranker.rank("q", frame["text"])] == [1, 0]


@pytest.mark.parametrize("method", METHODS)
def test_identical_documents_keep_the_given_order(method):
    """Even where a model prefers a position."""
    ranker = Reranker(FunctionBackend(by_length), make_method(method))
    docs = ["same"] * 3 + ["longer"] + ["same"] * 3
    assert [r.doc_id for r in ranker.rank("q", docs)] == [3, 0, 1, 2, 4, 5, 6]


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
    titled = pipeline(frame.assign(title=[None, math.nan, "t", pandas.NA]))
    assert titled["score"].tolist() == [4.0, 2.0, 2.0, 11.0]  # "nan" would count thirty
    for column in ("text", "query", "docno", "qid"):
        with pytest.raises(
            RerankError, match=rf"the column {column} is empty .* in 1 rows, the first has qid"
        ):
            pipeline(frame.assign(**{column: [math.nan, *frame[column][1:]]}))
