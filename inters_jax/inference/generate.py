"""Generation with few compilations: prefill once, then decode token by token with a key/value cache.

Prompts of similar length share a batch. The rows of a batch are independent (each has its own positions,
cache slots and, when sampling, random numbers), so an answer does not depend on the rest of its batch. For a
batch of R prompts of at most P tokens:

    prefill   tokens [R, P], positions 0..n-1 (-1 after the prompt)   -> the first new token of every row
    decode    tokens [R, 1], position n, n+1, ...                     -> lax.while_loop until every row has
                                                                         ended, or for `STOP_CHUNK` tokens
    cache     P + max_new_tokens slots per row, slot = position

With stop strings the loop returns to the host every `STOP_CHUNK` tokens, which searches the decoded text and
ends the rows that contain one. `beam` is beam search; `constrained` generates from a given set of answers (a
permutation of identifiers, one of several labels).

P is one of the lengths of `bucketing.ladder` and R a power of two, so the number of compilations is bounded.
It is reported as `Generator.compilations`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.inference import beam, constrained
from inters_jax.inference.bucketing import LengthBatch, length_batches, power_of_two
from inters_jax.inference.placement import default_row_shapes, row_placement
from inters_jax.inference.prefill import padded, prefill
from inters_jax.inference.sampling import Sampling, draw, prompt_keys
from inters_jax.inference.stops import StopStrings
from seqio_tasks.base import UserError

STOP_CHUNK = 16  # tokens between two searches for stop strings
Tokens = Sequence[int]
Progress = Callable[[int], None]  # called with the number of finished prompts of a batch


@dataclass
class GenerationCounts:
    """Statistics over all calls of `generate`."""

    prompts: int = 0
    generated_tokens: int = 0
    truncated: int = 0  # without an end-of-sequence token or stop string within the limit


class Generator:
    """Generate answers with a decoder.

    Args:
      loaded: a `LoadedModel` (`.model`, `.config`, `.eos_id`), see `inters_jax.models.loading`.
      max_new_tokens: most tokens of an answer; an answer cut by it counts as truncated.
      batch_tokens: cache slots per batch; determines memory use.
      eos_ids: tokens that end an answer; None: the tokenizer's EOS and the model's stop tokens.
      sampling: how tokens are chosen; None: greedy.
      stop_strings: texts that end an answer; the answer contains neither them nor what follows.
      vocabulary: decodes answers for stop strings (a `HuggingFaceTokenizer` or a `tokenizers.Tokenizer`);
        None: the tokenizer of `loaded`.

    Raises:
      UserError: an argument is invalid, or nothing ends an answer.
    """

    def __init__(
        self,
        loaded: Any,
        *,
        max_new_tokens: int = 256,
        batch_tokens: int = 16384,
        eos_ids: Sequence[int] | None = None,
        sampling: Sampling | None = None,
        stop_strings: Sequence[str] = (),
        vocabulary: Any = None,
    ):
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        ends = [loaded.eos_id, *loaded.config.stop_ids] if eos_ids is None else list(eos_ids)
        ends = list(dict.fromkeys(int(end) for end in ends if end is not None))
        if not ends:
            raise UserError("the tokenizer has no end-of-sequence token: pass eos_ids")
        self.config, self.max_new_tokens, self.batch_tokens = loaded.config, max_new_tokens, batch_tokens
        self.sampling = sampling or Sampling()
        self.stops: StopStrings | None = None
        if stop_strings:
            tokenizer = getattr(loaded, "tokenizer", None) if vocabulary is None else vocabulary
            given = stop_strings if isinstance(stop_strings, str) else tuple(stop_strings)
            self.stops = StopStrings(tokenizer, given)  # type: ignore[arg-type]  # a bare string is refused
        self.counts = GenerationCounts()
        self.shapes: set[tuple[Any, ...]] = set()
        self._graph, self._params = nnx.split(loaded.model, nnx.Param)
        self._parts, self._place, self._readable = row_placement(self._params)
        self._dtype = loaded.model.dtype
        self._ends = tuple(ends)
        self._begin, self._advance = _decoding(
            self._graph, self._dtype, max_new_tokens, self._ends, self.sampling
        )
        self._search = beam.program(self._graph, self._dtype, max_new_tokens, self._ends, self.sampling)
        self._choose = constrained.program(self._graph, self._dtype)

    @property
    def compilations(self) -> int:
        """The number of array shapes compiled so far.

        At most `default_row_shapes()` for each length of the ladder, kind of call and size of the candidates.
        """
        return len(self.shapes)

    def use(self, model: Any) -> None:
        """Replace the parameters by others of the same model, without compiling again."""
        self._params = nnx.split(model, nnx.Param)[1]

    def generate(self, prompts: Sequence[Tokens], progress: Progress | None = None) -> list[list[int]]:
        """The new tokens of each prompt, in the order of the prompts, with the EOS that ended them, if any.

        Args:
          prompts: token sequences.
          progress: called with the number of prompts of each finished batch.

        Raises:
          UserError: a prompt is empty, too long for the model, or has tokens outside its vocabulary.
        """
        for number, prompt in enumerate(prompts):
            self._check(number, prompt)
        answers: list[list[int]] = [[] for _ in prompts]
        sizes = [len(prompt) for prompt in prompts]
        keys = prompt_keys(prompts, self.sampling.seed)
        tokens = self.batch_tokens // self.sampling.beams
        batches = self._batches(sizes, tokens, self.max_new_tokens)
        waiting: tuple[LengthBatch, tuple[jax.Array, jax.Array]] | None = None
        for batch in [*batches, None]:  # a batch is computed while the one before it is read
            running = None if batch is None else (batch, self._run(batch, prompts, keys))
            if waiting is not None:
                self._collect(*waiting, answers)
                if progress:
                    progress(len(waiting[0].indices))
            waiting = running
        return answers

    def permutations(
        self,
        prompts: Sequence[Tokens],
        items: Sequence[Tokens] | Sequence[Sequence[Tokens]],
        separator: Tokens,
        progress: Progress | None = None,
    ) -> list[list[int]]:
        """The order in which the model names the items of each prompt: always a permutation.

        Every token is the most probable one that continues an item not yet named; the separator between two
        items is forced. This equals greedy generation restricted token by token.

        Args:
          prompts: token sequences.
          items: the identifiers as tokens, such as those of "[1]" and "[2]": one list of items for all
            prompts, or one list per prompt. No item may be a prefix of another.
          separator: the tokens between two items; may be empty.
          progress: called with the number of prompts of each finished batch.

        Returns:
          For each prompt the numbers of its items, in the order in which they were named.

        Raises:
          ValueError: items are ambiguous, or a prompt is invalid.
        """
        given = constrained.per_prompt(items, len(prompts))
        tables = constrained.tables(given, self.config.vocab_size)
        return self._constrained(prompts, tables, separator, None, progress)

    def choose(
        self,
        prompts: Sequence[Tokens],
        continuations: Sequence[Tokens] | Sequence[Sequence[Tokens]],
        progress: Progress | None = None,
    ) -> list[int]:
        """The number of the continuation that greedy generation gives when restricted to these.

        Args:
          prompts: token sequences.
          continuations: one list for all prompts, or one list per prompt. None may be a prefix of another;
            where one is, end each with the EOS.
          progress: called with the number of prompts of each finished batch.

        Raises:
          ValueError: continuations are ambiguous, or a prompt is invalid.
        """
        given = constrained.per_prompt(continuations, len(prompts))
        tables = constrained.tables(given, self.config.vocab_size)
        return [order[0] for order in self._constrained(prompts, tables, (), 1, progress)]

    def _batches(self, sizes: Sequence[int], tokens: int, extra: int) -> list[LengthBatch]:
        return length_batches(sizes, tokens, extra=extra, parts=self._parts, shapes=default_row_shapes())

    def _run(
        self, batch: LengthBatch, prompts: Sequence[Tokens], keys: np.ndarray
    ) -> tuple[jax.Array, jax.Array]:
        """The new tokens [R, max_new_tokens] of a batch and their number [R], on the device."""
        tokens, lengths = padded(batch, prompts)
        limits, own = np.zeros(batch.rows, np.int32), np.zeros((batch.rows, 2), np.uint32)
        limits[: len(batch.indices)] = [self._limit(len(prompts[index])) for index in batch.indices]
        own[: len(batch.indices)] = keys[list(batch.indices)]
        self.shapes.add((batch.rows, batch.length))
        tokens, lengths, limits, own = map(self._place, (tokens, lengths, limits, own))
        if self.sampling.beams > 1:
            return self._readable(self._search(self._params, tokens, lengths, limits))
        state = self._begin(self._params, tokens, lengths, limits, own)
        chunk = self.max_new_tokens if self.stops is None else STOP_CHUNK
        until = 1
        while until < self.max_new_tokens:
            until = min(until + chunk, self.max_new_tokens)
            state = self._advance(self._params, state, lengths, limits, own, np.int32(until))
            if self.stops is None:
                continue
            read = self._readable((state["out"], state["count"], state["done"]))
            out, count, done = map(np.asarray, read)
            found = [
                done[row] or (row < len(batch.indices) and self.stops.found(out[row, : count[row]]))
                for row in range(batch.rows)
            ]
            if all(found):
                break
            state |= {"done": self._place(np.asarray(found))}
        return self._readable((state["out"], state["count"]))

    def _collect(
        self, batch: LengthBatch, arrays: tuple[jax.Array, jax.Array], answers: list[list[int]]
    ) -> None:
        out, counts = (np.asarray(array) for array in arrays)
        for row, index in enumerate(batch.indices):
            answer: list[int] = out[row, : counts[row]].tolist()
            ended = answer[-1] in self._ends
            cut = None if self.stops is None else self.stops.cut(answer)
            answers[index] = answer if cut is None else cut
            self.counts.prompts += 1
            self.counts.generated_tokens += len(answers[index])
            self.counts.truncated += not ended and cut is None

    def _constrained(
        self,
        prompts: Sequence[Tokens],
        tables: Sequence[constrained.Table],
        separator: Tokens,
        named: int | None,
        progress: Progress | None,
    ) -> list[list[int]]:
        """The first `named` items (None: all) of each prompt, in the order of the model."""
        orders: list[list[int]] = [[] for _ in prompts]
        if not prompts:
            return orders
        for number, (prompt, table) in enumerate(zip(prompts, tables, strict=True)):
            self._check(number, prompt, table.fed(len(separator), named))
        shape = constrained.common_shape(tables)
        extra = power_of_two(max(table.fed(len(separator), named) for table in tables), smallest=8)
        sizes = [len(prompt) for prompt in prompts]
        for batch in self._batches(sizes, self.batch_tokens, extra):
            tokens, lengths = padded(batch, prompts)
            own = [tables[index] for index in batch.indices]
            arrays = constrained.arrays(own, batch.rows, shape, named)
            self.shapes.add(("constrained", batch.rows, batch.length, extra, *shape, len(separator)))
            found = self._readable(
                self._choose(
                    self._params,
                    *map(self._place, (tokens, lengths, *arrays)),
                    np.asarray(separator, np.int32),
                    extra=extra,
                )
            )
            for row, index in enumerate(batch.indices):
                orders[index] = constrained.completed(np.asarray(found)[row], tables[index], named)
            if progress:
                progress(len(batch.indices))
        return orders

    def _limit(self, length: int) -> int:
        """The most new tokens after a prompt of this length, given the model's max_position."""
        return min(self.max_new_tokens, self.config.max_position - length)

    def _check(self, number: int, prompt: Tokens, needed: int = 1) -> None:
        if len(prompt) == 0:
            raise UserError(f"prompt {number} is empty")
        if len(prompt) + needed > self.config.max_position:
            what = "nothing can be generated" if needed == 1 else f"its answer may need {needed} more"
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens, the model has {self.config.max_position} "
                f"positions: {what}; shorten it as seqio_tasks.prompts.encoding does"
            )
        if min(prompt) < 0 or max(prompt) >= self.config.vocab_size:
            raise UserError(
                f"prompt {number} has tokens {min(prompt)}..{max(prompt)}, the model has "
                f"0..{self.config.vocab_size - 1}; is this the tokenizer that the model was trained with?"
            )


