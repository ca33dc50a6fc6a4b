"""What is particular to each retrieval collection: splits, forums, queries that are documents, forms."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqio_tasks import ranking_rows, row_source, settings
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import PAIRS, pair, pairs
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.sources import beir, rank_llm, splits
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.retrieval_sets import FORUMS, SETS, RetrievalSet
from seqio_tasks.sources.splits import IN_OFFICIAL_DEV, IN_OFFICIAL_TEST, SPLITS, group_key

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "seqio_tasks" / "sample"
RAW = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")
RANK = [entry for entry in PAIRS if entry.kind == "rank"]
COLLECTION = RetrievalSet("x", "x")  # the folder beir_x
HEADER = "query-id\tcorpus-id\tscore\r\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path) -> Any:
    with settings.override(cache_dir=str(tmp_path / "cache")):
        yield


def real(*names: str) -> Path:
    path = RAW.joinpath(*names)
    if not path.exists():
        pytest.skip(f"no real data in {path}: set INTERS_REAL_DATA to run this test")
    return path


def folder_of(
    folder: Path,
    documents: dict[str, str],
    queries: dict[str, str],
    qrels: dict[str, list[tuple[str, str, int]]],
) -> Path:
    """A BEIR folder from plain values."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, judged in qrels.items():
        lines = [f"{query}\t{doc}\t{grade}\r\n" for query, doc, grade in judged]
        (folder / "qrels" / f"{name}.tsv").write_text(HEADER + "".join(lines), encoding="utf-8", newline="")
    return folder


def test_fifteen_ranking_pairs_with_settings_and_files() -> None:
    assert len(RANK) == len(SETS) == 15 and {entry.dataset for entry in RANK} == set(SETS)
    for entry in RANK:
        (file,) = entry.files
        assert file.name == f"{SETS[entry.dataset].unzipped}.zip" and file.bytes and len(file.md5) == 32
    assert {entry.dataset for entry in RANK if not entry.in_domain} == {"nq", "quora", "climate_fever"}


@pytest.mark.parametrize("entry", RANK, ids=lambda entry: entry.name)
def test_rows_of_the_sample(entry: Any) -> None:
    report = SourceReport()
    seen: set[str] = set()
    for split in SPLITS:
        rows = list(entry.rows(SAMPLE, split, report=report))
        assert rows and not seen & {row["query_id"] for row in rows}
        seen |= {row["query_id"] for row in rows}
        judged = row_source.read_qrels(entry, split, raw_dir=str(SAMPLE))
        for row in rows:
            grades = judged[row["query_id"]]
            assert all(grades[d["doc_id"]] == d["grade"] > 0 for d in row["positives"])
            assert all(grades.get(d["doc_id"], 0) <= 0 for d in row["negatives"]) and row["negatives"]
            assert all((d["title"] or d["text"]) for d in row["positives"] + row["negatives"])
    missing = {ranking_rows.ABSENT_POSITIVE: 2, ranking_rows.NO_POSITIVE: 2}
    assert report == (missing if entry.dataset == "arguana" else {})


