"""Folders at gs:// URLs, in a stand-in of an object store: mirrors, and every command's files."""

from __future__ import annotations

import json
from pathlib import Path

import bucket_stand_ins
import jax
import numpy as np
import pytest
from training_stand_ins import TINY, make_store, run_train

import seqio_tasks
from inters_jax import paths
from inters_jax.command_line import run_command
from inters_jax.models.decoder import abstract_model
from inters_jax.run_folder import checkpoint_steps, restore_params
from seqio_tasks.base import UserError

RUN = "gs://bucket/runs/a"


@pytest.fixture
def buckets(tmp_path, monkeypatch):
    return bucket_stand_ins.install(tmp_path / "buckets", monkeypatch)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Moves to a machine of a name: each has a cache of its own."""

    def move(name: str) -> None:
        monkeypatch.setenv("INTERS_CACHE_DIR", str(tmp_path / name))

    move("one")
    return move


def test_what_is_written_here_is_read_on_another_machine(buckets, machine):
    here = paths.local(RUN)
    (here / "model").mkdir()
    (here / "model" / "config.json").write_text("{}")
    (here / "metrics.jsonl").write_text("1\n")
    paths.push(here)
    assert buckets.names() == ["bucket/runs/a/metrics.jsonl", "bucket/runs/a/model/config.json"]
    machine("two")
    there = paths.local(RUN + "/")
    assert there != here and (there / "model" / "config.json").read_text() == "{}"
    assert str(paths.origin(there / "model")) == f"{RUN}/model"


def test_only_what_changed_is_moved(buckets, machine):
    here = paths.local(RUN)
    for name in ("a", "b"):
        (here / name).write_text(name)
    paths.push(here)
    buckets.log.clear()
    (here / "b").write_text("longer")
    paths.push(here)
    paths.pull(here)
    paths.push(here)
    assert buckets.log == [("write", f"{RUN}/b")]
    machine("two")
    there = paths.local(RUN)
    (there / "a").write_text("changed elsewhere")
    paths.push(there)
    machine("one")
    buckets.log.clear()
    assert (paths.local(RUN) / "a").read_text() == "changed elsewhere"
    assert buckets.log == [("read", f"{RUN}/a")]


def test_a_manifest_is_moved_last_and_unfinished_files_never(buckets, machine):
    here = paths.local("gs://bucket/store")
    for name in ("manifest.json", "z.bin", "half.partial", ".hidden"):
        (here / name).write_text(name)
    paths.push(here)
    assert [url.rpartition("/")[2] for _, url in buckets.log] == ["z.bin", "manifest.json"]
    machine("two")
    buckets.log.clear()
    paths.local("gs://bucket/store")
    assert [url.rpartition("/")[2] for _, url in buckets.log] == ["z.bin", "manifest.json"]


def test_checkpoints_and_stores_of_a_run_stay_where_they_are(buckets, machine):
    for name in ("checkpoints/3/params", "store/manifest.json", "tensorboard/events", "model/config.json"):
        file = buckets.file(f"{RUN}/{name}")
        file.parent.mkdir(parents=True)
        file.write_text("x")
    mirror = paths.local(RUN)
    assert [p.relative_to(mirror).as_posix() for p in mirror.rglob("*") if p.is_file()] == [
        "model/config.json"
    ]


def test_a_path_of_this_machine_is_itself(tmp_path):
    assert paths.local(tmp_path) == tmp_path and paths.origin(tmp_path / "x") == tmp_path / "x"
    paths.push(tmp_path)
    paths.pull(tmp_path)
    paths.push_soon(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_commands_work_in_mirrors(buckets, machine):
    with paths.mirrors() as mirrored:
        found = [mirrored(RUN), *mirrored(("gs://bucket/b", "plain")), mirrored(None)]
        Path(found[0], "x").write_text("x")
    assert not any(map(paths.is_url, found)) and found[2:] == ["plain", None]
    assert buckets.names() == ["bucket/runs/a/x"]

    with pytest.raises(ValueError), paths.mirrors() as mirrored:
        Path(mirrored("gs://bucket/results"), "partial.json").write_text("x")
        raise ValueError
    assert "bucket/results/partial.json" in buckets.names()


def test_an_object_that_cannot_be_written_is_named(buckets, machine, monkeypatch, caplog):
    here = paths.local(RUN)
    (here / "x").write_text("x")

    def refuse(*arguments, **options):
        raise RuntimeError("403 Forbidden")

    monkeypatch.setattr(buckets, "copy", refuse)
    with pytest.raises(UserError, match=f"could not be copied to {RUN}/x: 403 Forbidden"):
        paths.push(here)
    paths.push_soon(here)
    paths._uploads[here].result()
    assert "403 Forbidden; the next upload will try again" in caplog.text


def params(run: str | Path) -> list[np.ndarray]:
    return jax.tree.leaves(restore_params(paths.local(run), None, abstract_model(TINY)[1]))


@pytest.mark.slow
def test_a_run_at_a_url_continues_on_another_machine(buckets, machine, tmp_path):
    """Checkpoints, store, metrics and model lie in the bucket; the end is that of a local run, to the bit."""
    from inters_jax import train

    store = make_store(tmp_path / "made" / "store").folder
    run_train(tmp_path / "local", store)
    mirror = paths.local("gs://bucket/store")
    for file in sorted(p for p in store.rglob("*") if p.is_file()):
        (mirror / file.relative_to(store)).parent.mkdir(parents=True, exist_ok=True)
        (mirror / file.relative_to(store)).write_bytes(file.read_bytes())
    paths.push(mirror)

    def at_urls():
        return run_train(RUN, store, store="gs://bucket/store")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "inters_jax.training.signals.StopSignals.received",
            lambda self, step: "SIGTERM" if step == 7 else None,
        )
        patch.setenv(train.STOPPED_EXIT, "75")
        with pytest.raises(SystemExit, match="75"):  # told to stop is not done
            at_urls()
    assert checkpoint_steps(paths.local(RUN)) == [0, 5, 7]
    # A machine that is lost while it saves leaves a checkpoint without Orbax's last file.
    torn = buckets.file(f"{RUN}/checkpoints/9/params/d/0")
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"torn")
    machine("two")
    assert at_urls()["step"] == 12
    names = buckets.names()
    for name in ("model/config.json", "model/tokenizer.json", "metrics.jsonl", "operative_config.gin"):
        assert f"bucket/runs/a/{name}" in names
    assert "bucket/runs/a/checkpoints/12/commit_success.txt" in names
    assert any(name.startswith("bucket/runs/a/tensorboard/events") for name in names)
    lines = buckets.file(f"{RUN}/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6, 7, 9, 12]
    machine("three")
    for left, right in zip(params(RUN), params(tmp_path / "local"), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.slow
def test_every_command_takes_urls(buckets, machine, monkeypatch):
    """prepare, train, evaluate and export, each on a machine of its own that has nothing but the bucket."""
    import gin
    from training_stand_ins import Prepared

    from inters_jax import evaluate, export, prepare, train
    from inters_jax.models.config import DecoderConfig
    from inters_jax.models.loading import load_model
    from inters_jax.training import prepare_store

    task = "inters_query_description_gov2"

    def run(function, **values):
        gin.clear_config()
        with seqio_tasks.settings.override():
            return run_command(
                function, [f"--gin.{name.replace('__', '.')}={value}" for name, value in values.items()]
            )

    stored = "gs://bucket/data/store"
    run(prepare.prepare, STORE_DIR=stored, MIXTURE_OR_TASK_NAME=task, MAX_LENGTH=256)
    machine("two")
    monkeypatch.setattr(prepare_store, "start_preparing", Prepared)
    run(
        train.train,
        MODEL="@DecoderConfig()",
        INIT="random",
        MODEL_DIR=RUN,
        STORE_DIR=stored,
        MIXTURE_OR_TASK_NAME=task,
        MAX_LENGTH=256,
        TRAIN_STEPS=2,
        BATCH_SIZE=2,
        REMAT="none",
        DTYPE="float32",
        DecoderConfig__vocab_size=4096,
        DecoderConfig__hidden_size=32,
        DecoderConfig__intermediate_size=32,
        DecoderConfig__num_layers=1,
        DecoderConfig__num_heads=2,
    )
    machine("three")
    run(
        evaluate.evaluate,
        MODEL_DIR=RUN,
        OUTPUT_DIR="gs://bucket/results",
        TASKS=task,
        MAX_EXAMPLES=2,
        evaluate__max_new_tokens=4,
    )
    machine("four")
    run(export.export, MODEL_DIR=RUN, OUTPUT_DIR="gs://bucket/exported")
    names = buckets.names()
    for name in ("data/store/manifest.json", "results/results.json", "exported/config.json"):
        assert f"bucket/{name}" in names
    assert "bucket/exported/model.safetensors" in names
    machine("five")
    loaded = load_model("gs://bucket/exported")
    assert isinstance(loaded.config, DecoderConfig) and loaded.config.hidden_size == 32
    assert loaded.fingerprint == load_model(RUN).fingerprint
