"""Scores of finished queries on disk, so that an interrupted reranking goes on where it stopped.

    {"settings": {...}}                          line 1: everything that shaped the scores
    {"query": "q1", "scores": [1.5, -0.25]}      one line per query, scores in candidate order

float32 values survive the round trip through JSON exactly. Settings that differ are refused by name: scores
of two models, two candidate lists or two corpora are never mixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.evaluation import report
from inters_jax.ranking.collections import RerankError

_ANEW = "choose another OUTPUT_DIR, or delete the file to start anew"


class ScoreFile:
    """Opens or begins a score file.

    Args:
      path: scores.jsonl.
      settings: what must be equal for the scores to be taken up.
      documents: query id -> candidates, in the order of the scores.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], documents: Mapping[str, Sequence[str]]):
        self.path, self.documents = path, documents
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        self.scores: dict[str, np.ndarray] = {}
        lines = self._whole_lines()
        if not lines:
            report.write_text(path, json.dumps({"settings": self.settings}) + "\n")
            return
        self._check_settings(self._parse(lines[0], 1))
        for number, line in enumerate(lines[1:], 2):
            self._take_up(self._parse(line, number), number)

    def append(self, scores: Mapping[str, np.ndarray]) -> None:
        """Adds finished queries; a score that is no finite number is refused, with its document."""
        for query, row in scores.items():
            self._check(query, row, "")
        text = "".join(json.dumps({"query": q, "scores": row.tolist()}) + "\n" for q, row in scores.items())
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
        self.scores.update(scores)

    def _whole_lines(self) -> list[str]:
        """The lines that were written to their end; one that a crash cut off is taken out of the file."""
        if not self.path.exists():
            return []
        *whole, last = self.path.read_text(encoding="utf-8").split("\n")
        if last:
            report.write_text(self.path, "".join(line + "\n" for line in whole))
        return whole

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise RerankError(f"{self.path}:{number}: not JSON ({error.msg}); {_ANEW}") from None
        expected = {"settings"} if number == 1 else {"query", "scores"}
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
            raise RerankError(f"{self.path}: these are scores of another run: {shown}; {_ANEW}")

    def _take_up(self, value: Mapping[str, Any], number: int) -> None:
        query = value["query"]
        try:
            row = np.asarray(value["scores"], np.float32)
        except (TypeError, ValueError):
            raise RerankError(f"{self.path}:{number}: scores are not numbers; {_ANEW}") from None
        self._check(query, row, f"{self.path}:{number}: ")
        self.scores[query] = row

    def _check(self, query: str, row: np.ndarray, where: str) -> None:
        documents = self.documents.get(query, ())
        if row.shape != (len(documents),):
            raise RerankError(
                f"{where}query {query!r} has {row.size} scores and {len(documents)} candidates; {_ANEW}"
            )
        bad = np.flatnonzero(~np.isfinite(row))
        if bad.size:
            raise RerankError(
                f"{where}query {query!r}, document {documents[bad[0]]!r}: the score is {row[bad[0]]}; "
                "a model that yields no numbers cannot rank (was it trained to the end? is DTYPE too narrow?)"
            )
