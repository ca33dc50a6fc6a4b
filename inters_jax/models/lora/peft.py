"""Adapters as PEFT keeps them: `adapter_config.json` and `adapter_model.safetensors`.

A file holds `lora_A.weight` [rank, inputs] and `lora_B.weight` [outputs, rank] of each module of each layer;
ours are [layers, *inputs, rank] and [layers, rank, *outputs]. Several of our linear maps may be one module of
a family (a fused query-key-value): on the way out their ranks are added up in one block-diagonal B, on the
way in they share A.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf import config_json
from inters_jax.models.hf.tensors import Tensor
from inters_jax.models.lora import layers as lora

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."

# Settings of PEFT that change what an adapter computes, and the values under which they do not.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "lora_bias": (False, None),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "fan_in_fan_out": (False, None),
    "alora_invocation_tokens": (None, []),
}


@dataclasses.dataclass(frozen=True)
class Factor:
    """The update of one stacked linear map: `scale * A @ B` for each layer."""

    a: np.ndarray  # float32 [layers, inputs, rank]
    b: np.ndarray  # float32 [layers, rank, outputs]
    scale: np.ndarray  # float32 [layers]; 0 where a layer has no update
    base: np.ndarray | None = None  # [inputs, outputs] from the file, in place of the own of the base (head)


@dataclasses.dataclass(frozen=True)
class Factors:
    """The updates of a decoder by the path of the linear map."""

    by_path: Mapping[tuple[str, ...], Factor]

    @classmethod
    def of_parameters(cls, trained: Mapping[str, Any], scale: float) -> Factors:
        """From the trained part of a run: a nested dict with `lora_a` and `lora_b`."""
        found: dict[tuple[str, ...], Factor] = {}

        def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
            if "lora_a" in node:
                a, b = np.asarray(node["lora_a"]), np.asarray(node["lora_b"])
                layers, rank = len(a), a.shape[-1]
                found[path] = Factor(
                    a.reshape(layers, -1, rank), b.reshape(layers, rank, -1), np.full(layers, scale, "f4")
                )
                return
            for name, value in node.items():
                walk(value, (*path, name))

        walk(trained, ())
        return cls(found)

    def merge(self, path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
        """A float32 parameter [layers, *inputs, *outputs] with its update added, if it has one."""
        factor = self.by_path.get(path[:-1]) if path[-1] == "kernel" else None
        if factor is None:
            return array
        merged = np.array(array if factor.base is None else factor.base, np.float32).reshape(array.shape)
        layers = merged.reshape(len(factor.scale), -1)
        for layer, (a, b, scale) in enumerate(zip(factor.a, factor.b, factor.scale, strict=True)):
            layers[layer] += scale * (a @ b).reshape(-1)
        return layers.reshape(array.shape)


def parameter_shapes(config: DecoderConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of every parameter of a decoder by its path, layers stacked."""
    found: dict[tuple[str, ...], tuple[int, ...]] = {}

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for name, value in node.items():
            if isinstance(value, Mapping):
                walk(value, (*path, name))
            else:
                found[*path, name] = tuple(value.shape)

    walk(nnx.to_pure_dict(abstract_model(config)[1]), ())
    return found


