"""Finished queries on disk, so that an interrupted reranking resumes with the next query.

    {"settings": {...}}                          line 1: everything that the rankings depend on
    {"query": "q1", "order": [1, 0], "scores": [-0.25, 1.5], "cost": {"calls": 2, ...}}
                                                 one line per query: candidate numbers, best first; scores in
                                                 candidate order

JSON keeps float32 values exactly. The settings hold the model, the method, the candidates and the texts, so
rankings of two runs are never mixed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.journal import Journal
from inters_jax.ranking.engine import Cost
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Ranked

FINISHED = "scores.jsonl"  # the name of the file in OUTPUT_DIR
_FIELDS = {"query", "order", "scores", "cost"}
_COSTS = [entry.name for entry in dataclasses.fields(Cost)]
_LATER = {"query_cut": 0, "narrowed": 0, "unranked": 0}  # files of earlier versions lack these


class FinishedQueries:
    """The queries that a reranking has finished: query id -> ranking and cost.

    Args:
      path: scores.jsonl.
      settings: everything that the rankings depend on.
      documents: query id -> candidates, in first-stage order.

    Raises:
      UserError: the file has other settings, or a line that does not fit the candidates.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], documents: Mapping[str, Sequence[str]]):
        self.documents = documents
        self.ranked: dict[str, Ranked] = {}
        self.costs: dict[str, Cost] = {}
        self._journal = Journal(
            path, settings, todo="choose another OUTPUT_DIR, or delete the file to start over"
        )
        for number, entry in self._journal.numbered():
            self._add(*self._parsed(entry, f"{path}:{number}: "))

    def append(self, query: str, ranked: Ranked, cost: Cost) -> None:
        """Add a finished query."""
        self._check(query, ranked, "")
        entry = {
            "query": query,
            "order": ranked.order,
            "scores": ranked.scores.tolist(),
            "cost": dataclasses.asdict(cost),
        }
        self._journal.append([entry])
        self._add(query, ranked, cost)

    def _add(self, query: str, ranked: Ranked, cost: Cost) -> None:
        self.ranked[query], self.costs[query] = ranked, cost

    def _parsed(self, entry: Mapping[str, Any], where: str) -> tuple[str, Ranked, Cost]:
        if entry.keys() != _FIELDS:
            raise self._error(f"{where}expected {' and '.join(sorted(_FIELDS))}")
        try:
            ranked = Ranked([int(place) for place in entry["order"]], np.asarray(entry["scores"], np.float32))
            costs = {**_LATER, **entry["cost"]}
            cost = Cost(**{name: costs[name] for name in _COSTS})
        except (TypeError, ValueError, KeyError):
            raise self._error(f"{where}order, scores or cost are not numbers") from None
        self._check(entry["query"], ranked, where)
        return entry["query"], ranked, cost

    def _check(self, query: str, ranked: Ranked, where: str) -> None:
        """A full order of the candidates, with finite scores that never increase along it."""
        documents = self.documents.get(query, ())
        if ranked.scores.shape != (len(documents),):
            raise self._error(
                f"{where}query {query!r} has {ranked.scores.size} scores and {len(documents)} candidates"
            )
        if sorted(ranked.order) != list(range(len(documents))):
            raise self._error(f"{where}query {query!r}: the order is not a permutation of its candidates")
        bad = np.flatnonzero(~np.isfinite(ranked.scores))
        if bad.size:
            raise RerankError(
                f"{where}query {query!r}, document {documents[bad[0]]!r}: the score is "
                f"{ranked.scores[bad[0]]}"
            )
        if (np.diff(ranked.scores[ranked.order]) > 0).any():
            raise self._error(f"{where}query {query!r}: the scores increase along the order")

    def _error(self, what: str) -> RerankError:
        return RerankError(f"{what}; {self._journal.todo}")
