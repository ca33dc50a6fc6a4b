"""Finished queries on disk, so that an interrupted reranking resumes with the next query.

    {"settings": {...}}                          line 1: everything that all rankings depend on
    {"query": "q1", "input": "0f3a...", "order": [1, 0], "scores": [-0.25, 1.5], "cost": {"calls": 2, ...}}
                                                 one line per query: digest of its text and of its candidates
                                                 with their texts; candidate numbers, best first; scores in
                                                 candidate order

JSON keeps float32 values exactly. The settings hold the model and the method, every line says what was
ranked, so rankings of two runs are never mixed, and more queries can be asked later. Shards of a run
(`inters_jax.shards`) write `scores.3of8.jsonl`; a process reads all journals of its folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.journal import Journal
from inters_jax.ranking.engine import Cost
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Ranked
from inters_jax.shards import Shard, shared_file

FINISHED = "scores.jsonl"  # the name of the file in OUTPUT_DIR
_EVERY = "scores*.jsonl"
_FIELDS = {"query", "input", "order", "scores", "cost"}
_COSTS = [entry.name for entry in dataclasses.fields(Cost)]
_LATER = {"query_cut": 0, "narrowed": 0, "unranked": 0}  # files of earlier versions lack these


class FinishedQueries:
    """The queries that a reranking has finished: query id -> ranking and cost.

    Args:
      folder: OUTPUT_DIR.
      settings: everything that the rankings depend on, besides what is ranked.
      documents: query id -> candidates, in first-stage order.
      input_of: gives the digest of what is ranked for a query.
      shard: of this process; None: it ranks what no journal has, and its own journal becomes whole.

    Raises:
      UserError: a journal has other settings, or a line that does not fit the candidates.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        documents: Mapping[str, Sequence[str]],
        input_of: Callable[[str], str],
        shard: Shard | None = None,
    ):
        self.documents, self._input_of = documents, input_of
        self.ranked: dict[str, Ranked] = {}
        self.costs: dict[str, Cost] = {}
        todo = "choose another OUTPUT_DIR, or delete the file to start over"
        self._journal = Journal(shared_file(folder / FINISHED, shard), settings, todo=todo)
        for number, entry in self._journal.numbered():
            self._take(entry, f"{self._journal.path}:{number}: ")
        taken = []
        for path, line in self._journal.others(_EVERY):
            if self._take(line.value, f"{path}:{line.number}: "):
                taken.append(line.value)
        if taken and shard is None:
            self._journal.append(taken)

    def append(self, query: str, ranked: Ranked, cost: Cost) -> None:
        """Add a finished query."""
        self._check(query, ranked, "")
        entry = {
            "query": query,
            "input": self._input_of(query),
            "order": ranked.order,
            "scores": ranked.scores.tolist(),
            "cost": dataclasses.asdict(cost),
        }
        self._journal.append([entry])
        self.ranked[query], self.costs[query] = ranked, cost

    def _take(self, entry: Mapping[str, Any], where: str) -> bool:
        """Add what a line says; False if its query is not asked now, or known already."""
        if entry.keys() != _FIELDS:
            raise self._error(f"{where}expected {' and '.join(sorted(_FIELDS))}")
        query = entry["query"]
        if query not in self.documents or query in self.ranked:
            return False
        if entry["input"] != self._input_of(query):
            raise self._error(
                f"{where}the text of query {query!r}, its candidates or their texts were others then"
            )
        try:
            ranked = Ranked([int(place) for place in entry["order"]], np.asarray(entry["scores"], np.float32))
            costs = {**_LATER, **entry["cost"]}
            cost = Cost(**{name: costs[name] for name in _COSTS})
        except (TypeError, ValueError, KeyError):
            raise self._error(f"{where}order, scores or cost are not numbers") from None
        self._check(query, ranked, where)
        self.ranked[query], self.costs[query] = ranked, cost
        return True

    def _check(self, query: str, ranked: Ranked, where: str) -> None:
        """A full order of the candidates, with finite scores that never increase along it."""
        documents = self.documents[query]
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
