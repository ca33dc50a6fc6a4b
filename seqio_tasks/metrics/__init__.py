"""Metrics as pure functions, in numpy; sacrebleu and rouge-score where these define the metric."""

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
