"""Every list of experiments: its commands load, its mixtures are registered, its models have a shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import seqio
from experiment_stand_ins import BACKBONES, EXPERIMENTS, GIN, LISTS, arguments, load

import seqio_tasks  # noqa: F401 (registers)
from inters_jax.experiments import runs
from inters_jax.experiments.routing import Arguments
from inters_jax.planning.shapes import shape_of
from seqio_tasks import catalog

SIZES = {"llama2": 6.74, "llama2_chat": 6.74, "mistral": 7.24, "minima": 3.02, "falcon_rw": 1.31,
         "phi2": 2.78, "llama31": 8.03, "qwen3_4b": 4.02, "qwen3_8b": 8.19, "gemma3_4b": 3.88}  # fmt: skip
REGISTERED = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
# The experiments of the paper, and those that it leaves open: what each needs beside a backbone.
SETTINGS = {
    "ablations/no_description": {"MIXTURE_OR_TASK_NAME": "inters_no_description"},
    "ablations/no_template": {"MIXTURE_OR_TASK_NAME": "inters_no_template"},
    "ablations/zero_shot_only": {"MAX_SHOTS": 0, "TASKS": ("inters", "inters_5shot")},
    "ablations/shots_mixed": {"TASKS": ("inters", "inters_5shot")},
    "ablations/more_retrieval": {"MIXTURE_OR_TASK_NAME": "inters_more_retrieval"},
    "ablations/without_seven_datasets": {
        "MIXTURE_OR_TASK_NAME": "inters_in_domain", "TASKS": ("inters_out_of_domain", "inters_in_domain")},
    **{f"ablations/without_{group}": {"MIXTURE_OR_TASK_NAME": f"inters_without_{group}"}
       for group in catalog.GROUPS},
    **{f"leave_one_task_out/without {task}": {
        "MIXTURE_OR_TASK_NAME": f"inters_without_{task}", "TASKS": (f"inters_{task}",)}
       for task in catalog.TASKS},
    **{f"more_of_one_task/more {task}": {"MIXTURE_OR_TASK_NAME": f"inters_more_{task}"}
       for task in catalog.TASKS},
    **{f"template_families/only {family}": {"MIXTURE_OR_TASK_NAME": f"inters_{family}"}
       for family in ("pointwise_judgment", "query_generation", "pairwise_choice", "pairwise_check",
                      "listwise_order", "listwise_check")},
    "template_variety/templates_1": {"MIXTURE_OR_TASK_NAME": "inters_1template"},
    "template_variety/templates_3": {"MIXTURE_OR_TASK_NAME": "inters_3templates"},
    "template_variety/templates_6": {"MIXTURE_OR_TASK_NAME": "inters_6templates"},
    **{f"template_variety/main, wording {t}": {"TASKS": (f"inters_template{t}",)} for t in range(5)},
    "few_shot/main": {"TASKS": ("inters_query_understanding", "inters_document_understanding")},
    **{f"few_shot/main, {k} shots": {"TASKS": (f"inters_{k}shot",)} for k in range(1, 6)},
    **{f"volume/volume_{p}": {"MIXTURE_OR_TASK_NAME": f"inters_{p}pct"} for p in (25, 50, 75)},
    "flan_control/flan_control": {
        "MIXTURE_OR_TASK_NAME": "flan", "MODULES": ("seqio_tasks", "flan"), "EPOCH_EXAMPLES": 200_000},
    "ranking_strategies/pointwise": {"METHOD": "pointwise", "DEPTH": 100},
    "ranking_strategies/pairwise": {"METHOD": "pairwise", "DEPTH": 100, "SORT": "heapsort", "TOP_K": 10},
    "ranking_strategies/listwise": {"METHOD": "listwise", "DEPTH": 100, "WINDOW": 20, "STRIDE": 10},
}  # fmt: skip


def check_names(values):
    """What the loaded configuration trains on and judges is registered."""
    names = [*values.get("TASKS", ()), *filter(None, [values.get("MIXTURE_OR_TASK_NAME")])]
    assert set(names) - {"flan"} <= REGISTERED, names


def loaded(name, *files):
    """The settings of all steps of all runs of a list: (experiment, step, values)."""
    found = LISTS[name]
    for run in runs.runs_of(found, Path("sweep"), [found.seeds[0]], Arguments(files)):
        for step in run.steps:
            assert step.command[1:3] == ("-m", f"inters_jax.{step.name}")
            yield run.experiment, step.name, load(step.name, step.command[3:])


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_and_its_commands_load_with_what_the_list_says(name):
    assert LISTS[name].seeds == (0, 1, 2) and LISTS[name].name == name
    for one, step, values in loaded(name):
        check_names(values)
        assert values["SEED"] == 0 if step == "train" else values["OUTPUT_DIR"].startswith("sweep/")
        for setting, value in one.overrides.items():
            if setting in values:
                parts = [part.strip() for part in str(value).split(",")]
                found = values[setting]
                same = found == value or (isinstance(found, tuple) and list(found) in (value, parts))
                assert same or f"@{type(found).__name__}()" == value, (one.name, setting)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_can_be_laid_over_any_backbone_and_under_the_tiny_model(name):
    own = {(one.name, step): values for one, step, values in loaded(name)}
    for backbone in BACKBONES[::5]:  # they differ in MODEL alone (test_gin_files.py)
        for one, step, values in loaded(name, f"{backbone}.gin"):
            plain = own[one.name, step]
            changed = {setting for setting, value in values.items() if value != plain[setting]}
            if "smollm2" not in name:  # those have a model and a recipe of their own
                assert changed <= {"MODEL"}, (backbone, one.name, step)
        for one, step, values in loaded(name, f"{backbone}.gin", "tiny.gin"):
            for setting in ("MIXTURE_OR_TASK_NAME", "TASKS", "MAX_SHOTS", "METHOD", "WINDOW", "SORT"):
                if setting in values and setting in one.overrides:
                    assert values[setting] == own[one.name, step][setting]
            if step == "train":
                assert values["TRAIN_STEPS"] == one.overrides.get("TRAIN_STEPS", 20)
                assert values["INIT"] == "random" and values["MODEL"].parameter_count < 400_000


@pytest.mark.parametrize("name", SETTINGS)
def test_an_experiment_is_the_main_run_with_what_it_is_named_after(name):
    """Every experiment that had a gin file of its own; what it sets reaches the step that it is for."""
    main = f"{name.partition('/')[0]}/main"
    for step in EXPERIMENTS[name].steps:
        values = load(step, arguments(name, step))
        expected = {setting: value for setting, value in SETTINGS[name].items() if setting in values}
        assert {setting: values[setting] for setting in expected} == expected
        if step == "train":
            plain = load("train", arguments(main, "train"))
            changed = {setting for setting, value in values.items() if value != plain[setting]}
            assert changed - {"MODEL_DIR"} == set(expected)
    assert set(SETTINGS[name]) <= set(EXPERIMENTS[name].overrides)


def test_experiments_of_one_name_have_the_same_settings_in_every_list():
    """What docs/results.md reports of small models is what the lists run with a backbone."""
    found = {}
    for name, one in EXPERIMENTS.items():
        listed, _, short = name.partition("/")
        own = {
            key: one.overrides[key]
            for key in ("MIXTURE_OR_TASK_NAME", "MAX_SHOTS")
            if key in one.overrides and key not in LISTS[listed].overrides
        }
        assert found.setdefault(short, own) == own, name
    mixtures = {
        one.overrides.get("MIXTURE_OR_TASK_NAME")
        for one in LISTS["smollm2"].experiments
        if not one.name.startswith("only ")  # one task by itself is no mixture
    }
    others = {
        one.overrides.get("MIXTURE_OR_TASK_NAME")
        for name, one in EXPERIMENTS.items()
        if not name.startswith("smollm2/")
    }
    assert mixtures <= others


def test_models_reranked_after_training_in_one_family_are_reranked_by_the_same_methods():
    methods = {"pointwise", "pairwise", "listwise"}
    for name in ("template_families", "ranking_strategies"):
        reranked = [one for one in LISTS[name].experiments if one.steps == ("rerank",)]
        assert {one.overrides["METHOD"] for one in reranked} == methods
        for one in reranked:
            plain = EXPERIMENTS[f"ranking_strategies/{one.overrides['METHOD']}"]
            assert one.overrides == plain.overrides, one.name
            if one.order_of:
                assert one.order_of == one.overrides["METHOD"]


def test_every_backbone_has_its_main_run_with_the_recipe():
    assert sorted(one.name for one in LISTS["backbones"].experiments) == sorted(BACKBONES)
    for backbone in BACKBONES:
        values = load("train", arguments(f"backbones/{backbone}", "train"))
        size = SIZES[backbone] * 1e9
        assert shape_of(values["MODEL"]).parameter_count == pytest.approx(size, rel=0.01)
        assert f"{SIZES[backbone]} B parameters" in (GIN / f"{backbone}.gin").read_text(encoding="utf-8")
        assert (values["EPOCHS"], values["MAX_LENGTH"], values["LEARNING_RATE"]) == (3, 2048, 1e-5)
        assert (values["BATCH_SIZE"], values["WARMUP"], values["WEIGHT_DECAY"]) == (8, 0.03, 0.1)
        assert load("evaluate", arguments(f"backbones/{backbone}", "evaluate"))["TASKS"] == ("inters",)


@pytest.mark.parametrize("name", ["leave_one_task_out", "more_of_one_task"])
def test_the_lists_of_tasks_have_all_of_them(name):
    tasks = {one.name.split(" ")[1] for one in LISTS[name].experiments if " " in one.name}
    assert tasks == set(catalog.TASKS)


def test_the_documentation_names_every_recipe_and_list():
    text = (GIN.parent / "docs" / "experiments.md").read_text(encoding="utf-8")
    for file in GIN.rglob("*.gin"):
        assert f"`{file.name}`" in text or file.stem.startswith(
            ("inters", "tiny", "lora", "smollm2", "quickstart")
        )
    for name in LISTS:
        assert f"`experiments/{name}.yaml`" in text
