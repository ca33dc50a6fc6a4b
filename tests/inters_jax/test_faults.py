"""Faults that are really done to a run; each time the same command ends in the bits of an undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from fault_launcher import FILLER
from lora_stand_ins import make_base
from training_stand_ins import make_store, run_train

from inters_jax.models.lora import base as bases
from inters_jax.models.lora.layers import LoRA
from inters_jax.run_folder import CHECKPOINTS, checkpoint_steps
from inters_jax.training.checkpoints import DAMAGED_FOLDER
from inters_jax.training.metrics import read_metrics

HERE = Path(__file__).parent
STEPS = 16
SETTINGS = {"train_steps": STEPS, "checkpoint_every": 4, "log_every": 1, "tensorboard": False}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_train(run, store, **SETTINGS)
    return run


def disturb(fault, step, run, store, **changes):
    command = [sys.executable, str(HERE / "fault_launcher.py"), fault, str(step), str(run), str(store)]
    return subprocess.Popen(
        [*command, json.dumps(SETTINGS | changes)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def final_arrays(run):
    """Parameters, moments and counters of the last checkpoint, by name."""
    folder = (run / CHECKPOINTS / str(checkpoint_steps(run)[-1])).absolute()
    with ocp.StandardCheckpointer() as reader:
        trees = {name: reader.restore(folder / name) for name in ("params", "opt_state")}
    return {jax.tree_util.keystr(path): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_flatten_with_path(trees)[0]}  # fmt: skip


def assert_equal_to_the_bit(run, reference):
    assert checkpoint_steps(run)[-1] == STEPS
    one, other = final_arrays(run), final_arrays(reference)
    assert one.keys() == other.keys() and len(one) > 20
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    assert [(r["step"], r["loss"]) for r in read_metrics(run)] == [
        (r["step"], r["loss"]) for r in read_metrics(reference)
    ]


def continue_run(run, store, capsys):
    capsys.readouterr()
    run_train(run, store, **SETTINGS)
    return capsys.readouterr().err


def test_killed_while_a_checkpoint_is_written(store, undisturbed, tmp_path, capsys, caplog):
    process = disturb("kill_in_save", 8, tmp_path, store)
    assert process.stdout.readline() == "writing\n", process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert checkpoint_steps(tmp_path) == [0, 4]
    assert [path for path in (tmp_path / CHECKPOINTS).iterdir() if path.name.startswith("8.orbax")]
    assert "continuing from the checkpoint of step 4" in continue_run(tmp_path, store, capsys)
    assert "skipping the incomplete checkpoint" in caplog.text
    assert_equal_to_the_bit(tmp_path, undisturbed)
    assert all(path.name.isdigit() for path in (tmp_path / CHECKPOINTS).iterdir())  # the half one is gone


def test_killed_while_a_step_runs(store, undisturbed, tmp_path, capsys):
    process = disturb("kill_in_step", 10, tmp_path, store)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    newest = checkpoint_steps(tmp_path)[-1]
    assert newest in (4, 8)  # that of step 8 may have been on its way
    assert f"continuing from the checkpoint of step {newest}" in continue_run(tmp_path, store, capsys)
    assert_equal_to_the_bit(tmp_path, undisturbed)


def test_sigterm_saves_the_very_step_and_resumes_from_there(store, undisturbed, tmp_path, capsys):
    process = disturb("sigterm", 9, tmp_path, store)
    _, output = process.communicate()
    assert process.returncode == 0 and f"stopped by SIGTERM after step 10 of {STEPS}" in output
    assert checkpoint_steps(tmp_path)[-1] == 10
    assert "continuing from the checkpoint of step 10" in continue_run(tmp_path, store, capsys)
    assert_equal_to_the_bit(tmp_path, undisturbed)


@pytest.mark.parametrize("base_dtype", ["int8", "nf4"])
def test_a_qlora_run_killed_twice_ends_in_the_same_bits(store, tmp_path, capsys, base_dtype):
    """The base is quantised again at every start, and the dropout drawn again."""
    base = str(make_base(tmp_path / "base"))
    lora = {"rank": 4, "base_dtype": base_dtype, "dropout": 0.1}
    given = {"model": base, "init": "pretrained", "tokenizer": base}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_train(whole, store, lora=LoRA(**lora), **given, **SETTINGS)
    for step in (7, 11):
        process = disturb("kill_in_step", step, broken, store, lora=lora, **given)
        _, output = process.communicate()
        assert process.returncode == -signal.SIGKILL, output
    newest = checkpoint_steps(broken)[-1]
    assert newest in (4, 8)  # that of step 8 may have been on its way
    capsys.readouterr()
    run_train(broken, store, lora=LoRA(**lora), **given, **SETTINGS)
    assert f"continuing from the checkpoint of step {newest}" in capsys.readouterr().err
    assert_equal_to_the_bit(broken, whole)
    records = [bases.record_of(run) for run in (broken, whole)]
    assert records[0] == records[1] and records[0].settings.base_dtype == base_dtype
    first = [record["loss"] for record in read_metrics(whole)]
    assert first[-1] < first[0]  # something was learnt


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_full_disk_is_named_and_with_room_the_run_resumes(
    store, undisturbed, small_disk, capsys, tensorboard
):
    run = small_disk / "run"
    process = disturb("fill", 9, run, store, tensorboard=tensorboard)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 1
    last = output.strip().splitlines()[-1]  # Orbax logs more before it
    assert "could not be written: no disk space is left in" in last and "0.00 of 0.00 GiB free" in last
    newest = checkpoint_steps(run)[-1]
    assert newest in (4, 8)
    (run / FILLER).unlink()
    assert f"continuing from the checkpoint of step {newest}" in continue_run(run, store, capsys)
    assert_equal_to_the_bit(run, undisturbed)


def test_files_that_may_not_grow_are_a_full_disk_too(store, undisturbed, tmp_path, capsys):
    process = disturb("limit", 9, tmp_path, store)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 1 and "no disk space is left in" in output
    continue_run(tmp_path, store, capsys)
    assert_equal_to_the_bit(tmp_path, undisturbed)


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("part", ["params", "opt_state"])
@pytest.mark.parametrize("how", [cut, zero])
def test_a_damaged_newest_checkpoint_costs_only_its_steps(
    store, undisturbed, tmp_path, capsys, caplog, part, how
):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    how(largest_file(run / CHECKPOINTS / str(STEPS) / part))
    assert f"continuing from the checkpoint of step {STEPS - 4}" in continue_run(run, store, capsys)
    assert f"skipping the damaged checkpoint {run / CHECKPOINTS / str(STEPS)}" in caplog.text
    assert (run / DAMAGED_FOLDER / str(STEPS)).is_dir()
    assert_equal_to_the_bit(run, undisturbed)
