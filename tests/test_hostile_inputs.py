"""Hostile inputs of every command and format: each ends with one line that names the place, or is read right.

All cases run in this process, through the entry of the command line; one test starts a real command.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hostile import (
    adapters,
    candidates,
    collections,
    configs,
    files,
    rankings,
    results,
    run_folders,
    settings,
    stores,
    tokenizers,
    weights,
)
from hostile.cases import BEIR, ERROR, HANG, TRACEBACK, VALUE, WRONG, Case, Place, attempt

sys.path.insert(0, str(Path(__file__).parent / "inters_jax"))  # its stand-ins

# TensorStore's tasks of the arrays that could not be read, which nobody waits for any more.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TABLES = (
    *(configs, weights, tokenizers, adapters),
    *(collections, rankings, candidates),
    *(settings, files),
    *(run_folders, stores, results),
)
CASES: list[Case] = [case for table in TABLES for case in table.CASES]


def build_sound(folder: Path) -> Place:
    """The sound inputs: a model, a run of it, a store and an evaluation."""
    from model_stand_ins import TOKENIZER, tiny_loaded
    from training_stand_ins import make_store

    import inters_jax.data.building  # noqa: F401  (TensorFlow takes seconds, which belong to no case)
    from inters_jax.models.hf import folder as huggingface

    decoder = tiny_loaded(
        hidden_size=16, intermediate_size=24, num_layers=1, num_heads=2, num_kv_heads=1
    ).model
    model = huggingface.save(decoder, folder / "model", tokenizer=TOKENIZER)
    return Place(
        folder=folder,
        model=model,
        run=run_folders.build_run(folder / "run", model, decoder),
        store=make_store(folder / "store").folder,
        evaluation=results.build_evaluation(folder / "evaluation"),
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return build_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def outcomes(pytestconfig):
    counts: Counter[str] = Counter()
    yield counts
    line = ", ".join(f"{name} = {counts[name]}" for name in (ERROR, VALUE, WRONG, TRACEBACK, HANG))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nhostile inputs: {line}")


def test_every_case_has_a_name_of_its_own_and_there_are_enough():
    assert len({case.name for case in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_hostile_input(case, sound, outcomes, tmp_path):
    outcome, details = attempt(case, dataclasses.replace(sound, folder=tmp_path))
    outcomes[outcome] += 1
    shutil.rmtree(tmp_path)
    assert outcome in (ERROR, VALUE), f"{outcome}: {details}"


def test_the_standard_error_of_a_command_is_that_one_line(tmp_path):
    for name, content in (BEIR | {"corpus.jsonl": "[" * 100_000}).items():
        file = tmp_path / "beir" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    words = ["--gin.MODEL_DIR=none", f"--gin.COLLECTION={tmp_path / 'beir'}", "--gin.PAIR=ms_marco"]
    done = subprocess.run(
        [sys.executable, "-m", "inters_jax.rerank", *words], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"rerank: {tmp_path / 'beir' / 'corpus.jsonl'}:1: not JSON (nested too deeply")
