"""The numbers that a page shows of a store: what was kept, how long it is, how an epoch draws and packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.data import mixing, packing
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore

PICTURED_ROWS = 24


@dataclass(frozen=True)
class TaskNumbers:
    """One task, all passes together.

    dropped, notes: reason -> count; lengths, completions: int [examples], tokens.
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


def task_numbers(store: TokenStore, task: str) -> TaskNumbers:
    """From the manifest and the stored lengths; no token is read."""
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


@dataclass(frozen=True)
class Share:
    """A task's part of one epoch; shares are of all tasks of the store.

    asked: of the rates; drawn: of the examples drawn; tokens and loss: of their tokens
    examples: drawn; distinct: different rows among them; cycles: how often each row of a pass is drawn
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
    """The first epoch of a run with this seed: draws int64 [n, 3], lengths and targets int64 [n]."""

    draws: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray
    shares: tuple[Share, ...]


def epoch_numbers(store: TokenStore, seed: int) -> Epoch:
    """What `mixing.draw` gives for epoch 0, against the rates."""
    draws = mixing.draw(store, seed, 0)
    lengths, starts = np.zeros(len(draws), np.int64), np.zeros(len(draws), np.int64)
    for number, task in enumerate(store.tasks):
        for pass_ in range(store.passes(task)):
            chosen = np.flatnonzero((draws[:, 0] == number) & (draws[:, 1] == pass_))
            lengths[chosen] = store.lengths(task, pass_)[draws[chosen, 2]]
            starts[chosen] = store.target_starts(task, pass_)[draws[chosen, 2]]
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
                loss=float(loss[number] / loss.sum()),
                examples=len(own),
                distinct=len(np.unique(own[:, 1:], axis=0)),
                cycles=len(own) / store.examples(task, 0),
            )
        )
    return Epoch(draws, lengths, targets, tuple(shares))


@dataclass(frozen=True)
class Segment:
    """One example in a row: where it begins, how many positions it takes, where its loss begins."""

    start: int
    loss: int
    end: int
    name: str  # task:example_id


@dataclass(frozen=True)
class Packed:
    """How the epoch packs: `pictured` are its first rows, read from the very arrays of training."""

    max_length: int
    rows: int
    density: float
    segments: float  # per row
    most_segments: int
    pictured: tuple[tuple[Segment, ...], ...]

    @property
    def featured(self) -> int:
        """The pictured row with the most usual number of segments, but more than one if possible."""
        counts = [len(row) for row in self.pictured]
        usual = max(2.0, float(np.median(counts)))
        return min(range(len(counts)), key=lambda row: (abs(counts[row] - usual), row))


def packed_numbers(store: TokenStore, epoch: Epoch, *, max_length: int, seed: int) -> Packed:
    """Plans the epoch as training does and reads back its first rows.

    Args:
      store: an open store.
      epoch: of this store and seed.
      max_length: positions of a row.
      seed: of the run.
    """
    plan = packing.plan(epoch.lengths - 1, max_length, seed, 0)
    sizes = np.diff(plan.starts)
    batches = PackedBatches(store, batch_rows=1, max_length=max_length, seed=seed, epochs=1)
    pictured = []
    for step in range(min(PICTURED_ROWS, len(plan))):
        batch, names = batches.batch(step), batches.example_ids(step)[0]
        segments, weights = batch["decoder_segment_ids"][0], batch["decoder_loss_weights"][0]
        row = []
        for number, name in enumerate(names, 1):
            inside = np.flatnonzero(segments == number)
            start, end = int(inside[0]), int(inside[-1]) + 1
            row.append(Segment(start, start + int(np.argmax(weights[start:end] > 0)), end, name))
        pictured.append(tuple(row))
    return Packed(
        max_length=max_length,
        rows=len(plan),
        density=float((epoch.lengths - 1).sum() / (len(plan) * max_length)),
        segments=float(sizes.mean()),
        most_segments=int(sizes.max()),
        pictured=tuple(pictured),
    )
