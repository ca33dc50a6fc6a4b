"""The optimisers: AdamW of the recipe, Lion, Adafactor and Muon, made of optax's parts.

Each is a frozen dataclass of its own fields alone, bound in gin as in ``AdamW.b2 = 0.99``. What all
optimisers share (rate, decay, clipping, schedule) is in `inters_jax.training.optimizer.OptimizerSettings`.
Any other optimiser of optax is `inters_jax.training.optax_optimizer.Optax`.
"""

from __future__ import annotations

import abc
import dataclasses
from math import prod, sqrt
from typing import Any

import gin
import jax
import jax.numpy as jnp
import optax

from inters_jax.field_types import check_field_types
from inters_jax.training.matrices import by_matrix, matrix_sides, split_matrices
from inters_jax.training.schedule import Schedule
from seqio_tasks.base import UserError


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
    """Turns gradients into updates of the parameters."""

    def __post_init__(self) -> None:
        check_field_types(self)
        for name in ("b1", "b2", "momentum"):
            decay = getattr(self, name, None)
            if decay is not None and not 0 <= decay < 1:
                raise UserError(f"{type(self).__name__}.{name} must be at least 0 and below 1, not {decay}")

    @property
    def kind(self) -> str:
        """What a checkpoint's moments belong to."""
        return type(self).__name__

    @property
    def moments(self) -> float:
        """Values kept for each parameter, for estimates of memory."""
        return 2.0

    @abc.abstractmethod
    def transformation(
        self, schedule: Schedule, *, weight_decay: float, mask: Any, moment_dtype: str, logical_axes: Any
    ) -> optax.GradientTransformation:
        """Gradients in, updates out.

        Args:
            schedule: learning rate of step 0, 1, ...
            weight_decay: times the rate.
            mask: tree like the parameters, False for those that do not decay; None: all decay.
            moment_dtype: of the moments.
            logical_axes: tree like the parameters, tuples of axis names; None where they are unknown.
        """

    def _check_rounding(self, moment_dtype: str, **decays: float) -> None:
        """Refuse a moment that decays by less a step than its rounding: it would never decay."""
        if jnp.dtype(moment_dtype) == jnp.float32:
            return
        smallest = float(jnp.finfo(jnp.dtype(moment_dtype)).eps)
        for name, decay in decays.items():
            if 1 - decay <= smallest:
                raise UserError(
                    f"{self.kind}.{name}={decay} needs finer moments than {moment_dtype}: a decay of"
                    f" {1 - decay:.3g} a step is lost in its rounding ({smallest:.3g});"
                    " use moment_dtype='float32'"
                )


class DirectionOptimizer(Optimizer):
    """The update of a step is ``-rate * (direction + weight_decay * parameter)``."""

    @abc.abstractmethod
    def direction(self, logical_axes: Any, moment_dtype: str) -> optax.GradientTransformation:
        """Gradients in, directions of unit size out.

        Args:
            logical_axes: tree like the parameters, tuples of axis names; None where they are unknown.
            moment_dtype: of the moments.
        """

    def transformation(
        self, schedule: Schedule, *, weight_decay: float, mask: Any, moment_dtype: str, logical_axes: Any
    ) -> optax.GradientTransformation:
        """Gradients in, updates out; see `Optimizer`."""
        return optax.chain(
            self.direction(logical_axes, moment_dtype),
            optax.add_decayed_weights(weight_decay, mask),
            optax.scale_by_learning_rate(schedule),
        )

    def _need_axes(self, logical_axes: Any) -> None:
        if logical_axes is None:
            raise UserError(f"{self.kind} needs the logical axes of the parameters, to tell matrices apart")


def stored_as(optimizer: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """The same optimiser, computed in float32, with the floating arrays of its state kept in `dtype`.

    Single numbers (estimated rates and the like) stay as they are.
    """
    if jnp.dtype(dtype) == jnp.float32:
        return optimizer

    def cast(state: Any, target: Any) -> Any:
        def one(leaf: jax.Array) -> jax.Array:
            return leaf.astype(target) if leaf.ndim and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        return jax.tree.map(one, state)

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, cast(state, jnp.float32), params)
        return updates, cast(state, jnp.dtype(dtype))

    return optax.GradientTransformation(lambda params: cast(optimizer.init(params), jnp.dtype(dtype)), update)


# States whose counter is the step of the learning rate; those of optax that compute the rate themselves count
# in a state of their own.
_RATE_STATES = frozenset({"ScaleByScheduleState", "DAdaptAdamWState", "MadgradState", "ProdigyState"})


