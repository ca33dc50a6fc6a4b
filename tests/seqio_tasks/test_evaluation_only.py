"""Collections for judging alone: outside mixtures and counts, whole test sets, grades, excluded documents."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import seqio

from seqio_tasks import catalog, evaluation_only, mixtures, named_tasks, settings, tasks
from seqio_tasks.catalog.page import markdown
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.metrics import protocols
from seqio_tasks.prompts.render import render
from seqio_tasks.sources import rank_llm
from seqio_tasks.sources.retrieval_sets import BRIGHT_DOMAINS, EVALUATION_SETS, SETS

ROOT = Path(__file__).parents[2]
RAW = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")
WHOLE = ("trec_covid", "nq", "arguana", "touche", "cqadupstack", "scidocs", "climate_fever")
NAMES = ("trec_dl_2019", "trec_dl_2020", *WHOLE, "esci", "bright", "lotte_search", "lotte_forum", "antique",
         "cranfield")  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path) -> Any:
    with settings.override(cache_dir=str(tmp_path / "cache"), raw_dir=str(tmp_path / "raw")):
        yield


def write(folder: Path, judged: dict[str, int], words: str = "lamp") -> Path:
    """A BEIR folder with one query and documents d1, d2, ... that all contain its words."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": "", "text": f"{words} number {n}"} for n in range(1, 6)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": words}) + "\n")
    lines = [f"q1\t{doc}\t{grade}\n" for doc, grade in judged.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def rows(name: str, tmp_path: Path) -> list[dict[str, Any]]:
    task = tasks.task(f"inters_ood_{name}_rerank")
    return list(task.form.rows(task.pair, "test", str(tmp_path / "raw")).rows)


def test_they_are_tasks_and_nothing_else() -> None:
    assert tuple(pair.dataset for pair in catalog.EVALUATION_ONLY) == NAMES == tuple(EVALUATION_SETS)
    for pair in catalog.EVALUATION_ONLY:
        assert pair.name == f"inters_ood_{pair.dataset}" and pair not in catalog.PAIRS
        assert f"{pair.name}_rerank" in seqio.TaskRegistry.names()
        assert pair.name not in seqio.TaskRegistry.names()  # not to be trained on
        assert protocols.pair_of(f"{pair.name}_rerank") is pair
        assert protocols.headline(f"{pair.name}_rerank") == "nDCG@10" in pair.metrics
        assert f"`{pair.name}`" in markdown() and catalog.pair(pair.wording).kind == "rank"
    assert not any("_ood_" in name for recipe in mixtures.recipes().values() for name in recipe.tasks)
    assert (len(catalog.PAIRS), len({pair.dataset for pair in catalog.PAIRS})) == (56, 43)


def test_ids_of_ir_datasets_lead_to_their_folders() -> None:
    found = {name: ir_datasets_source.folder_name(name) for name in (
        "msmarco-passage/trec-dl-2019/judged", "msmarco-passage/trec-dl-2020/judged", "antique/test",
        "cranfield",
        "msmarco-passage/dev/small", "lotte/pooled/test/search", "bright/biology", "bright/biology-long",
    )}  # fmt: skip
    assert list(found.values()) == [
        "beir_trec_dl_2019", "beir_trec_dl_2020", "beir_antique", "beir_cranfield", "beir_ms_marco",
        "beir_lotte_search", "beir_bright/biology", "bright_biology-long",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_missing_folders_are_named_with_what_brings_them(name: str, tmp_path: Path) -> None:
    reason = named_tasks.missing(f"inters_ood_{name}_rerank", "test")
    assert reason is not None and f"beir_{name}" in reason
    assert catalog_origin(name) in reason
    assert "no split" in str(named_tasks.missing(f"inters_ood_{name}_rerank", "train"))


def catalog_origin(name: str) -> str:
    return next(pair.origin for pair in catalog.EVALUATION_ONLY if pair.dataset == name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE and name != "bright"])
def test_a_folder_gives_candidates_in_the_general_wording(name: str, tmp_path: Path) -> None:
    write(tmp_path / "raw" / f"beir_{name}", {"d1": 1, "d2": 3, "d3": 2})
    found = rows(name, tmp_path)
    assert {row["doc_id"] for row in found} == {"d1", "d2", "d3", "d4", "d5"}
    task = tasks.task(f"inters_ood_{name}_rerank")
    shown = list(task.encoded_examples("test"))
    assert len(shown) == 10 and {one.example.targets for one in shown} == {"Yes", "No"}
    assert shown[0].example.inputs.startswith("General retrieval finds passages")
    grades = {row["doc_id"]: row["relevance"] for row in found}
    expected = {"antique": (0, 1, 0), "cranfield": (1, 1, 1)}.get(name, (1, 3, 2))
    assert tuple(grades[doc] for doc in ("d1", "d2", "d3")) == expected
    assert task.form.qrels(task.pair, "test")["q1"] == {doc: grades[doc] for doc in ("d1", "d2", "d3")}


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "cqadupstack"])
def test_a_trained_pair_has_its_whole_official_test_set_in_its_own_wording(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "raw" / f"beir_{name}", {"d1": 1})
    queries = [json.dumps({"_id": f"q{n}", "text": f"lamp {n}"}) for n in range(20)]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    lines = "".join(f"q{n}\td1\t1\n" for n in range(20))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    task = tasks.task(f"inters_ood_{name}_rerank")
    assert len(task.form.qrels(task.pair, "test")) == 20
    trained = catalog.pair(task.pair.wording)
    assert trained.dataset == name
    assert (
        len(SETS[name].qrels(tmp_path / "raw", "test")) == 2
    )  # a tenth of the queries; the others are trained
    held_out = named_tasks.find(f"{trained.name}_rerank")[1].rows(trained, "test", str(tmp_path / "raw")).rows
    whole = {row["example_id"]: task.form.render(row, task.pair, variant=task.form.variant, seed=0)
             for row in rows(name, tmp_path)}  # fmt: skip
    for row in held_out:
        own = render(row, trained, variant=task.form.variant, seed=0)
        assert whole[row["example_id"]].inputs() == own.inputs()


