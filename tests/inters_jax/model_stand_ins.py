"""Tiny random models with the tokenizer of the packaged sample, for the commands that judge and serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import seqio_tasks
from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.loading import LoadedModel, load_model

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
TOKENIZER = SAMPLE / "tokenizer"


def tiny_shape(**changes: Any) -> DecoderConfig:
    """Two layers of width 32 whose logits differ (`init_std`)."""
    shape: dict[str, Any] = {
        "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 4,
        "num_kv_heads": 2, "max_position": 2048, "init_std": 0.2,
    }  # fmt: skip
    return DecoderConfig(**(shape | changes))


def tiny_loaded(**changes: Any) -> LoadedModel:
    """That shape with random weights and the sample's tokenizer."""
    return load_model(tiny_shape(**changes), tokenizer=TOKENIZER, seed=3)


def tiny_model(folder: Path, **changes: Any) -> Path:
    """The same as a Hugging Face folder, which is written."""
    return huggingface.save(tiny_loaded(**changes).model, folder, tokenizer=TOKENIZER)
