"""Learning-rate schedules: linear warm-up, then cosine, linear or constant."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqio_tasks.base import UserError

SCHEDULES = ("cosine", "linear", "constant")

Schedule = Callable[[Any], Any]  # step 0, 1, ... -> learning rate


def warmup_steps(total_steps: int, warmup: float) -> int:
    """Number of warm-up steps from a share of the run (below 1, rounded up) or a number of steps.

    >>> warmup_steps(1000, 0.03), warmup_steps(10, 0.03), warmup_steps(1000, 50), warmup_steps(1000, 0)
    (30, 1, 50, 0)

    Raises:
        UserError: the run is shorter than its warm-up.
    """
    if warmup > total_steps:
        raise UserError(
            f"WARMUP={warmup:g} steps, but the whole run has {total_steps}: the learning rate would never "
            "reach its peak. Set fewer, or a share of the run below 1"
        )
    # 0.03 * 1000 is 30.000000000000004 in some orders of evaluation: do not let it become 31.
    return int(warmup) if warmup >= 1 else ceil(round(warmup * total_steps, 6))


def learning_rate_schedule(
    peak: float, total_steps: int, *, schedule: str = "cosine", warmup: float = 0.03, floor: float = 0.1
) -> Schedule:
    """Learning rate of step 0, 1, ...: linear warm-up to `peak`, then down to `floor` * `peak`.

    The first step already learns (with `peak` / warm-up steps); the last step uses exactly the floor.

    Args:
        peak: highest learning rate.
        total_steps: optimiser steps of the whole run.
        schedule: "cosine", "linear", or "constant" for no decay.
        warmup: share of the steps (below 1) or number of steps.
        floor: last learning rate as a share of the peak.

    >>> rate = learning_rate_schedule(1.0, 7, warmup=2, floor=0.1)
    >>> [round(float(rate(step)), 3) for step in range(7)]
    [0.5, 1.0, 0.914, 0.689, 0.411, 0.186, 0.1]
    """
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule {schedule!r}; known: {', '.join(SCHEDULES)}")
    if total_steps < 1:
        raise UserError(f"a run needs at least one step, not {total_steps}")
    rising = warmup_steps(total_steps, warmup)

    def rate(step: Any) -> Any:
        # Plain numpy on the host: JAX would compile a dozen tiny programs for one number.
        xp = np if isinstance(step, int) else jnp
        step = xp.asarray(step, xp.float32)
        start = max(rising - 1, 0)  # the step at which the peak is used
        progress = xp.clip((step - start) / max(total_steps - 1 - start, 1), 0.0, 1.0)
        if schedule == "cosine":
            falling = floor + (1 - floor) * 0.5 * (1 + xp.cos(xp.pi * progress))
        elif schedule == "linear":
            falling = 1 - (1 - floor) * progress
        else:
            falling = xp.ones_like(progress)
        return peak * xp.where(step < rising, (step + 1) / max(rising, 1), falling)

    return rate
