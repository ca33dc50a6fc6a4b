"""A contender of bench_train.py as a process: what is trained, and the lines it answers with."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from bench_packing import BOS, EOS, VOCABULARY

# hidden, MLP, layers, heads, key heads
SIZES = {
    "30m": (384, 1024, 6, 6, 6),
    "110m": (768, 2048, 8, 12, 12),
    "1b": (2048, 5632, 22, 32, 4),
    "7b": (4096, 14336, 32, 32, 8),
}


def shape(size: str, length: int) -> dict[str, Any]:
    """A Llama shape as a Hugging Face config."""
    hidden, mlp, layers, heads, groups = SIZES[size]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": max(2048, length),
        "rms_norm_eps": 1e-5,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "tie_word_embeddings": False,
    }


def parameters(size: str) -> int:
    """Parameters that a token is multiplied with: all but the input embedding."""
    hidden, mlp, layers, heads, groups = SIZES[size]
    attention = 2 * hidden * hidden + 2 * hidden * hidden * groups // heads
    return layers * (attention + 3 * hidden * mlp) + VOCABULARY * hidden


def ready() -> None:
    """Tells that the model is there."""
    print(json.dumps({"ready": True}), flush=True)


def answer(wall: float, cpu: float, tokens: int) -> None:
    """Tells of a finished step: its time, tokens and memory.

    Args:
      wall, cpu: `time.perf_counter` and `time.process_time` when it began.
      tokens: that were no padding.
    """
    told = {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "tokens": tokens,
        "memory": _memory(),
    }
    print(json.dumps(told), flush=True)


def serve_steps(step: Callable[[], int]) -> None:
    """One optimiser step, which gives its tokens, for every line of input."""
    ready()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        answer(wall, cpu, step())


def _memory() -> float:
    """Peak bytes: of the GPU where one is used, else of the process."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return float(torch.cuda.max_memory_allocated())
    if "jax" in sys.modules:
        import jax

        statistics = jax.devices()[0].memory_stats()
        if statistics and "peak_bytes_in_use" in statistics:
            return float(statistics["peak_bytes_in_use"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
