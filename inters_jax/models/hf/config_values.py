"""Which kinds of values the keys of a `config.json` have. Null stands for a key that is absent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from inters_jax.models.config import MOST_LAYERS, ModelError

LARGEST = 2**31 - 1  # arrays are indexed with 32 bits


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return is_id(value) and 0 < value <= LARGEST


def _is_list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


_SIZE = (_is_size, "a whole number from 1 to 2^31 - 1")
_LAYERS = (
    lambda value: is_id(value) and 0 < value <= MOST_LAYERS,
    f"a whole number from 1 to {MOST_LAYERS:,}",
)
_COUNT = (lambda value: is_id(value) and 0 <= value <= LARGEST, "a whole number from 0 to 2^31 - 1")
_ID = (is_id, "a whole number")
_IDS = (lambda value: is_id(value) or _is_list(is_id)(value), "a whole number or a list of them")
_NUMBER = (is_number, "a number")
_POSITIVE = (lambda value: is_number(value) and value > 0, "a number above 0")
_SWITCH = (lambda value: isinstance(value, int | float) and value in (0, 1), "true or false")
_TEXT = (lambda value: isinstance(value, str), "text")
_TEXTS = (_is_list(lambda value: isinstance(value, str)), "a list of texts")
_NUMBERS = (_is_list(is_number), "a list of numbers")
_OBJECT = (lambda value: isinstance(value, Mapping), "an object")

Kind = tuple[Callable[[Any], bool], str]

KINDS: Mapping[str, Kind] = {
    "num_hidden_layers": _LAYERS,
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads"), _SIZE),
    **dict.fromkeys(("head_dim", "max_position_embeddings", "original_max_position_embeddings"), _SIZE),
    **dict.fromkeys(("num_kv_heads", "ffn_hidden_size", "sliding_window", "sliding_window_pattern"), _SIZE),
    **dict.fromkeys(("num_key_value_heads", "max_window_layers", "num_ln_in_parallel_attn"), _COUNT),
    **dict.fromkeys(("bos_token_id", "pad_token_id"), _ID),
    "eos_token_id": _IDS,
    **dict.fromkeys(("initializer_range", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"), _NUMBER),
    **dict.fromkeys(("rope_theta", "rope_local_base_freq", "rotary_emb_base"), _POSITIVE),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct", "query_pre_attn_scalar"), _POSITIVE),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), _POSITIVE),
    **dict.fromkeys(("tie_word_embeddings", "attention_bias", "mlp_bias", "bias", "alibi"), _SWITCH),
    **dict.fromkeys(("use_sliding_window", "use_parallel_residual", "multi_query"), _SWITCH),
    **dict.fromkeys(("parallel_attn", "new_decoder_architecture"), _SWITCH),
    **dict.fromkeys(("hidden_act", "hidden_activation"), _TEXT),
    "layer_types": _TEXTS,
    **dict.fromkeys(("rope_scaling", "rope_parameters"), _OBJECT),
}
# Inside rope_scaling and rope_parameters, which may hold an object for each kind of layer.
ROPE_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("rope_type", "type"), _TEXT),
    **dict.fromkeys(("rope_theta", "factor", "partial_rotary_factor", "attention_factor"), _POSITIVE),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"), _POSITIVE),
    "original_max_position_embeddings": _SIZE,
    **dict.fromkeys(("short_factor", "long_factor"), _NUMBERS),
    **dict.fromkeys(("full_attention", "sliding_attention"), _OBJECT),
}


def check_values(source: Mapping[str, Any], where: str) -> None:
    """Refuse values that their keys cannot have.

    Args:
      source: a `config.json`.
      where: its name in error messages.

    Raises:
      ModelError: names the key and its value.
    """
    _check(source, KINDS, where, "")
    for key in ("rope_scaling", "rope_parameters"):
        rope = source.get(key) or {}
        _check(rope, ROPE_KINDS, where, f"{key}.")
        for layers in ("full_attention", "sliding_attention"):
            _check(rope.get(layers) or {}, ROPE_KINDS, where, f"{key}.{layers}.")


def _check(values: Mapping[str, Any], kinds: Mapping[str, Kind], where: str, before: str) -> None:
    for key, (accepts, kind) in kinds.items():
        value = values.get(key)
        if value is not None and not accepts(value):
            raise ModelError(f"{where}: {before}{key} is {value!r:.80}, expected {kind}")
