"""The records of a run: sums over a window of steps, JSON lines, and TensorBoard events.

A record covers the steps since the last one. Rates count real tokens only, not padding.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax import paths
from seqio_tasks.base import UserError, write_text

METRICS_FILE = "metrics.jsonl"
log = logging.getLogger(__name__)

COUNTED = ("examples", "real_tokens", "target_tokens")  # of the statistics of a batch


class Window:
    """Sums over the steps since the last record; `close` turns them into a record.

    Args:
        clock: returns seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self._restart()

    def _restart(self) -> None:
        self._counts = dict.fromkeys((*COUNTED, "steps", "model_flops"), 0.0)
        self._untimed = dict(self._counts)
        self._density = 0.0
        self._task_tokens: dict[str, float] = {}
        self._task_losses: dict[str, list[float]] = {}
        self._waited = 0.0

    def add_wait(self, seconds: float) -> None:
        """Count time spent waiting for a batch."""
        self._waited += seconds

    def add_task_loss(self, task: str, loss: float, targets: int) -> None:
        """Count the summed loss of the target tokens of a task."""
        sums = self._task_losses.setdefault(task, [0.0, 0.0])
        sums[0] += loss
        sums[1] += targets

    def add(self, statistics: Mapping[str, Any], model_flops: float = 0.0) -> None:
        """Count a step by the statistics of its batch (`PackedBatches.statistics`)."""
        self._counts["steps"] += 1
        self._counts["model_flops"] += model_flops
        for name in COUNTED:
            self._counts[name] += statistics[name]
        self._density += statistics["density"]
        for task, share in statistics.get("task_tokens", {}).items():
            self._task_tokens[task] = self._task_tokens.get(task, 0.0) + share * statistics["real_tokens"]

    def restart_clock(self) -> None:
        """Leave the time and steps so far out of the rates, but not out of the counts."""
        self._started = self._clock()
        self._untimed = dict(self._counts)
        self._waited = 0.0

    def seconds_per_step(self) -> float | None:
        """The wall-clock time of a step so far; None before the first one that is timed."""
        steps = self._counts["steps"] - self._untimed["steps"]
        return (self._clock() - self._started) / steps if steps else None

    def close(self) -> dict[str, Any]:
        """The figures of the window; the next window starts now.

        ``seconds_per_step`` and the rates are wall-clock, including waits for data and checkpoints.
        """
        now = self._clock()
        seconds = max(now - self._started, 1e-9)
        timed = {name: count - self._untimed[name] for name, count in self._counts.items()}
        total = sum(self._task_tokens.values())
        record = {
            "seconds_per_step": seconds / max(timed["steps"], 1),
            "tokens_per_second": timed["real_tokens"] / seconds,
            "target_tokens_per_second": timed["target_tokens"] / seconds,
            "examples_per_second": timed["examples"] / seconds,
            "density": self._density / max(self._counts["steps"], 1),
            "examples": int(self._counts["examples"]),
            "input_wait": min(self._waited / seconds, 1.0),
            "model_flops_per_second": timed["model_flops"] / seconds,
            "task_tokens": {task: tokens / total for task, tokens in self._task_tokens.items()},
            "task_loss": {task: loss / count for task, (loss, count) in self._task_losses.items() if count},
        }
        self._started = now
        self._restart()
        return record


