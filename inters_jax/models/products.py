"""Matrix products with bfloat16 operands and float32 results, for CPUs that multiply bfloat16 in hardware.

XLA's CPU backend multiplies bfloat16 about twice as fast as float32 (AVX512-BF16, AMX), but its elementwise
operations on bfloat16 are several times slower. So activations stay float32 and are rounded only as operands.
The backward pass rounds the gradient of the result in the same way; without a rule of its own, it would
multiply float32 by bfloat16, which the backend computes in float32.

The backend has its fast kernel only for a left operand whose rows are contiguous: `a.T @ b`, the gradient of
every weight, falls back to float32. `_transposed` therefore writes the transpose to memory, through a reshape
that gives it the default layout.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """a: float32 [..., M, K], b: [..., K, N] of any float type -> float32 [..., M, N].

    >>> product(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [1.00390625]])).tolist()  # 1 + 2**-8 rounds to 1
    [[5.0]]
    """
    return _dot(_rounded(a), _rounded(b), a.ndim - 2)


@jax.custom_vjp
def product_with_rows(a: jax.Array, b: jax.Array) -> jax.Array:
    """a: float32 [..., M, K], b: [..., N, K] of any float type -> float32 [..., M, N].

    >>> product_with_rows(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 1.0]])).tolist()
    [[5.0]]
    """
    return _dot(_rounded(a), _rounded(b), a.ndim - 1)


def _rounded(x: jax.Array) -> jax.Array:
    return x.astype(jnp.bfloat16)


def _dot(a: jax.Array, b: jax.Array, contracted: int) -> jax.Array:
    """Contract the last axis of a [..., M, K] with axis `contracted` of b; the leading axes are a batch."""
    batch = tuple(range(a.ndim - 2))
    contract = ((a.ndim - 1,), (contracted,))
    if a.shape[-2] == 1:  # the backend multiplies vectors by a loop, ten times slower than two rows
        a = jnp.pad(a, [*[(0, 0)] * len(batch), (0, 1), (0, 0)])
        return _dot(a, b, contracted)[..., :1, :]
    return jax.lax.dot_general(a, b, (contract, (batch, batch)), preferred_element_type=jnp.float32)


def _transposed(x: jax.Array) -> jax.Array:
    """x: [..., M, K] -> [..., K, M] in memory, not as a layout of x."""
    *batch, rows, columns = x.shape
    parts = next((n for n in (2, 3, 5, 7) if columns % n == 0), 1)
    x = x.reshape(*batch, rows, parts, columns // parts)
    return jnp.moveaxis(x, -3, -1).reshape(*batch, columns, rows)


def _gram(a: jax.Array, b: jax.Array) -> jax.Array:
    """a: [..., M, K], b: [..., M, N] -> float32 [..., K, N]; the narrower of both is transposed."""
    if a.shape[-1] <= b.shape[-1]:
        return _dot(_transposed(a), b, b.ndim - 2)
    return _transposed(_dot(_transposed(b), a, a.ndim - 2))


Saved = tuple[jax.Array, jax.Array]  # the left operand in bfloat16, and the right one as it was given


def _forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, Saved]:
    return product(a, b), (_rounded(a), b)


def _backward(saved: Saved, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    (a, b), gradient = saved, _rounded(gradient)
    return _dot(gradient, _rounded(b), b.ndim - 1), _gram(a, gradient).astype(b.dtype)


def _forward_with_rows(a: jax.Array, b: jax.Array) -> tuple[jax.Array, Saved]:
    return product_with_rows(a, b), (_rounded(a), b)


def _backward_with_rows(saved: Saved, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    (a, b), gradient = saved, _rounded(gradient)
    return _dot(gradient, _rounded(b), b.ndim - 2), _gram(gradient, a).astype(b.dtype)


product.defvjp(_forward, _backward)
product_with_rows.defvjp(_forward_with_rows, _backward_with_rows)
