"""Lion, Adafactor and Muon against optax on single matrices, numpy, and the singular values of a matrix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_stand_ins import LOGICAL_AXES, TINY, TinyDecoder, random_batch

from inters_jax import mesh as meshes
from inters_jax.models.lora import layers
from inters_jax.run_folder import CheckpointError
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import Checkpoints
from inters_jax.training.optimizer import build_optimizer
from inters_jax.training.optimizers import Adafactor, AdamW, Lion, Muon, Optimizer
from inters_jax.training.program import build_program
from seqio_tasks.base import UserError

AXES = {
    "query": ("layers", "embed", "heads", "head_dim"),
    "output": ("layers", "heads", "head_dim", "embed"),
    "up": ("layers", "embed", "mlp"),
    "bias": ("layers", "heads", "head_dim"),
    "norm": ("norm",),
    "embedding": ("vocab", "embed"),
}
SHAPES = {
    "query": (3, 8, 2, 3), "output": (3, 2, 3, 8), "up": (3, 8, 5), "bias": (3, 2, 3), "norm": (8,),
    "embedding": (11, 8),
}  # fmt: skip
STEADY = {"warmup": 0, "schedule": "constant", "learning_rate": 0.1, "weight_decay": 0.0, "clip": None}


def built(optimizer: Optimizer, axes=AXES, **changes):
    """The transformation at a constant rate of 0.1, without decay and clipping."""
    return build_optimizer(OptimizerSettings(optimizer=optimizer, **(STEADY | changes)), 4, axes)[0]


def trees(count: int = 3):
    keys = jax.random.split(jax.random.key(0), count + 1)
    numbered = list(enumerate(SHAPES.items()))
    made = [
        {name: jax.random.normal(jax.random.fold_in(key, n), shape) for n, (name, shape) in numbered}
        for key in keys
    ]
    return made[0], made[1:]


def run(transformation, params, gradients):
    state = transformation.init(params)
    update = jax.jit(transformation.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def matrix(name: str, array: jax.Array) -> jax.Array:
    """[layers, inputs, outputs] of a kernel."""
    inputs = {"query": 8, "output": 6, "up": 8}[name]
    return array.reshape(3, inputs, -1)


def test_lion_moves_by_the_sign_and_decays_by_the_rate():
    transformation = built(Lion(), None, weight_decay=0.5)
    param, mean = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    params, gradients = {"w": jnp.asarray(param, jnp.float32)}, [[1.0, -3.0, 0.0], [-0.05, 0.1, 0.2]]
    done, _ = run(transformation, params, [{"w": jnp.asarray(g)} for g in gradients])
    for gradient in np.array(gradients):
        direction = np.sign(0.9 * mean + 0.1 * gradient)
        mean = 0.99 * mean + 0.01 * gradient
        param = param - 0.1 * (direction + 0.5 * param)
    np.testing.assert_allclose(done["w"], param, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
def test_adafactor_treats_each_layer_as_optax_treats_one_matrix(scaled):
    params, gradients = trees()
    transformation = built(Adafactor(parameter_scale=scaled))
    done, _ = run(transformation, params, gradients)
    reference = optax.adafactor(
        0.1,
        min_dim_size_to_factor=1,
        decay_rate=0.8,
        multiply_by_parameter_scale=scaled,
        clipping_threshold=1.0,
    )
    for name in ("query", "output", "up"):
        for layer in range(3):
            alone = [{"w": matrix(name, tree[name])[layer]} for tree in (params, *gradients)]
            expected, _ = run(reference, alone[0], alone[1:])
            np.testing.assert_allclose(matrix(name, done[name])[layer], expected["w"], rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_state_of_adafactor_is_next_to_nothing():
    params, gradients = trees(1)
    _, state = run(built(Adafactor()), params, gradients)
    sizes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert {(3, 8), (3, 6), (3, 5), (1, 11), (8,)} <= sizes
    assert not sizes & {SHAPES["query"], SHAPES["up"], SHAPES["embedding"]}


def test_muon_gives_every_layer_its_orthogonal_matrix():
    params, gradients = trees(1)
    done, state = run(built(Muon(nesterov=False)), params, gradients)
    for name in ("query", "output", "up"):
        moved = matrix(name, (params[name] - done[name]) / 0.1)
        for layer in range(3):
            u, values, v = np.linalg.svd(np.asarray(moved[layer]), full_matrices=False)
            scale = 0.2 * np.sqrt(max(moved.shape[1:]))
            assert np.all((values / scale > 0.5) & (values / scale < 1.3)), values / scale
            left, _, right = np.linalg.svd(
                np.asarray(matrix(name, gradients[0][name])[layer]), full_matrices=False
            )
            np.testing.assert_allclose(u @ v, left @ right, atol=0.02)  # the polar factor of the gradient
    one = np.abs((params["embedding"] - done["embedding"]) / 0.1)
    np.testing.assert_allclose(one, 1.0, rtol=1e-3)  # the first step of AdamW
    moments = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert moments.count(SHAPES["query"]) == 1 and moments.count(SHAPES["embedding"]) == 2


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_is_that_of_optax_given_the_axes(nesterov):
    """Of optax.contrib.muon the AdamW differs with Nesterov's momentum, which it takes over from Muon."""
    params, gradients = trees()
    done, _ = run(built(Muon(nesterov=nesterov)), params, gradients)
    dimensions = {
        "query": optax.contrib.MuonDimensionNumbers((1,), (2, 3)),
        "output": optax.contrib.MuonDimensionNumbers((1, 2), (3,)),
        "up": optax.contrib.MuonDimensionNumbers((1,), (2,)),
        "bias": None, "norm": None, "embedding": None,
    }  # fmt: skip
    reference = optax.contrib.muon(
        0.1, nesterov=nesterov, consistent_rms=0.2, adam_b2=0.95, muon_weight_dimension_numbers=dimensions
    )
    expected, _ = run(reference, params, gradients)
    for name, array in done.items():
        if dimensions[name] is not None or not nesterov:
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_muon_of_one_layer_is_that_of_optax():
    params, gradients = trees()
    single = [{"up": tree["up"][1]} for tree in (params, *gradients)]
    done, _ = run(built(Muon()), params, gradients)
    reference = optax.contrib.muon(0.1, consistent_rms=0.2)
    expected, _ = run(reference, single[0], single[1:])
    np.testing.assert_allclose(done["up"][1], expected["up"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "optimizer", [AdamW(), Adafactor(momentum=0.9), Lion(), Muon()], ids=lambda one: one.kind
)
def test_moments_in_bfloat16(optimizer: Optimizer):
    params, gradients = trees(2)
    transformation, _ = build_optimizer(
        OptimizerSettings(optimizer=optimizer, moment_dtype="bfloat16"), 4, AXES
    )
    done, state = run(transformation, params, gradients)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.shape == SHAPES["query"]}
    assert kinds == {jnp.dtype("bfloat16")} and done["query"].dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [Adafactor(), Lion(), Muon()], ids=lambda one: one.kind)
