"""Packed batches: the arrays of a training step, as a pure function of (store, seed, step).

The batch of a step is global: `batch_rows` rows over all hosts. Each host builds only the rows of its devices
(`inters_jax.mesh.host_rows`). The rows of the global batch do not depend on the hosts, so a run can resume on
another number of them. The only state is the step.

A row has several sequences. A sequence of n tokens takes n - 1 positions: its inputs are ``sequence[:-1]``
and its targets ``sequence[1:]``.

    sequence                  <s> p1  p2  p3  c1  c2  </s>      target_start = 4
    decoder_input_tokens      <s> p1  p2  p3  c1  c2
    decoder_target_tokens     p1  p2  p3  c1  c2  </s>
    decoder_loss_weights       0   0   0   1   1   1
    decoder_segment_ids        1   1   1   1   1   1   2 ...    0 for padding
    decoder_positions          0   1   2   3   4   5   0 ...
    decoder_loss_positions     3   4   5  ... L  L  L           where the weight is 1, then L = out of range

No token id has a special meaning: every mask comes from stored lengths.

Where an example is a query with its documents (for a ranking loss), it has a sequence per document, all in
one row. Their answers carry no language-model loss; the batch names them instead (`training.ranking_step`):

    decoder_document_positions    3   9   L ...     the position that predicts Yes or No; L = free slot
    decoder_document_groups       1   1   0 ...     the query, from 1 in each row; 0 = free slot
    decoder_document_grades       2   0   0 ...     float32
    decoder_document_teacher      8   5   0 ...     float32, scores of a teacher; 0 without one
"""

from __future__ import annotations

import queue
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.data import mixing, packing
from inters_jax.data.query_documents import Answers, batch_arrays
from inters_jax.data.token_store import TokenStore
from seqio_tasks.base import UserError

Batch = dict[str, np.ndarray]

_SMALLEST_SLOTS = 32


@dataclass(frozen=True)
class _Epoch:
    """The plan of an epoch, with arrays [sequences of the epoch]; most examples have one sequence."""

    draws: np.ndarray  # int64 [n, 3] of (task, pass, sequence)
    examples: np.ndarray  # int64 [n], the number of the example in the epoch
    lengths: np.ndarray  # positions taken in a row
    targets: np.ndarray  # positions that carry loss
    answers: Answers | None  # None: the store has no documents of queries
    rows: packing.Plan
    row_targets: np.ndarray  # int64 [rows]


