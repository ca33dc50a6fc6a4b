"""Checkpoints: exact round trip while training goes on, keep rules, foreign and damaged checkpoints."""

from __future__ import annotations

import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from training_stand_ins import LOGICAL_AXES, VOCABULARY, TinyDecoder, random_batch

from inters_jax import mesh as meshes
from inters_jax.run_folder import (
    CheckpointError,
    checkpoint_steps,
    config_hash,
    resolve_step,
    restore_params,
    run_record,
)
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import checkpoints as cp
from inters_jax.training import step as steps
from inters_jax.training.optimizer import build_optimizer

IDENTITY = {"model": "m", "store": "s", "seed": 0, "batch_rows": 8, "max_length": 32, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def run():
    mesh = meshes.make_mesh()
    structure, params = steps.Structure.split(TinyDecoder(nnx.Rngs(0)))
    optimizer, _ = build_optimizer(OptimizerSettings(learning_rate=0.01), 10, LOGICAL_AXES)
    shardings = steps.state_shardings(mesh, LOGICAL_AXES, params, optimizer)
    step = steps.make_train_step(structure, optimizer, mesh, shardings, vocabulary=VOCABULARY)

    def fresh():
        return steps.init_state(jax.tree.map(jnp.copy, params), optimizer, shardings)

    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), fresh(), shardings)

    def advance(state, count):
        for _ in range(count):
            number = int(state.step)
            state, _ = step(state, meshes.to_devices(mesh, random_batch(number), 8))
        return state

    return fresh, advance, like


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))
        assert left.dtype == right.dtype


def test_resuming_equals_never_stopping_to_the_bit(run, tmp_path):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    state = advance(fresh(), 3)
    saver.save(state)
    state = advance(state, 4)  # overwrites donated buffers while the checkpoint is written
    saver.close()
    restored = cp.Checkpoints(tmp_path, IDENTITY).restore(like)
    assert int(restored.step) == 3
    assert_same(advance(restored, 4), state)


def test_keeps_the_newest_and_the_random_start(run, tmp_path):
    fresh, advance, _ = run
    saver = cp.Checkpoints(tmp_path, IDENTITY, keep=2, keep_first=True)
    state = fresh()
    for _ in range(5):
        saver.save(state)
        state = advance(state, 1)
    saver.close()
    assert checkpoint_steps(tmp_path) == [0, 3, 4]
    record = run_record(tmp_path, 4)
    parts = {name.split("/")[0] for name in record.pop("checksums")}
    assert parts == {"params", "opt_state"}
    assert record == IDENTITY | {"step": 4}


@pytest.mark.parametrize(
    ("best", "expected"), [("min:loss", [0, 1, 3, 4]), ("max:loss", [0, 2, 3, 4]), (None, [0, 3, 4])]
)
def test_the_best_and_every_third_stay_also_after_a_restart(run, tmp_path, best, expected):
    fresh, advance, _ = run
    state = fresh()
    for start in (0, 3):  # the second object knows the metrics of the first from disk
        saver = cp.Checkpoints(tmp_path, IDENTITY, keep=1, keep_every=3, keep_best=best, keep_first=True)
        for step in range(start, min(start + 3, 5)):
            saver.save(state, metrics={"loss": [3.0, 1.0, 9.0, float("nan"), 2.0][step]})
            state = advance(state, 1)
        saver.close()
    assert checkpoint_steps(tmp_path) == expected
    assert saver.best() == {"min:loss": (1, 1.0), "max:loss": (2, 9.0), None: None}[best]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_best": "loss"}, "must read min:METRIC or max:METRIC"),
        ({"keep": 0}, "at least the newest"),
        ({"keep_every": 0}, "KEEP_EVERY=0"),
    ],
)
def test_invalid_retention_rules_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        cp.Checkpoints(tmp_path, IDENTITY, **options)


def test_a_state_is_restored_in_another_type(run, tmp_path):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    state = advance(fresh(), 1)
    saver.save(state, wait=True)
    half = like._replace(
        params=jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=x.sharding), like.params
        )
    )
    restored = saver.restore(half)
    assert_same(restored.params, jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params))
    assert_same(restored.opt_state, state.opt_state)


def test_weights_alone_are_enough_to_start_from(run, tmp_path):
    fresh, _, _ = run
    state = fresh()
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(state, wait=True)
    saver.close()
    shutil.rmtree(tmp_path / "checkpoints" / "0" / "opt_state")
    shutil.rmtree(tmp_path / "checkpoints" / "0" / "run")
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state.params)
    assert_same(restore_params(tmp_path, None, abstract), state.params)


