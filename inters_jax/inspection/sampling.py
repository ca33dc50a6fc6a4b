"""Choose the examples of a page: one of every task in turn, until there are enough or the page is full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inters_jax.data.pass_files import StoreError
from inters_jax.data.shuffling import permutation
from inters_jax.data.token_store import TokenStore
from inters_jax.inspection.token_text import Piece, TokenTexts

_EXAMPLE_BYTES = 260  # of an example without its tokens: ids, counts, parts


@dataclass(frozen=True)
class Pick:
    """An example of the store."""

    task: str
    pass_: int
    index: int


@dataclass(frozen=True)
class Sample:
    """The chosen examples, with their tokens as indices into one table.

    Attributes:
      picks: in the order of the page: the first of every task, the second of every task, ...
      tokens: per pick, indices into `table`.
      table: (id, text, kind), frequent ones first so that their indices are short.
      full: whether the byte budget left some of the requested examples out.
    """

    picks: tuple[Pick, ...]
    tokens: tuple[list[int], ...]
    table: tuple[Piece, ...]
    full: bool


def candidates(store: TokenStore, task: str, seed: int) -> Iterator[Pick]:
    """The sequences of a task in a random order given by the seed, all passes mixed; each exactly once."""
    sizes = [store.sequences(task, pass_) for pass_ in range(store.passes(task))]
    ends = np.cumsum(sizes)
    for place in permutation(int(ends[-1]), seed, "inspect", task).tolist():
        pass_ = int(np.searchsorted(ends, place, side="right"))
        yield Pick(task, pass_, place - int(ends[pass_] - sizes[pass_]))


def choose(
    store: TokenStore, tasks: Sequence[str], texts: TokenTexts, *, examples: int, budget: int, seed: int
) -> Sample:
    """Choose examples evenly over the tasks.

    Args:
      store: an open store.
      tasks: names in the store.
      texts: of the store's tokenizer.
      examples: maximum number of examples.
      budget: approximate maximum of the bytes they take on the page.
      seed: of the choice.
    """
    streams = [candidates(store, task, seed) for task in tasks]
    table: dict[Piece, int] = {}
    uses: list[int] = []
    picks: list[Pick] = []
    sequences: list[list[int]] = []
    spent, full = 0, False
    while streams and len(picks) < examples and not full:
        for stream in tuple(streams):
            pick = next(stream, None)
            if pick is None:
                streams.remove(stream)
                continue
            if len(picks) == examples:
                break
            pieces = texts.pieces(store.tokens(pick.task, pick.pass_, pick.index).tolist())
            new = {piece for piece in pieces if piece not in table}
            cost = _EXAMPLE_BYTES + 5 * len(pieces) + sum(16 + len(text.encode()) for _, text, _ in new)
            if spent + cost > budget:
                full = True
                break
            spent += cost
            numbers = []
            for piece in pieces:
                number = table.setdefault(piece, len(table))
                if number == len(uses):
                    uses.append(0)
                uses[number] += 1
                numbers.append(number)
            picks.append(pick)
            sequences.append(numbers)
    order = np.argsort(-np.array(uses, np.int64), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    entries = list(table)
    return Sample(
        tuple(picks),
        tuple(place[np.array(numbers, np.int64)].tolist() for numbers in sequences),
        tuple(entries[number] for number in order.tolist()),
        full,
    )


def named_tasks(store: TokenStore, tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    """The tasks to show, in the order of the store: all, or those named (separated by commas).

    Raises:
      StoreError: the store does not hold a named task.
    """
    if not tasks:
        return store.tasks
    names = [name.strip() for name in tasks.split(",")] if isinstance(tasks, str) else list(tasks)
    names = [name for name in names if name]
    if unknown := [name for name in names if name not in store.tasks]:
        absent = store.manifest["without_data"]
        reasons = [f"{name} ({absent.get(name, 'no such task')})" for name in unknown]
        raise StoreError(
            f"the store {store.folder} does not hold {', '.join(reasons)}; it holds {', '.join(store.tasks)}"
        )
    return tuple(task for task in store.tasks if task in names)
