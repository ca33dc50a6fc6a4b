"""Load the parameters of a decoder piece by piece, directly into their final memory.

A large parameter is allocated once on its devices. Each piece (a tensor of one layer, or a part of a large
one) goes from the file to the devices that hold it, and a compiled update with donated memory writes it,
transposed and in the parameter's dtype. The host holds one piece at a time; the devices hold the parameters
and one piece. On CPU, and for small parameters, the pieces go into a host buffer that becomes the parameter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.typing import DTypeLike

from inters_jax.models.hf.safetensors_files import Checkpoint
from inters_jax.models.hf.tensors import Shape, Tensor
from inters_jax.trees import TreePath

PIECE_BYTES = 64 * 2**20  # larger tensors are read in parts; smaller parameters are gathered on the host
ALIGNMENT = 64  # bytes; XLA adopts a host buffer at such an address without a copy


def fill(
    checkpoint: Checkpoint,
    rows: Sequence[Tensor],
    wanted: Mapping[TreePath, jax.ShapeDtypeStruct],
    shardings: Mapping[TreePath, Sharding],
    layers: int,
) -> dict[TreePath, jax.Array]:
    """Load parameters onto their devices.

    Args:
      checkpoint: the files.
      rows: the tensors to read.
      wanted: shape and dtype of each parameter by path.
      shardings: by path; where a path is absent: the default device.
      layers: the number of layers.

    Returns:
      The parameters by path.
    """
    targets: dict[TreePath, Any] = {}
    for row in rows:
        for path in row.paths:
            kind = _OnHost if _gathered(wanted[path], shardings.get(path)) else _OnDevices
            targets[path] = kind(row, wanted[path], shardings.get(path))
    # Layer by layer, because files keep layers together.
    for layer in range(layers):
        for row in rows:
            if row.stacked or not layer:
                for path, start, piece in _pieces(checkpoint, row, layer, wanted):
                    targets[path].put(piece, layer, start)
    return {path: targets.pop(path).finish() for path in list(targets)}


def gather(
    checkpoint: Checkpoint, row: Tensor, wanted: Mapping[TreePath, Any], dtype: DTypeLike, layers: int
) -> list[np.ndarray]:
    """The parameters of one row as complete arrays on the host, with the layers axis."""
    targets = {
        path: _OnHost(row, jax.ShapeDtypeStruct(wanted[path].shape, jnp.dtype(dtype)), None)
        for path in row.paths
    }
    for layer in range(layers if row.stacked else 1):
        for path, start, piece in _pieces(checkpoint, row, layer, wanted):
            targets[path].put(piece, layer, start)
    return [target.array for target in targets.values()]


def _gathered(like: jax.ShapeDtypeStruct, sharding: Sharding | None) -> bool:
    here = sharding is None and jax.default_backend() == "cpu"
    return here or math.prod(like.shape) * like.dtype.itemsize <= PIECE_BYTES


def _pieces(
    checkpoint: Checkpoint, row: Tensor, layer: int, wanted: Mapping[TreePath, Any]
) -> Iterator[tuple[TreePath, int, np.ndarray]]:
    """The parts of one tensor: path, first row within the tensor, and rows in the layout of the file."""
    name = checkpoint.name_of(row, layer)
    shapes = [tuple(wanted[path].shape[1 if row.stacked else 0 :]) for path in row.paths]
    shape = checkpoint.shape(name)
    size = math.prod(shape) * 4
    if len(shapes) > 1 or size <= PIECE_BYTES:
        parts = row.split(checkpoint.read(name), shapes)
        for path, part in zip(row.paths, parts, strict=True):
            yield path, 0, part
        return
    unit = _rows_per_entry(row, shapes[0])
    step = max(unit, shape[0] * PIECE_BYTES // size // unit * unit)
    for start in range(0, shape[0], step):
        rows = checkpoint.read(name, slice(start, min(start + step, shape[0])))
        yield row.paths[0], start, rows


def _rows_per_entry(row: Tensor, shape: Shape) -> int:
    """How many rows of the file make one entry of the parameter's axis that corresponds to rows."""
    if row.inputs is not None:
        return math.prod(shape[row.inputs + 1 :])
    return math.prod(shape[1:]) if len(row.part_shape(shape)) == 1 else 1


