"""An evaluation is of its questions, references and versions: changed ones never get an earlier figure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import seqio_tasks
from inters_jax.evaluation.results import write_json
from inters_jax.evaluation.tasks import examples_digest, identify_data, resume_result
from inters_jax.shards import writing_to
from seqio_tasks import named_tasks
from seqio_tasks.base import UserError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "seqio_tasks" / "sample"


def judged(data: dict[str, str]) -> dict[str, Any]:
    return {"metrics": {name: {"accuracy": 100.0} for name in data}, "data": dict(data)}


def test_a_changed_reference_is_another_evaluation_even_far_inside_a_file(tmp_path, dataset):
    name, file = dataset
    data: dict[str, Any] = {"metrics": {}, "data": {}}
    identify_data([name], "test", 0, tmp_path, data)
    before = data["data"][name]
    result = judged({name: before})
    identify_data([name], "test", 0, tmp_path, result)  # unchanged: the earlier figure stands
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # the size and both ends stay
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match=f"the data or templates of {name} have changed since it was judged"):
        identify_data([name], "test", 0, tmp_path, result)


@pytest.fixture
def dataset(tmp_path):
    """A task of a dataset of its own raw folder, with a large file."""
    name = next(name for name in named_tasks.every() if name.endswith("_choices"))
    pair, _ = named_tasks.find(name)
    raw = tmp_path / "raw"
    shutil.copytree(SAMPLE / pair.folder, raw / pair.folder)
    file = raw / pair.folder / "large.bin"
    file.write_bytes(bytes(1 << 20))
    seqio_tasks.settings.configure(raw_dir=str(raw))
    return name, file


def test_other_library_versions_are_another_evaluation(tmp_path):
    versions = {"python": "3.11.9", "jax": "0.9.0"}
    there = {"model": "m", "versions": versions, "device": "1 x cpu"}
    write_json(tmp_path / "results.json", {"manifest": there, "metrics": {}})
    assert resume_result(tmp_path, there | {"device": "8 x TPU"})["data"] == {}
    with pytest.raises(UserError, match=r"versions is \{'jax': '0.9.0'\} there and \{'jax': '0.9.1'\} here"):
        resume_result(tmp_path, there | {"versions": versions | {"jax": "0.9.1"}})


def test_a_third_party_task_is_identified_by_its_examples(register_text):
    first = examples_digest(register_text("identity_first", "yes"), "test", 0)
    same = examples_digest(register_text("identity_same", "yes"), "test", 0)
    other = examples_digest(register_text("identity_other", "no"), "test", 0)
    assert first == same != other and len(first) == 32
    assert examples_digest("identity_unknown", "test", 0) == ""


@pytest.fixture
def register_text():
    import seqio

    def register(name: str, answer: str) -> str:
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(examples(answer), splits=["test"]),
            output_features={},
            preprocessors=[],
        )
        return name

    return register


def examples(answer: str) -> Any:
    import tensorflow as tf

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> Any:
        return tf.data.Dataset.from_tensors({"question": "is it?", "answer": answer})

    return dataset


def test_two_evaluations_never_write_into_one_folder(tmp_path):
    folder = tmp_path / "out"
    busy = pytest.raises(UserError, match="another evaluate or rerank writes here")
    with writing_to(folder), busy, writing_to(folder):
        pass
    with writing_to(folder):
        pass
