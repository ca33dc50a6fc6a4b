"""Run with eight simulated devices: loss and gradients of meshes against one device, and their collectives.

    JAX_NUM_CPU_DEVICES=8 python mesh_table.py '[["fsdp=8", 1], ...]'

Prints one JSON object: "line/microbatches" -> figures.
"""

from __future__ import annotations

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from training_stand_ins import random_batch, with_documents

from inters_jax import mesh as meshes
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder, abstract_model, logical_axes
from inters_jax.training import step as steps
from inters_jax.training.ranking_losses import LambdaLoss
from inters_jax.training.ranking_step import Ranking

RANKING = Ranking(LambdaLoss(), 0.5, (3, 4), 6)
ROWS, LENGTH = 16, 24

# Two key heads and four query heads: tensor=4 divides only the latter, tensor=8 neither.
CONFIG = DecoderConfig(
    family="llama", vocab_size=40, hidden_size=16, intermediate_size=56, num_layers=2, num_heads=4,
    num_kv_heads=2, head_dim=8,
)  # fmt: skip

COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)\(")
SHAPE = re.compile(r"\w+\[([\d,]*)\]")


def build(mesh, microbatches):
    """The function of (params, batch) on a mesh: loss, gradients, row losses."""
    structure = steps.Structure(
        *abstract_model(
            CONFIG,
            dtype=jnp.dtype("float32"),
            param_dtype=jnp.dtype("float32"),
            remat="none",
            constrain=meshes.activation_constraint(mesh),
            flatten=mesh.shape["sequence"] == 1,
        )
    )
    axes = steps.pure(logical_axes(structure.template))
    shardings = meshes.parameter_shardings(mesh, axes, structure.abstract())
    batch_shardings = {name: meshes.batch_sharding(mesh, name) for name in steps.batch_keys(documents=True)}
    everywhere = meshes.replicated(mesh)

    def function(params, batch):
        found = steps.loss_and_gradients(
            structure, params, batch, mesh=mesh, vocabulary=CONFIG.vocab_size, microbatches=microbatches,
            ranking=RANKING,
        )  # fmt: skip
        rows = jnp.concatenate([found.token_losses, found.ranking_rows[:, None]], axis=1)
        return found.total, found.gradients, rows

    return shardings, jax.jit(
        function,
        in_shardings=(shardings, batch_shardings),
        out_shardings=(everywhere, shardings, everywhere),
        compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
    )


def measure(line, microbatches, params, devices=None):
    mesh = meshes.make_mesh(line, devices)
    shardings, function = build(mesh, microbatches)
    placed = jax.tree.map(jax.device_put, params, shardings)
    batch = with_documents(random_batch(3, ROWS, LENGTH), 4, RANKING.documents)
    batch = meshes.to_devices(mesh, batch, ROWS)
    compiled = function.lower(placed, batch).compile()
    loss, gradients, rows = jax.device_get(compiled(placed, batch))
    collectives = COLLECTIVE.findall(compiled.as_text())  # of one shape, or a tuple of several
    found = sorted({(kind, shape) for shapes, kind in collectives for shape in SHAPE.findall(shapes)})
    return loss, gradients, rows, found


def main():
    lines = json.loads(sys.argv[1])
    params = jax.device_get(steps.parameters_of(Decoder(CONFIG, rngs=nnx.Rngs(params=0))))
    # Larger weights than those of a random start give the gradients something to be wrong about.
    params = jax.tree.map(lambda leaf: np.asarray(leaf) * (3.0 if leaf.ndim > 2 else 1.0), params)
    loss, gradients, rows, _ = measure("fsdp=1", 1, params, jax.devices()[:1])
    results = {}
    for line, microbatches in lines:
        other_loss, other, other_rows, found = measure(line, microbatches, params)
        errors = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / np.abs(a).max()), gradients, other)
        results[f"{line}/{microbatches}"] = {
            "loss": float(abs(other_loss - loss) / abs(loss)),
            "gradient": max(jax.tree.leaves(errors)),
            "rows": float(np.abs(other_rows - rows).max() / np.abs(rows).max()),
            "collectives": found,
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
