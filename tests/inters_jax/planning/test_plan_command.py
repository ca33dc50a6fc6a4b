"""The planner on the devices of this machine: the step that train runs, compiled, judged, mended."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from inters_jax.command_line import run_command
from inters_jax.config import call
from inters_jax.models.config import DecoderConfig
from inters_jax.plan import arguments, make_plan, plan
from inters_jax.planning import advice, analytic
from inters_jax.planning.compile import make_program
from inters_jax.planning.devices import PlanError
from inters_jax.planning.plan import record
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import resolve
from inters_jax.reports import plan_report
from inters_jax.settings.fields import SettingError
from inters_jax.settings.training import OptimizerSettings

TINY = DecoderConfig(
    vocab_size=512, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, num_kv_heads=2
)
SETTINGS = Settings(
    TINY,
    batch_size=8,
    max_length=128,
    loss_positions=32,
    dtype="float32",
    remat="none",
    optimizer=OptimizerSettings(),
)


@pytest.fixture(scope="module")
def here():
    """The plan of a small decoder on this machine."""
    return make_plan(SETTINGS, resolve("local"), compiles=True)


def test_the_step_is_compiled_and_fits(here):
    assert here.fits and here.source == "compiled"
    assert here.memory.parameters == 4 * TINY.parameter_count
    assert here.memory.gradients == 4 * TINY.parameter_count
    # Two moments, the optimiser's counters, and the batch.
    assert 8 * TINY.parameter_count < here.memory.optimizer < 8 * TINY.parameter_count + 40_000
    assert here.needed == here.memory.total


def test_compiled_products_are_those_counted_by_hand(here):
    # A row of 128 is one chunk of attention, computed as a square: forward, again, and twice backward.
    square = analytic.attention_forward_flops(SETTINGS) * (128 * 128 / analytic.seen_pairs(128) - 1)
    expected = analytic.hardware_flops(SETTINGS) + 4 * square
    assert here.compiled.flops == pytest.approx(expected, rel=0.02)


def test_the_program_lowers_for_other_batches():
    program = make_program(SETTINGS, resolve("local"))
    text = program.lower(rows=16, length=64, loss_positions=8).as_text()
    assert "16x64xi32" in text and "16x8xi32" in text


@pytest.mark.slow
def test_a_device_too_small_gets_a_change_that_is_compiled_to_fit(here):
    memory = 0.8 * here.needed
    found = make_plan(SETTINGS, resolve("local", memory), compiles=True, tries=4)
    assert not found.fits and "does NOT fit" in plan_report.text(found)
    assert found.suggestions[-1].fits and found.suggestions[-1].compiled
    assert found.suggestions[-1].needed <= memory
    mended = make_plan(found.suggestions[-1].settings, resolve("local", memory), compiles=True)
    assert mended.fits and not mended.suggestions


def test_an_estimate_says_that_it_is_one():
    settings = dataclasses.replace(SETTINGS, batch_size=8, dtype="bfloat16")
    found = make_plan(settings, resolve("h100-8"), compiles=False)
    assert found.compiled is None and "nothing was compiled" in plan_report.text(found)
    assert record(found)["source"] == "analytic estimate"
    assert 0 < found.utilisation(found.time.serial) <= found.utilisation(found.time.overlapped) < 1
    with pytest.raises(PlanError, match="GPUs can only be compiled on a machine with a GPU"):
        make_plan(settings, resolve("h100-8"), compiles=True)


def test_what_does_not_fit_a_consumer_gpu_is_told_to_use_lora():
    mistral = dataclasses.replace(SETTINGS, config=DecoderConfig(intermediate_size=14336, num_kv_heads=8))
    found = make_plan(mistral, resolve("rtx4090-1"), compiles=False)
    assert not found.fits and "LoRA" in found.suggestions[-1].change and found.suggestions[-1].fits
    assert not any(one.compiled for one in found.suggestions)


def test_changes_keep_what_train_demands():
    settings = dataclasses.replace(SETTINGS, batch_size=16, mesh="data=-1")
    topology = resolve("v5e-8")
    for _, candidate in advice.candidates(settings, topology):
        candidate.check(topology)


def test_the_command_reads_the_settings_of_train(tmp_path, capsys):
    line = arguments(["--gin_file=mistral.gin", "--topology", "h100-8", f"--gin.OUTPUT_DIR={tmp_path}"])
    found = run_command(plan, line)
    assert "h100-8: 8 x h100, mistral 7.24 B" in capsys.readouterr().out
    assert json.loads((tmp_path / "plan.json").read_text()) == json.loads(json.dumps(found))
    markdown = (tmp_path / "plan.md").read_text()
    assert markdown.startswith("**h100-8") and "## Memory per device" in markdown
    assert re.search(r"\| parameters +\| +[\d.]+ GiB \| estimate", markdown)
    assert found["settings"]["batch_size"] == 8 and found["fits"]
    assert found["settings"]["optimizer"]["learning_rate"] == 1e-5


def test_a_method_that_is_not_known_is_refused():
    with pytest.raises(SettingError, match="METHOD='measure' must be 'auto', 'compile', 'estimate'"):
        call(plan, model=TINY, method="measure")
