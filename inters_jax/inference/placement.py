"""Where to place the arrays of a batch when the parameters are sharded over a mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from inters_jax import mesh as meshes

ACCELERATOR_TOKENS, CPU_TOKENS = 16384, 2048


def default_batch_tokens() -> int:
    """The default tokens per batch; few on a CPU, whose caches are small.

    Measured: 1.3x the documents per second of 8,192.
    """
    return CPU_TOKENS if jax.default_backend() == "cpu" else ACCELERATOR_TOKENS


def default_generation_tokens() -> int:
    """The default cache slots per batch of generation.

    A step reads all weights, for however few rows. Measured on two CPU cores, SmolLM2-135M, prompts of 180
    tokens and answers of 48: 16 rows are generated 1.6 times as fast as 4, and 32 no faster than 16.
    """
    return max(8192, default_batch_tokens())


class CallTokens(NamedTuple):
    """Tokens per model call: positions that are scored, cache slots of generation."""

    scoring: int
    generation: int


def call_tokens(chosen: int | None, longest: int) -> CallTokens:
    """BATCH_TOKENS, or None: by the kind of device; at least a sequence of the longest length.

    >>> call_tokens(512, 2048), call_tokens(4096, 2048)
    (CallTokens(scoring=2048, generation=2048), CallTokens(scoring=4096, generation=4096))
    """
    return CallTokens(
        max(chosen or default_batch_tokens(), longest), max(chosen or default_generation_tokens(), longest)
    )


def default_row_shapes() -> int:
    """The row counts of a length for which a program is compiled: `shapes` of `bucketing`.

    On a CPU an empty row costs as much as any other; on an accelerator a compilation costs more.
    """
    return 16 if jax.default_backend() == "cpu" else 3


class Placement(NamedTuple):
    """How the batches of a model reach its devices, and the results this host.

    parts: shards of the rows of a batch.
    place: places an array [rows, ...].
    readable: makes arrays (any tree of them) such that this host can read their values; with a mesh of
      several hosts a program that every host must start.
    """

    parts: int
    place: Callable[[np.ndarray], Any]
    readable: Callable[[Any], Any]


def row_placement(params: Any) -> Placement:
    """The placement for parameters; on one device (or without a mesh) it is left to jit."""
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    if not isinstance(mesh, Mesh) or mesh.size == 1:
        return Placement(1, lambda array: array, lambda tree: tree)
    parts = meshes.row_shards(mesh)

    def place(array: np.ndarray) -> jax.Array:
        rows = PartitionSpec(meshes.ROW_AXES) if array.shape[0] % parts == 0 else PartitionSpec()
        # Every host has the whole array; device_put would compare them at every call.
        return jax.make_array_from_callback(array.shape, NamedSharding(mesh, rows), lambda at: array[at])

    if not mesh.is_multi_process:
        return Placement(parts, place, lambda tree: tree)
    return Placement(parts, place, jax.jit(lambda tree: tree, out_shardings=meshes.replicated(mesh)))
