"""Parameters by path: one view of nested dicts and of `nnx.State`."""

from __future__ import annotations

from typing import Any

import jax

TreePath = tuple[str, ...]


def by_path(tree: Any) -> dict[TreePath, Any]:
    """The leaves of a tree by path, in the order of `jax.tree.leaves`.

    Args:
      tree: nested dicts, or an `nnx.State`, whose variables do not count as a level of the path.

    >>> by_path({"layers": {"query": 1}, "embedding": 2})
    {('embedding',): 2, ('layers', 'query'): 1}
    """
    return {_names(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _names(keys: tuple[Any, ...]) -> TreePath:
    return tuple(str(key.key) for key in keys if isinstance(key, jax.tree_util.DictKey))
