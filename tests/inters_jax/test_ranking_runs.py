"""Runs with a ranking loss: what they log, what they refuse, and that they learn to rank."""

from __future__ import annotations

import pytest
from training_stand_ins import make_documents_store, make_store, run_train

from inters_jax.models.lora.layers import LoRA
from inters_jax.run_folder import CheckpointError, run_record
from inters_jax.training.metrics import read_metrics
from inters_jax.training.ranking_losses import Distillation, RankNet
from seqio_tasks.base import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_documents_store(tmp_path_factory.mktemp("data") / "store").folder


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "ranknet"
    run_train(run, store, loss=RankNet(), loss_weight=0.5, max_length=40, learning_rate=0.02)
    return run


def test_both_parts_are_logged_and_the_loss_is_their_weighted_sum(finished):
    records = read_metrics(finished)
    assert [record["step"] for record in records] == [3, 6, 9, 12]
    for record in records:
        assert record["loss"] == pytest.approx(record["language_loss"] + 0.5 * record["ranking_loss"])
    assert records[-1]["language_loss"] < records[0]["language_loss"]
    assert records[-1]["ranking_loss"] < 0.5 < records[0]["ranking_loss"] < 1.0


def test_the_run_records_its_loss(finished):
    assert run_record(finished, 12)["ranking"] == {"loss": "RankNet", "labels": "grades", "weight": 0.5}
    text = (finished / "operative_config.gin").read_text()
    assert "LOSS = @RankNet()\nLOSS_WEIGHT = 0.5\n" in text and "RankNet.labels = 'grades'" in text


def test_a_run_is_not_continued_with_another_loss(finished, store):
    options = {"max_length": 40, "train_steps": 14, "learning_rate": 0.02}
    with pytest.raises(CheckpointError, match=r"trained with another ranking loss \(LOSS, LOSS_WEIGHT\)"):
        run_train(finished, store, loss=RankNet(), loss_weight=1.0, **options)


@pytest.mark.parametrize(
    ("documents", "loss", "message"),
    [
        (True, None, r"ranked: the documents of a query are trained by a ranking loss, but LOSS is None"),
        (False, RankNet(), r"LOSS=@RankNet\(\) compares documents of a query, and no task of .* has any"),
        (True, Distillation(), r"learns from the scores of a teacher, and ranked has none in .*\(TEACHER\)"),
        (True, LoRA(), r"LOSS=LoRA\(.* is no ranking loss; set LOSS=@RankNet\(\)"),
    ],
)
def test_a_loss_and_tasks_that_do_not_belong_together_are_refused(store, tmp_path, documents, loss, message):
    folder = store if documents else make_store(tmp_path / "store").folder
    with pytest.raises(UserError, match=message):
        run_train(tmp_path / "run", folder, loss=loss, max_length=40)
