"""LoRA runs: resumed to the bit, tied to their base, loaded merged, exported for transformers and peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from command_stand_ins import export
from lora_stand_ins import SHAPE, make_base
from safetensors.numpy import load_file, save_file
from training_stand_ins import make_store, run_train

from inters_jax.models.config import ModelError
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.hf.families import FAMILIES
from inters_jax.models.loading import load_model
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import peft as adapters
from inters_jax.models.lora.layers import LoRA
from inters_jax.models.prompt_record import Prompts, of_model
from inters_jax.run_folder import CheckpointError, run_record

TOLERANCE = 5e-5
SETTINGS = LoRA(rank=4, alpha=8.0, base_dtype="float32", dropout=0.1)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A base with a tokenizer, and a store."""
    folder = tmp_path_factory.mktemp("lora")
    make_base(folder / "base")
    make_store(folder / "store")
    return folder


def train(work: Path, name: str, settings: LoRA = SETTINGS, **changes: Any) -> dict[str, Any]:
    given = {"model": str(work / "base"), "init": "pretrained", "tokenizer": str(work / "base")}
    return run_train(work / name, work / "store", lora=settings, **(given | changes))


@pytest.fixture(scope="module")
def run(work) -> Path:
    train(work, "run")
    return work / "run"


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(3, SHAPE["vocab_size"], (2, 12), dtype=np.int32)


def ours(loaded) -> np.ndarray:
    given = tokens()
    positions = np.broadcast_to(np.arange(given.shape[1], dtype=np.int32), given.shape)
    return np.asarray(loaded.model(given, np.ones_like(given), positions))


def theirs(model) -> np.ndarray:
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return model.eval()(torch.from_numpy(tokens()).long()).logits.float().numpy()


