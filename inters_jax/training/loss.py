"""Cross entropy at the target positions only.

Targets are a few per cent of the tokens of a packed row. Their positions come with the batch, a static number
K per row, so the hidden states at these positions are gathered first and the language-model head runs on
[rows, K] instead of [rows, length]. No array of [rows, length, vocabulary] exists, neither in the forward
nor in the backward pass.

    row               <s>  Is   this good ?    Yes  </s>          length 7
    target token      Is   this good ?    Yes  </s>  -
    loss weight       0    0    0    0    1    1     0
    loss positions    4    5    7    7                             K = 4; 7 = length marks a free slot

Everything is summed, not averaged: the caller divides by the number of target tokens of the whole global
batch, so that the result does not depend on how rows are spread over devices and microbatches.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

# Logits [rows, positions, vocabulary] of one chunk: 2^26 float32 values are 256 MiB per device.
MAX_LOGITS = 2**26


def chunk_size(rows: int, positions: int, vocabulary: int, max_logits: int = MAX_LOGITS) -> int:
    """Positions per chunk: all of them if they fit, otherwise halved until rows * size * vocabulary fits.

    >>> chunk_size(rows=4, positions=512, vocabulary=32_000), chunk_size(8, 1024, 128_256)
    (512, 64)
    """
    size = positions
    while size > 1 and rows * size * vocabulary > max_logits:
        size = -(-size // 2)
    return size


def gather_positions(values: jax.Array, loss_positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Values [rows, length, ...] at `loss_positions` [rows, K] -> ([rows, K, ...], valid bool[rows, K]).

    A position outside the row (the loader writes `length`) is a free slot: its value is arbitrary.
    """
    length = values.shape[1]
    valid = (loss_positions >= 0) & (loss_positions < length)
    index = jnp.where(valid, loss_positions, 0)
    index = index.reshape(index.shape + (1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=1), valid


def token_losses(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-log p(target), float32 [...]; logits [..., vocabulary] of any float type, targets int32 [...]."""
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def weighted_losses(
    hidden: jax.Array,
    logits_of: Callable[[jax.Array], jax.Array],
    targets: jax.Array,
    weights: jax.Array,
    loss_positions: jax.Array,
    *,
    vocabulary: int,
    row_shards: int = 1,
    max_logits: int = MAX_LOGITS,
) -> tuple[jax.Array, jax.Array]:
    """Weighted losses at the loss positions, and the weight sums of every row.

    Args:
        hidden: [rows, length, embed], after the final norm.
        logits_of: hidden [..., embed] -> logits [..., vocabulary].
        targets: int32 [rows, length].
        weights: float32 [rows, length]; only positions named in `loss_positions` count.
        loss_positions: int32 [rows, K], positions outside the row are free slots.
        vocabulary: size of the last axis of the logits.
        row_shards: devices over which the rows are divided; the chunk is chosen for one device's share.
        max_logits: largest number of logits that may exist at once on a device.

    Returns:
        float32 [rows, K] weight * loss, 0 in free slots, and float32 [rows] sums of the weights.
    """
    rows, count = loss_positions.shape
    picked, valid = gather_positions(hidden, loss_positions)
    target, _ = gather_positions(targets, loss_positions)
    weight, _ = gather_positions(weights, loss_positions)
    weight = jnp.where(valid, weight, 0.0).astype(jnp.float32)

    def weigh(picked: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
        losses = token_losses(logits_of(picked), target)
        # A free slot may hold anything; 0 * inf would be nan.
        return jnp.where(weight > 0, losses * weight, 0.0)

    size = chunk_size(-(-rows // row_shards), count, vocabulary, max_logits)
    if size == count:
        return weigh(picked, target, weight), jnp.sum(weight, axis=1)

    padding = -count % size

    def chunks(array: jax.Array) -> jax.Array:
        widths = [(0, 0), (0, padding)] + [(0, 0)] * (array.ndim - 2)
        array = jnp.pad(array, widths)
        return jnp.moveaxis(array.reshape(rows, -1, size, *array.shape[2:]), 1, 0)

    # The logits of a chunk are recomputed in the backward pass: only one chunk of them exists at a time.
    weighted = jax.lax.map(
        lambda chunk: jax.checkpoint(weigh)(*chunk), (chunks(picked), chunks(target), chunks(weight))
    )
    return jnp.moveaxis(weighted, 0, 1).reshape(rows, -1)[:, :count], jnp.sum(weight, axis=1)
