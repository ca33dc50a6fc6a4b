"""What a run reports besides its loss: utilisation, losses by task, traces, Weights & Biases."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from training_stand_ins import TINY, make_store, run_train

from inters_jax.data.loader import PackedBatches
from inters_jax.models.precision import product_rate
from inters_jax.training.metrics import Window, read_metrics
from inters_jax.training.profiling import parse_steps
from inters_jax.training.trackers import WandB
from inters_jax.training.utilisation import Utilisation
from seqio_tasks.base import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store")


class StandIn(types.ModuleType):
    """The part of wandb that is used."""

    def __init__(self):
        super().__init__("wandb")
        self.begun, self.logged, self.finished = [], [], 0

    def init(self, **settings):
        self.begun.append(settings)
        return self

    def log(self, record, step):
        self.logged.append((step, record))

    def finish(self):
        self.finished += 1


def test_a_run_reports_utilisation_losses_by_task_and_leaves_a_trace(tmp_path, store, monkeypatch):
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run_train(
        tmp_path / "run", store.folder, train_steps=6, log_every=1, wandb="project", profile_steps="3:5",
        microbatches=2, max_logits=4 * 64 * 8,
    )  # fmt: skip
    records = read_metrics(tmp_path / "run")
    batches = PackedBatches(store, batch_rows=4, max_length=24, seed=0, steps=6)
    for record in records:
        assert 0 <= record["input_wait"] <= 1
        counts: dict[str, int] = {}
        for row in batches.row_tasks(record["step"] - 1):
            for task, targets in row:
                counts[task] = counts.get(task, 0) + targets
        assert set(record["task_loss"]) == set(counts)
        mean = np.average([record["task_loss"][task] for task in counts], weights=list(counts.values()))
        assert mean == pytest.approx(record["loss"], rel=1e-4)
    assert len({round(value, 3) for value in records[0]["task_loss"].values()}) == 2
    assert all(record["mfu"] > 0 for record in records[1:])
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    assert [step for step, _ in wandb.logged] == [1, 2, 3, 4, 5, 6] and wandb.finished == 1
    assert "task_loss/copy" in wandb.logged[0][1] and wandb.begun[0]["project"] == "project"


def test_model_flops_of_a_batch():
    statistics = {"real_tokens": 10, "target_tokens": 4, "token_pairs": 55}
    kernels = 2 * (4 * 16 * 16 + 3 * 16 * 32) + 16 * 5  # two layers and five norms
    expected = 6 * kernels * 10 + 6 * 64 * 16 * 4 + 12 * 2 * 16 * 55
    whole = Utilisation(TINY, jax.devices()[:1])
    assert whole.flops(statistics) == expected
    beside = Utilisation(TINY, jax.devices()[:1], trained_values=100)
    assert beside.flops(statistics) == 4 * kernels * 10 + 600 * 10 + 4 * 64 * 16 * 4 + 12 * 2 * 16 * 55


def test_peaks_come_from_the_table_or_are_measured():
    class Gpu:
        platform, device_kind = "gpu", "NVIDIA H200"

    class Unknown:
        platform, device_kind = "gpu", "Some Card"

    assert Utilisation(TINY, [Gpu()] * 4).peak == 4 * 989e12
    assert Utilisation(TINY, [Unknown()]).peak is None
    assert 1e8 < product_rate("float32", 64, 2) < 1e14


def test_waiting_and_excluded_time_of_a_window():
    times = iter([0.0, 10.0])
    window = Window(clock=lambda: next(times))
    window.add_wait(2.5)
    window.add({"examples": 1, "real_tokens": 10, "target_tokens": 2, "density": 1.0}, model_flops=50.0)
    window.add_task_loss("a", 6.0, 2)
    window.add_task_loss("a", 3.0, 1)
    record = window.close()
    assert record["input_wait"] == 0.25 and record["model_flops_per_second"] == 5.0
    assert record["task_loss"] == {"a": 3.0}


def test_missing_wandb_and_wrong_steps_are_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb, or set WANDB=None"):
        WandB("project", tmp_path, {})
    for wrong in ("5:5", "0:3", "a", "3:"):
        with pytest.raises(UserError, match="must read FIRST:LAST"):
            parse_steps(wrong)


def test_a_continued_run_is_the_same_run_there(tmp_path, monkeypatch):
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for _ in range(2):
        WandB("project", Path(tmp_path), {"a": 1}).close()
    assert wandb.begun[0]["id"] == wandb.begun[1]["id"] and wandb.begun[0]["resume"] == "allow"
