"""Figures of single questions: what intervals, significance tests and lists of the worst cases are made from.

The value of a question is the task's own metric of that question alone:

    generated text      the metric functions of one (target, prediction)
    label scoring       of the rows of one example
    ranking             the measures of one query, those that were not ranked included (0)

The mean over the questions is the task's figure for most metrics (accuracy, F1, ROUGE, nDCG); where it is not
(corpus BLEU, macro F1) `is_mean` says so, and no interval is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inters_jax.evaluation.evaluator import COUNTS, as_number, ranking
from inters_jax.evaluation.significance import bootstrap_intervals

Record = Mapping[str, Any]
MAX_ROWS = 200_000  # questions of larger tasks are not taken apart


@dataclass(frozen=True)
class Items:
    """Per-question values of one task.

    values: metric -> float64 [questions]; ids: the questions in the same order; shown: for each question the
    record that a reader may want to see (of a ranked query: its best document).
    """

    task: str
    ids: list[str]
    values: Mapping[str, np.ndarray]
    shown: list[Record] = field(default_factory=list)

    def is_mean(self, metric: str, figure: float) -> bool:
        """Whether the task's figure is the mean of its questions."""
        values = self.values.get(metric)
        return values is not None and len(values) > 0 and abs(float(values.mean()) - figure) < 1e-6


def items(
    task: Any, records: Iterable[Record], qrels: Mapping[str, Mapping[str, int]] | None = None
) -> Items:
    """The questions of a task.

    Args:
      task: a seqio.Task with metric functions.
      records: of `predictions.jsonl`.
      qrels: of ranking tasks.
    """
    kept = list(records)
    form = getattr(task, "form", None)
    if getattr(form, "rerank", False):
        return _ranked(task, kept, qrels or {})
    if task.score_metric_fns and kept and "score" in kept[0]:
        return _scored(task, kept)
    return _generated(task, kept)


def interval(values: np.ndarray, *, samples: int = 2000) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean; None for fewer than two questions."""
    if len(values) < 2:
        return None
    low, high = bootstrap_intervals(values, samples=samples)[0]
    return float(low), float(high)


def first_stage(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The order in which the first stage gave the documents that the records rank.

    >>> first_stage([{"query_id": "q", "doc_id": "a", "first_stage_rank": 2},
    ...              {"query_id": "q", "doc_id": "b", "first_stage_rank": 1}])
    {'q': {'b': -1.0, 'a': -2.0}}
    """
    found: dict[str, dict[str, float]] = {}
    for record in records:
        found.setdefault(record["query_id"], {})[record["doc_id"]] = -float(record["first_stage_rank"])
    return {query: dict(sorted(own.items(), key=lambda item: -item[1])) for query, own in found.items()}


def per_query(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]], measures: Iterable[str]
) -> dict[str, dict[str, float]]:
    """measure -> query -> value of a run whose documents are in ranking order, whatever their scores."""
    from seqio_tasks.metrics.ranking import evaluate_run

    ranks = {query: {d: -float(n) for n, d in enumerate(own)} for query, own in run.items()}
    return {name: dict(own) for name, own in evaluate_run(qrels, ranks, list(measures)).per_query.items()}


def _ranked(task: Any, records: list[Record], qrels: Mapping[str, Mapping[str, int]]) -> Items:
    run = ranking(records)
    best = {query: next(iter(own)) for query, own in run.items()}
    shown = {
        record["query_id"]: record
        for record in records
        if record["doc_id"] == best[record["query_id"]] and record["choice"] == 0
    }
    found = per_query(run, qrels, task.pair.metrics)
    ids = list(qrels)
    values = {name: np.array([own[query] for query in ids]) for name, own in found.items()}
    return Items(task.name, ids, values, [shown.get(query, {"query_id": query}) for query in ids])


def _scored(task: Any, records: list[Record]) -> Items:
    groups: dict[str, list[Record]] = {}
    for number, record in enumerate(records):
        groups.setdefault(str(record.get("example_id", number)), []).append(record)

    def measure(group: list[Record]) -> dict[str, float]:
        found: dict[str, float] = {}
        for metric in task.score_metric_fns:
            found |= metric([one["target"] for one in group], [one["score"] for one in group])
        return found

    best = [max(group, key=lambda one: one["score"]) for group in groups.values()]
    return Items(task.name, list(groups), _columns(groups.values(), measure), best)


def _generated(task: Any, records: list[Record]) -> Items:
    def measure(record: Record) -> dict[str, float]:
        found: dict[str, float] = {}
        for metric in task.predict_metric_fns:
            found |= metric([record["target"]], [record["prediction"]])
        return found

    ids = [str(record.get("example_id", number)) for number, record in enumerate(records)]
    return Items(task.name, ids, _columns(records, measure), list(records))


def _columns(questions: Iterable[Any], measure: Callable[[Any], dict[str, float]]) -> dict[str, np.ndarray]:
    """metric -> values of all questions; metrics that not every question has are left out."""
    rows = [measure(question) for question in questions]
    names = [name for name in (rows[0] if rows else {}) if name not in COUNTS]
    return {
        name: np.array([as_number(row[name]) for row in rows])
        for name in names
        if all(name in row for row in rows)
    }
