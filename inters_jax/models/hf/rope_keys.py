"""The keys of rotary positions in `config.json`.

Older files keep `rope_theta` next to `rope_scaling`; newer ones keep both in `rope_parameters`, per type of
layer where these differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inters_jax.models.config import DecoderConfig, ModelError, RopeScaling

Json = Mapping[str, Any]

# For each kind: field of `RopeScaling` -> key. A kind does not use the fields it does not name.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
        "original_max_position": "original_max_position_embeddings",
    },
    "yarn": {
        "factor": "factor",
        "original_max_position": "original_max_position_embeddings",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "truncate": "truncate",
        "attention_factor": "attention_factor",
    },
    "longrope": {
        "factor": "factor",
        "original_max_position": "original_max_position_embeddings",
        "attention_factor": "attention_factor",
        "short_factors": "short_factor",
        "long_factors": "long_factor",
    },
}
# Keys of every kind, and keys that change nothing.
COMMON = ("rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned")


def read_rope(data: Json, where: str, *, local_theta: float | None = None) -> dict[str, Any]:
    """The fields rope_theta, rope_scaling, local_rope_theta and rotary_dim of a `DecoderConfig`.

    Args:
      data: config.json with the family's defaults.
      where: its name in error messages.
      local_theta: what the family assumes for its layers with a window; None: the same as elsewhere.
    """
    nested = data.get("rope_parameters") or {}
    kinds = {"full_attention", "sliding_attention"}
    if kinds & nested.keys():
        rope, local = dict(nested.get("full_attention") or {}), dict(nested.get("sliding_attention") or {})
        if (local.get("rope_type") or "default") != "default" or local.get(
            "partial_rotary_factor", 1.0
        ) != 1.0:
            raise ModelError(
                f"{where}: rope_parameters of sliding_attention are {local}; only rope_theta is supported"
            )
    else:
        # Later sources win, as in transformers.
        rope, local = {**nested, **(data.get("rope_scaling") or {})}, {}
    theta = float(rope.get("rope_theta") or data.get("rope_theta") or 10000.0)
    local_theta = local.get("rope_theta") or data.get("rope_local_base_freq") or local_theta
    part = rope.get("partial_rotary_factor") or data.get("partial_rotary_factor") or 1.0
    head = data.get("head_dim") or data["hidden_size"] // data["num_attention_heads"]
    return {
        "rope_theta": theta,
        "rope_scaling": _scaling(rope, data, where),
        "local_rope_theta": None if local_theta in (None, theta) else float(local_theta),
        "rotary_dim": int(head * part),
    }


def _scaling(rope: Json, data: Json, where: str) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if rope.get("mrope_section"):
        raise ModelError(f"{where}: rope with an mrope_section is not supported; use a text model")
    if kind == "default":
        return None
    if kind not in FIELDS:
        raise ModelError(f"{where}: rope scaling {kind!r} is not supported; known kinds: {', '.join(FIELDS)}")
    fields = FIELDS[kind]
    strange = [key for key in rope if key not in (*COMMON, *fields.values()) and rope[key] is not None]
    # Some tools write the trained length for every kind; it is used only where FIELDS lists it.
    strange = [key for key in strange if key != "original_max_position_embeddings"]
    if strange:
        raise ModelError(f"{where}: rope scaling {kind!r} with {', '.join(strange)} is not supported")
    values = {ours: rope[theirs] for ours, theirs in fields.items() if rope.get(theirs) is not None}
    if "original_max_position" in fields:
        original = (
            data.get("original_max_position_embeddings")
            or values.get("original_max_position")
            or data.get("max_position_embeddings")
        )
        values["original_max_position"] = int(original or 0)
    if kind == "longrope":
        missing = [key for key in ("short_factor", "long_factor") if not rope.get(key)]
        if missing:
            raise ModelError(f"{where}: rope scaling 'longrope' without {' and '.join(missing)}")
    try:
        return RopeScaling(kind, **values)
    except (ModelError, TypeError) as error:
        raise ModelError(f"{where}: {error}") from None


def write_rope(config: DecoderConfig) -> dict[str, Any]:
    """The keys of rotary positions that every version of transformers reads."""
    out: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_scaling": None}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        values = {theirs: getattr(scaling, ours) for ours, theirs in FIELDS[scaling.kind].items()}
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        out["rope_scaling"] = {
            "rope_type": scaling.kind,
            **{key: value for key, value in lists.items() if value is not None},
        }
    if config.rotary_dim:
        out["partial_rotary_factor"] = config.rotary_dim / config.head_dim
    if config.local_rope_theta is not None:
        out["rope_local_base_freq"] = config.local_rope_theta
    return out
