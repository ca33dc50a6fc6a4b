"""Which parameters are matrices, and optimisers that treat every matrix of a stack on its own.

Kernels are stored as [layers, *inputs, *outputs]; the logical axes say which axes are which:

    query   [layers, embed, heads, head_dim]   ->  layers matrices [embed, heads * head_dim]
    output  [layers, heads, head_dim, embed]   ->  layers matrices [heads * head_dim, embed]
    norm    [layers, norm]                     ->  no matrix
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import jax
import optax

# The axes of a parameter that stack matrices, and those of their inputs and outputs.
Sides = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def matrix_axes(axes: tuple[Any, ...]) -> Sides | None:
    """The axes of a parameter that stack matrices, and those of their inputs and outputs; None for vectors.

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


def is_axes(node: Any) -> bool:
    """Whether a node of a tree of logical axes is a leaf: the axis names of one parameter."""
    return isinstance(node, tuple)


def matrix_sides(logical_axes: Any, without: tuple[str, ...] = ()) -> dict[str, Sides]:
    """`matrix_axes` of every matrix by its path (`jax.tree_util.keystr`).

    Args:
        logical_axes: tree like the parameters, tuples of axis names.
        without: parameters with one of these axes are not listed.
    """
    flat = jax.tree_util.tree_flatten_with_path(logical_axes, is_leaf=is_axes)[0]
    return {
        jax.tree_util.keystr(path): sides
        for path, axes in flat
        if not set(axes) & set(without) and (sides := matrix_axes(axes)) is not None
    }


def split_matrices(
    sides: Mapping[str, Sides], matrix: optax.GradientTransformation, other: optax.GradientTransformation
) -> optax.GradientTransformation:
    """One transformation for the matrices in `sides`, another one for all other parameters."""

    def label(path: Any, _: Any) -> str:
        return "matrix" if jax.tree_util.keystr(path) in sides else "other"

    return optax.partition(
        {"matrix": matrix, "other": other}, lambda params: jax.tree_util.tree_map_with_path(label, params)
    )


def by_matrix(
    sides: Mapping[str, Sides], transformation: optax.GradientTransformation
) -> optax.GradientTransformation:
    """`transformation` mapped over the stacks: what it computes per array, it computes per matrix.

    Args:
        sides: of every parameter that reaches the result; `matrix_sides`.
        transformation: for arrays [inputs, outputs].
    """

    def stack(path: Any, array: jax.Array) -> jax.Array:
        """[*stack, *inputs, *outputs] -> [stack, inputs, outputs]; the axes are in this order already."""
        _, inputs, outputs = sides[jax.tree_util.keystr(path)]
        return array.reshape(-1, *(prod(array.shape[axis] for axis in side) for side in (inputs, outputs)))

    def init(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, param: jax.vmap(transformation.init)(stack(path, param)), params
        )

    def update(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        flat: Any
        tree: Any
        flat, tree = jax.tree_util.tree_flatten_with_path(gradients)
        updates, states = [], []
        for (path, gradient), old, param in zip(
            flat, tree.flatten_up_to(state), tree.flatten_up_to(params), strict=True
        ):
            found, new = jax.vmap(transformation.update)(stack(path, gradient), old, stack(path, param))
            updates.append(found.reshape(gradient.shape))
            states.append(new)
        return tree.unflatten(updates), tree.unflatten(states)

    return optax.GradientTransformation(init, update)
