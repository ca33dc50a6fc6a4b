"""Every shipped gin file loads for every command, says what it is for, and sets what the recipe says."""

from __future__ import annotations

import importlib
from pathlib import Path

import gin
import pytest

from inters_jax import config
from inters_jax.training.optimizer import AdamW

FOLDER = Path(config.__file__).parents[1] / "gin"
FILES = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.gin"))
COMMANDS = ("train", "plan", "prepare", "evaluate", "rerank", "export", "compare", "serve")
ADDITIONS = ("lora.gin",)  # name no model: they are put after a recipe
# experiments/ is built by test_experiment_files.py
RECIPES = [name for name in FILES if not name.startswith(("runs/", "experiments/"))]


def load(command, *arguments):
    """The values that reach the arguments of a command."""
    function = getattr(importlib.import_module(f"inters_jax.{command}"), command)
    name, _ = config._make_configurable(function)
    required = {
        "train": {"MODEL": "m", "MODEL_DIR": "r"},
        "plan": {"MODEL": "m"},
        "prepare": {"STORE_DIR": "s"},
        "evaluate": {"MODEL_DIR": "r"},
        "rerank": {"MODEL_DIR": "r", "COLLECTION": "c"},
        "export": {"MODEL_DIR": "r", "OUTPUT_DIR": "o"},
        "compare": {"RUNS": "a,b"},
        "serve": {"MODEL_DIR": "r"},
    }[command]
    given = [
        f"--gin.{macro}={value}" for macro, value in required.items() if macro != "MODEL" or not arguments
    ]
    config.load_config(name, config.parse_arguments([*arguments, *given]))
    config._require_arguments(name, function)
    bindings = gin.get_bindings(name, resolve_references=False)
    return {argument: resolve(value) for argument, value in bindings.items()}


def resolve(value):
    if getattr(value, "selector", None) == "gin.macro":
        return resolve(
            gin.query_parameter(f"{value.scoped_selector.removesuffix('/gin.macro')}/gin.macro.value")
        )
    return value


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_with_command_hardware_time_and_result(name):
    header = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        header.append(line)
    text = "\n".join(header)
    for word in ("Command:", "Hardware", "ime", "esult"):
        assert word in text, f"{name}: its first lines do not state {word}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_wiring_of_a_command_fits_its_function(command):
    assert load(command)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_given_to_every_command(name, command):
    first = ["--gin_file=mistral.gin"] if name in ADDITIONS else []
    assert load(command, *first, f"--gin_file={name}")


def test_lora_is_put_after_any_recipe():
    values = load("train", "--gin_file=mistral.gin", "--gin_file=lora.gin")
    assert values["lora"] is not None and values["model"] == "mistralai/Mistral-7B-v0.1"
    settings = gin.get_configurable("LoRA")()
    assert (settings.rank, settings.scale, settings.targets) == (16, 2.0, "all-linear")
    optimizer = gin.get_configurable("OptimizerSettings")()
    assert (optimizer.learning_rate, optimizer.weight_decay) == (2e-4, 0.0)


@pytest.mark.parametrize("name", ["mistral.gin", "llama2.gin", "falcon_rw.gin", "minima.gin", "phi2.gin"])
def test_the_recipe_of_the_paper(name):
    values = load("train", f"--gin_file={name}")
    assert values["epochs"] == 3 and values["train_steps"] is None and values["init"] == "pretrained"
    assert values["max_length"] == 2048 and values["dtype"] == "bfloat16" and values["remat"] == "full"
    assert values["mesh"] == "fsdp=-1" and values["mixture_or_task_name"] == "inters"
    assert 32 <= values["batch_size"] * 4.6 < 37  # packed rows of about 4.6 examples for the paper's 32
    optimizer = gin.get_configurable("OptimizerSettings")()
    assert optimizer.optimizer == AdamW(b1=0.9, b2=0.95) and optimizer.learning_rate == 1e-5
    assert (optimizer.weight_decay, optimizer.clip) == (0.1, 1.0)
    assert (optimizer.schedule, optimizer.warmup, optimizer.floor) == ("cosine", 0.03, 0.1)
    assert load("train", "--gin_file=mistral.gin")["model"] == "mistralai/Mistral-7B-v0.1"


def test_the_tiny_model_takes_the_place_of_any_other():
    values = load("train", "--gin_file=mistral.gin", "--gin_file=tiny.gin")
    assert values["init"] == "random" and values["dtype"] == "float32" and values["epochs"] == 3
    assert values["train_steps"] == 20
    model = gin.get_configurable("DecoderConfig")()
    assert model.parameter_count < 400_000 and model.num_kv_heads < model.num_heads


def test_the_model_of_the_quickstart_has_the_size_it_states():
    load("train", "--gin_file=quickstart.gin")
    assert 7.8e6 < gin.get_configurable("DecoderConfig")().parameter_count < 8.0e6


def test_a_typo_in_a_binding_is_refused():
    with pytest.raises(config.ConfigError, match="did you mean log_every"):
        load("train", "--gin_file=tiny.gin", "--gin.LOG_EVRY=3")


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_sets_an_option_of_the_ranking_methods(name):
    """A name that training reads as something else would reach a method that has no such option."""
    values = load("rerank", f"--gin_file={name}")
    options = ("sort", "top_k", "num_child", "window", "stride", "passes", "shuffles", "aggregate")
    assert {option: values[option] for option in options} == dict.fromkeys(options)
