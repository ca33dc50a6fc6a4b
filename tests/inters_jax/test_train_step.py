"""The jitted step: normalisation, gradient accumulation, donation, bfloat16 compute, meshes of 8 devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from training_stand_ins import LOGICAL_AXES, VOCABULARY, TinyDecoder, random_batch

from inters_jax import mesh as meshes
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.optimizer import build_optimizer


def setup(mesh_line="fsdp=-1", microbatches=1, dtype=jnp.float32, **options):
    mesh = meshes.make_mesh(mesh_line)
    structure, params = steps.Structure.split(TinyDecoder(nnx.Rngs(0), dtype))
    optimizer, _ = build_optimizer(OptimizerSettings(learning_rate=0.01), 10, LOGICAL_AXES)
    shardings = steps.state_shardings(mesh, LOGICAL_AXES, params, optimizer)
    state = steps.init_state(params, optimizer, shardings)
    step = steps.make_train_step(
        structure, optimizer, mesh, shardings, vocabulary=VOCABULARY, microbatches=microbatches, **options
    )
    return mesh, structure, state, step


def run_steps(count=3, rows=8, **options):
    mesh, _, state, step = setup(**options)
    seen = []
    for number in range(count):
        state, metrics = step(state, meshes.to_devices(mesh, random_batch(number, rows), rows))
        seen.append([float(metrics.loss), float(metrics.grad_norm), float(metrics.target_tokens)])
    return state, np.array(seen)


def test_loss_is_the_mean_over_all_target_tokens():
    mesh, structure, state, step = setup()
    batch = random_batch(0)
    model = structure.bind(jax.tree.map(jnp.copy, state.params))
    hidden = model.hidden(
        batch["decoder_input_tokens"], batch["decoder_segment_ids"], batch["decoder_positions"]
    )
    log_softmax = jax.nn.log_softmax(model.logits(hidden))
    chosen = np.take_along_axis(log_softmax, batch["decoder_target_tokens"][..., None], -1)[..., 0]
    weights = batch["decoder_loss_weights"]
    _, metrics = step(state, meshes.to_devices(mesh, batch, 8))
    assert float(metrics.target_tokens) == weights.sum()
    np.testing.assert_allclose(metrics.loss, -(chosen * weights).sum() / weights.sum(), rtol=1e-5)
    np.testing.assert_allclose(metrics.row_losses, -(chosen * weights).sum(1), rtol=1e-4)


def test_training_lowers_the_loss():
    mesh, _, state, step = setup()
    batch = meshes.to_devices(mesh, random_batch(0), 8)
    values = []
    for _ in range(10):
        state, metrics = step(state, batch)
        values.append(float(metrics.loss))
    assert values[-1] < values[0] - 0.1 and int(state.step) == 10


@pytest.mark.parametrize("microbatches", [2, 4, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(microbatches):
    # Rows have different numbers of targets, so averaging the means of the microbatches would differ.
    whole_state, whole = run_steps()
    parts_state, parts = run_steps(microbatches=microbatches)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    for one, other in zip(
        jax.tree.leaves(whole_state.params), jax.tree.leaves(parts_state.params), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_row_losses_keep_the_order_of_rows_across_microbatches():
    rows = {}
    for microbatches in (1, 4):
        mesh, _, state, step = setup(microbatches=microbatches)
        _, metrics = step(state, meshes.to_devices(mesh, random_batch(0), 8))
        rows[microbatches] = np.asarray(metrics.row_losses)
    np.testing.assert_allclose(rows[1], rows[4], rtol=1e-5)


def test_chunked_logits_change_nothing():
    _, whole = run_steps()
    _, chunked = run_steps(max_logits=8 * 2 * VOCABULARY)
    np.testing.assert_allclose(chunked, whole, rtol=1e-5)


def test_a_batch_without_targets_teaches_nothing_and_stays_finite():
    mesh, _, state, step = setup()
    batch = random_batch(0)
    batch["decoder_loss_positions"][:] = 32
    _, metrics = step(state, meshes.to_devices(mesh, batch, 8))
    assert float(metrics.loss) == 0 and float(metrics.grad_norm) == 0


def test_parameters_and_moments_stay_float32_when_computing_in_bfloat16():
    state, seen = run_steps(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    _, reference = run_steps()
    np.testing.assert_allclose(seen[:, 0], reference[:, 0], rtol=0.02)
    assert np.isfinite(seen).all()


def test_a_step_that_is_not_finite_changes_only_its_number():
    mesh, _, state, step = setup()
    state, _ = step(state, meshes.to_devices(mesh, random_batch(0), 8))
    before = jax.device_get(state)
    bad = random_batch(1)
    bad["decoder_loss_weights"][3, 0] = np.nan
    bad["decoder_loss_positions"][3, 0] = 0
    state, metrics = step(state, meshes.to_devices(mesh, bad, 8))
    assert not np.isfinite(metrics.loss) and int(state.step) == 2
    pairs = list(zip(jax.tree.leaves(before[1:]), jax.tree.leaves(state[1:]), strict=True))
    changed = [(int(one), int(other)) for one, other in pairs if not np.array_equal(one, other)]
    assert changed == [(1, 2)]  # the learning rate follows the number of the step
    state, metrics = step(state, meshes.to_devices(mesh, random_batch(2), 8))
    assert np.isfinite(metrics.loss) and np.isfinite(state.params["head"]).all()


def test_the_state_is_donated():
    mesh, _, state, step = setup()
    old = state.params["head"]
    step(state, meshes.to_devices(mesh, random_batch(0), 8))
    assert old.is_deleted()


EIGHT_DEVICES = """
import json, jax
from test_train_step import run_steps
assert jax.device_count() == 8
lines = json.loads(%r)
results = {}
for line, microbatches in lines:
    state, seen = run_steps(mesh_line=line, microbatches=microbatches, rows=16)
    results[f"{line}/{microbatches}"] = {
        "seen": seen.tolist(), "head": jax.device_get(state.params["head"]).tolist(),
        "pieces": len({str(s.index) for s in state.params["up"].addressable_shards})}
print(json.dumps(results))
"""


@pytest.mark.slow
def test_eight_devices_in_any_mesh_give_the_result_of_one():
    lines = [["data=8", 1], ["fsdp=8", 1], ["fsdp=4,tensor=2", 1], ["data=2,fsdp=2,tensor=2", 2],
             ["replica=2,sequence=2,fsdp=2", 1], ["fsdp=4,tensor=2", 4]]  # fmt: skip
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path(meshes.__file__).parents[1]}",
    }
    script = EIGHT_DEVICES % json.dumps(lines)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    state, reference = run_steps(rows=16)
    for name, result in results.items():
        np.testing.assert_allclose(result["seen"], reference, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(result["head"], state.params["head"], atol=2e-5, err_msg=name)
    assert [results[f"{line}/{parts}"]["pieces"] for line, parts in lines] == [1, 8, 8, 4, 2, 8]
