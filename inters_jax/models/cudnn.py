"""cuDNN flash attention on NVIDIA GPUs behind the interface of `attention`.

Packed rows are passed to cuDNN in one of two ways:

* "packed": every run of equal segment ids is a sequence of its own, given by offset and length, so memory is
  linear in the length. Hopper or later, at most `SEGMENTS` runs per row; the rare batch with more uses the
  chunked XLA implementation (`lax.cond`).
* "bias": the mask is a bias [B, 1, L, L] shared by all heads. Ampere and Ada, rows of up to `BIAS_LENGTH`
  positions.

cuDNN computes in bfloat16 or float16, has no soft-cap, and does not shard the length over devices.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

# JAX's wrapper of cuDNN: `jax.nn` does not expose the offsets of packed sequences.
from jax._src.cudnn import fused_attention_stablehlo as wrapper
from jax.sharding import Mesh, PartitionSpec

from inters_jax.models.attention import attention, attention_mask
from inters_jax.models.attention_sharding import Layout, repeat_heads

SEGMENTS = 65  # per row, padding included; cuDNN keeps statistics of [SEGMENTS, L] per head
BIAS_LENGTH = 4096  # 32 MiB of bias per row in bfloat16
HOPPER = (9, 0)


def cudnn_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    window: int | None = None,
    sliding: jax.Array | None = None,
    scale: float | None = None,
    mesh: Mesh | None = None,
    variant: str = "packed",
) -> jax.Array:
    """Attention within rows. q: [B, L, H, K]; k, v: [B, L, G, K] -> like q.

    Args:
      q, k, v, segment_ids, positions, window, sliding, scale: see `attention`; q, k and v are bfloat16 or
        float16, and equal segment ids are contiguous.
      mesh: the devices over which rows and heads are sharded; None: one device.
      variant: "packed" or "bias".
    """
    layout = Layout.of(mesh, q.shape)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    attend = {"packed": packed, "bias": biased}[variant]
    if window is not None and window >= q.shape[1]:
        window = None
    k, v = (repeat_heads(x, layout.head_parts, q.shape[2]) for x in (k, v))

    def local(
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        segments: jax.Array,
        positions: jax.Array,
        sliding: jax.Array,
    ) -> jax.Array:
        run = functools.partial(attend, q, k, v, segments, positions, scale=scale)
        if not alternating:
            return run(window=window)
        return jax.lax.cond(sliding, lambda: run(window=window), lambda: run(window=None))

    alternating = window is not None and sliding is not None
    arguments = (q, k, v, segment_ids, positions, jnp.array(True) if sliding is None else sliding)
    if mesh is None:
        return local(*arguments)
    queries = PartitionSpec(layout.rows, None, layout.heads, None)
    keys = PartitionSpec(layout.rows, None, layout.key_heads(k.shape[2]), None)
    ids = PartitionSpec(layout.rows, None)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(queries, keys, keys, ids, ids, PartitionSpec()),
        out_specs=queries,
        check_vma=False,
    )(*arguments)


def segment_runs(segment_ids: jax.Array, limit: int = SEGMENTS) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Length and offset of each run of equal ids, as cuDNN expects them, and whether `limit` is enough.

    segment_ids: int [B, L] -> lengths int32 [B, limit], offsets int32 [B, limit + 1] (-1: no run), bool [].

        ids       1  1  1  2  2  0
        lengths   3  2  1 -1
        offsets   0  3  5 -1 -1

    >>> lengths, offsets, complete = segment_runs(jnp.array([[1, 1, 1, 2, 2, 0]]), limit=4)
    >>> lengths.tolist(), offsets.tolist(), bool(complete)
    ([[3, 2, 1, -1]], [[0, 3, 5, -1, -1]], True)
    """
    length = segment_ids.shape[1]
    first = jnp.pad(segment_ids[:, 1:] != segment_ids[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    find = functools.partial(jnp.nonzero, size=limit + 1, fill_value=length)
    starts = jax.vmap(lambda row: find(row)[0])(first).astype(jnp.int32)
    exists = starts[:, :-1] < length
    lengths = jnp.where(exists, starts[:, 1:] - starts[:, :-1], -1)
    offsets = jnp.pad(jnp.where(exists, starts[:, :-1], -1), ((0, 0), (0, 1)), constant_values=-1)
    return lengths, offsets, first.sum(axis=1).max() <= limit


def packed(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    positions: jax.Array,
    *,
    scale: float,
    window: int | None,
) -> jax.Array:
    """Each segment as a sequence of its own; a batch with too many of them uses the XLA implementation."""
    lengths, offsets, complete = segment_runs(segment_ids, min(SEGMENTS, q.shape[1]))
    # JAX 0.10's wrapper counts the offsets of keys in query heads, so there must be as many key heads.
    shared = q.shape[2] // k.shape[2]
    repeated = lambda x: x if shared == 1 else jnp.repeat(x, shared, axis=2)  # noqa: E731

    def by_cudnn() -> jax.Array:
        return wrapper.dot_product_attention(
            q, repeated(k), repeated(v), None, None, lengths, lengths, offsets, offsets,
            scale=scale, mask_type=wrapper.MaskType.PADDING_CAUSAL, sliding_window_length=window,
        )  # fmt: skip

    def by_chunks() -> jax.Array:
        return attention(q, k, v, segment_ids=segment_ids, positions=positions, window=window, scale=scale)

    return jax.lax.cond(complete, by_cudnn, by_chunks)


def biased(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    positions: jax.Array,
    *,
    scale: float,
    window: int | None,
) -> jax.Array:
    """Segments and window as a bias; cuDNN itself applies the causal mask."""
    mask = attention_mask(segment_ids, positions, None, window)[:, None]
    return jax.nn.dot_product_attention(
        q, k, v, mask=mask, scale=scale, is_causal=True, implementation="cudnn"
    )


def variant_for(capability: tuple[int, int] | None, length: int) -> str | None:
    """How rows of a length are passed to cuDNN on a GPU of a compute capability; None: they cannot be.

    >>> variant_for((9, 0), 32768), variant_for((8, 0), 4096), variant_for((8, 0), 8192)
    ('packed', 'bias', None)
    """
    if capability is not None and capability >= HOPPER:
        return "packed"
    return "bias" if length <= BIAS_LENGTH and length % 2 == 0 else None
