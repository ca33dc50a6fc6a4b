"""Causal attention over packed rows and over a key/value cache.

Shapes: B rows, L positions, H query heads, G key/value heads (H a multiple of G), K head size, S cache slots.
Position i attends to j when all of these hold:

* j <= i by index in the row, and both have the same segment id (0 is padding and attends only to padding);
* with a window: positions[i] - positions[j] < window (in a stack that mixes both kinds of layers, the traced
  `sliding` decides whether this layer has the window);
* with branches: branch_ids[j] is 0 (the shared prompt) or equals branch_ids[i].

Scores are q . k times `scale` (by default K ** -0.5); ALiBi slopes, one per query head, add
`slope * positions[j]` before the scale. Scores, soft-cap and softmax are float32. Queries are processed in
chunks. A chunk reads only the keys up to its own end (and, with a window, from its own start minus the
window), so the upper triangle costs nothing and no array is larger than a chunk of queries times the row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from inters_jax.models.products import product, product_with_rows

CHUNK = 128
CACHED_SCORES = 4 << 20  # bytes of the scores of a chunk that a CPU computes at once
MAX_CHUNKS = 32  # bounds the size of the compiled program for long rows
MASKED = -1e30  # finite: a query that attends to nothing gives a mean, never NaN


class Ids(NamedTuple):
    """What decides which positions attend to each other, int [B, L] each; places: those in the row."""

    places: jax.Array
    segments: jax.Array
    positions: jax.Array
    branches: jax.Array | None = None

    def part(self, at: slice) -> Ids:
        """Those of some positions."""
        return Ids(*jax.tree.map(lambda ids: ids[:, at], tuple(self)))


def allowed(queries: Ids, keys: Ids, window: int | jax.Array | None) -> jax.Array:
    """The mask, bool [B, queries, keys]."""
    mask = queries.places[:, :, None] >= keys.places[:, None, :]
    mask &= queries.segments[:, :, None] == keys.segments[:, None, :]
    if window is not None:
        mask &= queries.positions[:, :, None] - keys.positions[:, None, :] < window
    if queries.branches is not None and keys.branches is not None:
        of_key = keys.branches[:, None, :]
        mask &= (of_key == 0) | (of_key == queries.branches[:, :, None])
    return mask


def attention_mask(
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None,
    window: int | jax.Array | None,
) -> jax.Array:
    """The mask of whole rows, bool [B, L, L]; the arguments are int [B, L].

    >>> segments, positions = jnp.array([[1, 1, 2, 2]]), jnp.array([[0, 1, 0, 1]])
    >>> attention_mask(segments, positions, None, None)[0].astype(int).tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    """
    ids = ids_of(segment_ids, positions, branch_ids)
    return allowed(ids, ids, window)


def ids_of(segment_ids: jax.Array, positions: jax.Array, branch_ids: jax.Array | None) -> Ids:
    """The ids of whole rows."""
    places = jnp.broadcast_to(jnp.arange(segment_ids.shape[1]), segment_ids.shape)
    return Ids(places, segment_ids, positions, branch_ids)


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None = None,
    window: int | None = None,
    sliding: jax.Array | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    slopes: jax.Array | None = None,
    bfloat16_products: bool = False,
    chunk: int | None = None,
) -> jax.Array:
    """Attention within rows. q: [B, L, H, K]; k, v: [B, L, G, K]; ids: int [B, L] -> [B, L, H, K].

    Without branches, positions must increase by one along a segment (as in packed rows). The window then
    bounds the distance by index too, and keys before it are not read.

    Args:
      q, k, v, segment_ids, positions, branch_ids: see the module docstring.
      window: how many positions back a position attends to, including itself; None: all.
      sliding: bool [], traced: whether the window applies (None: yes); only that case is computed.
      softcap: scores become `softcap * tanh(scores / softcap)`.
      scale: of the scores; None: K ** -0.5.
      slopes: ALiBi slopes, float32 [H]; None: no ALiBi.
      bfloat16_products: round the operands of both products to bfloat16 (`products.py`).
      chunk: queries per chunk; None: chosen from L.
    """
    length, heads = q.shape[1:3]
    window = None if window is None or window >= length else window  # no two positions are further apart
    chunk = chunk or chunk_length(length)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    bias = None if slopes is None else alibi(slopes, positions, scale, groups=k.shape[2])
    ids = ids_of(segment_ids, positions, branch_ids)

    def rows(q: jax.Array, k: jax.Array, v: jax.Array, *, window: int | None) -> jax.Array:
        # The scores of a chunk are recomputed in the backward pass, not saved.
        step = jax.checkpoint(
            functools.partial(attend, softcap=softcap, scale=scale, bfloat16_products=bfloat16_products)
        )
        parts = []
        for start in range(0, length, chunk):
            end = min(start + chunk, length)
            low = 0 if window is None or branch_ids is not None else max(0, start - window + 1)
            queries, keys = slice(start, end), slice(low, end)
            mask = allowed(ids.part(queries), ids.part(keys), window)
            part = None if bias is None else bias[..., keys]
            parts.append(step(q[:, :, :, queries], k[:, :, keys], v[:, :, keys], mask, part))
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=3)

    arrays = (grouped(q, k.shape[2]), k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3))
    if window is None or sliding is None:
        out = rows(*arrays, window=window)
    else:
        # Each case is a checkpoint, so that q, k and v are saved and not the slices of every chunk.
        kinds = [jax.checkpoint(functools.partial(rows, window=kind)) for kind in (window, None)]
        out = jax.lax.cond(sliding, *kinds, *arrays)
    return out.transpose(0, 3, 1, 2, 4).reshape(-1, length, heads, v.shape[-1])


def attention_by_rows(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None = None,
    **options: Any,
) -> jax.Array:
    """`attention` of a few rows after another, so that their scores stay in the caches of a CPU.

    For arrays on one device: rows that are sharded over devices would be gathered.
    """
    (batch, length, heads), chunk = q.shape[:3], options.get("chunk") or chunk_length(q.shape[1])
    most = max(1, CACHED_SCORES // (4 * heads * chunk * length))
    rows = math.gcd(batch, 1 << (most.bit_length() - 1))

    def some(arrays: Sequence[Any]) -> jax.Array:
        q, k, v, segments, positions, branches = arrays
        ids = {"segment_ids": segments, "positions": positions, "branch_ids": branches}
        return attention(q, k, v, **ids, **options)

    arrays = (q, k, v, segment_ids, positions, branch_ids)
    if rows == batch:
        return some(arrays)
    parts = jax.tree.map(lambda array: array.reshape(-1, rows, *array.shape[1:]), arrays)
    out = jax.lax.map(some, parts)
    return out.reshape(batch, *out.shape[2:])


def cache_attention(
    q: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    positions: jax.Array,
    window: int | None = None,
    sliding: jax.Array | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    slopes: jax.Array | None = None,
    bfloat16_products: bool = False,
) -> jax.Array:
    """Attention of new positions over a cache whose slot s holds position s -> [B, T, H, K].

    Args:
      q: [B, T, H, K].
      keys, values: [B, G, S, K], with the new positions already written.
      positions: int [B, T]; -1 for padding, whose output is undefined.
      window, sliding, softcap, scale, slopes, bfloat16_products: as in `attention`.
    """
    length, heads = q.shape[1:3]
    groups, slots = keys.shape[1], jnp.arange(keys.shape[2])
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    bias = None if slopes is None else alibi(slopes, slots[None], scale, groups=groups)
    limit = window_of_layer(window, sliding)
    q = grouped(q, groups)
    parts = []
    for start in range(0, length, CHUNK):
        queries = slice(start, min(start + CHUNK, length))
        here = positions[:, queries, None]
        mask = slots <= here
        if limit is not None:
            mask &= here - slots < limit
        part = attend(
            q[:, :, :, queries], keys, values, mask, bias,
            softcap=softcap, scale=scale, bfloat16_products=bfloat16_products,
        )  # fmt: skip
        parts.append(part)
    out = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=3)
    return out.transpose(0, 3, 1, 2, 4).reshape(-1, length, heads, values.shape[-1])


def alibi(slopes: jax.Array, positions: jax.Array, scale: float, groups: int) -> jax.Array:
    """The ALiBi bias of the scaled scores of a key, float32 [B, G, R, 1, S] (R = H / G).

    slopes: float32 [H]; positions: int [B, S], of the keys. Softmax is invariant to a constant added to all
    scores, so the position of the key can replace its distance. Slope, position and product are each rounded
    to bfloat16, as in the published models (Falcon-RW).
    """
    rounded = lambda x: jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)  # noqa: E731
    slopes = rounded(slopes.astype(jnp.float32)).reshape(groups, -1, 1, 1)
    keys = rounded(positions.astype(jnp.float32))[:, None, None, None]
    return rounded(slopes * keys) * scale


def chunk_length(length: int) -> int:
    """Queries of a chunk of a row.

    >>> chunk_length(512), chunk_length(8192)
    (128, 256)
    """
    return max(CHUNK, -(-length // (MAX_CHUNKS * CHUNK)) * CHUNK)


def grouped(q: jax.Array, groups: int) -> jax.Array:
    """Group query heads by the key head they share: [B, L, H, K] -> [B, G, R, L, K]."""
    batch, length, heads, size = q.shape
    return q.reshape(batch, length, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)


def window_of_layer(window: int | None, sliding: jax.Array | None) -> int | jax.Array | None:
    """The window as one number, traced where layers differ; a layer without a window has the largest int."""
    if window is None or sliding is None:
        return window
    return jnp.where(sliding, window, jnp.iinfo(jnp.int32).max)


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    bias: jax.Array | None,
    *,
    softcap: float | None,
    scale: float,
    bfloat16_products: bool,
) -> jax.Array:
    """Attention of a chunk. q: [B, G, R, C, K]; k, v: [B, G, S, K]; mask: [B, C, S] -> like q.

    bias: broadcasts to [B, G, R, C, S], or None.
    """
    batch, groups, shared, chunk, size = q.shape
    q = (q * scale).reshape(batch, groups, shared * chunk, size)
    if bfloat16_products:
        # As [B * G, ...], because XLA's CPU backend multiplies a layout of a transpose in float32.
        q, k, v = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v))
        scores = product_with_rows(q, k)
    else:
        scores = jnp.matmul(q, k.transpose(0, 1, 3, 2), preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, groups, shared, chunk, -1)
    if bias is not None:
        scores += bias
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    # Added, and not selected with `where`: XLA's CPU backend takes four times as long for the selection.
    scores += jnp.where(mask, 0.0, MASKED)[:, None, None]
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    # Dividing after the product touches K values per query instead of S.
    weights = weights.astype(v.dtype).reshape(*v.shape[:-2], shared * chunk, -1)
    if bfloat16_products:
        out = product(weights, v)
    else:
        out = jnp.matmul(weights, v, preferred_element_type=jnp.float32)
    return (out.reshape(batch, groups, shared, chunk, -1) / total).astype(v.dtype)


def reference_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None = None,
    window: int | None = None,
    sliding: jax.Array | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    slopes: jax.Array | None = None,
    bfloat16_products: bool = False,
    chunk: int | None = None,
) -> jax.Array:
    """The definition, in one [L, L] block; the reference in tests of the faster implementations."""
    del chunk
    groups = k.shape[2]
    shared = q.shape[2] // groups
    k, v = jnp.repeat(k, shared, axis=2), jnp.repeat(v, shared, axis=2)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = jnp.einsum("bihk,bjhk->bhij", q, k, preferred_element_type=jnp.float32) * scale
    if slopes is not None:
        bias = alibi(slopes, positions, scale, groups)
        scores += bias.reshape(bias.shape[0], -1, *bias.shape[3:])
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    mask = attention_mask(segment_ids, positions, branch_ids, window_of_layer(window, sliding))
    weights = jax.nn.softmax(jnp.where(mask[:, None], scores, MASKED), axis=-1)
    return jnp.einsum("bhij,bjhk->bihk", weights.astype(v.dtype), v)
