"""The error of the ranking side; the HTTP server answers it with 422."""

from __future__ import annotations

from seqio_tasks.base import UserError


class RerankError(UserError):
    """Input that cannot be reranked. The message says where, what, and what to do."""
