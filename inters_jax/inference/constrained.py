"""Greedy generation restricted to given candidates: an order of identifiers, or one of several answers.

The state of a row is the set of candidates that match the current one so far (`alive`), the position in it
(`at`), the candidates already named (`used`), and the position in the separator. All of it is on the device;
one `lax.while_loop` generates the whole answer.

    candidates  [1]  [2]  [10]      tokens "[" "1" "]" ...
    generated   "["                 alive: all three, with one possible token: forced, no choice
                "[1"                alive: [1] and [10]: the model chooses between "]" and "0"
                "[1]"               [1] is named; ", " and "[" are forced

Forced tokens are fed together with the token before them, so the model runs about once per real choice
instead of once per token. The last remaining candidate needs no model call: the result is always a
permutation.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.inference.bucketing import power_of_two
from inters_jax.inference.prefill import prefill

MAX_CHUNK = 8  # most tokens fed at a time; longer forced runs take several turns
Tokens = Sequence[int]


@dataclass(frozen=True)
class Table:
    """The validated candidates of a prompt."""

    items: tuple[tuple[int, ...], ...]

    def fed(self, separator: int, named: int | None) -> int:
        """The most tokens needed to name `named` of the items (None: all), including separators."""
        sizes = sorted(map(len, self.items), reverse=True)[:named]
        return sum(sizes) + separator * (len(sizes) - 1)


def per_prompt(items: Sequence[Tokens] | Sequence[Sequence[Tokens]], prompts: int) -> list[Sequence[Tokens]]:
    """One list of candidates per prompt, from such lists or from one list for all prompts.

    >>> per_prompt([[1, 2], [3]], 2)
    [[[1, 2], [3]], [[1, 2], [3]]]
    """
    first = next((part for one in items for part in one), None)
    if first is None or isinstance(first, int | np.integer):
        return [items] * prompts  # type: ignore[list-item]
    if len(items) != prompts:
        raise ValueError(f"{len(items)} lists of candidates for {prompts} prompts")
    return list(items)  # type: ignore[arg-type]


def tables(given: Sequence[Sequence[Tokens]], vocab_size: int) -> list[Table]:
    """Validate the candidates of every prompt; equal lists are validated once.

    Raises:
      ValueError: a prompt has no candidates, or they are empty, ambiguous or outside the vocabulary.
    """
    known: dict[tuple[tuple[int, ...], ...], Table] = {}
    found = []
    for number, items in enumerate(given):
        key = tuple(tuple(int(token) for token in item) for item in items)
        if key not in known:
            _check(key, number, vocab_size)
            known[key] = Table(key)
        found.append(known[key])
    return found


def _check(items: tuple[tuple[int, ...], ...], number: int, vocab_size: int) -> None:
    if not items:
        raise ValueError(f"prompt {number} has no candidates")
    for index, item in enumerate(items):
        if not item:
            raise ValueError(f"candidate {index} of prompt {number} has no tokens")
        if min(item) < 0 or max(item) >= vocab_size:
            raise ValueError(
                f"candidate {index} of prompt {number} has tokens {min(item)}..{max(item)}, the model has "
                f"0..{vocab_size - 1}"
            )
    # In sorted order a prefix comes directly before one of the items that it begins.
    ordered = sorted(range(len(items)), key=lambda index: items[index])
    for one, other in itertools.pairwise(ordered):
        if items[other][: len(items[one])] == items[one]:
            what = "equals" if items[one] == items[other] else "is a prefix of"
            raise ValueError(
                f"candidate {one} of prompt {number} {what} candidate {other} ({list(items[one])} and "
                f"{list(items[other])}), so its end would be ambiguous; give each a closing token, as "
                "in '[1]', or end it with the EOS"
            )


def common_shape(found: Sequence[Table]) -> tuple[int, int]:
    """(candidates, tokens) of arrays that fit every table, rounded up to powers of two."""
    count = max(len(table.items) for table in found)
    return power_of_two(count), power_of_two(max(len(item) for t in found for item in t.items))


def arrays(
    found: Sequence[Table], rows: int, shape: tuple[int, int], named: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates int32 [rows, N, I] (-1 after each), their lengths [rows, N], and choices to make [rows].

    Naming all of n items takes n - 1 choices: the last one is what remains.
    """
    items = np.full((rows, *shape), -1, np.int32)
    lengths, choices = np.zeros((rows, shape[0]), np.int32), np.zeros(rows, np.int32)
    for row, table in enumerate(found):
        for index, item in enumerate(table.items):
            items[row, index, : len(item)] = item
            lengths[row, index] = len(item)
        most = len(table.items) - 1
        choices[row] = most if named is None else min(named, most)
    return items, lengths, choices


def completed(order: np.ndarray, table: Table, named: int | None) -> list[int]:
    """The named candidates (-1 after them), followed by the remaining ones.

    >>> completed(np.array([2, 0, -1, -1]), Table(((5,), (6,), (7,))), None)
    [2, 0, 1]
    """
    said = [int(index) for index in order if index >= 0]
    left = [index for index in range(len(table.items)) if index not in said]
    return [*said, *left][:named]


