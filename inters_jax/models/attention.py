"""Causal attention over packed rows and over a key/value cache.

Shapes: B rows, L positions, H query heads, G key/value heads (H a multiple of G), K head size, S cache slots.
A position i sees j when all of these hold:

* j <= i by index in the row, and both carry the same segment id (0 is padding and sees padding only);
* with a window: positions[i] - positions[j] < window;
* with branches: branch_ids[j] is 0 (the shared prompt) or equals branch_ids[i].

Scores, soft-cap and softmax are float32. Queries go in chunks: a chunk reads only the keys up to its own end
(and, with a window, from its own beginning less the window), so the upper triangle costs nothing and no array
is larger than one chunk of queries times the row.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

CHUNK = 128
MAX_CHUNKS = 32  # bounds the size of the compiled program for long rows
MASKED = -1e30  # finite: a query that sees nothing gives a mean, never a NaN


def attention_mask(
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None,
    window: int | None,
    queries: slice = slice(None),
    keys: slice = slice(None),
) -> jax.Array:
    """Who sees whom: bool [B, queries, keys]; the arguments are int [B, L] and cover the whole row.

    >>> segments, positions = jnp.array([[1, 1, 2, 2]]), jnp.array([[0, 1, 0, 1]])
    >>> attention_mask(segments, positions, None, None)[0].astype(int).tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    """
    index = jnp.arange(segment_ids.shape[1])
    mask = (index[queries, None] >= index[None, keys])[None]
    mask &= segment_ids[:, queries, None] == segment_ids[:, None, keys]
    if window is not None:
        mask &= positions[:, queries, None] - positions[:, None, keys] < window
    if branch_ids is not None:
        of_key = branch_ids[:, None, keys]
        mask &= (of_key == 0) | (of_key == branch_ids[:, queries, None])
    return mask


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None = None,
    window: int | None = None,
    softcap: float | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """Attention inside one row. q: [B, L, H, K]; k, v: [B, L, G, K]; ids: int [B, L] -> [B, L, H, K].

    Without branches, positions must rise by one along a segment (packed rows do): the window then bounds the
    distance by index too, and keys before it are not read.
    """
    batch, length, heads, size = q.shape
    groups = k.shape[2]
    chunk = chunk or max(CHUNK, -(-length // (MAX_CHUNKS * CHUNK)) * CHUNK)
    q = q.reshape(batch, length, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    # The scores of a chunk are computed again in the backward pass, not kept.
    attend = jax.checkpoint(functools.partial(_attend, softcap=softcap))
    parts = []
    for start in range(0, length, chunk):
        end = min(start + chunk, length)
        low = 0 if window is None or branch_ids is not None else max(0, start - window + 1)
        queries, keys = slice(start, end), slice(low, end)
        mask = attention_mask(segment_ids, positions, branch_ids, window, queries, keys)
        parts.append(attend(q[:, :, :, queries], k[:, :, keys], v[:, :, keys], mask))
    out = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=3)
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, size)


def cache_attention(
    q: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    positions: jax.Array,
    window: int | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """Attention of new positions over a cache whose slot s holds position s.

    q: [B, T, H, K]; keys, values: [B, G, S, K], the new positions already written; positions: int [B, T], -1
    for padding, whose output means nothing. -> [B, T, H, K]
    """
    batch, length, heads, size = q.shape
    groups, slots = keys.shape[1], jnp.arange(keys.shape[2])
    q = q.reshape(batch, length, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    parts = []
    for start in range(0, length, CHUNK):
        queries = slice(start, min(start + CHUNK, length))
        here = positions[:, queries, None]
        mask = slots <= here
        if window is not None:
            mask &= slots > here - window
        parts.append(_attend(q[:, :, :, queries], keys, values, mask, softcap=softcap))
    out = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=3)
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, size)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, *, softcap: float | None) -> jax.Array:
    """q: [B, G, R, C, K] (R query heads share a key head); k, v: [B, G, S, K]; mask: [B, C, S] -> like q."""
    batch, groups, shared, chunk, size = q.shape
    q = (q * size**-0.5).reshape(batch, groups, shared * chunk, size)
    scores = jnp.matmul(q, k.transpose(0, 1, 3, 2), preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, groups, shared, chunk, -1)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    scores = jnp.where(mask[:, None, None], scores, MASKED)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    # Dividing after the product touches K values per query instead of S.
    weights = weights.astype(v.dtype).reshape(batch, groups, shared * chunk, -1)
    out = jnp.matmul(weights, v, preferred_element_type=jnp.float32)
    return (out.reshape(batch, groups, shared, chunk, size) / total).astype(v.dtype)


def reference_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    segment_ids: jax.Array,
    positions: jax.Array,
    branch_ids: jax.Array | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """The definition, in one [L, L] block: what every faster implementation is tested against."""
    shared = q.shape[2] // k.shape[2]
    k, v = jnp.repeat(k, shared, axis=2), jnp.repeat(v, shared, axis=2)
    scores = jnp.einsum("bihk,bjhk->bhij", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    mask = attention_mask(segment_ids, positions, branch_ids, window)
    weights = jax.nn.softmax(jnp.where(mask[:, None], scores, MASKED), axis=-1)
    return jnp.einsum("bhij,bjhk->bihk", weights.astype(v.dtype), v)
