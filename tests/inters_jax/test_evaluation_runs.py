"""evaluate as people run it: interrupted and continued, streamed, verified, and its page in a browser."""

import json
import os
import shutil
import subprocess
import sys

import gin
import pytest
import seqio
from browser_stand_ins import needs_browser, opened
from model_stand_ins import tiny_model

import seqio_tasks
from inters_jax import evaluate
from inters_jax.command_line import run_command
from inters_jax.evaluation import records, verify
from inters_jax.evaluation.judge import Judge, PlainConverter
from inters_jax.evaluation.records import JOURNAL
from inters_jax.inference.generate import Generator
from inters_jax.models.loading import load_model
from seqio_tasks.vocabularies import HuggingFaceVocabulary

RERANK = "inters_fact_retrieval_scifact_rerank"
CHOICES = "inters_reading_comprehension_boolq_choices"
TEXT = "inters_query_expansion_gov2"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def restore_settings():
    with seqio_tasks.settings.override():
        yield


def run(model, out, *arguments):
    gin.clear_config()
    options = [f"--gin.MODEL_DIR={model}", f"--gin.OUTPUT_DIR={out}", "--gin.MAX_NEW_TOKENS=4"]
    run_command(evaluate.evaluate, [*options, *arguments])
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """A finished evaluation of one task of each kind."""
    with seqio_tasks.settings.override():
        out = tmp_path_factory.mktemp("finished")
        result = run(model, out, f"--gin.TASKS={TEXT},{CHOICES},{RERANK}", "--gin.MAX_EXAMPLES=6")
        return out, result


@pytest.fixture(scope="module")
def shared_judge(model):
    return Judge(load_model(model), HuggingFaceVocabulary(str(model)), max_new_tokens=4)


@pytest.fixture
def judge(shared_judge, model, monkeypatch):
    """One judge for all tests, so that its programs are compiled once."""
    monkeypatch.setattr(shared_judge, "chunk_rows", 16)
    seqio_tasks.settings.configure(tokenizer=str(model))
    return shared_judge


def test_an_evaluation_killed_between_two_chunks_ends_in_the_same_figures(judge, tmp_path, monkeypatch):
    whole = judge.run(RERANK, "test", questions=6, folder=tmp_path / "whole")
    scorer, calls = judge.scorer.label_logits, []

    def dies(prompts, labels, **options):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scorer(prompts, labels, **options)

    monkeypatch.setattr(judge.scorer, "label_logits", dies)
    with pytest.raises(KeyboardInterrupt):
        judge.run(RERANK, "test", questions=6, folder=tmp_path / "cut")
    assert (tmp_path / "cut" / JOURNAL).is_file()
    again = judge.run(RERANK, "test", questions=6, folder=tmp_path / "cut")
    assert again.counts["rows resumed"] == 32  # two chunks of sixteen
    assert again.metrics == whole.metrics and again.run == whole.run
    assert sum(calls[3:]) == whole.counts["questions"] - 16  # nothing was asked twice


