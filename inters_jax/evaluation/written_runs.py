"""Measures of a reranking from the files it wrote: reported by `rerank`, checked by `evaluate --verify`.

first_stage.trec   candidates in first-stage order
reranked.trec      the same documents in the new order
interpolated.trec  the two interpolated, where INTERPOLATION was set
qrels.txt          the judgments of the queries that count
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seqio_tasks.base import write_text
from seqio_tasks.metrics import protocols
from seqio_tasks.metrics.ranking import evaluate_run
from seqio_tasks.metrics.trec_files import read_qrels, read_run

QRELS = "qrels.txt"
INTERPOLATED = "interpolated"
FILES = {
    "first stage": "first_stage.trec",
    "reranked": "reranked.trec",
    INTERPOLATED: "interpolated.trec",
}

Figures = dict[str, dict[str, float]]
Run = dict[str, dict[str, float]]


def write_qrels(folder: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments in TREC form, in the given order."""
    lines = [f"{query} 0 {doc} {grade}\n" for query, row in qrels.items() for doc, grade in row.items()]
    write_text(folder / QRELS, "".join(lines))


def read_runs(folder: Path) -> dict[str, Run]:
    """The runs that a reranking wrote, by name."""
    return {name: read_run(folder / file) for name, file in FILES.items() if (folder / file).is_file()}


def measure(folder: Path, measures: Sequence[str]) -> Figures:
    """run -> measure -> mean by the protocol `standard`; documents are in the order of the files."""
    qrels = read_qrels(folder / QRELS)
    return {name: evaluate_run(qrels, run, measures).means for name, run in read_runs(folder).items()}


def measure_as_paper(folder: Path, *, method: str, depth: int) -> Figures:
    """run -> measure -> mean by the protocol `paper`, which knows no interpolation.

    {} where that evaluation measures nothing: no judged query was ranked, or, for methods other than
    pointwise, no query has at least `depth` candidates (the paper's evaluation skips the others).
    """
    qrels = read_qrels(folder / QRELS)
    runs = {name: run for name, run in read_runs(folder).items() if name != INTERPOLATED}
    least = 1 if method == "pointwise" else depth
    if not any(len(scores) >= least for query, scores in runs["reranked"].items() if query in qrels):
        return {}
    first_stage = {query: list(scores) for query, scores in runs["first stage"].items()}
    return {
        name: protocols.score_run(
            qrels,
            run,
            "paper",
            first_stage=first_stage,
            differences=name == "reranked" and method == "pointwise",
            method=method,
            depth=depth,
        )
        for name, run in runs.items()
    }
