"""Every experiment starts: its commands run with a tiny model; data, prompts or rankings are as promised.

Backbones keep their recipe (2,048 positions, bfloat16, everything recomputed) and train a tiny model of the
backbone's own family; all other experiments are trained as `sweep` trains them, with tiny.gin after their
files, over a part of the packaged sample. One step is taken, one question of each task asked.
"""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import jax
import numpy as np
import pytest
from experiment_promises import MAIN, PROMISES, Members, with_data
from experiment_stand_ins import (
    BACKBONES,
    EXPERIMENTS,
    JUDGED_PART,
    PART,
    ROOT,
    SAMPLE,
    SCORED_PART,
    arguments,
    load,
    part_of_sample,
    run,
    save_tiny,
    shrunk,
)
from flax import nnx

import seqio_tasks
from inters_jax.data.token_store import TokenStore
from inters_jax.experiments import orders
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.planning.shapes import shape_of
from inters_jax.run_folder import restore_params
from seqio_tasks import catalog, templates
from seqio_tasks.metrics.trec_files import read_run

pytestmark = pytest.mark.slow

TINY = "tiny.gin"
# Every experiment is checked by the tests of one of these kinds. Those of smollm2*.yaml have the mixtures of
# the other lists, as test_experiment_files.py checks.
SMALL = [name for name in EXPERIMENTS if name.startswith("smollm2")]
RECIPES = [f"backbones/{backbone}" for backbone in BACKBONES]
MAINS = [name for name in EXPERIMENTS if name.endswith("/main") and name not in SMALL]
TRAINED = [
    name
    for name, one in EXPERIMENTS.items()
    if "train" in one.steps and name not in [*SMALL, *RECIPES, *MAINS]
]
JUDGED = [name for name, one in EXPERIMENTS.items() if one.steps == ("evaluate",) and name not in SMALL]
RERANKED = [name for name, one in EXPERIMENTS.items() if one.steps == ("rerank",) and name not in SMALL]
# Of those that differ in a task, a group, a family or a number alone, one is also trained and judged.
ONE_OF = {
    "leave_one_task_out/*": "leave_one_task_out/without query_intent_classification",
    "more_of_one_task/*": "more_of_one_task/more summarization",
    "volume_against_diversity/*": "volume_against_diversity/5 tasks, 25 %",
    "volume/*": "volume/volume_25",
    "template_variety/*": "template_variety/templates_3",
    "template_families/*": "template_families/only listwise_order",
    "ablations/without_[qd]*": "ablations/without_query_document",
}
# Of these the data of that one is prepared; of the others the tasks are compared.
BY_ITS_TASKS = ("leave_one_task_out/*", "more_of_one_task/*", "volume_against_diversity/* tasks, ?? %")
STARTED = [
    name
    for name in TRAINED
    if name in ONE_OF.values() or not any(fnmatch(name, pattern) for pattern in ONE_OF)
]
# Recipes that differ from another in the folder of the model alone (test_gin_files.py compares all).
STEPPED = [name for name in RECIPES if not name.endswith(("/llama2_chat", "/minima", "/qwen3_8b"))]
# Those of the main run; of the same questions to other models one is asked.
ASKED = [name for name in JUDGED if "/main, " in name] + [
    "few_shot/zero_shot_only, 3 shots",
    "template_variety/templates_3, wording 2",
]
METHODS = {
    "pointwise": {},
    "pairwise": {"sort": "heapsort", "top_k": 10},
    "listwise": {"window": 20, "stride": 10},
}
SHORT_EPOCH = 2000  # few renderings, quickly prepared
OTHER_PROJECT = Path(__file__).parent / "other_project"


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
    """The store of an experiment with tiny.gin: made when first asked for, once per mixture and shots."""
    made: dict[tuple[str, int], TokenStore] = {}

    def store(name):
        given = arguments(name, "train", TINY)
        values = load("train", given)
        key = values["MIXTURE_OR_TASK_NAME"], values["MAX_SHOTS"]
        if key not in made:
            folder = place / "stores" / f"{key[0]}_{key[1]}"
            made[key] = run("prepare", given, STORE_DIR=folder, RAW_DIR=part)
        return made[key]

    return store


