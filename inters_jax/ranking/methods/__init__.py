"""The ranking methods by name, and their options.

pointwise          Yes/No logit difference, one request per document
query_likelihood   log p(query | document)
pairwise           both orders; allpairs, heapsort or bubble
setwise            the best of c + 1 documents by logits; heapsort or bubble
listwise           sliding window; the order is generated under constraints
first_token        sliding window; the order is that of the first identifier's logits (FIRST)
self_consistency   sliding window; several shuffles per window, aggregated
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
from inters_jax.settings.judging import MethodOptions, option_names

__all__ = [
    "METHODS", "Listwise", "Pairwise", "Pointwise", "QueryLikelihood", "Setwise",
    "make_method",
]  # fmt: skip

# name -> its class, and the values that the name sets
METHODS: dict[str, tuple[type, dict[str, Any]]] = {
    "pointwise": (Pointwise, {}),
    "query_likelihood": (QueryLikelihood, {}),
    "pairwise": (Pairwise, {}),
    "setwise": (Setwise, {}),
    "listwise": (Listwise, {}),
    "first_token": (Listwise, {"answers": "first_token"}),
    "self_consistency": (Listwise, {"shuffles": 8}),
}


def make_method(name: str, options: MethodOptions | None = None) -> Method:
    """A method by its name.

    Raises:
      RerankError: the name is unknown, the method has no such option, or a value is out of range.

    >>> make_method("setwise", MethodOptions(num_child=2))
    Setwise(num_child=2, sort='heapsort', top_k=10, whole=False)
    """
    if name not in METHODS:
        raise RerankError(f"METHOD {name!r} is unknown; choose one of {', '.join(METHODS)}")
    kind, preset = METHODS[name]
    chosen = {} if options is None else options.chosen()
    known = [entry.name for entry in dataclasses.fields(kind)]
    if unknown := [option for option in chosen if option not in known]:
        (wrong,), has = option_names(unknown[:1]), option_names(name for name in known if name not in preset)
        raise RerankError(f"METHOD {name} has no option {wrong}; it has {', '.join(has)}")
    method: Method = kind(**{**preset, **chosen})
    return method
