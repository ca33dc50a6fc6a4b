"""Hostile run folders and checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from flax import nnx
from hostile.cases import DEEP, NOT_TEXT, Act, Case, Content, Place, changed, on_a_full_disk, spoil, spoiled

from inters_jax.checksums import checksums
from inters_jax.run_folder import READ_AS
from inters_jax.trees import by_path

RECORD = "checkpoints/1/run/metadata"


def build_run(folder: Path, model: Path, decoder: Any) -> Path:
    """A run of the model with one checkpoint, as `train` leaves it."""
    params = nnx.to_pure_dict(nnx.state(decoder, nnx.Param))
    shutil.copytree(model, folder / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoints" / "1" / "params", params)
    arrays = {"/".join(("params", *path)): array for path, array in by_path(params).items()}
    record = {"step": 1, "checksums": checksums(arrays, READ_AS)}
    (folder / RECORD).parent.mkdir()
    (folder / RECORD).write_text(json.dumps(record))
    (folder / "operative_config.gin").write_text("SEED = 0\n")
    return folder


def _exported(file: str, content: Content, **settings: Any) -> Act:
    """`export` of the run with other content in one file."""

    def act(place: Place) -> Any:
        run = spoil(place, place.run, file, content)
        return place.command("export", MODEL_DIR=run, OUTPUT_DIR=place.folder / "out", **settings).name

    return act


def _export(**settings: Any) -> Act:
    """`export` of the sound run."""

    def act(place: Place) -> Any:
        values = {"MODEL_DIR": place.run, "OUTPUT_DIR": place.folder / "out"} | {
            name: value(place) if callable(value) else value for name, value in settings.items()
        }
        return place.command("export", **values).name

    return act


def _arrays(change: Callable[[bytes], bytes]) -> Act:
    """`export` of the run with the arrays of its parameters changed."""

    def act(place: Place) -> Any:
        run = place.copy(place.run)
        files = [path for path in (run / "checkpoints/1/params").rglob("*") if path.is_file()]
        largest = max(files, key=lambda path: path.stat().st_size)
        largest.write_bytes(change(largest.read_bytes()))
        return place.command("export", MODEL_DIR=run, OUTPUT_DIR=place.folder / "out")

    return act


def _without(folder: str) -> Act:
    def act(place: Place) -> Any:
        run = place.copy(place.run)
        shutil.rmtree(run / folder)
        return place.command("export", MODEL_DIR=run, OUTPUT_DIR=place.folder / "out")

    return act


def _reranked_on_a_full_disk(place: Place) -> Any:
    place.beir()
    return on_a_full_disk(lambda full: full.rerank(COLLECTION=full.folder / "beir"), 100)(place)


LORA = {"lora": {"rank": 2}, "base": {"source": "/no/such/base"}, "fingerprint": "abc"}
RUNS = [
    ("run is sound", _export(), None),
    ("run has a config of a list", _exported("model/config.json", "[]"), r"model/config\.json: a JSON list"),
    ("run has a cut config", _exported("model/config.json", "{"), r"model/config\.json:1: not JSON"),
    (
        "run has another shape",
        _exported("model/config.json", changed(hidden_size=32)),
        r"params: holds the parameters of another model",
    ),
    ("run has no config", _exported("model/config.json", None), r"run: not a run folder"),
    (
        "run has a cut tokenizer",
        _exported("model/tokenizer.json", lambda old: old[:999]),
        r"model/tokenizer\.json: cannot be read as a tokenizer",
    ),
    (
        "run has tokenizer settings of a list",
        _exported("model/tokenizer_config.json", "[]"),
        r"tokenizer_config\.json: a JSON list",
    ),
    (
        "run has a broken prompt record",
        _exported("model/inters_prompts.json", "3"),
        r"inters_prompts\.json: not a record of prompts",
    ),
    (
        "run has a prompt record that is not UTF-8",
        _exported("model/inters_prompts.json", NOT_TEXT),
        r"inters_prompts\.json: not a record",
    ),
    (
        "run has operative settings that are not UTF-8",
        _exported("operative_config.gin", NOT_TEXT),
        r"operative_config\.gin: not UTF-8",
    ),
    ("run has no checkpoints", _without("checkpoints"), r"checkpoints: no complete checkpoint"),
    ("run has an empty checkpoint", _without("checkpoints/1/params"), r"checkpoints/1/params: damaged"),
    (
        "run has a checkpoint without metadata",
        _exported("checkpoints/1/params/_METADATA", None),
        r"checkpoints/1/params: ",
    ),
    (
        "run has a checkpoint with cut metadata",
        _exported("checkpoints/1/params/_METADATA", "{"),
        r"checkpoints/1/params: ",
    ),
    (
        "run has a checkpoint with a list as metadata",
        _exported("checkpoints/1/params/_METADATA", "[]"),
        r"checkpoints/1/params: ",
    ),
    ("run has a record of a list", _exported(RECORD, "[]"), r"run/metadata: unreadable .*incomplete"),
    ("run has a cut record", _exported(RECORD, '{"step":'), r"run/metadata: unreadable .*incomplete"),
    (
        "run has a record that is not UTF-8",
        _exported(RECORD, NOT_TEXT),
        r"run/metadata: unreadable .*incomplete",
    ),
    (
        "run has a record that is nested too deeply",
        _exported(RECORD, DEEP),
        r"run/metadata: unreadable .*incomplete",
    ),
    ("run has no record", _exported(RECORD, None), r"run/metadata: unreadable"),
    (
        "run has a list of checksums",
        _exported(RECORD, changed(checksums=[1])),
        r"run/metadata: unreadable .*checksums",
    ),
    (
        "run has checksums of numbers",
        _exported(RECORD, changed(checksums={"params/embedding": 3})),
        r"run/metadata: unreadable .*checksums",
    ),
    (
        "run has a flipped array",
        _arrays(lambda old: spoiled(old, len(old) // 2)),
        r"checkpoints/1/params: damaged",
    ),
    ("run has a cut array", _arrays(lambda old: old[: len(old) // 2]), r"checkpoints/1/params: damaged"),
    ("run has an empty array", _arrays(lambda old: b""), r"checkpoints/1/params: damaged"),
    ("run has no step 7", _export(STEP=7), r"checkpoints: no checkpoint of step 7; found 1"),
    ("run has no best step", _export(STEP="best"), r"STEP='best' needs a run with KEEP_BEST"),
    ("run has no adapter", _export(FORMAT="peft"), r"run: not a LoRA run"),
    (
        "adapter record is a list",
        _exported("model/lora.json", "[]"),
        r"lora\.json: a JSON list, expected an object",
    ),
    ("adapter record is not UTF-8", _exported("model/lora.json", NOT_TEXT), r"lora\.json: not UTF-8"),
    ("adapter record is nested too deeply", _exported("model/lora.json", DEEP), r"lora\.json:1: not JSON"),
    (
        "adapter record lacks its base",
        _exported("model/lora.json", '{"lora": {}}'),
        r"lora\.json: not the record of a LoRA run",
    ),
    (
        "adapter record has a rank of text",
        _exported("model/lora.json", json.dumps(LORA | {"lora": {"rank": "x"}})),
        r"lora\.json: .*LoRA\.rank is 'x'",
    ),
    (
        "adapter record has a base of a number",
        _exported("model/lora.json", json.dumps(LORA | {"base": {"source": 3}})),
        r"lora\.json: not the record of a LoRA run",
    ),
    (
        "adapter has no base",
        _exported("model/lora.json", json.dumps(LORA)),
        r"was trained on the base /no/such/base, which is not there",
    ),
    (
        "export has a folder that is not empty",
        _export(OUTPUT_DIR=lambda p: p.write("o/a.txt", "x").parent),
        r"o: exists and is not an empty folder",
    ),
    (
        "export has a file as folder",
        _export(OUTPUT_DIR=lambda p: p.write("o", "x")),
        r"o: exists and is not an empty folder",
    ),
    (
        "export writes below a file",
        _export(OUTPUT_DIR=lambda p: p.write("o", "x") / "a"),
        r"/o: File exists|/o.*: Not a directory",
    ),
    (
        "export writes below /proc",
        _export(OUTPUT_DIR="/proc/none/a"),
        r"/proc/none: No such file or directory",
    ),
    (
        "export writes on a full disk",
        on_a_full_disk(_export()),
        r"export: .*/out: no disk space is left in .* GiB free\)",
    ),
    (
        "rerank of a run has no step 7",
        lambda p: p.rerank(MODEL_DIR=p.run, STEP=7),
        r"no checkpoint of step 7; found 1",
    ),
    (
        "rerank writes on a full disk",
        lambda p: (
            on_a_full_disk(lambda q: q.rerank(COLLECTION=p.folder / "beir"), 100)(p) if p.beir() else None
        ),
        r"rerank: .*/out/.*: no disk space is left",
    ),
    (
        "rerank writes below a file",
        lambda p: p.rerank(OUTPUT_DIR=p.write("o", "x") / "a"),
        r"o/a.*: Not a directory",
    ),
]

CASES = [Case(name, act, error) for name, act, error in RUNS]