@pytest.fixture(scope="module")
def trained(place, part, stores):
    """The run folder of an experiment after one step with tiny.gin, and the record of the step."""
    made = {}

    def train(name):
        if name not in made:
            folder, store = place / "runs" / name, stores(name)
            last = run("train", arguments(name, "train", TINY), MODEL_DIR=folder, STORE_DIR=store.folder,
                       RAW_DIR=part, TRAIN_STEPS=1, LOG_EVERY=1)  # fmt: skip
            made[name] = folder, last
        return made[name]

    return train


def test_each_experiment_is_checked_by_one_of_these_tests():
    assert sorted(PROMISES) == sorted([*TRAINED, MAIN])
    assert sorted([*SMALL, *RECIPES, *MAINS, *TRAINED, *JUDGED, *RERANKED]) == sorted(EXPERIMENTS)
    assert {name.partition("/")[0] for name in TRAINED} == {name.partition("/")[0] for name in STARTED}


def test_the_documented_list_says_how_each_experiment_is_checked():
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    table = text.partition("## How they are checked")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].split("`")[1::2] for line in table.splitlines() if line.startswith("| `")]
    for name in EXPERIMENTS:
        assert sum(any(fnmatch(name, pattern) for pattern in row) for row in rows) == 1, name


@pytest.mark.parametrize("name", MAINS)
def test_the_main_run_is_the_same_in_every_list(name):
    train, judge = (
        {key: value for key, value in load(step, arguments(name, step)).items() if not key.endswith("_DIR")}
        for step in ("train", "evaluate")
    )
    assert train == {
        key: value
        for key, value in load("train", arguments(MAIN, "train")).items()
        if not key.endswith("_DIR")
    }
    groups = ("inters_query_understanding", "inters_document_understanding")
    assert judge["TASKS"] == (groups if name == "few_shot/main" else ("inters",))


@pytest.fixture(scope="module")
def whole_store(place, tmp_path_factory):
    """The store of all backbones: the whole sample, prompts of up to 2,048 tokens."""
    tokenizer = save_tiny(shrunk(DecoderConfig()), tmp_path_factory.mktemp("tokenizer") / "model")
    return run("prepare", arguments(RECIPES[0], "train"), STORE_DIR=place / "whole", TOKENIZER=tokenizer,
               RAW_DIR=SAMPLE, EPOCH_EXAMPLES=SHORT_EPOCH)  # fmt: skip


def arrays(params):
    return {
        jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)
    }


@pytest.mark.parametrize("name", STEPPED)
def test_a_backbone_in_small_takes_a_step_and_is_judged(name, whole_store, tmp_path, scored_part):
    given = arguments(name, "train")
    tiny = shrunk(shape_of(load("train", given)["MODEL"]))
    folder = save_tiny(tiny, tmp_path / "tiny")
    last = run("train", given, MODEL=folder, MODEL_DIR=tmp_path / "run", STORE_DIR=whole_store.folder,
               RAW_DIR=SAMPLE, EPOCH_EXAMPLES=SHORT_EPOCH, TRAIN_STEPS=1, BATCH_SIZE=1,
               LOG_EVERY=1)  # fmt: skip
    assert set(whole_store.tasks) == {pair.name for pair in catalog.PAIRS}
    assert last["step"] == 1 and 7.0 < last["loss"] < 9.5
    assert config_from_hf(tmp_path / "run" / "model") == tiny == config_from_hf(folder)
    assert last["learning_rate"] == pytest.approx(1e-5)
    begun = arrays(nnx.to_pure_dict(nnx.state(huggingface.load(folder), nnx.Param)))
    ended = arrays(restore_params(tmp_path / "run", None, abstract_model(tiny)[1]))
    assert len(begun) == len(ended)
    for (path, before), after in zip(begun.items(), ended.values(), strict=True):
        assert not np.array_equal(before, after), path
    result = run("evaluate", arguments(name, "evaluate"), MODEL_DIR=tmp_path / "run", RAW_DIR=scored_part,
                 MAX_EXAMPLES=1, OUTPUT_DIR=tmp_path / "judged",
                 TASKS="inters_fact_verification")  # fmt: skip
    assert result["metrics"].keys() == {"inters_fact_verification_climate_fever_choices"}


