"""Hostile results of `evaluate`: in `compare`, in `evaluate --verify`, and before another evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from hostile.cases import DEEP, NOT_TEXT, Act, Case, Content, Place, changed, spoil

from inters_jax.evaluation import verify
from seqio_tasks.base import file_sha256

RESULTS = "results.json"
TASK = "inters_reading_comprehension_squad_0shot"
PREDICTIONS = f"{TASK}/predictions.jsonl"


def build_evaluation(folder: Path) -> Path:
    """A results.json with the predictions of one task beside it."""
    task = folder / TASK
    task.mkdir(parents=True)
    rows = [
        {
            "example_id": f"s{number}",
            "targets_pretokenized": "red kite",
            "references": ["red kite"],
            "prediction": answer,
        }
        for number, answer in enumerate(("red", "blue"))
    ]
    (task / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {
        "manifest": {"command": "evaluate", "split": "test"},
        "metrics": {TASK: {"f1": 33.3}},
        "paper_metrics": {},
        "files": {TASK: {"predictions.jsonl": file_sha256(task / "predictions.jsonl")}},
    }
    (folder / "results.json").write_text(json.dumps(result))
    return folder


def _compared(file: str, content: Content) -> Act:
    """`compare` of two evaluations, one with other content in a file."""

    def act(place: Place) -> Any:
        other = place.folder / "other"
        shutil.copytree(place.evaluation, other)
        changed = spoil(place, place.evaluation, file, content)
        if file == PREDICTIONS and content is not None:  # as if they had been written so
            result = json.loads((changed / RESULTS).read_text())
            result["files"][TASK]["predictions.jsonl"] = file_sha256(changed / PREDICTIONS)
            (changed / RESULTS).write_text(json.dumps(result))
        found = place.command("compare", str(changed), str(other), BOOTSTRAP=10, SAMPLES=10)
        return [table.title for table in found.tables]

    return act


def _verify(file: str, content: Content) -> Act:
    """`evaluate --verify` of an evaluation with other content in a file."""

    def act(place: Place) -> Any:
        raise SystemExit(verify.main([str(spoil(place, place.evaluation, file, content))]))

    return act


def _before(content: bytes | str) -> Act:
    """`evaluate` that compares with another result."""
    return lambda p: p.command(
        "evaluate", MODEL_DIR=p.model, COMPARE_WITH=p.write("before/results.json", content)
    )


JUDGED = [
    ("evaluations are sound", _compared(RESULTS, lambda old: old), None),
    ("results are missing", _compared(RESULTS, None), r"evaluation/results\.json: no such file"),
    ("results are cut", _compared(RESULTS, lambda old: old[:30]), r"results\.json:1: not JSON"),
    ("results are a list", _compared(RESULTS, "[]"), r"results\.json: not a result of evaluate or rerank"),
    ("results are not UTF-8", _compared(RESULTS, NOT_TEXT), r"results\.json: not UTF-8"),
    ("results are nested too deeply", _compared(RESULTS, DEEP), r"results\.json:1: not JSON"),
    (
        "results have metrics of a list",
        _compared(RESULTS, changed(metrics=[1])),
        r"results\.json: metrics is",
    ),
    (
        "results have metrics of numbers",
        _compared(RESULTS, changed(metrics={TASK: 3})),
        r"results\.json: metrics",
    ),
    (
        "results have a manifest of a list",
        _compared(RESULTS, changed(manifest=[])),
        r"results\.json: manifest is",
    ),
    ("results have no task", _compared(RESULTS, changed(metrics={})), r"no task in common"),
    (
        "results have a task that leaves the folder",
        _compared(RESULTS, changed(metrics={"../x": {}})),
        r"no task in common",
    ),
    (
        "results are of rerank",
        _compared(RESULTS, changed(manifest={"command": "rerank"})),
        r"compare its reranked\.trec",
    ),
    ("predictions are missing", _compared(PREDICTIONS, None), r"predictions\.jsonl: missing"),
    ("predictions are empty", _compared(PREDICTIONS, ""), r"different items|no task in common"),
    (
        "predictions are cut",
        _compared(PREDICTIONS, lambda old: old[:-9]),
        r"predictions\.jsonl:\d+: not JSON",
    ),
    ("predictions are not UTF-8", _compared(PREDICTIONS, NOT_TEXT), r"predictions\.jsonl:1: not JSON"),
    ("predictions are lists", _compared(PREDICTIONS, "[]\n"), r"predictions\.jsonl:1: not a JSON object"),
    (
        "predictions are nested too deeply",
        _compared(PREDICTIONS, DEEP),
        r"predictions\.jsonl:1: not JSON \(nested",
    ),
    ("predictions lack their fields", _compared(PREDICTIONS, "{}\n"), r"predictions\.jsonl: .*example_id"),
    (
        "predictions are numbers",
        _compared(PREDICTIONS, lambda old: old.replace(b'"red"', b"3")),
        r"predictions\.jsonl:1: the prediction is 3, not a text",
    ),
    (
        "predictions are null",
        _compared(PREDICTIONS, lambda old: old.replace(b'"red"', b"null")),
        r"predictions\.jsonl:1: the prediction is None, not a text",
    ),
    (
        "predictions have an id twice",
        _compared(PREDICTIONS, lambda old: old * 2),
        r"predictions\.jsonl: .*2 records have the example_id",
    ),
    ("verify has no results", _verify(RESULTS, None), r"verify: .*results\.json: no such file"),
    ("verify has results of a list", _verify(RESULTS, "[]"), r"verify: .*not a result"),
    (
        "verify has results that are not UTF-8",
        _verify(RESULTS, NOT_TEXT),
        r"verify: .*results\.json: not UTF-8",
    ),
    ("verify has no files", _verify(RESULTS, changed(files={})), r"verify: .*lists no files"),
    (
        "verify has files of a list",
        _verify(RESULTS, changed(files=[1])),
        r"verify: .*results\.json: files is",
    ),
    (
        "verify has files of numbers",
        _verify(RESULTS, changed(files={TASK: {"predictions.jsonl": 3}})),
        r"verify: .*predictions\.jsonl: changed, not the file",
    ),
    (
        "verify has changed predictions",
        _verify(PREDICTIONS, lambda old: old + b"{}\n"),
        r"verify: .*predictions\.jsonl: changed, not the file",
    ),
    ("verify has no predictions", _verify(PREDICTIONS, None), r"verify: .*predictions\.jsonl: missing"),
    ("COMPARE_WITH is a list", _before("[]"), r"before/results\.json: not a result"),
    ("COMPARE_WITH is not UTF-8", _before(NOT_TEXT), r"before/results\.json: not UTF-8"),
    (
        "COMPARE_WITH has metrics of a list",
        _before('{"metrics": [], "manifest": {}}'),
        r"before/results\.json: metrics is",
    ),
]

CASES = [Case(name, act, error) for name, act, error in JUDGED]
