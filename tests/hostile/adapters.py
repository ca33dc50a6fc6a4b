"""Hostile adapters in PEFT's format."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hostile.cases import DEEP, NOT_TEXT, Act, Case, Place
from safetensors.numpy import save

from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.lora import peft


def _adapter(config: Any = None, weights: Any = None, *, plain: bytes | str | None = None) -> Act:
    """Read an adapter of the tiny model with changed settings or tensors."""

    def act(place: Place) -> Any:
        hidden, rank = 16, 2
        module = "base_model.model.model.layers.0.self_attn.o_proj"
        tensors = {
            f"{module}.lora_A.weight": np.zeros((rank, hidden), np.float32),
            f"{module}.lora_B.weight": np.zeros((hidden, rank), np.float32),
        }
        described: Any = {"peft_type": "LORA", "r": rank, "lora_alpha": 4}
        described = config if isinstance(config, bytes | str | list) else described | (config or {})
        text = described if isinstance(described, bytes | str) else json.dumps(described)
        place.write("adapter/adapter_config.json", text)
        if weights is not None:
            weights(tensors)
        place.write("adapter/adapter_model.safetensors", save(tensors) if plain is None else plain)
        read = peft.read(place.folder / "adapter", config_from_hf(place.model))
        return sorted(read.by_module)

    return act


ADAPTER_CONFIG = r"adapter_config\.json"
ADAPTER_WEIGHTS = r"adapter_model\.safetensors"
CASES = [
    Case(f"adapter {name}", act, error)
    for name, act, error in [
        ("is sound", _adapter(), None),
        ("config is a list", _adapter([]), rf"{ADAPTER_CONFIG}: a JSON list, expected an object"),
        ("config is not UTF-8", _adapter(NOT_TEXT), rf"{ADAPTER_CONFIG}: not UTF-8"),
        ("config is cut", _adapter('{"peft_type": "LORA",'), rf"{ADAPTER_CONFIG}:1: not JSON"),
        ("config is nested too deeply", _adapter(DEEP), rf"{ADAPTER_CONFIG}:1: not JSON"),
        ("is of another kind", _adapter({"peft_type": "IA3"}), rf"{ADAPTER_CONFIG}: peft_type is 'IA3'"),
        ("has no alpha", _adapter({"lora_alpha": None}), rf"{ADAPTER_CONFIG}: lora_alpha is None"),
        ("has alpha as text", _adapter({"lora_alpha": "4"}), rf"{ADAPTER_CONFIG}: lora_alpha is '4'"),
        ("has alpha NaN", _adapter({"lora_alpha": float("nan")}), rf"{ADAPTER_CONFIG}: lora_alpha is nan"),
        (
            "has alpha_pattern as a list",
            _adapter({"alpha_pattern": ["a"]}),
            rf"{ADAPTER_CONFIG}: alpha_pattern",
        ),
        (
            "has alpha_pattern of texts",
            _adapter({"alpha_pattern": {"o_proj": "x"}}),
            rf"{ADAPTER_CONFIG}: alpha_pattern",
        ),
        (
            "has an alpha_pattern that is no pattern",
            _adapter({"alpha_pattern": {"(": 1}}),
            rf"{ADAPTER_CONFIG}: alpha_pattern",
        ),
        ("is DoRA", _adapter({"use_dora": True}), rf"{ADAPTER_CONFIG}: use_dora is True"),
        ("weights are empty", _adapter(plain=b""), rf"{ADAPTER_WEIGHTS}: not a complete"),
        ("weights are text", _adapter(plain="hello"), rf"{ADAPTER_WEIGHTS}: not a complete"),
        (
            "weights hold nothing",
            _adapter(weights=lambda t: t.clear()),
            rf"{ADAPTER_WEIGHTS}: holds no update",
        ),
        ("weights lack B", _adapter(weights=lambda t: t.popitem()), rf"{ADAPTER_WEIGHTS}: .*no lora_B"),
        (
            "weights are integers",
            _adapter(weights=lambda t: t.update({n: a.astype(np.int8) for n, a in t.items()})),
            rf"{ADAPTER_WEIGHTS}: .*holds int8",
        ),
        (
            "weights are vectors",
            _adapter(weights=lambda t: t.update({n: a[0] for n, a in t.items()})),
            rf"{ADAPTER_WEIGHTS}: ",
        ),
        (
            "weights are of rank 0",
            _adapter(weights=lambda t: t.update({n: a[:0] if "_A" in n else a[:, :0] for n, a in t.items()})),
            rf"{ADAPTER_WEIGHTS}: ",
        ),
        (
            "weights are of another model",
            _adapter(weights=lambda t: t.update({n: np.tile(a, (2, 2)) for n, a in t.items()})),
            rf"{ADAPTER_WEIGHTS}: .*another model",
        ),
        (
            "weights have a strange name",
            _adapter(weights=lambda t: t.update(surprise=np.ones(2, np.float32))),
            rf"{ADAPTER_WEIGHTS}: 1 tensors are not part",
        ),
        (
            "is missing",
            lambda place: peft.read(place.folder, config_from_hf(place.model)),
            r"no adapter_config\.json",
        ),
    ]
]