def program(graph: Any, dtype: Any) -> Callable[..., jax.Array]:
    """Compile the search.

    It takes params, tokens [R, P], lengths [R], items [R, N, I], item lengths [R, N], choices [R], separator
    [S] and the static `extra` (cache slots in addition to the prompt), and returns int32 [R, N]: the
    candidates in the order in which they were named, -1 after them.
    """

    @functools.partial(jax.jit, static_argnames="extra")
    def run(
        params: Any,
        tokens: jax.Array,
        lengths: jax.Array,
        items: jax.Array,
        sizes: jax.Array,
        choices: jax.Array,
        separator: jax.Array,
        *,
        extra: int,
    ) -> jax.Array:
        model = nnx.merge(graph, params)
        rows, count, longest = items.shape
        chunk = min(MAX_CHUNK, longest + separator.shape[0] + longest)
        every = jnp.arange(rows)
        logits, cache = prefill(model, tokens, lengths, extra, dtype)
        turn = _turn(items, sizes, choices, separator)

        def unfinished(state: tuple[dict[str, Any], Any, Any, Any]) -> jax.Array:
            return ~jnp.all(state[0]["done"])

        def advance(state: tuple[dict[str, Any], Any, Any, Any]) -> tuple[dict[str, Any], Any, Any, Any]:
            names, fed, logits, cache = state
            going = ~names["done"]
            said, real = [], []
            for number in range(chunk):
                names, token, going = turn(names, logits if number == 0 else None, going)
                said.append(token)
                real.append(going)
            new, mask = jnp.stack(said, axis=1), jnp.stack(real, axis=1)
            amount = mask.sum(axis=1)
            at = jnp.where(mask, fed[:, None] + jnp.arange(chunk), -1)
            hidden, cache = model.decode(jnp.where(mask, new, 0), at, cache)
            last = hidden[every, jnp.maximum(amount - 1, 0)]
            return names, fed + amount, model.logits(last), cache

        start = {
            "order": jnp.full((rows, count), -1, jnp.int32),
            "named": jnp.zeros(rows, jnp.int32),
            "used": sizes == 0,
            "alive": sizes > 0,
            "at": jnp.zeros(rows, jnp.int32),
            "between": jnp.full(rows, separator.shape[0], jnp.int32),
            "done": choices == 0,
        }
        names, _, _, _ = jax.lax.while_loop(unfinished, advance, (start, lengths, logits, cache))
        return names["order"]

    return run


def _turn(
    items: jax.Array, sizes: jax.Array, choices: jax.Array, separator: jax.Array
) -> Callable[..., tuple[dict[str, Any], jax.Array, jax.Array]]:
    """One token per row: (names, logits or None, going) -> (names, token [R], going [R]).

    Without logits a row continues only if its next token is forced. A row that has made its last choice
    stops, and its token is not fed.
    """
    rows, count, longest = items.shape
    every = jnp.arange(rows)
    last = separator.shape[0]

    def turn(
        names: dict[str, Any], logits: jax.Array | None, going: jax.Array
    ) -> tuple[dict[str, Any], jax.Array, jax.Array]:
        alive, at, between = names["alive"], names["at"], names["between"]
        place = jnp.minimum(at, longest - 1)[:, None, None]
        options = jnp.take_along_axis(items, place, axis=2)[:, :, 0]  # [R, N] the next token of each
        lowest = jnp.where(alive, options, jnp.iinfo(jnp.int32).max).min(axis=1)
        highest = jnp.where(alive, options, -1).max(axis=1)
        token, free = lowest, lowest != highest
        inside = between < last
        if last:
            token = jnp.where(inside, separator[jnp.minimum(between, last - 1)], token)
            free &= ~inside
        if logits is None:
            going = going & ~free
        else:
            wanted = jnp.take_along_axis(logits, jnp.maximum(options, 0), axis=1)
            best = jnp.where(alive, wanted, -jnp.inf).argmax(axis=1)
            token = jnp.where(free, options[every, best], token)
        alive = jnp.where(inside[:, None], alive, alive & (options == token[:, None]))
        at = jnp.where(inside, at, at + 1)
        whole = alive & (sizes == at[:, None]) & ~inside[:, None]
        complete = whole.any(axis=1)
        used = names["used"] | whole
        number = names["named"]
        slot = jnp.where(complete & going, number, count)  # out of bounds: nothing is written
        order = names["order"].at[every, slot].set(whole.argmax(axis=1).astype(jnp.int32), mode="drop")
        number = number + complete
        after = {
            "order": order,
            "named": number,
            "used": used,
            "alive": jnp.where(complete[:, None], ~used, alive),
            "at": jnp.where(complete, 0, at),
            "between": jnp.where(complete, 0, jnp.where(inside, between + 1, between)),
            "done": names["done"] | (complete & (number >= choices)),
        }

        def kept(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(going.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        names = {name: kept(after[name], names[name]) for name in after}
        return names, token, going & ~names["done"]

    return turn
