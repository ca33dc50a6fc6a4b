"""The ranking methods by name.

pointwise          Yes/No logit difference, one request per document
query_likelihood   log p(query | document)
pairwise           both orders; allpairs, heapsort or bubble
setwise            the best of c + 1 documents by logits; heapsort or bubble
listwise           sliding window, the order is generated under constraints
first_token        sliding window, the order is that of the first identifier's logits (FIRST)
self_consistency   sliding window, several shuffles per window, aggregated
"""

from __future__ import annotations

import dataclasses
from typing import Any

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods.listwise import Listwise
from inters_jax.ranking.methods.pairwise import Pairwise
from inters_jax.ranking.methods.pointwise import Pointwise, QueryLikelihood
from inters_jax.ranking.methods.setwise import Setwise
from inters_jax.ranking.questions import Method

__all__ = ["METHODS", "Listwise", "Pairwise", "Pointwise", "QueryLikelihood", "Setwise", "create", "options"]

# name -> its class, and what the name sets
METHODS: dict[str, tuple[type, dict[str, Any]]] = {
    "pointwise": (Pointwise, {}),
    "query_likelihood": (QueryLikelihood, {}),
    "pairwise": (Pairwise, {}),
    "setwise": (Setwise, {}),
    "listwise": (Listwise, {}),
    "first_token": (Listwise, {"answers": "first_token"}),
    "self_consistency": (Listwise, {"shuffles": 8}),
}


def options(name: str) -> dict[str, Any]:
    """The options of a method and their defaults.

    >>> options("query_likelihood")
    {'per_token': False}
    """
    if name not in METHODS:
        raise RerankError(f"METHOD {name!r} is unknown; choose one of {', '.join(METHODS)}")
    kind, preset = METHODS[name]
    return {entry.name: preset.get(entry.name, entry.default) for entry in dataclasses.fields(kind)}


def create(name: str, **chosen: Any) -> Method:
    """A method by its name; an option that it does not have is refused.

    >>> create("setwise", num_child=2)
    Setwise(num_child=2, sort='heapsort', top_k=10, whole=False)
    """
    known = options(name)
    if unknown := sorted(chosen.keys() - known.keys()):
        raise RerankError(f"METHOD {name} has no option {unknown[0]!r}; it has {', '.join(known)}")
    method: Method = METHODS[name][0](**{**known, **chosen})
    return method
