"""Rescoring a result from its saved files: `python -m inters_jax.evaluate --verify RESULTS.json`

Nothing is asked of a model and no raw data is read. The files must be the ones that the result was made from
(sha256), every metric is computed again from `predictions.jsonl` (and, where documents are ranked, `run.trec`
and `qrels.txt`), and the first difference ends in a message that names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.evaluation import target_loss, written_runs
from inters_jax.evaluation.records import PREDICTIONS, read
from inters_jax.evaluation.results import read_result
from inters_jax.evaluation.written_runs import QRELS
from seqio_tasks.base import UserError, file_sha256

RUN = "run.trec"


class VerificationError(UserError):
    """A result that its own files do not give."""


def verify(path: str | Path) -> dict[str, int]:
    """Checks a results.json of evaluate or rerank; returns how many files and figures were checked.

    Raises:
      VerificationError: a file is missing or was changed, or a figure comes out differently.
    """
    result = read_result(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if not result.get("files"):
        raise VerificationError(f"{path}: the result lists no files; it was made by an older version")
    counts = {"files": 0, "figures": 0}
    for owner, files in result["files"].items():
        for name, digest in files.items():
            _check_file(folder / owner / name, digest)
            counts["files"] += 1
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


def _check_file(path: Path, digest: str) -> None:
    if not path.is_file():
        raise VerificationError(f"{path}: missing; the result cannot be verified without it")
    if file_sha256(path) != digest:
        raise VerificationError(
            f"{path}: not the file that this result was made from (its sha256 is another one)"
        )


def _judged(folder: Path, name: str) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of a task from its files, by the protocols `standard` and `paper`."""
    import seqio

    import seqio_tasks  # noqa: F401 (registers the tasks)
    from inters_jax.evaluation import evaluator
    from seqio_tasks.metrics.trec_files import read_qrels, read_run

    task = seqio.get_mixture_or_task(name)
    records = list(read(folder / PREDICTIONS))
    result = evaluator.TaskResult(name, {}, {})
    form = getattr(task, "form", None)
    if getattr(form, "rerank", False):
        run = evaluator.ranking(records)
        saved = read_run(folder / RUN)
        for query, scores in run.items():
            if list(saved.get(query, {})) != list(scores):
                raise VerificationError(
                    f"{folder / RUN}: query {query!r} is not in the order of the scores in {PREDICTIONS}"
                )
        result.metrics = evaluator.rerank_metrics(task, records, read_qrels(folder / QRELS))
    else:
        targets = [record["target"] for record in records]
        for metric in task.predict_metric_fns:
            result.metrics |= metric(targets, [record["prediction"] for record in records])
        for metric in task.score_metric_fns:
            result.metrics |= metric(targets, [record["score"] for record in records])
    result.metrics = {name: evaluator.as_number(value) for name, value in result.metrics.items()}
    result.split_counts()
    qrels = read_qrels(folder / QRELS) if (folder / QRELS).is_file() else None
    return result.metrics, evaluator.paper_metrics(name, records, qrels)


def _check_runs(folder: Path, path: str, result: Mapping[str, Any]) -> int:
    """The measures of the runs that rerank wrote, by both protocols; returns how many were checked."""
    if not result["metrics"]:
        return 0
    manifest, metrics = result["manifest"], result["metrics"]
    again = written_runs.measure(folder, list(metrics["reranked"]))
    paper = written_runs.measure_as_paper(folder, method=manifest["method"], depth=manifest["depth"])
    checked = sum(_compare(path, run, metrics[run], again[run]) for run in again)
    theirs = result["paper_metrics"]
    return checked + sum(
        _compare(path, f"{run} (protocol paper)", theirs.get(run, {}), paper[run]) for run in paper
    )


def _compare(path: str, owner: str, recorded: Mapping[str, float], again: Mapping[str, float]) -> int:
    """The figures must be the same ones and agree to 1e-9 relative; returns their number."""
    if missing := sorted(recorded.keys() ^ again.keys()):
        raise VerificationError(f"{path}: {owner} has not the same figures: {', '.join(missing)}")
    for name, value in recorded.items():
        if not math.isclose(value, again[name], rel_tol=1e-9, abs_tol=1e-12):
            raise VerificationError(
                f"{path}: {owner} {name} is {value!r} in the result, but its files give {again[name]!r}"
            )
    return len(recorded)


def main(arguments: Sequence[str]) -> int:
    """`evaluate --verify RESULTS.json [...]`: prints what was checked, or what differs."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m inters_jax.evaluate --verify RESULTS.json [RESULTS.json ...]")
        return 2
    for path in arguments:
        try:
            counts = verify(path)
        except ValueError as error:
            print(f"verify: {error}")
            return 1
        print(f"{path}: {counts['files']} files unchanged, {counts['figures']} figures come out the same")
    return 0
