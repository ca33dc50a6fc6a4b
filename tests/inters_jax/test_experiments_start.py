"""Every experiment file really starts: its own commands run with a tiny model, and the data, prompts or
rankings are what the file promises.

The files of a backbone keep their recipe (2,048 positions, bfloat16, everything recomputed) and train a tiny
model of the backbone's own family; those laid over a backbone are run as docs/experiments.md says, with
tiny.gin after them, over a part of the packaged sample. One step is taken, one question of each task asked.
"""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import jax
import numpy as np
import pytest
from experiment_promises import PROMISES, with_data
from experiment_stand_ins import (
    FILES,
    JUDGED_PART,
    PART,
    ROOT,
    SAMPLE,
    SCORED_PART,
    commands,
    load,
    macro,
    part_of_sample,
    run,
    save_tiny,
    shrunk,
)
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache

import seqio_tasks
from inters_jax.data.token_store import TokenStore
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.planning.shapes import shape_of
from inters_jax.run_folder import restore_params
from seqio_tasks import catalog, templates
from seqio_tasks.metrics.trec_files import read_run

pytestmark = pytest.mark.slow

BACKBONES = [name for name in FILES if name.startswith("main_")]
TRAINED = [name for name in FILES if commands(name)[0][0] == "train" and name not in BACKBONES]
JUDGED = [name for name in FILES if commands(name)[0][0] == "evaluate"]
RERANKED = [name for name in FILES if commands(name)[0][0] == "rerank"]
OPTIONS = {
    "pointwise": {},
    "pairwise": {"sort": "heapsort", "top_k": 10},
    "listwise": {"window": 20, "stride": 10},
}
OTHER_PROJECT = Path(__file__).parent / "other_project"


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Programs are kept on disk: files that differ in their data alone share one."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    compilation_cache.reset_cache()
    for name, value in zip(names, (str(tmp_path_factory.mktemp("compiled")), 0.0), strict=True):
        jax.config.update(name, value)
    yield
    compilation_cache.reset_cache()
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def restored_settings():
    with seqio_tasks.settings.override():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    return part_of_sample(tmp_path_factory.mktemp("part"), PART)


@pytest.fixture(scope="module")
def scored_part(tmp_path_factory):
    return part_of_sample(tmp_path_factory.mktemp("scored"), SCORED_PART)


@pytest.fixture(scope="module")
def judged_part(tmp_path_factory):
    return part_of_sample(tmp_path_factory.mktemp("judged"), JUDGED_PART)


@pytest.fixture(scope="module")
def stores(place, part):
    """The store of a file, tiny.gin after it: made when first asked for, one for files that ask the same."""
    made: dict[tuple[str, int], TokenStore] = {}

    def store(name):
        load("prepare", [*dict(commands(name))["train"], "--gin.STORE_DIR=none"])
        key = macro("MIXTURE_OR_TASK_NAME"), macro("MAX_SHOTS")
        if key not in made:
            folder = place / "stores" / f"{key[0]}_{key[1]}"
            made[key] = run(
                name, "prepare", "tiny.gin", header="train", STORE_DIR=folder, RAW_DIR=part, MODEL_DIR="none"
            )
        return made[key]

    return store


@pytest.fixture(scope="module")
def trained(place, part, stores):
    """The run folder of a file after one step, tiny.gin after it, and the record of the step."""
    made = {}

    def train(name):
        if name not in made:
            folder, store = place / "runs" / name, stores(name)
            last = run(name, "train", "tiny.gin", MODEL_DIR=folder, STORE_DIR=store.folder, RAW_DIR=part,
                       TRAIN_STEPS=1, LOG_EVERY=1)  # fmt: skip
            made[name] = folder, last
        return made[name]

    return train


def test_each_file_is_checked_by_one_of_these_tests():
    assert sorted(PROMISES) == TRAINED
    assert sorted([*BACKBONES, *TRAINED, *JUDGED, *RERANKED]) == FILES