@pytest.fixture
def flan_on_the_path(monkeypatch):
    """The module of the other project is found here and by a child process."""
    monkeypatch.syspath_prepend(OTHER_PROJECT)
    monkeypatch.setenv("PYTHONPATH", f"{OTHER_PROJECT}:{ROOT}")


@pytest.mark.parametrize("name", PROMISES)
def test_an_experiment_prepares_the_data_that_it_promises(name, stores, part, flan_on_the_path):
    def data_of(name):
        if name in STARTED or not any(fnmatch(name, pattern) for pattern in BY_ITS_TASKS):
            return stores(name)
        return Members.of(load("train", arguments(name, "train", TINY))["MIXTURE_OR_TASK_NAME"], part)

    PROMISES[name](data_of(name), part, data_of)


@pytest.mark.parametrize("name", [MAIN, *STARTED])
def test_an_experiment_trains_and_is_judged(name, trained, stores, scored_part, tmp_path, flan_on_the_path):
    folder, last = trained(name)
    assert last["step"] == 1 and 7.0 < last["loss"] < 9.5
    assert last["task_loss"].keys() <= set(stores(name).tasks)
    result = run("evaluate", arguments(name, "evaluate", TINY), MODEL_DIR=folder, RAW_DIR=scored_part,
                 MAX_EXAMPLES=1, OUTPUT_DIR=tmp_path)  # fmt: skip
    assert not result["failed"] and set(result["metrics"]) == expected_of(name, scored_part)


def judged_form(pair, suffix=""):
    return pair.name + {"classify": "_choices", "rank": "_rerank"}.get(pair.kind, "") + suffix


def expected_of(name, raw):
    """The tasks that a trained experiment is judged on."""
    pairs = with_data(raw)
    found = {judged_form(pair) for pair in pairs}
    if name in ("ablations/shots_mixed", "ablations/zero_shot_only"):
        found |= {judged_form(pair, "_5shot") for pair in pairs if pair.kind != "rank"}
    if name == "few_shot/zero_shot_only":
        found = {judged_form(pair) for pair in pairs if pair.kind != "rank"}
    if name == "leave_one_task_out/without query_intent_classification":
        found = {judged_form(pair) for pair in pairs if pair.task == "query_intent_classification"}
    if name.startswith("template_families/"):
        found = {judged_form(pair) for pair in pairs if pair.group == "query_document"}
    return found


def asked(folder):
    """Task -> the rows of its first question."""
    return {
        file.parent.name: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in folder.glob("*/predictions.jsonl")
    }


def model_of(name):
    """The experiment whose model another one judges."""
    owner = f"{name.partition('/')[0]}/{EXPERIMENTS[name].model_of}"
    return MAIN if owner in MAINS else owner


@pytest.fixture(scope="module")
def judged(trained, judged_part, place):
    """The questions of an experiment of one form of prompt."""

    def judge(name):
        out = place / "judged" / name
        if not out.exists():
            run("evaluate", arguments(name, "evaluate"), MODEL_DIR=trained(model_of(name))[0],
                RAW_DIR=judged_part, MAX_EXAMPLES=1, MAX_NEW_TOKENS=2, OUTPUT_DIR=out)  # fmt: skip
        return asked(out)

    return judge


def test_the_counterpart_of_no_shots_is_judged_without_and_with_five(trained, scored_part, tmp_path):
    name = "ablations/shots_mixed"
    result = run("evaluate", arguments(name, "evaluate", TINY), MODEL_DIR=trained(MAIN)[0],
                 RAW_DIR=scored_part, MAX_EXAMPLES=1, OUTPUT_DIR=tmp_path)  # fmt: skip
    assert not result["failed"] and set(result["metrics"]) == expected_of(name, scored_part)


@pytest.fixture(scope="module")
def bare(trained, judged_part, place):
    """The questions of the main run of few_shot, which carry no demonstrations."""
    out = place / "judged" / "bare"
    run("evaluate", arguments("few_shot/main", "evaluate"), MODEL_DIR=trained(MAIN)[0],
        RAW_DIR=judged_part, MAX_EXAMPLES=1, MAX_NEW_TOKENS=2, OUTPUT_DIR=out)  # fmt: skip
    return asked(out)


