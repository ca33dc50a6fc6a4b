"""The table of model families: for each, how to read its `config.json` and what its tensors are called.

To add a family, add a row. What a row cannot express as data (a window behind a switch) is a pair of small
functions in `family_rules.py`. `config_json.py` converts configurations by the row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf import family_rules as rules
from inters_jax.models.hf.tensors import Names, Tensor, tensor_rows

Json = Mapping[str, Any]

# DecoderConfig field -> key of config.json; a family may use another key, or have no such key (None).
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
LLAMA_NAMES = Names()


@dataclasses.dataclass(frozen=True)
class Family:
    """One family of models.

    Args:
      name: `DecoderConfig.family`.
      architecture: the entry of `architectures` in config.json.
      defaults: what transformers assumes for absent keys.
      read: (config.json with defaults, where) -> further fields of `DecoderConfig`.
      write: further keys of config.json.
      names: the names of its tensors, or a function that derives them from the configuration.
      fixed: `DecoderConfig` fields that every member has.
      keys: where this family departs from `KEYS`.
      reads: keys of `config_json.NEUTRAL` that `read` implements.
      model_type: as config.json names it; "" for `name`.
      tanh_name: the name of the tanh approximation of gelu in config.json.
      text_of: a multimodal architecture whose `text_config` describes such a decoder; only its text part is
        read.
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
    model_type: str = ""
    tanh_name: str = "gelu_pytorch_tanh"
    text_of: str = ""

    @property
    def all_keys(self) -> dict[str, str]:
        """DecoderConfig field -> key of config.json."""
        return {field: key for field, key in {**KEYS, **self.keys}.items() if key is not None}


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


def family_of(config: DecoderConfig) -> Family:
    """The family of a configuration.

    Raises:
      ModelError: there is no such family.
    """
    if config.family not in FAMILIES:
        raise ModelError(f"family {config.family!r} is not supported; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[config.family]


def tensors(config: DecoderConfig) -> list[Tensor]:
    """Every tensor of a checkpoint of this shape."""
    names = family_of(config).names
    return tensor_rows(names if isinstance(names, Names) else names(config), config)