def _turned(piece: Any, row: Tensor, shape: Shape) -> tuple[Any, int]:
    """Rows of the file in the parameter's layout, and the axis that they run along. shape: of one layer."""
    if row.inputs is None:
        return piece.reshape(-1, *shape[1:]), 0
    return piece.T.reshape(*shape[: row.inputs], -1, *shape[row.inputs + 1 :]), row.inputs


class _OnHost:
    """A parameter in a host buffer, which goes to its devices when it is complete."""

    def __init__(self, row: Tensor, like: jax.ShapeDtypeStruct, sharding: Sharding | None) -> None:
        self.row, self.sharding = row, sharding
        size = math.prod(like.shape) * like.dtype.itemsize
        memory = np.empty(size + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        self.array: np.ndarray = memory[start : start + size].view(like.dtype).reshape(like.shape)

    def put(self, piece: np.ndarray, layer: int, start: int) -> None:
        inner = self.array[layer] if self.row.stacked else self.array
        turned, axis = _turned(piece, self.row, inner.shape)
        first = start // _rows_per_entry(self.row, inner.shape)
        inner[(*[slice(None)] * axis, slice(first, first + turned.shape[axis]))] = turned

    def finish(self) -> jax.Array:
        if self.sharding is None:
            return jax.device_put(self.array, may_alias=True)
        return jax.make_array_from_callback(self.array.shape, self.sharding, lambda at: self.array[at])


class _OnDevices:
    """A parameter on its devices, written piece by piece."""

    def __init__(self, row: Tensor, like: jax.ShapeDtypeStruct, sharding: Sharding | None) -> None:
        self.row, self.sharding = row, sharding
        make = functools.partial(jnp.zeros, like.shape, like.dtype)
        self.array = jax.jit(make, out_shardings=sharding)()
        self.update: Callable[..., jax.Array] = jax.jit(
            functools.partial(_updated, row=row), donate_argnums=0, out_shardings=sharding
        )

    def put(self, piece: np.ndarray, layer: int, start: int) -> None:
        placed = _place(np.ascontiguousarray(piece), self.sharding, self.row)
        self.array = self.update(self.array, placed, layer, start)
        self.array.block_until_ready()  # otherwise pieces would accumulate

    def finish(self) -> jax.Array:
        return self.array


def _updated(target: jax.Array, piece: jax.Array, layer: int, start: int, *, row: Tensor) -> jax.Array:
    inner = target.shape[1:] if row.stacked else target.shape
    turned, axis = _turned(piece.astype(target.dtype), row, inner)
    at: list[Any] = [0] * len(inner)
    at[axis] = start // _rows_per_entry(row, inner)
    if row.stacked:
        turned, at = turned[None], [layer, *at]
    return jax.lax.dynamic_update_slice(target, turned, at)


def _place(piece: np.ndarray, sharding: Sharding | None, row: Tensor) -> Any:
    """A piece on the devices that hold it, its rows and columns sharded like the parameter's axes."""
    if not isinstance(sharding, NamedSharding):
        return piece
    spec = (*sharding.spec, *[None] * 4)[1 if row.stacked else 0 :]
    names = spec[: piece.ndim] if row.inputs is None else (spec[row.inputs], spec[0])

    def usable(name: Any, size: int) -> Any:
        parts = math.prod(
            sharding.mesh.shape[one] for one in ((name,) if isinstance(name, str) else name or ())
        )
        return name if size % parts == 0 else None

    entries = [usable(name, size) for name, size in zip(names, piece.shape, strict=True)]
    placement = NamedSharding(sharding.mesh, PartitionSpec(*entries))
    return jax.make_array_from_callback(piece.shape, placement, lambda at: piece[at])