def test_all_test_queries_count_and_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "raw" / "beir_trec_covid", {"d1": 2})
    assert len(EVALUATION_SETS["trec_covid"].qrels(tmp_path / "raw", "test")) == 1
    assert SETS["trec_covid"].files.train == ""  # the trained pair divides them
    assert len(rows("trec_covid", tmp_path)) == 5
    with (folder / "corpus.jsonl").open("a") as corpus:
        corpus.write(json.dumps({"_id": "d6", "title": "", "text": "lamp again"}) + "\n")
    assert len(rows("trec_covid", tmp_path)) == 6


def test_documents_that_a_query_excludes_are_no_candidates(tmp_path: Path) -> None:
    for domain in BRIGHT_DOMAINS:
        write(tmp_path / "raw" / "beir_bright" / domain, {"d1": -100, "d2": 1, "d3": -100})
    found = rows("bright", tmp_path)
    assert len(found) == 12 * 3 and found[0]["query_id"].startswith("aops/")
    assert {row["doc_id"].partition("/")[2] for row in found} == {"d2", "d4", "d5"}
    task = tasks.task("inters_ood_bright_rerank")
    assert task.form.qrels(task.pair, "test")["pony/q1"]["pony/d2"] == 1


def test_rerank_finds_grades_and_exclusions_by_the_name_of_a_folder(tmp_path: Path) -> None:
    from inters_jax.ranking.candidates import candidates_of
    from inters_jax.ranking.collection import open_collection

    antique = write(tmp_path / "beir_antique", {"d1": 1, "d2": 3, "d3": 4})
    assert open_collection(antique).qrels == {"q1": {"d1": 0, "d2": 1, "d3": 2}}
    pony = write(tmp_path / "beir_bright" / "pony", {"d1": -100, "d2": 1})
    found = candidates_of(open_collection(pony), None, 4)
    assert set(found.documents["q1"]) == {"d2", "d3", "d4", "d5"}
    assert found.counts["candidates excluded by the judgments left out"] == 1


def test_trec_2019_as_a_task_has_the_published_first_stage(tmp_path: Path) -> None:
    results = RAW / "msmarco_trec_dl" / "BM25" / "retrieve_results_dl19.json"
    if not results.is_file():
        pytest.skip(f"no real data in {results}: set INTERS_REAL_DATA to run this test")
    judgments = RAW / "msmarco_trec_dl" / "qrels" / "qrels.dl19-passage.txt"
    rank_llm.write_folder(results, judgments, tmp_path / "raw" / "beir_trec_dl_2019")
    task = tasks.task("inters_ood_trec_dl_2019_rerank")
    found = rows("trec_dl_2019", tmp_path)
    assert len(found) == 4_300 and len({row["query_id"] for row in found}) == 43
    run: dict[str, dict[str, float]] = {}
    for row in found:
        run.setdefault(row["query_id"], {})[row["doc_id"]] = row["first_stage_score"]
    from seqio_tasks.metrics.ranking import evaluate_run

    judged = task.form.qrels(task.pair, "test")
    means = evaluate_run(judged, run, list(task.pair.metrics)).means
    assert round(means["nDCG@10"], 4) == 0.5058
    assert set(means) == {"nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "R(rel=2)@100"}
    assert evaluation_only.FORM.splits == ("test",)
