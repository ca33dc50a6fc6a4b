"""Numbers of a token store: what was kept, how long sequences are, how an epoch is drawn and packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from inters_jax.data import mixing
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore

PICTURED_ROWS = 24
PER_OCTAVE = 4  # bins of a histogram of lengths


class Quantiles(NamedTuple):
    """Lengths that occur: the median, the 95th percentile and the maximum."""

    median: int
    most: int
    largest: int

    @classmethod
    def of(cls, values: np.ndarray) -> Quantiles:
        """All 0 without values."""
        if not len(values):
            return cls(0, 0, 0)
        found = np.percentile(values, (50, 95, 100), method="higher")
        return cls(*(int(value) for value in found))


@dataclass(frozen=True)
class TaskNumbers:
    """One task, over all passes.

    Attributes:
      name: of the task.
      passes: number of renderings of every row.
      rows: read, over all passes.
      kept: examples in the store.
      dropped: reason -> rows left out.
      shortened: examples whose documents were cut.
      notes: remark of the source -> count.
      lengths: int [examples], tokens of whole sequences.
      completions: int [examples], tokens that carry loss.
    """

    name: str
    passes: int
    rows: int
    kept: int
    dropped: Mapping[str, int]
    shortened: int
    notes: Mapping[str, int]
    lengths: np.ndarray
    completions: np.ndarray

    @property
    def length_quantiles(self) -> Quantiles:
        """Of `lengths`."""
        return Quantiles.of(self.lengths)

    @property
    def completion_quantiles(self) -> Quantiles:
        """Of `completions`."""
        return Quantiles.of(self.completions)


def task_numbers(store: TokenStore, task: str) -> TaskNumbers:
    """The numbers of one task, from the manifest and the stored lengths; no token is read."""
    counts: Sequence[Mapping[str, Any]] = store.manifest["tasks"][task]["passes"]
    dropped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for one in counts:
        dropped.update(one.get("dropped", {}))
        notes.update(one.get("notes", {}))
    lengths = np.concatenate([store.lengths(task, p) for p in range(len(counts))])
    starts = np.concatenate([store.target_starts(task, p) for p in range(len(counts))])
    return TaskNumbers(
        name=task,
        passes=len(counts),
        rows=sum(one.get("rows", one["kept"]) for one in counts),
        kept=sum(one["kept"] for one in counts),
        dropped=dict(dropped),
        shortened=sum(one.get("shortened", 0) for one in counts),
        notes=dict(notes),
        lengths=lengths,
        completions=lengths - starts,
    )


def octaves(longest: int) -> int:
    """Octaves of a length axis from 1 token to the first power of two that is at least `longest`.

    >>> octaves(1), octaves(2048), octaves(2049)
    (1, 11, 12)
    """
    return max(1, int(np.ceil(np.log2(max(longest, 1)))))


def bins(lengths: np.ndarray, longest: int) -> np.ndarray:
    """Histogram of lengths (>= 1) on a logarithmic axis with `PER_OCTAVE` bins per octave: int64 [bins].

        lengths    1 | 2 3 | 4 .. 7 | 8      octaves

    >>> bins(np.array([1, 2, 3, 3, 8]), 8).tolist()
    [1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1]
    """
    count = octaves(longest) * PER_OCTAVE
    # Rounding must not move a length on the border of two bins into the lower one.
    places = np.floor(np.log2(np.maximum(lengths, 1)) * PER_OCTAVE + 1e-9).astype(np.int64)
    return np.bincount(np.minimum(places, count - 1), minlength=count)


@dataclass(frozen=True)
class Share:
    """A task's part of one epoch, as shares of all tasks of the store.

    Attributes:
      name: of the task.
      rate: its mixing rate.
      asked: share of the rates.
      drawn: share of the examples drawn.
      tokens: share of the tokens of the examples drawn.
      loss: share of their tokens that carry loss.
      examples: number of examples drawn.
      distinct: number of different rows among them.
      cycles: how often each row of a pass is drawn.
    """

    name: str
    rate: float
    asked: float
    drawn: float
    tokens: float
    loss: float
    examples: int
    distinct: int
    cycles: float


@dataclass(frozen=True)
class Epoch:
    """The first epoch of a run.

    Attributes:
      draws: int64 [n, 3]: task, pass and row of every sequence (`mixing.sequences`).
      lengths: int64 [n], tokens of whole sequences.
      targets: int64 [n], tokens that carry loss.
      shares: one per task of the store.
    """

    draws: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray
    shares: tuple[Share, ...]


def epoch_numbers(store: TokenStore, seed: int) -> Epoch:
    """Draw epoch 0 with a run's seed and compare it with the rates."""
    draws, _ = mixing.sequences(store, mixing.draw(store, seed, 0))
    ranked = store.tasks_with_documents()  # their answers carry no loss of their own
    lengths, starts = np.zeros(len(draws), np.int64), np.zeros(len(draws), np.int64)
    for number, task in enumerate(store.tasks):
        for pass_ in range(store.passes(task)):
            chosen = np.flatnonzero((draws[:, 0] == number) & (draws[:, 1] == pass_))
            lengths[chosen] = store.lengths(task, pass_)[draws[chosen, 2]]
            starts[chosen] = store.target_starts(task, pass_)[draws[chosen, 2]]
            if task in ranked:
                starts[chosen] = lengths[chosen]
    targets = lengths - starts
    rates = np.array([store.rate(task) for task in store.tasks])
    counts, tokens, loss = (
        np.bincount(draws[:, 0], weights=weights, minlength=len(rates))
        for weights in (None, lengths, targets)
    )
    shares = []
    for number, task in enumerate(store.tasks):
        own = draws[draws[:, 0] == number]
        shares.append(
            Share(
                name=task,
                rate=float(rates[number]),
                asked=float(rates[number] / rates.sum()),
                drawn=float(counts[number] / counts.sum()),
                tokens=float(tokens[number] / tokens.sum()),
                loss=float(loss[number] / max(loss.sum(), 1)),
                examples=len(own),
                distinct=len(np.unique(own[:, 1:], axis=0)),
                cycles=len(own) / store.sequences(task, 0),
            )
        )
    return Epoch(draws, lengths, targets, tuple(shares))


