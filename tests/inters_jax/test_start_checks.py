"""What `train` refuses before it prepares a store or reads a weight."""

from __future__ import annotations

import dataclasses

import pytest
import tokenizers
from training_stand_ins import TINY, make_store, run_train

from inters_jax.run_folder import Best
from inters_jax.training import prepare_store, setup
from inters_jax.training.in_run_evaluation import Schedule
from seqio_tasks.base import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


def test_a_length_beyond_the_positions_of_the_model_is_refused(store, tmp_path):
    short = dataclasses.replace(TINY, max_position=23)
    with pytest.raises(UserError, match="MAX_LENGTH=24: MODEL has 23 positions only"):
        run_train(tmp_path / "run", store, model=short)
    run_train(tmp_path / "run", store, model=dataclasses.replace(TINY, max_position=24), train_steps=1)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_before_preparing(tmp_path, monkeypatch):
    words = {f"w{number}": number for number in range(65)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "w1", "eos_token": "w2"}')

    def never(settings):
        raise AssertionError("prepare was started")

    monkeypatch.setattr(prepare_store, "start_preparing", never)
    start = setup.Start(tmp_path / "run", TINY, str(tmp_path), [], first=True, random=True)
    data, length = setup.DataSettings(tokenizer=str(tmp_path)), setup.LengthSettings(max_length=24)
    with pytest.raises(UserError, match="has 65 tokens, the model has embeddings for 64 only"):
        setup.prepared(start, data, length)


def test_a_metric_that_evaluations_do_not_have_is_refused_with_the_names():
    schedule = Schedule(10, "task", best=Best.parse("max:eval/task/acuracy"))
    with pytest.raises(
        UserError, match=r"did you mean eval/task/accuracy\?; the metrics .* eval/mean, eval/"
    ):
        schedule.best.check({"eval/task/accuracy": 1.0, "eval/mean": 1.0})
