"""Indexing of bfloat16 weights as the integers that hold their bits.

XLA's CPU backend has products of bfloat16 but neither slices nor gathers: it converts the whole operand to
float32 first. A scan over stacked layers copies all weights in this way, which takes longer than to multiply
one token by them. Integers of 16 bits are sliced as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NAN = 0x7FC0  # in bfloat16


def scan(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`, with equal results and gradients, that slices bfloat16 arrays of `xs` as integers.

    >>> scan(lambda total, x: (total + x, None), jnp.bfloat16(0), jnp.array([1, 2.5], jnp.bfloat16))[0].item()
    3.5
    """
    arrays, structure = jax.tree.flatten(xs)
    integers = [_bits(array) if array.dtype == jnp.bfloat16 else None for array in arrays]

    def restored(carry: Any, given: tuple[list[Any], list[Any]]) -> tuple[Any, Any]:
        leaves = [one if bits is None else _restored(bits, one) for bits, one in zip(*given, strict=True)]
        return step(carry, jax.tree.unflatten(structure, leaves))

    return jax.lax.scan(restored, carry, (integers, arrays))


def take(table: jax.Array, index: jax.Array, axis: int = 0) -> jax.Array:
    """Rows or columns of a matrix of any type; an index beyond it gives NaN.

    >>> take(jnp.array([[1.0], [2.0]], jnp.bfloat16), jnp.array([1, 5])).ravel().tolist()
    [2.0, nan]
    """
    taken = jnp.take(table, index, axis=axis, mode="fill")
    if table.dtype != jnp.bfloat16:
        return taken
    return _restored(jnp.take(_bits(table), index, axis=axis, mode="fill", fill_value=NAN), taken)


def _bits(array: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(array, jnp.uint16)


@jax.custom_vjp
def _restored(bits: jax.Array, array: jax.Array) -> jax.Array:
    """The array of these bits. `array` only receives the gradient; the compiler drops what nobody reads."""
    del array
    return jax.lax.bitcast_convert_type(bits, jnp.bfloat16)


def _forward(bits: jax.Array, array: jax.Array) -> tuple[jax.Array, None]:
    return _restored(bits, array), None


def _backward(saved: None, gradient: jax.Array) -> tuple[Any, jax.Array]:
    del saved
    return np.zeros(gradient.shape, jax.dtypes.float0), gradient


_restored.defvjp(_forward, _backward)
