"""Convert the prompts of a batch to arrays, and run the model on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from inters_jax.inference.bucketing import LengthBatch
from inters_jax.models.cache import KVCache


def padded(batch: LengthBatch, prompts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 [rows, length] and prompt lengths int32 [rows] of a batch; empty rows have length 0.

    >>> padded(LengthBatch(indices=(1,), rows=2, length=4), [[9], [5, 6]])[0].tolist()
    [[5, 6, 0, 0], [0, 0, 0, 0]]
    """
    tokens = np.zeros((batch.rows, batch.length), np.int32)
    lengths = np.zeros(batch.rows, np.int32)
    for row, index in enumerate(batch.indices):
        tokens[row, : len(prompts[index])] = prompts[index]
        lengths[row] = len(prompts[index])
    return tokens, lengths


def prefill(
    model: Any, tokens: jax.Array, lengths: jax.Array, slots: int, dtype: DTypeLike
) -> tuple[jax.Array, KVCache]:
    """The logits after each prompt, float32 [R, V], and a cache with room for `slots` more positions.

    tokens: int [R, P]; lengths: int [R], 0 for an empty row, whose logits are undefined.
    """
    rows, width = tokens.shape
    places = jnp.arange(width)[None, :]
    positions = jnp.where(places < lengths[:, None], places, -1)
    cache = KVCache.empty(model.config, rows, width + slots, dtype)
    hidden, cache = model.decode(tokens, positions, cache, fresh=True)
    last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)[:, 0]
    return model.logits(last), cache
