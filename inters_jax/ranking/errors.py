"""The errors of the ranking side; the HTTP server answers them with 422."""

from __future__ import annotations

from collections.abc import Sequence

from seqio_tasks.base import UserError


class RerankError(UserError):
    """Input that cannot be reranked. The message says where, what, and what to do."""


class TooLong(RerankError):
    """Requests whose prompts exceed the length limit. `places`: their numbers in the list, from 0."""

    def __init__(self, message: str, places: Sequence[int] = (0,)) -> None:
        super().__init__(message)
        self.places = tuple(places)
