"""What `train` refuses before it prepares a store or reads a weight."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import save_file
from training_stand_ins import TINY, make_store, run_train

from inters_jax.models import loading
from inters_jax.models.config import ModelError
from inters_jax.models.lora import base as bases
from inters_jax.models.lora.layers import LoRA
from inters_jax.run_folder import Best, CheckpointError
from inters_jax.training import prepare_store, setup
from inters_jax.training.in_run_evaluation import Schedule
from inters_jax.training.initialise import start_identity
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
        setup.prepared(start, setup.ModelSettings(model=TINY), data, length, setup.RankingLossSettings())


def test_a_metric_that_evaluations_do_not_have_is_refused_with_the_names():
    schedule = Schedule(10, "task", best=Best.parse("max:eval/task/acuracy"))
    with pytest.raises(
        UserError, match=r"did you mean eval/task/accuracy\?; the metrics .* eval/mean, eval/"
    ):
        schedule.best.check({"eval/task/accuracy": 1.0, "eval/mean": 1.0})


def weights(folder, seed):
    folder.mkdir()
    array = np.random.default_rng(seed).normal(size=(300, 700)).astype(np.float32)
    save_file({"a": array}, folder / "model.safetensors")
    return folder


def test_the_identity_of_the_starting_weights_is_that_of_their_values(tmp_path):
    one, other = weights(tmp_path / "one", 0), weights(tmp_path / "other", 1)
    first = start_identity(one, random_start=False, seed=0)
    one.rename(tmp_path / "moved")
    assert start_identity(tmp_path / "moved", random_start=False, seed=5) == first
    assert start_identity(other, random_start=False, seed=0) != first
    assert start_identity(other, random_start=True, seed=0) == start_identity(TINY, random_start=True, seed=0)
    assert start_identity(tmp_path, random_start=False, seed=0) is None  # no weights there any more


def test_a_run_is_not_continued_from_other_weights(store, tmp_path):
    for seed in (0, 1):
        run_train(tmp_path / f"base{seed}", store, seed=seed, train_steps=1)
    given = {"init": "pretrained", "checkpoint_every": 1}
    run_train(tmp_path / "run", store, model=str(tmp_path / "base0"), train_steps=1, **given)
    run_train(
        tmp_path / "base0", store, train_steps=2
    )  # newer checkpoints of the same run are no other start
    run_train(tmp_path / "run", store, model=str(tmp_path / "base0"), train_steps=2, **given)
    for changes in ({"model": str(tmp_path / "base1")}, {"init": "random"}):
        with pytest.raises(CheckpointError, match=r"it started from other weights \(MODEL or INIT\)"):
            run_train(
                tmp_path / "run",
                store,
                **({"model": str(tmp_path / "base0"), "train_steps": 3} | given | changes),
            )


def test_a_base_is_found_beside_a_run_that_was_moved_with_it(tmp_path):
    (tmp_path / "old" / "base").mkdir(parents=True)
    run = tmp_path / "old" / "runs" / "a"
    (run / "model").mkdir(parents=True)
    base = bases.seen_from(bases.base_of(tmp_path / "old" / "base"), run)
    record = bases.LoraRecord(LoRA(rank=2), base, "abc")
    (run / "model" / "lora.json").write_text(json.dumps(record.to_json()))
    assert bases.record_of(run) == record
    (tmp_path / "old").rename(tmp_path / "new")
    moved = tmp_path / "new" / "runs" / "a"
    assert bases.record_of(moved).base.source == str((tmp_path / "new" / "base").resolve())
    (tmp_path / "new" / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(
        ModelError, match=r"which is not there\. If it was moved, write its new place as base\.so"
    ):
        next(bases.stream_run(moved, TINY, None))


def test_a_base_from_the_hub_is_recorded_with_its_commit(tmp_path):
    snapshot = tmp_path / "models--org--base" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    base = bases.base_of(snapshot)
    assert base.source == f"org/base@{'c' * 40}" and base.for_libraries == ("org/base", "c" * 40)
    assert bases.base_of("org/base").for_libraries == ("org/base", None)
    (tmp_path / "base@home").mkdir()
    assert bases.base_of(tmp_path / "base@home").for_libraries == (str(tmp_path / "base@home"), None)


@pytest.mark.slow
def test_a_run_continued_with_the_new_place_of_its_base_records_it(store, tmp_path):
    given = {"init": "pretrained", "lora": LoRA(rank=2, alpha=4.0, base_dtype="float32")}
    run_train(tmp_path / "base", store, train_steps=1)
    run_train(tmp_path / "run", store, model=str(tmp_path / "base"), train_steps=1, **given)
    (tmp_path / "base").rename(tmp_path / "moved")
    run_train(tmp_path / "run", store, model=str(tmp_path / "moved"), train_steps=2, **given)
    assert bases.record_of(tmp_path / "run").base.source == str((tmp_path / "moved").resolve())
    merged = dict(bases.stream_run(tmp_path / "run", loading.config_of(tmp_path / "run"), None))
    assert ("embedding",) in merged