def test_a_test_only_set_is_divided_by_query_text(tmp_path: Path) -> None:
    queries = {f"q{i}": f"Question {i // 2}" + "!" * (i % 2) for i in range(40)}  # each text twice
    judged = [(query, "d1", 1) for query in queries]
    folder_of(tmp_path / "beir_nq", {"d1": "x", "d2": "y"}, queries, {"test": judged})
    found = {split: SETS["nq"].qrels(tmp_path, split) for split in SPLITS}
    assert {split: len(qrels) for split, qrels in found.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    texts = {split: {group_key(queries[query]) for query in qrels} for split, qrels in found.items()}
    assert sum(map(len, texts.values())) == 20  # no text on two sides


def test_dev_queries_are_for_training_where_nothing_else_is(tmp_path: Path) -> None:
    queries = {f"q{i}": f"Question {i}" for i in range(30)} | {"again": "question 29?"}
    qrels = {
        "dev": [(f"q{i}", "d1", 1) for i in range(20)] + [("again", "d1", 1)],
        "test": [(f"q{i}", "d1", 1) for i in range(20, 30)],
    }
    folder_of(tmp_path / "beir_quora" / "quora", {"d1": "x"}, queries, qrels)
    report = SourceReport()
    sizes = [len(SETS["quora"].qrels(tmp_path, split, report)) for split in SPLITS]
    assert sizes == [18, 2, 10] and report == {IN_OFFICIAL_TEST: 1}


def test_ms_marco_is_tested_on_dev_in_both_forms(tmp_path: Path) -> None:
    queries = {f"{i}": f"query {i}" for i in range(40)} | {"40": "Query 31"}
    qrels = {
        "train": [(f"{i}", "d1", 1) for i in range(31)] + [("40", "d1", 1)],
        "dev": [(f"{i}", "d1", 1) for i in range(31, 38)],
        "test": [("0", "d2", 3), ("39", "d1", 2)],
    }
    outer = tmp_path / "beir"
    zipped = folder_of(outer / "beir_ms_marco" / "msmarco", {"d1": "x", "d2": "y"}, queries, qrels)
    marco = SETS["ms_marco"]
    reports = SourceReport()
    found = {split: marco.qrels(outer, split, reports) for split in SPLITS}
    assert list(found["test"]) == [f"{i}" for i in range(31, 38)]
    # 32 judged for training; one repeats a dev query, one is judged in TREC's test set
    assert len(found["train"]) == 27 and len(found["validation"]) == 3 and reports[IN_OFFICIAL_TEST] == 2

    original = tmp_path / "tsv" / "beir_ms_marco"
    original.mkdir(parents=True)
    (original / "collection.tsv").write_text("d1\tx\nd2\ty\n")
    for name, ids in (("train", [*range(31), 40]), ("dev", range(31, 38)), ("test2019", [39])):
        lines = [f"{i}\t{queries[str(i)]}\n" for i in ids]
        (original / f"queries.{name}.tsv").write_text("".join(lines))
    for name in ("train", "test", "dev.small"):
        judged = qrels[name.removesuffix(".small")]
        (original / f"qrels.{name}.tsv").write_text("".join(f"{q}\t0\t{d}\t{g}\n" for q, d, g in judged))
    (original / "qrels.dev.tsv").write_text("1\t0\td1\t1\n")  # the small one is the one in use
    assert {split: marco.qrels(tmp_path / "tsv", split) for split in SPLITS} == found
    assert dict(Corpus(original)) == dict(Corpus(zipped))
    entry = pair("inters_general_retrieval_ms_marco")
    assert list(entry.rows(outer, "train")) == list(entry.rows(tmp_path / "tsv", "train"))


def test_published_sets_keep_ten_thousand_training_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "MOST_TRAINING_ROWS", 8)
    queries = {f"q{i}": f"Question {i}" for i in range(20)}
    qrels = {
        "train": [(f"q{i}", "d", 1) for i in range(12)] + [("q12", "d", 1)],
        "dev": [("q12", "d", 1)],
        "test": [("q19", "d", 1)],
    }
    folder_of(tmp_path / "beir_fever", {"d": "x"}, queries, qrels)
    report = SourceReport()
    assert len(SETS["fever"].qrels(tmp_path, "train", report)) == 8
    assert report == {IN_OFFICIAL_DEV: 1, "beyond the 10,000 training rows of the rule": 4}


def test_topics_are_on_the_same_side_in_all_tasks_of_trec_covid() -> None:
    for split in SPLITS:
        retrieval = set(SETS["trec_covid"].qrels(SAMPLE, split))
        for entry in pairs(dataset="trec_covid"):
            if entry.kind != "rank":
                assert {
                    row["example_id"].rpartition("/")[2] for row in entry.rows(SAMPLE, split)
                } == retrieval


def test_claims_are_on_the_same_side_in_both_tasks_of_climate_fever(tmp_path: Path) -> None:
    (verification,) = pairs(task="fact_verification", dataset="climate_fever")
    sides = {row["claim"]: split for split in SPLITS for row in verification.rows(SAMPLE, split)}
    queries = {str(i): claim for i, claim in enumerate(sorted(sides))}
    judged = [(query, "d", 1) for query in queries]
    folder_of(tmp_path / "beir_climate_fever" / "climate-fever", {"d": "x"}, queries, {"test": judged})
    for split in SPLITS:
        found = {queries[query] for query in SETS["climate_fever"].qrels(tmp_path, split)}
        assert found == {claim for claim, side in sides.items() if side == split}


