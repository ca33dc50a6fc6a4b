"""Ranking measures over a run and its judgments, in trec_eval's order and by trec_eval's definitions.

* Order: score (as float32) descending, then document id descending. Scores equal in float32 are tied.
* Every judged query counts; one without results scores 0 (trec_eval ``-c``). Queries of the run without
  judgments are left out. Both are counted in the result.
* A document is relevant from grade ``rel`` (1) upwards; negative grades gain nothing; the gain of nDCG is the
  grade (linear), that of ``nDCG(dcg='exp-log2')`` is ``2 ** grade - 1``.
* ``Bpref`` and ``judged_only=True`` ignore documents without a judgment and negative grades.
* ``Judged@k`` divides by the number of documents actually retrieved within k, as ir_measures does.

A measure only needs the ranks of the judged documents. They come from one sort of all scores, as integers
that encode query and score; document ids are compared only where a judged document is tied. 10,000 queries x
100 documents take a fifth of a second (scripts/bench_metrics.py).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seqio_tasks.base import UserError
from seqio_tasks.metrics.measures import COUNTS, Measure, parse_measure

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class RankingResult:
    """Means over all judged queries, the values per query, and counts of irregularities of the run.

    NumRet and NumRel, which are numbers of documents, are summed instead, as in trec_eval.
    """

    means: dict[str, float]
    per_query: dict[str, dict[str, float]]
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """The judged documents of a run, by query and rank; no measure uses the others.

    query, position, grade: int64[judged documents retrieved]: index of the query, 0-based rank among all its
    documents, judgment; retrieved: int64[queries], number of documents.
    """

    query: _Ints
    position: _Ints
    grade: _Ints
    retrieved: _Ints


def evaluate_run(qrels: Qrels, run: Run, measures: Iterable[str | Measure]) -> RankingResult:
    """Evaluate a run.

    qrels: query id -> document id -> grade; run: query id -> document id -> score.

    >>> qrels = {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": 1}}
    >>> result = evaluate_run(qrels, {"q1": {"d1": 0.5, "d2": 0.7}}, ["RR@10", "nDCG@10"])
    >>> result.per_query["RR@10"]
    {'q1': 0.5, 'q2': 0.0}
    >>> result.counts["queries_missing"]
    1
    """
    wanted = [parse_measure(measure) for measure in measures]
    if not qrels:
        raise UserError("no judged query: the qrels are empty")
    queries = list(qrels)
    ranked, counts = _rank(queries, qrels, run)
    truth = _Truth(queries, qrels)
    counts["queries_without_relevant"] = int(np.sum(truth.relevant(1) == 0))
    judged_only = _drop_unjudged(ranked) if any(m.judged_only for m in wanted) else ranked
    per_query: dict[str, dict[str, float]] = {}
    means: dict[str, float] = {}
    for measure in wanted:
        values = _values(measure, judged_only if measure.judged_only else ranked, truth, len(queries))
        per_query[str(measure)] = dict(zip(queries, values.tolist(), strict=True))
        means[str(measure)] = float(values.sum() if measure.name in COUNTS else values.mean())
    return RankingResult(means, per_query, counts)


def ranking_order(scores: Mapping[str, float]) -> list[str]:
    """Document ids of one query in trec_eval's order.

    >>> ranking_order({"a": 1.0, "b": 1.0 + 1e-12, "c": 2.0})
    ['c', 'b', 'a']
    """
    as_float32 = dict(zip(scores, float32_scores("", scores).tolist(), strict=True))
    ordered = sorted(scores, reverse=True)
    ordered.sort(key=as_float32.__getitem__, reverse=True)  # stable, in this direction too
    return ordered


def is_score(value: object) -> bool:
    """Whether a value is a number that float32 can hold: rankings are compared in that type.

    >>> [is_score(value) for value in (2, 1e39, float("nan"), "2", True)]
    [True, False, False, False, False]
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= _LARGEST  # type: ignore[arg-type]  # a number; false of NaN


_LARGEST = float(np.finfo(np.float32).max)


def float32_scores(query: str, scores: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """Scores of one query as float32[n].

    Raises:
      UserError: a score is not a finite float32; the message names its document.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(list(scores.values()), dtype=np.float64).astype(np.float32)
    if not np.isfinite(values).all():
        document = list(scores)[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise UserError(
            f"query {query!r}, document {document!r}: score {scores[document]!r} is not a finite float32; "
            "a model that yields NaN or infinity must not be ranked"
        )
    return values


def _rank(queries: Sequence[str], qrels: Qrels, run: Run) -> tuple[_Ranked, dict[str, int]]:
    found = [(index, run[query]) for index, query in enumerate(queries) if run.get(query)]
    lengths = np.zeros(len(queries), np.int64)
    lengths[[index for index, _ in found]] = [len(retrieved) for _, retrieved in found]
    starts = np.cumsum(lengths) - lengths
    every = np.repeat(np.arange(len(queries)), lengths)
    scores = _all_scores(queries, found, int(lengths.sum()))
    keys = np.sort(_keys(every, scores))
    documents: list[str] = []
    judged_scores: list[float] = []
    grades: list[int] = []
    counted = np.zeros(len(queries), np.int64)
    for index, retrieved in found:
        judgments = qrels[queries[index]]
        common = list(judgments.keys() & retrieved.keys())
        counted[index] = len(common)
        documents += common
        judged_scores += [retrieved[document] for document in common]
        grades += [judgments[document] for document in common]
    query = np.repeat(np.arange(len(queries)), counted)
    own = _keys(query, np.asarray(judged_scores, np.float64).astype(np.float32))
    # The number of documents of the query with a greater score, or with at least the same.
    position = np.searchsorted(keys, own, "left") - starts[query]
    tied = np.flatnonzero(np.searchsorted(keys, own, "right") - starts[query] - position > 1)
    if len(tied):
        places: dict[int, dict[str, int]] = {}
        for entry, index in zip(tied.tolist(), query[tied].tolist(), strict=True):
            if index not in places:
                ordered = ranking_order(run[queries[index]])
                places[index] = {document: place for place, document in enumerate(ordered)}
            position[entry] = places[index][documents[entry]]
    order = np.lexsort((position, query))
    ranked = _Ranked(query[order], position[order], np.asarray(grades, np.int64)[order], lengths)
    equal = keys[1:] == keys[:-1]
    edges = np.concatenate(([False], equal, [False]))
    counts = {
        "queries": len(queries),
        "queries_missing": len(queries) - len(found),
        "queries_unjudged": sum(query not in qrels for query in run),
        "documents": len(keys),
        "documents_tied": int(np.sum(edges[1:] | edges[:-1])) if len(keys) else 0,
    }
    return ranked, counts


def _all_scores(
    queries: Sequence[str], found: Sequence[tuple[int, Mapping[str, float]]], total: int
) -> npt.NDArray[np.float32]:
    """float32[total], the concatenated scores of all queries, all finite."""
    flat = itertools.chain.from_iterable(retrieved.values() for _, retrieved in found)
    with np.errstate(over="ignore"):
        scores = np.fromiter(flat, np.float64, total).astype(np.float32)
    if not np.isfinite(scores).all():
        for index, retrieved in found:
            float32_scores(queries[index], retrieved)  # names query and document
    return scores


def _keys(query: _Ints, score: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """uint64[n] that sort by query, then by score descending; equal exactly where both are equal.

    The bits of a float32 sort like an integer once negative ones are reversed; adding 0.0 turns -0.0 into
    0.0.
    """
    bits = (score + np.float32(0.0)).view(np.uint32)
    descending = np.where(bits >> 31 == 1, bits, ~bits & np.uint32(0x7FFFFFFF))
    return (query.astype(np.uint64) << np.uint64(32)) | descending


def _drop_unjudged(ranked: _Ranked) -> _Ranked:
    """The same run without its unjudged documents, with positions renumbered.

    A negative grade counts as no judgment, as in ``trec_eval -J``.
    """
    judged = ranked.grade >= 0
    query, grade = ranked.query[judged], ranked.grade[judged]
    lengths = np.bincount(query, minlength=len(ranked.retrieved)).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    return _Ranked(query, np.arange(len(query)) - starts[query], grade, lengths)


class _Truth:
    """What depends on the judgments only: relevant documents and ideal gains per query."""

    def __init__(self, queries: Sequence[str], qrels: Qrels):
        self.size = len(queries)
        self._lengths = np.asarray([len(qrels[query]) for query in queries], np.int64)
        self.query = np.repeat(np.arange(len(queries)), self._lengths)
        flat = itertools.chain.from_iterable(qrels[query].values() for query in queries)
        self.grade = np.fromiter(flat, np.int64, len(self.query))

    def relevant(self, rel: int) -> _Floats:
        return _sum_by(self.query, self.grade >= rel, self.size)

    def not_relevant(self, rel: int) -> _Floats:
        """Documents judged not relevant; negative grades are not among them."""
        return _sum_by(self.query, (self.grade >= 0) & (self.grade < rel), self.size)

    @functools.cached_property
    def _ideal(self) -> tuple[_Ints, _Ints]:
        """Grades, best first in each query, and their positions, both aligned with self.query."""
        grade = self.grade[np.lexsort((-self.grade, self.query))]
        starts = np.cumsum(self._lengths) - self._lengths
        return grade, np.arange(len(grade)) - starts[self.query]

    def ideal(self, measure: Measure) -> _Floats:
        grade, position = self._ideal
        return _dcg(measure, self.query, position, grade, self.size)


def _values(measure: Measure, ranked: _Ranked, truth: _Truth, size: int) -> _Floats:
    """float64[size], one value per judged query."""
    cutoff = measure.cutoff if measure.cutoff is not None else np.iinfo(np.int64).max
    inside = ranked.position < cutoff
    if measure.name == "nDCG":
        gained = _dcg(measure, ranked.query, ranked.position, ranked.grade, size)
        return _divide(gained, truth.ideal(measure))
    if measure.name == "Judged":
        judged = _sum_by(ranked.query, inside, size)
        return _divide(judged, np.minimum(ranked.retrieved, cutoff).astype(np.float64))
    if measure.name == "NumRet":
        return ranked.retrieved.astype(np.float64)
    wanted = truth.relevant(measure.rel)
    if measure.name == "NumRel":
        return wanted
    if measure.name == "Bpref":
        return _bpref(measure, ranked, truth, wanted)
    if measure.name == "Rprec":
        inside = ranked.position < wanted[ranked.query]
    relevant = (ranked.grade >= measure.rel) & inside
    hits = _sum_by(ranked.query, relevant, size)
    if measure.name == "P":
        return hits / cutoff
    if measure.name in ("R", "Rprec"):
        return _divide(hits, wanted)
    if measure.name == "Success":
        return (hits > 0).astype(np.float64)
    if measure.name == "RR":
        queries, first = np.unique(ranked.query[relevant], return_index=True)
        best = np.zeros(size)
        best[queries] = 1.0 / (ranked.position[relevant][first] + 1)
        return best
    # AP: precision at the position of every relevant document
    precision = np.where(relevant, _so_far(relevant, ranked.query, hits) / (ranked.position + 1), 0.0)
    return _divide(_sum_by(ranked.query, precision, size), wanted)


def _bpref(measure: Measure, ranked: _Ranked, truth: _Truth, wanted: _Floats) -> _Floats:
    """Mean over relevant documents of 1 - min(n, R) / min(N, R), 0 for those not retrieved.

    n of the N documents judged not relevant are ranked above it; R are relevant.
    """
    relevant = ranked.grade >= measure.rel
    worse = (ranked.grade >= 0) & ~relevant
    before = _so_far(worse, ranked.query, _sum_by(ranked.query, worse, truth.size))
    bound = np.minimum(truth.not_relevant(measure.rel), wanted)[ranked.query]
    lost = _divide(np.minimum(before, wanted[ranked.query]), bound)
    return _divide(_sum_by(ranked.query, np.where(relevant, 1.0 - lost, 0.0), truth.size), wanted)


def _so_far(chosen: npt.NDArray[np.bool_], query: _Ints, per_query: _Floats) -> _Floats:
    """float64[n]: for each entry, the number of chosen entries of its query up to and including it."""
    return np.asarray(np.cumsum(chosen) - (np.cumsum(per_query) - per_query)[query], np.float64)


def _dcg(measure: Measure, query: _Ints, position: _Ints, grade: _Ints, size: int) -> _Floats:
    gain = np.maximum(grade, 0).astype(np.float64)
    if measure.exponential:
        gain = np.exp2(gain) - 1.0
    if measure.cutoff is not None:
        gain = np.where(position < measure.cutoff, gain, 0.0)
    return _sum_by(query, gain / np.log2(position + 2.0), size)


def _sum_by(query: _Ints, weights: _Floats | npt.NDArray[np.bool_], size: int) -> _Floats:
    """float64[size]: sums of weights per query (bincount alone returns integers for empty input)."""
    return np.bincount(query, weights=weights, minlength=size).astype(np.float64)


def _divide(numerator: _Floats, denominator: _Floats) -> _Floats:
    """Quotient, or 0 where the denominator is 0 (no relevant, or no retrieved, document)."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
