"""What the table of families cannot express as data: small functions that read and write `config.json` keys.

A reader takes config.json with the family's defaults filled in and the name of the file for error messages,
and returns fields of `DecoderConfig`. A writer returns keys of config.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf.rope_keys import read_rope, write_rope
from inters_jax.models.hf.tensors import Names

Json = Mapping[str, Any]
Fields = dict[str, Any]


def read_llama(data: Json, where: str) -> Fields:
    """`attention_bias` applies to all four projections."""
    bias = bool(data.get("attention_bias", False))
    return {
        **read_rope(data, where),
        "attention_bias": bias,
        "attention_output_bias": bias,
        "mlp_bias": bool(data.get("mlp_bias", False)),
    }


def write_llama(config: DecoderConfig) -> Fields:
    return {"attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias}


def write_bias(config: DecoderConfig) -> Fields:
    return {"attention_bias": config.attention_bias}


def read_mistral(data: Json, where: str) -> Fields:
    return {**read_rope(data, where), "sliding_window": data["sliding_window"]}


def write_mistral(config: DecoderConfig) -> Fields:
    return {"sliding_window": config.sliding_window}


def layers_with_window(data: Json, where: str, otherwise: list[bool]) -> tuple[bool, ...]:
    """Which layers have the window: from `layer_types`, or `otherwise` where it is absent."""
    kinds = data.get("layer_types")
    if not kinds:
        return tuple(otherwise)
    if len(kinds) != data["num_hidden_layers"] or set(kinds) - {"full_attention", "sliding_attention"}:
        raise ModelError(
            f"{where}: layer_types must be full_attention or sliding_attention for each of the"
            f" {data['num_hidden_layers']} layers, found {len(kinds)}: {', '.join(sorted(set(kinds)))}"
        )
    return tuple(kind == "sliding_attention" for kind in kinds)


def write_layers(config: DecoderConfig) -> Fields:
    """`layer_types` and the window."""
    slides = config.sliding_layers or (config.sliding_window is not None,) * config.num_layers
    return {
        "sliding_window": config.sliding_window,
        "layer_types": ["sliding_attention" if on else "full_attention" for on in slides],
    }


def _qwen_window(data: Json, where: str) -> Fields:
    """The window applies only if switched on, and without layer_types only from `max_window_layers` on."""
    layers, on = data["num_hidden_layers"], bool(data.get("use_sliding_window"))
    slides = layers_with_window(data, where, [on and i >= data["max_window_layers"] for i in range(layers)])
    if any(slides) and not on:
        raise ModelError(f"{where}: layer_types has sliding_attention, but use_sliding_window is not true")
    return {"sliding_window": data["sliding_window"] if any(slides) else None, "sliding_layers": slides}


def read_qwen2(data: Json, where: str) -> Fields:
    return {**read_rope(data, where), **_qwen_window(data, where), "attention_bias": True}


def read_qwen3(data: Json, where: str) -> Fields:
    return {**read_llama(data, where), **_qwen_window(data, where), "qk_norm": True, "mlp_bias": False}


def write_qwen(config: DecoderConfig) -> Fields:
    slides = config.sliding_layers or (config.sliding_window is not None,) * config.num_layers
    first = slides.index(True) if True in slides else config.num_layers
    return {
        **write_layers(config),
        "use_sliding_window": any(slides),
        "max_window_layers": first,  # for readers that do not know layer_types
    }


def write_qwen3(config: DecoderConfig) -> Fields:
    return {**write_qwen(config), **write_bias(config)}


def read_gemma(data: Json, where: str) -> Fields:
    fields = {**read_llama(data, where), "mlp_bias": False}
    # The first releases say "gelu" but were trained with its tanh approximation.
    return {**fields, "activation": "gelu_tanh"} if data["hidden_act"] == "gelu" else fields


def read_gemma2(data: Json, where: str) -> Fields:
    layers = data["num_hidden_layers"]
    return {
        **read_llama(data, where),
        "mlp_bias": False,
        "sliding_window": data["sliding_window"],
        "sliding_layers": layers_with_window(data, where, [i % 2 == 0 for i in range(layers)]),
        "attention_scalar": data["query_pre_attn_scalar"],
        "attention_softcap": data["attn_logit_softcapping"],
        "logit_softcap": data["final_logit_softcapping"],
    }


def read_gemma3(data: Json, where: str) -> Fields:
    layers, pattern = data["num_hidden_layers"], data.get("sliding_window_pattern") or 6
    slides = layers_with_window(data, where, [(i + 1) % pattern != 0 for i in range(layers)])
    return {
        **read_gemma2({**data, "layer_types": None}, where),
        **read_rope(data, where, local_theta=10000.0),
        "sliding_layers": slides,
    }


def write_gemma2(config: DecoderConfig) -> Fields:
    scalar = config.head_dim if config.attention_scalar is None else config.attention_scalar
    return {
        **write_layers(config),
        "attention_bias": config.attention_bias,
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logit_softcap,
    }


def write_gemma3(config: DecoderConfig) -> Fields:
    local = config.rope_theta if config.local_rope_theta is None else config.local_rope_theta
    return {**write_gemma2(config), "rope_local_base_freq": local}


def read_phi(data: Json, where: str) -> Fields:
    """The head has a bias unless it is tied to the embedding."""
    return {**read_rope(data, where), "head_bias": not data["tie_word_embeddings"]}


def write_phi(config: DecoderConfig) -> Fields:
    return {"partial_rotary_factor": config.rotated / config.head_dim}


def read_phi3(data: Json, where: str) -> Fields:
    """Read a Phi-3 file; older ones call longrope "su" or "yarn"."""
    scaling = dict(data.get("rope_scaling") or data.get("rope_parameters") or {})
    if (scaling.get("rope_type") or scaling.get("type")) in ("su", "yarn"):
        scaling = {**scaling, "rope_type": "longrope"}
    data = {**data, "rope_scaling": scaling, "rope_parameters": None}
    return {**read_rope(data, where), "sliding_window": data["sliding_window"]}


def write_phi3(config: DecoderConfig) -> Fields:
    """Older readers accept exactly `type` and the two lists; the trained length goes next to them."""
    out: Fields = {"sliding_window": config.sliding_window}
    scaling = write_rope(config)["rope_scaling"]
    if scaling is not None:
        out["original_max_position_embeddings"] = scaling.pop("original_max_position_embeddings")
        out["rope_scaling"] = {"type": scaling.pop("rope_type"), **scaling}
    return out


def read_neox(data: Json, where: str) -> Fields:
    rope = {"rope_theta": data["rotary_emb_base"], "partial_rotary_factor": data["rotary_pct"]}
    return {
        **read_rope({**data, **rope}, where),
        "attention_bias": data["attention_bias"],
        "attention_output_bias": data["attention_bias"],
        "residual": "parallel" if data["use_parallel_residual"] else "sequential",
    }


def write_neox(config: DecoderConfig) -> Fields:
    return {
        "attention_bias": config.attention_bias,
        "use_parallel_residual": config.residual == "parallel",
        "rotary_emb_base": config.rope_theta,
        "rotary_pct": config.rotated / config.head_dim,
    }


def read_falcon(data: Json, where: str) -> Fields:
    """Read the first architecture (RW-1B, 7B) or the new one (40B, 180B, 11B)."""
    new, parallel, norms = (
        data["new_decoder_architecture"],
        data["parallel_attn"],
        data["num_ln_in_parallel_attn"],
    )
    if (new and not parallel) or (not new and norms == 2):
        raise ModelError(
            f"{where}: new_decoder_architecture {new}, parallel_attn {parallel} and num_ln_in_parallel_attn"
            f" {norms} do not go together"
        )
    residual = "sequential"
    if parallel:
        residual = "parallel" if new and norms in (None, 2) else "parallel_shared"
    if new:
        groups = data["num_kv_heads"] or data["num_attention_heads"]
    else:
        groups = 1 if data["multi_query"] else data["num_attention_heads"]
    rope = read_rope(data, where)
    bias = bool(data["bias"])
    return {
        **(dict.fromkeys(rope) | {"rope_theta": 10000.0, "rotary_dim": 0} if data["alibi"] else rope),
        "alibi": bool(data["alibi"]),
        "num_kv_heads": groups,
        "intermediate_size": data["ffn_hidden_size"] or 4 * data["hidden_size"],
        "residual": residual,
        "attention_bias": bias,
        "attention_output_bias": bias,
        "mlp_bias": bias,
    }


def write_falcon(config: DecoderConfig) -> Fields:
    new = config.residual == "parallel" or config.num_kv_heads not in (1, config.num_heads)
    return {
        "alibi": config.alibi,
        "bias": config.attention_bias,
        "new_decoder_architecture": new,
        "multi_query": config.num_kv_heads == 1 and not new,
        "parallel_attn": config.residual != "sequential",
        "num_ln_in_parallel_attn": {True: 2, False: 1}[config.residual == "parallel"] if new else None,
        "num_kv_heads": config.num_kv_heads if new else config.num_heads,
    }


def falcon_names(config: DecoderConfig) -> Names:
    names = Names(
        embedding="transformer.word_embeddings",
        layer="transformer.h.{layer}",
        attention="self_attention",
        fused="query_key_value",
        fused_by_group=True,
        output="dense",
        up="dense_h_to_4h",
        down="dense_4h_to_h",
        final_norm="transformer.ln_f",
    )
    if config.residual != "parallel":
        return names
    return dataclasses.replace(names, norms={"attention_norm": "ln_attn", "mlp_norm": "ln_mlp"})
