"""Shapes of models by hub name, so that planning needs neither weights nor a network.

A shape is what the model's ``config.json`` says, as far as a decoder's size and arithmetic go. Models on disk
are read from there; a hub name outside this table costs one download of its ``config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig
from inters_jax.planning.devices import PlanError

_MISTRAL = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": 32000,
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096,
    "hidden_act": "silu", "tie_word_embeddings": False,
}  # fmt: skip
_LLAMA2 = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096,
    "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False,
}  # fmt: skip

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": _MISTRAL,
    "mistralai/Mistral-7B-v0.3": _MISTRAL | {"vocab_size": 32768, "sliding_window": None, "rope_theta": 1e6},
    "meta-llama/Llama-2-7b-hf": _LLAMA2,
    "meta-llama/Llama-2-7b-chat-hf": _LLAMA2,
    "meta-llama/Llama-2-13b-hf": _LLAMA2
    | {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
       "num_key_value_heads": 40},
}  # fmt: skip


def shape_of(model: str | DecoderConfig) -> DecoderConfig:
    """The shape of whatever MODEL names: a `DecoderConfig`, a folder, a run, or a hub name."""
    if isinstance(model, DecoderConfig):
        return model
    if Path(model).exists():
        return loading.config_of(model)
    if model in SHAPES:
        return DecoderConfig.from_hf(SHAPES[model])
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return DecoderConfig.from_hf(hf_hub_download(model, "config.json"))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise PlanError(
            f"MODEL {model!r}: no such folder, and its config.json could not be read from the hub"
            f" ({type(error).__name__}); name a folder with a config.json, or one of {', '.join(SHAPES)}"
        ) from error
