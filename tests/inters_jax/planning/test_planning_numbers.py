"""Topologies, devices and the arithmetic of a step, against numbers worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inters_jax import config
from inters_jax.mesh import MeshError
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.lora.layers import LoRA
from inters_jax.planning import analytic, devices, shapes, topologies
from inters_jax.planning.compile import refused
from inters_jax.planning.settings import Settings
from inters_jax.settings.training import OptimizerSettings

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "count", "grid", "device"),
    [
        ("v5e-8", 8, (2, 4), "v5e"),
        ("v5litepod-8", 8, (2, 4), "v5e"),
        ("v5e-1", 1, (1, 1), "v5e"),
        ("v6e-8", 8, (2, 4), "v6e"),
        ("v4-32", 16, (2, 2, 4), "v4"),  # 32 cores, two to a chip
        ("v5p-8", 4, (2, 2, 1), "v5p"),
        ("h100-8", 8, (), "h100"),
    ],
)
def test_a_slice_has_the_chips_that_its_name_says(name, count, grid, device):
    found = topologies.resolve(name)
    assert (found.count, found.grid, found.device.name) == (count, grid, device)


def test_an_unknown_topology_is_refused_with_the_known_ones():
    with pytest.raises(devices.PlanError, match=r"did you mean v5e-8.*known: v4-8, v4-16"):
        topologies.resolve("v5e-9")
    with pytest.raises(devices.PlanError, match="rtx4090"):
        devices.device("rtx4091")


def test_links_follow_the_grid():
    assert topologies.resolve("v5e-8").links == 2 * 50e9  # two open axes
    assert topologies.resolve("v4-32").links == (1 + 1 + 2) * 50e9  # the axis of four closes to a ring
    assert topologies.resolve("v5e-1").links == 0


def test_the_next_larger_slice():
    assert topologies.larger(topologies.resolve("v5e-8")).name == "v5e-16"
    assert topologies.larger(topologies.resolve("v5e-256")) is None


def test_a_missing_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(devices.PlanError, match=r'libtpu is missing: pip install "jax\[tpu\]"'):
        topologies.resolve("v6e-256").devices()


def test_a_compiler_that_this_jax_cannot_read_is_refused(monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(topologies.metadata, "version", lambda name: "9999.0")
    with pytest.raises(devices.PlanError, match=r"libtpu 9999.0 is installed; jax [\d.]+ needs libtpu=="):
        topologies.resolve("v6e-256").devices()


def test_shapes_of_the_models_by_name_need_no_network():
    assert shapes.shape_of("mistralai/Mistral-7B-v0.1").parameter_count == 7_241_732_096
    assert shapes.shape_of("meta-llama/Llama-2-7b-hf").parameter_count == 6_738_415_616
    assert shapes.shape_of("meta-llama/Llama-2-13b-hf").parameter_count == 13_015_864_320


CONFIG = DecoderConfig(
    vocab_size=10, hidden_size=4, intermediate_size=6, num_layers=3, num_heads=2, num_kv_heads=1
)


def test_operations_of_a_small_step():
    settings = Settings(CONFIG, batch_size=2, max_length=5, loss_positions=3)
    # One block: query 4 x 4, key and value 4 x 2 each, output 4 x 4, MLP 3 x 4 x 6, two norms of 4.
    blocks = 3 * (16 + 8 + 8 + 16 + 72 + 8) + 4
    pairs = 2 * (1 + 2 + 3 + 4 + 5)
    attention = 12 * 3 * 2 * 2 * pairs
    assert analytic.model_flops(settings) == 6 * blocks * 10 + 6 * 4 * 10 * 2 * 3 + attention
    again = 2 * blocks * 10 + attention / 3
    assert analytic.hardware_flops(settings) == analytic.model_flops(settings) + again
    without = settings.changed(remat="none")
    assert analytic.hardware_flops(without) == analytic.model_flops(settings) + attention / 3


def test_a_window_bounds_the_pairs():
    assert analytic.seen_pairs(4096, 4096) == analytic.seen_pairs(4096) == 4096 * 4097 // 2
    assert analytic.seen_pairs(5, 2) == 1 + 2 * 4


def test_state_of_mistral_on_eight_devices():
    mistral = shapes.shape_of("mistralai/Mistral-7B-v0.1")
    memory = analytic.memory(Settings(mistral), topologies.resolve("v5e-8"))
    assert memory.parameters == pytest.approx(4 * 7_241_732_096 / 8)
    assert memory.optimizer == pytest.approx(8 * 7_241_732_096 / 8)
    assert memory.gradients == memory.parameters
    halves = Settings(mistral, optimizer=OptimizerSettings(moment_dtype="bfloat16"))
    assert analytic.memory(halves, topologies.resolve("v5e-8")).optimizer == memory.parameters


def test_lora_trains_little_and_its_base_is_small():
    settings = Settings(CONFIG, lora=LoRA(rank=2, base_dtype="bfloat16"))
    maps = (4 + 4) + 2 * (4 + 2) + (4 + 4) + 3 * (4 + 6)
    assert analytic.trained_values(settings) == 2 * 3 * maps
    chosen = settings.changed(lora=LoRA(rank=2, targets=("q_proj", "v_proj")))
    assert analytic.trained_values(chosen) == 2 * 3 * ((4 + 4) + (4 + 2))
    mistral = Settings(shapes.shape_of("mistralai/Mistral-7B-v0.1"), lora=LoRA(base_dtype="nf4"))
    assert analytic.parameter_bytes(mistral) / GIB == pytest.approx(4.4, abs=0.3)
    assert 0.66 < analytic.model_flops(mistral) / analytic.model_flops(mistral.changed(lora=None)) < 0.7


def test_a_batch_that_train_would_refuse_is_refused():
    with pytest.raises(MeshError, match=r"BATCH_SIZE=8 rows cannot be divided over 16 devices"):
        Settings(CONFIG).check(topologies.resolve("v4-32"))


def test_a_length_that_train_would_refuse_is_refused():
    with pytest.raises(ModelError, match="MAX_LENGTH=4097: MODEL has 4096 positions only"):
        Settings(CONFIG, batch_size=16, max_length=4097).check(topologies.resolve("v4-32"))


def test_what_a_refusing_compiler_says_is_understood():
    assert refused("Used 17.25G of 15.75G hbm. Exceeded hbm capacity by 1.50G.") == 17.25 * GIB
    assert refused("INTERNAL: something else") is None


def test_every_model_that_ships_a_gin_file_can_be_planned_offline_or_says_what_it_needs(monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    names = [
        match[1]
        for file in (Path(config.__file__).parents[1] / "gin").glob("*.gin")
        if (match := re.search(r"^MODEL = '([^']+)'", file.read_text(encoding="utf-8"), re.MULTILINE))
    ]
    assert "mistralai/Mistral-7B-v0.1" in names and len(names) == 11
    for name in names:
        if name in shapes.SHAPES:
            assert shapes.shape_of(name).parameter_count > 1e9
        else:
            with pytest.raises(devices.PlanError, match=r"name a folder with a config\.json"):
                shapes.shape_of(name)
