"""Memory of a train step: full tuning, LoRA, and QLoRA on int8 and nf4, of one Llama shape.

    python scripts/bench_lora.py [--hidden-size 512] [--layers 12] [--rank 16] [--rows 4] [--length 512]

Nothing is trained: each step is compiled for the default device and XLA is asked what it needs
(`memory_analysis`), the arrays of the state are counted. One line per way of training, in MB of 10^6 bytes:

    trained     parameters that have gradients, float32
    optimiser   moments and counters
    base        frozen parameters as they are kept (beside int8 and nf4, embeddings and head in bfloat16)
    arguments   of the compiled step: trained + optimiser + base + batch
    temporaries of the compiled step: gradients, activations, whatever is dequantised at once
    checkpoint  what a checkpoint writes: trained + optimiser
"""

from __future__ import annotations

import argparse

import jax

from inters_jax import mesh as meshes
from inters_jax.models.config import DecoderConfig
from inters_jax.models.lora.layers import LoRA
from inters_jax.models.lora.trainable import size_in_bytes
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.program import build_program

WAYS = {
    "full": None,
    "LoRA float32": "float32",
    "LoRA bfloat16": "bfloat16",
    "QLoRA int8": "int8",
    "QLoRA nf4": "nf4",
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--loss-positions", type=int, default=64, help="targets of a row, at most")
    parser.add_argument("--dtype", default="float32", help="of the products; CPUs turn bfloat16 into float32")
    parser.add_argument("--remat", default="full")
    given = parser.parse_args()
    config = DecoderConfig(
        vocab_size=given.vocabulary,
        hidden_size=given.hidden_size,
        intermediate_size=given.hidden_size * 11 // 4 // 64 * 64,
        num_layers=given.layers,
        num_heads=given.hidden_size // 64,
    )
    mesh = meshes.make_mesh("fsdp=1", jax.devices()[:1])
    print(
        f"{config.parameter_count / 1e6:.1f} M parameters, {given.rows} rows of {given.length},"
        f" {given.loss_positions} targets each; compute {given.dtype}, remat {given.remat};"
        f" rank {given.rank}, all linear maps; {meshes.describe(mesh)}"
    )
    columns = ("trained", "optimiser", "base", "arguments", "temporaries", "checkpoint")
    print(f"{'MB':<14}" + "".join(f"{name:>13}" for name in columns))
    for name, base_dtype in WAYS.items():
        program = build_program(
            config,
            device_mesh=mesh,
            optimizer=OptimizerSettings(),
            total_steps=100,
            batch_size=given.rows,
            max_length=given.length,
            dtype=given.dtype,
            remat=given.remat,
            lora=None if base_dtype is None else LoRA(rank=given.rank, base_dtype=base_dtype),
        )
        memory = program.lower(loss_positions=given.loss_positions).compile().memory_analysis()
        if memory is None:
            raise SystemExit("the compiler of this backend does not say what a program needs")
        trained, moments = size_in_bytes(program.like.params), size_in_bytes(program.like.opt_state)
        figures = (
            trained,
            moments,
            size_in_bytes(program.frozen) if program.frozen is not None else 0,
            memory.argument_size_in_bytes,
            memory.temp_size_in_bytes,
            trained + moments,
        )
        print(f"{name:<14}" + "".join(f"{figure / 1e6:>13.1f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
