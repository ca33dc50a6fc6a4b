"""What `train` and `prepare` never do to files that they have not written, and to each other."""

from __future__ import annotations

import json
import shutil

import pytest
from training_stand_ins import make_store, run_train

from inters_jax.data.pass_files import StoreError
from inters_jax.data.token_store import TokenStore, check_removable, remove_store
from inters_jax.models.config import ModelError
from inters_jax.run_folder import CheckpointError
from inters_jax.training import setup as setups
from inters_jax.training.initialise import check_model_folder, write_operative_config
from seqio_tasks.base import UserError, locked


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "precious"},
        {"config.json": "{}", "tokenizer.json": "{}"},  # a model of another program, without weights
        {"config.json": "{}", "inters_prompts.json": '{"chat_template": null}', "weights.bin": "x"},
        {"config.json": "{}", "inters_prompts.json": '{"mine": 1}'},
        {"inters_prompts.json": '{"chat_template": null}', "config.json/inner.txt": "x"},
    ],
)
def test_a_model_folder_that_no_run_has_written_is_left_alone(store, tmp_path, files):
    for name, text in files.items():
        file = tmp_path / "run" / "model" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    before = contents(tmp_path / "run" / "model")
    with pytest.raises(ModelError, match=r"not written by a training run.*nothing was removed"):
        run_train(tmp_path / "run", store)
    assert contents(tmp_path / "run" / "model") == before


def test_a_model_folder_that_is_a_link_or_a_file_is_left_alone(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for run in ("link", "file"):
        (tmp_path / run).mkdir()
    (tmp_path / "link" / "model").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file" / "model").write_text("precious")
    for run in ("link", "file"):
        with pytest.raises(ModelError, match="not written by a training run"):
            check_model_folder(tmp_path / run, fresh=True)


def test_an_empty_model_folder_and_one_of_an_earlier_start_are_replaced(tmp_path):
    for names in ([], ["config.json", "tokenizer.json", "inters_prompts.json", "lora.json"]):
        folder = tmp_path / str(len(names)) / "model"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text('{"chat_template": null}')
        check_model_folder(folder.parent, fresh=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "customers.csv").write_text("precious"),
        lambda folder: (folder / "copy" / "pass0" / "notes.txt").write_text("precious"),
        lambda folder: (folder / "manifest.json").write_text('{"name": "shop"}'),
        lambda folder: (folder / "manifest.json").write_text('{"format": 1, "fingerprint": "abc"}'),
        lambda folder: (folder / "link").symlink_to(folder.parent),
    ],
)
def test_a_store_with_other_files_is_left_alone(store, tmp_path, spoil):
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    spoil(folder)
    before = contents(folder)
    with pytest.raises(StoreError, match="nothing was removed"):
        remove_store(folder, finished=True)
    assert contents(folder) == before


def test_only_what_a_build_leaves_behind_is_removed(store, tmp_path):
    partial = tmp_path / "new.partial"
    (partial / "copy" / "pass0").mkdir(parents=True)
    for name in ("copy/pass0/tokens.bin", "copy/counts.json", "copy/.counts.json.x1.partial"):
        (partial / name).write_text("x")
    (partial / "thesis").mkdir()
    (partial / "thesis" / "chapter.tex").write_text("precious")
    with pytest.raises(StoreError, match=r"chapter\.tex"):
        TokenStore.create(tmp_path / "new", {"a": [[([1, 2], 1, "a/0")]]}, vocab_size=5)
    shutil.rmtree(partial / "thesis")
    TokenStore.create(tmp_path / "new", {"a": [[([1, 2], 1, "a/0")]]}, vocab_size=5)
    check_removable(tmp_path / "new", finished=True)  # what was written is replaceable
    shutil.copytree(store, tmp_path / "store")
    remove_store(tmp_path / "store", finished=True)
    assert not (tmp_path / "store").exists()


def test_a_numbered_folder_that_is_no_checkpoint_is_refused(store, tmp_path):
    folder = tmp_path / "run" / "checkpoints" / "2024"
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_text("precious")
    with pytest.raises(CheckpointError, match=r"2024: not a checkpoint, and a run would remove it"):
        run_train(tmp_path / "run", store)
    assert (folder / "photo.jpg").exists()


def test_metrics_of_another_program_are_refused(store, tmp_path):
    (tmp_path / "run").mkdir()
    text = '{"epoch": 1, "accuracy": 0.5}\n'
    (tmp_path / "run" / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"metrics.jsonl:1: not a record of a run"):
        run_train(tmp_path / "run", store)
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == text


def test_every_earlier_operative_config_is_kept(tmp_path):
    for text in ("a", "b", "c"):
        write_operative_config(tmp_path, 0, text)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_an_empty_model_dir_is_not_the_working_directory(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="MODEL_DIR"):
        run_train("", store)
    assert list(tmp_path.iterdir()) == []


def test_a_second_train_in_one_folder_is_refused_at_once(store, tmp_path):
    with (
        locked(tmp_path / "run" / setups.LOCK),
        pytest.raises(UserError, match="another train is running in this MODEL_DIR"),
    ):
        run_train(tmp_path / "run", store)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [setups.LOCK]


def test_the_lock_is_held_during_a_run_and_released_after_it(store, tmp_path, monkeypatch):
    original, seen = setups.open_start, []

    def opened(*arguments):
        with pytest.raises(UserError, match="busy"), locked(tmp_path / "run" / setups.LOCK, busy="busy"):
            pass
        seen.append(True)
        return original(*arguments)

    monkeypatch.setattr(setups, "open_start", opened)
    run_train(tmp_path / "run", store, train_steps=1)
    assert seen
    with locked(tmp_path / "run" / setups.LOCK, busy="busy"):
        pass
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["step"] == 1
