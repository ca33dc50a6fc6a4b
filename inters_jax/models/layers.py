"""The small parts of a decoder: linear maps, norms, the gated MLP and rotary positions.

Shapes: B rows, L positions, D hidden size, F MLP size, H query heads, G key/value heads, K head size.
Parameters are stored in `param_dtype` and used in the type of the activations; norms compute in float32.
Every parameter carries the names of its axes (`nnx.Param(..., out_sharding=names)`), the leading "layers"
axis of stacked blocks included; `mesh.py` decides what the names mean on a machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from inters_jax.models.config import DecoderConfig, RopeScaling

Constrain = Callable[[jax.Array, tuple[str, ...]], jax.Array]


def param(value: jax.Array, axes: tuple[str, ...]) -> nnx.Param:
    """A parameter that knows its axis names. Eager sharding is off: placement belongs to `mesh.py`."""
    return nnx.Param(value, out_sharding=axes, eager_sharding=False)


class Linear(nnx.Module):
    """A linear map over one or several axes at once.

    kernel: [*inputs, *outputs], for instance [D, H, K] for queries and [H, K, D] for the way back.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        axes: tuple[str, ...],
        *,
        rngs: nnx.Rngs,
        std: float,
        param_dtype: DTypeLike,
        bias: bool = False,
        flatten: bool = True,
        stacked: bool = True,
    ) -> None:
        lead = ("layers",) if stacked else ()
        kernel = std * jax.random.normal(rngs.params(), (*inputs, *outputs), jnp.float32)
        self.kernel = param(kernel.astype(param_dtype), (*lead, *axes))
        self.bias = param(jnp.zeros(outputs, param_dtype), (*lead, *axes[len(inputs) :])) if bias else None
        self.rank = len(inputs)
        self.flatten = flatten

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *inputs] -> [..., *outputs]."""
        kernel = self.kernel[...].astype(x.dtype)
        if self.flatten:
            # One plain [rows, in] x [in, out] product: XLA's CPU backend loses a third of its speed on the
            # gradients of products that keep batch and length apart.
            lead = x.shape[: x.ndim - self.rank]
            size = math.prod(kernel.shape[: self.rank])
            y = x.reshape(-1, size) @ kernel.reshape(size, -1)
            y = y.reshape(*lead, *kernel.shape[self.rank :])
        else:
            # Kept apart when the length axis is split over devices: a merged axis cannot stay split.
            y = jnp.tensordot(x, kernel, axes=self.rank)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class Norm(nnx.Module):
    """Root-mean-square norm in float32.

    "rms" rounds the normalised values to the compute type before the weight is applied, "rms_plus_one"
    applies `1 + weight` in float32 and rounds last: the two conventions of published models, which differ in
    bfloat16.
    """

    def __init__(
        self,
        size: int,
        config: DecoderConfig,
        *,
        param_dtype: DTypeLike,
        axis: str = "norm",
        stacked: bool = True,
    ) -> None:
        self.plus_one = config.norm == "rms_plus_one"
        self.eps = config.norm_eps
        start = jnp.zeros if self.plus_one else jnp.ones
        self.scale = param(start((size,), param_dtype), ("layers", axis) if stacked else (axis,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., size] -> the same shape and dtype."""
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + self.eps)
        if self.plus_one:
            return (y * (1.0 + self.scale[...].astype(jnp.float32))).astype(x.dtype)
        return y.astype(x.dtype) * self.scale[...].astype(x.dtype)


def activate(x: jax.Array, name: str) -> jax.Array:
    """The activation named in `DecoderConfig.activation`."""
    return jax.nn.silu(x) if name == "silu" else jax.nn.gelu(x, approximate=name == "gelu_tanh")


class GatedMLP(nnx.Module):
    """`down(activation(gate(x)) * up(x))`."""

    def __init__(
        self, config: DecoderConfig, *, rngs: nnx.Rngs, param_dtype: DTypeLike, flatten: bool
    ) -> None:
        d, f, std = config.hidden_size, config.intermediate_size, config.init_std

        def linear(inputs: int, outputs: int, axes: tuple[str, ...], scale: float = 1.0) -> Linear:
            return Linear(
                (inputs,), (outputs,), axes, rngs=rngs, std=std * scale,
                param_dtype=param_dtype, bias=config.mlp_bias, flatten=flatten,
            )  # fmt: skip

        self.gate = linear(d, f, ("embed", "mlp"))
        self.up = linear(d, f, ("embed", "mlp"))
        self.down = linear(f, d, ("mlp", "embed"), residual_scale(config))
        self.activation = config.activation

    def __call__(self, x: jax.Array, constrain: Constrain) -> jax.Array:
        """x: [B, L, D] -> [B, L, D]."""
        inner = activate(self.gate(x), self.activation) * self.up(x)
        return self.down(constrain(inner, ("batch", "length", "mlp")))


def residual_scale(config: DecoderConfig) -> float:
    """Random starts shrink each of the 2 x num_layers additions, which keeps the size of their sum."""
    return 1.0 / math.sqrt(2.0 * config.num_layers)


def rope_frequencies(size: int, theta: float, scaling: RopeScaling | None) -> np.ndarray:
    """Rotations per position, float32 [size / 2].

    >>> rope_frequencies(4, 10000.0, None).tolist() == [1.0, np.float32(0.01)]
    True
    >>> rope_frequencies(4, 10000.0, RopeScaling("linear", 2.0)).tolist() == [0.5, np.float32(0.005)]
    True
    """
    frequencies = theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    if scaling is not None and scaling.kind == "linear":
        frequencies = frequencies / scaling.factor
    elif scaling is not None:
        turns = scaling.original_max_position * frequencies / (2 * np.pi)  # over the trained length
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
        frequencies = frequencies * (keep + (1.0 - keep) / scaling.factor)
    return frequencies.astype(np.float32)


def rope_angles(positions: jax.Array, frequencies: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """positions: int [B, L] -> cosines and sines, float32 [B, L, 1, K / 2]."""
    angles = positions.astype(jnp.float32)[..., None, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turns the pair (x[i], x[i + K/2]) by its angle. x: [B, L, heads, K]; computed in float32."""
    cos, sin = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    return turned.astype(x.dtype)
