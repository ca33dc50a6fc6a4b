"""What all optimisers share: learning rate and schedule, weight decay, clipping, the type of the moments.

The recipe of INTERS: AdamW with betas (0.9, 0.95), weight decay 0.1, gradients clipped to a global norm of
1.0, cosine to a tenth of the peak after 3 % of warm-up. Source: the authors' training script (HybridAdam and
a cosine with warm-up, of ColossalAI).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import optax

from inters_jax.training.matrices import is_axes, matrix_axes
from inters_jax.training.optax_optimizer import Optax
from inters_jax.training.optimizers import Adafactor, AdamW, Lion, Muon, Optimizer
from inters_jax.training.schedule import Schedule, learning_rate_schedule
from seqio_tasks.base import UserError

__all__ = ["Adafactor", "AdamW", "Lion", "Muon", "Optax", "Optimizer", "OptimizerSettings"]


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """An optimiser with the settings that all optimisers share; the defaults are the recipe.

    optimizer: None: `AdamW`.
    learning_rate: peak of the schedule.
    weight_decay: times the learning rate.
    decay_norms: False spares norms and biases; the recipe decays all parameters.
    clip: largest global norm of the gradients; None: no clipping.
    schedule: after the warm-up: "cosine", "linear" or "constant".
    warmup: share of the steps (below 1) or number of steps.
    floor: last learning rate as a share of the peak.
    moment_dtype: "bfloat16" halves the memory of the moments.
    """

    optimizer: Optimizer | None = None
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    decay_norms: bool = True
    clip: float | None = 1.0
    schedule: str = "cosine"
    warmup: float = 0.03
    floor: float = 0.1
    moment_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.optimizer is None:
            object.__setattr__(self, "optimizer", AdamW())

    @property
    def _chosen(self) -> Optimizer:
        assert self.optimizer is not None
        return self.optimizer

    @property
    def kind(self) -> str:
        """What a checkpoint's moments belong to, such as "AdamW" or "optax.adabelief"."""
        return self._chosen.kind

    @property
    def moments(self) -> float:
        """Values kept for each parameter, for estimates of memory."""
        return self._chosen.moments

    def build(
        self, total_steps: int, logical_axes: Any = None
    ) -> tuple[optax.GradientTransformation, Schedule]:
        """The transformation and its schedule for a run of `total_steps`.

        Args:
            total_steps: optimiser steps of the whole run, whatever step it resumes from.
            logical_axes: tree like the parameters, tuples of axis names; needed if `decay_norms` is False and
                by optimisers that tell matrices from vectors.

        Raises:
            UserError: settings that have no meaning together.
        """
        schedule = learning_rate_schedule(
            self.learning_rate, total_steps, schedule=self.schedule, warmup=self.warmup, floor=self.floor
        )
        mask = None
        if not self.decay_norms:
            if logical_axes is None:
                raise UserError("decay_norms=False needs the logical axes of the parameters")
            mask = jax.tree.map(lambda axes: matrix_axes(axes) is not None, logical_axes, is_leaf=is_axes)
        update = self._chosen.transformation(
            schedule,
            weight_decay=self.weight_decay,
            mask=mask,
            moment_dtype=self.moment_dtype,
            logical_axes=logical_axes,
        )
        clip = optax.identity() if self.clip is None else optax.clip_by_global_norm(self.clip)
        return optax.chain(clip, update), schedule
