"""Requests and answers of `/v1/rerank`, in the format of Cohere's and Jina's clients.

    {"model": "...", "query": "...", "documents": ["...", {"text": "..."}], "top_n": 3,
     "return_documents": true}

    {"id": "...", "model": "...",
     "results": [{"index": 1, "relevance_score": 0.98, "document": {"text": "..."}}, ...],
     "usage": {"prompt_tokens": 412, "total_tokens": 412}, "meta": {...}}

`index` is the position of a document in the request; results are best first. `relevance_score` is between 0
and 1: the probability of Yes against No for pointwise reranking, and a function of the rank for methods whose
scores have no meaning outside their own list.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from inters_jax.ranking.reranker import RankedResults
from seqio_tasks.sources.common import fault_of


@dataclass(frozen=True)
class Limits:
    """Limits of one request; anything larger is refused with 413 or 422."""

    body_bytes: int = 4_000_000
    documents: int = 1000
    query_characters: int = 8_000
    document_characters: int = 200_000


class TextDocument(BaseModel):
    """A document with fields; additional fields (ids, URLs) are returned unchanged."""

    model_config = ConfigDict(extra="allow")

    text: str
    title: str = ""

    @field_validator("title", mode="before")
    @classmethod
    def _no_title(cls, value: Any) -> Any:
        """Programs that read titles from a table send null where there is none."""
        return "" if value is None else value


class RerankRequest(BaseModel):
    """The body of a request. Fields of other services that have no meaning here are accepted and ignored.

    top_n: number of results; None and 0: all.
    """

    model_config = ConfigDict(extra="ignore")

    query: str = Field(min_length=1)
    documents: list[str | TextDocument] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=0)
    return_documents: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        """Refuse what cannot be ranked or returned as JSON, in fields that are only returned too."""
        if fault := fault_of(value):
            raise ValueError(fault)
        return value

    @field_validator("query")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the query is blank")
        return value

    def texts(self) -> list[dict[str, str]]:
        """The documents in the form that the reranker takes."""
        return [
            {"text": one, "title": ""} if isinstance(one, str) else {"text": one.text, "title": one.title}
            for one in self.documents
        ]

    def exceeds(self, limits: Limits) -> str | None:
        """What exceeds the limits, as a message; None if nothing does."""
        if len(self.documents) > limits.documents:
            return f"{len(self.documents)} documents; one request may have {limits.documents}"
        if len(self.query) > limits.query_characters:
            return f"the query has {len(self.query)} characters; {limits.query_characters} are allowed"
        for number, one in enumerate(self.texts()):
            size = len(one["text"]) + len(one["title"])
            if size > limits.document_characters:
                return (
                    f"document {number} has {size} characters; {limits.document_characters} are allowed; "
                    "send its passages instead"
                )
        return None


def answer(
    request: RerankRequest, found: RankedResults, model: str, *, probabilities: bool
) -> dict[str, Any]:
    """The body of the answer.

    Args:
      request: the request.
      found: its ranking.
      model: name of the model.
      probabilities: scores are differences of two logits; False: only the order is meaningful.
    """
    results = []
    for result in found.top_k(request.top_n or len(found)):
        index = int(result.doc_id)
        score = sigmoid(result.score) if probabilities else (len(found) - result.rank + 1) / len(found)
        entry: dict[str, Any] = {"index": index, "relevance_score": score}
        if request.return_documents:
            document = request.documents[index]
            entry["document"] = {"text": document} if isinstance(document, str) else document.model_dump()
        results.append(entry)
    tokens = found.cost.prompt_tokens
    return {
        "id": uuid.uuid4().hex,
        "model": model,
        "object": "list",
        "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens + found.cost.generated_tokens},
        "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 0}},
    }


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0), sigmoid(1000.0)
    (0.5, 0.0, 1.0)
    """
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    small = math.exp(value)
    return small / (1.0 + small)


def refusal(message: str, **more: Any) -> dict[str, Any]:
    """The body of an error: Cohere's client shows `message`, Jina's shows `detail`."""
    return {"message": message, "detail": message, **more}


def validation_message(errors: list[Mapping[str, Any]]) -> str:
    """The first few errors of a body in one line.

    >>> validation_message([{"loc": ("body", "query"), "msg": "Field required"}])
    'query: Field required'
    """
    lines = []
    for error in errors[:3]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        lines.append(f"{place or 'body'}: {error['msg']}")
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return "; ".join(lines) + more