def write(
    folder: str | Path,
    factors: Factors,
    config: DecoderConfig,
    settings: lora.LoRA,
    *,
    base_name: str | None,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Writes an adapter folder that `peft.PeftModel.from_pretrained` reads; new or empty before.

    Args:
        folder: the folder.
        factors: the updates.
        config: shape of the base.
        settings: of the run.
        base_name: folder or hub name of the base for Hugging Face libraries.
        extra: further text files, {name: content}.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target}: exists and is not an empty folder; name another, or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    shapes = parameter_shapes(config)
    for row in _rows(config):
        there = [factors.by_path.get(path[:-1]) for path in row.paths]
        if not any(there):
            continue
        for layer in range(config.num_layers if row.stacked else 1):
            module = PREFIX + row.name.format(layer=layer).removesuffix(".weight")
            a, b = _fuse(row, there, [shapes[path] for path in row.paths], layer)
            arrays[f"{module}.lora_A.weight"] = np.ascontiguousarray(a)
            arrays[f"{module}.lora_B.weight"] = np.ascontiguousarray(b)
            ranks[lora.module_name(row)] = len(a)
    other = {name: rank for name, rank in ranks.items() if rank != settings.rank}
    description = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "target_modules": sorted(ranks),
        "rank_pattern": other,
        # The update is multiplied by the same number, whatever the rank is.
        "alpha_pattern": {
            name: settings.scale * (math.sqrt(rank) if settings.rslora else rank)
            for name, rank in other.items()
        },
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        made = Path(work) / "adapter"
        made.mkdir()
        save_file(arrays, made / WEIGHTS, metadata={"format": "pt"})
        (made / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        for name, text in (extra or {}).items():
            (made / name).write_text(text, encoding="utf-8")
        if target.exists():
            target.rmdir()
        made.rename(target)
    return target


def read(folder: str | Path, config: DecoderConfig) -> Factors:
    """The updates in an adapter folder of PEFT, for a base of this shape."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name}; an adapter is a folder written by peft, with safetensors")
    settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    _check(settings, folder)
    try:
        arrays = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS}: not a whole safetensors file ({error})") from error
    return Factors(_factors(arrays, settings, config, folder))


def _check(settings: Mapping[str, Any], folder: Path) -> None:
    if settings.get("peft_type") != "LORA":
        raise ModelError(f"{folder / CONFIG}: peft_type is {settings.get('peft_type')!r}; only LORA is read")
    for name, neutral in NEUTRAL.items():
        if name in settings and settings[name] not in neutral:
            raise ModelError(f"{folder / CONFIG}: {name} is {settings[name]!r}, which is not supported")


def _rows(config: DecoderConfig) -> list[Tensor]:
    """Every matrix that an adapter may change: those of the blocks, and the head."""
    return [
        row
        for row in config_json.tensors(config)
        if row.paths[0][-1] == "kernel" and (row.stacked or row.paths[0] == ("head", "kernel"))
    ]


def _fuse(
    row: Tensor, factors: Sequence[Factor | None], shapes: Sequence[tuple[int, ...]], layer: int
) -> tuple[np.ndarray, np.ndarray]:
    """`lora_A.weight` and `lora_B.weight` of one module of one layer, which may hold several of our maps."""
    there = [factor for factor in factors if factor is not None]
    a = np.concatenate([factor.a[layer].T for factor in there])
    parts, before = [], 0
    for factor, shape in zip(factors, shapes, strict=True):
        outputs = math.prod(shape[(1 if row.stacked else 0) + (row.inputs or 0) :])
        part = np.zeros((outputs, len(a)), "f4")
        if factor is not None:
            rank = factor.a.shape[-1]
            part[:, before : before + rank] = factor.b[layer].T
            before += rank
        parts.append(part)
    return a, row.join(parts)


def _factors(
    arrays: dict[str, np.ndarray], settings: Mapping[str, Any], config: DecoderConfig, folder: Path
) -> dict[tuple[str, ...], Factor]:
    left = dict(arrays)
    found: dict[tuple[str, ...], Factor] = {}
    shapes = parameter_shapes(config)
    for row in _rows(config):
        layers = config.num_layers if row.stacked else 1
        read: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
        for layer in range(layers):
            module = row.name.format(layer=layer).removesuffix(".weight")
            a = left.pop(f"{PREFIX}{module}.lora_A.weight", None)
            b = left.pop(f"{PREFIX}{module}.lora_B.weight", None)
            if a is not None and b is not None:
                read[layer] = a.astype("f4"), b.astype("f4"), _scale(settings, module, len(a))
        if not read:
            continue
        rank = max(len(a) for a, _, _ in read.values())
        for number, path in enumerate(row.paths):
            inner = [shapes[place][1 if row.stacked else 0 :] for place in row.paths]
            inputs = math.prod(inner[number][: row.inputs])
            outputs = math.prod(inner[number][row.inputs :])
            factor = Factor(
                np.zeros((layers, inputs, rank), "f4"),
                np.zeros((layers, rank, outputs), "f4"),
                np.zeros(layers, "f4"),
                # peft writes the weights of an adapted head beside its update and reads them back.
                None if row.stacked else _transposed(left.pop(f"{PREFIX}{module}.base_layer.weight", None)),
            )
            for layer, (a, b, scale) in read.items():
                _expect(folder, row.name.format(layer=layer), a, b, inputs, row.file_shape(inner)[0])
                # A kernel of [rank, outputs] is cut into parts as one of [inputs, outputs].
                part = row.split(b, [(len(a), *shape[row.inputs :]) for shape in inner])[number]
                factor.a[layer, :, : len(a)] = a.T
                factor.b[layer, : len(a)] = part.T
                factor.scale[layer] = scale
            found[path[:-1]] = factor
    if left:
        some = ", ".join(sorted(left)[:5])
        raise ModelError(f"{folder / WEIGHTS}: {len(left)} tensors have no place in the base model: {some}")
    if not found:
        raise ModelError(f"{folder / WEIGHTS}: holds no update of any linear map")
    return found


def _transposed(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.astype("f4").T


def _expect(folder: Path, name: str, a: np.ndarray, b: np.ndarray, inputs: int, outputs: int) -> None:
    if a.shape[1] != inputs or b.shape != (outputs, len(a)):
        raise ModelError(
            f"{folder / WEIGHTS}: the update of {name} is {list(b.shape)} x {list(a.shape)}, the base has a"
            f" matrix of [{outputs}, {inputs}]; it was made for another model"
        )


def _scale(settings: Mapping[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies the update of a module by."""
    alpha = _pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"])
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """The value of the pattern that ends a module's name, as PEFT matches them.

    >>> _pattern({"self_attn.q_proj": 4.0}, "model.layers.0.self_attn.q_proj", 8.0)
    4.0
    """
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return float(default)
