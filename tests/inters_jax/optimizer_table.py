"""Run in a process of its own with 8 simulated devices: Adafactor and Muon on one device and on a mesh."""

from __future__ import annotations

import json

import jax
import numpy as np
from training_stand_ins import TINY, random_batch

from inters_jax import mesh as meshes
from inters_jax.models.decoder import random_parameters
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.optimizers import Adafactor, Muon
from inters_jax.training.program import build_program


def train(settings, line, devices):
    mesh = meshes.make_mesh(line, devices)
    program = build_program(
        TINY, device_mesh=mesh, optimizer=settings, total_steps=6, batch_size=8, max_length=32,
        dtype="float32", remat="none",
    )  # fmt: skip
    params = random_parameters(TINY, 0, program.shardings.params)
    state = steps.init_state(params, program.transformation, program.shardings)
    for number in range(3):
        state, _ = program.step(state, meshes.to_devices(mesh, random_batch(number), 8))
    up = state.params["layers"]["mlp"]["up"]["kernel"]
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == up.shape]
    beside = all(moment.sharding.is_equivalent_to(up.sharding, up.ndim) for moment in moments)
    return jax.device_get(state.params), beside


if __name__ == "__main__":
    for kind in (Adafactor, Muon):
        settings = OptimizerSettings(optimizer=kind(), learning_rate=0.01, warmup=0)
        one, _ = train(settings, "fsdp=1", jax.devices()[:1])
        many, beside = train(settings, "fsdp=4,tensor=2", jax.devices())
        gaps = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, many)
        print(json.dumps([kind.__name__, max(jax.tree.leaves(gaps)), beside]))
