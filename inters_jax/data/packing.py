"""Packs examples into rows: best-fit decreasing within windows of an epoch.

A row has `max_length` tokens. The examples of an epoch are divided into windows. Within a window, examples
are placed from the longest to the shortest, each into the fullest row with room for it; then the rows are
shuffled. With INTERS-like lengths and rows of 2048 tokens, more than 99 % of the positions are real tokens
(`scripts/bench_packing.py`).

The plan is a pure function of (lengths, seed, epoch): it needs no state and is the same on every host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inters_jax.data.shuffling import permutation


@dataclass(frozen=True)
class Plan:
    """Rows of example positions, in training order; a sequence of int64 arrays.

    Row r is ``examples[starts[r] : starts[r + 1]]``.

        examples   2 0 | 3 1 4        int64 [examples of the epoch]
        starts     0     2     5      int64 [rows + 1]
    """

    examples: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a plan of {len(self)} rows")
        return self.examples[self.starts[row] : self.starts[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum a value per example over each row: values [examples of the epoch] -> int64 [rows]."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.add.reduceat(values[self.examples].astype(np.int64), self.starts[:-1])

    def expanded(self, sizes: np.ndarray) -> Plan:
        """The same rows of sequences, where example e consists of `sizes[e]` sequences.

        >>> plan = Plan(np.array([2, 0, 1]), np.array([0, 2, 3]))
        >>> [row.tolist() for row in plan.expanded(np.array([1, 3, 1]))]       # 0 | 1 2 3 | 4
        [[4, 0], [1, 2, 3]]

        Args:
          sizes: int64 [examples of the epoch]; sequences are numbered in the order of the examples.
        """
        own = sizes[self.examples]
        ends = np.cumsum(own)
        first = (np.cumsum(sizes) - sizes)[self.examples]
        within = np.arange(own.sum()) - np.repeat(ends - own, own)
        return Plan(np.repeat(first, own) + within, np.concatenate([[0], ends])[self.starts])


def default_segments(max_length: int) -> int:
    """Default limit of examples in a row: 64, more for rows longer than 2048 tokens."""
    return max(64, max_length // 32)


def plan(
    lengths: np.ndarray,
    max_length: int,
    seed: int,
    epoch: int,
    window: int = 10_000,
    max_segments: int | None = None,
) -> Plan:
    """Pack every example exactly once into rows of at most `max_length` tokens.

        lengths            7  2  5  3  1        max_length 10
        longest first      7  .  5  3 | 2  1
        rows               7 3 | 5 2 1          -> [[0, 3], [2, 1, 4]], shuffled

    Args:
      lengths: int [n], positions that each example takes in a row (its tokens minus one, see `loader`).
      max_length: tokens in a row.
      seed: of the run.
      epoch: determines the order of the rows, together with the seed.
      window: examples packed together; a larger window packs tighter, a smaller one mixes rows better.
      max_segments: most examples in a row; None: `default_segments`.

    Raises:
      ValueError: an example does not fit a row.

    >>> [row.tolist() for row in plan(np.array([7, 2, 5, 3, 1]), 10, seed=0, epoch=0)]
    [[0, 3], [2, 1, 4]]
    """
    lengths = np.asarray(lengths)
    if max_length < 1 or window < 1 or (max_segments is not None and max_segments < 1):
        raise ValueError(
            f"max_length {max_length}, window {window} and max_segments {max_segments} must be positive"
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > max_length))
    if len(wrong):
        first = int(wrong[0])
        raise ValueError(
            f"{len(wrong)} of {len(lengths)} examples do not fit rows of {max_length} tokens; "
            f"example {first} takes {int(lengths[first])}. "
            "Prepare the store with this max_length, or raise it here."
        )
    segments = default_segments(max_length) if max_segments is None else max_segments
    members = [np.zeros(0, np.int64)]
    sizes: list[int] = []
    for number, start in enumerate(range(0, len(lengths), window)):
        rows = _best_fit(lengths[start : start + window], max_length, segments)
        order = [rows[row] for row in permutation(len(rows), seed, "rows", epoch, number).tolist()]
        members.append(start + np.array([position for row in order for position in row], np.int64))
        sizes.extend(map(len, order))
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return Plan(np.concatenate(members), starts)


def _best_fit(lengths: np.ndarray, max_length: int, max_segments: int) -> list[list[int]]:
    """Rows of positions in `lengths`: longest example first, each into the fullest row with room for it.

    Examples of one length are placed together: the fullest row with room for one of them remains the fullest
    row for the next, until it has no room. A window takes one step per pair of row and length.
    """
    order = np.argsort(-lengths, kind="stable")
    values, first = np.unique(-lengths[order], return_index=True)
    bounds = [*first.tolist(), len(order)]
    positions = order.tolist()
    rows: list[list[int]] = []
    # with_room[s]: rows with exactly s tokens left; bit s of `rooms` is set if there is one.
    with_room: list[list[int]] = [[] for _ in range(max_length + 1)]
    rooms = 0
    for group, negated in enumerate(values.tolist()):
        length, position, end = -negated, bounds[group], bounds[group + 1]
        while position < end:
            enough = rooms >> length
            if enough:
                room = length + (enough & -enough).bit_length() - 1
                number = with_room[room].pop()
                if not with_room[room]:
                    rooms ^= 1 << room
                row = rows[number]
            else:
                room, number, row = max_length, len(rows), []
                rows.append(row)
            count = min(end - position, room // length, max_segments - len(row))
            row.extend(positions[position : position + count])
            position += count
            room -= count * length
            if room and len(row) < max_segments:
                if not with_room[room]:
                    rooms |= 1 << room
                with_room[room].append(number)
    return rows
