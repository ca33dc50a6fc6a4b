"""Remat policies: the same gradients, the memory they promise, and no array of logits for every position."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from inters_jax import mesh as meshes
from inters_jax.models import remat
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.program import build_program

ROWS, LENGTH, SLOTS, VOCABULARY = 2, 128, 16, 4096
CONFIG = DecoderConfig(
    family="llama", vocab_size=VOCABULARY, hidden_size=32, intermediate_size=96, num_layers=6, num_heads=2
)


@pytest.fixture(scope="module")
def compiled():
    mesh = meshes.make_mesh("fsdp=1", jax.devices()[:1])
    made = {}

    def of(name):
        if name not in made:
            program = build_program(
                CONFIG, device_mesh=mesh, optimizer=OptimizerSettings(), total_steps=10, batch_size=ROWS,
                max_length=LENGTH, dtype="float32", remat=name,
            )  # fmt: skip
            made[name] = program.lower(loss_positions=SLOTS).compile()
        return made[name]

    return of


@pytest.mark.slow
def test_temporaries_grow_from_full_over_dots_to_none(compiled):
    sizes = {name: compiled(name).memory_analysis().temp_size_in_bytes for name in ("full", "dots", "none")}
    assert sizes["full"] < 0.8 * sizes["dots"] < 0.8 * sizes["none"], sizes


def test_no_array_holds_the_logits_of_every_position(compiled):
    program = compiled("full")
    everywhere = ROWS * LENGTH * VOCABULARY
    shapes = re.findall(r"(?:f32|bf16)\[([\d,]+)\]", program.as_text())
    largest = max(np.prod([int(size) for size in shape.split(",")]) for shape in set(shapes))
    assert largest < everywhere / 2
    # The peak beside the state: every position's logits alone would be more.
    assert program.memory_analysis().temp_size_in_bytes < 4 * everywhere


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "offload", "offload_dots"])
def test_policies_change_no_gradient(name):
    from flax import nnx

    from inters_jax.models.decoder import Decoder

    config = DecoderConfig(
        family="llama", vocab_size=32, hidden_size=16, intermediate_size=32, num_layers=2, num_heads=2
    )
    tokens = jax.random.randint(jax.random.key(1), (2, 16), 0, 32)
    segments, positions = np.ones((2, 16), np.int32), np.tile(np.arange(16), (2, 1))

    def gradients(kept):
        graph, params = nnx.split(Decoder(config, rngs=nnx.Rngs(params=0), remat=kept), nnx.Param)

        def loss(params):
            return nnx.merge(graph, params).hidden(tokens, segments, positions).var()

        traced = jax.jit(jax.grad(loss)).trace(params)
        return traced.lower().compile()(params), str(traced.jaxpr)

    (got, program), (wanted, _) = gradients(name), gradients("none")
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), got, wanted)
    if name in remat.OFFLOADING:
        assert "host" in program  # the values go there and come back


def test_policies_that_cannot_work_are_refused():
    with pytest.raises(ModelError, match="remat 'dot' is not known; choose one of none, full"):
        remat.check("dot")

    class Memory:
        kind = "device"

    class Device:
        device_kind = "Small"

        def addressable_memories(self):
            return [Memory()]

    class FakeMesh:
        devices = np.array([Device()], object)

    with pytest.raises(ModelError, match=r"saves activations in host memory, but Small has only device"):
        remat.check("offload", FakeMesh())