def test_a_query_that_is_a_document_goes_before_the_cut() -> None:
    arguana, entry = SETS["arguana"], pair("inters_argument_retrieval_arguana")
    (part,) = arguana.parts(SAMPLE)
    corpus = Corpus(part.folder)
    for split in SPLITS:
        for row in entry.rows(SAMPLE, split):
            assert row["query_id"] in corpus
            assert row["query_id"] not in {d["doc_id"] for d in row["positives"] + row["negatives"]}
    ranked = list(ranking_rows.set_rerank_rows(arguana, SAMPLE, "test", depth=5))
    by_query = {row["query_id"]: [r for r in ranked if r["query_id"] == row["query_id"]] for row in ranked}
    for query_id, rows in by_query.items():
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]  # all five, although the best was left out
        assert query_id not in {row["doc_id"] for row in rows}
    ordinary = replace(arguana, own_document=False)
    own = [row for row in ranking_rows.set_rerank_rows(ordinary, SAMPLE, "test", 5) if row["rank"] == 1]
    assert own and all(row["doc_id"] == row["query_id"] for row in own)  # what the query would have found


def test_equal_ids_mean_nothing_where_queries_have_numbers_of_their_own(tmp_path: Path) -> None:
    documents = {"1": "salt mill", "2": "salt fish", "3": "salt road"}
    folder_of(tmp_path / "beir_x", documents, {"1": "salt"}, {"test": [("1", "2", 1)]})
    plain = RetrievalSet("x", "x")
    assert {row["doc_id"] for row in ranking_rows.set_rerank_rows(plain, tmp_path, "test")} == {"1", "2", "3"}
    shared = RetrievalSet("x", "x", own_document=True)
    assert {row["doc_id"] for row in ranking_rows.set_rerank_rows(shared, tmp_path, "test")} == {"2", "3"}


def test_forums_stay_apart() -> None:
    entry = pair("inters_duplicate_question_retrieval_cqadupstack")
    rows = [row for split in SPLITS for row in entry.rows(SAMPLE, split)]
    assert len(rows) == 60 and len({row["query_id"] for row in rows}) == 60
    assert {row["query_id"].partition("/")[0] for row in rows} == set(FORUMS)
    reranked = list(ranking_rows.set_rerank_rows(SETS["cqadupstack"], SAMPLE, "test"))
    assert len({row["example_id"] for row in reranked}) == len(reranked) == 60
    for row in rows:
        forum = row["query_id"].partition("/")[0]
        assert all(d["doc_id"].startswith(f"{forum}/") for d in row["positives"] + row["negatives"])


def test_a_missing_forum_is_told(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "beir_cqadupstack", tmp_path / "beir_cqadupstack" / "cqadupstack")
    assert len(SETS["cqadupstack"].parts(tmp_path)) == 12  # as the zip unpacks
    shutil.rmtree(tmp_path / "beir_cqadupstack" / "cqadupstack" / "tex")
    with pytest.raises(MissingData, match=r"tex: no corpus\.jsonl here; unpack .*cqadupstack\.zip"):
        SETS["cqadupstack"].parts(tmp_path)


