"""Values per question, for intervals, significance tests and lists of the worst cases.

For tasks of the catalog they come from `seqio_tasks.metrics.protocols.per_item`: a value per query where
documents are ranked, per example elsewhere (per conversation for the measures of turns). For generated
answers of a third-party task, the value of a question is the metric of that question alone.

For most metrics (accuracy, F1, ROUGE, nDCG) the task's figure is the mean over its questions. Where it is not
(corpus BLEU, macro F1), `Items.is_mean` is False and no interval is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.evaluation.averages import form_of
from inters_jax.evaluation.significance import bootstrap_intervals
from inters_jax.evaluation.task_metrics import COUNTS, as_number, ranking
from seqio_tasks.metrics import protocols
from seqio_tasks.metrics.ranking import evaluate_run

Record = Mapping[str, Any]
MAX_ROWS = 200_000  # larger tasks get no values per question


@dataclass(frozen=True)
class Items:
    """Per-question values of one task.

    Attributes:
      task: its name.
      values: metric -> question -> value.
      shown: question -> the record to show for it: the best document of a ranked query, the chosen one of
        scored labels.
    """

    task: str
    values: Mapping[str, Mapping[str, float]]
    shown: Mapping[str, Record]

    def array(self, metric: str) -> np.ndarray:
        """The values of a metric: float64 [questions]."""
        return np.array(list(self.values[metric].values()), np.float64)

    def is_mean(self, metric: str, figure: float) -> bool:
        """Whether the task's figure is the mean of its questions."""
        if not self.values.get(metric):
            return False
        return abs(float(self.array(metric).mean()) - figure) < 1e-6

    def worst(self, metric: str, count: int) -> list[str]:
        """The `count` questions with the smallest values; ties stay in order."""
        return sorted(self.values[metric], key=self.values[metric].__getitem__)[:count]


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
    if form_of(task.name) is None:
        return _third_party(task, kept)
    values = protocols.per_item(task.name, kept, qrels=qrels)
    return Items(task.name, values, _shown(kept))


def items_of_run(
    task: str, run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]
) -> Items:
    """The queries of a ranking task, from its run in ranking order; without records to show."""
    return Items(task, per_query(run, qrels, protocols.pair_of(task).metrics), {})


def interval(values: np.ndarray, *, samples: int = 2000) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean; None for fewer than two questions."""
    if len(values) < 2:
        return None
    low, high = bootstrap_intervals(values, samples=samples)[0]
    return float(low), float(high)


def first_stage(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The first-stage order of the documents that the records rank, as scores.

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
    """Measure a run whose documents are in ranking order, whatever their scores.

    Returns:
      measure -> query -> value.
    """
    ranks = {query: {d: -float(n) for n, d in enumerate(own)} for query, own in run.items()}
    return {name: dict(own) for name, own in evaluate_run(qrels, ranks, list(measures)).per_query.items()}


def _shown(records: list[Record]) -> dict[str, Record]:
    if records and "query_id" in records[0]:
        best = {query: next(iter(own)) for query, own in ranking(records).items()}
        return {
            record["query_id"]: record
            for record in records
            if record["doc_id"] == best[record["query_id"]] and record["choice"] == 0
        }
    shown: dict[str, Record] = {}
    for record in records:
        item = record["example_id"]
        if item not in shown or record.get("score", 0.0) > shown[item].get("score", 0.0):
            shown[item] = record
    return shown


def _third_party(task: Any, records: list[Record]) -> Items:
    """Generated answers one by one, by the task's own metrics."""
    values: dict[str, dict[str, float]] = {}
    shown = {str(record.get("example_id", number)): record for number, record in enumerate(records)}
    if not task.predict_metric_fns or len(shown) < len(records):
        return Items(task.name, {}, shown)
    for item, record in shown.items():
        for metric in task.predict_metric_fns:
            for name, value in metric([record["target"]], [record["prediction"]]).items():
                if name not in COUNTS:
                    values.setdefault(name, {})[item] = as_number(value)
    return Items(task.name, values, shown)
