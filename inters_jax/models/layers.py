"""The layers of a decoder: linear maps, attention projections, the MLP, and the block they form.

Shapes: B rows, L positions, D hidden size, F MLP size, H query heads, G key/value heads, K head size.
Parameters are stored in `param_dtype` and cast to the dtype of the activations, or of the products
(`precision.py`); norms compute in float32.
Every parameter has the names of its axes (`nnx.Param(..., out_sharding=names)`), including the leading
"layers" axis of stacked blocks; `mesh.py` maps the names to devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from inters_jax.models.config import DecoderConfig
from inters_jax.models.norms import Norm, param
from inters_jax.models.products import product
from inters_jax.models.rope import Angles, rotate

Constrain = Callable[[jax.Array, tuple[str, ...]], jax.Array]


class Linear(nnx.Module):
    """A linear map over one or several axes.

    kernel: [*inputs, *outputs], for instance [D, H, K] for queries and [H, K, D] for the output projection.
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
        bfloat16_products: bool = False,
        stacked: bool = True,
    ) -> None:
        lead = ("layers",) if stacked else ()
        kernel = std * jax.random.normal(rngs.params(), (*inputs, *outputs), jnp.float32)
        self.kernel = param(kernel.astype(param_dtype), (*lead, *axes))
        self.bias = param(jnp.zeros(outputs, param_dtype), (*lead, *axes[len(inputs) :])) if bias else None
        self.rank = len(inputs)
        self.flatten = flatten
        self.bfloat16_products = bfloat16_products

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *inputs] -> [..., *outputs]."""
        y = self.multiply(x, self.kernel[...])
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)

    def multiply(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """x: [..., *inputs], kernel: [*inputs, *outputs] -> [..., *outputs] in the dtype of x."""
        if not self.flatten:
            # Not merged when the length axis is sharded: a merged axis could not stay sharded.
            operands = jnp.bfloat16 if self.bfloat16_products else x.dtype
            return jnp.tensordot(
                x.astype(operands), kernel.astype(operands), axes=self.rank, preferred_element_type=x.dtype
            )
        # One plain [rows, in] x [in, out] product: XLA's CPU backend is a third slower on the gradients of
        # products with separate batch and length axes.
        lead = x.shape[: x.ndim - self.rank]
        size = math.prod(kernel.shape[: self.rank])
        rows, matrix = x.reshape(-1, size), kernel.reshape(size, -1)
        y = product(rows, matrix) if self.bfloat16_products else rows @ matrix.astype(x.dtype)
        return y.reshape(*lead, *kernel.shape[self.rank :])


def activate(x: jax.Array, name: str) -> jax.Array:
    """The activation named in `DecoderConfig.activation`."""
    return jax.nn.silu(x) if name == "silu" else jax.nn.gelu(x, approximate=name == "gelu_tanh")


class MLP(nnx.Module):
    """`down(activation(gate(x)) * up(x))`; without a gate `down(activation(up(x)))`.

    The options of this and of the next classes are those of `Linear`: flatten and bfloat16_products.
    """

    def __init__(
        self, config: DecoderConfig, *, rngs: nnx.Rngs, param_dtype: DTypeLike, **options: bool
    ) -> None:
        d, f, std = config.hidden_size, config.intermediate_size, config.init_std

        def linear(inputs: int, outputs: int, axes: tuple[str, ...], scale: float = 1.0) -> Linear:
            return Linear(
                (inputs,), (outputs,), axes, rngs=rngs, std=std * scale,
                param_dtype=param_dtype, bias=config.mlp_bias, **options,
            )  # fmt: skip

        self.gate = linear(d, f, ("embed", "mlp")) if config.gated_mlp else None
        self.up = linear(d, f, ("embed", "mlp"))
        self.down = linear(f, d, ("mlp", "embed"), residual_scale(config))
        self.activation = config.activation

    def __call__(self, x: jax.Array, constrain: Constrain) -> jax.Array:
        """x: [B, L, D] -> [B, L, D]."""
        if self.gate is None:
            inner = activate(self.up(x), self.activation)
        else:
            inner = activate(self.gate(x), self.activation) * self.up(x)
        return self.down(constrain(inner, ("batch", "length", "mlp")))


class SelfAttention(nnx.Module):
    """The four projections around attention; the caller chooses attention itself (row or cache)."""

    def __init__(
        self, config: DecoderConfig, *, rngs: nnx.Rngs, param_dtype: DTypeLike, **options: bool
    ) -> None:
        d, h, g, k = config.hidden_size, config.num_heads, config.num_kv_heads, config.head_dim

        def into(heads: int, axis: str) -> Linear:
            return Linear(
                (d,), (heads, k), ("embed", axis, "head_dim"), rngs=rngs, std=config.init_std,
                param_dtype=param_dtype, bias=config.attention_bias, **options,
            )  # fmt: skip

        self.query, self.key, self.value = into(h, "heads"), into(g, "kv_heads"), into(g, "kv_heads")
        self.output = Linear(
            (h, k), (d,), ("heads", "head_dim", "embed"), rngs=rngs, param_dtype=param_dtype,
            std=config.init_std * residual_scale(config), bias=config.attention_output_bias, **options,
        )  # fmt: skip

        def norm(heads: int, axis: str) -> Norm | None:
            if not config.qk_norm:
                return None
            if config.qk_norm_whole:
                return Norm((heads, k), config, param_dtype=param_dtype, axes=(axis, "head_dim"))
            return Norm(k, config, param_dtype=param_dtype, axes=("head_dim",))

        self.query_norm, self.key_norm = norm(h, "heads"), norm(g, "kv_heads")

    def project(self, x: jax.Array, angles: Angles | None, constrain: Constrain) -> tuple[jax.Array, ...]:
        """x: [B, L, D] -> rotated queries [B, L, H, K], rotated keys and values [B, L, G, K]."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        query = constrain(query, ("batch", "length", "heads", "head_dim"))
        key = constrain(key, ("batch", "length", "kv_heads", "head_dim"))
        return query, key, constrain(value, ("batch", "length", "kv_heads", "head_dim"))


