"""Ranking measures under a PaperProtocol; with all switches off they are those of `standard`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seqio_tasks.base import UserError
from seqio_tasks.metrics.measures import Measure, parse_measure
from seqio_tasks.metrics.paper import PaperProtocol
from seqio_tasks.metrics.ranking import Qrels, Run, evaluate_run, float32_scores, ranking_order

# The measures that the released code prints; RR and R are its "mrr" and "recall".
MEASURES = tuple(f"{name}@{cutoff}" for name in ("nDCG", "RR", "R") for cutoff in (1, 5, 10))
FEW_CANDIDATES = 10
POINTWISE = "pointwise"


def probability_of_yes(difference: float) -> float:
    """The float32 probability of Yes against No, from log p(Yes) - log p(No).

    >>> probability_of_yes(20.0) == probability_of_yes(25.0) == 1.0
    True
    """
    value = np.float32(difference)
    weight = np.exp(-np.abs(value))
    return float((weight if value < 0 else np.float32(1.0)) / (np.float32(1.0) + weight))


def places(query: str, scores: Mapping[str, float]) -> dict[str, float]:
    """document id -> 0, -1, -2 ... by score (as float32); equal scores keep the order given.

    >>> places("q", {"a": 1.0, "b": 2.0, "c": 1.0})
    {'b': 0.0, 'a': -1.0, 'c': -2.0}
    """
    narrow = dict(zip(scores, float32_scores(query, scores).tolist(), strict=True))
    found = sorted(narrow, key=lambda document: -narrow[document])
    return {document: float(-place) for place, document in enumerate(found)}


def ranking_scores(
    qrels: Qrels,
    run: Run,
    measures: Sequence[str | Measure],
    protocol: PaperProtocol,
    *,
    method: str = POINTWISE,
    depth: int | None = None,
    prefixes: Sequence[str] = (),
) -> dict[str, float]:
    """Means of the measures in 0..1, and `queries_undefined` if there are any.

    run: query id -> document id -> score, equal scores in the order of the first stage.
    method: how the run was made; depth: candidates that every query should have (None: unknown, all are
        kept).
    prefixes: of the query ids of each part of a collection: means are over its parts, as in rerank_scores.
    """
    if protocol.skip_short_lists and method != POINTWISE and depth is not None:
        # These queries were never ranked; like all queries without results, they follow the next switch.
        run = {query: scores for query, scores in run.items() if len(scores) >= depth}
    parts = []
    for prefix in prefixes or ("",):
        judged = {query: grades for query, grades in qrels.items() if query.startswith(prefix)}
        if protocol.skip_missing_queries:
            judged = {query: grades for query, grades in judged.items() if run.get(query)}
        if judged:
            parts.append(_part(judged, run, measures, protocol))
    if not parts:
        raise UserError("no judged query to score: none of them is in the run")
    names = [name for name in parts[0] if all(name in part for part in parts)]
    found = {name: sum(part[name] for part in parts) / len(parts) for name in names if name != "undefined"}
    undefined = sum(part.get("undefined", 0.0) for part in parts)
    return found | ({"queries_undefined": undefined} if undefined else {})


def _part(
    judged: Qrels, run: Run, measures: Sequence[str | Measure], protocol: PaperProtocol
) -> dict[str, float]:
    """Means over the queries of one collection, and "undefined" where nDCG is."""
    ranks = {query: _order(query, run[query], protocol) for query in judged if run.get(query)}
    wanted = [parse_measure(measure) for measure in measures]
    per_query = evaluate_run(judged, ranks, wanted).per_query
    relevant = {query for query, grades in judged.items() if max(grades.values()) >= 1}
    found: dict[str, float] = {}
    for measure in wanted:
        values = per_query[str(measure)]
        if measure.name == "nDCG" and not measure.judged_only:
            if protocol.undefined_ndcg and len(relevant) < len(judged):
                found["undefined"] = float(len(judged) - len(relevant))
                continue
            values = {q: _ndcg(grades, ranks.get(q, {}), measure, protocol) for q, grades in judged.items()}
        elif measure.name in ("RR", "R") and protocol.skip_queries_without_relevant:
            values = {query: value for query, value in values.items() if query in relevant}
        found[str(measure)] = sum(values.values()) / len(values) if values else 0.0
    return found


def _order(query: str, scores: Mapping[str, float], protocol: PaperProtocol) -> dict[str, float]:
    """Like `places`; the order of equal scores follows the protocol."""
    if protocol.ties_as_given:
        return places(query, scores)
    return places(query, {document: scores[document] for document in ranking_order(scores)})


def _ndcg(
    grades: Mapping[str, int], ranks: Mapping[str, float], measure: Measure, protocol: PaperProtocol
) -> float:
    """nDCG of one query; ranks: document -> 0, -1, -2 ..."""

    def gain(grade: int) -> float:
        grade = grade if protocol.negative_gain else max(grade, 0)
        return 2.0**grade - 1.0 if protocol.exponential_gain or measure.exponential else float(grade)

    cutoff = measure.cutoff or max(len(ranks), len(grades))
    ideal = sum(
        gain(grade) / np.log2(place + 2)
        for place, grade in enumerate(sorted(grades.values(), reverse=True)[:cutoff])
    )
    gained = sum(
        gain(grades[document]) / np.log2(2 - rank)
        for document, rank in ranks.items()
        if document in grades and -rank < cutoff
    )
    return float(gained / ideal) if ideal else 0.0
