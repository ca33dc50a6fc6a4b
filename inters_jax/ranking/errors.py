"""The one exception of the ranking side."""

from __future__ import annotations

from seqio_tasks.base import UserError


class RerankError(UserError):
    """Input that must not be reranked: says where, what, and what to do."""
