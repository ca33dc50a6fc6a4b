"""Measures, the meaning of grades and what is a candidate depend on the pair, not on the folder's name."""

import json
import os
from pathlib import Path

import pytest

from inters_jax.ranking.candidates import candidates_of
from inters_jax.ranking.collection import open_collection
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.pairs import pair_of, ranking_pair, wording_of
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.sources import retrieval_sets

GRADES = {"d1": 1, "d2": 3, "d3": 4}


@pytest.fixture
def folder(tmp_path):
    """A collection in which a document has the id of the query and its text."""
    base = tmp_path / "mine"
    (base / "qrels").mkdir(parents=True)
    texts = {"q1": "a red mill", "d1": "the red mill", "d2": "a mill", "d3": "red paint"}
    corpus = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (base / "corpus.jsonl").write_text("\n".join(corpus) + "\n")
    (base / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "a red mill"}) + "\n")
    rows = [f"q1\t{document}\t{grade}" for document, grade in GRADES.items()]
    (base / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return base


def opened(path, name, **more):
    return open_collection(path, rules=retrieval_sets.collection(ranking_pair(name).dataset), **more)


def test_the_query_itself_is_no_candidate_of_arguana_whatever_the_folder_is_called(folder):
    assert "q1" in candidates_of(open_collection(folder), None, 4).documents["q1"]
    found = candidates_of(opened(folder, "arguana"), None, 4)
    assert set(found.documents["q1"]) == {"d1", "d2", "d3"}
    assert found.counts["candidates with the id of their query left out"] == 1


def test_grades_of_a_judgment_file_mean_what_the_pair_says(folder, tmp_path):
    own = tmp_path / "judged.txt"
    own.write_text("".join(f"q1 0 {document} {grade}\n" for document, grade in GRADES.items()))
    for qrels in (None, own):
        assert opened(folder, "cranfield", qrels=qrels).qrels == {"q1": {"d1": 1, "d2": 1, "d3": 1}}
        assert opened(folder, "antique", qrels=qrels).qrels == {"q1": {"d1": 0, "d2": 1, "d3": 2}}
        assert opened(folder, "scifact", qrels=qrels).qrels == {"q1": GRADES}
    named = folder.rename(tmp_path / "beir_cranfield")
    assert open_collection(named, qrels=own).qrels == {"q1": {"d1": 1, "d2": 1, "d3": 1}}


def test_a_pair_for_evaluation_only_has_its_measures_and_the_wording_of_another():
    pair = ranking_pair("trec_dl_2020")
    assert pair.metrics == ("nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "R(rel=2)@100")
    assert wording_of(pair).name == "inters_general_retrieval_ms_marco"
    assert wording_of(ranking_pair("quora")).dataset == "quora"
    assert ranking_pair("touche").name == "inters_argument_retrieval_touche"
    assert ranking_pair("inters_ood_touche").queries == 49


def test_the_name_of_the_collection_stands_for_the_pair_that_is_not_given(folder, tmp_path):
    with pytest.raises(RerankError, match="named after the collection 'mine': set PAIR=ms_marco"):
        pair_of(open_collection(folder), None)
    named = folder.rename(tmp_path / "beir_trec_dl_2019")
    assert pair_of(open_collection(named), None).dataset == "trec_dl_2019"


def test_another_pair_than_that_of_the_name_decides_and_is_warned_of(folder, tmp_path, caplog):
    named = folder.rename(tmp_path / "beir_antique")
    given = ranking_pair("scifact")
    data = opened(named, "scifact")
    assert pair_of(data, given) is given and data.qrels == {"q1": GRADES}
    assert "has the name of antique, but PAIR=scifact decides: grades have another meaning" in caplog.text
    caplog.clear()
    fiqa = named.rename(tmp_path / "beir_fiqa")
    assert pair_of(opened(fiqa, "scifact"), given) is given and not caplog.text  # the same rules


def test_numbers_of_the_authors_lines_are_no_ids_of_documents(tmp_path):
    line = {
        "query": "a mill", "pos": ["red"], "pos_index": [1], "pos_score": [1], "query_id": 0,
        "key": ["blue", "red"], "key_index": [0, 1],
    }  # fmt: skip
    path = tmp_path / "arguana.bm25.100.jsonl"
    path.write_text(json.dumps(line) + "\n")
    data = open_collection(path)
    assert data.dataset == "arguana" and not data.own_document
    assert len(candidates_of(data, None, 4).documents["0"]) == 2


def test_the_first_relevant_passage_of_trec_deep_learning_has_grade_two():
    raw = Path(os.environ.get("INTERS_REAL_DATA", Path(__file__).parents[3].parent / "shared" / "raw"))
    base = raw / "msmarco_trec_dl"
    if not base.is_dir():
        pytest.skip("no msmarco_trec_dl in INTERS_REAL_DATA or ../shared/raw")
    stored = open_collection(
        base / "BM25" / "retrieve_results_dl19.json", qrels=base / "qrels" / "qrels.dl19-passage.txt"
    )
    pair = pair_of(stored, ranking_pair("trec_dl_2019"))
    means = evaluate_run(stored.qrels, candidates_of(stored, None, 100).run(), [*pair.metrics, "RR@10"]).means
    assert means["RR(rel=2)@10"] < means["RR@10"] - 0.1
