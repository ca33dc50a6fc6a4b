"""A two-layer decoder and random packed batches, small enough to differentiate in milliseconds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

VOCABULARY = 40
WIDTH = 16


class TinyDecoder(nnx.Module):
    """Embedding, causal mean over the segment, MLP, head; the interface of models.decoder.Decoder."""

    def __init__(self, rngs: nnx.Rngs, dtype=jnp.float32):
        def weight(*shape):
            return nnx.Param(jax.random.normal(rngs.params(), shape) * 0.3)

        self.embedding = weight(VOCABULARY, WIDTH)
        self.up = weight(WIDTH, 4 * WIDTH)
        self.down = weight(4 * WIDTH, WIDTH)
        self.norm = nnx.Param(jnp.ones((WIDTH,)))
        self.head = weight(WIDTH, VOCABULARY)
        self.dtype = dtype

    def hidden(self, tokens, segment_ids, positions):
        x = self.embedding[...][tokens].astype(self.dtype)
        length = tokens.shape[1]
        same = segment_ids[:, :, None] == segment_ids[:, None, :]
        mask = (same & (jnp.arange(length)[:, None] >= jnp.arange(length)[None])).astype(self.dtype)
        x = x + jnp.einsum("bij,bjd->bid", mask / jnp.sum(mask, -1, keepdims=True), x)
        x = x + jnp.tanh(x @ self.up[...].astype(self.dtype)) @ self.down[...].astype(self.dtype)
        x = x + jnp.cos(positions.astype(self.dtype))[..., None]
        return x * self.norm[...].astype(self.dtype)

    def logits(self, hidden):
        return (hidden @ self.head[...].astype(self.dtype)).astype(jnp.float32)


LOGICAL_AXES = {
    "embedding": ("vocab", "embed"),
    "up": ("embed", "mlp"),
    "down": ("mlp", "embed"),
    "norm": ("norm",),
    "head": ("embed", "vocab"),
}


def random_batch(seed: int, rows: int = 8, length: int = 32, slots: int = 8) -> dict[str, np.ndarray]:
    """Packed rows with two segments and padding, 1 to `slots` targets a row, different numbers per row."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, VOCABULARY, (rows, length), dtype=np.int32)
    segments = np.zeros((rows, length), np.int32)
    segments[:, : length // 2] = 1
    segments[:, length // 2 : length - 4] = 2
    positions = np.concatenate([np.arange(length // 2), np.arange(length - length // 2)])
    weights = np.zeros((rows, length), np.float32)
    loss_positions = np.full((rows, slots), length, np.int32)
    for row in range(rows):
        chosen = np.sort(rng.choice(length - 4, rng.integers(1, slots + 1), replace=False))
        weights[row, chosen] = 1.0
        loss_positions[row, : len(chosen)] = chosen
    return {
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": np.roll(tokens, -1, axis=1),
        "decoder_loss_weights": weights,
        "decoder_segment_ids": segments,
        "decoder_positions": np.tile(positions.astype(np.int32), (rows, 1)),
        "decoder_loss_positions": loss_positions,
    }
