"""Reads the results of dispatched steps, checks them, and sums them up into the records of a run."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from inters_jax.training.metrics import Window
from inters_jax.training.schedule import Schedule
from inters_jax.training.step import StepMetrics
from inters_jax.training.utilisation import Utilisation
from seqio_tasks.base import UserError, write_text


class Batches(Protocol):
    """What training needs of `inters_jax.data.loader.PackedBatches`."""

    batch_rows: int

    def iterate(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]: ...

    def statistics(self, step: int) -> dict[str, Any]: ...

    def example_ids(self, step: int) -> list[list[str]]: ...

    def row_tasks(self, step: int) -> list[list[tuple[str, int]]]: ...


class Reader:
    """Reads the results of dispatched steps in order.

    Devices never wait for the host: the results of a step are read while later steps are already queued.

    Args:
        batches: the data.
        model_dir: run folder, where reports on non-finite steps are written.
        schedule: learning rate of step 0, 1, ...
        utilisation: model FLOPs of a step and the peak of the devices; None: records have no MFU.
        skip_non_finite: abort after this many consecutive non-finite steps; 0 aborts on the first.
        announce: called with a line of text for every skipped step.
        ranking_weight: of the ranking loss, in runs with one.
    """

    def __init__(
        self,
        batches: Batches,
        model_dir: Path,
        *,
        schedule: Schedule,
        utilisation: Utilisation | None = None,
        skip_non_finite: int = 0,
        announce: Callable[[str], None] = lambda line: None,
        ranking_weight: float = 1.0,
    ) -> None:
        self._batches = batches
        self._model_dir = model_dir
        self._schedule = schedule
        self._utilisation = utilisation
        self._limit = max(skip_non_finite, 1)
        self._announce = announce
        self._ranking_weight = ranking_weight
        self._window = Window()
        self._queued: deque[tuple[int, StepMetrics]] = deque()
        self._newest = -1  # the last step that was read
        self._consecutive = self._skipped = 0
        self._loss = self._targets = self._norm = 0.0
        self._ranking: list[float] | None = None  # summed ranking loss and its terms, in runs with one
        self._steps = 0

    def timed(self, stream: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        """The batches of `stream`; records say which share of the time was spent waiting for them."""
        while True:
            started = time.perf_counter()
            batch = next(stream, None)
            self._window.add_wait(time.perf_counter() - started)
            if batch is None:
                return
            yield batch

    def queue(self, number: int, metrics: StepMetrics) -> None:
        """Step `number`, counted from 0, was dispatched."""
        self._queued.append((number, metrics))

    def read(self, leave: int = 0) -> None:
        """Wait for all dispatched steps but the newest `leave`, and check them.

        Raises:
            UserError: too many consecutive steps were not finite.
        """
        while len(self._queued) > leave:
            number, metrics = self._queued.popleft()
            self._newest = number
            loss, norm, targets = map(float, jax.device_get(metrics[:3]))
            statistics = self._batches.statistics(number)
            flops = 0.0 if self._utilisation is None else self._utilisation.flops(statistics)
            self._window.add(statistics, flops)
            ranking = None if metrics.ranking is None else [*map(float, jax.device_get(metrics.ranking))]
            total = loss if ranking is None else loss + self._ranking_weight * ranking[0]
            if not (math.isfinite(total) and math.isfinite(norm)):
                self._skip(self._explain(number, total, norm, metrics))
                continue
            self._consecutive = 0
            self._loss += loss * targets
            self._targets += targets
            self._norm += norm
            self._steps += 1
            if ranking is not None:
                mean, terms = ranking
                sums = self._ranking or [0.0, 0.0]
                self._ranking = [sums[0] + mean * terms, sums[1] + terms]
                if not statistics["target_tokens"]:  # a batch of documents alone counts as one token
                    self._targets -= targets
            if metrics.token_losses is not None:
                self._add_task_losses(number, np.asarray(jax.device_get(metrics.token_losses)))

    def _add_task_losses(self, number: int, losses: np.ndarray) -> None:
        """Split the losses [rows, K] by task: they are in the order of the segments of each row."""
        for row, segments in zip(losses, self._batches.row_tasks(number), strict=True):
            start = 0
            for task, targets in segments:
                self._window.add_task_loss(task, float(row[start : start + targets].sum()), targets)
                start += targets

    def restart_clock(self) -> None:
        """Leave the time so far out of the rates of the next record: it held a compilation or evaluation."""
        if self._utilisation is not None:
            _ = self._utilisation.peak  # measured here on a CPU, not within the time of a record
        self._window.restart_clock()

    def so_far(self) -> tuple[int, float, float | None] | None:
        """Steps done, mean loss and seconds per step since the last record; None: no step since it."""
        if not self._steps:
            return None
        return self._newest + 1, self._losses()["loss"], self._window.seconds_per_step()

    def _losses(self) -> dict[str, float]:
        """The mean loss; with a ranking loss also those of its two parts that these steps had."""
        language = self._loss / max(self._targets, 1.0)
        if self._ranking is None:
            return {"loss": language}
        total, terms = self._ranking
        ranking = total / max(terms, 1.0)
        parts = {"language_loss": language} if self._targets else {}
        parts |= {"ranking_loss": ranking} if terms else {}
        return {"loss": language + self._ranking_weight * ranking, **parts}

    def close(self) -> dict[str, Any]:
        """The record of the steps read since the last one.

        ``loss`` is the mean over the target tokens of these steps; skipped steps are not in it. With a
        ranking loss it is ``language_loss`` and the weighted ``ranking_loss``, a mean over its terms; a part
        that had no example is left out.
        """
        peak = None if self._utilisation is None else self._utilisation.peak
        learned = self._steps > 0
        record = {
            **(self._losses() if learned else {"loss": math.nan}),
            "grad_norm": self._norm / self._steps if learned else math.nan,
            "skipped_steps": self._skipped,
            **self._window.close(),
            "learning_rate": float(self._schedule(self._newest)),
            "epoch": self._batches.statistics(self._newest)["epoch"],
        }
        if peak:
            record["mfu"] = record["model_flops_per_second"] / peak
        self._loss = self._targets = self._norm = 0.0
        self._ranking = None
        self._steps = self._skipped = 0
        return record

    def _skip(self, explanation: str) -> None:
        self._consecutive += 1
        self._skipped += 1
        if self._consecutive < self._limit:
            self._announce(f"skipped {explanation}")
            return
        many = f"{self._consecutive} consecutive steps were not finite; the last: " if self._limit > 1 else ""
        raise UserError(
            f"{many}{explanation}. No checkpoint contains any of these steps; look at the examples, or lower "
            "LEARNING_RATE"
        )

    def _explain(self, number: int, loss: float, norm: float, metrics: StepMetrics) -> str:
        """Write the examples of a non-finite step to a file; returns what happened, in one sentence."""
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
        where_all = f"all in {file}"
        if jax.process_index() == 0:
            try:
                write_text(file, json.dumps(report, indent=1, ensure_ascii=False))
            except OSError as error:  # the report does not end a run that goes on
                where_all = f"{file} could not be written: {error.strerror or error}"
        more = f" and {len(suspects) - 10} more" if len(suspects) > 10 else ""
        return (
            f"step {number + 1}: loss {loss}, gradient norm {norm}; {where}. "
            f"Examples: {', '.join(suspects[:10])}{more} ({where_all})"
        )