class PackedBatches:
    """Batches of packed rows, by step.

    Args:
      store: a finished store.
      batch_rows: rows of the global batch.
      max_length: positions in a row.
      seed: determines the order of examples and rows.
      epochs: length of the run in epochs.
      steps: length of the run in steps; without epochs and steps the run is infinite.
      host_rows: the rows of a batch that this host builds, in order; None: all.
      epoch_examples: size of an epoch; None: the store's.
      window: examples packed together (see `packing.plan`).
      max_segments: most examples in a row (see `packing.plan`).

    Raises:
      ValueError: settings that contradict each other or the store.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        batch_rows: int,
        max_length: int,
        seed: int,
        epochs: int | None = None,
        steps: int | None = None,
        host_rows: Sequence[int] | None = None,
        epoch_examples: int | None = None,
        window: int = 10_000,
        max_segments: int | None = None,
    ) -> None:
        if epochs is not None and steps is not None:
            raise ValueError(f"set epochs or steps, not both (epochs={epochs}, steps={steps})")
        if batch_rows < 1:
            raise ValueError(f"a batch must have at least 1 row, got {batch_rows}")
        rows = range(batch_rows) if host_rows is None else host_rows
        if any(not 0 <= row < batch_rows for row in rows):
            raise ValueError(f"host_rows {list(rows)} are not rows of a batch of {batch_rows}")
        if store.longest - 1 > max_length:
            raise UserError(
                f"the store {store.folder} has sequences of up to {store.longest} tokens, but rows have only "
                f"{max_length} positions; prepare it with this MAX_LENGTH or train with a larger one"
            )
        self.store = store
        self.batch_rows = batch_rows
        self.max_length = max_length
        self.seed = seed
        self.epochs = epochs
        self._steps = steps
        self._host_rows = np.asarray(rows, np.int64)
        self._epoch_examples = epoch_examples
        self._window = window
        self._max_segments = max_segments
        grouped = bool(store.tasks_with_documents())
        # Slots for documents of a row; None: the store has no documents of queries.
        self.document_slots = (max_segments or packing.default_segments(max_length)) if grouped else None
        self._first_steps = [0]  # first step of epochs 0, 1, ... as far as they are planned
        self._planned: OrderedDict[int, _Epoch] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def total_steps(self) -> int | None:
        """Steps of the run; None if it is infinite. With `epochs`, this plans all of them."""
        if self.epochs is None:
            return self._steps
        self.steps_per_epoch(self.epochs - 1)
        return self._first_steps[self.epochs]

    def steps_per_epoch(self, epoch: int) -> int:
        """Steps of an epoch: its rows divided by the rows of a batch, rounded up."""
        if epoch < 0:
            raise ValueError(f"epoch {epoch} is negative")
        while len(self._first_steps) <= epoch + 1:
            self._epoch(len(self._first_steps) - 1)
        return self._first_steps[epoch + 1] - self._first_steps[epoch]

    def rows(self, epoch: int) -> packing.Plan:
        """The sequences of each row of an epoch."""
        self.steps_per_epoch(epoch)
        return self._epoch(epoch).rows

    def epoch_of(self, step: int) -> int:
        """The epoch of a step. Plans epochs only up to it."""
        return self._locate(step)[0]

    def batch(self, step: int) -> Batch:
        """The rows of this host, with T5X's names; int32 [rows, max_length] unless noted.

        decoder_input_tokens, decoder_target_tokens, decoder_segment_ids, decoder_positions;
        decoder_loss_weights (float32); decoder_loss_positions [rows, K], where K is one of a few sizes and
        the same for all rows of the global batch. With documents of queries also decoder_document_positions,
        decoder_document_groups, decoder_document_grades and decoder_document_teacher (the last two float32),
        [rows, document_slots].

        A row without sequences (at the end of an epoch) is all zeros: no segment, no weight.
        """
        epoch, rows = self._rows(step)
        length, count = self.max_length, len(self._host_rows)
        slots = self._slots(int(epoch.row_targets[rows].max(initial=0)))
        inputs, targets, segments, positions = (np.zeros((count, length), np.int32) for _ in range(4))
        weights = np.zeros((count, length), np.float32)
        for r, number in enumerate(self._host_rows.tolist()):
            if number >= len(rows):  # the end of an epoch
                continue
            start = 0
            for segment, example in enumerate(epoch.rows[rows[number]].tolist(), 1):
                sequence = self.store.tokens(*epoch.draws[example].tolist())
                end = start + len(sequence) - 1
                inputs[r, start:end] = sequence[:-1]
                targets[r, start:end] = sequence[1:]
                weights[r, end - epoch.targets[example] : end] = 1.0
                segments[r, start:end] = segment
                positions[r, start:end] = np.arange(end - start)
                start = end
        return {
            "decoder_input_tokens": inputs,
            "decoder_target_tokens": targets,
            "decoder_loss_weights": weights,
            "decoder_segment_ids": segments,
            "decoder_positions": positions,
            "decoder_loss_positions": _loss_positions(weights, slots),
        } | self._documents(epoch, rows)

    def _documents(self, epoch: _Epoch, rows: np.ndarray) -> Batch:
        """The arrays about documents of queries; none without them."""
        if epoch.answers is None or self.document_slots is None:
            return {}
        members = [
            epoch.rows[rows[number]] if number < len(rows) else np.zeros(0, np.int64)
            for number in self._host_rows.tolist()
        ]
        return batch_arrays(
            epoch.answers,
            epoch.examples,
            epoch.lengths,
            members,
            length=self.max_length,
            slots=self.document_slots,
        )

    def statistics(self, step: int) -> dict[str, Any]:
        """Statistics of the global batch of a step, from the plan alone (reads no tokens).

        examples, rows (with at least one example), real_tokens, target_tokens, token_pairs (a token and one
        it attends to), density (share of positions with a real token), loss_positions (K), epoch, and
        task_tokens: task -> share of the real tokens.
        """
        epoch, rows = self._rows(step)
        examples = np.concatenate([epoch.rows[row] for row in rows])
        lengths = epoch.lengths[examples]
        by_task = np.bincount(epoch.draws[examples, 0], weights=lengths, minlength=len(self.store.tasks))
        real = int(lengths.sum())
        return {
            "examples": len(np.unique(epoch.examples[examples])),
            "rows": len(rows),
            "real_tokens": real,
            "target_tokens": int(epoch.targets[examples].sum()),
            "token_pairs": int((lengths * (lengths + 1) // 2).sum()),
            "density": real / (self.batch_rows * self.max_length),
            "loss_positions": self._slots(int(epoch.row_targets[rows].max(initial=0))),
            "epoch": self.epoch_of(step),
            "task_tokens": {
                task: float(tokens) / real
                for task, tokens in zip(self.store.tasks, by_task, strict=True)
                if tokens
            },
        }

    def example_ids(self, step: int) -> list[list[str]]:
        """The sequences of each row of the global batch as task:example_id, for diagnostics."""
        epoch, rows = self._rows(step)
        named: list[list[str]] = [[] for _ in range(self.batch_rows)]
        for r, row in enumerate(rows):
            for task, pass_, index in epoch.draws[epoch.rows[row]].tolist():
                named[r].append(f"{self.store.tasks[task]}:{self.store.example_id(task, pass_, index)}")
        return named

    def row_tasks(self, step: int) -> list[list[tuple[str, int]]]:
        """(task, target tokens) of every segment of each row of the global batch, in order."""
        epoch, rows = self._rows(step)
        named: list[list[tuple[str, int]]] = [[] for _ in range(self.batch_rows)]
        for r, row in enumerate(rows):
            members = epoch.rows[row]
            tasks, targets = epoch.draws[members, 0].tolist(), epoch.targets[members].tolist()
            named[r] = [(self.store.tasks[task], count) for task, count in zip(tasks, targets, strict=True)]
        return named

    def iterate(self, start_step: int = 0, *, prefetch: int = 4) -> Iterator[Batch]:
        """The batches from `start_step` to the end of the run, built ahead in a thread.

        Args:
          start_step: step of the first batch, which equals ``batch(start_step)``.
          prefetch: batches built ahead; 0 builds each on demand.
        """
        if prefetch < 1:
            step = start_step
            while not self._ended(step):
                yield self.batch(step)
                step += 1
            return
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(prefetch)
        stop = threading.Event()

        def deliver(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def build() -> None:
            step = start_step
            try:
                while not stop.is_set() and not self._ended(step):
                    deliver(self.batch(step))
                    step += 1
                deliver(None)
            except BaseException as error:  # passed to the consumer, which raises it
                deliver(error)

        thread = threading.Thread(target=build, name="packed-batches", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _ended(self, step: int) -> bool:
        if self.epochs is None:
            return self._steps is not None and step >= self._steps
        return self.epoch_of(step) >= self.epochs

    def _locate(self, step: int) -> tuple[int, int]:
        """(epoch, index of the step within it)."""
        if step < 0:
            raise ValueError(f"step {step} is negative")
        while self._first_steps[-1] <= step and len(self._first_steps) - 1 != self.epochs:
            self._epoch(len(self._first_steps) - 1)
        epoch = bisect_right(self._first_steps, step) - 1
        return epoch, step - self._first_steps[epoch]

    def _rows(self, step: int) -> tuple[_Epoch, np.ndarray]:
        """The plan of a step's epoch and the step's rows in it (fewer at the end of the epoch)."""
        number, within = self._locate(step)
        if number == self.epochs:
            raise ValueError(f"step {step} is after the last step of {self.epochs} epochs")
        epoch = self._epoch(number)
        first = within * self.batch_rows
        return epoch, np.arange(first, min(first + self.batch_rows, len(epoch.rows)))

    def _slots(self, targets: int) -> int:
        """K: the smallest power of two that is at least `targets` and 32, and at most `max_length`."""
        slots = _SMALLEST_SLOTS
        while slots < targets:
            slots *= 2
        return min(slots, self.max_length)

    def _epoch(self, number: int) -> _Epoch:
        """The plan of an epoch; the two most recently used ones are cached."""
        with self._lock:
            if number in self._planned:
                self._planned.move_to_end(number)
                return self._planned[number]
            epoch = self._plan(number)
            self._planned[number] = epoch
            if len(self._planned) > 2:
                self._planned.popitem(last=False)
            if number == len(self._first_steps) - 1:
                self._first_steps.append(self._first_steps[number] - (-len(epoch.rows) // self.batch_rows))
            return epoch

    def _plan(self, number: int) -> _Epoch:
        drawn = mixing.draw(self.store, self.seed, number, self._epoch_examples)
        draws, sizes = mixing.sequences(self.store, drawn)
        lengths, starts = np.zeros(len(draws), np.int64), np.zeros(len(draws), np.int64)
        answers = None if self.document_slots is None else Answers.none_of(len(draws))
        passes = draws[:, 0] * (1 << 32) + draws[:, 1]
        for key in np.unique(passes).tolist():
            chosen = passes == key
            task, pass_ = divmod(key, 1 << 32)
            lengths[chosen] = self.store.lengths(task, pass_)[draws[chosen, 2]]
            starts[chosen] = self.store.target_starts(task, pass_)[draws[chosen, 2]]
            documents = self.store.documents(task, pass_)
            if documents is not None and answers is not None:
                common = self.store.manifest["judgment"]["common"]
                answers.positions[chosen] = starts[chosen] - 1 + common
                answers.grades[chosen] = documents.grades[draws[chosen, 2]]
                if documents.teacher is not None:
                    answers.teacher[chosen] = documents.teacher[draws[chosen, 2]]
        taken, targets = lengths - 1, lengths - starts
        if answers is not None and self.document_slots is not None:
            asked = answers.positions >= 0
            targets[asked] = 0
            # Counted as at least their share of a row, documents never exceed its slots.
            taken[asked] = np.maximum(taken[asked], -(-self.max_length // self.document_slots))
        first = np.cumsum(sizes) - sizes
        by_example = np.add.reduceat(taken, first)
        if answers is not None and by_example.max() > self.max_length:
            query = int(np.argmax(by_example))
            raise UserError(
                f"the store {self.store.folder} has queries whose documents do not fit a row together: those "
                f"of {self.store.example_id(*draws[first[query]].tolist())} and after it take "
                f"{by_example[query]} of {self.max_length} positions; prepare it with this MAX_LENGTH"
            )
        plan = packing.plan(by_example, self.max_length, self.seed, number, self._window, self._max_segments)
        rows = plan.expanded(sizes)
        examples = np.repeat(np.arange(len(drawn)), sizes)
        return _Epoch(draws, examples, lengths - 1, targets, answers, rows, rows.totals(targets))


def _loss_positions(weights: np.ndarray, slots: int) -> np.ndarray:
    """Positions with positive weight, in order, padded with the row length: int32 [rows, slots].

        weights     0 0 1 1 0 1      slots 4      ->      2 3 5 6

    >>> _loss_positions(np.array([[0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1]], np.float32), 4)
    array([[2, 3, 5, 6],
           [5, 6, 6, 6]], dtype=int32)
    """
    positions = np.full((len(weights), slots), weights.shape[1], np.int32)
    rows, columns = np.nonzero(weights)
    counts = np.bincount(rows, minlength=len(weights))
    first = np.cumsum(counts) - counts
    positions[rows, np.arange(len(rows)) - first[rows]] = columns
    return positions
