"""Command lines and gin files: precedence, text values, search path, and refusals that name the fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gin
import pytest

from inters_jax import config


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A stand-in for `prepare` with its own runs/prepare.gin, called through run_command."""
    runs = tmp_path / "paths" / "runs"
    runs.mkdir(parents=True)
    (runs / "prepare.gin").write_text(
        "STORE_DIR = %gin.REQUIRED  # where to write\n"
        "MAX_LENGTH = 2048          # tokens\n"
        "MODEL = None\n"
        "prepare.store_dir = %STORE_DIR\n"
        "prepare.max_length = %MAX_LENGTH\n"
    )
    monkeypatch.chdir(tmp_path)

    def prepare(store_dir, max_length=1, model=None, seed=0):
        """Stand-in."""
        return {"store_dir": store_dir, "max_length": max_length, "model": model, "seed": seed}

    def forget():
        return [gin.config._REGISTRY.pop(name) for name in gin.config._REGISTRY.matching_selectors("prepare")]

    before = forget()  # another test of this process may have loaded the true one
    yield lambda *argv: config.run_command(prepare, ["--gin_search_paths=paths", *argv])
    forget()
    for configurable in before:
        gin.config._REGISTRY[configurable.selector] = configurable


def test_later_settings_win(command, tmp_path):
    (tmp_path / "mine.gin").write_text("STORE_DIR = 'file'\nMAX_LENGTH = 64\nprepare.seed = 7\n")
    assert command("--gin_file=mine.gin", "--gin.MAX_LENGTH=32") == {
        "store_dir": "file", "max_length": 32, "model": None, "seed": 7}  # fmt: skip


def test_second_file_overrides_the_first(command, tmp_path):
    (tmp_path / "a.gin").write_text("STORE_DIR = 'a'\nMAX_LENGTH = 1\n")
    (tmp_path / "b.gin").write_text("STORE_DIR = 'b'\n")
    result = command("--gin_file=a.gin", "--gin_file", "b.gin")
    assert (result["store_dir"], result["max_length"]) == ("b", 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("runs/a-b.c", "runs/a-b.c"), ("'quoted'", "quoted"), ("3", 3), ("1e-5", 1e-5), ("None", None),
     ("fsdp=4,tensor=2", "fsdp=4,tensor=2"), ("a=b=c", "a=b=c"), ("1,2", (1, 2)), ("", ""),
     ("2024-01-01", "2024-01-01"), ("%MAX_LENGTH", 2048)],
)  # fmt: skip
def test_override_values_need_no_quotes(command, text, value):
    assert command(f"--gin.STORE_DIR={text}")["store_dir"] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--gin.STORE_DIR=x", "--gin.MAX_LENGHT=3"],
            "MAX_LENGHT is set but nothing uses it; did you mean MAX_LENGTH",
        ),
        (["--gin.store_dir=x"], "did you mean STORE_DIR"),
        (["--gin.STORE_DIR=x", "--gin.prepare.max_lenth=3"], "did you mean max_length"),
        (["--gin.STORE_DIR=x", "--gin.preprae.seed=3"], "did you mean prepare"),
        (["--gin.STORE_DIR=%STORE_DIRR"], "%STORE_DIRR is used but never set; did you mean STORE_DIR"),
        ([], "STORE_DIR has no value; set it with --gin.STORE_DIR=..."),
        (["--gin.STORE_DIR"], "has no value; write --gin.STORE_DIR=VALUE"),
        (["--max-length=3"], "--gin.MAX_LENGTH=..."),
        (["--gin_file=mistrall.gin"], "did you mean mistral.gin"),
    ],
)
def test_typos_are_refused_with_the_nearest_name(command, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    assert message in str(stopped.value)
    assert str(stopped.value).startswith("prepare: ")


def test_bindings_of_other_commands_are_passed_over(command):
    assert command("--gin.STORE_DIR=x", "--gin.train.log_every=3")["store_dir"] == "x"


def test_a_typo_in_a_file_is_reported_with_file_and_line(command, tmp_path):
    (tmp_path / "mine.gin").write_text("STORE_DIR = 'x'\n\nprepare.sead = 3\n")
    with pytest.raises(SystemExit, match=r"(?s)mine.gin.*line 3.*did you mean seed"):
        command("--gin_file=mine.gin")


def test_a_missing_include_is_reported_with_the_nearest_file(command, tmp_path):
    (tmp_path / "mine.gin").write_text("include 'run/prepare.gin'\nSTORE_DIR = 'x'\n")
    with pytest.raises(SystemExit, match=r"(?s)mine.gin.*run/prepare.gin.*did you mean runs/prepare.gin"):
        command("--gin_file=mine.gin")


def test_operative_config_reads_back(command):
    command("--gin.STORE_DIR=somewhere", "--gin.MAX_LENGTH=5")
    text = config.operative_config()
    assert "prepare.seed = 0" in text and "MAX_LENGTH = 5" in text
    gin.clear_config()
    gin.parse_config(text)
    assert gin.get_configurable("prepare")()["max_length"] == 5


def test_an_error_of_ours_ends_a_command_with_its_message_alone(monkeypatch):
    def failing():
        raise config.ConfigError("no such thing; do this")

    with pytest.raises(SystemExit) as stopped:
        config.run_command(failing, [])
    assert str(stopped.value) == "failing: no such thing; do this"
    monkeypatch.setenv("INTERS_TRACEBACK", "1")
    with pytest.raises(config.ConfigError):
        config.run_command(failing, [])


def test_arguments_are_available_to_a_subprocess_only_while_running(command):
    command("--gin.STORE_DIR=x")
    assert config.gin_arguments() == []


def test_help_lists_names_defaults_and_files(command, capsys):
    assert command("--help") is None
    text = capsys.readouterr().out
    assert "STORE_DIR" in text and "(required)" in text and "where to write" in text and "mistral.gin" in text


def test_working_directory_comes_before_the_repository(tmp_path, monkeypatch):
    (tmp_path / "gin").mkdir()
    (tmp_path / "gin" / "mistral.gin").write_text("MAX_LENGTH = 8\n")
    monkeypatch.chdir(tmp_path)
    assert config.find_file("mistral.gin", config.search_paths()) == tmp_path / "gin" / "mistral.gin"


def test_no_package_shadows_gin():
    root = Path(config.__file__).resolve().parents[1]
    assert not (root / "gin" / "__init__.py").exists()


def test_importing_config_needs_neither_jax_nor_tensorflow():
    script = "import sys, inters_jax.config; print({'jax', 'tensorflow', 'seqio'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()
        == "set()"
    )
