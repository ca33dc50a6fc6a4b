"""Requests and answers of `/v1/rerank`, in the shape that Cohere's and Jina's clients send and read.

    {"model": "...", "query": "...", "documents": ["...", {"text": "..."}], "top_n": 3,
     "return_documents": true}

    {"id": "...", "model": "...",
     "results": [{"index": 1, "relevance_score": 0.98, "document": {"text": "..."}}, ...],
     "usage": {"prompt_tokens": 412, "total_tokens": 412}, "meta": {...}}

`index` is the place of a document in the request; results come best first. `relevance_score` lies in 0..1:
the probability of Yes against No for pointwise reranking, and a rank turned into a number for methods whose
scores mean nothing outside their own list.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inters_jax.ranking.reranker import RankedResults


@dataclass(frozen=True)
class Limits:
    """What one request may hold; more is refused with 413 or 422."""

    body_bytes: int = 4_000_000
    documents: int = 1000
    query_characters: int = 8_000
    document_characters: int = 200_000


class TextDocument(BaseModel):
    """A document with fields; further fields (ids, urls) are given back untouched."""

    model_config = ConfigDict(extra="allow")

    text: str
    title: str = ""


class RerankRequest(BaseModel):
    """The body of a request. Fields of other services that change nothing here are accepted and ignored."""

    model_config = ConfigDict(extra="ignore")

    query: str = Field(min_length=1)
    documents: list[str | TextDocument] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool | None = None

    @field_validator("query")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the query is blank")
        return value

    def texts(self) -> list[dict[str, str]]:
        """The documents as the reranker takes them."""
        return [
            {"text": one, "title": ""} if isinstance(one, str) else {"text": one.text, "title": one.title}
            for one in self.documents
        ]

    def exceeds(self, limits: Limits) -> str | None:
        """What is too large, in words; None when nothing is."""
        if len(self.documents) > limits.documents:
            return f"{len(self.documents)} documents; one request may hold {limits.documents}"
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
    request: RerankRequest, found: RankedResults, model: str, *, probabilities: bool, returns: bool = False
) -> dict[str, Any]:
    """The body of the answer.

    probabilities: scores are differences of two logits; otherwise only the order means something.
    returns: whether documents are given back when the request does not say.
    """
    wanted = returns if request.return_documents is None else request.return_documents
    results = []
    for result in found.top_k(request.top_n or len(found)):
        index = int(result.doc_id)
        score = sigmoid(result.score) if probabilities else (len(found) - result.rank + 1) / len(found)
        entry: dict[str, Any] = {"index": index, "relevance_score": score}
        if wanted:
            given = request.documents[index]
            entry["document"] = {"text": given} if isinstance(given, str) else given.model_dump()
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
    """1 / (1 + exp(-value)), without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0), sigmoid(1000.0)
    (0.5, 0.0, 1.0)
    """
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    small = math.exp(value)
    return small / (1.0 + small)


def refusal(message: str, **more: Any) -> dict[str, Any]:
    """The body of an error: `message` is what Cohere's client shows, `detail` what Jina's does."""
    return {"message": message, "detail": message, **more}


def validation_message(errors: list[Mapping[str, Any]]) -> str:
    """The first few faults of a body in one line.

    >>> validation_message([{"loc": ("body", "query"), "msg": "Field required"}])
    'query: Field required'
    """
    lines = []
    for error in errors[:3]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        lines.append(f"{place or 'body'}: {error['msg']}")
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return "; ".join(lines) + more
