"""The requests that a ranking method makes to a model, and the ranking it returns.

A method is a Python generator over one query: it yields lists of requests, is sent the list of their answers,
and returns a `Ranked`. It knows neither models nor prompts nor batches:

    Labels(question)              float32 [labels]   logits of Yes and No, or one per document shown
    Likelihood(question, text)    float              log p(text | question)
    Permutation(question)         list[int]          the documents shown, best first (numbers from 0)

A question names a trained template family (`seqio_tasks.templates.FAMILIES`) and the documents it shows; a
backend turns it into a prompt. The same question about the same query has the same answer in any batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

JUDGMENT = "pointwise_judgment"
GENERATION = "query_generation"
CHOICE = "pairwise_choice"
CHECK = "pairwise_check"
ORDER = "listwise_order"


class Document(NamedTuple):
    """A candidate. Methods take any object with `title` and `text`; `doc_id`, if present, is for messages."""

    title: str
    text: str
    doc_id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """`documents` in the order shown; `number` (from 1): the one that a pairwise check claims is better."""

    family: str
    query: str
    documents: tuple[Any, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Logits of the answers: Yes and No for judgments and checks, the documents' identifiers otherwise.

    whole: False: the logit of the first token in which the answers differ; True: the log-probability of all
      tokens of each answer.
    """

    question: Question
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probability of a text after the question; `per_token` divides by its length in tokens."""

    question: Question
    continuation: str
    per_token: bool = False


@dataclass(frozen=True, slots=True)
class Permutation:
    """The order in which a model lists the documents shown; constrained decoding makes it a permutation."""

    question: Question


Request = Labels | Likelihood | Permutation
Answer = Any  # float32 [labels], float, or list[int]


@dataclass(frozen=True)
class Ranked:
    """A full order of the candidates.

    order: candidate numbers, best first; a permutation of range(n).
    scores: float32 [n], one per candidate in the order given; never increasing along `order`. Candidates
      with equal scores keep their first-stage order.
    reranked: False for a query that keeps its first-stage order because its prompts are too long.
    """

    order: list[int]
    scores: np.ndarray
    reranked: bool = True


Ranking = Generator[list[Request], list[Answer], Ranked]


class Method(Protocol):
    """A ranking method with its options."""

    @property
    def scored(self) -> bool:
        """Whether `Ranked.scores` say how much better a document is, and not only its place in the order."""
        ...

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        """Rank `documents`, which are in first-stage order."""
        ...
