"""Every shipped recipe says what it is for, loads for every command, and sets what the paper states."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from experiment_stand_ins import BACKBONES, GIN, LISTS, ROOT, load

from inters_jax import config
from inters_jax.experiments import lists, runs
from inters_jax.gin_files import find_file, search_paths
from inters_jax.settings.commands import COMMANDS
from inters_jax.settings.fields import settings_of
from inters_jax.settings.judging import MethodOptions
from inters_jax.sweep import divided
from seqio_tasks import catalog

FILES = sorted(str(file.relative_to(GIN)) for file in GIN.rglob("*.gin"))
HEADED = sorted(str(file.relative_to(GIN)) for file in GIN.rglob("*") if file.is_file())
# What a command cannot do without, beside a recipe.
REQUIRED = {
    "train": {"MODEL_DIR": "r"},
    "plan": {},
    "prepare": {"STORE_DIR": "s"},
    "evaluate": {"MODEL_DIR": "r"},
    "rerank": {"MODEL_DIR": "r", "COLLECTION": "c"},
    "export": {"MODEL_DIR": "r", "OUTPUT_DIR": "o"},
    "compare": {"RUNS": "a,b"},
    "serve": {"MODEL_DIR": "r"},
    "inspect_data": {"STORE_DIR": "s"},
    "sweep": {"EXPERIMENTS": "e", "SWEEP_DIR": "s"},
}
WITHOUT_MODEL = ("inters.gin", "lora.gin", "paper_evaluation.gin", "ranking_losses.gin")
OPTIMIZERS = ("AdamW", "Lion", "Adafactor", "Muon")


def values(command, *files, **more):
    """The settings of a command with recipes, by name."""
    given = {**REQUIRED[command], **more}
    if command in ("train", "plan") and all(name in WITHOUT_MODEL for name in files):
        given["MODEL"] = "m"
    words = [f"--gin_file={name}" for name in files]
    return load(command, [*words, *(f"--gin.{name}={value}" for name, value in given.items())])


def header(name):
    lines = (GIN / name).read_text(encoding="utf-8").splitlines()
    return lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]


def test_the_folder_holds_recipes_and_lists():
    others = (
        "inters",
        "lora",
        "paper_evaluation",
        "quickstart",
        "ranking_losses",
        "smollm2",
        "smollm2_reranker",
        "tiny",
    )
    assert set(FILES) == {f"{name}.gin" for name in (*BACKBONES, *others)}
    assert set(HEADED) == {*FILES, *(f"experiments/{name}.yaml" for name in LISTS)}


@pytest.mark.parametrize("name", HEADED)
def test_a_file_opens_with_command_hardware_time_and_result(name):
    text = "\n".join(header(name))
    places = [text.find(f"\n# {word}: ") for word in ("Command", "Hardware", "Time", "Result")]
    assert -1 not in places and places == sorted(places), f"{name}: {places}"


@pytest.mark.parametrize("name", HEADED)
def test_the_commands_of_a_header_load_and_use_the_file(name):
    found = [
        match
        for line in header(name)
        if (match := re.match(r"#[\w: ]* python -m inters_jax\.(\w+) (.*)", line))
    ]
    assert found
    for command, text in (match.groups() for match in found):
        words = shlex.split(text)
        assert any(word.endswith(name) for word in words)
        if command == "sweep":
            words, extra = divided(words)
            file = find_file(load("sweep", words)["EXPERIMENTS"], search_paths())
            every = runs.runs_of(lists.read(file), Path("s"), [0], extra)
            assert every and file.is_relative_to(GIN)
        else:
            load(command, words)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_a_recipe_can_be_given_to_every_command(name, command):
    assert values(command, name)
    assert values(command, "mistral.gin", name)
    assert values(command, name, "tiny.gin")


def test_lora_is_put_after_any_recipe():
    for backbone in BACKBONES:
        plain, given = values("train", f"{backbone}.gin"), values("train", f"{backbone}.gin", "lora.gin")
        lora = given["LORA"]
        assert (lora.rank, lora.scale, lora.targets) == (16, 2.0, "all-linear")
        assert (given["LEARNING_RATE"], given["WEIGHT_DECAY"]) == (2e-4, 0.0)
        changed = {name for name, value in given.items() if value != plain[name]}
        assert changed == {"LORA", "LEARNING_RATE", "WEIGHT_DECAY"}


@pytest.mark.parametrize(
    "arguments", [*(f"--gin.OPTIMIZER=@{name}()" for name in OPTIMIZERS), "--gin_file=lora.gin"]
)
def test_an_object_is_found_by_its_name_in_a_process_that_has_imported_nothing(arguments):
    code = (
        "import sys\n"
        "from inters_jax import config; from inters_jax.command_line import parse_arguments\n"
        "from inters_jax.gin_files import search_paths\n"
        "line = parse_arguments(sys.argv[1:])\n"
        "groups = config.load('train', line.files, line.overrides, search_paths())\n"
        "print(config.operative_text('train', groups))"
    )
    words = ["--gin_file=mistral.gin", arguments, "--gin_file=tiny.gin", "--gin.MODEL_DIR=r"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    found = "LORA = @LoRA()" if "lora" in arguments else arguments.removeprefix("--gin.").replace("=", " = ")
    assert {found, "DecoderConfig.family = 'mistral'", "TRAIN_STEPS = 20"} <= set(done.stdout.splitlines())
    assert f"\n{found.partition('@')[2].strip('()')}." in done.stdout


@pytest.mark.parametrize("backbone", [*BACKBONES, "inters"])
def test_the_recipe_of_the_paper(backbone):
    found = values("train", f"{backbone}.gin")
    assert found["EPOCHS"] == 3 and found["TRAIN_STEPS"] is None and found["INIT"] == "pretrained"
    assert found["MAX_LENGTH"] == 2048 and found["DTYPE"] == "bfloat16" and found["REMAT"] == "full"
    assert found["MESH"] == "fsdp=-1" and found["MIXTURE_OR_TASK_NAME"] == "inters"
    assert (found["PASSES"], found["MAX_SHOTS"], found["CHECKPOINT_EVERY"]) == (3, 5, 500)
    assert 32 <= found["BATCH_SIZE"] * 4.6 < 37  # packed rows of about 4.6 examples for the paper's 32
    optimizer = found["OPTIMIZER"]
    assert (type(optimizer).__name__, optimizer.b1, optimizer.b2) == ("AdamW", 0.9, 0.95)
    assert (found["LEARNING_RATE"], found["WEIGHT_DECAY"], found["CLIP"]) == (1e-5, 0.1, 1.0)
    assert (found["SCHEDULE"], found["WARMUP"], found["FLOOR"]) == ("cosine", 0.03, 0.1)
    assert values("evaluate", f"{backbone}.gin")["TASKS"] == ("inters",)


def test_the_recipe_is_written_once():
    """Backbones differ in MODEL alone."""
    common = values("train", "inters.gin")
    models = set()
    for backbone in BACKBONES:
        found = values("train", f"{backbone}.gin")
        assert {name for name, value in found.items() if value != common[name]} == {"MODEL"}
        statements = [
            line
            for line in (GIN / f"{backbone}.gin").read_text(encoding="utf-8").splitlines()
            if line and not line.startswith("#")
        ]
        assert len(statements) == 2 and statements[0] == "include 'inters.gin'"
        models.add(found["MODEL"])
    assert len(models) == len(BACKBONES) and "mistralai/Mistral-7B-v0.1" in models


def test_tasks_of_a_recipe_are_for_evaluate_alone():
    for name in FILES:
        for command in ("compare", "inspect_data"):
            assert values(command, name)["TASKS"] == (), name


def test_the_tiny_model_takes_the_place_of_any_other():
    for name in FILES:
        found = values("train", name, "tiny.gin")
        assert found["INIT"] == "random" and found["DTYPE"] == "float32" and found["EPOCHS"] == 3
        assert (found["TRAIN_STEPS"], found["MAX_LENGTH"], found["LEARNING_RATE"]) == (20, 512, 3e-3)
        model = found["MODEL"]
        assert model.parameter_count < 400_000 and model.num_kv_heads < model.num_heads
        assert (model.family, model.sliding_window) == ("mistral", 1024)


def test_the_model_of_the_quickstart_has_the_size_that_its_file_states():
    assert "8.0 M parameters" in "\n".join(header("quickstart.gin"))
    found = values("train", "quickstart.gin")
    assert found["INIT"] == "random"
    assert found["MODEL"].parameter_count == pytest.approx(8.0e6, abs=0.06e6)


def test_a_typo_in_a_binding_is_refused():
    for typed, message in (
        ("train.log_evry", "did you mean log_every"),
        ("LOG_EVRY", "did you mean LOG_EVERY"),
    ):
        with pytest.raises(config.ConfigError, match=message):
            values("train", "tiny.gin", **{typed: 3})


@pytest.mark.parametrize("name", FILES)
def test_no_recipe_sets_an_option_of_the_ranking_methods(name):
    """A name that training reads as something else would reach a method that has no such option."""
    options = [one.name for one in settings_of(MethodOptions)]
    assert {"SORT", "TOP_K", "WINDOW", "STRIDE", "WINDOW_PASSES", "SHUFFLES", "AGGREGATE"} <= set(options)
    for command in ("rerank", "serve"):
        found = values(command, name)
        assert {option: found[option] for option in options} == dict.fromkeys(options)


def test_an_evaluation_of_the_papers_size_limits_questions_but_not_queries():
    found = values("evaluate", "mistral.gin", "paper_evaluation.gin")
    assert (found["TASKS"], found["MAX_EXAMPLES"]) == (("inters",), 200)
    ranked = [pair.counts["test"] for pair in catalog.PAIRS if pair.kind == "rank"]
    assert found["MAX_QUERIES"] >= max(ranked)
    text = (GIN / "paper_evaluation.gin").read_text(encoding="utf-8")
    others = [pair.counts.get("test", 200) for pair in catalog.PAIRS if pair.kind != "rank"]
    assert f"{sum(min(200, count) for count in others):,} answers" in text
    assert f"{sum(ranked) / 10_000:.2f} million scored candidates" in text
