"""What of a model is trained: its parameters cut into a trained and a frozen part, and joined again.

Gradients, moments and checkpoints exist for the trained part only. The frozen part is an argument of the
jitted step that is neither donated nor returned; it is made anew from its source whenever a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

Tree = dict[str, Any]

TRAINED = ("lora_a", "lora_b")
NOISE = "dropout_key"


def split(parameters: Mapping[str, Any]) -> tuple[Tree, Tree]:
    """The trained and the frozen leaves of a nested dict; what is made anew at each step is in neither.

    >>> split({"query": {"kernel": 1, "lora_a": 2, "lora_b": 3}, "embedding": 4})
    ({'query': {'lora_a': 2, 'lora_b': 3}}, {'query': {'kernel': 1}, 'embedding': 4})
    """
    trained: Tree = {}
    frozen: Tree = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            for whole, part in zip((trained, frozen), split(value), strict=True):
                if part:
                    whole[name] = part
        elif name in TRAINED:
            trained[name] = value
        elif name != NOISE:
            frozen[name] = value
    return trained, frozen


def join(first: Mapping[str, Any], second: Mapping[str, Any]) -> Tree:
    """Two nested dicts with different leaves as one.

    >>> join({"query": {"lora_a": 2}}, {"query": {"kernel": 1}, "embedding": 4})
    {'query': {'lora_a': 2, 'kernel': 1}, 'embedding': 4}
    """
    joined: Tree = dict(first)
    for name, value in second.items():
        joined[name] = join(joined[name], value) if name in joined else value
    return joined


def noise(parameters: Mapping[str, Any], key: jax.Array) -> Tree:
    """The random keys of a step for every dropout in a tree of shapes: [layers, 2] raw keys each."""
    flat = jax.tree_util.tree_flatten_with_path(dict(parameters))[0]
    made: Tree = {}
    for number, (path, leaf) in enumerate(flat):
        names = [part.key for part in path]
        if names[-1] == NOISE:
            keys = jax.random.split(jax.random.fold_in(key, number), leaf.shape[0])
            node = made
            for name in names[:-1]:
                node = node.setdefault(name, {})
            node[NOISE] = jax.random.key_data(keys)
    return made


def size_in_bytes(tree: Any) -> int:
    """Bytes that the arrays (or shapes) of a tree take; values of 4 bits take half a byte."""
    return sum(
        -(-leaf.size * (4 if leaf.dtype.name in ("uint4", "int4") else 8 * leaf.dtype.itemsize) // 8)
        for leaf in jax.tree.leaves(tree)
    )