def _decoding(
    graph: Any, dtype: Any, steps: int, ends: tuple[int, ...], sampling: Sampling
) -> tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]:
    """The two programs of generation: prompts and their first new tokens, and the following tokens."""
    stop, eos = np.asarray(ends, np.int32), ends[0]

    def ended(token: jax.Array, count: jax.Array, limits: jax.Array) -> jax.Array:
        return jnp.isin(token, stop) | (count >= limits)

    @jax.jit
    def begin(
        params: Any, tokens: jax.Array, lengths: jax.Array, limits: jax.Array, keys: jax.Array
    ) -> dict[str, Any]:
        """tokens [R, P], lengths [R], limits [R] (0: an empty row), keys [R, 2]."""
        logits, cache = prefill(nnx.merge(graph, params), tokens, lengths, steps, dtype)
        first = draw(logits, keys, 0, sampling)
        count = jnp.minimum(1, limits)
        return {
            "step": jnp.int32(1),
            "token": first,
            "out": jnp.full((tokens.shape[0], steps), eos, jnp.int32).at[:, 0].set(first),
            "done": ended(first, count, limits),
            "count": count,
            "cache": cache,
        }

    @functools.partial(jax.jit, donate_argnums=1)
    def advance(
        params: Any,
        state: dict[str, Any],
        lengths: jax.Array,
        limits: jax.Array,
        keys: jax.Array,
        until: jax.Array,
    ) -> dict[str, Any]:
        """Decode until step `until`, or until every row has ended."""
        model = nnx.merge(graph, params)

        def unfinished(state: dict[str, Any]) -> jax.Array:
            return (state["step"] < until) & ~jnp.all(state["done"])

        def one(state: dict[str, Any]) -> dict[str, Any]:
            step, done = state["step"], state["done"]
            at = jnp.where(done, -1, lengths + step - 1)[:, None]
            hidden, cache = model.decode(state["token"][:, None], at, state["cache"])
            token = draw(model.logits(hidden[:, 0]), keys, step, sampling)
            token = jnp.where(done, eos, token)
            count = state["count"] + ~done
            return {
                "step": step + 1,
                "token": token,
                "out": jax.lax.dynamic_update_slice(state["out"], token[:, None], (0, step)),
                "done": done | ended(token, count, limits),
                "count": count,
                "cache": cache,
            }

        return jax.lax.while_loop(unfinished, one, state)

    return begin, advance
