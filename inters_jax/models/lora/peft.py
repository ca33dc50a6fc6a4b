"""Read and write adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

A file holds `lora_A.weight` [rank, inputs] and `lora_B.weight` [outputs, rank] of each module of each layer;
the decoder has [layers, *inputs, rank] and [layers, rank, *outputs]. A family may fuse several linear maps of
the decoder into one module (query-key-value). Writing then adds up their ranks in one block-diagonal B;
reading gives them the same A.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf.config_values import is_number
from inters_jax.models.hf.families import tensors
from inters_jax.models.hf.folder import copy_tokenizer, new_folder, save_tensors, shapes_by_path
from inters_jax.models.hf.tensors import Tensor
from inters_jax.models.lora import layers as lora
from inters_jax.trees import TreePath, by_path
from seqio_tasks.base import read_json_object

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."

# Settings of PEFT that change what an adapter computes unless they have one of these values.
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
    """The update of a stacked linear map: `scale * A @ B` for each layer."""

    a: np.ndarray  # float32 [layers, inputs, rank]
    b: np.ndarray  # float32 [layers, rank, outputs]
    scale: np.ndarray  # float32 [layers]; 0 where a layer has no update
    base: np.ndarray | None = None  # [inputs, outputs] from the file; replaces the kernel of the base (head)


@dataclasses.dataclass(frozen=True)
class Factors:
    """The updates of a decoder by the path of the module."""

    by_module: Mapping[TreePath, Factor]

    @classmethod
    def of_parameters(cls, trained: Mapping[str, Any], scale: float) -> Factors:
        """From the trained part of a run: a nested dict with `lora_a` and `lora_b`."""
        arrays = {path: np.asarray(leaf) for path, leaf in by_path(trained).items()}
        found: dict[TreePath, Factor] = {}
        for path in sorted({path[:-1] for path in arrays}):
            a, b = arrays[*path, "lora_a"], arrays[*path, "lora_b"]
            layers, rank = len(a), a.shape[-1]
            found[path] = Factor(
                a.reshape(layers, -1, rank), b.reshape(layers, rank, -1), np.full(layers, scale, "f4")
            )
        return cls(found)

    def merge(self, path: TreePath, array: np.ndarray) -> np.ndarray:
        """Add the update, if there is one, to a float32 parameter [layers, *inputs, *outputs]."""
        factor = self.by_module.get(path[:-1]) if path[-1] == "kernel" else None
        if factor is None:
            return array
        merged = np.array(array if factor.base is None else factor.base, np.float32).reshape(array.shape)
        layers = merged.reshape(len(factor.scale), -1)
        for layer, (a, b, scale) in enumerate(zip(factor.a, factor.b, factor.scale, strict=True)):
            layers[layer] += scale * (a @ b).reshape(-1)
        return layers.reshape(array.shape)


def write(
    folder: str | Path,
    factors: Factors,
    config: DecoderConfig,
    settings: lora.LoRA,
    *,
    base_name: str | None,
    revision: str | None = None,
    tokenizer: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write an adapter folder that `peft.PeftModel.from_pretrained` reads.

    Args:
        folder: must be empty or not exist.
        factors: the updates.
        config: of the base.
        settings: of the run.
        base_name: folder or hub name of the base for Hugging Face libraries.
        revision: of the hub repository.
        tokenizer: a folder with tokenizer files, which are copied.
        extra: further text files, {name: content}.

    Raises:
        ModelError: the folder is not empty.
    """
    arrays: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    shapes = shapes_by_path(abstract_model(config)[1])
    for row in _rows(config):
        there = [factors.by_module.get(path[:-1]) for path in row.paths]
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
        "revision": revision,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "target_modules": sorted(ranks),
        "rank_pattern": other,
        # So that the factor of the update does not depend on the rank.
        "alpha_pattern": {
            name: settings.scale * (math.sqrt(rank) if settings.rslora else rank)
            for name, rank in other.items()
        },
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with new_folder(folder) as made:
        save_tensors(arrays, made / WEIGHTS)
        (made / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        if tokenizer is not None:
            copy_tokenizer(tokenizer, made)
        for name, text in (extra or {}).items():
            (made / name).write_text(text, encoding="utf-8")
    return Path(folder)


def highest_rank(factors: Factors, config: DecoderConfig) -> int:
    """The largest rank of a module in the adapter's file: a fused module adds up those of its linear maps."""
    found = [[factors.by_module.get(path[:-1]) for path in row.paths] for row in _rows(config)]
    return max(sum(one.a.shape[-1] for one in there if one is not None) for there in found)


def read(folder: str | Path, config: DecoderConfig) -> Factors:
    """Read an adapter folder of PEFT for a base of this shape.

    Raises:
        ModelError: the folder is incomplete, damaged, not supported, or for another model.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name}; an adapter is a folder written by peft, with safetensors")
    settings = read_json_object(folder / CONFIG, ModelError)
    _check(settings, folder)
    try:
        arrays = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS}: not a complete safetensors file ({error})") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fV":  # V: bfloat16
            raise ModelError(
                f"{folder / WEIGHTS}: {name} holds {array.dtype}, not floating-point numbers; quantised"
                " adapters are not supported"
            )
    return Factors(_factors(arrays, settings, config, folder))


def _check(settings: Mapping[str, Any], folder: Path) -> None:
    if settings.get("peft_type") != "LORA":
        kind = settings.get("peft_type")
        raise ModelError(f"{folder / CONFIG}: peft_type is {kind!r}; only LORA is supported")
    for name, neutral in NEUTRAL.items():
        if name in settings and settings[name] not in neutral:
            raise ModelError(f"{folder / CONFIG}: {name} is {settings[name]!r}, which is not supported")
    alpha = settings.get("lora_alpha")
    if not is_number(alpha):
        raise ModelError(f"{folder / CONFIG}: lora_alpha is {alpha!r}, not a number")
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or not all(map(is_number, patterns.values())):
        raise ModelError(f"{folder / CONFIG}: alpha_pattern is {patterns!r:.80}, not an object of numbers")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ModelError(
                f"{folder / CONFIG}: alpha_pattern {pattern!r} is no regular expression ({error})"
            ) from error


def _rows(config: DecoderConfig) -> list[Tensor]:
    """Every matrix that an adapter can change: those of the blocks, and the head."""
    return [
        row
        for row in tensors(config)
        if row.paths[0][-1] == "kernel" and (row.stacked or row.paths[0] == ("head", "kernel"))
    ]


def _fuse(
    row: Tensor, factors: Sequence[Factor | None], shapes: Sequence[tuple[int, ...]], layer: int
) -> tuple[np.ndarray, np.ndarray]:
    """`lora_A.weight` and `lora_B.weight` of a module (with all its linear maps) in one layer."""
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
    shapes = shapes_by_path(abstract_model(config)[1])
    for row in _rows(config):
        layers = config.num_layers if row.stacked else 1
        read: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
        for layer in range(layers):
            module = row.name.format(layer=layer).removesuffix(".weight")
            a = left.pop(f"{PREFIX}{module}.lora_A.weight", None)
            b = left.pop(f"{PREFIX}{module}.lora_B.weight", None)
            if (a is None) != (b is None):
                half, other = ("lora_A", "lora_B") if a is None else ("lora_B", "lora_A")
                raise ModelError(
                    f"{folder / WEIGHTS}: {PREFIX}{module} has {other}.weight but no {half}.weight; an update"
                    " needs both"
                )
            if a is not None and b is not None:
                if a.ndim != 2 or b.ndim != 2 or not a.size:
                    raise ModelError(
                        f"{folder / WEIGHTS}: the update of {PREFIX}{module} is {list(b.shape)} x"
                        f" {list(a.shape)}, not two matrices"
                    )
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
                # peft saves the weights of an adapted head with its update, and restores them.
                None if row.stacked else _transposed(left.pop(f"{PREFIX}{module}.base_layer.weight", None)),
            )
            for layer, (a, b, scale) in read.items():
                _expect(folder, row.name.format(layer=layer), a, b, inputs, row.file_shape(inner)[0])
                # A kernel of [rank, outputs] is split like one of [inputs, outputs].
                part = row.split(b, [(len(a), *shape[row.inputs :]) for shape in inner])[number]
                factor.a[layer, :, : len(a)] = a.T
                factor.b[layer, : len(a)] = part.T
                factor.scale[layer] = scale
            found[path[:-1]] = factor
    if left:
        some = ", ".join(sorted(left)[:5])
        raise ModelError(f"{folder / WEIGHTS}: {len(left)} tensors are not part of the base model: {some}")
    if not found:
        raise ModelError(f"{folder / WEIGHTS}: holds no update of a linear map")
    return found


def _transposed(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.astype("f4").T


def _expect(folder: Path, name: str, a: np.ndarray, b: np.ndarray, inputs: int, outputs: int) -> None:
    if a.shape[1] != inputs or b.shape != (outputs, len(a)):
        raise ModelError(
            f"{folder / WEIGHTS}: the update of {name} is {list(b.shape)} x {list(a.shape)}, but the base has"
            f" a matrix of [{outputs}, {inputs}]; the adapter is for another model"
        )


def _scale(settings: Mapping[str, Any], module: str, rank: int) -> float:
    """The factor that PEFT applies to the update of a module."""
    alpha = _pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"])
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """The value of the pattern that matches the end of a module's name, as in PEFT.

    >>> _pattern({"self_attn.q_proj": 4.0}, "model.layers.0.self_attn.q_proj", 8.0)
    4.0
    """
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return float(default)
