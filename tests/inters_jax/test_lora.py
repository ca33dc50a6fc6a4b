"""LoRA and QLoRA: equal to a dense reference, only updates change, the base stays as qwix keeps it."""

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
import qwix
from flax import nnx
from lora_stand_ins import LENGTH, ROWS, SHAPE, batch, leaves, make, run

from inters_jax.models.config import ModelError
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.hf.folder import load, save
from inters_jax.models.lora import base, layers, quantisation, trainable
from inters_jax.models.lora.layers import LoRA
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    config = config_from_hf({"model_type": "llama", **SHAPE})
    return save(Decoder(config, rngs=nnx.Rngs(params=1)), tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def plain(folder):
    return make(folder, LoRA(rank=4, base_dtype="float32", targets=("q_proj", "v_proj")))


@pytest.fixture(scope="module")
def quantised(folder):
    return make(
        folder,
        LoRA(rank=8, base_dtype="nf4"),
        optimizer=OptimizerSettings(learning_rate=0.02, schedule="constant"),
    )


def logits(program, params, frozen) -> np.ndarray:
    model = program.structure.bind(trainable.join(params, frozen))
    given = batch()
    return np.asarray(
        model(given["decoder_input_tokens"], given["decoder_segment_ids"], given["decoder_positions"])
    )


def base_logits(folder: Path) -> np.ndarray:
    given = batch()
    return np.asarray(
        load(folder)(given["decoder_input_tokens"], given["decoder_segment_ids"], given["decoder_positions"])
    )


@pytest.mark.slow
def test_a_fresh_update_changes_no_logit(folder, plain):
    program, state, frozen = plain
    np.testing.assert_array_equal(logits(program, state.params, frozen), base_logits(folder))


@pytest.mark.slow
def test_only_updates_are_trained_and_have_moments(plain):
    program, state, frozen = plain
    before, kept = leaves(state.params), leaves(frozen)
    assert set(before) == {
        f"layers/attention/{name}/lora_{part}" for name in ("query", "value") for part in "ab"
    }
    moments = [leaf.shape for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert sorted(moments) == sorted(2 * [leaf.shape for leaf in before.values()])
    state, losses = run(program, jax.tree.map(jnp.copy, state), frozen, 3)
    after = leaves(state.params)
    assert losses[-1] != losses[0] and all((after[name] != before[name]).any() for name in before)
    for name, leaf in leaves(frozen).items():
        np.testing.assert_array_equal(leaf, kept[name])


@pytest.mark.slow
def test_gradients_are_those_of_the_dense_product(folder):
    settings = LoRA(rank=4, alpha=6.0, base_dtype="float32", rslora=True)
    program, state, frozen = make(folder, settings)
    # Both factors away from zero, else A has no gradient.
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)), state.params
    )
    options = {"mesh": program.mesh, "vocabulary": program.config.vocab_size}
    got = steps.loss_and_gradients(program.structure, params, batch(), frozen=frozen, **options).gradients

    scale = 6.0 / 2.0  # rslora: by the root of the rank
    model = load(folder)
    structure, dense = steps.Structure.split(model)

    def merged(params):
        def walk(node, update):
            if "lora_a" in update:
                a, b = update["lora_a"], update["lora_b"]
                flat_a, flat_b = a.reshape(len(a), -1, 4), b.reshape(len(b), 4, -1)
                delta = scale * jnp.einsum("lir,lro->lio", flat_a, flat_b)
                return {**node, "kernel": node["kernel"] + delta.reshape(node["kernel"].shape)}
            return {name: walk(node[name], update[name]) if name in update else node[name] for name in node}

        return walk(dense, params)

    def loss(params):
        rows, _ = steps.batch_loss(
            structure, merged(params), batch(), program.mesh, options["vocabulary"], 10**6
        )
        return jnp.sum(rows) / steps.target_count(batch())

    wanted = jax.grad(loss)(params)
    for name, leaf in leaves(wanted).items():
        assert np.abs(leaf).max() > 1e-6, name
        np.testing.assert_allclose(leaves(got)[name], leaf, rtol=2e-4, atol=2e-7, err_msg=name)


@pytest.mark.parametrize(("base_dtype", "bound"), [("int8", 0.5 / 127.5), ("nf4", 0.152)])
@pytest.mark.parametrize(("shape", "inputs"), [((2, 128, 2, 8), 1), ((2, 2, 96, 8), 2)])
def test_a_quantised_kernel_is_what_qwix_makes_of_it(base_dtype, bound, shape, inputs):
    kernel = jax.random.normal(jax.random.key(0), shape)
    values, scales = quantisation.quantise(kernel, inputs, base_dtype)
    assert values.shape == quantisation.value_shape(shape, inputs, base_dtype)
    assert scales.shape == quantisation.scale_shape(shape, inputs, base_dtype)
    got = np.asarray(quantisation.dequantise(values, scales, inputs, base_dtype))
    for layer in range(shape[0]):
        if base_dtype == "int8":
            theirs = qwix.quantize(kernel[layer], jnp.int8, channelwise_axes=range(inputs, len(shape) - 1))
        else:
            tile = {128: 64, 96: 48}[shape[inputs]]
            others = [axis for axis in range(len(shape) - 1) if axis != inputs - 1]
            theirs = qwix.quantize(
                kernel[layer], "nf4", channelwise_axes=others, tiled_axes={inputs - 1: tile}
            )
        np.testing.assert_array_equal(got[layer], qwix.dequantize(theirs))
        # Half the widest step between values, times the largest magnitude of the block.
        largest = np.abs(np.asarray(kernel[layer])).max()
        assert np.abs(got[layer] - kernel[layer]).max() <= bound * largest + 1e-6


