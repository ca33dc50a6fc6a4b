"""Small LoRA programs for tests: a Hugging Face base on disk, a batch, a step.

As a program it prints losses and trained leaves, one line of JSON for each mesh:

    python lora_stand_ins.py FOLDER '[["fsdp=8", 1, "nf4", 0.1]]'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tokenizers import Tokenizer, models

from inters_jax import mesh as meshes
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.hf.folder import save
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import layers
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.program import Program, build_program

ROWS, LENGTH, VOCABULARY = 8, 24, 64
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Two segments a row; every position but the last of each is a target."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, VOCABULARY, (ROWS, LENGTH), dtype=np.int32)
    half = LENGTH // 2
    weights = np.ones((ROWS, LENGTH), np.float32)
    weights[:, [half - 1, LENGTH - 1]] = 0
    return {
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": np.roll(tokens, -1, axis=1),
        "decoder_loss_weights": weights,
        "decoder_segment_ids": np.repeat([[1, 2]], half, axis=1).astype(np.int32).repeat(ROWS, 0),
        "decoder_positions": np.tile(np.arange(half, dtype=np.int32), (ROWS, 2)),
        "decoder_loss_positions": np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
    }


def make_base(folder: Path) -> Path:
    """A base with a tokenizer, written as a Hugging Face folder."""
    config = config_from_hf({"model_type": "llama", **SHAPE})
    save(Decoder(config, rngs=nnx.Rngs(params=1)), folder)
    words = {f"w{number}": number for number in range(config.vocab_size)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    return folder


def make(
    folder: Path, settings: layers.LoRA | None, mesh: str = "fsdp=1", **changes: Any
) -> tuple[Program, steps.TrainState, Any]:
    """The program of a base, a fresh state, and the frozen parameters (None without `settings`)."""
    config = config_from_hf(folder)
    options: dict[str, Any] = {
        "optimizer": OptimizerSettings(learning_rate=0.01, weight_decay=0.0), "total_steps": 20,
        "batch_size": ROWS, "max_length": LENGTH, "dtype": "float32", "remat": "none",
    }  # fmt: skip
    devices = jax.devices() if mesh != "fsdp=1" else jax.devices()[:1]
    program = build_program(
        config, device_mesh=meshes.make_mesh(mesh, devices), lora=settings, **(options | changes)
    )
    frozen = None
    if settings is None:
        from inters_jax.training.initialise import read_parameters

        params = read_parameters(folder, program.structure.abstract(), program.shardings.params)
    else:
        frozen, _ = bases.read_frozen(bases.base_of(folder), config, settings, program.frozen)
        params = layers.adapter_parameters(program.like.params, 0, program.shardings.params)
    return program, steps.init_state(params, program.transformation, program.shardings), frozen


def run(program: Program, state: steps.TrainState, frozen: Any, count: int) -> tuple[steps.TrainState, list]:
    """`count` steps; the state and the losses."""
    losses = []
    for _ in range(count):
        placed = meshes.to_devices(program.mesh, batch(int(state.step)), ROWS)
        state, metrics = program.step(state, placed, *(() if frozen is None else (frozen,)))
        losses.append(float(metrics.loss))
    return state, losses


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """{path: array} of a nested dict."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {steps.path_name(path): np.asarray(leaf) for path, leaf in flat}


if __name__ == "__main__":
    base = Path(sys.argv[1])
    for mesh_line, parts, kept, dropout in json.loads(sys.argv[2]):
        given = layers.LoRA(rank=4, base_dtype=kept, dropout=dropout)
        made, start, held = make(
            base, given, mesh_line, microbatches=parts, remat="full" if parts > 1 else "none"
        )
        end, seen = run(made, start, held, 3)
        sums = {name: float(np.abs(leaf).sum()) for name, leaf in leaves(end.params).items()}
        where = str(held["layers"]["mlp"]["up"]["kernel" if kept == "float32" else "kernel_values"].sharding)
        print(json.dumps([seen, sums, where]))
