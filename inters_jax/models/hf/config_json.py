"""Convert a Hugging Face `config.json` to a `DecoderConfig` and back, by the table in `families.py`.

A key that changes the arithmetic in a way the decoder does not implement is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf.config_values import check_values
from inters_jax.models.hf.families import FAMILIES, Family, family_of
from inters_jax.models.hf.rope_keys import write_rope
from seqio_tasks.base import read_json_object

Json = Mapping[str, Any]

REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads")

ACTIVATION_NAMES = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}

# Keys that change the arithmetic unless they have one of these values. A family may implement some of them
# (`Family.reads`).
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


def config_from_hf(source: Json | str | Path) -> DecoderConfig:
    """The configuration of a Hugging Face model.

    Args:
      source: the content of a `config.json`, its path, or the folder that holds it.

    Raises:
      ModelError: the file is missing or not JSON, or describes a model that is not supported.
    """
    if isinstance(source, Mapping):
        return _from_json(source, "config")
    path = Path(source)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a model folder holds a config.json")
    return _from_json(read_json_object(path, ModelError), str(path))


def _from_json(source: Json, where: str) -> DecoderConfig:
    family, source = _family_in(source, where)
    check_values(source, where)
    data = {**family.defaults, **source}
    keys = family.all_keys
    missing = [
        keys[field] for field in REQUIRED if data.get(keys[field]) is None and field not in family.fixed
    ]
    missing = [key for key in missing if key not in family.defaults]
    if missing:
        raise ModelError(f"{where}: {', '.join(missing)} missing; {family.architecture} requires them")
    for key, neutral in NEUTRAL.items():
        if key not in family.reads and data.get(key) not in neutral:
            raise ModelError(
                f"{where}: {key} is {data[key]!r}, which is not supported; use a model without it"
                " (for a quantised model, the model it was quantised from)"
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
    try:
        return DecoderConfig(**{"family": family.name, **fields, **family.fixed, **family.read(data, where)})
    except ModelError as error:
        raise ModelError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def config_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a decoder, in the keys that every version of transformers reads.

    Raises:
      ModelError: no `config.json` of this family can describe the shape.
    """
    family = family_of(config)
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
    if _from_json(out, "this model") != config:
        raise ModelError(f"a config.json of family {config.family!r} cannot describe this shape: {config}")
    return out


def is_multimodal(source: Json) -> bool:
    """Whether a `config.json` describes a model of text and images; its text tensors then have a prefix."""
    named = source.get("architectures") or []
    return any(family.text_of in named for family in FAMILIES.values() if family.text_of)


def _family_in(source: Json, where: str) -> tuple[Family, Json]:
    """The family of a `config.json`, and the part of it that describes the decoder."""
    named = source.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ModelError(f"{where}: architectures is {named!r}, expected a list of names")
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
            inner = source.get("text_config") or {}
            if not isinstance(inner, Mapping):
                raise ModelError(f"{where}: text_config is {inner!r}, expected an object")
            outer = {key: source[key] for key in ids if source.get(key) is not None}
            return family, {**inner, **outer}
    asked = ", ".join(named) or source.get("model_type") or "no architecture at all"
    known = ", ".join(family.architecture for family in FAMILIES.values())
    raise ModelError(f"{where}: {asked} is not supported; known architectures: {known}")


def _check_layer_types(family: Family, data: Json, where: str) -> None:
    """Refuse `layer_types` that a family without a window pattern would not compute."""
    kinds = set(data.get("layer_types") or ())
    computed = "sliding_attention" if data.get("sliding_window") else "full_attention"
    if "layer_types" not in family.reads and kinds - {computed}:
        raise ModelError(
            f"{where}: layer_types has {', '.join(sorted(kinds))}, but every layer of"
            f" {family.architecture} uses {computed}"
        )


def _first(value: Any) -> int | None:
    """The first id of a list, or the only one."""
    return (value[0] if value else None) if isinstance(value, list | tuple) else value