def test_a_run_without_checkpoints_restores_nothing(run, tmp_path):
    assert cp.Checkpoints(tmp_path, IDENTITY).restore(run[2]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "x"}, "another model .* model is 'm' there and 'x' here"),
        ({"store": "x"}, "another token store"),
        ({"seed": 1}, "another SEED"),
        ({"batch_rows": 4}, "another BATCH_SIZE"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(run, tmp_path, change, message):
    fresh, _, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.close()
    with pytest.raises(CheckpointError, match=message):
        cp.Checkpoints(tmp_path, IDENTITY | change).restore(like)


def test_another_learning_rate_is_reported_and_accepted(run, tmp_path, caplog):
    fresh, _, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.close()
    with caplog.at_level(logging.WARNING):
        assert cp.Checkpoints(tmp_path, IDENTITY | {"learning_rate": 0.02}).restore(like) is not None
    assert "learning_rate was 0.01" in caplog.text


def damage(folder, how):
    if how == "no record":
        shutil.rmtree(folder / "run")
    elif how == "no parameters":
        shutil.rmtree(folder / "params")
    else:
        for file in (folder / "params").rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("how", ["no record", "no parameters", "truncated files"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(run, tmp_path, caplog, how):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    later = advance(fresh(), 1)
    saver.save(later, wait=True)
    saver.close()
    damage(tmp_path / "checkpoints" / "1", how)
    with caplog.at_level(logging.WARNING):
        saver = cp.Checkpoints(tmp_path, IDENTITY)
        restored = saver.restore(like)
    assert int(restored.step) == 0
    assert "skipping the damaged checkpoint" in caplog.text
    saver.save(advance(restored, 1), wait=True)  # step 1 can be written again
    saver.close()
    assert checkpoint_steps(tmp_path) == [0, 1] and (tmp_path / "damaged_checkpoints" / "1").exists()


def array_files(folder):
    """The files of a checkpoint that hold arrays, the largest of each part."""
    parts = [
        sorted((folder / part).rglob("d/*"), key=lambda file: file.stat().st_size)
        for part in ("params", "opt_state")
    ]
    return [files[-1] for files in parts]


def test_a_flipped_bit_is_never_read_as_sound(run, tmp_path):
    """The values are those that were saved (the bit lay between the arrays), or it is damaged."""
    fresh, advance, like = run
    state = advance(fresh(), 1)
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(state, wait=True)
    saver.close()
    noticed = 0
    for part, file in enumerate(array_files(tmp_path / "checkpoints" / "1")):
        whole = file.read_bytes()
        for place in range(8, len(whole), len(whole) // 8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << (place % 8)
            file.write_bytes(flipped)
            try:
                restored = cp.Checkpoints(tmp_path, IDENTITY).restore(like)
                assert_same(restored.params, state.params)
                assert_same(restored.opt_state, state.opt_state)
            except CheckpointError as error:
                assert "no checkpoint can be read" in str(error)
                noticed += 1
            if part == 0:
                abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), state.params)
                expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params)
                try:  # as evaluate, rerank and export read it
                    assert_same(restore_params(tmp_path, None, abstract), expected)
                except CheckpointError as error:
                    assert "damaged" in str(error)
        file.write_bytes(whole)
    assert noticed >= 8


def test_an_array_that_changed_on_disk_is_named_and_the_checkpoint_before_is_used(run, tmp_path, caplog):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.save(advance(fresh(), 1), wait=True)
    saver.close()
    record = tmp_path / "checkpoints" / "1" / "run" / "metadata"
    sums = json.loads(record.read_text())
    sums["checksums"]["params/head"]["float32"] = "00000000"  # as if the array had changed instead
    record.write_text(json.dumps(sums))
    with pytest.raises(CheckpointError, match="damaged: the checksum of params/head is not the one"):
        restore_params(tmp_path, 1, like.params)
    with caplog.at_level(logging.WARNING):
        restored = cp.Checkpoints(tmp_path, IDENTITY).restore(like)
    assert int(restored.step) == 0 and "params/head" in caplog.text


def test_if_all_are_damaged_the_run_stops_and_nothing_is_moved(run, tmp_path):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.save(advance(fresh(), 1), wait=True)
    saver.close()
    damage(tmp_path / "checkpoints" / "0", "truncated files")
    damage(tmp_path / "checkpoints" / "1", "no parameters")
    for _ in range(2):  # a second start does not begin at step 0 either
        with pytest.raises(CheckpointError, match=r"no checkpoint can be read .*step 1.*step 0.*MODEL_DIR"):
            cp.Checkpoints(tmp_path, IDENTITY).restore(like)
    assert checkpoint_steps(tmp_path) == [0, 1] and not (tmp_path / "damaged_checkpoints").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        PermissionError(13, "Permission denied"),
        ValueError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes"),
        KeyError("mu"),
    ],
)
def test_an_error_that_is_no_damage_ends_the_run_and_moves_nothing(run, tmp_path, monkeypatch, error):
    fresh, advance, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.save(advance(fresh(), 1), wait=True)

    def fail(step, **_):
        raise error

    monkeypatch.setattr(saver._manager, "restore", fail)
    with pytest.raises(CheckpointError, match=r"1: cannot be read.*left as it is"):
        saver.restore(like)
    assert checkpoint_steps(tmp_path) == [0, 1] and not (tmp_path / "damaged_checkpoints").exists()