class MetricWriter:
    """Appends records to ``metrics.jsonl`` and to TensorBoard event files in ``<folder>/tensorboard``.

    Nothing here stops or delays a run. A failure is logged once; lines of ``metrics.jsonl`` that could not be
    written (a full disk) are kept and written with a later record, and events and trackers are given up.

    Args:
        folder: run folder.
        resume_step: later records, left by a run that was interrupted, are removed, so that every step
            appears once.
        tensorboard: whether to write event files.
        trackers: also get the records, through `write(step, record)` and `close()`, each in a thread.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        resume_step: int = 0,
        tensorboard: bool = True,
        trackers: Sequence[Any] = (),
    ) -> None:
        self.file = Path(folder) / METRICS_FILE
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._remove_after(resume_step)
        self._stream = self.file.open("ab", buffering=0)
        self._pending = b""  # of the file: what could not be written yet
        self._complained = False
        self._resume_step = resume_step
        self._tensorboard = tensorboard
        self._events: EventFile | None = None
        self._trackers = [InBackground(tracker) for tracker in trackers]

    def _remove_after(self, step: int) -> None:
        if not self.file.exists():
            return
        lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if line.endswith("\n") and not math.isfinite(_step_of(line)):
                raise UserError(
                    f"{self.file}:{number}: not a record of a run, and later records would be removed; "
                    "choose another MODEL_DIR, or move the file"
                )
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) != len(lines):
            write_text(self.file, "".join(kept))

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Append a record, on disk when this returns; nested names are joined by slashes in TensorBoard."""
        line = {"step": step, **{name: jsonable(value) for name, value in record.items()}}
        self._pending += (json.dumps(line, allow_nan=False) + "\n").encode()
        self._write_pending()
        if self._tensorboard:
            try:
                self._events = self._events or EventFile(self.file.parent / "tensorboard", self._resume_step)
                self._events.write(step, flat_scalars(record))
            except Exception as error:  # a full disk, or a package that does not fit
                self._tensorboard = False
                log.warning("no more TensorBoard events in this run: %s", error)
        for tracker in self._trackers:
            tracker.write(step, record)
        paths.push_soon(self.file.parent)

    def _write_pending(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[self._stream.write(self._pending) or 0 :]
        except OSError as error:
            if not self._complained:
                log.warning("%s: %s; its records are written later, if that is possible", self.file, error)
            self._complained = True
            return
        if self._complained:
            log.warning("%s: its records are written again", self.file)
        self._complained = False

    def close(self) -> None:
        """Write what is left and close the files; waits for trackers, but not forever."""
        self._write_pending()
        with contextlib.suppress(OSError):
            self._stream.close()
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
        for tracker in self._trackers:
            tracker.close()


class EventFile:
    """A TensorBoard event file, written in the calling thread.

    The writers of tensorboardX hand events to a thread; when it dies of a full disk, the next ones wait for
    it without end.

    Args:
        folder: where the file is created.
        resume_step: TensorBoard drops later events of earlier files.
    """

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        # Imported for the first record: tensorboardX imports torch if installed, which takes a second.
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        self._event, self._scalar = Event, summary.scalar
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter(str(folder / name))
        self._add(file_version="brain.Event:2")
        if resume_step:
            self._add(step=resume_step + 1, session_log=SessionLog(status=SessionLog.START))
        self._records.flush()

    def write(self, step: int, scalars: Iterable[tuple[str, float]]) -> None:
        """Append numbers; they are on disk when this returns."""
        for name, value in scalars:
            self._add(step=step, summary=self._scalar(name, value))
        self._records.flush()

    def _add(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())

    def close(self) -> None:
        """Close the file."""
        self._records.close()


class InBackground:
    """A tracker in a thread of its own: what it raises is logged once, and a hanging one is given up.

    Args:
        tracker: has `write(step, record)` and `close()`.
        waiting: most records that may wait for it.
        patience: seconds that `close` waits for it.
    """

    def __init__(self, tracker: Any, *, waiting: int = 1000, patience: float = 60.0) -> None:
        self._tracker = tracker
        self._queue: queue.Queue[tuple[int, Mapping[str, Any]] | None] = queue.Queue(waiting)
        self._patience = patience
        self._given_up = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="tracker")
        self._thread.start()

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._tracker.write(*item)
            self._tracker.close()
        except Exception as error:  # a tracker of another package raises anything
            self._give_up(str(error) or type(error).__name__)

    def _give_up(self, reason: str) -> None:
        if not self._given_up:
            self._given_up = True
            log.warning("no more records for %s in this run: %s", type(self._tracker).__name__, reason)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Pass a record on; returns at once."""
        if self._given_up:
            return
        try:
            self._queue.put_nowait((step, dict(record)))
        except queue.Full:
            self._give_up("it does not respond")

    def close(self) -> None:
        """Let the tracker finish, for a while."""
        if self._given_up:
            return
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._give_up("it does not respond")
            return
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._give_up(f"it did not finish within {self._patience:.0f} s")


def _step_of(line: str) -> float:
    """The step of a line; infinite for the incomplete last line of a killed process."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf


def jsonable(value: Any) -> Any:
    """A value that strict JSON can hold: inf and nan become strings.

    >>> jsonable({"loss": float("nan"), "lr": 1e-05})
    {'loss': 'nan', 'lr': 1e-05}
    """
    if isinstance(value, Mapping):
        return {name: jsonable(inner) for name, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def flat_scalars(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """The numbers of a record; nested names are joined by slashes."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flat_scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """The records of a run, in order."""
    text = (Path(folder) / METRICS_FILE).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