def test_the_documented_list_says_how_each_file_is_checked():
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    table = text.partition("## How they are checked")[2].partition("\n## ")[0]
    patterns = [line.split("`")[1] + ".gin" for line in table.splitlines() if line.startswith("| `")]
    for name in FILES:
        assert sum(fnmatch(name, pattern) for pattern in patterns) == 1, name


@pytest.fixture(scope="module")
def whole_store(place, tmp_path_factory):
    """The store of all backbones: the whole sample, prompts of up to 2,048 tokens."""
    tokenizer = save_tiny(shrunk(DecoderConfig()), tmp_path_factory.mktemp("tokenizer") / "model")
    return run(BACKBONES[0], "prepare", header="train", STORE_DIR=place / "whole", TOKENIZER=tokenizer,
               RAW_DIR=SAMPLE, MODEL_DIR="none")  # fmt: skip


def arrays(params):
    return {
        jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_in_small_takes_a_step_and_is_judged(name, whole_store, tmp_path, scored_part):
    load("train", dict(commands(name))["train"])
    tiny = shrunk(shape_of(macro("MODEL")))
    folder = save_tiny(tiny, tmp_path / "tiny")
    last = run(name, "train", MODEL=folder, MODEL_DIR=tmp_path / "run", STORE_DIR=whole_store.folder,
               RAW_DIR=SAMPLE, TRAIN_STEPS=1, BATCH_SIZE=1, LOG_EVERY=1)  # fmt: skip
    assert set(whole_store.tasks) == {pair.name for pair in catalog.PAIRS}
    assert last["step"] == 1 and 7.0 < last["loss"] < 9.5
    assert config_from_hf(tmp_path / "run" / "model") == tiny == config_from_hf(folder)
    assert last["learning_rate"] == pytest.approx(1e-5)
    begun = arrays(nnx.to_pure_dict(nnx.state(huggingface.load(folder), nnx.Param)))
    ended = arrays(restore_params(tmp_path / "run", None, abstract_model(tiny)[1]))
    assert len(begun) == len(ended)
    for (path, before), after in zip(begun.items(), ended.values(), strict=True):
        assert not np.array_equal(before, after), path
    result = run(name, "evaluate", MODEL_DIR=tmp_path / "run", RAW_DIR=scored_part, MAX_EXAMPLES=1,
                 TASKS="inters_fact_verification", OUTPUT_DIR=tmp_path / "judged")  # fmt: skip
    assert result["metrics"].keys() == {"inters_fact_verification_climate_fever_choices"}


@pytest.mark.parametrize("name", TRAINED)
def test_a_file_over_a_backbone_trains_on_what_it_promises_and_is_judged(
    name, trained, stores, part, scored_part, tmp_path, monkeypatch
):
    if name == "flan_control.gin":
        monkeypatch.syspath_prepend(OTHER_PROJECT)
        monkeypatch.setenv("PYTHONPATH", f"{OTHER_PROJECT}:{ROOT}")
    PROMISES[name](stores(name), part, stores)
    folder, last = trained(name)
    assert last["step"] == 1 and 7.0 < last["loss"] < 9.5
    assert last["task_loss"].keys() <= set(stores(name).tasks)
    result = run(name, "evaluate", "tiny.gin", MODEL_DIR=folder, RAW_DIR=scored_part, MAX_EXAMPLES=1,
                 OUTPUT_DIR=tmp_path)  # fmt: skip
    assert not result["failed"] and set(result["metrics"]) == expected_of(name, scored_part)


def judged_form(pair, suffix=""):
    return pair.name + {"classify": "_choices", "rank": "_rerank"}.get(pair.kind, "") + suffix


def expected_of(name, raw):
    """The tasks that a trained file is judged on."""
    pairs = with_data(raw)
    found = {judged_form(pair) for pair in pairs}
    if name in ("shots_mixed.gin", "zero_shot_only.gin"):
        found |= {judged_form(pair, "_5shot") for pair in pairs if pair.kind != "rank"}
    if name == "without_one_task.gin":
        found = {judged_form(pair) for pair in pairs if pair.task == "query_intent_classification"}
    if name in [f"without_{group}.gin" for group in catalog.GROUPS]:
        group = name.removeprefix("without_").removesuffix(".gin")
        found = {judged_form(pair) for pair in pairs if pair.group == group}
    return found


def asked(folder):
    """Task -> the rows of its first question."""
    return {
        file.parent.name: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in folder.glob("*/predictions.jsonl")
    }


@pytest.fixture(scope="module")
def judged(trained, judged_part, place):
    """The questions of a file of one form of prompt."""

    def judge(name):
        out = place / "judged" / name
        if not out.exists():
            run(name, "evaluate", MODEL_DIR=trained("volume_100.gin")[0], RAW_DIR=judged_part, MAX_EXAMPLES=1,
                MAX_NEW_TOKENS=2, OUTPUT_DIR=out)  # fmt: skip
        return asked(out)

    return judge


@pytest.mark.parametrize("name", [name for name in JUDGED if name.startswith("shots_")])
def test_prompts_carry_as_many_demonstrations_as_the_file_says(name, judged, judged_part):
    shots = int(name[len("shots_")])
    pairs = [pair for pair in with_data(judged_part) if pair.kind != "rank"]
    own, bare = judged(name), judged("shots_0.gin")
    assert set(own) == {judged_form(pair, f"_{shots}shot" if shots else "") for pair in pairs}
    for pair in pairs:
        row, plain = own[judged_form(pair, f"_{shots}shot" if shots else "")][0], bare[judged_form(pair)][0]
        assert row["shots"] == shots and row["example_id"] == plain["example_id"]
        description = templates.load(pair.task).description
        prompt, item = row["inputs_pretokenized"], plain["inputs_pretokenized"].removeprefix(description)
        assert prompt.startswith(description) and prompt.endswith(item)
        # Each demonstration ends with the cue of the item's template or of its neighbour, and an answer.
        options = templates.load(pair.task).of(pair.dataset)
        cues = {options[number].cue for number in (row["template"], row["template"] ^ 1)}
        between = prompt[len(description) : -len(item)]
        assert all(cues) and sum(between.count(f"\n{cue}\n") for cue in cues) == shots


@pytest.mark.parametrize("name", [name for name in JUDGED if name.startswith("template_")])
def test_every_pair_is_asked_with_the_template_of_the_file(name, judged, judged_part):
    number = int(name[len("template_")])
    expected = {
        judged_form(pair, f"_template{number}")
        for pair in with_data(judged_part)
        if pair.kind != "rank" or number == 1
    } | {judged_form(pair) for pair in with_data(judged_part) if pair.kind == "rank" and number == 0}
    rows = judged(name)
    assert set(rows) == expected
    assert {row["template"] for own in rows.values() for row in own} == {number}


@pytest.mark.parametrize("name", RERANKED)
def test_a_collection_is_reranked_by_the_method_of_the_file(name, trained, tmp_path):
    result = run(name, "rerank", MODEL_DIR=trained("volume_100.gin")[0], COLLECTION=SAMPLE / "beir_arguana",
                 OUTPUT_DIR=tmp_path, **{"rerank.max_queries": 1})  # fmt: skip
    method, manifest = name.removeprefix("rank_").removesuffix(".gin"), result["manifest"]
    assert (manifest["method"], manifest["depth"]) == (method, 100)
    assert manifest["options"].items() >= OPTIONS[method].items()
    first, ranked = (read_run(tmp_path / f"{file}.trec") for file in ("first_stage", "reranked"))
    [(query, candidates)] = first.items()
    assert len(candidates) > 20 and ranked.keys() == {query} and ranked[query].keys() == candidates.keys()