@pytest.mark.parametrize("name", [name for name in ASKED if name.startswith("few_shot/")])
def test_prompts_carry_as_many_demonstrations_as_the_name_says(name, judged, bare, judged_part):
    shots = int(name.split()[-2])
    pairs = [pair for pair in with_data(judged_part) if pair.kind != "rank"]
    own = judged(name)
    assert set(own) == {judged_form(pair, f"_{shots}shot") for pair in pairs}
    assert set(bare) == {judged_form(pair) for pair in pairs}
    for pair in pairs:
        row, plain = own[judged_form(pair, f"_{shots}shot")][0], bare[judged_form(pair)][0]
        assert (row["shots"], plain["shots"]) == (shots, 0) and row["example_id"] == plain["example_id"]
        description = templates.load(pair.task).description
        prompt, item = row["inputs_pretokenized"], plain["inputs_pretokenized"].removeprefix(description)
        assert prompt.startswith(description) and prompt.endswith(item)
        # Each demonstration ends with the cue of the item's template or of its neighbour, and an answer.
        options = templates.load(pair.task).of(pair.dataset)
        cues = {options[number].cue for number in (row["template"], row["template"] ^ 1)}
        between = prompt[len(description) : -len(item)]
        assert all(cues) and sum(between.count(f"\n{cue}\n") for cue in cues) == shots


def test_other_models_are_asked_the_same():
    for name in JUDGED:
        one, form = EXPERIMENTS[name], name.partition(", ")[2]
        if form and name not in ASKED:
            plain = EXPERIMENTS[f"{name.partition('/')[0]}/main, {form}"]
            assert (one.overrides, one.gin_files) == (plain.overrides, plain.gin_files)
    assert len(JUDGED) == 31 and len(ASKED) == 12


@pytest.mark.parametrize("name", [name for name in ASKED if name.startswith("template_variety/")])
def test_every_pair_is_asked_with_the_template_of_the_name(name, judged, judged_part):
    number = int(name.split()[-1])
    expected = {
        judged_form(pair, f"_template{number}")
        for pair in with_data(judged_part)
        if pair.kind != "rank" or number == 1
    } | {judged_form(pair) for pair in with_data(judged_part) if pair.kind == "rank" and number == 0}
    rows = judged(name)
    assert set(rows) == expected
    assert {row["template"] for own in rows.values() for row in own} == {number}


def reranked(name, model, folder, **more):
    return run("rerank", arguments(name, "rerank"), MODEL_DIR=model, COLLECTION=SAMPLE / "beir_arguana",
               OUTPUT_DIR=folder, MAX_QUERIES=1, **more)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_collection_is_reranked_by_the_method_of_the_experiment(method, trained, tmp_path):
    result = reranked(f"ranking_strategies/{method}", trained(MAIN)[0], tmp_path)
    manifest = result["manifest"]
    assert (manifest["method"], manifest["depth"]) == (method, 100)
    assert manifest["options"].items() >= METHODS[method].items()
    first, ranked = (read_run(tmp_path / f"{file}.trec") for file in ("first_stage", "reranked"))
    [(query, candidates)] = first.items()
    assert len(candidates) > 20 and ranked.keys() == {query} and ranked[query].keys() == candidates.keys()


@pytest.mark.parametrize("order", ["reversed", "shuffled-0"])
def test_candidates_are_reranked_in_the_order_of_the_experiment(order, trained, tmp_path):
    """The first stage of another experiment, in another order; the methods share the way it is given."""
    name = f"ranking_strategies/pointwise, {order}"
    reranked("ranking_strategies/pointwise", trained(MAIN)[0], tmp_path / "base")
    orders.write(tmp_path / "base" / "first_stage.trec", order, tmp_path / "given.trec")
    [given] = [word for word in arguments(name, "rerank") if word.startswith("--gin.RUN=")]
    assert given == f"--gin.RUN=sweep/pointwise_{order}/seed0/first_stage.trec"
    reranked(name, trained(MAIN)[0], tmp_path / "own", RUN=tmp_path / "given.trec")
    [base], [own] = (read_run(tmp_path / kind / "first_stage.trec").values() for kind in ("base", "own"))
    assert base.keys() == own.keys() and list(base) != list(own)
    assert order != "reversed" or list(own) == list(base)[::-1]