@pytest.mark.slow
def test_a_stopped_run_continues_to_the_bit(work, run, monkeypatch):
    from inters_jax.training import loop

    whole = bases.factors_of(run, config_from_hf(run / "model"), 12)
    original, count = loop.run_training, 0

    def stopping(state, **arguments):
        step = arguments["train_step"]

        def counted(*given):
            nonlocal count
            count += 1
            if count == 8:
                raise KeyboardInterrupt
            return step(*given)

        return original(state, **(arguments | {"train_step": counted}))

    from inters_jax import train as command

    monkeypatch.setattr(command, "run_training", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(work, "stopped")
    monkeypatch.undo()
    assert train(work, "stopped")["step"] == 12
    again = bases.factors_of(work / "stopped", config_from_hf(run / "model"), 12)
    for path, factor in whole.by_module.items():
        np.testing.assert_array_equal(factor.a, again.by_module[path].a)
        np.testing.assert_array_equal(factor.b, again.by_module[path].b)


@pytest.mark.slow
def test_a_checkpoint_holds_updates_only_and_names_its_base(work, run):
    record = bases.record_of(run)
    assert record is not None and record.base.source == str((work / "base").resolve())
    assert run_record(run, 12)["base"] == record.fingerprint
    names = {path.name for path in (run / "checkpoints" / "12").iterdir()}
    assert names >= {"params", "opt_state", "run"}
    factors = bases.factors_of(run, config_from_hf(run / "model"), 12)
    assert len(factors.by_module) == 7


@pytest.mark.slow
def test_another_base_or_other_settings_are_refused(work, run):
    weights = load_file(work / "base" / "model.safetensors")
    try:
        changed = {**weights, "model.norm.weight": weights["model.norm.weight"] + 1}
        save_file(changed, work / "base" / "model.safetensors")
        with pytest.raises(CheckpointError, match="another base"):
            train(work, "run", train_steps=14)
        with pytest.raises(ModelError, match="Restore the original base"):
            load_model(run)
    finally:
        save_file(weights, work / "base" / "model.safetensors")
    with pytest.raises(CheckpointError, match="LORA"):
        train(work, "run", LoRA(rank=4, alpha=16.0, base_dtype="float32"))


@pytest.mark.slow
def test_edited_settings_of_an_adapter_are_refused(work, run, tmp_path):
    file = run / "model" / "lora.json"
    written = file.read_text()
    try:
        file.write_text(written.replace('"alpha": 8.0', '"alpha": 16.0'))
        for read in (load_model, lambda run: export(str(run), str(tmp_path / "out"), format="peft")):
            with pytest.raises(ModelError, match=r"lora\.json: changed since .* with .*'alpha': 8\.0"):
                read(run)
    finally:
        file.write_text(written)


@pytest.mark.slow
@pytest.mark.parametrize("base_dtype", ["float32", "nf4"])
def test_exports_have_the_logits_of_the_run(work, run, base_dtype):
    """Merged, as an adapter for peft on the transformers base, and read back from that adapter."""
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    name = "run" if base_dtype == "float32" else base_dtype
    if name != "run":
        train(work, name, LoRA(rank=4, base_dtype=base_dtype, targets=("q_proj", "down_proj")), train_steps=4)
    loaded = load_model(work / name)
    merged = export(str(work / name), str(work / f"{name}-merged"))
    np.testing.assert_allclose(
        theirs(transformers.AutoModelForCausalLM.from_pretrained(merged)), ours(loaded), atol=TOLERANCE
    )
    folder = export(str(work / name), str(work / f"{name}-adapter"), format="peft")
    assert of_model(folder) == of_model(merged) == Prompts()
    base = transformers.AutoModelForCausalLM.from_pretrained(work / "base")
    with_adapter = theirs(peft.PeftModel.from_pretrained(base, folder))
    ours_with_adapter = ours(load_model(work / "base", adapter=folder))
    np.testing.assert_allclose(with_adapter, ours_with_adapter, atol=TOLERANCE)
    apart = np.abs(with_adapter - ours(loaded)).max()
    assert apart < TOLERANCE if base_dtype == "float32" else 1e-4 < apart < 0.5
    assert np.abs(ours(load_model(work / "base")) - with_adapter).max() > 1e-3


@pytest.mark.slow
def test_an_adapter_made_by_peft_gives_its_logits(work, tmp_path):
    torch, transformers, peft = (pytest.importorskip(name) for name in ("torch", "transformers", "peft"))
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "o_proj", "up_proj", "lm_head"], use_rslora=True,
        rank_pattern={"layers.1.mlp.up_proj": 2}, alpha_pattern={"o_proj": 3}, task_type="CAUSAL_LM",
    )  # fmt: skip
    base = transformers.AutoModelForCausalLM.from_pretrained(work / "base")
    model = peft.get_peft_model(base, config)
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    loaded = load_model(work / "base", adapter=tmp_path / "adapter")
    np.testing.assert_allclose(ours(loaded), theirs(model), atol=TOLERANCE)


