"""The decoder: embeddings, a stack of identical blocks run by one scan, a final norm and a head.

Shapes: B rows, L positions, D hidden size, V vocabulary, H query heads, G key/value heads, K head size.
Blocks are stacked along a leading "layers" axis (`nnx.vmap`) and run by `jax.lax.scan`, so compile time does
not grow with depth. The hot path splits the module once per program and needs no `nnx.jit`:

    graphdef, params = nnx.split(model, nnx.Param)
    step = jax.jit(lambda params, batch: nnx.merge(graphdef, params).hidden(...))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike

from inters_jax.models import bits
from inters_jax.models import remat as recomputing
from inters_jax.models.attention import cache_attention
from inters_jax.models.attention_backends import Attention, choose
from inters_jax.models.cache import KVCache
from inters_jax.models.config import DecoderConfig
from inters_jax.models.layers import Block, Constrain, Linear
from inters_jax.models.norms import Norm, param
from inters_jax.models.precision import precision_of
from inters_jax.models.products import product, product_with_rows
from inters_jax.models.rope import Angles, alibi_slopes, layer_angles


def unconstrained(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """The default of `Decoder.constrain`: leave the sharding of activations to the compiler."""
    del axes
    return x


class Decoder(nnx.Module):
    """A decoder-only language model.

    Args:
      config: its configuration.
      rngs: the stream "params" initialises random weights.
      param_dtype: storage dtype of the parameters; float32 for training.
      dtype: compute type, a name of `precision.py` except "auto", or a dtype; norms, softmax and logits are
        always float32.
      remat: what the backward pass recomputes, a name of `remat.REMAT`. "none" recomputes nothing; "dots"
        saves only matrix products; "full" saves only the input of each block; "offload" saves it in host
        memory. Attention scores are always recomputed.
      constrain: called as `constrain(activation, axis_names)`, with names from batch, length, embed, heads,
        kv_heads, head_dim, mlp, vocab; may constrain the sharding of activations.
      flatten: multiply activations as [B * L, D]; turn off when the length axis is sharded.
      attention: the implementation for rows: a name of `attention_backends.BACKENDS`, or the result of
        `choose`.
      mesh: the devices over which activations are sharded, for kernels that the compiler cannot partition.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: DTypeLike = jnp.float32,
        dtype: DTypeLike = jnp.float32,
        remat: str = "none",
        constrain: Constrain | None = None,
        flatten: bool = True,
        attention: str | Attention = "xla",
        mesh: Mesh | None = None,
    ) -> None:
        recomputing.check(remat, mesh)
        self.config = config
        self.precision = precision_of(dtype)
        self.dtype = self.precision.activations
        self.remat = remat
        self.constrain = constrain or unconstrained
        self.attend = choose(attention, mesh=mesh) if isinstance(attention, str) else attention
        shape = (config.vocab_size, config.hidden_size)
        embedding = config.init_std * jax.random.normal(rngs.params(), shape, jnp.float32)
        self.embedding = param(embedding.astype(param_dtype), ("vocab", "embed"))

        options = {"flatten": flatten, "bfloat16_products": self.precision.bfloat16_products}

        def block(key: jax.Array) -> Block:
            return Block(config, rngs=nnx.Rngs(params=key), param_dtype=param_dtype, **options)

        self.layers = nnx.vmap(block)(jax.random.split(rngs.params(), config.num_layers))
        self.final_norm = Norm(config.hidden_size, config, param_dtype=param_dtype, stacked=False)
        self.head = self._head(rngs, param_dtype, flatten)

    def _head(self, rngs: nnx.Rngs, param_dtype: DTypeLike, flatten: bool) -> Linear | None:
        config = self.config
        if config.tie_embeddings:
            return None
        return Linear(
            (config.hidden_size,), (config.vocab_size,), ("embed", "vocab"), rngs=rngs, std=config.init_std,
            param_dtype=param_dtype, bias=config.head_bias, flatten=flatten, stacked=False,
        )  # fmt: skip

    def __call__(self, tokens: jax.Array, segment_ids: jax.Array, positions: jax.Array) -> jax.Array:
        """int [B, L] each -> logits float32 [B, L, V]. Segment 0 is padding."""
        return self.logits(self.hidden(tokens, segment_ids, positions))

    def hidden(
        self,
        tokens: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array,
        *,
        branch_ids: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states after the final norm, [B, L, D] in the compute dtype.

        Args:
          tokens, segment_ids, positions: int [B, L]. Positions start at 0 in each segment; segment 0 is
            padding.
          branch_ids: int [B, L] or None. 0 marks a prompt, n > 0 its n-th continuation. A continuation
            attends to the prompt of its segment and to itself; its positions continue those of the prompt.
        """
        config = self.config
        angles = layer_angles(config, positions, segment_ids)

        def step(x: jax.Array, xs: tuple[nnx.State, jax.Array | None]) -> tuple[jax.Array, None]:
            layer, sliding = xs
            block = nnx.merge(graphdef, layer)
            x = recomputing.named(x, recomputing.INPUT)
            query, key, value = block.project(x, self._angles(angles, sliding), self.constrain)
            attended = self.attend(
                query, key, value, segment_ids=segment_ids, positions=positions,
                branch_ids=branch_ids, sliding=sliding, **self._scoring(),
            )  # fmt: skip
            return block.finish(x, recomputing.named(attended, recomputing.ATTENDED), self.constrain), None

        step = recomputing.wrap(step, self.remat)
        graphdef, layers = nnx.split(self.layers)
        x, _ = self._scan(step, self._embed(tokens), (layers, self._sliding()))
        return self.final_norm(x)

    def logits(self, hidden: jax.Array, tokens: Sequence[int] | None = None) -> jax.Array:
        """hidden: [..., D] after the final norm -> float32 [..., V], or [..., T] of these `tokens` alone."""
        if self.head is None:
            kernel, contract = self.embedding[...], 1
        else:
            kernel, contract = self.head.kernel[...], 0
        chosen = None if tokens is None else jnp.asarray(tokens)
        if chosen is not None:
            kernel = self._take(kernel, chosen, axis=1 - contract)
        flat = hidden.reshape(-1, hidden.shape[-1])
        if self.precision.bfloat16_products:
            out = (product_with_rows if contract else product)(flat, kernel)
        else:
            out = jax.lax.dot_general(
                flat, kernel.astype(hidden.dtype), (((1,), (contract,)), ((), ())),
                preferred_element_type=jnp.float32,
            )  # fmt: skip
        if self.head is not None and self.head.bias is not None:
            bias = self.head.bias[...]
            out += (bias if chosen is None else bias[chosen]).astype(jnp.float32)
        if self.config.logit_softcap is not None:
            out = self.config.logit_softcap * jnp.tanh(out / self.config.logit_softcap)
        return out.reshape(*hidden.shape[:-1], out.shape[-1])

    def decode(
        self, tokens: jax.Array, positions: jax.Array, cache: KVCache, *, fresh: bool = False
    ) -> tuple[jax.Array, KVCache]:
        """Run new tokens with a cache: a whole prompt, a part of one, or one token per row.

        Args:
          tokens: int [B, T].
          positions: int [B, T]; -1 is padding, which is not stored and whose state is undefined. The
            positions of a row increase by one and continue where its cache ends. A position beyond the cache
            is not stored either, so the cache must be large enough.
          cache: slot s holds position s.
          fresh: whether the cache is empty. The tokens then attend only to each other, which skips the empty
            slots and the upper triangle; the result is the same.

        Returns:
          Hidden states after the final norm [B, T, D], and the cache with the new positions.
        """
        angles = layer_angles(self.config, positions, None)
        segment_ids = (positions >= 0).astype(jnp.int32)

        def step(
            carry: tuple[jax.Array, KVCache], xs: tuple[jax.Array, nnx.State, jax.Array | None]
        ) -> tuple[tuple[jax.Array, KVCache], None]:
            # The cache is a carry, not a scanned input and output, so that it is updated in place.
            (x, cache), (index, layer, sliding) = carry, xs
            block = nnx.merge(graphdef, layer)
            query, key, value = block.project(x, self._angles(angles, sliding), self.constrain)
            cache = cache.write(index, key, value, positions)
            if fresh:
                attended = self.attend(
                    query, key, value, segment_ids=segment_ids, positions=positions, sliding=sliding,
                    **self._scoring(),
                )  # fmt: skip
            else:
                keys, values = cache.layer(index)
                attended = cache_attention(
                    query,
                    keys.astype(query.dtype),
                    values.astype(query.dtype),
                    positions=positions,
                    sliding=sliding,
                    **self._scoring(),
                )
            return (block.finish(x, attended, self.constrain), cache), None

        graphdef, layers = nnx.split(self.layers)
        indices = jnp.arange(self.config.num_layers)
        (x, cache), _ = self._scan(step, (self._embed(tokens), cache), (indices, layers, self._sliding()))
        return self.final_norm(x), cache

    def _scan(self, *arguments: Any) -> tuple[Any, Any]:
        """`jax.lax.scan` over the layers."""
        return (bits.scan if self.precision.bfloat16_products else jax.lax.scan)(*arguments)

    def _take(self, table: jax.Array, index: jax.Array, axis: int) -> jax.Array:
        """Rows or columns of a matrix; NaN for an index beyond it."""
        if self.precision.bfloat16_products:
            return bits.take(table, index, axis)
        return jnp.take(table, index, axis=axis, mode="fill")

    def _embed(self, tokens: jax.Array) -> jax.Array:
        # An id outside the vocabulary gives NaN, which the training loop reports, and not some other row.
        x = self._take(self.embedding[...], tokens, axis=0).astype(self.dtype)
        if self.config.scale_embeddings:
            x = x * jnp.asarray(self.config.hidden_size**0.5, self.dtype)
        return self.constrain(x, ("batch", "length", "embed"))

    def _sliding(self) -> jax.Array | None:
        """Which layers have the window, bool [layers]; None when all layers are alike."""
        layers = self.config.sliding_layers
        return jnp.asarray(layers) if layers else None

    def _angles(self, angles: tuple[Angles, Angles] | None, sliding: jax.Array | None) -> Angles | None:
        """The angles of one layer. sliding: bool [], where layers differ."""
        if angles is None:
            return None
        everywhere, local = angles
        if sliding is None:
            return everywhere if self.config.sliding_window is None else local
        if self.config.local_rope_theta is None:
            return everywhere
        return jnp.where(sliding, local[0], everywhere[0]), jnp.where(sliding, local[1], everywhere[1])

    def _scoring(self) -> dict[str, Any]:
        """The arguments of attention that depend on the model."""
        config = self.config
        scalar = config.head_dim if config.attention_scalar is None else config.attention_scalar
        return {
            "window": config.sliding_window,
            "softcap": config.attention_softcap,
            "scale": scalar**-0.5,
            "slopes": jnp.asarray(alibi_slopes(config.num_heads)) if config.alibi else None,
            "bfloat16_products": self.precision.bfloat16_products,
        }


def logical_axes(model: Decoder | nnx.State) -> Any:
    """The axis names of every parameter, in the structure of `nnx.state(model, nnx.Param)`.

    Works on abstract models too. Names: layers, vocab, embed, heads, kv_heads, head_dim, mlp, norm.
    """
    state = model if isinstance(model, nnx.State) else nnx.state(model, nnx.Param)
    is_variable = lambda leaf: isinstance(leaf, nnx.Variable)  # noqa: E731
    return jax.tree.map(lambda leaf: leaf.get_metadata()["out_sharding"], state, is_leaf=is_variable)


def abstract_model(config: DecoderConfig, **options: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """The structure of a decoder and the shapes of its parameters, without allocating any.

    `options` are those of `Decoder` (param_dtype, dtype, remat, ...).
    """
    model = nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(params=0), **options))
    return nnx.split(model, nnx.Param)


def random_parameters(config: DecoderConfig, seed: int, shardings: Any) -> dict[str, Any]:
    """Random float32 parameters as nested dicts; each device makes only its own part.

    Args:
      config: of the decoder.
      seed: the result depends on it alone, and not on the shardings.
      shardings: nested dicts with a sharding for each parameter.
    """

    def make() -> dict[str, Any]:
        return nnx.to_pure_dict(nnx.state(Decoder(config, rngs=nnx.Rngs(params=seed)), nnx.Param))

    # It runs once, and on CPU optimising it takes three times as long as running it unoptimised.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(make, out_shardings=shardings, compiler_options=options)()
