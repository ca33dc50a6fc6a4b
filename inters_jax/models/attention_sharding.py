"""How a mesh divides the arrays of attention: for kernels, which the compiler cannot divide by itself.

The names of the axes are those of `inters_jax.mesh`. What an axis does not divide evenly stays whole on each
of its devices: correct, and only time is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from inters_jax.mesh import ROW_AXES


@dataclasses.dataclass(frozen=True)
class Layout:
    """The mesh axes that divide rows, heads and positions (None: nothing does), and into how many parts."""

    rows: tuple[str, ...] | None = None
    heads: str | None = None
    sequence: str | None = None
    head_parts: int = 1
    sequence_parts: int = 1

    @classmethod
    def of(cls, mesh: Mesh | None, shape: Sequence[int]) -> Layout:
        """The layout of queries [B, L, H, K]; positions may be padded, so they are always divided."""
        if mesh is None:
            return cls()
        batch, _, heads, _ = shape
        rows = batch % prod(mesh.shape[name] for name in ROW_AXES) == 0
        tensor, sequence = mesh.shape["tensor"], mesh.shape["sequence"]
        by_head = tensor > 1 and heads % tensor == 0
        return cls(
            rows=ROW_AXES if rows else None,
            heads="tensor" if by_head else None,
            sequence="sequence" if sequence > 1 else None,
            head_parts=tensor if by_head else 1,
            sequence_parts=sequence,
        )

    def key_heads(self, groups: int) -> str | None:
        """The axis that divides the key heads that `repeat_heads` gives; a single head goes to all."""
        return None if groups == 1 else self.heads


def repeat_heads(x: jax.Array, parts: int, heads: int) -> jax.Array:
    """Key or value heads as often as their division asks for. x: [B, L, G, K] -> [B, L, G', K].

    G' is G when the parts divide it, or when there is one head for all. Otherwise each head is repeated
    beside itself until they do and query head h still finds its key head at h // (heads / G'), at the latest
    when there are as many as query heads.

    >>> x = jnp.arange(2.0).reshape(1, 1, 2, 1)
    >>> repeat_heads(x, 2, 8).ravel().tolist(), repeat_heads(x, 4, 8).ravel().tolist()
    ([0.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    groups = x.shape[2]
    if groups == 1:
        return x
    counts = range(1, heads // groups + 1)
    times = next(n for n in counts if groups * n % parts == 0 and heads % (groups * n) == 0)
    return x if times == 1 else jnp.repeat(x, times, axis=2)
