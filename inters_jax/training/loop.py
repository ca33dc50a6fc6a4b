"""The loop: batches in, steps dispatched, figures out, checkpoints behind, and an orderly end in every case.

Steps are dispatched ahead of their results: the figures of a step are read when the next ones are already
queued, so the devices never wait for the host. Before anything is saved, logged or ended, everything queued
is read and checked.

A step whose loss or gradient is not finite changes no parameter (`inters_jax.training.step`). Such steps are
told, counted and their examples saved; so many in a row as `skip_non_finite` says end the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from inters_jax import mesh as meshes
from inters_jax.training.checkpoints import Checkpoints
from inters_jax.training.in_run_evaluation import PREFIX, Evaluation
from inters_jax.training.metrics import MetricWriter, Window
from inters_jax.training.profiling import Profiler
from inters_jax.training.progress import Progress, seconds_since_process_start
from inters_jax.training.step import Batch, StepMetrics, TrainState
from inters_jax.training.utilisation import Utilisation
from seqio_tasks.base import UserError, write_text

# Steps that may be queued on the devices before the host reads the figures of the oldest.
AHEAD = 2

# How many steps before its turn a batch is looked at: time to compile a program for it in the background.
LOOK_AHEAD = 16


# Why a run ended whose evaluations brought nothing better.
EARLY_STOP = "EARLY_STOP"


class Batches(Protocol):
    """What the loop needs of `inters_jax.data.loader.PackedBatches`."""

    batch_rows: int

    def iterate(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]: ...

    def statistics(self, step: int) -> dict[str, Any]: ...

    def example_ids(self, step: int) -> list[list[str]]: ...

    def row_tasks(self, step: int) -> list[list[tuple[str, int]]]: ...


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    state: TrainState
    step: int
    stopped_by: str | None  # name of the signal or EARLY_STOP, None when all steps were done
    record: dict[str, Any]  # the last line of the metrics


class StopSignals:
    """Inside the block SIGTERM and SIGINT ask for an orderly stop; a second SIGINT interrupts at once.

    With several hosts SIGTERM is left to JAX, whose preemption service agrees with all hosts on the step at
    which to stop; SIGINT is handed on to it.
    """

    def __init__(self) -> None:
        self._received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGTERM, signal.SIGINT]
            for number in numbers:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def received(self, step: int) -> str | None:
        """The signal that asks this step to be the last, the same on every host."""
        if jax.process_count() > 1:
            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(step) else None
        return self._received


class Reader:
    """Reads the figures of finished steps in order, checks them, and sums up a window.

    Args:
        batches: the data.
        model_dir: where the reports on steps that are not finite go.
        skip_non_finite: so many of them in a row are one too many; 0: already the first.
        tell: called with a line of text on every skipped step.
        flops: model FLOPs of a step by the statistics of its batch.
    """

    def __init__(
        self,
        batches: Batches,
        model_dir: Path,
        skip_non_finite: int = 0,
        tell: Callable[[str], None] = lambda line: None,
        flops: Callable[[Mapping[str, Any]], float] = lambda statistics: 0.0,
    ) -> None:
        self._flops = flops
        self._batches = batches
        self._model_dir = model_dir
        self._limit = max(skip_non_finite, 1)
        self._tell = tell
        self._in_a_row = self._skipped = 0
        self._queued: deque[tuple[int, StepMetrics]] = deque()
        self.window = Window()
        self._loss = self._targets = self._norm = 0.0
        self._steps = 0

    def queue(self, number: int, metrics: StepMetrics) -> None:
        """Step `number` (from 0) was dispatched."""
        self._queued.append((number, metrics))

    def read(self, leave: int) -> None:
        """Wait for all queued steps but the newest `leave`."""
        while len(self._queued) > leave:
            number, metrics = self._queued.popleft()
            loss, norm, targets = map(float, jax.device_get(metrics[:3]))
            statistics = self._batches.statistics(number)
            self.window.add(statistics, self._flops(statistics))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._skip(self._explain(number, loss, norm, metrics))
                continue
            self._in_a_row = 0
            self._loss += loss * targets
            self._targets += targets
            self._norm += norm
            self._steps += 1
            if metrics.token_losses is not None:
                self._by_task(number, np.asarray(jax.device_get(metrics.token_losses)))

    def _by_task(self, number: int, losses: np.ndarray) -> None:
        """Loss positions lie in the order of the segments: [rows, K] falls apart by their target counts."""
        for row, segments in zip(losses, self._batches.row_tasks(number), strict=True):
            start = 0
            for task, targets in segments:
                self.window.learn(task, float(row[start : start + targets].sum()), targets)
                start += targets

    def close(self) -> dict[str, Any]:
        """Mean loss per target token, mean gradient norm and the rates since the last call.

        Skipped steps are in no mean; when there is nothing else, the means are not a number.
        """
        learned = self._steps > 0
        record = {
            "loss": self._loss / max(self._targets, 1.0) if learned else math.nan,
            "grad_norm": self._norm / self._steps if learned else math.nan,
            "skipped_steps": self._skipped,
            **self.window.close(),
        }
        self._loss = self._targets = self._norm = 0.0
        self._steps = self._skipped = 0
        return record

    def _skip(self, explanation: str) -> None:
        self._in_a_row += 1
        self._skipped += 1
        if self._in_a_row < self._limit:
            self._tell(f"skipped {explanation}")
            return
        many = f"{self._in_a_row} steps in a row were not finite; the last: " if self._limit > 1 else ""
        raise UserError(
            f"{many}{explanation}. No checkpoint holds anything of it; look at these examples, or lower "
            "LEARNING_RATE"
        )

    def _explain(self, number: int, loss: float, norm: float, metrics: StepMetrics) -> str:
        """Write the examples of the batch to a file and say what happened."""
        by_row = np.asarray(jax.device_get(metrics.row_losses))
        examples = self._batches.example_ids(number)
        rows = np.flatnonzero(~np.isfinite(by_row)).tolist()
        suspects = [name for row in rows for name in examples[row]]
        where = (
            f"rows {', '.join(map(str, rows))} are not finite" if rows else "the loss of every row is finite"
        )
        suspects = suspects or [name for row in examples for name in row]
        file = self._model_dir / f"non_finite_step_{number + 1}.json"
        report = {
            "step": number + 1,
            "loss": str(loss),
            "grad_norm": str(norm),
            "row_losses": [str(value) for value in by_row.tolist()],
            "rows": rows,
            "example_ids": examples,
        }
        if jax.process_index() == 0:
            write_text(file, json.dumps(report, indent=1, ensure_ascii=False))
        more = f" and {len(suspects) - 10} more" if len(suspects) > 10 else ""
        return (
            f"step {number + 1}: loss {loss}, gradient norm {norm}; {where}. "
            f"Examples: {', '.join(suspects[:10])}{more} (all in {file})"
        )


def run_training(
    state: TrainState,
    *,
    train_step: Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]],
    batches: Batches,
    mesh: Mesh,
    schedule: Callable[[Any], Any],
    checkpoints: Checkpoints,
    writer: MetricWriter | None,
    progress: Progress,
    model_dir: Path,
    total_steps: int,
    checkpoint_every: int,
    log_every: int,
    skip_non_finite: int = 0,
    look_ahead: Callable[[int], object] = lambda number: None,
    utilisation: Utilisation | None = None,
    profiler: Profiler | None = None,
    evaluation: Evaluation | None = None,
) -> Outcome:
    """Train from the step of `state` to `total_steps`, or until a signal asks to stop.

    Args:
        state: consumed; its step is the number of the next batch.
        train_step: from `make_train_step`.
        batches: the data; a pure function of the step.
        mesh: where batches go.
        schedule: learning rate of step 0, 1, ..., for the record.
        checkpoints: saved every `checkpoint_every` steps, at the end, and on a signal.
        writer: records; None on all hosts but the first.
        progress: the bar and the lines.
        model_dir: where the report on a loss that is not finite goes.
        total_steps: length of the whole run.
        checkpoint_every: steps between checkpoints.
        log_every: steps between records.
        skip_non_finite: so many steps in a row that are not finite end the run; 0: already the first.
        look_ahead: called with the number of a batch `LOOK_AHEAD` steps before its turn, to compile for it.
        utilisation: model FLOPs and the peak of the devices; None: no such figure.
        profiler: traces of chosen steps.
        evaluation: evaluations of the state, and an early stop.
    """
    start = int(state.step)
    flops = utilisation.flops if utilisation is not None else lambda statistics: 0.0
    reader = Reader(batches, model_dir, skip_non_finite, progress.line, flops)
    keep = checkpoints.keep
    record: dict[str, Any] = {}
    extra: dict[str, float] = {}  # what only the first record says
    peak: float | None = None
    step, stopped_by = start, None
    with StopSignals() as signals, contextlib.closing(batches.iterate(start)) as stream:  # type: ignore[type-var]
        for host_batch in _waited_for(stream, reader):
            if profiler is not None and profiler.starts(step + 1):
                reader.read(leave=0)
                profiler.start()
            state, metrics = train_step(state, meshes.to_devices(mesh, host_batch, batches.batch_rows))
            reader.queue(step, metrics)
            if step + LOOK_AHEAD < total_steps:
                look_ahead(step + LOOK_AHEAD)
            step += 1
            stopped_by = signals.received(step)
            last = step >= total_steps or stopped_by is not None
            evaluates = (
                evaluation is not None and stopped_by is None and evaluation.schedule.due(step, total_steps)
            )
            saves = last or step % checkpoint_every == 0 or bool(keep.every and step % keep.every == 0)
            # A checkpoint that is to be compared needs figures of its own.
            logs = last or evaluates or step % log_every == 0 or (saves and keep.best is not None)
            reader.read(leave=0 if saves or logs or step == start + 1 else AHEAD)
            progress.step()
            if profiler is not None and profiler.ends(step):
                reader.read(leave=0)
                profiler.stop()
                progress.line(f"trace of the steps to {step} written to {profiler.folder}")
            if step == start + 1:
                elapsed = seconds_since_process_start()
                progress.line(f"first step finished {elapsed:.1f} s after the start of the process")
                extra["seconds_to_first_step"] = elapsed
                peak = utilisation.peak if utilisation is not None else None
            if logs:
                record = reader.close()
                record["learning_rate"] = float(schedule(step - 1))
                record["epoch"] = batches.statistics(step - 1)["epoch"]
                if peak:
                    record["mfu"] = record["model_flops_per_second"] / peak
                if evaluation is not None and evaluates:
                    record |= _evaluate(evaluation, state, progress)
                    reader.window.restart_clock()  # evaluation is no part of the pace either
                    if evaluation.exhausted and not last:
                        last, stopped_by = True, EARLY_STOP
                    # What may be the best has to be kept.
                    saves = saves or last or (keep.best is not None and keep.best.metric.startswith(PREFIX))
                progress.record(step, record)
                if writer is not None:
                    writer.write(step, record | extra)
                extra.clear()
                checkpoints.check()
            elif step == start + 1:
                reader.window.restart_clock()  # compilation is no part of the pace of the steps that follow
            if saves:
                checkpoints.save(state, metrics=record if logs else None)
            if last:
                break
    if profiler is not None:
        profiler.stop()
    checkpoints.wait()
    return Outcome(state, step, stopped_by, record)


def _waited_for(stream: Iterator[dict[str, np.ndarray]], reader: Reader) -> Iterator[dict[str, np.ndarray]]:
    """The batches; the time that each was waited for is counted."""
    while True:
        started = time.perf_counter()
        batch = next(stream, None)
        reader.window.wait(time.perf_counter() - started)
        if batch is None:
            return
        yield batch


def _evaluate(evaluation: Evaluation, state: TrainState, progress: Progress) -> dict[str, float]:
    started = time.perf_counter()
    figures = evaluation.run(state.params)
    means = "  ".join(f"{name.removeprefix(PREFIX)} {value:.4g}" for name, value in figures.items())
    progress.line(f"evaluated in {time.perf_counter() - started:.1f} s: {means}")
    return figures
