"""Check a result against its own files: `python -m inters_jax.evaluate --verify RESULTS.json`

Needs neither the model nor the raw data. The files must be the ones that the result was computed from
(sha256). Every metric is computed again from `predictions.jsonl` (and, for ranking tasks, `run.trec` and
`qrels.txt`); the first difference is an error that names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.evaluation import target_loss, written_runs
from inters_jax.evaluation.records import PREDICTIONS, read
from inters_jax.evaluation.results import read_result, wrong_file
from inters_jax.evaluation.task_metrics import (
    as_number,
    paper_metrics,
    ranking,
    rerank_metrics,
    split_counts,
)
from inters_jax.evaluation.written_runs import QRELS
from seqio_tasks import own_data
from seqio_tasks.base import UserError
from seqio_tasks.metrics.trec_files import read_qrels, read_run

RUN = "run.trec"


class VerificationError(UserError):
    """A result that does not agree with its own files."""


def verify(path: str | Path) -> dict[str, int]:
    """Check a results.json of evaluate or rerank (or its folder); the number of files and figures checked.

    Raises:
      VerificationError: a file is missing or was changed, or a figure differs.
    """
    own_data.register()
    result = read_result(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    counts = {"files": 0, "figures": 0}
    for owner in result.get("files") or [""]:
        if (wrong := wrong_file(folder, result, owner)) is not None:
            raise VerificationError(wrong)
        counts["files"] += len(result["files"][owner])
    if result["manifest"].get("command") == "rerank":
        counts["figures"] = _check_runs(folder, str(path), result)
        return counts
    for task, metrics in result["metrics"].items():
        again, paper = _judged(folder / task, task)
        if target_loss.LOSS in metrics:
            again |= target_loss.measures(read(folder / task / PREDICTIONS))
        counts["figures"] += _compare(str(path), task, metrics, again)
        theirs = result["paper_metrics"].get(task, {})
        counts["figures"] += _compare(str(path), f"{task} (protocol paper)", theirs, paper)
    return counts


def _judged(folder: Path, name: str) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of a task from its files, by the protocols `standard` and `paper`."""
    import seqio  # heavy, and not needed to verify a reranking

    if name not in seqio.TaskRegistry.names():
        todo = "if a file declares its data, name that in INTERS_DATASETS"
        raise VerificationError(f"the task {name} is not known here; {todo}")
    task = seqio.TaskRegistry.get(name)
    records = list(read(folder / PREDICTIONS))
    metrics: dict[str, float] = {}
    qrels = None
    if getattr(getattr(task, "form", None), "rerank", False):
        qrels = read_qrels(folder / QRELS)
        saved = read_run(folder / RUN)
        for query, scores in ranking(records).items():
            if list(saved.get(query, {})) != list(scores):
                raise VerificationError(
                    f"{folder / RUN}: query {query!r} is not in the order of the scores in {PREDICTIONS}"
                )
        metrics = rerank_metrics(task, records, qrels)
    else:
        targets = [record["target"] for record in records]
        for metric in task.predict_metric_fns:
            metrics |= metric(targets, [record["prediction"] for record in records])
        for metric in task.score_metric_fns:
            metrics |= metric(targets, [record["score"] for record in records])
    measures, _ = split_counts({name: as_number(value) for name, value in metrics.items()})
    return measures, paper_metrics(name, records, qrels)


def _check_runs(folder: Path, path: str, result: Mapping[str, Any]) -> int:
    """Check the measures of the runs that rerank wrote, by both protocols; the number of figures checked."""
    if not result["metrics"]:
        return 0
    manifest, metrics = result["manifest"], result["metrics"]
    again = written_runs.measure(folder, list(metrics["reranked"]))
    paper = written_runs.measure_as_paper(folder, method=manifest["method"], depth=manifest["depth"])
    checked = sum(_compare(path, run, metrics.get(run, {}), again[run]) for run in again)
    theirs = result["paper_metrics"]
    return checked + sum(
        _compare(path, f"{run} (protocol paper)", theirs.get(run, {}), paper[run]) for run in paper
    )


def _compare(path: str, owner: str, recorded: Mapping[str, float], again: Mapping[str, float]) -> int:
    """Check that two sets of figures have the same names and agree to 1e-9 relative; their number."""
    if missing := sorted(recorded.keys() ^ again.keys()):
        raise VerificationError(
            f"{path}: {owner}: only in the result, or only in its files: {', '.join(missing)}"
        )
    for name, value in recorded.items():
        if not math.isclose(value, again[name], rel_tol=1e-9, abs_tol=1e-12):
            raise VerificationError(
                f"{path}: {owner} {name} is {value!r} in the result, but {again[name]!r} from its files"
            )
    return len(recorded)


def main(arguments: Sequence[str]) -> int:
    """`evaluate --verify RESULTS.json [...]`: print what was checked, or what differs; the exit code."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m inters_jax.evaluate --verify RESULTS.json [RESULTS.json ...]")
        return 2
    for path in arguments:
        try:
            counts = verify(path)
        except ValueError as error:
            print(f"verify: {error}")
            return 1
        print(f"{path}: {counts['files']} files unchanged, {counts['figures']} figures agree")
    return 0
