"""Two real processes as two hosts: one result, one fate, and a continuation on any number of hosts.

Every run has the same mesh of simulated devices (four in training, two where a model answers), in one process
or in two.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from model_stand_ins import SAMPLE, tiny_model
from training_stand_ins import make_store

import seqio_tasks
from inters_jax import hosts
from inters_jax.evaluation.judge import Judge
from inters_jax.models.loading import load_model
from inters_jax.run_folder import CHECKPOINTS, best_step, checkpoint_steps
from inters_jax.training.metrics import read_metrics
from seqio_tasks.metrics.trec_files import read_run
from seqio_tasks.tokenizer import HuggingFaceTokenizer

HERE = Path(__file__).parent
TASK = "inters_query_intent_classification_orcas_i"
# A record a step: a stop between two records would divide their means otherwise.
SETTINGS = {"train_steps": 40, "batch_size": 8, "checkpoint_every": 5, "log_every": 1, "tensorboard": False}

# Who notices first that a host is dead: our command; JAX's coordination service, which ends the process
# itself; or gloo, the collectives of CPUs, which does so, too, and (rarely) calls it a mismatch.
LOST = "another host of this run ended|another task died|distributed collective mismatch"

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Run:
    """The processes of a run, with their output in files."""

    def __init__(self, folder, command, count, by_flags=False, devices=4):
        folder.mkdir(parents=True, exist_ok=True)
        address = f"127.0.0.1:{free_port()}"
        self.outputs = [folder / f"host_{index}_of_{count}.log" for index in range(count)]
        self.processes = []
        for index, output in enumerate(self.outputs):
            environment = os.environ | {
                "JAX_PLATFORMS": "cpu",
                "JAX_NUM_CPU_DEVICES": str(devices // count),
                "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
            }
            who = {"COORDINATOR_ADDRESS": address, "NUM_PROCESSES": count, "PROCESS_ID": index}
            flags = [f"--gin.{name}={value}" for name, value in who.items()] if by_flags else []
            if count > 1 and not by_flags:
                environment |= {f"JAX_{name}": str(value) for name, value in who.items()}
            with output.open("w") as stream:
                self.processes.append(
                    subprocess.Popen([*command, *flags], env=environment, stdout=stream, stderr=stream)
                )

    def wait(self, timeout=300):
        """The exit codes."""
        try:
            return [process.wait(timeout) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def output(self, index=0):
        return self.outputs[index].read_text()

    def finish(self):
        assert self.wait() == [0] * len(self.processes), self.output() + self.output(-1)

    def wait_for_step(self, model_dir, step):
        while not any(found >= step for found in checkpoint_steps(model_dir)):
            assert all(process.poll() is None for process in self.processes), self.output() + self.output(-1)
            time.sleep(0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


@pytest.fixture(scope="module")
def start(store):
    def start(folder, count, settings=SETTINGS):
        launcher = [sys.executable, str(HERE / "host_launcher.py")]
        return Run(folder, [*launcher, str(folder / "run"), str(store), "10", json.dumps(settings)], count)

    return start


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    start(folder, 1).finish()
    return folder / "run"


def final_arrays(run):
    folder = (run / CHECKPOINTS / str(checkpoint_steps(run)[-1])).absolute()
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    trees = {}
    with ocp.StandardCheckpointer() as reader:
        for name in ("params", "opt_state"):
            shapes = reader.metadata(folder / name).item_metadata.tree
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
            trees[name] = reader.restore(folder / name, like)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trees)]


def largest_difference(run, reference):
    pairs = zip(final_arrays(run), final_arrays(reference), strict=True)
    return max(float(np.abs(one.astype(float) - other).max()) for one, other in pairs)


def assert_same_result(run, reference, record_property, name):
    """Sums over processes are taken in another order, so not to the bit."""
    assert checkpoint_steps(run)[-1] == checkpoint_steps(reference)[-1]
    difference = largest_difference(run, reference)
    record_property(f"largest difference of a parameter or moment, {name}", difference)
    assert difference <= 1e-6
    losses = {r["step"]: r["loss"] for r in read_metrics(run)}
    expected = {r["step"]: r["loss"] for r in read_metrics(reference)}
    np.testing.assert_allclose([losses[step] for step in expected], list(expected.values()), rtol=1e-5)


def test_the_command_on_two_hosts_is_the_command_on_one(tmp_path, record_property):
    settings = ["--gin_file=tiny.gin", f"--gin.MIXTURE_OR_TASK_NAME={TASK}", "--gin.TRAIN_STEPS=6",
                "--gin.MAX_LENGTH=128", "--gin.LOG_EVERY=1", "--gin.LEARNING_RATE=1e-3",
                "--gin.TENSORBOARD=False",
                "--gin.CHECK_SOURCES=False", "--gin.HEARTBEAT_TIMEOUT=30"]  # fmt: skip
    command = [sys.executable, "-m", "inters_jax.train", *settings]
    two = Run(tmp_path / "two", [*command, f"--gin.MODEL_DIR={tmp_path / 'two' / 'run'}"], 2, by_flags=True)
    two.finish()
    assert "an epoch has" in two.output(0) and "an epoch has" not in two.output(1)  # the store was made once
    assert "step 6/6" in two.output(0) and "step 6/6" not in two.output(1)
    store = tmp_path / "two" / "run" / "store"
    options = [f"--gin.MODEL_DIR={tmp_path / 'one' / 'run'}", f"--gin.STORE_DIR={store}"]
    one = Run(tmp_path / "one", [*command, *options], 1)
    one.finish()
    assert_same_result(tmp_path / "two" / "run", tmp_path / "one" / "run", record_property, "2 processes")


def test_a_killed_host_ends_the_other_and_one_host_resumes(start, alone, tmp_path, record_property):
    run = start(tmp_path, 2)
    run.wait_for_step(tmp_path / "run", 10)
    killed = time.monotonic()
    run.processes[1].send_signal(signal.SIGKILL)
    codes = run.wait(timeout=60)
    record_property("seconds until the other host ended", time.monotonic() - killed)
    assert codes[1] == -signal.SIGKILL and codes[0] not in (0, None)
    assert re.search(LOST, run.output())
    if codes[0] == hosts.LOST_A_HOST:
        assert "Start the same command again, on any number of hosts" in run.output()
    rest = start(tmp_path, 1, SETTINGS | {"mesh": "data=2,tensor=2"})  # and on another mesh
    rest.finish()
    assert "continuing from the checkpoint of step" in rest.output()
    assert_same_result(
        tmp_path / "run", alone, record_property, "2 processes with fsdp=4, then 1 with data=2,tensor=2"
    )


def test_one_host_is_joined_by_another_and_sigterm_stops_both(start, alone, tmp_path, record_property):
    first = start(tmp_path, 1)
    first.wait_for_step(tmp_path / "run", 5)
    first.processes[0].send_signal(signal.SIGKILL)
    first.wait()
    assert checkpoint_steps(tmp_path / "run")[-1] < SETTINGS["train_steps"]
    second = start(tmp_path, 2)
    second.wait_for_step(tmp_path / "run", checkpoint_steps(tmp_path / "run")[-1] + 5)
    second.processes[1].send_signal(signal.SIGTERM)
    assert second.wait() == [0, 0], second.output()
    last = checkpoint_steps(tmp_path / "run")[-1]
    if last < SETTINGS["train_steps"]:  # a fast machine may be through before the signal is agreed on
        assert f"stopped by SIGTERM after step {last} of" in second.output()
        start(tmp_path, 1).finish()
    assert_same_result(tmp_path / "run", alone, record_property, "1 process, then 2, then 1")


def test_hosts_share_the_queries_of_a_reranking_and_one_may_be_lost(tmp_path):
    """One of two hosts is killed in the middle; then there are two again, and the results are those of one.

    Scores agree to rounding: a host packs its own queries into batches (docs/reranking.md).
    """
    model = tiny_model(tmp_path / "model")
    command = [sys.executable, "-m", "inters_jax.rerank", f"--gin.MODEL_DIR={model}", "--gin.MAX_QUERIES=8",
               "--gin.DEPTH=10", f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}", "--gin.BATCH_TOKENS=512",
               "--gin.METHOD=query_likelihood", "--gin.HEARTBEAT_TIMEOUT=10"]  # fmt: skip
    out = tmp_path / "two"
    first = Run(tmp_path / "first", [*command, f"--gin.OUTPUT_DIR={out}"], 2, by_flags=True)
    journal = out / "scores.2of2.jsonl"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 1):
        assert all(process.poll() is None for process in first.processes), first.output() + first.output(1)
        time.sleep(0.02)
    first.processes[1].kill()
    assert first.wait()[0] != 0 and not (out / "results.json").exists()
    known = journal.read_bytes()
    Run(tmp_path / "second", [*command, f"--gin.OUTPUT_DIR={out}"], 2, by_flags=True).finish()
    assert journal.read_bytes().startswith(known[: known.rindex(b"\n") + 1])
    Run(tmp_path / "third", [*command, f"--gin.OUTPUT_DIR={tmp_path / 'one'}"], 1).finish()
    for name in ("first_stage.trec", "qrels.txt"):
        assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    ranked, expected = (read_run(folder / "reranked.trec") for folder in (out, tmp_path / "one"))
    assert {query: list(scores) for query, scores in ranked.items()} == {
        query: list(scores) for query, scores in expected.items()
    }
    for query, scores in expected.items():
        assert ranked[query] == pytest.approx(scores, rel=1e-6)
    two, one = (json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path / "one"))
    assert two["metrics"] == one["metrics"] and two["cost"]["model calls"] == one["cost"]["model calls"]


def test_hosts_share_the_questions_of_an_evaluation(tmp_path):
    model = tiny_model(tmp_path / "model")
    command = [sys.executable, "-m", "inters_jax.evaluate", f"--gin.MODEL_DIR={model}",
               "--gin.TASKS=inters_query_expansion_gov2", "--gin.MAX_EXAMPLES=6",
               "--gin.MAX_NEW_TOKENS=4"]  # fmt: skip
    out = tmp_path / "two"
    two = Run(tmp_path / "hosts", [*command, f"--gin.OUTPUT_DIR={out}"], 2, by_flags=True)
    two.finish()
    result = json.loads((out / "results.json").read_text())
    assert result["counts"]["inters_query_expansion_gov2"]["items"] == 6
    assert [path.name for path in (out / "inters_query_expansion_gov2").iterdir()] == ["predictions.jsonl"]
    assert "report.html" in two.output(0) and "report.html" not in two.output(1)


def test_hosts_hold_one_model_together_and_one_may_be_lost(tmp_path):
    """Two hosts have half of the model each; one is killed, two go on, and the result is that of one."""
    model = tiny_model(tmp_path / "model")
    command = [sys.executable, "-m", "inters_jax.rerank", f"--gin.MODEL_DIR={model}", "--gin.MAX_QUERIES=8",
               "--gin.DEPTH=10", f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}", "--gin.BATCH_TOKENS=512",
               "--gin.METHOD=query_likelihood", "--gin.HEARTBEAT_TIMEOUT=10", "--gin.MESH=tensor=-1",
               "--gin.ACROSS_HOSTS=True"]  # fmt: skip

    def start(name, count, out):
        arguments = [*command, f"--gin.OUTPUT_DIR={out}"]
        return Run(tmp_path / name, arguments, count, by_flags=count > 1, devices=2)

    out = tmp_path / "two"
    first = start("first", 2, out)
    journal = out / "scores.jsonl"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 1):
        assert all(process.poll() is None for process in first.processes), first.output() + first.output(1)
        time.sleep(0.02)
    first.processes[1].kill()
    code, _ = first.wait(timeout=60)
    assert code not in (0, None) and not (out / "results.json").exists()
    assert re.search(LOST, first.output())
    known = journal.read_bytes()
    second = start("second", 2, out)
    second.finish()
    assert "nDCG@10" in second.output(0) and "nDCG@10" not in second.output(1)
    whole = known[: known.rindex(b"\n") + 1]
    assert journal.read_bytes().startswith(whole)
    assert not list(out.glob("scores.*of*.jsonl"))  # there are no shares
    start("third", 1, tmp_path / "one").finish()
    for name in ("first_stage.trec", "qrels.txt"):
        assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    one, two = ({line["query"]: line for line in map(json.loads, (folder / "scores.jsonl").open())
                 if "query" in line} for folder in (tmp_path / "one", out))  # fmt: skip
    before = whole.count(b"\n") - 1
    for number, (query, line) in enumerate(two.items()):
        assert line["order"] == one[query]["order"]
        # To the bit; after a resumption other queries share the batches.
        tolerance = 0 if number < before else 1e-6
        np.testing.assert_allclose(line["scores"], one[query]["scores"], rtol=tolerance)
    results, alone = (json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path / "one"))
    assert results["manifest"] == alone["manifest"] and results["metrics"] == alone["metrics"]
    assert results["counts"]["queries resumed"] == before > 0


def test_hosts_of_a_run_evaluate_it_together_and_stop_it_alike(tmp_path):
    """Half of every parameter on each of two hosts; nothing is learned, so that the run ends early."""
    task, tokenizer = "inters_query_matching_msrp_choices", str(SAMPLE / "tokenizer")
    settings = {
        "tokenizer": tokenizer, "max_length": 512, "batch_size": 2, "train_steps": 3, "checkpoint_every": 3,
        "tensorboard": False, "learning_rate": 1e-30, "eval_every": 1, "eval_tasks": task, "eval_examples": 8,
        "eval_split": "test", "early_stop": 1, "keep_best": f"max:eval/{task}/accuracy",
        "model": {"vocab_size": 4096, "hidden_size": 16, "intermediate_size": 32, "num_layers": 1,
                  "num_heads": 2},
    }  # fmt: skip
    made = make_store(tmp_path / "store", vocab_size=4096)
    launcher = [sys.executable, str(HERE / "host_launcher.py"), str(tmp_path / "run"), str(made.folder), "30"]
    two = Run(tmp_path / "two", [*launcher, json.dumps(settings)], 2, devices=2)
    two.finish()
    assert "ended by EARLY_STOP after step 2 of 3" in two.output(0)
    assert "evaluated in" in two.output(0) and "evaluated in" not in two.output(1)
    records = {record["step"]: record for record in read_metrics(tmp_path / "run")}
    assert sorted(records) == [1, 2] and best_step(tmp_path / "run") in (1, 2)
    with seqio_tasks.settings.override():
        seqio_tasks.settings.configure(tokenizer=tokenizer, max_length=512, seed=0)
        judge = Judge(load_model(tmp_path / "run"), HuggingFaceTokenizer(tokenizer))
        alone = judge.run(task, "test", questions=8).metrics
    for record in records.values():
        assert {name: record[f"eval/{task}/{name}"] for name in alone} == pytest.approx(alone, abs=1e-6)