def test_a_fused_module_becomes_one_adapter_and_several_again(tmp_path):
    """Query, key and value in one tensor: B is block-diagonal, group by group."""
    name = "gpt_neox"
    if name not in FAMILIES:
        pytest.skip("no family with a fused projection here")
    shape = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
    config = config_from_hf({"model_type": name, "architectures": [FAMILIES[name].architecture], **shape})
    rng = np.random.default_rng(0)
    made = {
        ("layers", "attention", part): adapters.Factor(
            rng.normal(size=(2, 32, 4)).astype("f4"),
            rng.normal(size=(2, 4, 32)).astype("f4"),
            np.full(2, 2.0, "f4"),
        )
        for part in ("query", "value")
    }
    folder = adapters.write(
        tmp_path / "adapter", adapters.Factors(made), config, LoRA(rank=4, alpha=8.0), base_name=None
    )
    described = json.loads((folder / "adapter_config.json").read_text())
    assert described["rank_pattern"] == {"query_key_value": 8} and described["alpha_pattern"] == {
        "query_key_value": 16
    }
    again = adapters.read(folder, config)
    for part in ("query", "key", "value"):
        factor, before = again.by_module["layers", "attention", part], made.get(("layers", "attention", part))
        got = factor.scale[:, None, None] * (factor.a @ factor.b)
        wanted = np.zeros_like(got) if before is None else 2.0 * (before.a @ before.b)
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_adapters_that_cannot_be_read_are_refused(tmp_path):
    config = config_from_hf({"model_type": "llama", **SHAPE})
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        adapters.read(tmp_path, config)

    def folder(description: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
        (tmp_path / adapters.CONFIG).write_text(
            json.dumps({"peft_type": "LORA", "lora_alpha": 4} | description)
        )
        save_file(arrays, tmp_path / adapters.WEIGHTS)
        return tmp_path

    stray = {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": np.zeros((4, 32), "f4")}
    with pytest.raises(ModelError, match="are not part of the base model"):
        adapters.read(folder({}, stray), config)
    with pytest.raises(ModelError, match="use_dora"):
        adapters.read(folder({"use_dora": True}, stray), config)
    module = "base_model.model.model.layers.0.mlp.up_proj.lora"
    wrong = {f"{module}_A.weight": np.zeros((4, 16), "f4"), f"{module}_B.weight": np.zeros((48, 4), "f4")}
    with pytest.raises(ModelError, match="another model"):
        adapters.read(folder({}, wrong), config)


def test_merging_adds_the_scaled_product():
    factor = adapters.Factor(
        np.array([[[1.0], [2.0]]], "f4"), np.array([[[3.0, 4.0, 5.0]]], "f4"), np.array([0.5], "f4")
    )
    path = ("layers", "mlp", "up")
    merged = adapters.Factors({path: factor}).merge((*path, "kernel"), np.ones((1, 2, 3), np.float32))
    np.testing.assert_array_equal(merged, [[[2.5, 3.0, 3.5], [4.0, 5.0, 6.0]]])
    other = np.ones((4,), jnp.float32)
    assert adapters.Factors({path: factor}).merge(("final_norm", "scale"), other) is other


@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_half_an_update_is_refused(tmp_path, half):
    config = config_from_hf({"model_type": "llama", **SHAPE})
    module = "base_model.model.model.layers.0.mlp.up_proj"
    arrays = {
        f"{module}.lora_A.weight": np.ones((4, 32), "f4"),
        f"{module}.lora_B.weight": np.ones((48, 4), "f4"),
    }
    (tmp_path / adapters.CONFIG).write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4}))
    save_file(arrays, tmp_path / adapters.WEIGHTS)
    assert adapters.read(tmp_path, config).by_module
    del arrays[f"{module}.{half}.weight"]
    save_file(arrays, tmp_path / adapters.WEIGHTS)
    with pytest.raises(ModelError, match=rf"layers\.0\.mlp\.up_proj has .* but no {half}\.weight"):
        adapters.read(tmp_path, config)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool"])
def test_integer_adapters_are_refused(tmp_path, dtype):
    config = config_from_hf({"model_type": "llama", **SHAPE})
    module = "base_model.model.model.layers.0.mlp.up_proj"
    arrays = {
        f"{module}.lora_A.weight": np.ones((4, 32), dtype),
        f"{module}.lora_B.weight": np.ones((48, 4), "f4"),
    }
    (tmp_path / adapters.CONFIG).write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4}))
    save_file(arrays, tmp_path / adapters.WEIGHTS)
    with pytest.raises(ModelError, match=rf"lora_A\.weight holds {dtype}, not floating-point"):
        adapters.read(tmp_path, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", ": a JSON list, expected an object"),
        ("{", ":1: not JSON"),
        ('{"peft_type": "LORA"}', ": lora_alpha is None, not a number"),
        ('{"peft_type": "LORA", "lora_alpha": NaN}', ": lora_alpha is nan, not a number"),
    ],
)
def test_an_unusable_adapter_config_is_refused_by_name(tmp_path, text, message):
    (tmp_path / adapters.CONFIG).write_text(text)
    save_file({"a": np.ones(1, "f4")}, tmp_path / adapters.WEIGHTS)
    with pytest.raises(ModelError, match=rf"adapter_config\.json{message}"):
        adapters.read(tmp_path, config_from_hf({"model_type": "llama", **SHAPE}))
