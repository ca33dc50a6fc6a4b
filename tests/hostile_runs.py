"""Hostile run folders, checkpoints, stores and results."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from hostile_cases import Case, Place, small_disk, spoiled

from inters_jax.checksums import checksums
from inters_jax.data.token_store import TokenStore
from inters_jax.evaluation import verify
from inters_jax.run_folder import READ_AS
from inters_jax.trees import by_path
from seqio_tasks.base import file_sha256

Act = Callable[[Place], Any]
Content = Callable[[bytes], bytes | str] | bytes | str | None
NOT_TEXT = b'{"a": "\xff\xfe"}'
DEEP = "[" * 100_000
RECORD = "checkpoints/1/run/metadata"


def changed(**values: Any) -> Callable[[bytes], str]:
    """JSON with other values; Ellipsis removes a key."""

    def change(old: bytes) -> str:
        made = json.loads(old) | values
        return json.dumps({key: value for key, value in made.items() if value is not ...})

    return change


def _with(place: Place, source: Path, file: str, content: Content) -> Path:
    old = source / file
    data = content(old.read_bytes() if old.is_file() else b"") if callable(content) else content
    return place.copy(source, {file: data})


def _exported(file: str, content: Content, **settings: Any) -> Act:
    """`export` of the run with other content in one file."""

    def act(place: Place) -> Any:
        run = _with(place, place.run, file, content)
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


def _full(act: Act, size: int = 2_000) -> Act:
    def on_a_full_disk(place: Place) -> Any:
        with small_disk(size):
            return act(place)

    return on_a_full_disk


LORA = {"lora": {"rank": 2}, "base": {"source": "/no/such/base"}, "fingerprint": "abc"}
RUNS = [
    ("run is sound", _export(), None),
    ("run has a config of a list", _exported("model/config.json", "[]"), r"model/config\.json: a JSON list"),
    ("run has a cut config", _exported("model/config.json", "{"), r"model/config\.json:1: not JSON"),
    ("run has another shape", _exported("model/config.json", changed(hidden_size=32)), r"params: holds the parameters of another model"),
    ("run has no config", _exported("model/config.json", None), r"run: not a run folder"),
    ("run has a cut tokenizer", _exported("model/tokenizer.json", lambda old: old[:999]), r"model/tokenizer\.json: cannot be read as a tokenizer"),
    ("run has tokenizer settings of a list", _exported("model/tokenizer_config.json", "[]"), r"tokenizer_config\.json: a JSON list"),
    ("run has a broken prompt record", _exported("model/inters_prompts.json", "3"), r"inters_prompts\.json: not a record of prompts"),
    ("run has a prompt record that is not UTF-8", _exported("model/inters_prompts.json", NOT_TEXT), r"inters_prompts\.json: not a record"),
    ("run has operative settings that are not UTF-8", _exported("operative_config.gin", NOT_TEXT), r"operative_config\.gin: not UTF-8"),
    ("run has no checkpoints", _without("checkpoints"), r"checkpoints: no complete checkpoint"),
    ("run has an empty checkpoint", _without("checkpoints/1/params"), r"checkpoints/1/params: damaged"),
    ("run has a checkpoint without metadata", _exported("checkpoints/1/params/_METADATA", None), r"checkpoints/1/params: "),
    ("run has a checkpoint with cut metadata", _exported("checkpoints/1/params/_METADATA", "{"), r"checkpoints/1/params: "),
    ("run has a checkpoint with a list as metadata", _exported("checkpoints/1/params/_METADATA", "[]"), r"checkpoints/1/params: "),
    ("run has a record of a list", _exported(RECORD, "[]"), r"run/metadata: unreadable .*incomplete"),
    ("run has a cut record", _exported(RECORD, '{"step":'), r"run/metadata: unreadable .*incomplete"),
    ("run has a record that is not UTF-8", _exported(RECORD, NOT_TEXT), r"run/metadata: unreadable .*incomplete"),
    ("run has a record that is nested too deeply", _exported(RECORD, DEEP), r"run/metadata: unreadable .*incomplete"),
    ("run has no record", _exported(RECORD, None), r"run/metadata: unreadable"),
    ("run has a list of checksums", _exported(RECORD, changed(checksums=[1])), r"run/metadata: unreadable .*checksums"),
    ("run has checksums of numbers", _exported(RECORD, changed(checksums={"params/embedding": 3})), r"run/metadata: unreadable .*checksums"),
    ("run has a flipped array", _arrays(lambda old: spoiled(old, len(old) // 2)), r"checkpoints/1/params: damaged"),
    ("run has a cut array", _arrays(lambda old: old[: len(old) // 2]), r"checkpoints/1/params: damaged"),
    ("run has an empty array", _arrays(lambda old: b""), r"checkpoints/1/params: damaged"),
    ("run has no step 7", _export(STEP=7), r"checkpoints: no checkpoint of step 7; found 1"),
    ("run has no best step", _export(STEP="best"), r"STEP='best' needs a run with KEEP_BEST"),
    ("run has no adapter", _export(FORMAT="peft"), r"run: not a LoRA run"),
    ("adapter record is a list", _exported("model/lora.json", "[]"), r"lora\.json: a JSON list, expected an object"),
    ("adapter record is not UTF-8", _exported("model/lora.json", NOT_TEXT), r"lora\.json: not UTF-8"),
    ("adapter record is nested too deeply", _exported("model/lora.json", DEEP), r"lora\.json:1: not JSON"),
    ("adapter record lacks its base", _exported("model/lora.json", '{"lora": {}}'), r"lora\.json: not the record of a LoRA run"),
    ("adapter record has a rank of text", _exported("model/lora.json", json.dumps(LORA | {"lora": {"rank": "x"}})), r"lora\.json: .*LoRA\.rank is 'x'"),
    ("adapter record has a base of a number", _exported("model/lora.json", json.dumps(LORA | {"base": {"source": 3}})), r"lora\.json: not the record of a LoRA run"),
    ("adapter has no base", _exported("model/lora.json", json.dumps(LORA)), r"was trained on the base /no/such/base, which is not there"),
    ("export has a folder that is not empty", _export(OUTPUT_DIR=lambda p: p.write("o/a.txt", "x").parent), r"o: exists and is not an empty folder"),
    ("export has a file as folder", _export(OUTPUT_DIR=lambda p: p.write("o", "x")), r"o: exists and is not an empty folder"),
    ("export writes below a file", _export(OUTPUT_DIR=lambda p: p.write("o", "x") / "a"), r"/o: File exists|/o.*: Not a directory"),
    ("export writes below /proc", _export(OUTPUT_DIR="/proc/none/a"), r"/proc/none: No such file or directory"),
    ("export writes on a full disk", _full(_export()), r"export: .*/out: no disk space is left in .* GiB free\)"),
    ("rerank of a run has no step 7", lambda p: p.rerank(MODEL_DIR=p.run, STEP=7), r"no checkpoint of step 7; found 1"),
    ("rerank writes on a full disk", lambda p: _full(lambda q: q.rerank(COLLECTION=p.folder / "beir"), 100)(p) if p.beir() else None, r"rerank: .*/out/.*: no disk space is left"),
    ("rerank writes below a file", lambda p: p.rerank(OUTPUT_DIR=p.write("o", "x") / "a"), r"o/a.*: Not a directory"),
]  # fmt: skip


def _shown(file: str, content: Content) -> Act:
    """`inspect_data` of the store with other content in one file."""

    def act(place: Place) -> Any:
        store = _with(place, place.store, file, content)
        page = place.folder / "p.html"
        return place.command("inspect_data", STORE_DIR=store, OUTPUT=page, TOKENIZER=place.model, RENDER=False)

    return act


def _verified(file: str, content: Content) -> Act:
    """The check that `train` makes of a store."""
    return lambda place: TokenStore.open(_with(place, place.store, file, content)).verify(whole=True)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _shifted(old: bytes) -> bytes:
    array = np.load(io.BytesIO(old))
    array[1] += 1
    return _npy(array)


MANIFEST = "manifest.json"
OFFSETS, STARTS, TOKENS = "copy/pass0/offsets.npy", "copy/pass0/target_starts.npy", "copy/pass0/tokens.bin"
STORES = [
    ("store is missing", lambda p: p.command("inspect_data", STORE_DIR=p.folder), r"has no manifest\.json: not a finished store"),
    ("store has a cut manifest", _shown(MANIFEST, lambda old: old[:99]), r"manifest\.json is damaged"),
    ("store has a manifest of a list", _shown(MANIFEST, "[]"), r"manifest\.json is damaged"),
    ("store has a manifest that is not UTF-8", _shown(MANIFEST, NOT_TEXT), r"manifest\.json is damaged"),
    ("store has a manifest that is nested too deeply", _shown(MANIFEST, DEEP), r"manifest\.json is damaged"),
    ("store has a manifest of null", _shown(MANIFEST, "null"), r"manifest\.json is damaged"),
    ("store has a manifest of another program", _shown(MANIFEST, '{"name": "shop"}'), r"manifest\.json is damaged"),
    ("store has another format", _shown(MANIFEST, changed(format=99)), r"store has format 99, this program reads"),
    ("store has a changed manifest", _shown(MANIFEST, changed(epoch_examples=3)), r"manifest\.json was changed after"),
    ("store has cut tokens", _shown(TOKENS, lambda old: old[:-2]), r"tokens\.bin has \d+ bytes, but the manifest says"),
    ("store has no tokens", _shown(TOKENS, None), r"tokens\.bin has None bytes"),
    ("store has cut offsets", _shown(OFFSETS, lambda old: old[:-9]), r"offsets\.npy: cannot be read"),
    ("store has empty offsets", _shown(OFFSETS, b""), r"offsets\.npy: cannot be read"),
    ("store has offsets of text", _shown(OFFSETS, "hello"), r"offsets\.npy: cannot be read"),
    ("store has pickled offsets", _shown(OFFSETS, _npy(np.array([{}], object))), r"offsets\.npy: cannot be read"),
    ("store has offsets with a broken header", _shown(OFFSETS, lambda old: old[:10] + b"{" * 50 + old[60:]), r"offsets\.npy: cannot be read"),
    ("store has offsets of other numbers", _shown(OFFSETS, _npy(np.zeros(3, "f4"))), r"offsets\.npy: float32\[3\], expected"),
    ("store has no offsets", _shown(OFFSETS, None), r"offsets\.npy: cannot be read"),
    ("store has shifted offsets", _verified(OFFSETS, _shifted), r"offsets\.npy|target_starts\.npy|tokens\.bin"),
    ("store has negative starts", _shown(STARTS, lambda old: _npy(-np.load(io.BytesIO(old)))), r"target_starts\.npy: a completion starts outside"),
    ("store has shifted starts", _verified(STARTS, _shifted), r"target_starts\.npy: "),
    ("store has flipped tokens", _verified(TOKENS, lambda old: spoiled(old, 40)), r"tokens\.bin: its tokens are not those"),
    ("store is sound", lambda p: TokenStore.open(p.store).tasks, None),
    ("page is written on a full disk", _full(lambda p: p.command("inspect_data", STORE_DIR=p.store, TOKENIZER=p.model, RENDER=False, OUTPUT=p.folder / "a.html")), r"inspect_data: .*/a\.html: no disk space is left"),
    ("page is written below a file", lambda p: p.command("inspect_data", STORE_DIR=p.store, TOKENIZER=p.model, RENDER=False, OUTPUT=p.write("o", "") / "a.html"), r"/o: File exists|/o.*: Not a directory"),
    ("page has no tokenizer", lambda p: p.command("inspect_data", STORE_DIR=p.store, OUTPUT=p.folder / "a.html", RENDER=False), r"does not say which tokenizer"),
    ("prepare is given another folder", lambda p: p.command("prepare", STORE_DIR=p.write("s/customers.csv", "x").parent), r"s exists and is no token store"),
    ("prepare is given a file", lambda p: p.command("prepare", STORE_DIR=p.write("s", "x")), r"s"),
    ("prepare is given a store made otherwise", lambda p: p.command("prepare", STORE_DIR=p.copy(p.store)), r"store was made otherwise"),
    ("prepare is given a damaged store", lambda p: p.command("prepare", STORE_DIR=_with(p, p.store, MANIFEST, "[]")), r"manifest\.json is damaged .*REBUILD=True"),
    ("prepare writes on a full disk", _full(lambda p: p.command("prepare", STORE_DIR=p.folder / "s", MIXTURE_OR_TASK_NAME="inters_query_matching_msrp", MAX_LENGTH=512)), r"prepare: .*/s: no disk space is left in .* GiB free\)"),
]  # fmt: skip

RESULTS = "results.json"


def _compared(file: str, content: Content) -> Act:
    """`compare` of two evaluations, one with other content in a file."""

    def act(place: Place) -> Any:
        other = place.folder / "other"
        shutil.copytree(place.evaluation, other)
        changed = _with(place, place.evaluation, file, content)
        found = place.command("compare", str(changed), str(other), BOOTSTRAP=10, SAMPLES=10)
        return [table.title for table in found.tables]

    return act


def _verify(file: str, content: Content) -> Act:
    """`evaluate --verify` of an evaluation with other content in a file."""

    def act(place: Place) -> Any:
        raise SystemExit(verify.main([str(_with(place, place.evaluation, file, content))]))

    return act


def _before(content: bytes | str) -> Act:
    """`evaluate` that compares with another result."""
    return lambda p: p.command("evaluate", MODEL_DIR=p.model, COMPARE_WITH=p.write("before/results.json", content))


TASK = "inters_reading_comprehension_squad_0shot"
PREDICTIONS = f"{TASK}/predictions.jsonl"
JUDGED = [
    ("evaluations are sound", _compared(RESULTS, lambda old: old), None),
    ("results are missing", _compared(RESULTS, None), r"evaluation/results\.json: no such file"),
    ("results are cut", _compared(RESULTS, lambda old: old[:30]), r"results\.json:1: not JSON"),
    ("results are a list", _compared(RESULTS, "[]"), r"results\.json: not a result of evaluate or rerank"),
    ("results are not UTF-8", _compared(RESULTS, NOT_TEXT), r"results\.json: not UTF-8"),
    ("results are nested too deeply", _compared(RESULTS, DEEP), r"results\.json:1: not JSON"),
    ("results have metrics of a list", _compared(RESULTS, changed(metrics=[1])), r"results\.json: metrics is"),
    ("results have metrics of numbers", _compared(RESULTS, changed(metrics={TASK: 3})), r"results\.json: metrics"),
    ("results have a manifest of a list", _compared(RESULTS, changed(manifest=[])), r"results\.json: manifest is"),
    ("results have no task", _compared(RESULTS, changed(metrics={})), r"no task in common"),
    ("results have a task that leaves the folder", _compared(RESULTS, changed(metrics={"../x": {}})), r"no task in common"),
    ("results are of rerank", _compared(RESULTS, changed(manifest={"command": "rerank"})), r"compare its reranked\.trec"),
    ("predictions are missing", _compared(PREDICTIONS, None), r"predictions\.jsonl: no such file"),
    ("predictions are empty", _compared(PREDICTIONS, ""), r"different items|no task in common"),
    ("predictions are cut", _compared(PREDICTIONS, lambda old: old[:-9]), r"predictions\.jsonl:\d+: not JSON"),
    ("predictions are not UTF-8", _compared(PREDICTIONS, NOT_TEXT), r"predictions\.jsonl:1: not JSON"),
    ("predictions are lists", _compared(PREDICTIONS, "[]\n"), r"predictions\.jsonl:1: not a JSON object"),
    ("predictions are nested too deeply", _compared(PREDICTIONS, DEEP), r"predictions\.jsonl:1: not JSON \(nested"),
    ("predictions lack their fields", _compared(PREDICTIONS, "{}\n"), r"predictions\.jsonl: .*example_id"),
    ("predictions are numbers", _compared(PREDICTIONS, lambda old: old.replace(b'"red"', b"3")), r"predictions\.jsonl:1: the prediction is 3, not a text"),
    ("predictions are null", _compared(PREDICTIONS, lambda old: old.replace(b'"red"', b"null")), r"predictions\.jsonl:1: the prediction is None, not a text"),
    ("predictions have an id twice", _compared(PREDICTIONS, lambda old: old * 2), r"predictions\.jsonl: .*2 records have the example_id"),
    ("verify has no results", _verify(RESULTS, None), r"verify: .*results\.json: no such file"),
    ("verify has results of a list", _verify(RESULTS, "[]"), r"verify: .*not a result"),
    ("verify has results that are not UTF-8", _verify(RESULTS, NOT_TEXT), r"verify: .*results\.json: not UTF-8"),
    ("verify has no files", _verify(RESULTS, changed(files={})), r"verify: .*lists no files"),
    ("verify has files of a list", _verify(RESULTS, changed(files=[1])), r"verify: .*results\.json: files is"),
    ("verify has files of numbers", _verify(RESULTS, changed(files={TASK: {"predictions.jsonl": 3}})), r"verify: .*predictions\.jsonl: not the file"),
    ("verify has changed predictions", _verify(PREDICTIONS, lambda old: old + b"{}\n"), r"verify: .*predictions\.jsonl: not the file"),
    ("verify has no predictions", _verify(PREDICTIONS, None), r"verify: .*predictions\.jsonl: missing"),
    ("COMPARE_WITH is a list", _before("[]"), r"before/results\.json: not a result"),
    ("COMPARE_WITH is not UTF-8", _before(NOT_TEXT), r"before/results\.json: not UTF-8"),
    ("COMPARE_WITH has metrics of a list", _before('{"metrics": [], "manifest": {}}'), r"before/results\.json: metrics is"),
]  # fmt: skip


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


def build_evaluation(folder: Path) -> Path:
    """A results.json with the predictions of one task beside it."""
    task = folder / TASK
    task.mkdir(parents=True)
    rows = [
        {"example_id": f"s{number}", "targets_pretokenized": "red kite", "references": ["red kite"],
         "prediction": answer}
        for number, answer in enumerate(("red", "blue"))
    ]  # fmt: skip
    (task / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {
        "manifest": {"command": "evaluate", "split": "test"},
        "metrics": {TASK: {"f1": 33.3}},
        "paper_metrics": {},
        "files": {TASK: {"predictions.jsonl": file_sha256(task / "predictions.jsonl")}},
    }
    (folder / "results.json").write_text(json.dumps(result))
    return folder


CASES = [Case(name, act, error) for name, act, error in (*RUNS, *STORES, *JUDGED)]
