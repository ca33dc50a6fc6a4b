"""Fingerprints of weights: 16 hex digits of the configuration and of evenly spaced values of each parameter.

A training step changes every parameter, so two different models have different fingerprints. There are two
kinds, which are not comparable: `fingerprint` of a decoder on its devices, and `Fingerprint` of float32
parameters streamed through the host, which a LoRA run records for its base.
"""

from __future__ import annotations

import hashlib
import json

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils  # gathering across hosts has no other public name

from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf.config_json import config_to_hf
from inters_jax.trees import TreePath

SAMPLES = 4096  # values per parameter


def fingerprint(model: Decoder) -> str:
    """The fingerprint of a decoder; the same for a run and its export in the same dtype, and on any mesh."""
    digest = hashlib.sha256(_description(model.config))
    flat, _ = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    strides = [_strides(value.shape) for _, value in flat]
    take = jax.jit(lambda values: [value[at] for value, at in zip(values, strides, strict=True)])
    for (path, value), sample in zip(flat, take([value for _, value in flat]), strict=True):
        digest.update(f"{jax.tree_util.keystr(path)} {value.shape} {value.dtype}".encode())
        digest.update(_on_host(sample).tobytes())
    return digest.hexdigest()[:16]


class Fingerprint:
    """The fingerprint of float32 parameters that are added one by one, in any order."""

    def __init__(self, config: DecoderConfig) -> None:
        self._config = config
        self._parts: dict[str, bytes] = {}

    def add(self, path: TreePath, array: np.ndarray) -> None:
        """Add a parameter."""
        flat = array.reshape(-1)
        sample = flat[:: -(-flat.size // SAMPLES)]
        self._parts["/".join(path)] = f"{array.shape}".encode() + sample.astype("<f4").tobytes()

    def digest(self) -> str:
        """The fingerprint of all parameters added."""
        whole = hashlib.sha256(_description(self._config))
        for name, part in sorted(self._parts.items()):
            whole.update(name.encode() + hashlib.sha256(part).digest())
        return whole.hexdigest()[:16]


def _description(config: DecoderConfig) -> bytes:
    return json.dumps(config_to_hf(config), sort_keys=True).encode()


def _strides(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Strides along each axis that leave about `SAMPLES` values.

    >>> [len(range(size)[stride]) for size, stride in zip((2, 300, 700), _strides((2, 300, 700)))]
    [2, 43, 44]
    """
    left = SAMPLES
    strides: list[slice] = []
    for axis, size in enumerate(shape):
        taken = min(size, max(1, round(left ** (1 / (len(shape) - axis)))))
        strides.append(slice(None, None, -(-size // taken)))
        left = max(1, left // taken)
    return tuple(strides)


def _on_host(value: jax.Array) -> np.ndarray:
    if not value.is_fully_addressable:
        value = multihost_utils.process_allgather(value, tiled=True)
    return np.asarray(value)