def test_the_update_of_lora_is_trained_by_each(optimizer: Optimizer):
    mesh = meshes.make_mesh("fsdp=1", jax.devices()[:1])
    program = build_program(
        TINY, device_mesh=mesh, optimizer=OptimizerSettings(optimizer=optimizer), total_steps=4, batch_size=8,
        max_length=32, dtype="float32", remat="none", lora=layers.LoRA(rank=2),
    )  # fmt: skip
    params = layers.adapter_parameters(program.like.params, 0, program.shardings.params)
    state = steps.init_state(params, program.transformation, program.shardings)
    keys = iter(jax.random.split(jax.random.key(0), 99))
    frozen = jax.tree.map(
        lambda leaf: 0.1 * jax.random.normal(next(keys), leaf.shape, leaf.dtype), program.frozen
    )
    before = jax.device_get(state.params)
    for number in range(2):  # A moves as soon as B is not zero
        state, _ = program.step(state, meshes.to_devices(mesh, random_batch(number), 8), frozen)
    changed = jax.tree.map(lambda one, other: bool(np.any(one != np.asarray(other))), before, state.params)
    assert all(jax.tree.leaves(changed))


def test_what_has_no_meaning_is_refused():
    for optimizer in (Muon(), Adafactor()):
        with pytest.raises(UserError, match=f"{optimizer.kind} needs the logical axes"):
            build_optimizer(OptimizerSettings(optimizer=optimizer), 10)
    with pytest.raises(UserError, match=r"Lion\.b2=0\.999 needs finer moments"):
        build_optimizer(OptimizerSettings(optimizer=Lion(b2=0.999), moment_dtype="bfloat16"), 10)


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [(Adafactor(), 0.01), (Lion(), 0.003), (Muon(), 0.01)],
    ids=lambda one: str(one)[:9],
)
def test_state_is_placed_like_its_parameters_learns_and_resumes(tmp_path, optimizer: Optimizer, rate: float):
    from flax import nnx

    mesh = meshes.make_mesh("fsdp=-1")
    structure, params = steps.Structure.split(TinyDecoder(nnx.Rngs(0)))
    transformation, _ = build_optimizer(
        OptimizerSettings(optimizer=optimizer, learning_rate=rate), 10, LOGICAL_AXES
    )
    shardings = steps.state_shardings(mesh, LOGICAL_AXES, params, transformation)
    state = steps.init_state(params, transformation, shardings)
    for moment in jax.tree.leaves(state.opt_state):
        if moment.shape == state.params["up"].shape:
            assert moment.sharding.is_equivalent_to(state.params["up"].sharding, 2)
    step = steps.make_train_step(structure, transformation, mesh, shardings, vocabulary=40)
    batch = meshes.to_devices(mesh, random_batch(0), 8)
    losses = []
    like = steps.abstract_state(params, transformation, shardings)
    kept = Checkpoints(tmp_path, {"model": "m", "optimizer_kind": optimizer.kind})
    for number in range(6):
        if number == 3:
            kept.save(state, wait=True)
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0]
    again = kept.restore(like)
    for _ in range(3):
        again, _ = step(again, batch)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(again))
    kept.close()
    other = Checkpoints(tmp_path, {"model": "m", "optimizer_kind": "AdamW"})
    with pytest.raises(CheckpointError, match="another optimiser"):
        other.restore(like)
    other.close()


@pytest.mark.slow
def test_a_mesh_of_eight_devices_gives_the_parameters_of_one():
    script = Path(__file__).with_name("optimizer_table.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ
        | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: (gap, beside) for name, gap, beside in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {"Adafactor", "Muon"}
    assert all(gap < 1e-5 and beside for gap, beside in found.values()), found
