"""Accuracy and F1 of predicted labels.

A prediction outside the label set (a model's answer that is not a label) counts as wrong for accuracy and as
a miss for the gold label's recall; such predictions are counted.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

UNPARSED = ""


def parse_label(text: str, labels: Sequence[str]) -> str:
    """The label that a generated answer states, or UNPARSED: its first line, ignoring spaces and case.

    >>> parse_label(" Yes.\\n", ["yes", "no"]), parse_label("yes or no", ["yes", "no"])
    ('yes', '')
    """
    lines = text.strip().splitlines()
    stated = lines[0].strip(string.whitespace + string.punctuation).casefold() if lines else ""
    for label in labels:
        if stated == label.strip(string.whitespace + string.punctuation).casefold():
            return label
    return UNPARSED


def split_labels(text: str) -> list[str]:
    """The labels of a list such as "potential answer, further details" (labels have no commas).

    >>> split_labels("potential answer, further details")
    ['potential answer', 'further details']
    """
    return [label for part in text.split(",") if (label := part.strip())]


def precision_at_1(
    targets: Sequence[Sequence[str]], predictions: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """precision_at_1 (how often the one predicted label is among the gold ones), in 0..100, and unparsed.

    targets: [items][1 or more] labels; predictions: one label per item, or UNPARSED.

    >>> precision_at_1([["a", "b"], ["a"]], ["b", "b"], ["a", "b"])
    {'precision_at_1': 50.0, 'unparsed': 0.0}
    """
    if len(targets) != len(predictions):
        raise ValueError(f"{len(targets)} targets but {len(predictions)} predictions")
    if not targets:
        raise ValueError("no items to score")
    known = set(labels)
    for index, target in enumerate(targets):
        if not target or not set(target) <= known:
            raise ValueError(f"item {index}: gold labels {list(target)} are not among {list(labels)}")
    right = sum(given in target for target, given in zip(targets, predictions, strict=True))
    unparsed = sum(given not in known for given in predictions)
    return {"precision_at_1": 100.0 * right / len(targets), "unparsed": float(unparsed)}


def classification(
    targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """accuracy, macro_f1 (over all `labels`), weighted_f1 (by gold frequency) in 0..100; unparsed, a count.

    Equal to scikit-learn's accuracy_score and f1_score(labels=labels, zero_division=0).

    >>> classification(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])["macro_f1"]
    66.66666666666666
    """
    if len(targets) != len(predictions):
        raise ValueError(f"{len(targets)} targets but {len(predictions)} predictions")
    if not targets:
        raise ValueError("no items to score")
    number = {label: index for index, label in enumerate(labels)}
    for index, target in enumerate(targets):
        if target not in number:
            raise ValueError(f"item {index}: gold label {target!r} is not one of {list(labels)}")
    gold = np.asarray([number[target] for target in targets], np.int64)
    given = np.asarray([number.get(prediction, len(labels)) for prediction in predictions], np.int64)
    support = np.bincount(gold, minlength=len(labels))
    found = np.bincount(given, minlength=len(labels) + 1)[: len(labels)]
    right = np.bincount(gold[gold == given], minlength=len(labels))
    f1 = np.divide(2.0 * right, support + found, out=np.zeros(len(labels)), where=support + found > 0)
    return {
        "accuracy": 100.0 * float(np.mean(gold == given)),
        "macro_f1": 100.0 * float(f1.mean()),
        "weighted_f1": 100.0 * float(np.average(f1, weights=support)),
        "unparsed": float(np.sum(given == len(labels))),
    }
