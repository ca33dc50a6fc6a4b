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

from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.matrices import is_axes, matrix_axes
from inters_jax.training.optimizers import AdamW, Optimizer
from inters_jax.training.schedule import Schedule, learning_rate_schedule
from seqio_tasks.base import UserError


def optimizer_of(settings: OptimizerSettings) -> Optimizer:
    """The chosen optimiser; AdamW if none is."""
    return AdamW() if settings.optimizer is None else settings.optimizer


def identity_of(settings: OptimizerSettings) -> dict[str, Any]:
    """What a run may not change when it is resumed: the kind of the moments, and every setting."""
    chosen = optimizer_of(settings)
    settings = dataclasses.replace(settings, optimizer=chosen)
    return {"optimizer_kind": chosen.kind, "optimizer": dataclasses.asdict(settings)}


def build_optimizer(
    settings: OptimizerSettings, total_steps: int, logical_axes: Any = None
) -> tuple[optax.GradientTransformation, Schedule]:
    """The transformation and its schedule for a run of `total_steps`.

    Args:
        settings: the optimiser and what all optimisers share.
        total_steps: optimiser steps of the whole run, whatever step it resumes from.
        logical_axes: tree like the parameters, tuples of axis names; needed if `decay_norms` is False and
            by optimisers that tell matrices from vectors.

    Raises:
        UserError: settings that have no meaning together.
    """
    schedule = learning_rate_schedule(
        settings.learning_rate,
        total_steps,
        schedule=settings.schedule,
        warmup=settings.warmup,
        floor=settings.floor,
    )
    mask = None
    if not settings.decay_norms:
        if logical_axes is None:
            raise UserError("DECAY_NORMS=False needs the logical axes of the parameters")
        mask = jax.tree.map(lambda axes: matrix_axes(axes) is not None, logical_axes, is_leaf=is_axes)
    update = optimizer_of(settings).transformation(
        schedule,
        weight_decay=settings.weight_decay,
        mask=mask,
        moment_dtype=settings.moment_dtype,
        logical_axes=logical_axes,
    )
    clip = optax.identity() if settings.clip is None else optax.clip_by_global_norm(settings.clip)
    return optax.chain(clip, update), schedule
