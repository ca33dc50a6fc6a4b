"""Splash attention on TPU: JAX's Pallas kernel behind the interface of `attention`.

The kernel keeps one block of scores on the chip, skips blocks that the causal mask or the window empties, and
recomputes the scores in its backward pass, so memory is linear in the length. The mask by index (causal,
window) is fixed when the program is built; segments are an input. A stack that mixes windowed and full layers
has two kernels, and each layer selects one of them (`lax.cond`).

Lengths are padded to full blocks with segment 0. On a mesh each device runs the kernel over its rows, heads
and, with a ``sequence`` axis, its queries; the keys and values of a row are then gathered to all its devices.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gin
import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash  # it has no stable API
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from inters_jax.field_types import check_field_types
from inters_jax.models.attention_sharding import Layout, repeat_heads
from inters_jax.models.config import ModelError

LANES = 128  # every block is a multiple of it
# The name, for remat policies, of what the backward kernels read of the forward one. A policy that saves it
# does not run the forward kernel again.
RESIDUALS = "attended"


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class SplashBlocks:
    """Block sizes of the kernel, in positions. They affect speed and on-chip memory, never the result.

    A row shorter than a block has one block. The defaults fit every TPU from v4 on in bfloat16.
    """

    queries: int = 512
    keys: int = 512  # fetched at once
    keys_compute: int = 512  # of these, multiplied at once
    backward_queries: int = 512
    backward_keys: int = 512
    backward_keys_compute: int = 512
    # One backward kernel: fewer products, but memory for one dq per block of keys.
    fused_backward: bool = False

    def __post_init__(self) -> None:
        check_field_types(self, ModelError)
        for name, size in dataclasses.asdict(self).items():
            if name != "fused_backward" and (size < LANES or size % LANES):
                raise ModelError(f"SplashBlocks.{name}={size}: must be a positive multiple of {LANES}")

    @property
    def largest(self) -> int:
        """The largest block."""
        return max(value for name, value in dataclasses.asdict(self).items() if name != "fused_backward")

    def padded(self, length: int, parts: int = 1) -> int:
        """The padded length of a row, so that each of `parts` devices has the same number of blocks.

        >>> blocks = SplashBlocks()
        >>> [blocks.padded(length) for length in (1, 200, 512, 600, 2048)]
        [128, 256, 512, 1024, 2048]
        >>> blocks.padded(600, parts=4)
        1024
        """
        unit = parts * (self.largest if length > parts * self.largest else LANES)
        return -(-length // unit) * unit

    def fitted(self, padded: int, parts: int = 1) -> splash.BlockSizes:
        """The blocks for rows of a padded length: each divides it and is at most as large.

        >>> SplashBlocks(keys=1024).fitted(384).block_kv, SplashBlocks(queries=256).fitted(384).block_q
        (384, 128)
        """
        queries = _divisor(padded // parts, self.queries)
        keys = _divisor(padded, self.keys)
        backward_queries = _divisor(padded // parts, self.backward_queries)
        backward_keys = _divisor(padded, self.backward_keys)
        return splash.BlockSizes(
            block_q=queries,
            block_kv=keys,
            block_kv_compute=_divisor(keys, self.keys_compute),
            block_q_dkv=backward_queries,
            block_kv_dkv=backward_keys,
            block_kv_dkv_compute=_divisor(backward_keys, self.backward_keys_compute),
            block_q_dq=None if self.fused_backward else backward_queries,
            block_kv_dq=None if self.fused_backward else backward_keys,
            use_fused_bwd_kernel=self.fused_backward,
        )


def _divisor(length: int, most: int) -> int:
    """The largest multiple of 128 that divides `length` and is at most `most`."""
    return next(size for size in range(min(length, most) // LANES * LANES, 0, -LANES) if length % size == 0)


def splash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    window: int | None = None,
    sliding: jax.Array | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    mesh: Mesh | None = None,
    blocks: SplashBlocks | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Attention within rows. q: [B, L, H, K]; k, v: [B, L, G, K] -> like q.

    Positions must increase by one along a segment, so that the window applies to indices.

    Args:
      q, k, v, segment_ids, window, sliding, softcap, scale: see `inters_jax.models.attention.attention`.
      mesh: the devices over which rows, heads and positions are sharded; None: one device.
      blocks: block sizes; None: `SplashBlocks()`.
      interpret: emulate the kernel on any device: slow, for tests.
    """
    blocks = SplashBlocks() if blocks is None else blocks
    layout = Layout.of(mesh, q.shape)
    length, parts = q.shape[1], layout.sequence_parts
    padded = blocks.padded(length, parts)
    if window is not None and window >= length:
        window = None
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k, v = (repeat_heads(x, layout.head_parts, q.shape[2]) for x in (k, v))
    q, k, v = (_heads_first(x, padded) for x in (q * scale, k, v))
    segment_ids = jnp.pad(segment_ids, ((0, 0), (0, padded - length)))

    alternating = window is not None and sliding is not None
    kernel = functools.partial(
        _kernel, q.shape[1], padded, blocks=blocks, layout=layout, softcap=softcap, interpret=interpret,
        multi_query=k.shape[1] in (1, layout.head_parts),
    )  # fmt: skip
    kernels = (kernel(window=window), kernel(window=None)) if alternating else (kernel(window=window),)
    arguments = (q, k, v, segment_ids, segment_ids, sliding if alternating else jnp.array(True), *kernels)
    if mesh is None:
        out = _attend(*arguments)
    else:
        rows, heads, sequence = layout.rows, layout.heads, layout.sequence
        queries = PartitionSpec(rows, heads, sequence, None)
        keys = PartitionSpec(rows, layout.key_heads(k.shape[1]), None, None)
        by_block = NamedSharding(mesh, PartitionSpec(heads, sequence))
        out = jax.shard_map(
            _attend,
            mesh=mesh,
            in_specs=(
                queries, keys, keys, PartitionSpec(rows, sequence), PartitionSpec(rows), PartitionSpec(),
                *(kernel.manual_sharding_spec(by_block) for kernel in kernels),
            ),
            out_specs=queries,
            check_vma=False,  # a Pallas call does not state the axes over which its results vary
        )(*arguments)  # fmt: skip
    return out.transpose(0, 2, 1, 3)[:, :length]


