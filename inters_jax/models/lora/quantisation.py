"""Quantised kernels: int8 with one scale per output, nf4 with one scale per `BLOCK` inputs.

Kernels are stacked: [layers, *inputs, *outputs]. qwix quantises and dequantises. nf4 values are packed in
pairs into uint8, because uint4 arrays from the host have another layout than an ahead-of-time compiled
program expects.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import qwix

from inters_jax.models.config import ModelError

QUANTISED = ("int8", "nf4")
BLOCK = 64  # inputs per scale in nf4


def stored_dtype(base_dtype: str) -> jnp.dtype:
    """The storage dtype of quantised values; nf4 packs two into a byte."""
    return jnp.dtype("int8" if base_dtype == "int8" else "uint8")


def _tiling(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[tuple[int, ...], dict[int, int]]:
    """For a kernel [layers, *inputs, *outputs]: axes with a scale per entry, and {tiled axis: tile}."""
    if base_dtype == "int8":
        return (0, *range(1 + inputs, len(shape))), {}
    tile = next(size for size in range(min(BLOCK, shape[inputs]), 0, -1) if shape[inputs] % size == 0)
    return tuple(axis for axis in range(len(shape)) if axis != inputs), {inputs: tile}


def value_shape(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[int, ...]:
    """The shape of the stored values of a stacked kernel; nf4 packs pairs along its last input axis.

    >>> value_shape((2, 256, 4, 16), 1, "nf4"), value_shape((2, 256, 4, 16), 1, "int8")
    ((2, 128, 4, 16), (2, 256, 4, 16))
    """
    if base_dtype == "int8":
        return shape
    if shape[inputs] % 2:
        raise ModelError(
            f"LoRA.base_dtype='nf4' needs an even number of inputs; a kernel of {list(shape)} has"
            f" {shape[inputs]}"
        )
    return (*shape[:inputs], shape[inputs] // 2, *shape[inputs + 1 :])


def scale_shape(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[int, ...]:
    """The shape of the scales of a stacked kernel.

    >>> scale_shape((2, 256, 4, 16), 1, "nf4"), scale_shape((2, 4, 96, 64), 2, "nf4")
    ((2, 4, 4, 16), (2, 4, 2, 64))
    >>> scale_shape((2, 4, 96, 64), 2, "int8")
    (2, 1, 1, 64)
    """
    whole, tiles = _tiling(shape, inputs, base_dtype)
    return tuple(
        size if axis in whole else size // tiles[axis] if axis in tiles else 1
        for axis, size in enumerate(shape)
    )


def quantise(kernel: jax.Array, inputs: int, base_dtype: str) -> tuple[jax.Array, jax.Array]:
    """Quantise a stacked kernel: float32 [layers, *inputs, *outputs] -> stored values, float32 scales."""
    whole, tiles = _tiling(kernel.shape, inputs, base_dtype)
    qtype = jnp.int8 if base_dtype == "int8" else base_dtype
    array = qwix.quantize(kernel, qtype, channelwise_axes=whole, tiled_axes=tiles)
    values = array.qvalue
    if base_dtype == "nf4":
        size = kernel.shape[inputs]
        first = jax.lax.slice_in_dim(values, 0, size, 2, axis=inputs).astype(jnp.uint8)
        second = jax.lax.slice_in_dim(values, 1, size, 2, axis=inputs).astype(jnp.uint8)
        values = first | (second << 4)
    return values, array.scale


def dequantise(values: jax.Array, scales: jax.Array, inputs: int, base_dtype: str) -> jax.Array:
    """Dequantise stored values and scales -> stacked kernel, float32 [layers, *inputs, *outputs]."""
    if base_dtype == "int8":
        return qwix.dequantize(qwix.QArray(values, scales, None, jnp.int8))
    pairs = jnp.stack((values & 15, values >> 4), axis=inputs + 1)
    shape = (*values.shape[:inputs], 2 * values.shape[inputs], *values.shape[inputs + 1 :])
    return qwix.dequantize(qwix.QArray(pairs.reshape(shape), scales, None, base_dtype))
