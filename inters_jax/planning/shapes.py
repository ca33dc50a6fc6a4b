"""Shapes of models by hub name, so that planning needs neither weights nor a network.

A shape is the part of the model's ``config.json`` that determines the size and arithmetic of the decoder. For
models on disk it is read from there; for a hub name outside this table, ``config.json`` is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.planning.devices import PlanError
from seqio_tasks import hub_names

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
# MiniMA-2-3B is MiniMA-3B, trained further; MiniMA-3B is a pruned Llama-2-7b with a larger vocabulary. The
# changes are documented in github.com/GeneZC/MiniMA: layers, widths and heads in TUTORIAL.md and
# minima/run_converting_llama.py (which keeps a separate head), the vocabulary in
# minima/run_expanding_vocab_llama.py. The rest is assumed to be as in Llama-2, without its config.json.
_MINIMA2 = _LLAMA2 | {
    "vocab_size": 49216, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 24,
    "num_attention_heads": 24, "num_key_value_heads": 24,
}  # fmt: skip
_LLAMA31 = _LLAMA2 | {
    "vocab_size": 128256, "intermediate_size": 14336, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192},
}  # fmt: skip
_QWEN3_4B = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560,
    "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 128, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "hidden_act": "silu", "tie_word_embeddings": True,
}  # fmt: skip
_QWEN3_8B = _QWEN3_4B | {
    "hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False,
}  # fmt: skip
_GEMMA3_4B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    },
}  # fmt: skip
_PHI2 = {
    "architectures": ["PhiForCausalLM"], "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240,
    "num_hidden_layers": 32, "num_attention_heads": 32, "partial_rotary_factor": 0.4,
}  # fmt: skip
_FALCON_RW = {
    "architectures": ["FalconForCausalLM"], "vocab_size": 50304, "hidden_size": 2048, "num_hidden_layers": 24,
    "num_attention_heads": 32, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True,
}  # fmt: skip

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": _MISTRAL,
    "mistralai/Mistral-7B-v0.3": _MISTRAL | {"vocab_size": 32768, "sliding_window": None, "rope_theta": 1e6},
    "meta-llama/Llama-2-7b-hf": _LLAMA2,
    "meta-llama/Llama-2-7b-chat-hf": _LLAMA2,
    "meta-llama/Llama-2-13b-hf": _LLAMA2
    | {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
       "num_key_value_heads": 40},
    "GeneZC/MiniMA-2-3B": _MINIMA2,
    "meta-llama/Llama-3.1-8B": _LLAMA31,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA31,
    "Qwen/Qwen3-4B-Base": _QWEN3_4B,
    "Qwen/Qwen3-4B": _QWEN3_4B,
    "Qwen/Qwen3-8B-Base": _QWEN3_8B,
    "Qwen/Qwen3-8B": _QWEN3_8B,
    "google/gemma-3-4b-pt": _GEMMA3_4B,
    "google/gemma-3-4b-it": _GEMMA3_4B,
    "microsoft/phi-2": _PHI2,
    "tiiuae/falcon-rw-1b": _FALCON_RW,
}  # fmt: skip


def shape_of(model: str | DecoderConfig) -> DecoderConfig:
    """The shape of a model: a `DecoderConfig`, a folder, a run folder, or a hub name (with @revision or not).

    Raises:
      PlanError: no such folder or hub name.
    """
    if isinstance(model, DecoderConfig) or Path(model).exists():
        return loading.config_of(model)
    if model in SHAPES:
        return config_from_hf(SHAPES[model])
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, revision = hub_names.split(model)
    try:
        return config_from_hf(hf_hub_download(name, "config.json", revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise PlanError(
            f"MODEL {model!r}: no such folder, and its config.json could not be read from the hub"
            f" ({type(error).__name__}); name a folder with a config.json, or one of {', '.join(SHAPES)}"
        ) from error
