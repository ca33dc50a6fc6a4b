"""`python -m inters_jax.rerank` with every method, on a tiny random model and the packaged sample."""

import json

import gin
import pytest
from model_stand_ins import SAMPLE, tiny_model

from inters_jax import rerank
from inters_jax.command_line import run_command
from inters_jax.evaluation import verify
from seqio_tasks.metrics.trec_files import read_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    small = {"hidden_size": 16, "intermediate_size": 24, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", **small)


def run(model, out, *arguments):
    gin.clear_config()  # a process runs one command; here the lock of the one before is opened
    fixed = [f"--gin.MODEL_DIR={model}", f"--gin.OUTPUT_DIR={out}", "--gin.DEPTH=7"]
    folder = f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}"
    run_command(rerank.rerank, [*fixed, folder, "--gin.MAX_QUERIES=2", *arguments])
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize(
    ("method", "options", "calls"),
    [
        ("query_likelihood", [], lambda n: n),
        ("pairwise", ["--gin.SORT=allpairs"], lambda n: n * (n - 1)),
        ("setwise", ["--gin.NUM_CHILD=2", "--gin.TOP_K=2"], None),
        (
            "listwise",
            ["--gin.WINDOW=4", "--gin.STRIDE=2", "--gin.WINDOW_PASSES=1"],
            lambda n: 1 + max(0, -(-(n - 4) // 2)),
        ),
        ("first_token", ["--gin.WINDOW=7"], lambda n: 1),
        ("self_consistency", ["--gin.WINDOW=7", "--gin.SHUFFLES=2"], lambda n: 2),
    ],
)
def test_every_method_runs_from_the_command_line(model, tmp_path, method, options, calls):
    result = run(model, tmp_path, f"--gin.METHOD={method}", "--gin.MEASURES=nDCG@5,P@1", *options)
    assert result["manifest"]["method"] == method and result["manifest"]["options"]
    assert set(result["metrics"]["reranked"]) == {"nDCG@5", "P@1"}
    first, reranked = (read_run(tmp_path / f"{name}.trec") for name in ("first_stage", "reranked"))
    assert {q: set(d) for q, d in first.items()} == {q: set(d) for q, d in reranked.items()}
    assert calls is None or result["cost"]["model calls"] == sum(
        calls(len(found)) for found in first.values()
    )
    assert result["cost"]["prompt tokens"] > 0 and result["documents per second"] > 0
    checked = verify.verify(tmp_path / "results.json")
    assert checked["figures"] == 4 + sum(map(len, result["paper_metrics"].values()))
    page = (tmp_path / "report.html").read_text()
    assert f"{result['metrics']['reranked']['nDCG@5']:.4f}" in page and "model calls per query" in page
    generated = result["cost"]["generated tokens"]
    assert generated > 0 if method in ("listwise", "self_consistency") else generated == 0


def test_a_weight_chosen_on_validation_queries_or_given_later_ranks_nothing_again(model, tmp_path):
    run(model, tmp_path / "dev", "--gin.SPLIT=validation")
    chosen = run(model, tmp_path / "test", f"--gin.INTERPOLATION={tmp_path / 'dev'}")
    assert chosen["counts"]["documents scored now"] == 13
    found = chosen["interpolation"]
    assert found["chosen_on"]["split"] == "validation" and found["chosen_on"]["measure"] == "nDCG@10"
    weights = found["chosen_on"]["weights"]
    best = [float(weight) for weight, mean in weights.items() if mean == max(weights.values())]
    assert found["weight"] == best[0] and len(weights) == 21
    given = run(model, tmp_path / "test", "--gin.INTERPOLATION=0.3")
    assert given["interpolation"] == {"weight": 0.3, "of": "scores, min-max", "chosen_on": None}
    assert given["counts"]["documents scored now"] == 0 and given["counts"]["queries resumed"] == 2
    assert given["metrics"]["reranked"] == chosen["metrics"]["reranked"]
    assert verify.verify(tmp_path / "test")["files"] == 5
    for arguments, message in (
        ([f"--gin.INTERPOLATION={tmp_path / 'test'}"], "test ranks 2 queries that this run ranks as well"),
        (
            [f"--gin.INTERPOLATION={tmp_path / 'dev'}", "--gin.METHOD=setwise"],
            "method is 'pointwise' and in t",
        ),
        ([f"--gin.INTERPOLATION={tmp_path / 'dev'}", "--gin.TEMPLATE=1"], "template is 0 and in this run 1"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(model, tmp_path / "other", *arguments)


def test_a_changed_run_is_not_verified(model, tmp_path):
    run(model, tmp_path)
    file = tmp_path / "reranked.trec"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], lines[-1].replace("inters-jax", "other")]) + "\n")
    with pytest.raises(verify.VerificationError, match="not the file that this result was made from"):
        verify.verify(tmp_path)


def test_options_reach_the_method_and_the_manifest(model, tmp_path):
    result = run(model, tmp_path, "--gin.METHOD=setwise", "--gin.NUM_CHILD=6", "--gin.TOP_K=1")
    assert result["manifest"]["method"] == "setwise"
    assert result["manifest"]["options"] == {"num_child": 6, "sort": "heapsort", "top_k": 1, "whole": False}
    assert result["cost"]["model calls"] == 2


def test_wrong_options_end_with_one_line(model, tmp_path):
    for arguments, message in (
        (["--gin.METHOD=setwise", "--gin.WINDOW=4"], "METHOD setwise has no option WINDOW; it has NUM_CHILD"),
        (["--gin.METHOD=listwise", "--gin.WINDOW=4", "--gin.STRIDE=5"], "STRIDE 5 is larger than WINDOW 4"),
        (["--gin.METHOD=bm25"], "METHOD='bm25' must be 'pointwise'"),
        (["--gin.MEASURES=nDGC@10"], "nDGC@10"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(model, tmp_path, *arguments)