def _attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    query_segments: jax.Array,
    key_segments: jax.Array,
    sliding: jax.Array,
    *kernels: Any,
) -> jax.Array:
    """Attention on one device. q: [B, H, Lq, K]; k, v: [B, G, L, K]; kernels: one, or windowed and full."""
    segments = splash.SegmentIds(query_segments, key_segments)
    if k.shape[1] == 1:
        k, v = k[:, 0], v[:, 0]

    def run(kernel: Any) -> jax.Array:
        return jax.vmap(kernel)(q, k, v, segments)

    if len(kernels) == 1:
        return run(kernels[0])
    return jax.lax.cond(sliding, lambda: run(kernels[0]), lambda: run(kernels[1]))


def _kernel(
    heads: int,
    length: int,
    *,
    window: int | None,
    blocks: SplashBlocks,
    layout: Layout,
    softcap: float | None,
    interpret: bool,
    multi_query: bool,
) -> Any:
    """The kernel of all heads over rows of a padded length; its blocks are sharded by `layout`, like q."""
    parts = layout.sequence_parts
    shape = (length, length)
    mask = (
        splash.CausalMask(shape, shard_count=parts)
        if window is None
        else splash.LocalMask(shape, window_size=(window - 1, 0), offset=0, shard_count=parts)
    )
    make = splash.make_splash_mqa if multi_query else splash.make_splash_mha
    return make(
        splash.MultiHeadMask([mask] * heads),
        block_sizes=blocks.fitted(length, parts),
        head_shards=layout.head_parts,
        q_seq_shards=parts,
        attn_logits_soft_cap=softcap,
        residual_checkpoint_name=RESIDUALS,
        interpret=interpret,
    )


def _heads_first(x: jax.Array, padded: int) -> jax.Array:
    """[B, L, heads, K] -> [B, heads, padded, K]."""
    x = x.transpose(0, 2, 1, 3)
    return jnp.pad(x, ((0, 0), (0, 0), (0, padded - x.shape[2]), (0, 0)))
