"""A contender of bench_train.py as a process: what is trained, and the lines it answers with.

Needs numpy only, so that contenders in environments of their own import it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_process
import numpy as np
from bench_examples import BOS, EOS, VOCABULARY

# Tunix 0.1.7 turns the keys of its Llama by this base whatever its configuration says; all others are told.
ROPE_THETA = 1_000_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Size:
    """A Llama shape. tied: the head is the transposed embedding."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int = VOCABULARY
    tied: bool = False


SIZES = {
    "tiny": Size(64, 192, 2, 4, 2),
    "30m": Size(384, 1024, 6, 6, 6),
    "110m": Size(768, 2048, 8, 12, 12),
    "smollm2": Size(576, 1536, 30, 9, 3, vocabulary=49_152, tied=True),  # the shape of SmolLM2-135M
    "1b": Size(2048, 5632, 22, 32, 4),
    "7b": Size(4096, 14336, 32, 32, 8),
}


def shape(name: str, length: int) -> dict[str, Any]:
    """A Llama shape as a Hugging Face config."""
    size = SIZES[name]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "max_position_embeddings": max(2048, length),
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "tie_word_embeddings": size.tied,
    }


def parameters(name: str) -> int:
    """Parameters that a token is multiplied with: all but the input embedding."""
    size = SIZES[name]
    attention = 2 * size.hidden**2 + 2 * size.hidden**2 * size.key_heads // size.heads
    return size.layers * (attention + 3 * size.hidden * size.mlp) + size.vocabulary * size.hidden


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that a worker is started with."""
    parser.add_argument("--size", choices=SIZES, default="30m")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5, help="measured steps of each, after two that are not")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--remat", default="none", choices=("none", "full"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of what all contenders share


def shared_batches(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """The packed rows that ours trains on, again and again, with the names of `inters_jax.data.loader`."""
    with np.load(folder / "batches.npz") as file:
        arrays = dict(file)
    while True:
        for number in range(len(arrays["decoder_segment_ids"])):
            yield {name: array[number] for name, array in arrays.items()}


def real_tokens(batch: dict[str, np.ndarray]) -> int:
    """Positions that are no padding."""
    return int((batch["decoder_segment_ids"] > 0).sum())


def serve_steps(step: Callable[[], tuple[int, float]]) -> None:
    """One optimiser step, which gives its tokens and its loss, for every line of input."""

    def work(_: str) -> dict[str, float]:
        tokens, loss = step()
        return {"tokens": tokens, "loss": loss}

    bench_process.serve(work)
