"""Optimisers with the schedule of the INTERS recipe: AdamW, its own, and Lion.

`inters_jax.training.matrix_optimizers` has Adafactor and Muon, which look at matrices as such.

betas (0.9, 0.95), weight decay 0.1, gradients clipped to a global norm of 1.0, cosine to a tenth of the peak
after 3 % of warm-up: the authors' training script (HybridAdam and a cosine with warm-up, of ColossalAI).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from math import ceil
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax

from inters_jax.settings.training import OptimizerSettings
from seqio_tasks.base import UserError

SCHEDULES = ("cosine", "linear", "constant")


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
    """What `AdamW`, `Lion`, `Adafactor` and `Muon` share: schedule, clipping, decay.

    The update of a step is ``-rate * (direction + weight_decay * parameter)``, where the direction is the
    optimiser's own and the gradients it sees have been clipped by their global norm.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    decay_norms: bool = True  # False spares norms and biases; the recipe has one group for all
    clip: float | None = 1.0
    schedule: str = "cosine"
    warmup: float = 0.03  # share of the steps below 1, a number of steps from 1 on
    floor: float = 0.1  # last learning rate as a share of the peak
    moment_dtype: str = "float32"  # of the moments; bfloat16 halves their memory

    def build(
        self, total_steps: int, logical_axes: Any = None
    ) -> tuple[optax.GradientTransformation, Schedule]:
        """The transformation and its schedule for a run of `total_steps`.

        Args:
            total_steps: optimiser steps of the whole run, whatever step it resumes from.
            logical_axes: tree like the parameters, tuples of axis names; needed if `decay_norms` is False and
                by optimisers that tell matrices from vectors.
        """
        schedule = learning_rate_schedule(
            self.learning_rate, total_steps, schedule=self.schedule, warmup=self.warmup, floor=self.floor
        )
        mask = None
        if not self.decay_norms:
            self._need_axes(logical_axes, "decay_norms=False")
            mask = jax.tree.map(
                lambda axes: matrix_axes(axes) is not None,
                logical_axes,
                is_leaf=lambda node: isinstance(node, tuple),
            )
        update = optax.chain(
            self.direction(logical_axes),
            optax.add_decayed_weights(self.weight_decay, mask),
            optax.scale_by_learning_rate(schedule),
        )
        clip = optax.identity() if self.clip is None else optax.clip_by_global_norm(self.clip)
        return optax.chain(clip, update), schedule

    @abc.abstractmethod
    def direction(self, logical_axes: Any) -> optax.GradientTransformation:
        """The optimiser's own part: gradients in, directions of unit size out."""

    @property
    def moments(self) -> float:
        """Values kept for each parameter, for estimates of memory."""
        return 2.0

    def _need_axes(self, logical_axes: Any, why: str) -> None:
        if logical_axes is None:
            raise UserError(f"{type(self).__name__}.{why} needs the logical axes of the parameters")

    def _check_rounding(self, **decays: float) -> None:
        """A moment decays by the share 1 - b a step; where that is below the rounding it never decays."""
        if jnp.dtype(self.moment_dtype) == jnp.float32:
            return
        smallest = float(jnp.finfo(jnp.dtype(self.moment_dtype)).eps)
        for name, decay in decays.items():
            if 1 - decay <= smallest:
                raise UserError(
                    f"{type(self).__name__}.{name}={decay} needs finer moments than {self.moment_dtype}: a"
                    f" decay of {1 - decay:.3g} a step is lost in its rounding ({smallest:.3g});"
                    " use moment_dtype='float32'"
                )

    def _stored(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """The same with its state in `moment_dtype`."""
        if jnp.dtype(self.moment_dtype) == jnp.float32:
            return optimizer
        return stored_as(optimizer, self.moment_dtype)


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class AdamW(Optimizer):
    """The optimiser of the recipe; every field can be bound in gin, as in ``AdamW.weight_decay = 0``."""

    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8

    def direction(self, logical_axes: Any = None) -> optax.GradientTransformation:
        """Both moments with bias correction."""
        self._check_rounding(b1=self.b1, b2=self.b2)
        return self._stored(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of an interpolated momentum (arXiv 2302.06675): one moment, half the state of AdamW.

    Every value moves by the whole rate: a learning rate of a third to a tenth of AdamW's is usual, with a
    weight decay larger by the same factor.
    """

    b1: float = 0.9
    b2: float = 0.99

    def direction(self, logical_axes: Any = None) -> optax.GradientTransformation:
        """+1, 0 or -1 for every value."""
        self._check_rounding(b2=self.b2)
        return self._stored(optax.scale_by_lion(b1=self.b1, b2=self.b2))

    @property
    def moments(self) -> float:
        """Values kept for each parameter."""
        return 1.0


def configured(settings: OptimizerSettings) -> Optimizer:
    """The chosen optimiser with the settings that all share; AdamW when none is chosen."""
    shared = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name != "optimizer"
    }
    return dataclasses.replace(settings.optimizer or AdamW(), **shared)


def matrix_axes(axes: tuple[Any, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Which axes of a parameter stack matrices, and which are their inputs and outputs; None for vectors.

    Heads and their size together are one side of a matrix.

    >>> matrix_axes(("layers", "embed", "heads", "head_dim")), matrix_axes(("vocab", "embed"))
    (((0,), (1,), (2, 3)), ((), (0,), (1,)))
    >>> matrix_axes(("layers", "heads", "head_dim", "embed")), matrix_axes(("layers", "heads", "head_dim"))
    (((0,), (1, 2), (3,)), None)
    """
    stack = tuple(number for number, name in enumerate(axes) if name == "layers")
    sides: list[list[int]] = []
    for number, name in enumerate(axes):
        if name == "head_dim" and sides and axes[number - 1] in ("heads", "kv_heads"):
            sides[-1].append(number)
        elif name != "layers":
            sides.append([number])
    if len(sides) != 2:
        return None
    return stack, tuple(sides[0]), tuple(sides[1])


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
        raise UserError(f"unknown schedule {schedule!r}; known: {', '.join(SCHEDULES)}")
    if total_steps < 1:
        raise UserError(f"a run needs at least one step, not {total_steps}")
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