def test_runs_in_the_folder_take_the_place_of_bm25(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {f"d{i}": f"word{i}" for i in range(6)} | {"none": ""}
    folder = folder_of(
        tmp_path / "beir_x",
        documents,
        {"q": "word1", "p": "word2"},
        {"test": [("q", "d1", 1), ("p", "d2", 1)]},
    )
    (folder / "runs").mkdir()
    (folder / "runs" / "a.txt").write_text("q Q0 d5 1 9 t\nq Q0 d4 2 8 t\nother Q0 d1 1 1 t\n")
    asked: list[str] = []

    def bm25(corpus: Any, queries: dict[str, str], depth: int) -> dict[str, dict[str, float]]:
        asked.extend(queries)
        return {query: {"d3": 1.0} for query in queries}

    monkeypatch.setattr(ranking_rows, "_bm25", bm25)
    found = [
        (row["query_id"], row["doc_id"]) for row in ranking_rows.set_rerank_rows(COLLECTION, tmp_path, "test")
    ]
    assert found == [("q", "d5"), ("q", "d4"), ("p", "d3")] and asked == ["p"]
    row = next(iter(ranking_rows.set_rows(COLLECTION, "x", tmp_path, "test", candidates=4)))
    ids = [document["doc_id"] for document in row["negatives"]]
    assert set(ids[:2]) == {"d4", "d5"} and len(set(ids)) == 4 and not {"d1", "none"} & set(ids)


def test_judged_zeros_are_the_first_negatives() -> None:
    for name in ("article_retrieval_scidocs", "entity_retrieval_dbpedia"):
        entry = pair(f"inters_{name}")
        judged = SETS[entry.dataset].qrels(SAMPLE, "test")
        for row in entry.rows(SAMPLE, "test"):
            zeros = {doc for doc, grade in judged[row["query_id"]].items() if grade == 0}
            hard = {document["doc_id"] for document in row["negatives"][: ranking_rows.CANDIDATES // 2]}
            assert zeros and zeros <= hard


def test_results_of_rank_llm_become_a_folder(tmp_path: Path) -> None:
    hits = [
        {"content": f"text {i}", "qid": 7, "docid": f"{i}", "rank": i, "score": 9.5 - i} for i in (1, 2, 3)
    ]
    (tmp_path / "r.json").write_text(json.dumps([{"query": "a  b", "hits": hits}]))
    (tmp_path / "qrels").write_text("7 Q0 2 3\n7 Q0 99 1\n")
    counts = rank_llm.write_folder(tmp_path / "r.json", tmp_path / "qrels", tmp_path / "beir_x")
    assert list(counts.values()) == [1, 3, 3, 1, 2]
    rows = list(ranking_rows.set_rerank_rows(COLLECTION, tmp_path, "test"))
    assert [(r["query"], r["doc_id"], r["relevance"], r["document"]["text"]) for r in rows] == [
        ("a b", "1", 0, "text 1"),
        ("a b", "2", 3, "text 2"),
        ("a b", "3", 0, "text 3"),
    ]
    (tmp_path / "qrels").write_text("8 Q0 2 3\n")
    with pytest.raises(DataError, match="1 judged queries have no hits, the first is 8"):
        rank_llm.write_folder(tmp_path / "r.json", tmp_path / "qrels", tmp_path / "beir_x")
    (tmp_path / "r.json").write_text('[{"query": "a"}]')
    with pytest.raises(
        DataError, match=r"r\.json: record 1: not a results file of rank_llm \(KeyError: 'hits'\)"
    ):
        rank_llm.read_results(tmp_path / "r.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_requests_of_rank_llm_may_be_gzipped_and_without_candidates(
    tmp_path: Path, encoding: str, packed: bool
) -> None:
    found = {"docid": "5", "score": 2.5, "doc": {"title": "Mill", "contents": "red"}}
    records = [
        {"query": {"qid": 7, "text": "a"}, "candidates": [found]},
        {"query": {"qid": 8, "text": "b"}, "candidates": []},
    ]
    text = json.dumps(records).encode(encoding)
    (tmp_path / "r.json.gz").write_bytes(gzip.compress(text) if packed else text)
    (tmp_path / "qrels").write_text("7 Q0 5 3\n8 Q0 5 1\n")
    counts = rank_llm.write_folder(tmp_path / "r.json.gz", tmp_path / "qrels", tmp_path / "beir_x")
    assert list(counts.values()) == [2, 1, 1, 2, 2, 1] and counts["queries without hits"] == 1
    stored = rank_llm.read_results(tmp_path / "r.json.gz")
    assert stored == ({"7": "a", "8": "b"}, {"5": "Mill red"}, {"7": {"5": 2.5}})
    (tmp_path / "r.json").write_text(json.dumps([{**records[0], "candidates": [{**found, "score": "high"}]}]))
    with pytest.raises(DataError, match=r"r\.json: record 1: .*the score is 'high', expected a number"):
        rank_llm.read_results(tmp_path / "r.json")


def test_trec_2019_from_stored_candidates(tmp_path: Path) -> None:
    results = real("msmarco_trec_dl", "BM25", "retrieve_results_dl19.json")
    judgments = real("msmarco_trec_dl", "qrels", "qrels.dl19-passage.txt")
    counts = rank_llm.write_folder(results, judgments, tmp_path / "beir_x")
    assert counts["judged queries"] == 43 and counts["judgments"] == 9260 and counts["passages"] == 4297
    run: dict[str, dict[str, float]] = {}
    for row in ranking_rows.set_rerank_rows(COLLECTION, tmp_path, "test"):
        run.setdefault(row["query_id"], {})[row["doc_id"]] = row["first_stage_score"]
    result = evaluate_run(beir.read_qrels(tmp_path / "beir_x", "test"), run, ["nDCG@10"])
    assert round(result.means["nDCG@10"], 4) == 0.5058  # as published


def test_fiqa_as_published() -> None:
    part = beir.Part(real("beir_fiqa"))
    counts = {}
    for split in SPLITS:
        report = SourceReport()
        qrels = beir.split_qrels((part,), SETS["fiqa"].files, split, report)
        counts[split] = (len(qrels), sum(map(len, qrels.values())), dict(report))
    assert counts == {"train": (5500, 14166, {}), "validation": (500, 1238, {}), "test": (648, 1706, {})}
    entry = pair("inters_supporting_evidence_retrieval_fiqa")
    assert {split: entry.counts[split] for split in SPLITS} == {s: n for s, (n, _, _) in counts.items()}
