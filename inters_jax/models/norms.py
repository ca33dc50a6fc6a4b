"""The norms of published decoders, computed in float32; they differ in where values are rounded."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from inters_jax.models.config import DecoderConfig


def param(value: jax.Array, axes: tuple[str, ...]) -> nnx.Param:
    """A parameter with axis names. Eager sharding is off, because `mesh.py` decides on placement."""
    return nnx.Param(value, out_sharding=axes, eager_sharding=False)


class Norm(nnx.Module):
    """Root-mean-square norm, or layer norm, over one or several last axes.

    "rms" (Llama) rounds the normalised values to the compute dtype before it applies the weight. "rms_late"
    (OLMo 2) applies the weight in float32 and rounds last, as does "rms_plus_one" (Gemma) with `1 + weight`.
    "layer" subtracts the mean, and applies weight and bias in float32. The three root-mean-square norms give
    different results only in bfloat16.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        config: DecoderConfig,
        *,
        param_dtype: DTypeLike,
        axes: tuple[str, ...] = ("norm",),
        stacked: bool = True,
    ) -> None:
        shape = (shape,) if isinstance(shape, int) else shape
        axes = ("layers", *axes) if stacked else axes
        self.kind = config.norm
        self.eps = config.norm_eps
        self.over = tuple(range(-len(shape), 0))
        start = jnp.zeros if self.kind == "rms_plus_one" else jnp.ones
        self.scale = param(start(shape, param_dtype), axes)
        self.bias = param(jnp.zeros(shape, param_dtype), axes) if self.kind == "layer" else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *shape] -> the same shape and dtype."""
        y = x.astype(jnp.float32)
        if self.kind == "layer":
            y = y - jnp.mean(y, axis=self.over, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=self.over, keepdims=True) + self.eps)
        scale = self.scale[...]
        if self.kind == "rms":
            return y.astype(x.dtype) * scale.astype(x.dtype)
        scale = scale.astype(jnp.float32)
        y = y * (1.0 + scale) if self.kind == "rms_plus_one" else y * scale
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)
