"""Beam search: the B best partial answers of every prompt.

The rows of a batch are [prompt 0 beam 0, prompt 0 beam 1, ..., prompt 1 beam 0, ...]. A prompt is encoded
once and its cache copied to its beams. Each step considers the (ends + 1) * B best continuations of all
beams, of which at least B do not end. The score of an answer is its log-probability / length **
length_penalty, with its end token. A prompt is finished when B answers have ended and the best running beam,
at its current length, scores no higher than the worst of them. These are the rules (and the results) of
`num_beams` in transformers with `early_stopping=False`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.inference.prefill import prefill
from inters_jax.inference.sampling import Sampling
from inters_jax.models.cache import KVCache

NEVER = -1e9  # the score of an answer that does not exist


def program(
    graph: Any, dtype: Any, steps: int, ends: tuple[int, ...], sampling: Sampling
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile the search: params, tokens [R, P], lengths [R], limits [R] -> new tokens [R, steps], sizes [R].

    Args:
      graph: structure of the decoder.
      dtype: of the cache.
      steps: most new tokens of an answer.
      ends: tokens that end an answer.
      sampling: number of beams and length penalty.
    """
    stop, eos = np.asarray(ends, np.int32), ends[0]
    beams, penalty = sampling.beams, sampling.length_penalty
    wide = max(2, 1 + len(ends)) * beams

    @jax.jit
    def run(
        params: Any, tokens: jax.Array, lengths: jax.Array, limits: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(graph, params)
        rows = tokens.shape[0]
        logits, cache = prefill(model, tokens, lengths, steps, dtype)
        cache = _rows_of(cache, jnp.repeat(jnp.arange(rows), beams))
        every = jnp.arange(rows)[:, None]

        def extend(state: dict[str, Any], logits: jax.Array) -> tuple[dict[str, Any], jax.Array]:
            """Add a token. logits: [R, B, V] -> the new state, and the source beam of each new beam."""
            step = state["step"]  # tokens so far
            vocabulary = logits.shape[-1]
            scores = state["scores"][:, :, None] + jax.nn.log_softmax(logits, axis=-1)
            # First the best of each beam: a short list per beam instead of one sort over B * V.
            near, index = jax.lax.top_k(scores, min(wide, vocabulary))
            best, place = jax.lax.top_k(near.reshape(rows, -1), min(wide, near[0].size))
            source = place // near.shape[-1]
            token = jnp.take_along_axis(index.reshape(rows, -1), place, axis=1).astype(jnp.int32)
            texts = state["texts"][every, source].at[:, :, step].set(token)
            length = step + 1
            ended = jnp.isin(token, stop) | (length >= limits)[:, None]
            # Running: the best B that have not ended.
            running, chosen = jax.lax.top_k(jnp.where(ended, best + NEVER, best), beams)
            # Ended: only those among the best B, and only while the prompt is open.
            leading = jnp.arange(best.shape[1]) < beams
            worth = best / length.astype(jnp.float32) ** penalty
            fresh = ended & leading & state["open"][:, None]
            worth = jnp.where(fresh, worth, NEVER)
            merged = jnp.concatenate([state["worth"], worth], axis=1)
            worth, kept = jax.lax.top_k(merged, beams)
            finished = jnp.concatenate([state["finished"], texts], axis=1)[every, kept]
            sizes = jnp.concatenate([state["sizes"], jnp.full_like(token, length)], axis=1)
            full = jnp.concatenate([state["full"], fresh], axis=1)[every, kept]
            # The score of the best running beam, against the worst answer kept.
            hope = running[:, 0] / length.astype(jnp.float32) ** penalty
            worst = jnp.where(full.all(axis=1), worth[:, -1], NEVER)
            return {
                "step": length,
                "scores": running,
                "texts": texts[every, chosen],
                "finished": finished,
                "sizes": sizes[every, kept],
                "worth": worth,
                "full": full,
                "open": state["open"] & (hope > worst) & (length < limits),
            }, source[every, chosen]

        state = {
            "step": jnp.int32(0),
            "scores": jnp.full((rows, beams), NEVER, jnp.float32).at[:, 0].set(0.0),
            "texts": jnp.full((rows, beams, steps), eos, jnp.int32),
            "finished": jnp.full((rows, beams, steps), eos, jnp.int32),
            "sizes": jnp.zeros((rows, beams), jnp.int32),
            "worth": jnp.full((rows, beams), NEVER, jnp.float32),
            "full": jnp.zeros((rows, beams), bool),
            "open": limits > 0,
        }
        state, _ = extend(state, jnp.repeat(logits[:, None], beams, axis=1))

        def unfinished(carry: tuple[dict[str, Any], KVCache]) -> jax.Array:
            return jnp.any(carry[0]["open"]) & (carry[0]["step"] < steps)

        def advance(carry: tuple[dict[str, Any], KVCache]) -> tuple[dict[str, Any], KVCache]:
            state, cache = carry
            at = jnp.where(state["open"], lengths + state["step"] - 1, -1)
            last = jax.lax.dynamic_index_in_dim(state["texts"], state["step"] - 1, axis=2, keepdims=False)
            hidden, cache = model.decode(last.reshape(-1, 1), jnp.repeat(at, beams)[:, None], cache)
            state, source = extend(state, model.logits(hidden[:, 0]).reshape(rows, beams, -1))
            return state, _rows_of(cache, (every * beams + source).reshape(-1))

        state, _ = jax.lax.while_loop(unfinished, advance, (state, cache))
        return state["finished"][:, 0], state["sizes"][:, 0]

    return run


def _rows_of(cache: KVCache, rows: jax.Array) -> KVCache:
    """Reorder the rows of a cache (axis 1 of every array)."""
    return jax.tree.map(lambda array: array[:, rows], cache)
