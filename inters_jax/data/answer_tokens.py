"""The tokens by which answers are told apart: reranking compares their logits, and so does a ranking loss.

answers    Yes  No                 common ()    first Yes, No
answers    "_" Yes, "_" No         common "_"   first Yes, No     a tokenizer that splits off the space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inters_jax.data.conversion import plain_ids
from seqio_tasks.base import UserError
from seqio_tasks.prompts.ranking import NO, YES

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Choices:
    """Answers to choose from: `common` tokens that all start with, then the first token of each."""

    common: Ids
    first: Ids
    whole: tuple[Ids, ...]


def encode_answers(vocabulary: Any, texts: Sequence[str]) -> tuple[Ids, ...]:
    """The tokens of answers, without an end.

    Args:
      vocabulary: a HuggingFaceTokenizer of the model's tokenizer.
      texts: the answers.
    """
    # As an answer starts behind the prompt: a chat template may put a space before it.
    encode = getattr(vocabulary, "encode_answer", vocabulary.encode)
    return tuple(tuple(map(int, plain_ids(vocabulary, encode(text)))) for text in texts)


def choices_of(answers: Sequence[Ids]) -> Choices | None:
    """None if two answers have the same first token behind their common prefix, or one ends there.

    >>> choices_of([(5, 7, 9), (5, 8)])
    Choices(common=(5,), first=(7, 8), whole=((5, 7, 9), (5, 8)))
    >>> choices_of([(5, 7), (5,)]) is None
    True
    """
    size = common_length(answers)
    first = tuple(one[size] for one in answers if len(one) > size)
    distinct = len(set(first)) == len(answers)
    return Choices(answers[0][:size], first, tuple(answers)) if distinct else None


def common_length(sequences: Sequence[Ids]) -> int:
    """Length of the common prefix.

    >>> common_length([(1, 2, 3), (1, 2, 4)]), common_length([(1, 2)])
    (2, 0)
    """
    if len(sequences) < 2:
        return 0
    size = 0
    for tokens in zip(*sequences, strict=False):
        if len(set(tokens)) > 1:
            break
        size += 1
    return size


def judgment(vocabulary: Any) -> dict[str, int]:
    """Which logits a ranking loss compares: {"common": tokens before them, "yes": id, "no": id}.

    Raises:
      UserError: Yes and No begin with the same token.
    """
    found = choices_of(encode_answers(vocabulary, (YES, NO)))
    if found is None:
        raise UserError(
            f"this tokenizer encodes {YES} and {NO} so that no token tells them apart; a ranking loss needs "
            "another tokenizer (TOKENIZER)"
        )
    return {"common": len(found.common), "yes": found.first[0], "no": found.first[1]}