def test_a_setting_that_shapes_the_optimiser_state_is_refused_by_name(run, tmp_path):
    fresh, _, like = run
    settings = {"clip": 1.0, "optimizer": {"momentum": None}}
    saver = cp.Checkpoints(tmp_path, IDENTITY | {"optimizer": settings})
    saver.save(fresh(), wait=True)
    saver.close()
    more = like._replace(opt_state=(like.opt_state, jax.tree.leaves(like.params)[0]))
    changed = IDENTITY | {"optimizer": settings | {"optimizer": {"momentum": 0.9}}}
    with pytest.raises(CheckpointError, match=r"another form; optimizer\.momentum was None and is 0\.9 now"):
        cp.Checkpoints(tmp_path, changed).restore(more)
    with pytest.raises(CheckpointError, match=r"its optimiser state has another form; 000.* here"):
        cp.Checkpoints(tmp_path, IDENTITY | {"optimizer": settings}).restore(more)
    assert checkpoint_steps(tmp_path) == [0]


def test_an_incomplete_checkpoint_is_reported_and_skipped(run, tmp_path, caplog):
    fresh, _, like = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    saver.save(fresh(), wait=True)
    saver.close()
    (tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir()
    with caplog.at_level(logging.WARNING):
        assert int(cp.Checkpoints(tmp_path, IDENTITY).restore(like).step) == 0
    assert "incomplete checkpoint" in caplog.text and "7.orbax-checkpoint-tmp" in caplog.text


def test_parameters_alone_into_any_structure_and_type(run, tmp_path):
    fresh, advance, _ = run
    saver = cp.Checkpoints(tmp_path, IDENTITY)
    state = advance(fresh(), 2)
    saver.save(fresh(), wait=True)
    saver.save(state, wait=True)
    saver.close()
    abstract = nnx.eval_shape(lambda: nnx.state(TinyDecoder(nnx.Rngs(0)), nnx.Param))
    restored = restore_params(tmp_path, None, abstract)
    assert isinstance(restored, nnx.State)
    assert_same(nnx.to_pure_dict(restored), state.params)
    half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), state.params)
    assert_same(
        restore_params(tmp_path, 0, half), jax.tree.map(lambda x: x.astype(jnp.bfloat16), fresh().params)
    )
    with pytest.raises(CheckpointError, match="no checkpoint of step 5; found 0, 2"):
        restore_params(tmp_path, 5, half)
    wrong = dict(half, head=jax.ShapeDtypeStruct((3, 3), jnp.float32))
    with pytest.raises(CheckpointError, match=r"another model: head is \(16, 40\) there, \(3, 3\) here"):
        restore_params(tmp_path, 0, wrong)


def test_a_step_is_a_number_the_newest_or_the_best(run, tmp_path):
    fresh, advance, _ = run
    state = fresh()
    saver = cp.Checkpoints(tmp_path, IDENTITY | {"keep_best": "min:loss"}, keep=3)
    for loss in (2.0, 1.0, 3.0):
        saver.save(state, metrics={"loss": loss})
        state = advance(state, 1)
    saver.close()
    assert [resolve_step(tmp_path, step) for step in ("best", None, 0)] == [1, 2, 0]
    with pytest.raises(CheckpointError, match="STEP='last': must be a number, 'best', or None"):
        resolve_step(tmp_path, "last")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        resolve_step(tmp_path / "empty", None)


def test_a_configuration_has_one_name_whatever_the_order():
    one, same, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1})
    assert config_hash(one) == config_hash(same) != config_hash(other)
