"""Attention on one CPU: chunks of queries in parallel, and only within segments.

Most positions of a packed row attend to a small part of what comes before them. So a chunk of queries reads
the keys from the start of its first query's segment, or of that query's window, whichever is later. A prompt
costs as much in a long row as in a row of its own:

    segment_ids     1 1 1 1 2 2 2 2 2 2 3 3        chunks of 4 queries
    chunk 0         k k k k
    chunk 1                 k k k k                one chunk of keys
    chunk 2                 k k k k k k k k        two chunks of keys

How many chunks of keys there are depends on the data. The program is compiled for a few numbers (1, 2, 3, 4,
6, 8, 12, ...), and every chunk of queries takes the least that is enough. XLA runs such a choice in one
thread, but several of them at the same time.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from inters_jax.models.attention import (
    Ids,
    alibi,
    allowed,
    attend,
    attention_by_rows,
    chunk_length,
    grouped,
    ids_of,
    window_of_layer,
)

CHOICES = (4, 16)  # in parallel: enough for all threads if some are short, few enough to compile


class Options(NamedTuple):
    """What is known when the program is compiled; fields as in `attention`."""

    window: int | None
    softcap: float | None
    scale: float | None
    bfloat16_products: bool
    chunk: int | None


def segment_attention(
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
    """`inters_jax.models.attention.attention` of rows in which every segment is one stretch.

    With gradients it is `attention_by_rows`, for the gradients of the slices cost more than the keys that are
    left out. For arrays on one device: rows that are sharded over devices would be gathered.
    """
    options = Options(window, softcap, scale, bfloat16_products, chunk)
    return _segment_attention(options, q, k, v, (segment_ids, positions, branch_ids), sliding, slopes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _segment_attention(
    options: Options,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    row_ids: tuple[jax.Array, jax.Array, jax.Array | None],
    sliding: jax.Array | None,
    slopes: jax.Array | None,
) -> jax.Array:
    (batch, length, heads, size), groups = q.shape, k.shape[2]
    chunk = min(options.chunk or chunk_length(length), length)
    chunks = -(-length // chunk)
    limit = window_of_layer(options.window, sliding)
    scale = size**-0.5 if options.scale is None else options.scale

    def whole(x: jax.Array, fill: int = 0) -> jax.Array:
        """[batch, length, ...] -> [batch, chunks * chunk, ...]."""
        width = [(0, 0), (0, chunks * chunk - length), *[(0, 0)] * (x.ndim - 2)]
        return jnp.pad(x, width, constant_values=fill)

    ids = jax.tree.map(functools.partial(whole, fill=-1), ids_of(*row_ids))
    keys, values = (whole(x).transpose(0, 2, 1, 3) for x in (k, v))
    bias = None if slopes is None else alibi(slopes, ids.positions, scale, groups)

    def some_keys(count: int, q: jax.Array, row: jax.Array, end: jax.Array) -> jax.Array:
        """The queries [1, G, R, chunk, K] before `end` and the `count` keys up to it."""
        start = jnp.maximum(end - count, 0)  # keys after `end` are masked
        mask = allowed(
            jax.tree.map(lambda x: _part(x, row, 1, end - chunk, chunk), ids),
            jax.tree.map(lambda x: _part(x, row, 1, start, count), ids),
            limit,
        )
        return attend(
            q,
            _part(keys, row, 2, start, count),
            _part(values, row, 2, start, count),
            mask,
            None if bias is None else _part(bias, row, bias.ndim - 1, start, count),
            softcap=options.softcap,
            scale=scale,
            bfloat16_products=options.bfloat16_products,
        )

    widths = _widths(chunks)
    ends = chunk * (1 + jnp.arange(chunks))
    first = _first_keys(ids, chunk, None if ids.branches is not None else limit)
    choices = jnp.searchsorted(jnp.array(widths), -(-(ends - first) // chunk))
    queries = grouped(whole(q).reshape(batch * chunks, chunk, heads, size), groups)[:, None]
    rows, ends = jnp.repeat(jnp.arange(batch), chunks), jnp.tile(ends, batch)
    together = _together(batch * chunks)

    def some_chunks(work: tuple[jax.Array, ...]) -> jax.Array:
        choice = [functools.partial(some_keys, width * chunk) for width in widths]
        each = zip(*work, strict=True)
        return jnp.stack([jax.lax.switch(number, choice, q, row, end) for number, q, row, end in each])

    work = (choices.ravel(), queries, rows, ends)
    out = jax.lax.map(some_chunks, tuple(x.reshape(-1, together, *x.shape[1:]) for x in work))
    out = out.reshape(batch, chunks, *out.shape[3:])  # [batch, chunks, G, R, chunk, K]
    return out.transpose(0, 1, 4, 2, 3, 5).reshape(batch, chunks * chunk, heads, -1)[:, :length]


def _part(x: jax.Array, row: jax.Array, axis: int, start: jax.Array, count: int) -> jax.Array:
    """`count` positions of a row: [1, ..., count, ...]."""
    x = jax.lax.dynamic_slice_in_dim(x, row, 1, 0)
    return jax.lax.dynamic_slice_in_dim(x, start, count, axis)


def _forward(options: Options, *arrays: Any) -> tuple[jax.Array, Any]:
    q, k, v, (segment_ids, positions, branch_ids), sliding, slopes = arrays
    ids = {"segment_ids": segment_ids, "positions": positions, "branch_ids": branch_ids}
    rows = functools.partial(attention_by_rows, **ids, sliding=sliding, slopes=slopes, **options._asdict())
    return jax.vjp(rows, q, k, v)


def _backward(options: Options, back: Any, gradient: jax.Array) -> tuple[Any, ...]:
    del options
    return (*back(gradient), None, None, None)


_segment_attention.defvjp(_forward, _backward)


def _widths(chunks: int) -> tuple[int, ...]:
    """The numbers of chunks of keys for which programs are compiled.

    >>> _widths(1), _widths(12), _widths(7)
    ((1,), (1, 2, 3, 4, 6, 8, 12), (1, 2, 3, 4, 6, 7))
    """
    steps = {1 << n for n in range(chunks.bit_length())} | {3 << n for n in range(chunks.bit_length())}
    return (*sorted(step for step in steps if step < chunks), chunks)


def _together(count: int) -> int:
    """How many of `count` chunks of queries are computed at the same time; it divides `count`."""
    least = min(count, sorted((*CHOICES, os.cpu_count() or 1))[1])
    return next(number for number in range(least, count + 1) if count % number == 0)


def _first_keys(ids: Ids, chunk: int, limit: int | jax.Array | None) -> jax.Array:
    """The first key that a chunk of queries may attend to: int [batch, length / chunk].

    >>> ids = jnp.array([[1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3]])
    >>> _first_keys(Ids(ids, ids, ids), 4, None).tolist(), _first_keys(Ids(ids, ids, ids), 4, 2).tolist()
    ([[0, 4, 4]], [[0, 4, 7]])
    """
    segments = ids.segments
    first = jnp.argmax(segments[:, None, :] == segments[:, ::chunk, None], axis=-1)
    if limit is not None:
        first = jnp.maximum(first, jnp.arange(0, segments.shape[1], chunk) - limit + 1)
    return first