class Block(nnx.Module):
    """Attention and MLP with their norms (`DecoderConfig.block_norms`)."""

    def __init__(
        self, config: DecoderConfig, *, rngs: nnx.Rngs, param_dtype: DTypeLike, **options: bool
    ) -> None:
        def norm(name: str) -> Norm | None:
            if name not in config.block_norms:
                return None
            return Norm(config.hidden_size, config, param_dtype=param_dtype)

        self.attention_norm = norm("attention_norm")
        self.attention = SelfAttention(config, rngs=rngs, param_dtype=param_dtype, **options)
        self.attention_post_norm = norm("attention_post_norm")
        self.mlp_norm = norm("mlp_norm")
        self.mlp = MLP(config, rngs=rngs, param_dtype=param_dtype, **options)
        self.mlp_post_norm = norm("mlp_post_norm")
        self.residual = config.residual

    def project(self, x: jax.Array, angles: Angles | None, constrain: Constrain) -> tuple[jax.Array, ...]:
        """Queries, keys and values of the block's input [B, L, D]."""
        return self.attention.project(through(self.attention_norm, x), angles, constrain)

    def finish(self, x: jax.Array, attended: jax.Array, constrain: Constrain) -> jax.Array:
        """Add the attention output [B, L, H, K] and the MLP to the block's input [B, L, D]."""
        added = through(self.attention_post_norm, self.attention.output(attended))
        if self.residual == "sequential":
            x = constrain(x + added, ("batch", "length", "embed"))
            inner = through(self.mlp_norm, x)
        else:
            inner = through(self.attention_norm if self.residual == "parallel_shared" else self.mlp_norm, x)
            x = x + added
        added = through(self.mlp_post_norm, self.mlp(inner, constrain))
        return constrain(x + added, ("batch", "length", "embed"))


def through(norm: Norm | None, x: jax.Array) -> jax.Array:
    """Apply the norm, if there is one."""
    return x if norm is None else norm(x)


def residual_scale(config: DecoderConfig) -> float:
    """The initialisation scale of residual updates, which bounds the sum of all 2 x num_layers of them."""
    return 1.0 / math.sqrt(2.0 * config.num_layers)
