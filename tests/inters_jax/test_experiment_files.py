"""Every experiment file and list: it loads for its commands, its mixtures are registered, its model has a
shape.
"""

from __future__ import annotations

from pathlib import Path

import gin
import pytest
from experiment_stand_ins import EXPERIMENTS, FILES, commands, load, macro

from inters_jax.experiments import lists, runs
from inters_jax.planning.shapes import shape_of

GRIDS = sorted((EXPERIMENTS / "grids").glob("*.yaml"))
BACKBONES = ("llama2_7b", "llama2_7b_chat", "mistral_7b", "minima2_3b", "falcon_rw_1b", "phi2",
             "llama31_8b", "qwen3_4b", "qwen3_8b", "gemma3_4b")  # fmt: skip

SIZES = {"llama2_7b": 6.74, "llama2_7b_chat": 6.74, "mistral_7b": 7.24, "minima2_3b": 3.02,
         "falcon_rw_1b": 1.31, "phi2": 2.78, "llama31_8b": 8.03, "qwen3_4b": 4.02, "qwen3_8b": 8.19,
         "gemma3_4b": 3.88}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def registered():
    import seqio

    import seqio_tasks  # noqa: F401 (registers)

    return {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}


def names_of(text):
    return [part.strip() for part in text.split(",")]


def check_names(known):
    """What the loaded configuration trains on and judges is there."""
    for key in ("TASKS", "MIXTURE_OR_TASK_NAME"):
        value = gin.config._CONFIG.get((key, "gin.macro"), {}).get("value")
        if isinstance(value, str) and value != "flan":
            assert set(names_of(value)) <= known, value


@pytest.mark.parametrize("name", FILES)
def test_the_commands_of_an_experiment_load_and_name_what_is_registered(name, registered):
    found = commands(name)
    assert found and all(f"--gin_file=experiments/{name}" in arguments for _, arguments in found)
    for command, arguments in found:
        load(command, arguments)
        check_names(registered)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("main_")])
def test_an_experiment_can_be_laid_over_any_backbone_and_under_the_tiny_model(name):
    for backbone in BACKBONES:
        files = [f"experiments/main_{backbone}.gin", f"experiments/{name}", "tiny.gin"]
        load("train", [*(f"--gin_file={file}" for file in files), "--gin.MODEL_DIR=r"])
        assert macro("TRAIN_STEPS") == 20 and macro("INIT") == "random"


def test_every_backbone_has_its_main_run_with_the_recipe():
    assert sorted(name for name in FILES if name.startswith("main_")) == sorted(
        f"main_{backbone}.gin" for backbone in BACKBONES
    )
    models = set()
    for backbone in BACKBONES:
        load("train", [f"--gin_file=experiments/main_{backbone}.gin", "--gin.MODEL_DIR=r"])
        models.add(macro("MODEL"))
        size = SIZES[backbone] * 1e9
        assert shape_of(macro("MODEL")).parameter_count == pytest.approx(size, rel=0.01)
        assert (macro("EPOCHS"), macro("MAX_LENGTH"), macro("LEARNING_RATE")) == (3, 2048, 1e-5)
        assert (macro("BATCH_SIZE"), macro("WARMUP"), macro("WEIGHT_DECAY")) == (8, 0.03, 0.1)
    assert len(models) == len(BACKBONES)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.stem)
def test_a_list_is_read_and_its_commands_load(grid, registered):
    found = lists.read(grid)
    assert "Command:" in grid.read_text(encoding="utf-8")
    made = runs.runs_of(found, Path("sweep"), [found.seeds[0]], ["--gin_file=tiny.gin"])
    for run in made:
        for step in run.steps:
            load(step.command[2].removeprefix("inters_jax."), step.command[3:])
            check_names(registered)


@pytest.mark.parametrize("name", ["leave_one_task_out", "more_of_one_task"])
def test_the_lists_of_tasks_have_all_of_them(name):
    from seqio_tasks import catalog

    found = lists.read(EXPERIMENTS / "grids" / f"{name}.yaml")
    tasks = {one.name.split(" ")[1] for one in found.experiments if " " in one.name}
    assert tasks == set(catalog.TASKS)