def test_a_generation_task_resumes_behind_its_journal(judge, tmp_path, monkeypatch):
    judge.chunk_rows = 2
    whole = judge.run(TEXT, "test", questions=6)
    generate, calls = judge.generator.generate, []

    def dies(prompts, **options):
        calls.append(len(prompts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(prompts, **options)

    monkeypatch.setattr(judge.generator, "generate", dies)
    with pytest.raises(KeyboardInterrupt):
        judge.run(TEXT, "test", questions=6, folder=tmp_path)
    again = judge.run(TEXT, "test", questions=6, folder=tmp_path)
    assert again.metrics == whole.metrics
    assert {k: v for k, v in again.counts.items() if k != "rows resumed"} == whole.counts


def test_shares_give_the_files_and_figures_of_one_process(model, finished, tmp_path, capsys, monkeypatch):
    out, whole = finished
    arguments = [f"--gin.TASKS={TEXT},{CHOICES},{RERANK}", "--gin.MAX_EXAMPLES=6"]
    for share in ("1/3", "3/3"):  # the second one is lost
        gin.clear_config()
        fixed = [f"--gin.MODEL_DIR={model}", f"--gin.OUTPUT_DIR={tmp_path}", "--gin.MAX_NEW_TOKENS=4"]
        assert run_command(evaluate.evaluate, [*fixed, *arguments, f"--gin.SHARD={share}"]) is None
        assert not (tmp_path / "results.json").exists()
    assert "share 3/3 is done; the same command without SHARD" in capsys.readouterr().out
    shares = [path.read_text().splitlines()[1:] for path in (tmp_path / TEXT).glob("predictions.*of3.jsonl")]
    asked, generate = [], Generator.generate

    def counted(self, prompts, **more):
        asked.extend(prompts)
        return generate(self, prompts, **more)

    monkeypatch.setattr(Generator, "generate", counted)
    result = run(model, tmp_path, *arguments)
    assert 0 < len(asked) == 6 - len(shares[0]) - len(shares[1]) < 6
    assert result["files"][TEXT] == whole["files"][TEXT] and result["metrics"] == whole["metrics"]
    for task in (CHOICES, RERANK):  # other batches: scores differ by rounding
        ours, theirs = (list(records.read(folder / task / "predictions.jsonl")) for folder in (tmp_path, out))
        for one, other in zip(ours, theirs, strict=True):
            assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-5)
        assert ours == theirs
    assert [path.name for path in (tmp_path / TEXT).iterdir()] == ["predictions.jsonl"]


def test_streamed_reranking_gives_what_seqio_evaluator_gives(judge):
    result = judge.run(RERANK, "test")
    evaluator = seqio.Evaluator(
        RERANK, feature_converter=PlainConverter(), eval_split="test", async_compute_metrics=False
    )
    scores = [record["score"] for record in result.examples]
    future, _ = evaluator.evaluate(
        compute_metrics=True, predict_fn=None, score_fn=lambda dataset: list(enumerate(scores))
    )
    theirs = future.result()[RERANK]
    for name, value in result.metrics.items():
        assert theirs[name] == value


def test_all_queries_of_a_collection_for_evaluation_only_count(judge, tmp_path):
    """Touche is trained on as well: of a trained pair only a tenth of the queries are tested."""
    folder = tmp_path / "beir_touche"
    (folder / "qrels").mkdir(parents=True)
    queries = [json.dumps({"_id": f"q{n}", "text": f"mill {n}"}) for n in range(12)]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    corpus = [json.dumps({"_id": f"d{n}", "title": "", "text": f"a mill {n}"}) for n in range(2)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus) + "\n")
    judged = [f"q{n}\td{n % 2}\t1" for n in range(12)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")
    seqio_tasks.settings.configure(raw_dir=str(tmp_path))
    for questions, count in ((None, 12), (5, 5)):
        result = judge.run("inters_ood_touche_rerank", "test", questions=questions)
        assert result.counts["queries"] == len(result.qrels) == count and len(result.run) == count


def test_chunks_and_batches_change_no_figure(judge, model):
    other = Judge(load_model(model), HuggingFaceVocabulary(str(model)), max_new_tokens=4, batch_tokens=2048)
    for task in (TEXT, CHOICES, RERANK):
        one, two = (j.run(task, "test", questions=6) for j in (judge, other))
        assert one.metrics == pytest.approx(two.metrics, abs=1e-9)
        for a, b in zip(one.examples, two.examples, strict=True):
            assert a.get("prediction") == b.get("prediction")
            assert a.get("score") == pytest.approx(b.get("score"), abs=1e-4)


def test_eight_devices_give_the_figures_of_one(model, tmp_path, finished):
    """In a process of its own, which has eight simulated devices."""
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
    command = [sys.executable, "-m", "inters_jax.evaluate", f"--gin.MODEL_DIR={model}"]
    command += [
        f"--gin.OUTPUT_DIR={tmp_path}",
        f"--gin.TASKS={TEXT},{CHOICES},{RERANK}",
        "--gin.MESH=fsdp=-1",
    ]
    command += ["--gin.MAX_EXAMPLES=6", "--gin.MAX_NEW_TOKENS=4"]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["manifest"]["device"].startswith("8 x ")
    for task, metrics in finished[1]["metrics"].items():
        assert result["metrics"][task] == pytest.approx(metrics, abs=1e-9)


def test_finished_tasks_are_not_judged_again(model, finished, tmp_path, capsys):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    again = run(model, out, f"--gin.TASKS={TEXT},{CHOICES},{RERANK}", "--gin.MAX_EXAMPLES=6")
    assert capsys.readouterr().out.count("judged before") == 3
    assert again["metrics"] == finished[1]["metrics"]
    with pytest.raises(SystemExit, match="is of another evaluation: max_examples is 6 there and 7 here"):
        run(model, out, f"--gin.TASKS={TEXT}", "--gin.MAX_EXAMPLES=7")


def test_a_result_is_verified_and_every_tampering_refused(finished, tmp_path, capsys):
    both = [*finished[1]["metrics"].values(), *finished[1]["paper_metrics"].values()]
    assert verify.verify(finished[0])["figures"] == sum(map(len, both)) > 20

    def tampered(file, change):
        out = tmp_path / file.replace("/", "_")
        shutil.copytree(finished[0], out)
        text = (out / file).read_text()
        assert change(text) != text
        (out / file).write_text(change(text))
        with pytest.raises(verify.VerificationError) as caught:
            verify.verify(out / "results.json")
        return str(caught.value)

    figure = repr(finished[1]["metrics"][RERANK]["nDCG@10"])
    assert "nDCG@10 is 0.123" in tampered("results.json", lambda text: text.replace(figure, "0.123"))
    said = tampered(f"{CHOICES}/predictions.jsonl", lambda text: text.replace('"score": -', '"score": -9'))
    assert "not the file that this result was made from" in said
    shutil.copytree(finished[0], tmp_path / "gone")
    (tmp_path / "gone" / RERANK / "qrels.txt").unlink()
    assert verify.main([str(tmp_path / "gone" / "results.json")]) == 1
    assert "qrels.txt: missing" in capsys.readouterr().out


def test_a_result_of_a_task_that_is_not_declared_here_is_named(tmp_path):
    with pytest.raises(
        verify.VerificationError, match=r"inters_desk_rerank is not known here.*INTERS_DATASETS"
    ):
        verify._judged(tmp_path, "inters_desk_rerank")


@needs_browser
def test_the_page_opens_in_a_browser(finished, tmp_path):
    shown = opened(finished[0] / "report.html", tmp_path / "profile")
    for expected in ("Movement per query", "Worst questions", "Mistral-7B (paper)", "95 % interval", "<svg"):
        assert expected in shown
    figure = f"{finished[1]['metrics'][RERANK]['nDCG@10']:.4f}"
    assert figure in shown
    for name in ("results.md", "results.csv", "results.tex"):
        assert figure in (finished[0] / name).read_text()
