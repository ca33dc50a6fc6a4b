"""The loss of the right answers: a measure that improves long before a model generates them.

    prompt -> log p(target, EOS | prompt)       nothing is generated

    target_loss            nats per target token, EOS included: per question, then the mean over questions
    target_bits_per_byte   bits of all targets / UTF-8 bytes of all targets: comparable between tokenizers

Less is better. For generated tasks the loss is computed on request (`evaluate.target_loss`); their records
then have `target_score` (log p in nats) and `target_tokens`. Classification by label scoring has the
log-probabilities of all labels: the right label counts (the mean if several are right), with EOS only where
the scores have it (see `Bridge.score`). Reranking has no target loss: with few right answers among many
candidates it would mostly measure the share of Yes and No.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seqio_tasks.metrics.labels import split_labels

LOSS, BITS_PER_BYTE = "target_loss", "target_bits_per_byte"
MEASURES = (LOSS, BITS_PER_BYTE)

Record = Mapping[str, Any]
_Answer = tuple[str, float, int, int]  # question, log p in nats, tokens, UTF-8 bytes


def measures(records: Iterable[Record]) -> dict[str, float]:
    """The two measures; {} if no record has the probability of its target.

    >>> record = {"example_id": "a", "targets_pretokenized": "four", "target_score": -8.0, "target_tokens": 2}
    >>> {name: round(value, 3) for name, value in measures([record]).items()}
    {'target_loss': 4.0, 'target_bits_per_byte': 2.885}
    """
    answers = list(_answers(records))
    size = sum(number for *_, number in answers)
    if not answers or not size:
        return {}
    losses = _by_question(answers)
    bits = -sum(score for _, score, _, _ in answers) / math.log(2)
    return {LOSS: sum(losses.values()) / len(losses), BITS_PER_BYTE: bits / size}


def by_question(records: Iterable[Record]) -> dict[str, float]:
    """question -> nats per target token.

    >>> yes = {"example_id": "a", "targets_pretokenized": "yes", "score": -0.5, "answer_tokens": 1}
    >>> rows = yes, yes | {"targets_pretokenized": "no", "score": -1.5}
    >>> by_question({"gold": "yes", **row} for row in rows)
    {'a': 0.5}
    """
    return _by_question(_answers(records))


def _by_question(answers: Iterable[_Answer]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for question, score, tokens, _ in answers:
        found.setdefault(question, []).append(-score / tokens)
    return {question: sum(losses) / len(losses) for question, losses in found.items()}


def _answers(records: Iterable[Record]) -> Iterator[_Answer]:
    for number, record in enumerate(records):
        question = str(record.get("example_id", number))
        text = record.get("targets_pretokenized", "")
        if "target_score" in record:
            score, tokens = record["target_score"], record["target_tokens"]
        elif "score" in record and "query_id" not in record and text in _right(record):
            score, tokens = record["score"], record["answer_tokens"]
        else:
            continue
        yield question, score, tokens, len(text.encode("utf-8"))


def _right(record: Record) -> set[str]:
    """The right labels of a record of label scoring."""
    gold = str(record.get("gold", ""))
    return {gold, *split_labels(gold)}
