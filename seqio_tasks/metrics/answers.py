"""Exact match and token F1 of short answers, by SQuAD's definition.

Both sides are lower-cased, ASCII punctuation and the articles a, an, the are removed, blanks are squeezed.
The best of the references counts. A question without an answer (SQuAD v2) has the gold text "unanswerable":
that text stands for the empty answer, which matches only itself.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

NO_ANSWER = "unanswerable"

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """
    >>> normalise("The  Eiffel-Tower, (Paris)!")
    'eiffeltower paris'
    """
    words = " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    return "" if words == NO_ANSWER else words


def exact_match(references: Sequence[str], prediction: str) -> float:
    """1.0 when the prediction equals one of the references, else 0.0."""
    return float(any(normalise(prediction) == normalise(reference) for reference in references))


def f1(references: Sequence[str], prediction: str) -> float:
    """
    >>> round(f1(["Marie Curie", "Curie"], "the physicist Curie"), 3)
    0.667
    """
    return max(_f1(normalise(reference).split(), normalise(prediction).split()) for reference in references)


def squad(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Means in 0..100 over items; references: [items][1 or more]."""
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} items have references but {len(predictions)} have predictions")
    if not predictions:
        raise ValueError("no items to score")
    for index, own in enumerate(references):
        if isinstance(own, str) or not own:
            raise ValueError(f"item {index}: references must be a list with at least one text, got {own!r}")
    pairs = list(zip(references, predictions, strict=True))
    return {
        "exact_match": 100.0 * sum(exact_match(own, text) for own, text in pairs) / len(pairs),
        "f1": 100.0 * sum(f1(own, text) for own, text in pairs) / len(pairs),
    }


def _f1(reference: Sequence[str], prediction: Sequence[str]) -> float:
    """F1 of two bags of words; two empty ones are equal, an empty and a full one share nothing."""
    if not reference or not prediction:
        return float(reference == prediction)
    common = sum((Counter(reference) & Counter(prediction)).values())
    return 2.0 * common / (len(reference) + len(prediction))