@dataclass(frozen=True)
class Segment:
    """One example in a packed row: its first position, the first with loss, and the end."""

    start: int
    loss: int
    end: int
    name: str  # task:example_id


@dataclass(frozen=True)
class Packed:
    """How an epoch packs; `pictured` are its first rows, read from the arrays that training uses."""

    max_length: int
    rows: int
    density: float
    segments: float  # per row
    most_segments: int
    pictured: tuple[tuple[Segment, ...], ...]

    @property
    def featured(self) -> int:
        """The pictured row whose number of segments is closest to the median; at least two if possible."""
        counts = [len(row) for row in self.pictured]
        usual = max(2.0, float(np.median(counts)))
        return min(range(len(counts)), key=lambda row: (abs(counts[row] - usual), row))


def packed_numbers(store: TokenStore, epoch: Epoch, *, max_length: int, seed: int) -> Packed:
    """Pack the epoch as training does and read back its first rows.

    Args:
      store: an open store.
      epoch: of this store and seed.
      max_length: positions per row.
      seed: of the run.
    """
    batches = PackedBatches(store, batch_rows=1, max_length=max_length, seed=seed, epochs=1)
    plan = batches.rows(0)
    sizes = np.diff(plan.starts)
    pictured = []
    for step in range(min(PICTURED_ROWS, len(plan))):
        batch, names = batches.batch(step), batches.example_ids(step)[0]
        segments, weights = batch["decoder_segment_ids"][0], batch["decoder_loss_weights"][0]
        row = []
        for number, name in enumerate(names, 1):
            inside = np.flatnonzero(segments == number)
            start, end = int(inside[0]), int(inside[-1]) + 1
            loss = np.flatnonzero(weights[start:end])
            row.append(Segment(start, start + int(loss[0]) if len(loss) else end, end, name))
        pictured.append(tuple(row))
    return Packed(
        max_length=max_length,
        rows=len(plan),
        density=float((epoch.lengths - 1).sum() / (len(plan) * max_length)),
        segments=float(sizes.mean()),
        most_segments=int(sizes.max()),
        pictured=tuple(pictured),
    )
