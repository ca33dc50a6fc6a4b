"""The figures of a reranking, from the files it wrote: what `rerank` reports and `evaluate --verify` checks.

first_stage.trec   candidates in first-stage order
reranked.trec      the same documents in the new order
qrels.txt          the judgments of the queries that count
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seqio_tasks.base import write_text

QRELS = "qrels.txt"
FILES = {"first stage": "first_stage.trec", "reranked": "reranked.trec"}

Figures = dict[str, dict[str, float]]


def write_qrels(folder: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Judgments as TREC writes them, in the given order."""
    lines = [f"{query} 0 {doc} {grade}\n" for query, row in qrels.items() for doc, grade in row.items()]
    write_text(folder / QRELS, "".join(lines))


def measure(folder: Path, measures: Sequence[str]) -> Figures:
    """run -> measure -> mean by the protocol `standard`; the order is that of the files."""
    from seqio_tasks.metrics.ranking import evaluate_run
    from seqio_tasks.metrics.trec_files import read_qrels, read_run

    qrels = read_qrels(folder / QRELS)
    return {
        name: evaluate_run(qrels, read_run(folder / file), measures).means for name, file in FILES.items()
    }


def measure_as_paper(folder: Path, *, method: str, depth: int) -> Figures:
    """run -> measure -> mean by the protocol `paper`.

    Nothing where that evaluation would have measured nothing: no judged query was ranked, or, with methods
    other than pointwise, which skip queries with fewer than `depth` candidates there, none has so many.
    """
    from seqio_tasks.metrics import protocols
    from seqio_tasks.metrics.trec_files import read_qrels, read_run

    qrels = read_qrels(folder / QRELS)
    runs = {name: read_run(folder / file) for name, file in FILES.items()}
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
