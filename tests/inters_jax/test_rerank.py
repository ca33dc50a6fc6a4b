"""Reranking without a model: known scorers, broken input, and interruption."""

import json
from collections import Counter

import numpy as np
import pytest

from inters_jax import rerank as command
from inters_jax.ranking import collections, pointwise
from inters_jax.ranking.collections import RerankError
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.metrics.trec_files import read_run

DOCUMENTS = {f"d{n}": f"text number {n}" for n in range(12)}
QUERIES = {"q1": "what is number 3", "q2": "which number is 1", "q3": "number 7", "q9": "not judged"}
QRELS = {"q1": {"d3": 2, "d5": 1, "d11": 1, "d0": 0}, "q2": {"d1": 1}, "q3": {"d7": 1}}
# q1: ten candidates, d11 relevant but not among them; q2: tied scores; q3: nothing found; q9: not judged.
RUN = {
    "q1": {f"d{n}": 10.0 - n for n in range(10)},
    "q2": {"d0": 1.0, "d1": 1.0, "d2": 1.0, "d9": 0.5},
    "q9": {"d1": 1.0},
}


@pytest.fixture
def folder(tmp_path):
    base = tmp_path / "tiny"
    (base / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": d, "title": "", "text": text}) for d, text in DOCUMENTS.items()]
    queries = [json.dumps({"_id": q, "text": text}) for q, text in QUERIES.items()]
    (base / "corpus.jsonl").write_text("\n".join(corpus) + "\n")
    (base / "queries.jsonl").write_text("\n".join(queries) + "\n")
    judged = [f"{q}\t{d}\t{grade}" for q, row in QRELS.items() for d, grade in row.items()]
    (base / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\r\n" + "\r\n".join(judged) + "\r\n")
    return base


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "first.trec"
    lines = [f"{q} Q0 {d} 1 {score} bm25" for q, row in RUN.items() for d, score in row.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


class FakeRanker:
    """Scores a document by a function of (query text, document text)."""

    def __init__(self, function):
        self.function, self.seen = function, []

    def encode(self, pairs):
        return pointwise.EncodedPairs(
            [(query, document.text) for query, document in pairs], Counter(pairs=len(pairs))
        )

    def score(self, prompts, progress=None):
        self.seen += prompts
        return np.asarray([self.function(*prompt) for prompt in prompts], np.float32)


def oracle(query, text):
    [query_id] = [key for key, value in QUERIES.items() if value == query]
    [doc_id] = [key for key, value in DOCUMENTS.items() if value == text]
    return QRELS[query_id].get(doc_id, 0)


def reranked(folder, run_file, out, function, manifest=None, **options):
    data = collections.load_collection(folder, "test")
    candidates = collections.from_run_file(data, run_file, 100)
    return command.rerank_candidates(
        data, candidates, FakeRanker(function), out, manifest or {"m": 1}, **options
    )


def test_an_oracle_reaches_the_best_order_of_its_candidates(folder, run_file, tmp_path):
    result = reranked(folder, run_file, tmp_path / "out", oracle)
    best = {q: {d: QRELS[q].get(d, 0) for d in RUN[q]} for q in ("q1", "q2")}
    ideal = evaluate_run(QRELS, best, ["nDCG@10"]).means["nDCG@10"]
    assert result["metrics"]["reranked"]["nDCG@10"] == pytest.approx(ideal)
    # By hand: q1 finds grades 2, 1 of the ideal 2, 1, 1; q2 is perfect; q3 has no candidate and counts 0.
    by_hand = ((2 + 1 / np.log2(3)) / (2 + 1 / np.log2(3) + 0.5) + 1 + 0) / 3
    assert result["metrics"]["reranked"]["nDCG@10"] == pytest.approx(by_hand)
    assert result["metrics"]["reranked"]["RR@10"] == pytest.approx(2 / 3)
    assert result["metrics"]["first stage"]["nDCG@10"] < by_hand
    assert result["counts"]["queries without candidates"] == 1
    assert result["counts"]["queries of the first stage left out"] == 1


def test_a_constant_scorer_keeps_the_first_stage_order(folder, run_file, tmp_path):
    result = reranked(folder, run_file, tmp_path / "out", lambda query, text: 0.25)
    assert result["metrics"]["reranked"] == result["metrics"]["first stage"]
    assert result["counts"]["documents with a tied score"] == 14
    written = read_run(tmp_path / "out" / "reranked.trec")
    assert list(written["q1"]) == [f"d{n}" for n in range(10)]
    # Equal first-stage scores stand in trec_eval's order: document id descending.
    assert list(written["q2"]) == ["d2", "d1", "d0", "d9"]
    for scores in written.values():
        values = np.asarray(list(scores.values()), np.float32)
        assert (np.diff(values) < 0).all()


def test_bm25_is_run_when_no_run_is_given(folder):
    data = collections.load_collection(folder, "test")
    candidates = collections.from_bm25(data, 5)
    assert set(candidates.documents) <= {"q1", "q2", "q3"}
    assert all(len(found) <= 5 for found in candidates.documents.values())
    assert candidates.fingerprint == collections.from_bm25(data, 5).fingerprint


def test_an_interrupted_run_goes_on_behind_the_last_finished_query(folder, run_file, tmp_path):
    out = tmp_path / "out"
    whole = reranked(folder, run_file, tmp_path / "whole", lambda q, t: hash_score(q, t))

    def dies(query, text):
        if query == QUERIES["q2"]:
            raise KeyboardInterrupt
        return hash_score(query, text)

    with pytest.raises(KeyboardInterrupt):
        reranked(folder, run_file, out, dies, chunk_documents=1)
    with (out / "scores.jsonl").open("a") as file:
        file.write('{"query": "q2", "sco')  # the crash came in the middle of a write
    result = reranked(folder, run_file, out, lambda q, t: hash_score(q, t))
    assert result["counts"]["queries taken up"] == 1
    assert result["counts"]["documents scored now"] == 4
    assert result["metrics"] == whole["metrics"]
    assert (out / "reranked.trec").read_bytes() == (tmp_path / "whole" / "reranked.trec").read_bytes()


def hash_score(query, text):
    return np.float32(sum(map(ord, query + text)) % 97) / 7


def test_scores_of_another_model_or_corpus_are_not_taken_up(folder, run_file, tmp_path):
    out = tmp_path / "out"
    reranked(folder, run_file, out, oracle, {"model": "a"})
    with pytest.raises(RerankError, match="model is 'a' there and 'b' here"):
        reranked(folder, run_file, out, oracle, {"model": "b"})
    changed = (folder / "corpus.jsonl").read_text().replace("number 3", "number three")
    (folder / "corpus.jsonl").write_text(changed)
    with pytest.raises(RerankError, match="texts_sha256"):
        reranked(folder, run_file, out, lambda q, t: 0.0, {"model": "a"})


def test_a_score_that_is_no_number_stops_with_query_and_document(folder, run_file, tmp_path):
    with pytest.raises(RerankError, match=r"query 'q1', document 'd4'.*nan"):
        reranked(folder, run_file, tmp_path / "out", lambda q, t: np.nan if t.endswith(" 4") else 1.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 d77 1 3.0 x", r"first\.trec:16: document 'd77' is not in"),
        ("q7 Q0 d1 1 3.0 x", r"first\.trec:16: query 'q7' is not in"),
        ("q3 Q0 d1 1 nan x", r"first\.trec:16: 'nan' is not a finite number"),
        ("q3 Q0 d1 1 3.0", r"first\.trec:16: 5 fields"),
    ],
)
def test_a_run_that_does_not_fit_is_refused_with_file_and_line(folder, run_file, line, message):
    with run_file.open("a") as file:
        file.write(line + "\n")
    data = collections.load_collection(folder, "test")
    with pytest.raises(ValueError, match=message):
        collections.from_run_file(data, run_file, 100)


def test_the_depth_cuts_by_score_not_by_the_rank_column(folder, run_file):
    data = collections.load_collection(folder, "test")
    candidates = collections.from_run_file(data, run_file, 2)
    assert candidates.documents == {"q1": ("d0", "d1"), "q2": ("d2", "d1")}
    assert candidates.counts["candidates below the depth left out"] == 10


def test_a_candidate_with_the_id_of_its_query_can_be_left_out(folder, run_file):
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "q1", "title": "", "text": "the question itself"}) + "\n")
    with run_file.open("a") as file:
        file.write("q1 Q0 q1 1 99 x\n")
    data = collections.load_collection(folder, "test")
    assert collections.from_run_file(data, run_file, 3).documents["q1"] == ("q1", "d0", "d1")
    dropped = collections.from_run_file(data, run_file, 3, drop_identical_ids=True)
    assert dropped.documents["q1"] == ("d0", "d1", "d2")


def test_labels_that_begin_alike_are_refused():
    with pytest.raises(RerankError, match="same token 5"):
        pointwise.check_labels(("Yes", "Yep"), ((5, 6), (5, 7)))
