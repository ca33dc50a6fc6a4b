"""Tiny transformers models of every family, built from configs, with perturbed norms and biases."""

from __future__ import annotations

from typing import Any

import torch
import transformers

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.5, 2.0, 4.0, 8.0],
    "rope_theta": 10000.0,
}
PARTIAL_LONGROPE = {
    **LONGROPE,
    "short_factor": [1.0, 1.1, 1.2],
    "long_factor": [1.5, 2.0, 4.0],
    "partial_rotary_factor": 0.75,
}
GEMMA = {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 24}
FALCON_RW = {
    "alibi": True,
    "multi_query": False,
    "parallel_attn": False,
    "bias": True,
    "num_attention_heads": 4,
    "ffn_hidden_size": 80,
}
# name -> (transformers model, what its config adds)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-yarn": ("Llama", {"num_key_value_heads": 2, "rope_parameters": YARN}),
    "qwen2-mixed-windows": (
        "Qwen2",
        {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2},
    ),
    "qwen3-mixed-windows": (
        "Qwen3",
        {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 6,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
    ),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0}),
    "gemma3": (
        "Gemma3",
        {
            **GEMMA,
            "layer_types": [*["sliding_attention"] * 3, "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "olmo2": ("Olmo2", {"num_key_value_heads": 2}),
    "phi": ("Phi", {"num_key_value_heads": 4}),
    "phi3": ("Phi3", {"num_key_value_heads": 2, "sliding_window": 9}),
    "phi3-longrope": (
        "Phi3",
        {"num_key_value_heads": 2, "rope_parameters": LONGROPE, "original_max_position_embeddings": 128},
    ),
    "phi4-mini": (
        "Phi3",
        {
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "rope_parameters": PARTIAL_LONGROPE,
            "original_max_position_embeddings": 128,
        },
    ),
    "gpt-neox": ("GPTNeoX", {"rotary_pct": 0.25}),
    "gpt-neox-sequential": ("GPTNeoX", {"rotary_pct": 0.5, "use_parallel_residual": False}),
    "falcon-rw": ("Falcon", FALCON_RW),
    "falcon-rw-12-heads": ("Falcon", {**FALCON_RW, "num_attention_heads": 12, "hidden_size": 48}),
    "falcon-7b": ("Falcon", {"multi_query": True, "parallel_attn": True}),
    "falcon-40b": (
        "Falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "tie_word_embeddings": False},
    ),
    "falcon-11b": (
        "Falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
}


def implementation(name: str) -> str:
    """Soft-caps are computed by transformers' plain attention only; ALiBi as published by its sdpa."""
    return "eager" if name.startswith("gemma2") else "sdpa"


def transformers_model(name: str) -> Any:
    """The model, with weights that hide no error."""
    kind, extra = MODELS[name]
    fields = {**SHAPE, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2, **extra}
    if kind == "Falcon":
        del fields["intermediate_size"]
    config_name = "Gemma3TextConfig" if kind == "Gemma3" else f"{kind}Config"
    config = getattr(transformers, config_name)(**fields)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")._from_config(
        config, attn_implementation=implementation(name)
    )
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim == 1:  # norms start at one and biases at zero, which would hide an error in either
                value.add_(0.3 * torch.randn_like(value))
            elif "embed" not in key or config.tie_word_embeddings:
                value.mul_(6.0)  # logits of a trained model's size
    return model.eval()
