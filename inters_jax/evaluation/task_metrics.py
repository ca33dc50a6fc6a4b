"""Metrics of a task, computed from the saved records of its rows. Needs no SeqIO.

Used while judging, by `evaluate --verify`, and for values per question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqio_tasks.base import UserError
from seqio_tasks.metrics import protocols

Record = Mapping[str, Any]
Qrels = Mapping[str, Mapping[str, int]]

# What metric functions return in addition to measures.
COUNTS = frozenset(
    {"examples", "tied", "unparsed", "low_agreement", "queries", "queries_missing", "documents"}
)


def rerank_metrics(task: Any, records: Iterable[Record], qrels: Qrels) -> dict[str, float]:
    """The metrics of a reranking task, from the scores in its records and the given judgments."""
    pairs = [(record["target"], record["score"]) for record in records]
    targets, scores = [target for target, _ in pairs], [score for _, score in pairs]
    found: dict[str, float] = {}
    for metric in task.score_metric_fns:
        found |= metric(targets, scores, qrels=lambda split: qrels)
    return {name: as_number(value) for name, value in found.items()}


def paper_metrics(task: str, records: Iterable[Record], qrels: Qrels | None) -> dict[str, float]:
    """The metrics of the same answers by the protocol `paper`; {} for tasks outside the catalog."""
    try:
        protocols.pair_of(task)
    except ValueError:
        return {}
    # The largest tasks are rerank tasks, and no metric of theirs looks at the texts.
    kept = [
        record
        if "query_id" not in record
        else {name: value for name, value in record.items() if not name.endswith("_pretokenized")}
        for record in records
    ]
    found: dict[str, float] = protocols.score(task, kept, "paper", qrels=qrels)
    return found


def ranking(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Documents by score(Yes) - score(No) as float32; ties keep their first-stage order.

    >>> row = {"query_id": "q", "doc_id": "a", "first_stage_rank": 1, "choice": 0, "score": -1.0}
    >>> other = row | {"doc_id": "b", "first_stage_rank": 2}
    >>> ranking([row, row | {"choice": 1, "score": -2.0}, other, other | {"choice": 1, "score": -4.0}])
    {'q': {'b': 3.0, 'a': 1.0}}
    """
    differences: dict[str, dict[str, float]] = {}
    ranks: dict[tuple[str, str], int] = {}
    for record in records:
        query, document = record["query_id"], record["doc_id"]
        scores = differences.setdefault(query, {})
        sign = 1.0 if record["choice"] == 0 else -1.0
        scores[document] = scores.get(document, 0.0) + sign * record["score"]
        ranks[query, document] = record["first_stage_rank"]
    run = {}
    for query, scores in differences.items():
        narrow = {document: float(np.float32(score)) for document, score in scores.items()}
        ordered = sorted(narrow, key=lambda document: (-narrow[document], ranks[query, document]))
        run[query] = {document: narrow[document] for document in ordered}
    return run


def split_counts(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, int]]:
    """Measures and counts (unparsed answers, ties, ...) of what metric functions returned.

    >>> split_counts({"accuracy": 50.0, "unparsed": 1.0})
    ({'accuracy': 50.0}, {'unparsed': 1})
    """
    measures = {name: value for name, value in metrics.items() if name not in COUNTS}
    return measures, {name: int(value) for name, value in metrics.items() if name in COUNTS}


def as_number(metric: Any) -> float:
    """A metric as a float. Metric functions return numbers, arrays of one number or seqio metric values.

    Raises:
      UserError: an array of several numbers.
    """
    value = np.asarray(getattr(metric, "value", metric), np.float64)
    if value.size != 1:
        raise UserError(f"a metric must be one number, got an array of shape {value.shape}")
    return float(value.reshape(()))