def count_steps(opt_state: Any, steps: Any) -> Any:
    """The same state with the learning rate at step `steps`, int32 [].

    Counters of moments (bias correction) stay: they count updates, and a skipped step is none.
    """

    def counts(node: Any) -> bool:
        return type(node).__name__ in _RATE_STATES

    def count(node: Any) -> Any:
        return node._replace(count=jnp.asarray(steps, node.count.dtype)) if counts(node) else node

    return jax.tree.map(count, opt_state, is_leaf=counts)


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class AdamW(DirectionOptimizer):
    """The optimiser of the recipe: betas (0.9, 0.95)."""

    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8

    def direction(self, logical_axes: Any = None, moment_dtype: str = "float32") -> Any:
        """Both moments with bias correction."""
        self._check_rounding(moment_dtype, b1=self.b1, b2=self.b2)
        return stored_as(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps), moment_dtype)


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Lion(DirectionOptimizer):
    """The sign of an interpolated momentum (arXiv 2302.06675): one moment, half the state of AdamW.

    Every value moves by the whole rate: a learning rate of a third to a tenth of AdamW's is usual, with a
    weight decay larger by the same factor.
    """

    b1: float = 0.9
    b2: float = 0.99

    @property
    def moments(self) -> float:
        """One moment."""
        return 1.0

    def direction(self, logical_axes: Any = None, moment_dtype: str = "float32") -> Any:
        """+1, 0 or -1 for every value."""
        self._check_rounding(moment_dtype, b2=self.b2)
        return stored_as(optax.scale_by_lion(b1=self.b1, b2=self.b2), moment_dtype)


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Adafactor(DirectionOptimizer):
    """Factored second moments (arXiv 1804.04235): almost no state beside the parameters.

    optax's Adafactor for every matrix of every layer. `optax.adafactor` itself would factor the two longest
    axes of a stack [layers, embed, heads, head_dim], and clip all layers by one norm.

    The direction of each matrix is clipped to a root mean square of `threshold`. With `parameter_scale` the
    rate is relative to the size of the parameter, as in T5; without, it means what it means for AdamW.
    """

    decay_rate: float = 0.8  # second moments decay by step ** -decay_rate
    threshold: float = 1.0
    eps: float = 1e-30
    parameter_scale: bool = False
    momentum: float | None = None  # adds one moment in `moment_dtype`; None: no momentum

    @property
    def moments(self) -> float:
        """The factors are next to nothing."""
        return 0.0 if self.momentum is None else 1.0

    def direction(self, logical_axes: Any, moment_dtype: str = "float32") -> Any:
        """Factored scaling, clipping by the block, momentum."""
        self._need_axes(logical_axes)

        def scaling(factored: bool) -> optax.GradientTransformation:
            return optax.chain(
                optax.scale_by_factored_rms(
                    factored, self.decay_rate, min_dim_size_to_factor=1, epsilon=self.eps
                ),
                optax.clip_by_block_rms(self.threshold),
                optax.scale_by_param_block_rms() if self.parameter_scale else optax.identity(),
            )

        sides = matrix_sides(logical_axes)
        direction = split_matrices(sides, by_matrix(sides, scaling(True)), scaling(False))
        if self.momentum is None:
            return direction
        self._check_rounding(moment_dtype, momentum=self.momentum)
        return optax.chain(direction, stored_as(optax.ema(self.momentum, debias=False), moment_dtype))


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Muon(DirectionOptimizer):
    """Orthogonalised momentum (arXiv 2502.16982) for the matrices of the blocks, AdamW for all else.

    Embeddings, head, norms and biases are AdamW's. The directions of matrices are scaled to the root mean
    square that AdamW's have in practice, so learning rate and decay carry over.

    optax's Muon for every matrix of every layer. `optax.contrib.muon` gives the same for the matrices when
    given their axes; its AdamW follows `nesterov` too, and has one `eps` with Muon, so its parts are put
    together here.
    """

    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5  # of Newton and Schulz
    rms: float = 0.2
    b1: float = 0.9  # of AdamW
    b2: float = 0.95
    eps: float = 1e-8

    @property
    def moments(self) -> float:
        """One moment for each parameter of the blocks."""
        return 1.0

    def direction(self, logical_axes: Any, moment_dtype: str = "float32") -> Any:
        """Muon and AdamW side by side, each with its own parameters."""
        self._need_axes(logical_axes)
        self._check_rounding(moment_dtype, momentum=self.momentum, b1=self.b1, b2=self.b2)
        sides = matrix_sides(logical_axes, without=("vocab",))

        def dimensions(updates: Any) -> Any:
            return jax.tree_util.tree_map_with_path(
                lambda path, _: optax.contrib.MuonDimensionNumbers(*sides[jax.tree_util.keystr(path)][1:]),
                updates,
            )

        def scale(path: Any, update: jax.Array) -> jax.Array:
            _, *ends = sides[jax.tree_util.keystr(path)]
            longer = max(prod(update.shape[axis] for axis in side) for side in ends)
            return self.rms * sqrt(longer) * update

        muon = optax.contrib.scale_by_muon(
            ns_steps=self.iterations,
            beta=self.momentum,
            nesterov=self.nesterov,
            mu_dtype=jnp.dtype(moment_dtype),
            weight_dimension_numbers=dimensions,
        )
        scaled = optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))
        adam = stored_as(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps), moment_dtype)
        return split_matrices(sides, optax.chain(muon, scaled), adam)
