"""Optimisers that know which parameters are matrices: Adafactor and Muon.

Kernels are stored as [layers, *inputs, *outputs]; the logical axes say which axes are which
(`optimizer.matrix_axes`), and every layer of a stack is treated as a matrix of its own:

    query   [layers, embed, heads, head_dim]   ->  layers matrices [embed, heads * head_dim]
    output  [layers, heads, head_dim, embed]   ->  layers matrices [heads * head_dim, embed]
    norm    [layers, norm]                     ->  no matrix
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod, sqrt
from typing import Any, NamedTuple

import gin
import jax
import jax.numpy as jnp
import optax

from inters_jax.training.optimizer import Optimizer, matrix_axes

Sides = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class FactoredState(NamedTuple):
    """Second moments of Adafactor; what a parameter does not need is an array of one zero."""

    count: Any  # int32 []
    rows: Any  # float32 [layers, inputs] of matrices: means over the outputs
    columns: Any  # float32 [layers, outputs] of matrices: means over the inputs
    full: Any  # float32 like the parameter, for vectors


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Adafactor(Optimizer):
    """Factored second moments (arXiv 1804.04235): almost no state beside the parameters.

    The direction of each matrix is clipped to a root mean square of `threshold`. With `parameter_scale` the
    rate is relative to the size of the parameter, as in T5; without, it means what it means for AdamW.
    """

    decay_rate: float = 0.8  # second moments decay by step ** -decay_rate
    threshold: float = 1.0
    eps: float = 1e-30
    parameter_scale: bool = False
    momentum: float | None = None  # one moment in `moment_dtype`; None: none at all

    def direction(self, logical_axes: Any) -> optax.GradientTransformation:
        """Factored scaling, clipping by the block, momentum."""
        self._need_axes(logical_axes, "direction")
        sides = _sides(logical_axes)
        parts = [_scale_by_factors(sides, self.decay_rate, self.eps), _clip_blocks(sides, self.threshold)]
        if self.parameter_scale:
            parts.append(_scale_by_parameters(sides))
        if self.momentum is not None:
            self._check_rounding(momentum=self.momentum)
            parts.append(self._stored(optax.ema(self.momentum, debias=False)))
        return optax.chain(*parts)

    @property
    def moments(self) -> float:
        """Values kept for each parameter; the factors are next to nothing."""
        return 0.0 if self.momentum is None else 1.0


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Muon(Optimizer):
    """Orthogonalised momentum (arXiv 2502.16982) for the matrices of the blocks, AdamW for all else.

    Embeddings, head, norms and biases are AdamW's. The directions of matrices are scaled to the root mean
    square that AdamW's have in practice, so learning rate and decay carry over.
    """

    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5  # of Newton and Schulz
    rms: float = 0.2
    b1: float = 0.9  # of AdamW
    b2: float = 0.95
    eps: float = 1e-8

    def direction(self, logical_axes: Any) -> optax.GradientTransformation:
        """Muon and AdamW side by side, each with the parameters that are its own."""
        self._need_axes(logical_axes, "direction")
        self._check_rounding(momentum=self.momentum, b1=self.b1, b2=self.b2)
        sides = _sides(logical_axes, without=("vocab",))

        def dimensions(updates: Any) -> Any:
            def of(path: Any, leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers:
                return optax.contrib.MuonDimensionNumbers(*_matrix(sides, path)[1:])

            return jax.tree_util.tree_map_with_path(of, updates)

        def scale(path: Any, update: jax.Array) -> jax.Array:
            _, inputs, outputs = _matrix(sides, path)
            longer = max(prod(update.shape[axis] for axis in side) for side in (inputs, outputs))
            return self.rms * sqrt(longer) * update

        muon = optax.contrib.scale_by_muon(
            ns_steps=self.iterations,
            beta=self.momentum,
            nesterov=self.nesterov,
            mu_dtype=jnp.dtype(self.moment_dtype),
            weight_dimension_numbers=dimensions,
        )
        scaled = optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))
        return optax.partition(
            {
                "matrix": optax.chain(muon, scaled),
                "other": self._stored(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)),
            },
            lambda params: jax.tree_util.tree_map_with_path(
                lambda path, _: "other" if sides[jax.tree_util.keystr(path)] is None else "matrix", params
            ),
        )

    @property
    def moments(self) -> float:
        """Values kept for each parameter of the blocks."""
        return 1.0


def _sides(logical_axes: Any, without: tuple[str, ...] = ()) -> dict[str, Sides | None]:
    """`matrix_axes` of every parameter by its path; None for vectors and for axes of `without`."""
    flat = jax.tree_util.tree_flatten_with_path(logical_axes, is_leaf=lambda node: isinstance(node, tuple))[0]
    return {
        jax.tree_util.keystr(path): None if set(axes) & set(without) else matrix_axes(axes)
        for path, axes in flat
    }


def _matrix(sides: dict[str, Sides | None], path: Any) -> Sides:
    """The sides of a parameter that is a matrix."""
    found = sides[jax.tree_util.keystr(path)]
    assert found is not None, path
    return found


def _matrices(array: jax.Array, sides: Sides) -> jax.Array:
    """[*stack, *inputs, *outputs] -> [*stack, inputs, outputs]; the axes lie in this order already."""
    shapes = [[array.shape[axis] for axis in side] for side in sides]
    return array.reshape(*shapes[0], prod(shapes[1]), prod(shapes[2]))


def _by_block(array: jax.Array, sides: Sides | None) -> tuple[int, ...]:
    """The axes of one matrix of a parameter, or of a whole vector (its layers are one block)."""
    return tuple(range(array.ndim)) if sides is None else sides[1] + sides[2]


def _scale_by_factors(
    sides: dict[str, Sides | None], decay_rate: float, eps: float
) -> optax.GradientTransformation:
    """Gradients over the root of their factored mean squares."""

    def start(params: Any) -> FactoredState:
        def part(size: Callable[[Any, Sides | None], tuple[int, ...]]) -> Any:
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: jnp.zeros(size(leaf, sides[jax.tree_util.keystr(path)]), jnp.float32),
                params,
            )

        def view(leaf: Any, found: Sides) -> tuple[int, ...]:
            return jax.eval_shape(lambda array: _matrices(array, found), leaf).shape

        return FactoredState(
            count=jnp.zeros((), jnp.int32),
            rows=part(lambda leaf, found: (1,) if found is None else view(leaf, found)[:-1]),
            columns=part(
                lambda leaf, found: (
                    (1,) if found is None else (*view(leaf, found)[:-2], view(leaf, found)[-1])
                )
            ),
            full=part(lambda leaf, found: leaf.shape if found is None else (1,)),
        )

    def update(gradients: Any, state: FactoredState, params: Any = None) -> tuple[Any, FactoredState]:
        decay = 1.0 - (state.count.astype(jnp.float32) + 1.0) ** -decay_rate

        def one(
            path: Any, gradient: jax.Array, rows: jax.Array, columns: jax.Array, full: jax.Array
        ) -> tuple[jax.Array, ...]:
            found = sides[jax.tree_util.keystr(path)]
            squares = jnp.square(gradient.astype(jnp.float32)) + eps
            if found is None:
                full = decay * full + (1 - decay) * squares
                return gradient * jax.lax.rsqrt(full), rows, columns, full
            squares = _matrices(squares, found)
            rows = decay * rows + (1 - decay) * squares.mean(-1)
            columns = decay * columns + (1 - decay) * squares.mean(-2)
            by_row = jax.lax.rsqrt(rows / rows.mean(-1, keepdims=True))
            scaled = _matrices(gradient, found) * by_row[..., None] * jax.lax.rsqrt(columns)[..., None, :]
            return scaled.reshape(gradient.shape), rows, columns, full

        done = jax.tree_util.tree_map_with_path(one, gradients, state.rows, state.columns, state.full)
        parts = [
            jax.tree.map(lambda four, n=n: four[n], done, is_leaf=lambda node: isinstance(node, tuple))
            for n in range(4)
        ]
        return parts[0], FactoredState(optax.safe_increment(state.count), *parts[1:])

    return optax.GradientTransformation(start, update)


def _clip_blocks(sides: dict[str, Sides | None], threshold: float) -> optax.GradientTransformation:
    """Directions whose root mean square, by matrix, is at most `threshold`."""

    def clip(path: Any, update: jax.Array) -> jax.Array:
        axes = _by_block(update, sides[jax.tree_util.keystr(path)])
        size = jnp.sqrt(jnp.mean(jnp.square(update), axis=axes, keepdims=True))
        return update / jnp.maximum(1.0, size / threshold)

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(clip, updates))


def _scale_by_parameters(sides: dict[str, Sides | None]) -> optax.GradientTransformation:
    """Directions times the root mean square of their parameter, by matrix, which counts as 0.001 at least."""

    def scale(path: Any, update: jax.Array, param: jax.Array) -> jax.Array:
        axes = _by_block(param, sides[jax.tree_util.keystr(path)])
        size = jnp.sqrt(jnp.mean(jnp.square(param), axis=axes, keepdims=True))
        return update * jnp.maximum(size, 1e-3)

    return optax.stateless(lambda updates, params: jax.tree_util.tree_map_with_path(scale, updates, params))
