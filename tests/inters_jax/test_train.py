"""The command as a whole: run folder, resuming, refusals, kill -9, SIGTERM, and what it imports."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from training_stand_ins import TINY, Prepared, make_store, run_train

from inters_jax import config, train
from inters_jax.command_line import parse_arguments, run_command
from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.run_folder import CheckpointError, checkpoint_steps, restore_params, run_record
from inters_jax.settings.commands import settings_of_command
from inters_jax.training import prepare_store
from inters_jax.training.metrics import read_metrics
from seqio_tasks.base import UserError

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": f"{HERE}{os.pathsep}{Path(config.__file__).parents[1]}",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


def final_params(run):
    return jax.tree.leaves(restore_params(run, None, abstract_model(TINY)[1]))


def assert_same_params(one, other):
    for left, right in zip(final_params(one), final_params(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, run_train(run, store)


def test_a_run_folder_holds_a_whole_model_and_its_history(finished):
    run, result = finished
    assert result["step"] == 12 and result["loss"] < read_metrics(run)[0]["loss"]
    assert checkpoint_steps(run) == [0, 10, 12]
    assert config_from_hf(run / "model").num_layers == TINY.num_layers
    assert (run / "model" / "tokenizer.json").is_file() and (run / "operative_config.gin").is_file()
    record = run_record(run, 12)
    assert record["step"] == 12 and record["seed"] == 0 and record["batch_rows"] == 4
    assert len(record["model"]) == 16 and len(record["store"]) == 64


def test_a_finished_run_has_nothing_to_do(finished, store, capsys):
    run, _ = finished
    assert run_train(run, store) == {"step": 12}
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_in_two_parts_is_the_run_in_one(finished, store, tmp_path, monkeypatch):
    def stop_after_seven(self, step):
        return "SIGTERM" if step == 7 else None

    with monkeypatch.context() as patch:
        patch.setattr("inters_jax.training.signals.StopSignals.received", stop_after_seven)
        assert run_train(tmp_path, store)["step"] == 7
    assert run_train(tmp_path, store)["step"] == 12
    assert_same_params(tmp_path, finished[0])
    assert [r["step"] for r in read_metrics(tmp_path)] == [3, 6, 7, 9, 12]


@pytest.mark.slow
def test_a_run_continues_in_another_precision_and_cut_of_the_batch(finished, store, tmp_path, caplog):
    run_train(tmp_path, store, train_steps=4)
    run_train(tmp_path, store, train_steps=6, dtype="bfloat16", remat="full", microbatches=2)
    assert checkpoint_steps(tmp_path)[-1] == 6
    assert "total_steps was 4" in caplog.text and "dtype was float32" in caplog.text


def test_another_model_or_store_in_the_folder_is_refused(finished, store, tmp_path):
    other = DecoderConfig(vocab_size=64, hidden_size=8, intermediate_size=8, num_layers=1, num_heads=2)
    with pytest.raises(CheckpointError, match=r"another model \(MODEL\)"):
        run_train(finished[0], store, model=other)
    with pytest.raises(CheckpointError, match="another token store"):
        run_train(finished[0], make_store(tmp_path / "store", examples=100).folder)


def test_a_run_whose_configuration_was_edited_is_neither_read_nor_continued(finished, store, tmp_path):
    run, _ = finished
    file = run / "model" / "config.json"
    written = file.read_text()
    edited = json.loads(written)
    try:
        file.write_text(json.dumps(edited | {"torch_dtype": "float32"}))  # a key that changes nothing
        assert loading.config_of(run) == TINY
        file.write_text(json.dumps(edited | {"rope_theta": 500.0}))
        for read in (
            lambda: loading.load_model(run),
            lambda: loading.config_of(run),
            lambda: run_train(run, store),
            lambda: run_train(tmp_path / "run", store, model=str(run), init="pretrained"),
        ):
            with pytest.raises(
                CheckpointError,
                match=r"config\.json: changed since .* checkpoint \d+ .* Put back the file",
            ):
                read()
    finally:
        file.write_text(written)


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another_run(finished, store, tmp_path):
    run_train(tmp_path, store, model=str(finished[0]), init="pretrained", train_steps=3)
    assert checkpoint_steps(tmp_path) == [3]  # no step 0: the start can be read again
    first = read_metrics(tmp_path)[0]["loss"]
    assert first < read_metrics(finished[0])[0]["loss"]


@pytest.mark.slow
def test_a_hugging_face_folder_starts_like_the_run_it_was_made_of(finished, store, tmp_path):
    graphdef, abstract = abstract_model(TINY)
    trained = nnx.merge(graphdef, restore_params(finished[0], None, abstract))
    folder = huggingface.save(trained, tmp_path / "hf", tokenizer=finished[0] / "model")
    for name, model in (("a", folder), ("b", finished[0])):
        run_train(tmp_path / name, store, model=str(model), init="pretrained", train_steps=2, log_every=1)
    one, other = ([record["loss"] for record in read_metrics(tmp_path / name)] for name in ("a", "b"))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "pretrained"}, "MODEL is only a shape"),
        ({"init": "best"}, "INIT='best' must be 'pretrained', 'random'"),
        ({"train_steps": None, "epochs": None}, "how long the run is"),
        ({"mesh": "fsdp=3"}, "needs 3 devices"),
        ({"model": dataclasses.replace(TINY, vocab_size=60)}, "has 64 tokens"),
        ({"model": "no/such/folder"}, "no such folder"),
        ({"batch_size": 3, "microbatches": 2}, "BATCH_SIZE=3"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(store, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_train(tmp_path, store, **changes)


@pytest.mark.slow
def test_epochs_set_the_length_of_a_run(store, tmp_path):
    result = run_train(tmp_path, store, train_steps=None, epochs=2, checkpoint_every=1000)
    assert result["epoch"] == 1 and sum(r["examples"] for r in read_metrics(tmp_path)) == 2 * 220


def test_the_recipe_runs_on_a_laptop_with_the_tiny_model(store, tmp_path, monkeypatch):
    seen = {}

    def start(settings):
        seen.update(settings)
        return Prepared({"STORE_DIR": str(store)})

    monkeypatch.setattr(prepare_store, "start_preparing", start)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    arguments = ["--gin_file=mistral.gin", "--gin_file=tiny.gin", f"--gin.MODEL_DIR={tmp_path / 'run'}",
                 "--gin.TRAIN_STEPS=3", "--gin.MAX_LENGTH=64", f"--gin.TOKENIZER={tmp_path / 'tokenizer'}",
                 "--gin.TENSORBOARD=False"]  # fmt: skip
    result = run_command(train.train, arguments)
    assert result["step"] == 3
    assert seen["REBUILD"] is True and seen["PASSES"] == 1 and seen["MAX_LENGTH"] == 64
    assert set(seen) == set(settings_of_command("prepare"))  # everything that prepare reads, and nothing else
    command = prepare_store.prepare_command(seen)
    assert not [part for part in command if "gin_file" in part or "TRAIN_STEPS" in part]
    assert seen["MIXTURE_OR_TASK_NAME"] == "inters" and seen["STORE_DIR"] == str(tmp_path / "run" / "store")
    text = (tmp_path / "run" / "operative_config.gin").read_text()
    for line in ("OPTIMIZER = @AdamW()", "WEIGHT_DECAY = 0.1", "TRAIN_STEPS = 3", "TENSORBOARD = False",
                 "DecoderConfig.sliding_window = 1024"):  # fmt: skip
        assert line in text.splitlines()
    assert set(settings_of_command("train")) <= {line.partition(" = ")[0] for line in text.splitlines()}


def test_a_store_is_prepared_for_devices_that_are_elsewhere(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare_store, "start_preparing", lambda _: Prepared({"STORE_DIR": str(store)}))
    (tmp_path / "tokenizer.json").write_text("{}")
    arguments = ["--gin_file=mistral.gin", "--gin_file=tiny.gin", f"--gin.MODEL_DIR={tmp_path / 'run'}",
                 "--gin.MAX_LENGTH=64", f"--gin.TOKENIZER={tmp_path / 'tokenizer.json'}",
                 "--gin.MESH=fsdp=4096", "--gin.PREPARE_ONLY=True"]  # fmt: skip
    assert run_command(train.train, arguments) == {}
    assert re.search(r"store: ready, \d+ examples an epoch", capsys.readouterr().out)
    assert not (tmp_path / "run" / "checkpoints").exists()
    with pytest.raises(SystemExit, match="fsdp=4096"):
        run_command(train.train, arguments[:-1])


def test_prepare_reads_the_values_that_it_is_given():
    values = {
        "STORE_DIR": Path("runs/a b/it's"), "TOKENIZER": "@not/a_reference", "RAW_DIR": None, "SEED": 7,
        "CHAT_TEMPLATE": "%macro\n\"line\" \\ é", "MIXTURE_OR_TASK_NAME": "1e-5",
        "MODULES": ("seqio_tasks", "flan"), "CACHE_DIRS": ("one",), "TEMPLATES": (),
        "REBUILD": True, "MAX_LENGTH": 2048,
    }  # fmt: skip
    line = parse_arguments(prepare_store.prepare_command(values)[3:])
    assert line.files == () and line.search_paths == ()
    read = config.values_of(*config.load("prepare", line.files, line.overrides, []))
    assert {name: read[name] for name in values} == values | {"STORE_DIR": "runs/a b/it's"}
    with pytest.raises(TypeError, match=r"SEED=.* is no plain value"):
        prepare_store.prepare_command({"SEED": object()})


def test_prepare_gets_no_gin_file_of_the_run_and_its_failure_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    preparation = prepare_store.start_preparing({"STORE_DIR": str(tmp_path / "store"), "REBUILD": True})
    assert preparation._process.args == [
        "/bin/false", "-m", "inters_jax.prepare", f"--gin.STORE_DIR='{tmp_path}/store'",
        "--gin.REBUILD=True",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"no usable token store at .*store.* exit code 1"):
        preparation.wait()


def start_process(run, store, steps, every):
    script = (
        "import sys; from pathlib import Path; from training_stand_ins import run_train; "
        "run_train(Path(sys.argv[1]), Path(sys.argv[2]), "
        f"train_steps={steps}, checkpoint_every={every}); "
        "print({'tensorflow', 'seqio', 'seqio_tasks.registration'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(run), str(store)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def wait_for_step(process, run, step):
    """Until the run has a checkpoint of at least this step."""
    deadline = time.monotonic() + 300
    while not any(found >= step for found in checkpoint_steps(run)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_killed_with_sigkill_twice_ends_in_the_same_bits(store, tmp_path):
    steps, every = 300, 20
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start_process(whole, store, steps, every)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.strip() == "set()"  # a whole run has loaded neither TensorFlow nor SeqIO
    killed_at = []
    for reach in (60, 120):
        process = start_process(broken, store, steps, every)
        wait_for_step(process, broken, reach)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed_at.append(checkpoint_steps(broken)[-1])
    assert killed_at[-1] < steps, "the run was over before it could be killed"
    process = start_process(broken, store, steps, every)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert f"continuing from the checkpoint of step {killed_at[-1]}" in err
    assert_same_params(broken, whole)
    numbers = [record["step"] for record in read_metrics(broken)]
    assert numbers == sorted(set(numbers)) and numbers[-1] == steps


@pytest.mark.slow
def test_sigterm_saves_and_ends_cleanly(store, tmp_path):
    process = start_process(tmp_path, store, 5000, 50)
    wait_for_step(process, tmp_path, 50)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    last = checkpoint_steps(tmp_path)[-1]
    assert f"stopped by SIGTERM after step {last} of 5000; checkpoint saved" in err
    assert read_metrics(tmp_path)[-1]["step"] == last


MESHES = """
import json, sys
from pathlib import Path
from training_stand_ins import run_train, TINY
import dataclasses, jax
assert jax.device_count() == 8
model = dataclasses.replace(TINY, num_heads=4, num_kv_heads=2, head_dim=8)
folder, store = Path(sys.argv[1]), Path(sys.argv[2])
for mesh in ["fsdp=8", "fsdp=2,tensor=4", "data=2,sequence=2,fsdp=2"]:
    run_train(folder / mesh, store, model=model, mesh=mesh, batch_size=8, train_steps=4, log_every=1,
    remat="full")
"""


@pytest.mark.slow
def test_every_mesh_of_eight_devices_trains_alike(store, tmp_path):
    environment = ENVIRONMENT | {"JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, "-c", MESHES, str(tmp_path), str(store)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model = dataclasses.replace(TINY, num_heads=4, num_kv_heads=2, head_dim=8)
    run_train(tmp_path / "one", store, model=model, batch_size=8, train_steps=4, log_every=1, remat="full")
    expected = [record["loss"] for record in read_metrics(tmp_path / "one")]
    runs = sorted(path for path in tmp_path.iterdir() if path.is_dir() and "=" in path.name)
    assert len(runs) == 3  # test_mesh_equality.py has all others
    for run in runs:
        losses = [record["loss"] for record in read_metrics(run)]
        np.testing.assert_allclose(losses, expected, rtol=1e-5, err_msg=run.name)


def test_the_record_of_a_checkpoint_is_json(finished):
    file = finished[0] / "checkpoints" / "12" / "run" / "metadata"
    assert json.loads(file.read_text())["max_length"] == 24
