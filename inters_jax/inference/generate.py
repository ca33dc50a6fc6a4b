"""Greedy generation in few compilations: prefill once, then decode token by token with a key-value cache.

Prompts of similar length share a batch; the rows of a batch are independent (each has its own positions and
its own cache slots), so an answer does not depend on what it was batched with. A batch of R prompts of at
most P tokens:

    prefill   tokens [R, P], positions 0..n-1 (-1 behind the prompt)   -> the first new token of every row
    decode    tokens [R, 1], position n, n+1, ...                      -> lax.while_loop until every row has
    ended cache     P + max_new_tokens slots per row, slot = position

P follows the ladder of lengths in `bucketing`, R is a power of two, so the number of compilations is
bounded and reported (`Generator.compilations`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.inference.bucketing import LengthBatch, length_batches
from inters_jax.inference.cache import KVCache
from inters_jax.inference.placement import row_placement


@dataclass
class GenerationCounts:
    """What happened to the prompts of all calls so far."""

    prompts: int = 0
    generated_tokens: int = 0
    truncated: int = 0  # no end-of-sequence token within the limit


class Generator:
    """Greedy decoding with one decoder.

    Args:
      loaded: a LoadedModel (`.model`, `.config`, `.eos_id`), see inters_jax.models.loading.
      max_new_tokens: an answer ends here when no EOS ended it before; such answers are counted as truncated.
      batch_tokens: cache slots of one batch, the memory knob.
      eos_ids: tokens that end an answer; default the tokenizer's EOS and the model's own stop tokens.
    """

    def __init__(
        self,
        loaded: Any,
        *,
        max_new_tokens: int = 256,
        batch_tokens: int = 16384,
        eos_ids: Sequence[int] | None = None,
    ):
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        ends = [loaded.eos_id, *loaded.config.stop_ids] if eos_ids is None else list(eos_ids)
        ends = list(dict.fromkeys(end for end in ends if end is not None))
        if not ends:
            raise ValueError("the tokenizer names no end-of-sequence token: pass eos_ids")
        self.config, self.max_new_tokens, self.batch_tokens = loaded.config, max_new_tokens, batch_tokens
        self.counts = GenerationCounts()
        self.shapes: set[tuple[int, int]] = set()
        stop = np.asarray(ends, np.int32)
        graph, self._params = nnx.split(loaded.model, nnx.Param)
        self._parts, self._place = row_placement(self._params)
        config, steps, eos = loaded.config, max_new_tokens, int(stop[0])
        cache_dtype = loaded.model.dtype

        @jax.jit
        def answer(
            params: Any, tokens: jax.Array, lengths: jax.Array, limits: jax.Array
        ) -> tuple[jax.Array, ...]:
            """tokens [R, P], lengths [R], limits [R] -> new tokens [R, max_new_tokens], their number [R]."""
            model = nnx.merge(graph, params)
            rows, width = tokens.shape
            places = jnp.arange(width)[None, :]
            positions = jnp.where(places < lengths[:, None], places, -1)
            cache = KVCache.empty(config, rows, width + steps, cache_dtype)
            hidden, cache = model.decode(tokens, positions, cache, fresh=True)
            last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)[:, 0]
            first = jnp.argmax(model.logits(last), axis=-1).astype(jnp.int32)

            def ended(token: jax.Array, count: jax.Array) -> jax.Array:
                return jnp.isin(token, stop) | (count >= limits)

            out = jnp.full((rows, steps), eos, jnp.int32).at[:, 0].set(first)
            count = jnp.minimum(1, limits)  # empty rows have the limit 0

            def unfinished(state: tuple[Any, ...]) -> jax.Array:
                step, _, _, done, _, _ = state
                return (step < steps) & ~jnp.all(done)

            def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
                step, token, out, done, count, cache = state
                at = jnp.where(done, -1, lengths + step - 1)[:, None]
                hidden, cache = model.decode(token[:, None], at, cache)
                token = jnp.argmax(model.logits(hidden[:, 0]), axis=-1).astype(jnp.int32)
                token = jnp.where(done, eos, token)
                out = jax.lax.dynamic_update_slice(out, token[:, None], (0, step))
                count = count + ~done
                return step + 1, token, out, done | ended(token, count), count, cache

            state = (jnp.int32(1), first, out, ended(first, count), count, cache)
            _, _, out, _, count, _ = jax.lax.while_loop(unfinished, advance, state)
            return out, count

        self._answer = answer
        self._stop = set(stop.tolist())

    @property
    def compilations(self) -> int:
        """Array shapes compiled so far: at most three row counts per prompt length of the ladder."""
        return len(self.shapes)

    def generate(
        self, prompts: Sequence[Sequence[int]], progress: Callable[[int], None] | None = None
    ) -> list[list[int]]:
        """New tokens of each prompt, in the order of the prompts, with the EOS that ended them (if one
        did)."""
        for number, prompt in enumerate(prompts):
            self._check(number, prompt)
        answers: list[list[int]] = [[] for _ in prompts]
        sizes = [len(prompt) for prompt in prompts]
        batches = length_batches(sizes, self.batch_tokens, extra=self.max_new_tokens, parts=self._parts)
        waiting: tuple[LengthBatch, tuple[jax.Array, ...]] | None = None
        for batch in [*batches, None]:  # one batch is computed while the one before it is read
            running = None if batch is None else (batch, self._run(batch, prompts))
            if waiting is not None:
                self._collect(*waiting, answers)
                if progress:
                    progress(len(waiting[0].indices))
            waiting = running
        return answers

    def _run(self, batch: LengthBatch, prompts: Sequence[Sequence[int]]) -> tuple[jax.Array, ...]:
        tokens = np.zeros((batch.rows, batch.length), np.int32)
        lengths, limits = np.zeros(batch.rows, np.int32), np.zeros(batch.rows, np.int32)
        for row, index in enumerate(batch.indices):
            prompt = prompts[index]
            tokens[row, : len(prompt)] = prompt
            lengths[row] = len(prompt)
            limits[row] = self._limit(len(prompt))
        self.shapes.add((batch.rows, batch.length))
        return self._answer(self._params, *map(self._place, (tokens, lengths, limits)))

    def _collect(self, batch: LengthBatch, arrays: tuple[jax.Array, ...], answers: list[list[int]]) -> None:
        out, counts = (np.asarray(array) for array in arrays)
        for row, index in enumerate(batch.indices):
            answers[index] = out[row, : counts[row]].tolist()
            self.counts.prompts += 1
            self.counts.generated_tokens += int(counts[row])
            self.counts.truncated += answers[index][-1] not in self._stop

    def _limit(self, length: int) -> int:
        """New tokens that a prompt of this length may get: the model knows no position beyond
        max_position."""
        return min(self.max_new_tokens, self.config.max_position - length)

    def _check(self, number: int, prompt: Sequence[int]) -> None:
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} is empty")
        if self._limit(len(prompt)) < 1:
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens, the model knows {self.config.max_position} "
                "positions: nothing can be generated; shorten it as seqio_tasks.encoding does"
            )
        if min(prompt) < 0 or max(prompt) >= self.config.vocab_size:
            raise ValueError(
                f"prompt {number} holds tokens {min(prompt)}..{max(prompt)}, the model knows "
                f"0..{self.config.vocab_size - 1}; is this the tokenizer that the model was trained with?"
            )
