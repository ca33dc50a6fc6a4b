"""What a ranking method may ask of a model, and what it gives back.

A method is written as a Python generator over one query: it yields lists of requests, is sent the list of
their answers, and returns a `Ranked`. It knows nothing of models, prompts or batches:

    Labels(question)              float32 [labels]   logits of Yes and No, or one per document shown
    Likelihood(question, text)    float              log p(text | question)
    Permutation(question)         list[int]          the documents shown, best first (numbers from 0)

A question names a trained template family (`seqio_tasks.templates.FAMILIES`) and the documents it shows; a
backend makes the prompt of it. The same question of the same query has the same answer, whatever it is
batched with.
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
    """A candidate. Methods take any object with `title` and `text`; `doc_id`, if there, is for messages."""

    title: str
    text: str
    doc_id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """`documents` in the order shown; `number` (from 1): the one that a pairwise check holds to be better."""

    family: str
    query: str
    documents: tuple[Any, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Logits of the answers: Yes and No for judgments and checks, the documents' identifiers otherwise.

    whole: False takes the logit of the first token that tells the answers apart, True the log-probability of
      all tokens of each answer.
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
    """The order in which a model names the documents shown; decoding is constrained: always a permutation."""

    question: Question


Request = Labels | Likelihood | Permutation
Answer = Any  # float32 [labels], float, or list[int]


@dataclass(frozen=True)
class Ranked:
    """A full order of the candidates.

    order: candidate numbers, best first; a permutation of range(n).
    scores: float32 [n], one per candidate in the order given; never rising along `order`. Candidates with
      equal scores keep their first-stage order.
    """

    order: list[int]
    scores: np.ndarray


Ranking = Generator[list[Request], list[Answer], Ranked]


class Method(Protocol):
    """A ranking method with its options."""

    def rank(self, query: str, documents: Sequence[Any]) -> Ranking:
        """Ranks `documents`, which come in first-stage order."""
        ...
