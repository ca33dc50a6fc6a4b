"""Gin files and overrides become groups of settings: precedence, refusals that name the place, types."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from inters_jax import config
from inters_jax.command_line import parse_arguments, run_command
from inters_jax.gin_files import ConfigError, find_file, search_paths
from inters_jax.settings.commands import COMMANDS, settings_of_command
from inters_jax.settings.fields import SettingError, settings_of
from inters_jax.settings.training import DataSettings, RunSettings, StepSettings


def loaded(command, *argv):
    """The settings of a command by name."""
    line = parse_arguments(argv)
    groups = config.load(command, line.files, line.overrides, search_paths(line.search_paths))
    return config.values_of(*groups)


def prepared(*argv):
    return loaded("prepare", *argv)


def refusal(command, *argv):
    with pytest.raises(ConfigError) as refused:
        loaded(command, *argv)
    return str(refused.value)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_later_settings_win(here):
    (here / "mine.gin").write_text("STORE_DIR = 'file'\nMAX_LENGTH = 64\nSEED = 7\n")
    found = prepared("--gin_file=mine.gin", "--gin.MAX_LENGTH=32")
    assert (found["STORE_DIR"], found["MAX_LENGTH"], found["SEED"]) == ("file", 32, 7)


def test_the_second_file_wins_over_the_first(here):
    (here / "a.gin").write_text("STORE_DIR = 'a'\nMAX_LENGTH = 1\n")
    (here / "b.gin").write_text("STORE_DIR = 'b'\n")
    found = prepared("--gin_file=a.gin", "--gin_file", "b.gin")
    assert (found["STORE_DIR"], found["MAX_LENGTH"]) == ("b", 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("runs/a-b.c", "runs/a-b.c"), ("'quoted'", "quoted"), ("a=b=c", "a=b=c"), ("2024-01-01", "2024-01-01"),
     ("'2024'", "2024"), ("~/stores", str(Path.home() / "stores"))],
)  # fmt: skip
def test_a_path_needs_no_quotes_unless_it_is_a_number(text, value):
    assert prepared(f"--gin.STORE_DIR={text}")["STORE_DIR"] == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("SEED", "3", 3), ("LEARNING_RATE", "1e-5", 1e-5), ("WARMUP", "50", 50.0), ("EPOCHS", "None", None),
     ("MESH", "fsdp=4,tensor=2", "fsdp=4,tensor=2"), ("MODULES", "seqio_tasks,flan", ("seqio_tasks", "flan")),
     ("MODULES", "['a', 'b']", ("a", "b")), ("TENSORBOARD", "False", False), ("SEED", "%BATCH_SIZE", 8),
     ("AXIS_RULES", "{'mlp': None}", {"mlp": None})],
)  # fmt: skip
def test_values_arrive_in_their_declared_type(name, text, value):
    found = loaded(
        "train", "--gin_file=tiny.gin", "--gin.MODEL_DIR=r", "--gin.TRAIN_STEPS=3", f"--gin.{name}={text}"
    )
    assert found[name] == value and type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("CHECKPOINT_EVERY=0", "CHECKPOINT_EVERY=0 must be a whole number of at least 1"),
        ("LOG_EVERY=0", "LOG_EVERY=0 must be a whole number of at least 1"),
        ("MICROBATCHES=0", "MICROBATCHES=0 must be a whole number of at least 1"),
        ("EPOCHS=0.5", "EPOCHS=0.5 must be a whole number of at least 1, or None"),
        ("BATCH_SIZE=1e1", "BATCH_SIZE=10.0 must be a whole number of at least 1"),
        ("BATCH_SIZE=True", "BATCH_SIZE=True must be a whole number"),
        ("EVAL_EVERY=2.5", "EVAL_EVERY=2.5 must be a whole number of at least 1, or None"),
        ("WARMUP=-1", "WARMUP=-1.0 must be a number of at least 0"),
        ("LEARNING_RATE=-1", "LEARNING_RATE=-1.0 must be a number above 0"),
        ("LEARNING_RATE=0", "LEARNING_RATE=0.0 must be a number above 0"),
        ("LEARNING_RATE=1e999", "--gin.LEARNING_RATE=1e999: a number is too large"),
        ("LEARNING_RATE=nan", "LEARNING_RATE='nan' must be a number above 0"),
        ("WARMUP=1.5", "WARMUP=1.5: from 1 on it is a number of steps, which is whole"),
        ("LEARNING_RATE=high", "LEARNING_RATE='high' must be a number"),
        ("DTYPE=float64", "DTYPE='float64' must be 'auto', 'float32', 'bfloat16', 'float16', 'bf"),
        ("REMAT=ful", "REMAT='ful' must be 'none'"),
        ("MODEL_DIR=2024", "MODEL_DIR=2024 must be a path; to mean the text, quote it: --gin.MODEL_DIR="),
        ("MODEL_DIR=''", "MODEL_DIR is empty"),
        ("SEED=None", "SEED=None must be a whole number"),
        ("TENSORBOARD=no", "TENSORBOARD='no' must be True or False"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_one_clear_line(typed, message):
    text = refusal("train", "--gin_file=tiny.gin", "--gin.MODEL_DIR=r", f"--gin.{typed}")
    assert text.startswith(message) and "\n" not in text


def test_a_wrong_value_in_a_file_is_reported_with_file_and_line(here):
    (here / "mine.gin").write_text("MODEL_DIR = 'r'\n\nBATCH_SIZE = 0\n")
    text = refusal("train", "--gin_file=tiny.gin", "--gin_file=mine.gin")
    assert text == f"{here / 'mine.gin'}:3: BATCH_SIZE=0 must be a whole number of at least 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin.STORE_DIR=x", "--gin.MAX_LENGHT=3"], "nothing uses it; did you mean MAX_LENGTH"),
        (["--gin.store_dir=x"], "did you mean STORE_DIR"),
        (["--gin.STORE_DIR=x", "--gin.prepare.max_lenth=3"], "did you mean max_length"),
        (["--gin.STORE_DIR=x", "--gin.preprae.seed=3"], "did you mean prepare"),
        (["--gin.STORE_DIR=%STORE_DIRR"], "%STORE_DIRR is used but never set; did you mean STORE_DIR"),
        (["--gin.STORE_DIR"], "has no value; write --gin.STORE_DIR=VALUE"),
        (["--max-length=3"], "--gin.MAX_LENGTH=..."),
        (["--gin_file=mistrall.gin"], "did you mean mistral.gin"),
        (["--gin.STORE_DIR=x", "--gin.BATCH_SIZE=3"], "does not read BATCH_SIZE, a setting of train"),
        (["--gin.STORE_DIR=x", "--gin.train.log_every=3"], "prepare does not read the settings of train"),
        (["--gin.STORE_DIR=x", "--gin.LoRA.rank=3"], "prepare does not read it"),
    ],
)  # fmt: skip
def test_typos_and_unread_names_are_refused_with_the_nearest(arguments, message):
    assert message in refusal("prepare", *arguments)


def test_what_rerank_once_ignored_is_read_or_refused():
    """`rerank` with --gin.MESH=nonsense=7 --gin.TOKENIZER=/nope --gin.MAX_LENGTH=40 succeeded."""
    found = loaded("rerank", "--gin.MODEL_DIR=m", "--gin.MESH=nonsense=7", "--gin.TOKENIZER=/nope",
                   "--gin.MAX_LENGTH=40")  # fmt: skip
    assert (found["MESH"], found["TOKENIZER"], found["MAX_LENGTH"]) == ("nonsense=7", "/nope", 40)
    assert "rerank does not read PASSES" in refusal("rerank", "--gin.MODEL_DIR=m", "--gin.PASSES=2")


def test_a_required_setting_without_a_value_is_named():
    with pytest.raises(SystemExit, match=r"^export: .*MODEL_DIR has no value; set it with --gin.MODEL_DIR="):
        run_command(lambda_named("export"), [])


def lambda_named(name):
    def command(*groups):
        return groups

    command.__name__ = name
    return command


def test_a_recipe_may_hold_settings_of_other_commands(here):
    lines = ["BATCH_SIZE = 4", "TASKS = 'inters'", "LORA = @LoRA()", "LoRA.rank = 2", "train.log_every = 3"]
    (here / "both.gin").write_text("\n".join([*lines, "evaluate.max_length = 64", "MAX_LENGTH = 32"]))
    found = loaded("evaluate", "--gin_file=both.gin", "--gin.MODEL_DIR=m")
    assert found["TASKS"] == ("inters",) and found["MAX_LENGTH"] == 32  # the later line wins
    assert prepared("--gin_file=both.gin", "--gin.STORE_DIR=s")["MAX_LENGTH"] == 32


def test_a_setting_of_one_command_leaves_the_others_alone(here):
    (here / "both.gin").write_text("MAX_LENGTH = 32\nevaluate.max_length = 64\n")
    assert loaded("evaluate", "--gin_file=both.gin", "--gin.MODEL_DIR=m")["MAX_LENGTH"] == 64
    assert prepared("--gin_file=both.gin", "--gin.STORE_DIR=s")["MAX_LENGTH"] == 32


def test_settings_can_be_bound_by_group_as_t5x_users_write_them(here):
    (here / "t5x.gin").write_text("StepSettings.batch_size = 4\n")
    found = loaded("train", "--gin_file=tiny.gin", "--gin_file=t5x.gin", "--gin.MODEL_DIR=r")
    assert found["BATCH_SIZE"] == 4
    assert "has no setting 'batch'" in refusal("train", "--gin.StepSettings.batch=4")


def test_macros_and_objects_are_resolved(here):
    (here / "mine.gin").write_text("WIDTH = 64\nDecoderConfig.hidden_size = %WIDTH\nLORA = @LoRA()\n"
                                   "LoRA.rank = 3\nLoRA.targets = ('q_proj',)\n")  # fmt: skip
    found = loaded("train", "--gin_file=tiny.gin", "--gin_file=mine.gin", "--gin.MODEL_DIR=r")
    assert found["MODEL"].hidden_size == 64 and found["LORA"].rank == 3
    assert type(found["OPTIMIZER"]).__name__ == "AdamW"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LORA = @LoRa()\n", r"mine.gin:1: @LoRa is not known; did you mean LoRA"),
        ("LORA = @LoRA()\nLoRA.rnk = 3\n", r"mine.gin:2: LoRA has no field 'rnk'; did you mean rank"),
        (
            "DecoderConfig.num_layer = 2\n",
            r"mine.gin:1: DecoderConfig has no field .*did you mean num_layers",
        ),
        ("LORA = @LoRA()\nLoRA.rank = 0\n", r"mine.gin:2: LoRA.rank must be"),
        ("\nMODEL_DIR = runs/x\n", r"mine.gin:2: .*text values need quotes"),
        ("include 'mistrall.gin'\n", r"mine.gin:1: .*did you mean mistral.gin"),
        ("import nosuchmodule\n", r"mine.gin:1: import nosuchmodule: .*install it, or correct the name"),
        ("include 'mine.gin'\n", r"mine.gin includes itself"),
        ("SPEED = 3\n", r"mine.gin:1: SPEED is set but nothing uses it"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_its_place(here, text, message):
    (here / "mine.gin").write_text(text)
    found = refusal("train", "--gin_file=tiny.gin", "--gin_file=mine.gin", "--gin.MODEL_DIR=r")
    assert re.search(message, found) and "\n" not in found


def test_a_byte_order_mark_is_no_fault(here):
    (here / "mine.gin").write_text("\ufeffSEED = 5\n", encoding="utf-8")
    assert prepared("--gin_file=mine.gin", "--gin.STORE_DIR=s")["SEED"] == 5


def test_the_operative_config_reads_back(here):
    line = ["--gin_file=mistral.gin", "--gin_file=lora.gin", "--gin_file=tiny.gin", "--gin.MODEL_DIR=r",
            "--gin.OPTIMIZER=@AdamW()", "--gin.AdamW.b1=0.8"]  # fmt: skip
    parsed = parse_arguments(line)
    groups = config.load("train", parsed.files, parsed.overrides, search_paths())
    (here / "operative.gin").write_text(config.operative_text("train", groups))
    again = config.load("train", ["operative.gin"], [], search_paths())
    assert again == groups and config.values_of(*again)["OPTIMIZER"].b1 == 0.8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_the_groups_it_reads_and_no_name_twice(command):
    function = getattr(importlib.import_module(f"inters_jax.{command}"), command)
    hints = get_type_hints(function)
    taken = [hints[name] for name in inspect.signature(function).parameters if name in hints]
    assert tuple(taken[: len(COMMANDS[command])]) == COMMANDS[command]
    names = [one.name for group in COMMANDS[command] for one in settings_of(group)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_prints_every_setting_with_default_type_and_line(command, capsys):
    assert run_command(lambda_named(command), ["--help"]) is None
    text = capsys.readouterr().out
    for name, one in settings_of_command(command).items():
        assert f"--gin.{name}=" in text and one.meaning.help and one.meaning.help in text
        assert one.type_text in text
    assert "mistral.gin" in text


def test_settings_are_checked_in_python_too():
    with pytest.raises(SettingError, match="BATCH_SIZE=0"):
        StepSettings(batch_size=0)
    with pytest.raises(SettingError, match="neither TRAIN_STEPS nor EPOCHS"):
        RunSettings(model_dir="r", epochs=None)
    assert DataSettings(templates="a.yaml, b.yaml").templates == ("a.yaml", "b.yaml")


def test_call_takes_flat_names_and_refuses_unknown_ones():
    assert config.call(lambda_named("export"), model_dir="m", output_dir="o")[0].export_dtype == "float32"
    with pytest.raises(ConfigError, match="export reads no setting 'dtype'"):
        config.call(lambda_named("export"), model_dir="m", output_dir="o", dtype="float32")
    with pytest.raises(ConfigError, match="OUTPUT_DIR has no value"):
        config.call(lambda_named("export"), model_dir="m")


def test_an_error_of_ours_ends_a_command_with_its_message_alone(monkeypatch):
    def export(settings):
        raise ConfigError("no such thing; do this")

    given = ["--gin.MODEL_DIR=m", "--gin.OUTPUT_DIR=o"]
    with pytest.raises(SystemExit) as stopped:
        run_command(export, given)
    assert str(stopped.value) == "export: no such thing; do this"
    monkeypatch.setenv("INTERS_TRACEBACK", "1")
    with pytest.raises(ConfigError):
        run_command(export, given)


def test_the_working_directory_comes_before_the_repository(here):
    (here / "gin").mkdir()
    (here / "gin" / "mistral.gin").write_text("MAX_LENGTH = 8\n")
    assert find_file("mistral.gin", search_paths()) == here / "gin" / "mistral.gin"


def test_no_package_shadows_gin():
    root = Path(config.__file__).resolve().parents[1]
    assert not (root / "gin" / "__init__.py").exists()


def test_reading_settings_needs_neither_jax_nor_tensorflow():
    script = "import sys, inters_jax.command_line; print({'jax', 'tensorflow', 'seqio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
