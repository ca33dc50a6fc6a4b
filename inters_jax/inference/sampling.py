"""Sample the next token: temperature, top-k, top-p, and random numbers per prompt.

The random numbers of an answer depend only on the seed, the prompt, the number of equal prompts before it,
and the step. A prompt gets the same sample alone, in any batch and in any order, and five equal prompts get
five samples. `prompt_keys` makes one key per prompt on the host; `draw` folds the step into it on the device.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from seqio_tasks.base import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; the default is greedy.

    Args:
      temperature: 0 selects the most probable token; otherwise logits are divided by it first.
      top_k: sample from the k most probable tokens (and tokens with the same logit as the last).
      top_p: sample from the smallest set of most probable tokens with this probability mass, after
        temperature and top_k.
      beams: width of beam search; more than 1 excludes temperature, top_k and top_p.
      length_penalty: the score of an answer is its log-probability / length ** length_penalty (beams only).
      seed: of the random numbers.

    Raises:
      UserError: values are out of range or exclude each other.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    beams: int = 1
    length_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature must be 0 (greedy) or a positive number, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.beams < 1:
            raise UserError(f"beams must be at least 1, got {self.beams}")
        if self.beams > 1 and self.temperature:
            raise UserError("beam search does not sample: leave temperature at 0")
        if not self.temperature and not (self.top_k is None and self.top_p is None):
            raise UserError("top_k and top_p apply only to sampling: set temperature above 0")


def prompt_keys(prompts: Sequence[Sequence[int]], seed: int) -> np.ndarray:
    """One key per prompt, uint32 [prompts, 2], from its tokens and its number among equal prompts.

    >>> keys = prompt_keys([[5, 6], [7], [5, 6]], seed=0)
    >>> bool((prompt_keys([[7], [5, 6]], seed=0) == keys[[1, 0]]).all()), len({*map(bytes, keys)})
    (True, 3)
    """
    seen: Counter[bytes] = Counter()
    keys = np.empty((len(prompts), 2), np.uint32)
    for row, prompt in enumerate(prompts):
        tokens = np.asarray(prompt, np.int32).tobytes()
        head = np.asarray([seed, seen[tokens]], np.int64).tobytes()
        seen[tokens] += 1
        keys[row] = np.frombuffer(hashlib.blake2b(head + tokens, digest_size=8).digest(), np.uint32)
    return keys


def filtered(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """The logits [..., V] to sample from: divided by the temperature, -inf for excluded tokens.

    >>> kept = filtered(jnp.log(jnp.array([0.5, 0.3, 0.2])), Sampling(temperature=1.0, top_p=0.6))
    >>> [round(logit, 2) for logit in kept.tolist()]
    [-0.69, -1.2, -inf]
    """
    logits = logits.astype(jnp.float32) / sampling.temperature
    size = logits.shape[-1]
    top_k = size if sampling.top_k is None else min(sampling.top_k, size)
    if sampling.top_p is None and top_k == size:
        return logits
    best = jax.lax.top_k(logits, top_k)[0]  # descending
    least = best[..., -1:]
    if sampling.top_p is not None:
        mass = jax.nn.softmax(best, axis=-1)
        before = jnp.cumsum(mass, axis=-1) - mass  # of all more probable tokens; 0 for the first
        least = jnp.where(before < sampling.top_p, best, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def draw(logits: jax.Array, keys: jax.Array, step: jax.Array | int, sampling: Sampling) -> jax.Array:
    """The next token of every row: logits [R, V], keys uint32 [R, 2], step int [] -> int32 [R].

    The argmax of logit + Gumbel noise is a sample from the softmax of the logits.
    """
    if not sampling.temperature:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    def noise(key: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)
        return jax.random.gumbel(own, logits.shape[-1:], jnp.float32)

    return jnp.argmax(filtered(logits, sampling) + jax.vmap(noise)(keys), axis=-1).astype(jnp.int32)
