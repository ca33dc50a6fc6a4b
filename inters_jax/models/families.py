"""The families: one row each says how a Hugging Face `config.json` is read and what its tensors are called.

A family is added by a row in `FAMILIES`; what the row cannot say in data (a bias that one family always
has, a window behind a switch) is a small reader function next to it. Keys that would change the arithmetic in
a way that this decoder does not know are refused, never ignored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from inters_jax.models.config import DecoderConfig, ModelError, RopeScaling

Json = Mapping[str, Any]

# DecoderConfig field -> key of config.json, the same in every family of today.
KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_position": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tie_embeddings": "tie_word_embeddings",
    "init_std": "initializer_range",
    "bos_id": "bos_token_id",
    "pad_id": "pad_token_id",
}
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")

ACTIVATION_NAMES = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}

# Keys that change the arithmetic unless they hold one of these values.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "partial_rotary_factor": (None, 1.0),
    "use_bidirectional_attention": (None, False),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint and the parameter (of one layer) that it is.

    `path` is the place in `nnx.state(model)`. `inputs` is the number of leading input axes of our parameter
    when the file keeps a matrix [outputs, inputs]; None when the file keeps the same order (vectors and the
    embedding).
    """

    name: str
    path: tuple[str, ...]
    inputs: int | None = None

    @property
    def stacked(self) -> bool:
        """Whether there is one such tensor per layer."""
        return "{layer}" in self.name

    def file_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in the file of a parameter (of one layer) of this shape.

        >>> Tensor("q_proj.weight", (), inputs=1).file_shape((64, 8, 16))
        (128, 64)
        """
        if self.inputs is None:
            return (math.prod(shape),) if self.path[-1] in ("bias", "scale") else shape
        return math.prod(shape[self.inputs :]), math.prod(shape[: self.inputs])


@dataclasses.dataclass(frozen=True)
class Family:
    """One row: the architecture as config.json names it, default keys, and what reading and writing adds."""

    name: str
    architecture: str
    defaults: Json  # what transformers assumes when the key is absent
    read: Callable[[Json, str], dict[str, Any]]  # (config.json, where) -> further DecoderConfig fields
    write: Callable[[DecoderConfig], dict[str, Any]]  # -> further keys of config.json


def tensors(config: DecoderConfig) -> list[Tensor]:
    """Every tensor of a checkpoint of this shape; all families of today use these names."""
    rows = [Tensor("model.embed_tokens.weight", ("embedding",))]
    attention, mlp = "model.layers.{layer}.self_attn", "model.layers.{layer}.mlp"

    def linear(name: str, path: tuple[str, ...], bias: bool, inputs: int = 1) -> None:
        rows.append(Tensor(f"{name}.weight", (*path, "kernel"), inputs))
        if bias:
            rows.append(Tensor(f"{name}.bias", (*path, "bias")))

    def norm(name: str, path: tuple[str, ...]) -> None:
        rows.append(Tensor(f"{name}.weight", (*path, "scale")))

    norm("model.layers.{layer}.input_layernorm", ("layers", "attention_norm"))
    for theirs, ours in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
        linear(f"{attention}.{theirs}", ("layers", "attention", ours), config.attention_bias)
    linear(f"{attention}.o_proj", ("layers", "attention", "output"), config.attention_output_bias, inputs=2)
    if config.qk_norm:
        norm(f"{attention}.q_norm", ("layers", "attention", "query_norm"))
        norm(f"{attention}.k_norm", ("layers", "attention", "key_norm"))
    norm("model.layers.{layer}.post_attention_layernorm", ("layers", "mlp_norm"))
    for part in ("gate", "up", "down"):
        linear(f"{mlp}.{part}_proj", ("layers", "mlp", part), config.mlp_bias)
    norm("model.norm", ("final_norm",))
    if not config.tie_embeddings:
        linear("lm_head", ("head",), False)
    return rows


def config_from_hf(source: Json, where: str) -> DecoderConfig:
    """The shape described by a Hugging Face config; `where` names its file in messages."""
    family = _family_of(source, where)
    data = {**family.defaults, **source}
    missing = [key for key in REQUIRED if data.get(key) is None]
    if missing:
        raise ModelError(f"{where}: {', '.join(missing)} missing; a {family.architecture} needs them")
    for key, neutral in NEUTRAL.items():
        if data.get(key) not in neutral:
            raise ModelError(
                f"{where}: {key} is {data[key]!r}, which is not supported; use a model without it"
                " (for a quantised model, the one it was made from)"
            )
    fields = {field: data[key] for field, key in KEYS.items() if data.get(key) is not None}
    fields["bos_id"] = _first(data.get("bos_token_id"))
    stop = data.get("eos_token_id")
    fields["stop_ids"] = tuple(stop) if isinstance(stop, list | tuple) else ()
    fields["eos_id"] = _first(stop)
    activation = data.get("hidden_activation") or data.get("hidden_act", "silu")
    if activation not in ACTIVATION_NAMES:
        raise ModelError(
            f"{where}: activation {activation!r} is not supported; known: {', '.join(ACTIVATION_NAMES)}"
        )
    fields["activation"] = ACTIVATION_NAMES[activation]
    theta, scaling = _rope(data, where)
    return DecoderConfig(
        family=family.name, rope_theta=theta, rope_scaling=scaling, **{**fields, **family.read(data, where)}
    )


def config_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """The config.json of a decoder, in the keys that every version of transformers reads."""
    family = FAMILIES.get(config.family)
    if family is None:
        raise ModelError(f"family {config.family!r} is not known; known: {', '.join(FAMILIES)}")
    names = {ours: theirs for theirs, ours in ACTIVATION_NAMES.items()}
    out: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.name,
        **{key: getattr(config, field) for field, key in KEYS.items()},
        "eos_token_id": list(config.stop_ids) if len(config.stop_ids) > 1 else config.eos_id,
        "hidden_act": names[config.activation],
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        **family.write(config),
    }
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        out["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            out["rope_scaling"] |= {
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_position,
            }
    if config_from_hf(out, "this model") != config:
        raise ModelError(
            f"a model of family {config.family!r} cannot have this shape in a Hugging Face config: {config}"
        )
    return out


def _family_of(source: Json, where: str) -> Family:
    named = source.get("architectures") or []
    for family in FAMILIES.values():
        if family.architecture in named or (not named and source.get("model_type") == family.name):
            return family
    asked = ", ".join(named) or source.get("model_type") or "no architecture at all"
    known = ", ".join(family.architecture for family in FAMILIES.values())
    raise ModelError(f"{where}: {asked} is not supported; known architectures: {known}")


def _rope(data: Json, where: str) -> tuple[float, RopeScaling | None]:
    # Older files keep rope_theta beside rope_scaling, newer ones both in rope_parameters.
    rope = data.get("rope_scaling") or data.get("rope_parameters") or {}
    theta = float(rope.get("rope_theta") or data.get("rope_theta") or 10000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise ModelError(f"{where}: partial rotary positions are not supported for this architecture")
    if kind == "default":
        return theta, None
    known = {"factor", "low_freq_factor", "high_freq_factor"}
    values: dict[str, Any] = {key: float(rope[key]) for key in known & rope.keys()}
    if "factor" not in values and kind in ("linear", "llama3"):
        raise ModelError(f"{where}: rope scaling {kind!r} without a factor")
    original = rope.get("original_max_position_embeddings") or data.get("max_position_embeddings")
    if kind == "llama3" and original:
        values["original_max_position"] = int(original)
    try:
        return theta, RopeScaling(kind, **{"factor": 1.0, **values})
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None


def _one_bias(data: Json, where: str) -> dict[str, Any]:
    """`attention_bias` is on all four projections."""
    bias = bool(data.get("attention_bias", False))
    return {
        "attention_bias": bias,
        "attention_output_bias": bias,
        "mlp_bias": bool(data.get("mlp_bias", False)),
    }


def _switched_window(data: Json, where: str) -> int | None:
    """Qwen: a window counts only when switched on, and only from `max_window_layers` upwards."""
    kinds = set(data.get("layer_types") or [])
    if not kinds:
        slides, layers = bool(data.get("use_sliding_window")), data["num_hidden_layers"]
        first = min(data["max_window_layers"] if slides else layers, layers)
        kinds = {"full_attention"} if first == layers else {"sliding_attention"}
        if 0 < first < layers:
            kinds = {"full_attention", "sliding_attention"}
    if len(kinds) > 1:
        raise ModelError(f"{where}: layers that differ in their attention window are not supported")
    return data["sliding_window"] if kinds == {"sliding_attention"} else None


def _read_mistral(data: Json, where: str) -> dict[str, Any]:
    return {"sliding_window": data["sliding_window"]}


def _read_qwen2(data: Json, where: str) -> dict[str, Any]:
    return {"attention_bias": True, "sliding_window": _switched_window(data, where)}


def _read_qwen3(data: Json, where: str) -> dict[str, Any]:
    return {**_one_bias(data, where), "qk_norm": True, "sliding_window": _switched_window(data, where)}


def _read_gemma(data: Json, where: str) -> dict[str, Any]:
    fields = {**_one_bias(data, where), "norm": "rms_plus_one", "scale_embeddings": True}
    # The first releases say "gelu" and were trained with its tanh form, which is what everyone computes.
    return {**fields, "activation": "gelu_tanh"} if data["hidden_act"] == "gelu" else fields


def _write_window(config: DecoderConfig) -> dict[str, Any]:
    on = config.sliding_window is not None
    layers = 0 if on else config.num_layers
    return {
        "use_sliding_window": on,
        "sliding_window": config.sliding_window,
        "max_window_layers": layers,
    }


def _write_bias(config: DecoderConfig) -> dict[str, Any]:
    return {"attention_bias": config.attention_bias}


def _first(value: Any) -> int | None:
    """The first of a list of ids, or the one id."""
    return (value[0] if value else None) if isinstance(value, list | tuple) else value


_QWEN = {
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "llama",
            "LlamaForCausalLM",
            {"tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "rms_norm_eps": 1e-6},
            _one_bias,
            lambda config: {"attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias},
        ),
        Family(
            "mistral",
            "MistralForCausalLM",
            {
                "tie_word_embeddings": False,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "rms_norm_eps": 1e-6,
                "num_key_value_heads": 8,
                "sliding_window": 4096,
            },
            _read_mistral,
            lambda config: {"sliding_window": config.sliding_window},
        ),
        Family("qwen2", "Qwen2ForCausalLM", {**_QWEN, "rms_norm_eps": 1e-6}, _read_qwen2, _write_window),
        Family(
            "qwen3",
            "Qwen3ForCausalLM",
            {**_QWEN, "rms_norm_eps": 1e-6, "head_dim": 128},
            _read_qwen3,
            lambda config: {**_write_window(config), **_write_bias(config)},
        ),
        Family(
            "gemma",
            "GemmaForCausalLM",
            {
                "tie_word_embeddings": True,
                "bos_token_id": 2,
                "eos_token_id": 1,
                "pad_token_id": 0,
                "rms_norm_eps": 1e-6,
                "head_dim": 256,
                "hidden_act": "gelu_pytorch_tanh",
            },
            _read_gemma,
            _write_bias,
        ),
    )
}
