"""What devices send each other, read from the step as it is compiled for eight of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import prod

import pytest

pytestmark = pytest.mark.slow

LAYERS, ROWS, LENGTH, SLOTS = 3, 16, 48, 16
SCRIPT = """
import dataclasses, json, sys, jax
from inters_jax import mesh as meshes
from inters_jax.models.config import DecoderConfig
from inters_jax.planning import hlo
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.program import build_program

config = DecoderConfig(
    vocab_size=512, hidden_size=64, intermediate_size=192, num_layers=3, num_heads=8, num_kv_heads=4)
found = {}
for line in sys.argv[1:]:
    program = build_program(
        config, device_mesh=meshes.make_mesh(line), optimizer=OptimizerSettings(), total_steps=10,
        batch_size=16, max_length=48, dtype="float32")
    text = hlo.Program(program.lower(loss_positions=16).compile().as_text())
    found[line] = [[one.kind, one.shape.dims, one.count, one.group] for one in text.collectives()]
found["parameters"] = [leaf.shape for leaf in jax.tree.leaves(program.like.params)]
print(json.dumps(found))
"""
MESHES = ("data=8", "fsdp=8", "data=4,tensor=2", "data=2,fsdp=2,tensor=2")


@pytest.fixture(scope="module")
def compiled():
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *MESHES], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def of_kind(found, *kinds):
    return [(tuple(dims), count, group) for kind, dims, count, group in found if kind in kinds]


def stacked(compiled):
    return {tuple(shape) for shape in compiled["parameters"] if shape[0] == LAYERS}


def values_of_a_layer(compiled):
    return sorted(prod(shape[1:]) for shape in stacked(compiled) if len(shape) > 2)


@pytest.mark.parametrize("line", MESHES)
def test_no_device_ever_gathers_the_layers_of_a_parameter(compiled, line):
    whole = min(prod(shape) for shape in stacked(compiled) if len(shape) > 2)
    for dims, _, _ in of_kind(compiled[line], "all-gather", "all-to-all", "collective-permute"):
        assert dims not in stacked(compiled)
        assert not (dims[:1] == (LAYERS,) and prod(dims) >= whole)


def test_copies_share_gradients_and_gather_no_parameter(compiled):
    found = compiled["data=8"]
    # The losses of the targets of every row are all that is gathered; every matrix of a layer is larger.
    assert min(values_of_a_layer(compiled)) > ROWS * SLOTS
    assert all(prod(dims) <= ROWS * SLOTS for dims, _, _ in of_kind(found, "all-gather"))
    reduced = {prod(dims) for dims, count, _ in of_kind(found, "all-reduce", "reduce-scatter")}
    assert set(values_of_a_layer(compiled)) <= reduced


def test_fsdp_gathers_a_layer_at_a_time_and_reduces_its_gradients(compiled):
    found = compiled["fsdp=8"]
    gathered = [(prod(dims), count) for dims, count, _ in of_kind(found, "all-gather")]
    for values in values_of_a_layer(compiled):
        # In the forward loop and again in the backward loop, once a layer.
        assert sum(count for size, count in gathered if size == values) >= 2 * LAYERS
    reduced = of_kind(found, "all-reduce", "reduce-scatter")
    assert {count for dims, count, _ in reduced if prod(dims) in values_of_a_layer(compiled)} == {LAYERS}


def test_tensor_adds_activations_and_gathers_no_parameter(compiled):
    found = compiled["data=4,tensor=2"]
    assert all(prod(dims) <= ROWS * SLOTS for dims, _, _ in of_kind(found, "all-gather"))
    rows_of_a_device = ROWS // 4 * LENGTH
    added = [
        count for dims, count, group in of_kind(found, "all-reduce")
        if dims == (rows_of_a_device, 64) and group == 2
    ]  # fmt: skip
    assert sum(added) >= 4 * LAYERS  # after attention and after the MLP, forward and backward


def test_a_mixed_mesh_gathers_only_its_own_slice_of_a_layer(compiled):
    # fsdp=2 gathers what tensor=2 leaves to a device: half a layer's parameter.
    halves = {values // 2 for values in values_of_a_layer(compiled)}
    gathered = {prod(dims): (count, group) for dims, count, group in
                of_kind(compiled["data=2,fsdp=2,tensor=2"], "all-gather")}  # fmt: skip
    assert any(
        size in halves and count % LAYERS == 0 and group == 2 for size, (count, group) in gathered.items()
    )
    largest = max(values_of_a_layer(compiled)) // 2
    in_loops = [size for size, (count, _) in gathered.items() if count % LAYERS == 0]
    assert max(in_loops) <= largest
