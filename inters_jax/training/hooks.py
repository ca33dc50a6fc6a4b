"""What a run does beside its steps, each as a hook with an interval: reporting, saving, evaluating, tracing.

The loop calls hooks in the order of its list; a hook sees what those before it did to the `StepEnd`:

    CompileAhead   dispatched                           compiling.py
    Profiler       before and after the traced steps    profiling.py
    FirstStep      once
    Evaluation     every EVAL_EVERY                     in_run_evaluation.py
    Report         every LOG_EVERY; a line also after the first step, and after 30 seconds without one
    Save           every CHECKPOINT_EVERY               saving.py
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

from inters_jax.training.metrics import MetricWriter
from inters_jax.training.progress import Progress, seconds_since_process_start
from inters_jax.training.reader import Reader
from inters_jax.training.step import TrainState

SILENCE = 30.0  # seconds after which a line is shown between two records


@dataclasses.dataclass
class StepEnd:
    """The end of a step; hooks read it, add to the record, and may stop the run."""

    step: int  # steps done
    total: int
    first: bool  # the first step of this process
    state: TrainState
    reader: Reader
    stopped_by: str | None = None  # why the run ends before `total`
    record: dict[str, Any] | None = None  # of the steps since the last record; None: no hook needs one
    evaluated: bool = False

    @property
    def last(self) -> bool:
        """Whether the run ends here."""
        return self.step >= self.total or self.stopped_by is not None


class Hook:
    """Does something at some steps of a run; this one does nothing.

    every: steps between calls of `after_step`, which is also called at the last step; None: no calls.
    """

    every: int | None = None

    def before_step(self, step: int, reader: Reader) -> None:
        """Step `step`, counted from 1, is about to be dispatched."""

    def dispatched(self, step: int) -> None:
        """Step `step`, counted from 1, was handed to the devices, which may not have begun it."""

    def due(self, end: StepEnd) -> bool:
        """Whether `after_step` is called; then all steps so far are finished and checked before."""
        return self.every is not None and (end.last or end.step % self.every == 0)

    def needs_record(self, end: StepEnd) -> bool:
        """Whether `end` must have a record when the hook is due; the same on all hosts."""
        return False

    def after_step(self, end: StepEnd) -> None:
        """The hook is due."""

    def finish(self) -> None:
        """The run ended without an error."""


class FirstStep(Hook):
    """Reports the time to the first step, and keeps its compilation out of the rates.

    Args:
        announce: called with a line of text.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._seconds: float | None = None  # until a record has it

    def due(self, end: StepEnd) -> bool:
        """At the first step, and at the first record."""
        return end.first or (self._seconds is not None and end.record is not None)

    def after_step(self, end: StepEnd) -> None:
        """Announce the time, and add it to the first record."""
        if end.first:
            self._seconds = seconds_since_process_start()
            self._announce(f"first step finished {self._seconds:.1f} s after the start of the process")
            end.reader.restart_clock()
        if end.record is not None:
            end.record["seconds_to_first_step"] = self._seconds
            self._seconds = None


class Report(Hook):
    """Shows the progress of a run and writes its records.

    Args:
        every: steps between records; a record that another hook needs is reported as well.
        progress: the bar and the lines.
        writer: files and trackers; None on all hosts but the first.
        clock: returns seconds; tests pass their own.
    """

    def __init__(
        self,
        every: int,
        progress: Progress,
        writer: MetricWriter | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every = every
        self._progress = progress
        self._writer = writer
        self._clock = clock
        self._shown = -math.inf  # when a line was

    def before_step(self, step: int, reader: Reader) -> None:
        """Show a line without a record, of what is read already, if there was none for a while."""
        if self._clock() - self._shown >= SILENCE and (far := reader.so_far()) is not None:
            self._shown = self._clock()
            self._progress.so_far(*far)

    def dispatched(self, step: int) -> None:
        """Move the bar."""
        self._progress.step()

    def due(self, end: StepEnd) -> bool:
        """Whether there is a record, or ought to be one."""
        return end.record is not None or super().due(end)

    def needs_record(self, end: StepEnd) -> bool:
        """Always."""
        return True

    def after_step(self, end: StepEnd) -> None:
        """Show and write the record."""
        assert end.record is not None
        self._shown = self._clock()
        self._progress.record(end.step, end.record)
        if self._writer is not None:
            self._writer.write(end.step, end.record)
