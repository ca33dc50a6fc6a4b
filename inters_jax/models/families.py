"""The families: one row each says how a Hugging Face `config.json` is read and what its tensors are called.

A family is added by a row in `FAMILIES`. What a row cannot say in data (a window behind a switch) is a pair
of small functions in `family_rules.py`. Keys that would change the arithmetic in a way that this decoder does
not know are refused, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from inters_jax.models import family_rules as rules
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.rope_keys import write_rope
from inters_jax.models.tensors import Names, Tensor, tensor_rows

Json = Mapping[str, Any]

# DecoderConfig field -> key of config.json; a family may name some differently, or not have them (None).
KEYS: Mapping[str, str | None] = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_position": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "activation": "hidden_act",
    "tie_embeddings": "tie_word_embeddings",
    "init_std": "initializer_range",
    "bos_id": "bos_token_id",
    "pad_id": "pad_token_id",
}
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads")

ACTIVATION_NAMES = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}

# Keys that change the arithmetic unless they hold one of these values; a family may read some of them itself.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "use_bidirectional_attention": (None, False),
    "rope_interleaved": (None, False),
    "partial_rotary_factor": (None, 1.0),
    "alibi": (None, False),
    "qk_layernorm": (None, False),
    "clip_qkv": (None,),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "apply_residual_connection_post_layernorm": (None, False),
    "logits_scaling": (None, 1, 1.0),
    "logit_scale": (None, 1, 1.0),
    "embedding_multiplier": (None, 1, 1.0),
    "residual_multiplier": (None, 1, 1.0),
    "attention_multiplier": (None,),
    "num_experts": (None, 0),
    "num_local_experts": (None, 0, 1),
}


LLAMA_NAMES = Names()


@dataclasses.dataclass(frozen=True)
class Family:
    """One row.

    defaults: what transformers assumes for absent keys. fixed: DecoderConfig fields that every member has.
    read(config.json, where) and write(config): further DecoderConfig fields, further keys of config.json.
    reads: keys of `NEUTRAL` that `read` understands. keys: where this family departs from `KEYS`.
    text_of: an architecture whose `text_config` describes such a decoder, read for its text alone.
    """

    name: str
    architecture: str
    defaults: Json
    read: Callable[[Json, str], dict[str, Any]]
    write: Callable[[DecoderConfig], dict[str, Any]]
    names: Names | Callable[[DecoderConfig], Names] = LLAMA_NAMES
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keys: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    reads: tuple[str, ...] = ()
    model_type: str = ""  # as config.json names it; the same as `name` unless given
    tanh_name: str = "gelu_pytorch_tanh"  # how config.json names the tanh form of gelu
    text_of: str = ""

    @property
    def all_keys(self) -> dict[str, str]:
        """DecoderConfig field -> key of config.json."""
        return {field: key for field, key in {**KEYS, **self.keys}.items() if key is not None}


def tensors(config: DecoderConfig) -> list[Tensor]:
    """Every tensor of a checkpoint of this shape."""
    names = _family(config).names
    return tensor_rows(names if isinstance(names, Names) else names(config), config)


def config_from_hf(source: Json, where: str) -> DecoderConfig:
    """The shape described by a Hugging Face config; `where` names its file in messages."""
    family, source = _family_of(source, where)
    data = {**family.defaults, **source}
    keys = family.all_keys
    missing = [
        keys[field] for field in REQUIRED if data.get(keys[field]) is None and field not in family.fixed
    ]
    missing = [key for key in missing if key not in family.defaults]
    if missing:
        raise ModelError(f"{where}: {', '.join(missing)} missing; a {family.architecture} needs them")
    for key, neutral in NEUTRAL.items():
        if key not in family.reads and data.get(key) not in neutral:
            raise ModelError(
                f"{where}: {key} is {data[key]!r}, which is not supported; use a model without it"
                " (for a quantised model, the one it was made from)"
            )
    _check_layer_types(family, data, where)
    fields = {field: data[key] for field, key in keys.items() if data.get(key) is not None}
    fields["bos_id"] = _first(data.get("bos_token_id"))
    stop = data.get("eos_token_id")
    fields["stop_ids"] = tuple(stop) if isinstance(stop, list | tuple) else ()
    fields["eos_id"] = _first(stop)
    activation = data.get(keys["activation"], "silu")
    if activation not in ACTIVATION_NAMES:
        raise ModelError(
            f"{where}: activation {activation!r} is not supported; known: {', '.join(ACTIVATION_NAMES)}"
        )
    fields["activation"] = ACTIVATION_NAMES[activation]
    return DecoderConfig(**{"family": family.name, **fields, **family.fixed, **family.read(data, where)})


def config_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """The config.json of a decoder, in the keys that every version of transformers reads."""
    family = _family(config)
    names = {ours: theirs for theirs, ours in reversed(ACTIVATION_NAMES.items())}
    names["gelu_tanh"] = family.tanh_name
    keys = family.all_keys
    out: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.model_type or family.name,
        **{key: getattr(config, field) for field, key in keys.items()},
        "eos_token_id": list(config.stop_ids) if len(config.stop_ids) > 1 else config.eos_id,
        keys["activation"]: names[config.activation],
        **write_rope(config),
        **family.write(config),
    }
    if config_from_hf(out, "this model") != config:
        raise ModelError(
            f"a model of family {config.family!r} cannot have this shape in a Hugging Face config: {config}"
        )
    return out


def text_prefix(source: Json) -> bool:
    """Whether a config.json describes more than text, whose tensors then carry a prefix."""
    named = source.get("architectures") or []
    return any(family.text_of in named for family in FAMILIES.values() if family.text_of)


def _family(config: DecoderConfig) -> Family:
    if config.family not in FAMILIES:
        raise ModelError(f"family {config.family!r} is not known; known: {', '.join(FAMILIES)}")
    return FAMILIES[config.family]


def _family_of(source: Json, where: str) -> tuple[Family, Json]:
    """The row of a config.json, and the part of it that describes the decoder."""
    named = source.get("architectures") or []
    for family in FAMILIES.values():
        model_type = family.model_type or family.name
        if family.architecture in named or (not named and source.get("model_type") == model_type):
            return family, source
        if family.text_of and family.text_of in named:
            ids = (
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
                "tie_word_embeddings",
                "quantization_config",
            )
            outer = {key: source[key] for key in ids if source.get(key) is not None}
            return family, {**(source.get("text_config") or {}), **outer}
    asked = ", ".join(named) or source.get("model_type") or "no architecture at all"
    known = ", ".join(family.architecture for family in FAMILIES.values())
    raise ModelError(f"{where}: {asked} is not supported; known architectures: {known}")


def _check_layer_types(family: Family, data: Json, where: str) -> None:
    """Families without a pattern of windows ignore `layer_types`; it must then say what is computed."""
    kinds = set(data.get("layer_types") or ())
    computed = "sliding_attention" if data.get("sliding_window") else "full_attention"
    if "layer_types" not in family.reads and kinds - {computed}:
        raise ModelError(
            f"{where}: layer_types name {', '.join(sorted(kinds))}, but every layer of a"
            f" {family.architecture} has {computed}"
        )


def _first(value: Any) -> int | None:
    """The first of a list of ids, or the one id."""
    return (value[0] if value else None) if isinstance(value, list | tuple) else value


_RMS = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False}
_IDS = {"bos_token_id": 1, "eos_token_id": 2}
_QWEN = {**_RMS, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GEMMA = {
    "tie_word_embeddings": True,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-6,
    "head_dim": 256,
}
_GEMMA_FIXED = {"norm": "rms_plus_one", "scale_embeddings": True}
_GEMMA2 = {
    **_GEMMA,
    "hidden_activation": "gelu_pytorch_tanh",
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
_GEMMA2_NAMES = Names(
    norms={
        "attention_norm": "input_layernorm",
        "attention_post_norm": "post_attention_layernorm",
        "mlp_norm": "pre_feedforward_layernorm",
        "mlp_post_norm": "post_feedforward_layernorm",
    }
)
_SOFTCAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_PLAIN_MLP = {"norm": "layer", "gated_mlp": False}

_ROWS = (
    Family("llama", "LlamaForCausalLM", {**_RMS, **_IDS}, rules.read_llama, rules.write_llama),
    Family(
        "mistral",
        "MistralForCausalLM",
        {**_RMS, **_IDS, "num_key_value_heads": 8, "sliding_window": 4096},
        rules.read_mistral,
        rules.write_mistral,
    ),
    Family("qwen2", "Qwen2ForCausalLM", _QWEN, rules.read_qwen2, rules.write_qwen, reads=("layer_types",)),
    Family(
        "qwen3",
        "Qwen3ForCausalLM",
        {**_QWEN, "head_dim": 128},
        rules.read_qwen3,
        rules.write_qwen3,
        reads=("layer_types",),
    ),
    Family(
        "gemma",
        "GemmaForCausalLM",
        {**_GEMMA, "hidden_act": "gelu_pytorch_tanh"},
        rules.read_gemma,
        rules.write_bias,
        fixed=_GEMMA_FIXED,
    ),
    Family(
        "gemma2",
        "Gemma2ForCausalLM",
        {**_GEMMA2, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        rules.read_gemma2,
        rules.write_gemma2,
        names=_GEMMA2_NAMES,
        fixed={**_GEMMA_FIXED, "norm_place": "both"},
        keys={"activation": "hidden_activation"},
        reads=("layer_types", *_SOFTCAPS),
    ),
    Family(
        "gemma3",
        "Gemma3ForCausalLM",
        {
            **_GEMMA2,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
            "rope_theta": 1e6,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
        },
        rules.read_gemma3,
        rules.write_gemma3,
        names=_GEMMA2_NAMES,
        fixed={**_GEMMA_FIXED, "norm_place": "both", "qk_norm": True},
        keys={"activation": "hidden_activation"},
        reads=("layer_types", *_SOFTCAPS),
        model_type="gemma3_text",
        text_of="Gemma3ForConditionalGeneration",
    ),
    Family(
        "olmo2",
        "Olmo2ForCausalLM",
        {
            "tie_word_embeddings": False,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 2048,
            "eos_token_id": 50279,
            "pad_token_id": 1,
        },
        rules.read_llama,
        rules.write_bias,
        names=Names(
            norms={
                "attention_post_norm": "post_attention_layernorm",
                "mlp_post_norm": "post_feedforward_layernorm",
            }
        ),
        fixed={"norm": "rms_late", "norm_place": "after", "qk_norm": True, "qk_norm_whole": True},
    ),
    Family(
        "phi",
        "PhiForCausalLM",
        {
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "max_position_embeddings": 2048,
            "layer_norm_eps": 1e-5,
            "hidden_act": "gelu_new",
            "partial_rotary_factor": 0.5,
        },
        rules.read_phi,
        rules.write_phi,
        names=Names(output="dense", up="fc1", down="fc2", final_norm="model.final_layernorm"),
        fixed={
            **_PLAIN_MLP,
            "residual": "parallel_shared",
            "attention_bias": True,
            "attention_output_bias": True,
            "mlp_bias": True,
        },
        keys={"norm_eps": "layer_norm_eps"},
        reads=("partial_rotary_factor",),
        tanh_name="gelu_new",
    ),
    Family(
        "phi3",
        "Phi3ForCausalLM",
        {
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 32000,
            "pad_token_id": 32000,
            "rms_norm_eps": 1e-5,
            "original_max_position_embeddings": 4096,
            "sliding_window": None,
        },
        rules.read_phi3,
        rules.write_phi3,
        names=Names(fused="qkv_proj", fused_gate="gate_up_proj"),
        reads=("partial_rotary_factor",),
    ),
    Family(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        {
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "max_position_embeddings": 2048,
            "layer_norm_eps": 1e-5,
            "hidden_act": "gelu",
            "attention_bias": True,
            "use_parallel_residual": True,
            "rotary_pct": 0.25,
            "rotary_emb_base": 10000,
        },
        rules.read_neox,
        rules.write_neox,
        names=Names(
            embedding="gpt_neox.embed_in",
            layer="gpt_neox.layers.{layer}",
            attention="attention",
            fused="query_key_value",
            fused_by_group=True,
            output="dense",
            up="dense_h_to_4h",
            down="dense_4h_to_h",
            final_norm="gpt_neox.final_layer_norm",
            head="embed_out",
            head_alias="lm_head",
        ),
        fixed={**_PLAIN_MLP, "mlp_bias": True},
        keys={"norm_eps": "layer_norm_eps", "num_kv_heads": None, "head_dim": None},
        reads=("partial_rotary_factor",),
    ),
    Family(
        "falcon",
        "FalconForCausalLM",
        {
            "tie_word_embeddings": True,
            "bos_token_id": 11,
            "eos_token_id": 11,
            "max_position_embeddings": 2048,
            "layer_norm_epsilon": 1e-5,
            "activation": "gelu",
            "alibi": False,
            "bias": False,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "num_ln_in_parallel_attn": None,
            "num_kv_heads": None,
            "ffn_hidden_size": None,
        },
        rules.read_falcon,
        rules.write_falcon,
        names=rules.falcon_names,
        fixed=_PLAIN_MLP,
        keys={
            "norm_eps": "layer_norm_epsilon",
            "num_kv_heads": "num_kv_heads",
            "intermediate_size": "ffn_hidden_size",
            "activation": "activation",
            "head_dim": None,
        },
        reads=("alibi",),
    ),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ROWS}
