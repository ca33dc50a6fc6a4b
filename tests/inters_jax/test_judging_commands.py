"""evaluate and rerank from the command line, with a tiny random model on the packaged sample."""

import json

import gin
import numpy as np
import pytest
from model_stand_ins import SAMPLE, tiny_model

import seqio_tasks
from inters_jax import evaluate, rerank
from inters_jax.command_line import run_command
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.metrics.trec_files import read_qrels, read_run

RERANK = "inters_fact_retrieval_scifact_rerank"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def restore_settings():
    with seqio_tasks.settings.override():
        yield


def run(function, model, out, *arguments):
    gin.clear_config()  # a process runs one command; here the lock of the one before is opened
    run_command(function, [f"--gin.MODEL_DIR={model}", f"--gin.OUTPUT_DIR={out}", *arguments])
    return json.loads((out / "results.json").read_text())


def test_evaluate_and_rerank_give_one_ranking(model, tmp_path, restore_settings):
    limits = ("--gin.MAX_EXAMPLES=1", "--gin.MAX_QUERIES=4")  # the former is for other tasks
    judged = run(evaluate.evaluate, model, tmp_path / "e", f"--gin.TASKS={RERANK}", *limits)
    assert judged["counts"][RERANK]["queries"] == judged["manifest"]["max_queries"] == 4
    reranked = run(
        rerank.rerank,
        model,
        tmp_path / "r",
        f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}",
        "--gin.MAX_QUERIES=4",
    )
    one, other = read_run(tmp_path / "e" / RERANK / "run.trec"), read_run(tmp_path / "r" / "reranked.trec")
    assert one.keys() == other.keys() and len(one) == 4
    for query, scores in one.items():
        assert scores.keys() == other[query].keys()
        found = [other[query][document] for document in scores]
        np.testing.assert_allclose(list(scores.values()), found, atol=1e-4)
    for measure in ("nDCG@10", "RR@10", "R@100"):
        assert judged["metrics"][RERANK][measure] == pytest.approx(reranked["metrics"]["reranked"][measure])
    qrels = read_qrels(tmp_path / "e" / RERANK / "qrels.txt")
    assert evaluate_run(qrels, one, ["nDCG@10"]).means["nDCG@10"] == judged["metrics"][RERANK]["nDCG@10"]
    assert judged["manifest"]["model_fingerprint"] == reranked["manifest"]["model_fingerprint"]
    assert reranked["manifest"]["labels"].keys() == {"Yes", "No"}
    assert reranked["counts"]["documents scored now"] == reranked["counts"]["candidates"]
    again = run(
        rerank.rerank,
        model,
        tmp_path / "r",
        f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}",
        "--gin.MAX_QUERIES=4",
    )
    assert again["counts"]["documents scored now"] == 0
    assert again["metrics"] == reranked["metrics"]


def test_evaluate_writes_every_kind_of_task_and_compares(model, tmp_path, restore_settings, capsys):
    names = "inters_query_expansion_gov2,inters_reading_comprehension_boolq_choices"
    options = [f"--gin.TASKS={names}", "--gin.MAX_EXAMPLES=3", "--gin.MAX_NEW_TOKENS=4"]
    first = run(evaluate.evaluate, model, tmp_path / "a", *options)
    assert set(first["metrics"]) == set(names.split(","))
    assert first["counts"]["inters_query_expansion_gov2"]["generated tokens"] <= 12
    assert first["manifest"]["tokenizer_sha256"] and first["manifest"]["versions"]["jax"]
    capsys.readouterr()
    second = run(evaluate.evaluate, model, tmp_path / "b", *options, f"--gin.COMPARE_WITH={tmp_path / 'a'}")
    head, *lines = [
        line.split() for line in capsys.readouterr().out.splitlines() if " n " in line or "inters_" in line
    ][-3:]
    assert head[:6] == ["task", "metric", "n", "before", "after", "change"]
    assert [line[0] for line in lines] == names.split(",") and all("+0.0000" in line for line in lines)
    assert second["metrics"] == first["metrics"]
    assert "before" in (tmp_path / "b" / "results.md").read_text()
    rows = (tmp_path / "a" / "inters_query_expansion_gov2" / "predictions.jsonl").read_text().splitlines()
    assert len(rows) == 3 and {"inputs_pretokenized", "prediction"} <= json.loads(rows[0]).keys()
    table = (tmp_path / "b" / "results.md").read_text()
    assert "+0.0000" in table and "Not the same" not in table
    assert "before → after" in table and "0 / 3 / 0" in table  # nothing won, nothing lost, three tied


def test_wrong_settings_end_with_one_line(model, tmp_path, restore_settings):
    with pytest.raises(
        SystemExit, match="no task or mixture is called 'inters_qery_expansion_gov2'; did you mean"
    ):
        run(evaluate.evaluate, model, tmp_path, "--gin.TASKS=inters_qery_expansion_gov2")
    with pytest.raises(SystemExit, match="is no ranking task; did you mean ms_marco"):
        run(
            rerank.rerank,
            model,
            tmp_path,
            f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}",
            "--gin.PAIR=msmarco",
        )
    with pytest.raises(SystemExit, match=r"no corpus\.jsonl here"):
        run(rerank.rerank, model, tmp_path, f"--gin.COLLECTION={tmp_path}")
