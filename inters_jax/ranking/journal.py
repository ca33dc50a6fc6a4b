"""Finished queries on disk, so that an interrupted reranking goes on where it stopped, whatever the method.

    {"settings": {...}}                          line 1: everything that shaped the rankings
    {"query": "q1", "order": [1, 0], "scores": [-0.25, 1.5], "cost": {"calls": 2, ...}}
                                                 one line per query: candidate numbers, best first; scores in
                                                 candidate order

float32 values survive the round trip through JSON exactly. Settings that differ are refused by name: rankings
of two models, two methods, two candidate lists or two corpora are never mixed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.ranking.engine import Cost
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Ranked
from seqio_tasks.base import write_text

_ANEW = "choose another OUTPUT_DIR, or delete the file to start anew"
_FIELDS = {"query", "order", "scores", "cost"}
_COSTS = {entry.name for entry in dataclasses.fields(Cost)}


class FinishedFile:
    """Opens or begins a file of finished queries.

    Args:
      path: scores.jsonl.
      settings: what must be equal for the rankings to be taken up.
      documents: query id -> candidates, in first-stage order.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], documents: Mapping[str, Sequence[str]]):
        self.path, self.documents = path, documents
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        self.ranked: dict[str, Ranked] = {}
        self.costs: dict[str, Cost] = {}
        lines = self._whole_lines()
        if not lines:
            write_text(path, json.dumps({"settings": self.settings}) + "\n")
            return
        self._check_settings(self._parse(lines[0], 1))
        for number, line in enumerate(lines[1:], 2):
            self._take_up(self._parse(line, number), number)

    def append(self, query: str, ranked: Ranked, cost: Cost) -> None:
        """Adds a finished query."""
        self._check(query, ranked, "")
        line = {
            "query": query,
            "order": ranked.order,
            "scores": ranked.scores.tolist(),
            "cost": dataclasses.asdict(cost),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.ranked[query], self.costs[query] = ranked, cost

    def _whole_lines(self) -> list[str]:
        """The lines that were written to their end; one that a crash cut off is taken out of the file."""
        if not self.path.exists():
            return []
        *whole, last = self.path.read_text(encoding="utf-8").split("\n")
        if last:
            write_text(self.path, "".join(line + "\n" for line in whole))
        return whole

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise RerankError(f"{self.path}:{number}: not JSON ({error.msg}); {_ANEW}") from None
        expected = {"settings"} if number == 1 else _FIELDS
        if not isinstance(value, dict) or value.keys() != expected:
            raise RerankError(f"{self.path}:{number}: expected {' and '.join(sorted(expected))}; {_ANEW}")
        return value

    def _check_settings(self, header: Mapping[str, Any]) -> None:
        there = header["settings"]
        differing = sorted(
            key for key in {*there, *self.settings} if there.get(key) != self.settings.get(key)
        )
        if differing:
            shown = "; ".join(
                f"{key} is {there.get(key)!r:.60} there and {self.settings.get(key)!r:.60} here"
                for key in differing
            )
            raise RerankError(f"{self.path}: these are rankings of another run: {shown}; {_ANEW}")

    def _take_up(self, value: Mapping[str, Any], number: int) -> None:
        query, where = value["query"], f"{self.path}:{number}: "
        try:
            ranked = Ranked([int(place) for place in value["order"]], np.asarray(value["scores"], np.float32))
            cost = Cost(**{name: value["cost"][name] for name in _COSTS})
        except (TypeError, ValueError, KeyError):
            raise RerankError(f"{where}order, scores or cost are not numbers; {_ANEW}") from None
        self._check(query, ranked, where)
        self.ranked[query], self.costs[query] = ranked, cost

    def _check(self, query: str, ranked: Ranked, where: str) -> None:
        """A full order of the candidates with finite scores that do not rise along it."""
        documents = self.documents.get(query, ())
        if ranked.scores.shape != (len(documents),):
            raise RerankError(
                f"{where}query {query!r} has {ranked.scores.size} scores and {len(documents)} "
                f"candidates; {_ANEW}"
            )
        if sorted(ranked.order) != list(range(len(documents))):
            raise RerankError(
                f"{where}query {query!r}: the order is no permutation of its candidates; {_ANEW}"
            )
        bad = np.flatnonzero(~np.isfinite(ranked.scores))
        if bad.size:
            raise RerankError(
                f"{where}query {query!r}, document {documents[bad[0]]!r}: the score is "
                f"{ranked.scores[bad[0]]}"
            )
        if (np.diff(ranked.scores[ranked.order]) > 0).any():
            raise RerankError(f"{where}query {query!r}: its scores rise along the order; {_ANEW}")