@pytest.mark.slow
def test_the_loss_falls_on_a_quantised_base(quantised):
    program, state, frozen = quantised
    given = {name: jax.device_put(value) for name, value in batch().items()}
    state, losses = jax.tree.map(jnp.copy, state), []
    for _ in range(12):
        state, metrics = program.step(state, given, frozen)
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0] - 0.1, losses


@pytest.mark.slow
@pytest.mark.parametrize("base_dtype", ["bfloat16", "int8"])
def test_a_base_is_stored_as_configured(folder, base_dtype):
    config, settings = config_from_hf(folder), LoRA(rank=8, base_dtype=base_dtype)
    path = ("layers", "mlp", "up", "kernel")
    kernel = leaves(steps.parameters_of(load(folder)))["/".join(path)]
    kept = dict(base.stored_parts(path, kernel, config, settings))
    merged = base.as_stored(path, kernel, config, settings)
    if base_dtype == "bfloat16":
        np.testing.assert_array_equal(kept[path], kernel.astype(jnp.bfloat16))
        np.testing.assert_array_equal(merged, kernel.astype(jnp.bfloat16).astype(np.float32))
    else:
        values, scales = kept[*path[:-1], "kernel_values"], kept[*path[:-1], "kernel_scales"]
        np.testing.assert_allclose(merged, values * scales, rtol=1e-6)
        (embedding,) = base.stored_parts(("embedding",), np.ones((4, 4), np.float32), config, settings)
        assert embedding[1].dtype == jnp.bfloat16


RUNS = [  # mesh, microbatches, base, dropout; each is compared with the first of its kind
    ["fsdp=1", 1, "nf4", 0.1],
    ["fsdp=2,tensor=4", 1, "nf4", 0.1],
    ["fsdp=1", 1, "float32", 0.0],
    ["data=2,fsdp=2,tensor=2", 2, "float32", 0.0],
]


@pytest.mark.slow
def test_eight_devices_and_microbatches_give_the_losses_of_one(folder):
    paths = [str(Path(layers.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(paths),
    }  # fmt: skip
    out = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("lora_stand_ins.py")), str(folder), json.dumps(RUNS)],
        capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-3000:]
    rows = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("[")]
    alone = {run[2]: row for run, row in zip(RUNS, rows, strict=True) if run[0] == "fsdp=1"}
    for (mesh, _, kept, _), (losses, sums, where) in zip(RUNS, rows, strict=True):
        np.testing.assert_allclose(losses, alone[kept][0], rtol=2e-5, err_msg=f"{mesh} {kept}")
        for name, value in sums.items():
            assert value == pytest.approx(alone[kept][1][name], rel=2e-3), (mesh, kept, name)
        assert mesh == "fsdp=1" or "'fsdp'" in where or "'tensor'" in where


def test_dropout_depends_on_the_step_alone():
    shapes = {"query": {"dropout_key": jax.ShapeDtypeStruct((3, 2), jnp.uint32)}}
    first, again, other = (
        np.asarray(
            trainable.noise(shapes, jax.random.fold_in(jax.random.key(5), step))["query"]["dropout_key"]
        )
        for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and len({tuple(row) for row in first.tolist()}) == 3


def test_invalid_settings_are_refused():
    config = config_from_hf({"model_type": "llama", **SHAPE})
    for bad, said in (({"rank": 0}, "rank"), ({"base_dtype": "int4"}, "nf4"), ({"dropout": 1.0}, "dropout")):
        with pytest.raises(ModelError, match=said):
            LoRA(**bad)
    with pytest.raises(ModelError, match=r"wq; a llama model has down_proj, .*all-linear"):
        layers.target_paths(config, ("q_proj", "wq"))


@pytest.mark.slow
def test_memory_of_state_and_program_is_that_of_the_updates(folder, quantised):
    full, full_state, _ = make(folder, None)
    program, state, frozen = quantised
    assert trainable.size_in_bytes(full_state.opt_state) > 2.5 * trainable.size_in_bytes(state.opt_state)
    batch_bytes = 4 * ROWS * LENGTH * 6
    held = trainable.size_in_bytes((state.params, state.opt_state, frozen)) + batch_bytes
    arguments = program.lower().compile().memory_analysis().argument_size_in_bytes
    assert arguments == pytest.approx(held, rel=0.02)
    assert full.lower().compile().memory_analysis().argument_size_in_bytes > 1.9 * arguments
