"""AdamW with the schedule of the INTERS recipe.

betas (0.9, 0.95), weight decay 0.1, gradients clipped to a global norm of 1.0, cosine to a tenth of the peak
after 3 % of warm-up: the authors' training script (HybridAdam and a cosine with warm-up, of ColossalAI).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import ceil
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax

SCHEDULES = ("cosine", "linear", "constant")


class OptimizerError(ValueError):
    """A setting of the optimiser that has no meaning."""


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class AdamW:
    """The optimiser of a run; every field can be bound in gin, as in ``AdamW.weight_decay = 0``."""

    learning_rate: float = 1e-5
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    decay_norms: bool = True  # False spares norms and biases; the recipe has one group for all
    clip: float | None = 1.0
    schedule: str = "cosine"
    warmup: float = 0.03  # share of the steps below 1, a number of steps from 1 on
    floor: float = 0.1  # last learning rate as a share of the peak
    moment_dtype: str = "float32"  # of both moments; bfloat16 halves their memory

    def build(
        self, total_steps: int, logical_axes: Any = None
    ) -> tuple[optax.GradientTransformation, Schedule]:
        """The transformation and its schedule for a run of `total_steps`.

        Args:
            total_steps: optimiser steps of the whole run, whatever step it resumes from.
            logical_axes: tree like the parameters, tuples of axis names; needed if `decay_norms` is False.
        """
        schedule = learning_rate_schedule(
            self.learning_rate, total_steps, schedule=self.schedule, warmup=self.warmup, floor=self.floor
        )
        mask = None
        if not self.decay_norms:
            if logical_axes is None:
                raise OptimizerError("AdamW.decay_norms=False needs the logical axes of the parameters")
            mask = jax.tree.map(
                lambda axes: len([name for name in axes if name != "layers"]) > 1,
                logical_axes,
                is_leaf=lambda node: isinstance(node, tuple),
            )
        adamw = optax.adamw(
            schedule,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            mask=mask,
        )
        if jnp.dtype(self.moment_dtype) != jnp.float32:
            self._check_rounding()
            adamw = stored_as(adamw, self.moment_dtype)
        clip = optax.identity() if self.clip is None else optax.clip_by_global_norm(self.clip)
        return optax.chain(clip, adamw), schedule

    def _check_rounding(self) -> None:
        """A moment decays by the share 1 - b a step; where that is below the rounding it never decays."""
        smallest = float(jnp.finfo(jnp.dtype(self.moment_dtype)).eps)
        for name, decay in (("b1", self.b1), ("b2", self.b2)):
            if 1 - decay <= smallest:
                raise OptimizerError(
                    f"AdamW.{name}={decay} needs finer moments than {self.moment_dtype}: a decay of"
                    f" {1 - decay:.3g} a step is lost in its rounding ({smallest:.3g});"
                    " use moment_dtype='float32'"
                )


def stored_as(optimizer: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """The same optimiser, computed in float32, with every floating array of its state kept in `dtype`."""

    def cast(state: Any, target: Any) -> Any:
        floating = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)  # noqa: E731
        return jax.tree.map(lambda leaf: leaf.astype(target) if floating(leaf) else leaf, state)

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, cast(state, jnp.float32), params)
        return updates, cast(state, jnp.dtype(dtype))

    return optax.GradientTransformation(lambda params: cast(optimizer.init(params), jnp.dtype(dtype)), update)


Schedule = Callable[[Any], Any]


def warmup_steps(total_steps: int, warmup: float) -> int:
    """Steps of warm-up: a share of the run, rounded up, or an absolute number.

    >>> warmup_steps(1000, 0.03), warmup_steps(10, 0.03), warmup_steps(1000, 50), warmup_steps(1000, 0)
    (30, 1, 50, 0)
    """
    # 0.03 * 1000 is 30.000000000000004 in some orders of evaluation: do not let it become 31.
    return min(total_steps, int(warmup) if warmup >= 1 else ceil(round(warmup * total_steps, 6)))


def learning_rate_schedule(
    peak: float, total_steps: int, *, schedule: str = "cosine", warmup: float = 0.03, floor: float = 0.1
) -> Schedule:
    """Learning rate of step 0, 1, ...: linear warm-up that reaches `peak`, then down to `floor` * peak.

    The first step already learns (peak / warm-up steps), and the last step of the run uses exactly the floor.

    >>> rate = learning_rate_schedule(1.0, 7, warmup=2, floor=0.1)
    >>> [round(float(rate(step)), 3) for step in range(7)]
    [0.5, 1.0, 0.914, 0.689, 0.411, 0.186, 0.1]
    """
    if schedule not in SCHEDULES:
        raise OptimizerError(f"unknown schedule {schedule!r}; known: {', '.join(SCHEDULES)}")
    if total_steps < 1:
        raise OptimizerError(f"a run needs at least one step, not {total_steps}")
    rising = warmup_steps(total_steps, warmup)

    def rate(step: Any) -> Any:
        # On the host plain numpy: a dozen tiny programs would be compiled for one number.
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
