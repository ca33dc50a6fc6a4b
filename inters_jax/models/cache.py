"""The key/value cache of a decoder: slot s of a row holds its position s."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from inters_jax.models.config import DecoderConfig


@functools.partial(jax.tree_util.register_dataclass, data_fields=("keys", "values"), meta_fields=())
@dataclasses.dataclass(frozen=True)
class KVCache:
    """keys, values: [layers, B, G, S, K]; the slots of a head are contiguous, as attention reads them.

    Slots not yet written hold zeros. Nothing attends to them: a query attends to slots up to its own
    position, and a row fills its slots in order.
    """

    keys: jax.Array
    values: jax.Array

    @classmethod
    def empty(cls, config: DecoderConfig, batch: int, size: int, dtype: DTypeLike = jnp.float32) -> KVCache:
        """A cache for `batch` rows of up to `size` positions."""
        shape = (config.num_layers, batch, config.num_kv_heads, size, config.head_dim)
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    @property
    def size(self) -> int:
        """Slots per row."""
        return self.keys.shape[3]

    def write(self, layer: jax.Array, keys: jax.Array, values: jax.Array, positions: jax.Array) -> KVCache:
        """Store new keys and values [B, T, G, K] of one layer at positions int [B, T]; -1 is not stored."""
        # A negative index would count from the end; an index past the end is dropped.
        slots = jnp.where(positions < 0, self.size, positions)
        rows = jnp.arange(slots.shape[0])[:, None]
        at = (layer, rows, slice(None), slots)
        return KVCache(
            self.keys.at[at].set(keys.astype(self.keys.dtype), mode="drop"),
            self.values.at[at].set(values.astype(self.values.dtype), mode="drop"),
        )

    def layer(self, layer: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values of one layer: [B, G, S, K] each."""
        return self.keys[layer], self.values[layer]
