"""Metrics as pure functions (numpy only; sacrebleu and rouge-score where those are the definition)."""

from seqio_tasks.metrics.measures import Measure, parse_measure
from seqio_tasks.metrics.ranking import RankingResult, evaluate_run, ranking_order
from seqio_tasks.metrics.trec_files import read_qrels, read_run, write_run

__all__ = [
    "Measure",
    "RankingResult",
    "evaluate_run",
    "parse_measure",
    "ranking_order",
    "read_qrels",
    "read_run",
    "write_run",
]
