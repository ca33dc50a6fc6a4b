"""Evaluation inside a run: the same bits, one compilation, the best checkpoint, an early stop."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from training_stand_ins import make_store, run_train

import seqio_tasks
from inters_jax.evaluation.judge import Judge
from inters_jax.models.config import DecoderConfig
from inters_jax.models.loading import load_model
from inters_jax.models.lora.layers import LoRA
from inters_jax.run_folder import CheckpointError, best_step, checkpoint_steps
from inters_jax.training.in_run_evaluation import Evaluation
from inters_jax.training.metrics import read_metrics
from seqio_tasks.base import UserError
from seqio_tasks.vocabularies import HuggingFaceVocabulary

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
CHOICES, TEXT = "inters_query_matching_msrp_choices", "inters_query_expansion_gov2"
MODEL = DecoderConfig(
    vocab_size=4096, hidden_size=16, intermediate_size=32, num_layers=2, num_heads=2, max_position=512
)
SETTINGS = {
    "model": MODEL, "tokenizer": str(SAMPLE / "tokenizer"), "max_length": 512, "batch_size": 2,
    "train_steps": 6, "checkpoint_every": 6, "log_every": 3, "keep_checkpoints": 1, "tensorboard": False,
}  # fmt: skip
EVALUATED = {
    "eval_every": 2, "eval_tasks": f"{CHOICES},{TEXT}", "eval_examples": 4, "eval_split": "test",
    "eval_max_new_tokens": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store", vocab_size=4096)


@pytest.fixture(autouse=True)
def restore_settings():
    with seqio_tasks.settings.override():
        yield


@pytest.fixture
def counted(monkeypatch):
    """Compilations after every evaluation."""
    counts = []
    original = Evaluation.run

    def run(self, params):
        figures = original(self, params)
        sizes = [self._judge.scorer._encode._cache_size(), self._judge.generator._begin._cache_size()]
        counts.append((self.compilations, *sizes))
        return figures

    monkeypatch.setattr(Evaluation, "run", run)
    return counts


def parameters(run: Path, step: int):
    return jax.tree.leaves(nnx.state(load_model(run, step=step).model, nnx.Param))


@pytest.mark.slow
def test_a_run_with_evaluations_has_the_bits_of_one_without(tmp_path, store, counted):
    metric = f"eval/{CHOICES}/accuracy"
    plain = run_train(tmp_path / "plain", store.folder, **SETTINGS)
    settings = SETTINGS | EVALUATED | {"keep_best": f"max:{metric}"}
    watched = run_train(tmp_path / "watched", store.folder, **settings)
    assert watched["step"] == plain["step"] == 6
    for one, other in zip(
        parameters(tmp_path / "plain", 6), parameters(tmp_path / "watched", 6), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    records = {record["step"]: record for record in read_metrics(tmp_path / "watched")}
    assert {step for step, record in records.items() if metric in record} == {2, 4, 6}
    assert all(0 <= records[step]["eval/mean"] <= 100 for step in (2, 4, 6))
    assert len(counted) == 3 and counted[0] == counted[2], counted
    best = best_step(tmp_path / "watched")
    values = {step: records[step][metric] for step in (2, 4, 6)}
    assert values[best] == max(values.values()) and best in checkpoint_steps(tmp_path / "watched")
    assert f"step {best}" in load_model(tmp_path / "watched", step="best").description
    with pytest.raises(CheckpointError, match="needs a run with KEEP_BEST"):
        best_step(tmp_path / "plain")


@pytest.mark.slow
def test_lora_runs_are_judged_with_their_update(tmp_path, store, counted):
    settings = SETTINGS | EVALUATED | {"eval_tasks": CHOICES, "train_steps": 4, "checkpoint_every": 4}
    settings |= {"lora": LoRA(rank=2, dropout=0.1), "learning_rate": 0.3}
    run_train(tmp_path / "run", store.folder, **settings)
    assert [len(counted), counted[0] == counted[1]] == [2, True]
    records = {record["step"]: record for record in read_metrics(tmp_path / "run")}
    judge = Judge(
        load_model(tmp_path / "run"), HuggingFaceVocabulary(SETTINGS["tokenizer"]), max_new_tokens=4
    )
    seqio_tasks.settings.configure(tokenizer=SETTINGS["tokenizer"], max_length=512, seed=0)
    merged = judge.run(CHOICES, "test", questions=4).metrics
    for name, value in merged.items():
        assert records[4][f"eval/{CHOICES}/{name}"] == pytest.approx(value, abs=1e-3)


@pytest.mark.slow
def test_a_run_that_gets_no_better_ends_and_stays_ended(tmp_path, store, capfd):
    settings = SETTINGS | EVALUATED | {"eval_tasks": CHOICES, "early_stop": 1}
    settings |= {"learning_rate": 1e-30}  # smaller than the last bit of any weight
    assert run_train(tmp_path / "run", store.folder, **settings)["step"] == 4
    assert run_train(tmp_path / "run", store.folder, **settings)["step"] == 4
    output = capfd.readouterr().err
    assert (
        "ended by EARLY_STOP after step 4 of 6" in output
        and "EARLY_STOP=1 after step 4; nothing to do" in output
    )
    assert checkpoint_steps(tmp_path / "run")[-1] == 4


def test_settings_without_evaluations_are_refused(tmp_path, store):
    with pytest.raises(UserError, match="set EVAL_EVERY"):
        run_train(tmp_path, store.folder, early_stop=3)
    with pytest.raises(UserError, match="set EVAL_EVERY"):
        run_train(tmp_path, store.folder, keep_best="max:eval/mean")
    with pytest.raises(ValueError, match="EVAL_EVERY=0 must be a whole number of at least 1"):
        run_train(tmp_path, store.folder, eval_every=0)
