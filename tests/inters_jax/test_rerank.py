"""Reranking without a model: known scorers, interruption, and what is written."""

import json
from functools import partial

import numpy as np
import pytest

from inters_jax import rerank as command
from inters_jax.ranking import methods
from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.candidates import Candidates, candidates_of
from inters_jax.ranking.collection import Collection, open_collection
from inters_jax.ranking.engine import Usage
from inters_jax.ranking.errors import RerankError, TooLong
from inters_jax.ranking.journal import FINISHED
from inters_jax.ranking.progress import DocumentBar
from inters_jax.ranking.questions import CHECK, CHOICE, GENERATION, JUDGMENT, ORDER, Document
from inters_jax.ranking.reranking import rerank_candidates, write_results
from inters_jax.settings.judging import MethodOptions
from inters_jax.shards import parse_shard
from seqio_tasks.base import UserError
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
METHODS = [
    "pointwise",
    "query_likelihood",
    "pairwise",
    "setwise",
    "listwise",
    "first_token",
    "self_consistency",
]


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


def oracle(query, document):
    [query_id] = [key for key, value in QUERIES.items() if value == query]
    return QRELS[query_id].get(document.doc_id, 0)


def hash_score(query, document):
    return np.float32(sum(map(ord, query + document.text)) % 97) / 7


def reranked(folder, run_file, out, function, manifest=None, method="pointwise", **options):
    data = open_collection(folder, split="test", run=run_file)
    candidates = candidates_of(data, run_file, 100)
    manifest = {"m": 1, "method": method, "options": {}, **(manifest or {})}
    made = methods.make_method(method)
    return rerank_candidates(data, candidates, made, FunctionBackend(function), out, manifest, **options)


@pytest.mark.parametrize("method", METHODS)
def test_an_oracle_reaches_the_best_order_of_its_candidates(folder, run_file, tmp_path, method):
    result = reranked(folder, run_file, tmp_path / "out", oracle, method=method)
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


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_scorer_keeps_the_first_stage_order(folder, run_file, tmp_path, method):
    result = reranked(folder, run_file, tmp_path / "out", lambda query, document: 0.25, method=method)
    assert result["metrics"]["reranked"] == result["metrics"]["first stage"]
    written = read_run(tmp_path / "out" / "reranked.trec")
    assert list(written["q1"]) == [f"d{n}" for n in range(10)]
    # Equal first-stage scores stand in trec_eval's order: document id descending.
    assert list(written["q2"]) == ["d2", "d1", "d0", "d9"]
    for scores in written.values():
        values = np.asarray(list(scores.values()), np.float32)
        assert (np.diff(values) < 0).all()
    if method == "pointwise":
        assert result["counts"]["documents with a tied score"] == 14


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_resumes_behind_the_last_finished_query(folder, run_file, tmp_path, method):
    out = tmp_path / "out"
    whole = reranked(folder, run_file, tmp_path / "whole", hash_score, method=method)

    def dies(query, document):
        if query == QUERIES["q2"]:
            raise KeyboardInterrupt
        return hash_score(query, document)

    with pytest.raises(KeyboardInterrupt):
        reranked(folder, run_file, out, dies, method=method, batch=1, concurrent=1)
    with (out / "scores.jsonl").open("a") as file:
        file.write('{"query": "q2", "sco')  # the crash came in the middle of a write
    result = reranked(folder, run_file, out, hash_score, method=method)
    assert result["counts"]["queries resumed"] == 1
    assert result["counts"]["documents scored now"] == 4
    assert result["metrics"] == whole["metrics"]
    assert result["cost"]["model calls"] == whole["cost"]["model calls"]
    assert (out / "reranked.trec").read_bytes() == (tmp_path / "whole" / "reranked.trec").read_bytes()


class Metered(FunctionBackend):
    """Prompts of 300 tokens and model calls of 2,048; dies in its batch number `dies`."""

    call_tokens = 2048

    def __init__(self, relevance, dies=None):
        super().__init__(relevance)
        self.dies, self.sizes = dies, []

    def usage(self, prepared):
        return [Usage(300, 0)] * len(prepared)

    def answer(self, prepared):
        self.sizes.append(len(prepared))
        if len(self.sizes) == self.dies:
            raise KeyboardInterrupt
        return super().answer(prepared)


def test_the_first_queries_are_saved_after_two_model_calls_and_later_batches_are_large(tmp_path):
    queries = {f"q{n}": f"query {n}" for n in range(40)}
    documents = {f"d{n}": Document("", f"text {n}", f"d{n}") for n in range(10)}
    data = Collection("c", "c", queries, documents, None, tuple(queries))
    tens = dict.fromkeys(queries, tuple(documents))
    candidates = Candidates(tens, dict.fromkeys(queries, tuple(range(10, 0, -1))), 10, "run", "f")

    def rank(backend, out):
        made = methods.make_method("pointwise")
        return rerank_candidates(data, candidates, made, backend, tmp_path / out, {"method": "pointwise"})

    whole = Metered(hash_score)
    rank(whole, "whole")
    # Two calls of 2,048 tokens at 256 a document, then four and eight calls at the 300 that they took.
    assert whole.sizes == [16, 27, *[54] * 6, 33]
    with pytest.raises(KeyboardInterrupt):
        rank(Metered(hash_score, dies=3), "cut")
    result = rank(Metered(hash_score), "cut")
    assert result["counts"]["queries resumed"] == 4  # of the 43 documents, forty are those of whole queries
    runs = [(tmp_path / out / "reranked.trec").read_bytes() for out in ("whole", "cut")]
    assert runs[0] == runs[1]


