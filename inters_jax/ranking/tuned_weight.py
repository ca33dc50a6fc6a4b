"""The weight of an interpolation, chosen on other queries than those it is measured on.

    INTERPOLATION='runs/a/dev'          the OUTPUT_DIR of a finished reranking of validation queries
    INTERPOLATION='cross_validation'    for each half of the queries the best weight of the other half

The scores, first stage and judgments of a finished reranking are read from its files, so nothing is scored
again. It must have been made with the model, the method and the prompts of this run, and of other queries: a
weight that is chosen on the queries it is measured on is no result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inters_jax import paths
from inters_jax.evaluation.results import read_result, wrong_file
from inters_jax.evaluation.written_runs import FILES, QRELS
from inters_jax.journal import read_objects
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.interpolation import Run, best_weight, interpolate
from inters_jax.ranking.journal import FINISHED
from seqio_tasks.base import UserError, file_sha256
from seqio_tasks.metrics.trec_files import read_qrels, read_run

log = logging.getLogger(__name__)

Qrels = Mapping[str, Mapping[str, int]]

# What may differ in the manifests of two rerankings whose scores are comparable: the queries and where they
# come from, what is measured, and the machine. The pair is known by its wording, a model by its fingerprint.
_MAY_DIFFER = (
    *("collection", "split", "first_stage", "first_stage_sha256", "max_queries", "drop_identical_ids"),
    *("pair", "measures", "device", "versions", "model", "hub", "step", "tokenizer"),
)


CROSS_VALIDATION = "cross_validation"


class Weighting(Protocol):
    """How a reranking is interpolated with its first stage."""

    def run(
        self, model: Run, first_stage: Run, qrels: Qrels | None, *, by_rank: bool
    ) -> tuple[Run, dict[str, Any]]:
        """The interpolated run, and what results.json says about its weight."""
        ...


@dataclass(frozen=True)
class Interpolation:
    """A weight, and where it comes from.

    weight: of the model, from 0 to 1.
    chosen_on: for results.json, the reranking it was chosen on and the measure by weight; None: it was given.
    """

    weight: float
    chosen_on: Mapping[str, Any] | None = None

    def run(
        self, model: Run, first_stage: Run, qrels: Qrels | None, *, by_rank: bool
    ) -> tuple[Run, dict[str, Any]]:
        """See `Weighting`; judgments are not needed."""
        fused = interpolate(model, first_stage, self.weight, by_rank=by_rank)
        return fused, {"weight": self.weight, "chosen_on": self.chosen_on}


@dataclass(frozen=True)
class CrossValidation:
    """Two-fold cross-validation: every second query is in the same half.

    measure: whose best weight on one half is used on the other.
    """

    measure: str

    def run(
        self, model: Run, first_stage: Run, qrels: Qrels | None, *, by_rank: bool
    ) -> tuple[Run, dict[str, Any]]:
        """See `Weighting`.

        Raises:
          RerankError: a half of the queries has no judgments.
        """
        queries, known = list(first_stage), qrels or {}
        halves = [queries[::2], queries[1::2]]
        judged = [{query: known[query] for query in half if query in known} for half in halves]
        if not all(judged):
            raise RerankError(
                f"INTERPOLATION='{CROSS_VALIDATION}' needs judged queries in both halves of the "
                f"{len(queries)} queries; name QRELS, or a weight"
            )
        fused: dict[str, Mapping[str, float]] = {}
        told = []
        for half, other in ((0, 1), (1, 0)):
            weight, means = best_weight(
                _part(model, halves[other]),
                _part(first_stage, halves[other]),
                judged[other],
                self.measure,
                by_rank=by_rank,
            )
            asked = (_part(model, halves[half]), _part(first_stage, halves[half]))
            fused |= interpolate(*asked, weight, by_rank=by_rank)
            told.append(
                {
                    "queries": len(halves[half]),
                    "weight": weight,
                    "judged queries of the other half": len(judged[other]),
                    "measure there": {f"{tried:.2f}": mean for tried, mean in means.items()},
                }
            )
        return {query: fused[query] for query in queries}, {"measure": self.measure, "halves": told}


def _part(run: Run, queries: Sequence[str]) -> Run:
    """Some queries of a run."""
    return {query: run[query] for query in queries if query in run}


@dataclass(frozen=True)
class Tuning:
    """A finished reranking on which a weight can be chosen.

    model, first_stage: query id -> document id -> score; qrels: query id -> document id -> grade.
    """

    folder: Path
    manifest: Mapping[str, Any]
    model: Run
    first_stage: Run
    qrels: Mapping[str, Mapping[str, int]]

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Refuse a reranking whose scores are not comparable with those of this one.

        Args:
          manifest: that of this run, or what is known of it already.

        Raises:
          RerankError: a setting differs.
        """
        for name, now in json.loads(json.dumps(manifest, default=str)).items():
            if name not in _MAY_DIFFER and (before := self.manifest.get(name)) != now:
                raise RerankError(
                    f"INTERPOLATION: in {self.folder} {name} is {before!r:.60} and in this run {now!r:.60}; "
                    "rerank the validation queries with the settings of this run"
                )

    def refuse_queries(self, collection: str, queries: Iterable[str]) -> None:
        """Refuse a run that ranks some of the same queries.

        Raises:
          RerankError: a query of `collection`, by its id, is in both.
        """
        if self.manifest.get("collection") != collection:
            return  # equal ids of two collections mean nothing
        if same := [query for query in queries if query in self.first_stage]:
            raise RerankError(
                f"INTERPOLATION: {self.folder} ranks {len(same)} queries that this run ranks as well, the "
                f"first is {same[0]!r}; choose the weight on other queries, such as SPLIT=validation"
            )

    def best(self, measure: str, *, by_rank: bool) -> Interpolation:
        """The best weight by a measure.

        Args:
          measure: such as nDCG@10.
          by_rank: see `interpolation.interpolate`.
        """
        weight, means = best_weight(self.model, self.first_stage, self.qrels, measure, by_rank=by_rank)
        if len(set(means.values())) == 1:
            log.warning(
                "%s: every weight has the %s %.4f there, so the model gets no weight",
                self.folder, measure, means[weight],
            )  # fmt: skip
        return Interpolation(
            weight,
            {
                "folder": str(paths.origin(self.folder)),
                "collection": self.manifest.get("collection"),
                "split": self.manifest.get("split"),
                "first_stage": self.manifest.get("first_stage"),
                "scores_sha256": file_sha256(self.folder / FINISHED),
                "queries": len(self.qrels),
                "measure": measure,
                "weights": {f"{tried:.2f}": mean for tried, mean in means.items()},
            },
        )


def read_tuning(folder: Path) -> Tuning:
    """Read the reranking in a folder.

    Raises:
      RerankError: it is none, not finished, without judgments, or its files were changed.
    """
    try:
        result = read_result(folder)
    except UserError as error:
        raise RerankError(f"INTERPOLATION: {error}") from None
    if result["manifest"].get("command") != "rerank":
        raise RerankError(f"INTERPOLATION: {folder} is not the OUTPUT_DIR of rerank")
    if not result["metrics"]:
        raise RerankError(
            f"INTERPOLATION: {folder} was reranked without judgments, so no weight can be chosen there"
        )
    if (wrong := wrong_file(folder, result, "")) is not None:
        raise RerankError(f"INTERPOLATION: {wrong}; run rerank again there")
    first_stage = read_run(folder / FILES["first stage"])
    entries = read_objects(folder / FINISHED, todo="run rerank again there")
    next(entries)  # the settings
    scores = {entry["query"]: entry["scores"] for _, entry in entries}
    model = {
        query: dict(zip(documents, scores[query], strict=True)) for query, documents in first_stage.items()
    }
    return Tuning(folder, result["manifest"], model, first_stage, read_qrels(folder / QRELS))
