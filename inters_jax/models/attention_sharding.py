"""How a mesh shards the arrays of attention, for kernels that the compiler cannot partition.

Axis names are those of `inters_jax.mesh`. What an axis does not divide evenly is replicated on its devices,
which costs only time.
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
    """The mesh axes that shard rows, heads and positions (None: not sharded), and the number of shards."""

    rows: tuple[str, ...] | None = None
    heads: str | None = None
    sequence: str | None = None
    head_parts: int = 1
    sequence_parts: int = 1

    @classmethod
    def of(cls, mesh: Mesh | None, shape: Sequence[int]) -> Layout:
        """The layout of queries [B, L, H, K]; positions can be padded, so they are always sharded."""
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
        """The axis that shards the key heads of `repeat_heads`; a single head is replicated."""
        return None if groups == 1 else self.heads


def repeat_heads(x: jax.Array, parts: int, heads: int) -> jax.Array:
    """Repeat key or value heads until they can be sharded. x: [B, L, G, K] -> [B, L, G', K].

    G' is G if `parts` divides it, or if there is a single head. Otherwise each head is repeated, next to
    itself, the least number of times such that `parts` divides G' and query head h still uses key head
    h // (heads / G'); at most, G' is the number of query heads.

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