def test_the_bar_counts_the_answers_of_queries_that_are_under_way():
    with DocumentBar(20) as bar:
        bar.prompts(5)
        assert bar.bar.n == 0  # what an answer is worth is not known yet
        bar.batch(12)
        bar.query(10, requests=20)
        assert bar.bar.n == 10
        bar.batch(20)
        bar.prompts(4)
        assert bar.bar.n == 18  # 16 requests, of which two rank a document
        bar.prompts(400)
        bar.batch(8)
        bar.query(10, requests=20)
        assert bar.bar.n == 20


def test_rankings_of_another_model_or_corpus_are_not_continued(folder, run_file, tmp_path):
    out = tmp_path / "out"
    reranked(folder, run_file, out, oracle, {"model": "a"})
    with pytest.raises(UserError, match="model was 'a' and is now 'b'; choose another OUTPUT_DIR"):
        reranked(folder, run_file, out, oracle, {"model": "b"})
    with pytest.raises(UserError, match="method was 'pointwise' and is now 'setwise'"):
        reranked(folder, run_file, out, oracle, {"model": "a"}, method="setwise")
    changed = (folder / "corpus.jsonl").read_text().replace("number 3", "number three")
    (folder / "corpus.jsonl").write_text(changed)
    with pytest.raises(UserError, match="the text of query 'q1', its candidates or their texts were others"):
        reranked(folder, run_file, out, lambda q, d: 0.0, {"model": "a"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"order": [3', '"order": [3, 3', "the order is not a permutation"),
        ('"scores": [', '"scores": [7, ', "has 11 scores and 10 candidates"),
        ('"calls"', '"cals"', "order, scores or cost are not numbers"),
        ('"order"', '"ordre"', "expected cost and input and order and query and scores"),
    ],
)
def test_a_damaged_line_is_named(folder, run_file, tmp_path, old, new, message):
    reranked(folder, run_file, tmp_path / "out", oracle)
    path = tmp_path / "out" / "scores.jsonl"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RerankError, match=rf"scores\.jsonl:2: .*{message}"):
        reranked(folder, run_file, tmp_path / "out", oracle)


class Short(FunctionBackend):
    """Fits two documents of q1, and nothing of q2."""

    def prepare(self, requests):
        def fits(question):
            return question.query != QUERIES["q2"] and len(question.documents) <= 2

        if places := [n for n, request in enumerate(requests) if not fits(request.question)]:
            raise TooLong("too long", places)
        return requests


@pytest.mark.parametrize("method", METHODS)
def test_queries_that_are_too_long_are_counted_and_named(folder, run_file, tmp_path, method, caplog):
    data = open_collection(folder, split="test", run=run_file)
    candidates = candidates_of(data, run_file, 100)
    made = methods.make_method(method)
    for _ in range(2):  # the second time everything is read from disk
        result = rerank_candidates(
            data, candidates, made, Short(oracle), tmp_path / "out", {"method": method}, batch=3
        )
        first_stage = "queries in first-stage order because they exceed MAX_LENGTH"
        assert result["too_long"].pop(first_stage) == ["q2"] and result["counts"][first_stage] == 1
        narrowed = "queries ranked with fewer documents per prompt to fit MAX_LENGTH"
        several = method in ("setwise", "listwise", "first_token", "self_consistency")
        assert result["too_long"] == ({narrowed: ["q1"]} if several else {})
        assert f"1 {first_stage}: q2" in caplog.text
    ranked = read_run(tmp_path / "out" / "reranked.trec")
    assert list(ranked["q2"]) == list(candidates.documents["q2"])
    best = max(RUN["q1"], key=lambda document: QRELS["q1"].get(document, 0))
    assert next(iter(ranked["q1"])) == best


def test_finished_queries_of_earlier_versions_are_continued(folder, run_file, tmp_path):
    whole = reranked(folder, run_file, tmp_path / "out", oracle)
    path = tmp_path / "out" / "scores.jsonl"
    path.write_text(path.read_text().replace(', "query_cut": 0, "narrowed": 0, "unranked": 0', ""))
    assert "narrowed" not in path.read_text()
    again = reranked(folder, run_file, tmp_path / "out", oracle)
    assert again["metrics"] == whole["metrics"] and again["counts"]["queries resumed"] == 2


def test_an_answer_that_is_no_number_stops_with_query_and_document(folder, run_file, tmp_path):
    with pytest.raises(RerankError, match=r"query 'q1', document 'd4'.*nan"):
        reranked(folder, run_file, tmp_path / "out", lambda q, d: np.nan if d.doc_id == "d4" else 1.0)


def test_results_show_both_runs_and_the_cost(folder, run_file, tmp_path):
    manifest = {"collection": "tiny", "split": "test", "first_stage": "run", "depth": 100}
    measures = ["nDCG@5", "P@1"]
    result = reranked(folder, run_file, tmp_path, oracle, manifest, "setwise", measures=measures)
    write_results(tmp_path, result)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["metrics"]["first stage"].keys() == written["metrics"]["reranked"].keys() == set(measures)
    assert written["cost"]["model calls"] > 2 and written["cost"]["seconds per query"]["p95"] >= 0
    text = (tmp_path / "results.md").read_text()
    assert "by setwise" in text and "model calls per query" in text and "| reranked" in text


@pytest.mark.parametrize("method", METHODS)
def test_the_manifest_shows_the_question_that_the_method_asks(method):
    """One question about two documents, for all methods but those that judge documents one by one."""
    question = command._question(methods.make_method(method))
    families = {"pointwise": JUDGMENT, "query_likelihood": GENERATION, "pairwise": CHOICE}
    assert question.family == families.get(method, ORDER)
    assert len(question.documents) == (1 if method in ("pointwise", "query_likelihood") else 2)
    check = methods.make_method("pairwise", MethodOptions(question="check"))
    assert command._question(check).family == CHECK


def files(out):
    return {path.name: path.read_bytes() for path in out.glob("*.t*") if path.suffix in (".trec", ".txt")}


@pytest.mark.parametrize("method", ["pointwise", "listwise"])
def test_shares_of_any_number_give_the_files_of_one_process(folder, run_file, tmp_path, method):
    ask = partial(reranked, folder, run_file, method=method)
    alone = ask(tmp_path / "alone", hash_score)
    asked = []

    def counted(query, document):
        asked.append(query)
        return hash_score(query, document)

    for shares in ("1/2 2/2", "1/5 2/5 3/5 4/5 5/5", "2/2", "1/3 1/2"):  # some are lost, or of another number
        out = tmp_path / shares.replace("/", "of")
        for text in shares.split():
            assert ask(out, counted, shard=parse_shard(text)) is None
            assert not (out / "results.json").exists()
        before = len(asked)
        result = ask(out, counted)
        assert files(out) == files(tmp_path / "alone") and result["metrics"] == alone["metrics"]
        if shares.endswith(("2/2", "5/5")) and shares != "2/2":
            assert len(asked) == before and result["counts"]["queries resumed"] == 2
        lines = (out / FINISHED).read_text().splitlines()
        assert sorted(json.loads(line)["query"] for line in lines[1:]) == ["q1", "q2"]


def test_a_share_killed_in_the_middle_of_a_line_continues_with_the_next_query(folder, run_file, tmp_path):
    shard = parse_shard("1/1")
    reranked(folder, run_file, tmp_path, hash_score, shard=shard)
    path = tmp_path / "scores.1of1.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    result = reranked(folder, run_file, tmp_path, hash_score)  # while the share lies there, cut
    assert result["counts"]["queries resumed"] == 1 and path.read_bytes() == whole[:-20]
    reranked(folder, run_file, tmp_path, oracle, shard=shard)  # another answer would show
    assert [json.loads(line).get("query") for line in path.read_text().splitlines()] == [None, "q1"]


def test_shares_of_another_run_are_refused(folder, run_file, tmp_path):
    reranked(folder, run_file, tmp_path, hash_score, shard=parse_shard("1/2"))
    with pytest.raises(UserError, match=r"scores\.1of2\.jsonl was written with other settings: m was 1"):
        reranked(folder, run_file, tmp_path, hash_score, manifest={"m": 2})


def test_more_queries_can_be_asked_later_and_changed_ones_are_refused(folder, run_file, tmp_path):
    out, asked = tmp_path / "out", []

    def counted(query, document):
        asked.append(query)
        return hash_score(query, document)

    data = open_collection(folder, split="test", run=run_file, max_queries=1)
    candidates = candidates_of(data, run_file, 100)
    made = methods.make_method("pointwise")
    manifest = {"m": 1, "method": "pointwise", "options": {}, "max_queries": 1}
    rerank_candidates(data, candidates, made, FunctionBackend(counted), out, manifest)
    assert set(asked) == {QUERIES["q1"]}
    asked.clear()
    reranked(folder, run_file, out, counted)
    assert set(asked) == {QUERIES["q2"]}
    queries = (folder / "queries.jsonl").read_text().replace("number 3", "number 4")
    (folder / "queries.jsonl").write_text(queries)
    with pytest.raises(
        RerankError, match=r"scores\.jsonl:2: the text of query 'q1', its candidates or their"
    ):
        reranked(folder, run_file, out, hash_score)
