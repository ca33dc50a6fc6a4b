"""The result of judging one task, and its figures from the task's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inters_jax.evaluation.records import Records
from seqio_tasks.base import UserError
from seqio_tasks.metrics import protocols

# What metric functions return besides metrics.
COUNTS = frozenset(
    {"examples", "tied", "unparsed", "low_agreement", "queries", "queries_missing", "documents"}
)


@dataclass
class TaskResult:
    """The result of judging one task.

    metrics, paper_metrics: by the protocols `standard` (the task's own metric functions) and `paper`.
    counts: items (rows), questions (rows with the same prompt are one), truncated answers and so on.
    examples: one record per row of the task: texts, evaluation fields, `target` (as the metric functions
      get it), `prediction` and/or `score`.
    run, qrels: query id -> document id -> score in ranking order, and judgments, of tasks that rank
      documents.
    """

    task: str
    metrics: dict[str, float]
    counts: dict[str, int | float]
    examples: Records = field(default_factory=Records)
    run: dict[str, dict[str, float]] | None = None
    qrels: Mapping[str, Mapping[str, int]] | None = None
    paper_metrics: dict[str, float] = field(default_factory=dict)

    def split_counts(self) -> None:
        """Move the counts of metric functions (unparsed answers, ties, ...) from `metrics` to `counts`."""
        for name in COUNTS & self.metrics.keys():
            self.counts[name] = int(self.metrics.pop(name))


def rerank_metrics(
    task: Any, records: Iterable[Mapping[str, Any]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """The task's own metrics, from the scores in its records and the given judgments."""
    pairs = [(record["target"], record["score"]) for record in records]
    targets, scores = [target for target, _ in pairs], [score for _, score in pairs]
    found: dict[str, float] = {}
    for metric in task.score_metric_fns:
        found |= metric(targets, scores, qrels=lambda split: qrels)
    return {name: as_number(value) for name, value in found.items()}


def paper_metrics(
    task: str, records: Iterable[Mapping[str, Any]], qrels: Mapping[str, Mapping[str, int]] | None
) -> dict[str, float]:
    """Metrics of the same answers by the protocol `paper`; empty for tasks that are not in the catalog."""
    try:
        protocols.pair_of(task)
    except ValueError:
        return {}
    # Large tasks are rerank tasks, whose texts no metric uses.
    kept = [
        record
        if "query_id" not in record
        else {name: value for name, value in record.items() if not name.endswith("_pretokenized")}
        for record in records
    ]
    found: dict[str, float] = protocols.score(task, kept, "paper", qrels=qrels)
    return found


def ranking(examples: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Documents by score(Yes) - score(No) as float32, ties in first-stage order.

    >>> row = {"query_id": "q", "doc_id": "a", "first_stage_rank": 1, "choice": 0, "score": -1.0}
    >>> other = row | {"doc_id": "b", "first_stage_rank": 2}
    >>> ranking([row, row | {"choice": 1, "score": -2.0}, other, other | {"choice": 1, "score": -4.0}])
    {'q': {'b': 3.0, 'a': 1.0}}
    """
    differences: dict[str, dict[str, float]] = {}
    ranks: dict[tuple[str, str], int] = {}
    for example in examples:
        query, document = example["query_id"], example["doc_id"]
        scores = differences.setdefault(query, {})
        sign = 1.0 if example["choice"] == 0 else -1.0
        scores[document] = scores.get(document, 0.0) + sign * example["score"]
        ranks[query, document] = example["first_stage_rank"]
    run = {}
    for query, scores in differences.items():
        narrow = {document: float(np.float32(score)) for document, score in scores.items()}
        ordered = sorted(narrow, key=lambda document: (-narrow[document], ranks[query, document]))
        run[query] = {document: narrow[document] for document in ordered}
    return run


def as_number(metric: Any) -> float:
    """A metric as a float, from a number, an array of one number, or a seqio metric value."""
    value = np.asarray(getattr(metric, "value", metric), np.float64)
    if value.size != 1:
        raise UserError(f"a metric must be one number, got an array of shape {value.shape}")
    return float(value.reshape(()))
