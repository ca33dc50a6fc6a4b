"""The training loop: batches in, steps dispatched, results read behind them, hooks called.

Steps are dispatched ahead of their results: the results of a step are read when the next ones are already
queued, so the devices never wait for the host. Before a hook saves, logs or evaluates, everything queued is
read and checked.

A step whose loss or gradient is not finite changes no parameter (`inters_jax.training.step`). Such steps are
logged and counted, and their examples are saved; too many consecutive ones abort the run (`reader.Reader`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jax.sharding import Mesh

from inters_jax import mesh as meshes
from inters_jax.training.hooks import Hook, StepEnd
from inters_jax.training.reader import Batches, Reader
from inters_jax.training.signals import StopSignals
from inters_jax.training.step import Batch, StepMetrics, TrainState

# Steps that may be queued on the devices before the host reads the results of the oldest.
AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    state: TrainState
    step: int
    stopped_by: str | None  # name of the signal or EARLY_STOP; None when all steps were done
    record: dict[str, Any]  # the last one


def run_training(
    state: TrainState,
    *,
    train_step: Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]],
    batches: Batches,
    mesh: Mesh,
    total_steps: int,
    reader: Reader,
    hooks: Sequence[Hook],
) -> Outcome:
    """Train from the step of `state` to `total_steps`, or until a signal or a hook stops the run.

    Args:
        state: consumed; its step is the number of the next batch.
        train_step: from `make_train_step`.
        batches: the data; a pure function of the step.
        mesh: where batches are placed.
        total_steps: length of the whole run.
        reader: checks the results of the steps and sums them up.
        hooks: what else happens, in this order (`inters_jax.training.hooks`).

    Raises:
        UserError: too many consecutive steps were not finite.
    """
    step = start = int(state.step)
    stopped_by = None
    record: dict[str, Any] = {}
    with StopSignals() as signals, contextlib.closing(batches.iterate(start)) as stream:  # type: ignore[type-var]
        for batch in reader.timed(stream):
            for hook in hooks:
                hook.before_step(step + 1, reader)
            state, metrics = train_step(state, meshes.to_devices(mesh, batch, batches.batch_rows))
            reader.queue(step, metrics)
            step += 1
            for hook in hooks:
                hook.dispatched(step)
            end = StepEnd(step, total_steps, step == start + 1, state, reader, signals.received(step))
            due = [hook for hook in hooks if hook.due(end)]
            reader.read(leave=0 if due else AHEAD)
            if any(hook.needs_record(end) for hook in due):
                end.record = record = reader.close()
            for hook in hooks:
                if hook.due(end):  # a hook may have made others due
                    hook.after_step(end)
            if end.last:
                stopped_by = end.stopped_by
                break
    for hook in hooks:
        hook.finish()
    return Outcome(state, step, stopped_by, record)
