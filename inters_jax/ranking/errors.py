"""The one exception of the ranking side."""

from __future__ import annotations


class RerankError(ValueError):
    """Input that must not be reranked: says where, what, and what to do."""
