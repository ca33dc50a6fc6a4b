"""Split the parameters of an adapted model into a trained and a frozen part, and join them again.

Gradients, moments and checkpoints exist only for the trained part. The frozen part is an argument of the
jitted step that is neither donated nor returned; it is loaded again from its source whenever a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from inters_jax.trees import TreePath, by_path

Tree = dict[str, Any]

TRAINED = ("lora_a", "lora_b")
NOISE = "dropout_key"


def split(parameters: Mapping[str, Any]) -> tuple[Tree, Tree]:
    """Split a nested dict into its trained and its frozen leaves; dropout keys are in neither.

    >>> split({"query": {"kernel": 1, "lora_a": 2, "lora_b": 3}, "embedding": 4})
    ({'query': {'lora_a': 2, 'lora_b': 3}}, {'query': {'kernel': 1}, 'embedding': 4})
    """
    flat = {path: leaf for path, leaf in flatten_dict(parameters).items() if path[-1] != NOISE}
    return (
        unflatten_dict({path: leaf for path, leaf in flat.items() if path[-1] in TRAINED}),
        unflatten_dict({path: leaf for path, leaf in flat.items() if path[-1] not in TRAINED}),
    )


def join(first: Mapping[str, Any], second: Mapping[str, Any]) -> Tree:
    """Join two nested dicts with different leaves.

    >>> join({"query": {"lora_a": 2}}, {"query": {"kernel": 1}, "embedding": 4})
    {'query': {'lora_a': 2, 'kernel': 1}, 'embedding': 4}
    """
    return unflatten_dict(flatten_dict(first) | flatten_dict(second))


def noise(parameters: Mapping[str, Any], key: jax.Array) -> Tree:
    """The random keys of a step for every dropout of the model: raw keys, uint32 [layers, 2] each.

    Args:
      parameters: shapes of all parameters.
      key: of the step.
    """
    made: dict[TreePath, Any] = {}
    for number, (path, leaf) in enumerate(by_path(parameters).items()):
        if path[-1] == NOISE:
            keys = jax.random.split(jax.random.fold_in(key, number), leaf.shape[0])
            made[path] = jax.random.key_data(keys)
    return unflatten_dict(made)


def size_in_bytes(tree: Any) -> int:
    """Bytes of the arrays (or shapes) of a tree; 4-bit values take half a byte."""
    return sum(
        -(-leaf.size * (4 if leaf.dtype.name in ("uint4", "int4") else 8 * leaf.dtype.itemsize) // 8)
        for leaf in jax.tree.leaves(tree)
    )
