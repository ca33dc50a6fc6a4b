"""results.json on disk."""

import json

import pytest

from inters_jax.evaluation.results import headline_first, read_result, write_json
from seqio_tasks.base import UserError


def result(**changes):
    manifest = {"model": "m", "split": "test", "seed": 0}
    return {"metrics": {"t": {"f1": 50.0, "nDCG@10": 0.5}}, "manifest": manifest | changes, "counts": {}}


def test_headline_metrics_stand_first():
    assert headline_first(["zeta", "f1", "RR@10", "nDCG@10"]) == ["nDCG@10", "RR@10", "f1", "zeta"]


def test_results_are_read_back_and_other_files_are_refused(tmp_path):
    write_json(tmp_path / "results.json", result())
    assert read_result(tmp_path) == result()
    (tmp_path / "other.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="not a result of evaluate"):
        read_result(tmp_path / "other.json")
    with pytest.raises(UserError, match="no such file"):
        read_result(tmp_path / "missing.json")


def test_a_result_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "results.json", {"value": float("nan")})
    assert not (tmp_path / "results.json").exists()
