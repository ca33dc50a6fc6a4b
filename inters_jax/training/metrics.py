"""The records of a run: sums over a window of steps, JSON lines, and TensorBoard events.

A record covers the steps since the last one. Rates count real tokens only, not padding.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax import paths
from inters_jax.training import faults
from seqio_tasks.base import UserError, write_text

METRICS_FILE = "metrics.jsonl"
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

    Args:
        folder: run folder.
        resume_step: later records, left by a run that was interrupted, are removed, so that every step
            appears once.
        tensorboard: whether to write event files.
        trackers: also get the records, through `write(step, record)` and `close()`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        resume_step: int = 0,
        tensorboard: bool = True,
        trackers: Sequence[Any] = (),
    ) -> None:
        self._trackers = trackers
        self.file = Path(folder) / METRICS_FILE
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._remove_after(resume_step)
        self._stream = self.file.open("a", encoding="utf-8")
        self._resume_step = resume_step
        self._tensorboard = tensorboard
        self._events: Any = None
        self._failed = False  # whether a write error has been raised already

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
        try:
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")
            self._stream.flush()
            if self._tensorboard:
                self._events = self._events or self._open_events()
                for name, value in flat_scalars(record):
                    self._events.add_scalar(name, value, step)
            for tracker in self._trackers:
                tracker.write(step, record)
            paths.push_soon(self.file.parent)
        except OSError as error:
            self._failed = True
            if faults.is_disk_full(error):
                raise faults.disk_full(str(self.file.name), self.file.parent) from error
            raise

    def _open_events(self) -> Any:
        # Imported for the first record: tensorboardX imports torch if installed, which takes a second.
        from tensorboardX import SummaryWriter

        purge = self._resume_step + 1 if self._resume_step else None
        return SummaryWriter(str(self.file.parent / "tensorboard"), purge_step=purge)

    def close(self) -> None:
        """Flush and close the files."""
        with contextlib.suppress(OSError) if self._failed else contextlib.nullcontext():
            self._stream.close()
            if self._events is not None:
                self._events.close()
        for tracker in self._trackers:
            tracker.close()


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
