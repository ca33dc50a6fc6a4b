"""Model folders: bits kept, shards and dtypes, placement on devices, and errors that name what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

import inters_jax
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model, logical_axes
from inters_jax.models.hf.config_json import config_from_hf, config_to_hf
from inters_jax.models.hf.families import FAMILIES
from inters_jax.models.hf.folder import SINGLE, folder_of, load, save

CONFIG = DecoderConfig(
    vocab_size=61,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    max_position=64,
)


def parameters(model: Decoder) -> dict[str, np.ndarray]:
    flat, _ = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


@pytest.fixture(scope="module")
def model() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(params=0))


@pytest.fixture
def folder(model: Decoder, tmp_path: Path) -> Path:
    return save(model, tmp_path / "model")


def change_weights(folder: Path, change: Any) -> None:
    weights = load_file(folder / SINGLE)
    change(weights)
    save_file(weights, folder / SINGLE)


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("shard_bytes", [4_000, 10**9])
def test_every_bit_survives(model: Decoder, tmp_path: Path, shard_bytes: int) -> None:
    save(model, tmp_path / "out", max_shard_bytes=shard_bytes)
    assert (len(list((tmp_path / "out").glob("*.safetensors"))) > 1) == (shard_bytes == 4_000)
    again = parameters(load(tmp_path / "out"))
    for name, array in parameters(model).items():
        assert array.tobytes() == again[name].tobytes(), name
    assert not list(tmp_path.glob(".out*"))


def test_bfloat16_is_written_read_and_computed(model: Decoder, tmp_path: Path) -> None:
    folder = save(model, tmp_path / "out", dtype=jnp.bfloat16)
    assert {array.dtype for array in load_file(folder / SINGLE).values()} == {np.dtype(jnp.bfloat16)}
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    half = load(folder, dtype="bfloat16")
    for name, array in parameters(half).items():
        np.testing.assert_array_equal(array, parameters(model)[name].astype(jnp.bfloat16))
    mixed = load(folder, dtype="bfloat16", param_dtype="float32")
    assert {array.dtype for array in parameters(mixed).values()} == {np.dtype(np.float32)}
    tokens = jnp.arange(20)[None]
    logits = half(tokens, jnp.ones_like(tokens), tokens)
    assert logits.dtype == jnp.float32
    assert half.hidden(tokens, jnp.ones_like(tokens), tokens).dtype == jnp.bfloat16
    np.testing.assert_allclose(logits, model(tokens, jnp.ones_like(tokens), tokens), atol=0.05)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"1 tensors missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        load(folder)


def test_an_extra_tensor_is_named(folder: Path) -> None:
    change_weights(
        folder, lambda weights: weights.update({"model.layers.2.new.weight": np.ones(3, np.float32)})
    )
    with pytest.raises(ModelError, match=r"are not part of .*model\.layers\.2\.new\.weight"):
        load(folder)


def test_a_misshaped_tensor_is_named_with_both_shapes(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"model.norm.weight": np.ones(17, np.float32)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \[17\], expected \[16\]"):
        load(folder)


def test_rotary_buffers_of_older_files_are_passed_over(folder: Path, model: Decoder) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(folder, lambda weights: weights.update({name: np.ones(2, np.float32)}))
    assert parameters(load(folder)).keys() == parameters(model).keys()


def test_a_tied_head_must_equal_the_embedding(folder: Path) -> None:
    change_config(folder, tie_word_embeddings=True)
    with pytest.raises(ModelError, match="tie_word_embeddings"):
        load(folder)
    change_weights(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"]}))
    assert load(folder).head is None


def test_integer_weights_and_quantised_configs_are_refused(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"model.norm.weight": np.ones(16, np.int8)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight holds I8"):
        load(folder)
    change_config(folder, quantization_config={"bits": 4})
    with pytest.raises(ModelError, match="quantization_config"):
        load(folder)


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / SINGLE).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelError, match="never loaded"):
        load(folder)


def test_a_single_file_wins_over_a_stale_index(folder: Path, model: Decoder) -> None:
    """As in transformers."""
    stale = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(stale))
    expected = parameters(model)
    for name, array in parameters(load(folder)).items():
        np.testing.assert_array_equal(array, expected[name])


def test_damaged_and_absent_files_are_named(folder: Path, model: Decoder, tmp_path: Path) -> None:
    (folder / SINGLE).write_bytes((folder / SINGLE).read_bytes()[:500])
    with pytest.raises(ModelError, match=r"model\.safetensors: not a complete safetensors file"):
        load(folder)
    sharded = save(model, tmp_path / "sharded", max_shard_bytes=4_000)
    next(sharded.glob("*-00002-of-*.safetensors")).unlink()
    with pytest.raises(ModelError, match=r"00002-of-.* names it"):
        load(sharded)
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "absent" / "model")


def test_hub_names_download_plain_files_only(
    folder: Path, model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import filter_repo_objects

    files = [
        "config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "consolidated.safetensors",
        "pytorch_model.bin", "modeling_custom.py", "original/params.json", "other/model.safetensors", "a.md",
    ]  # fmt: skip
    wanted: list[str] = []
    revisions: list[str | None] = []

    def download(name: str, revision: str | None, **patterns: Any) -> str:
        if name != "someone/model":
            raise OSError("404")
        revisions.append(revision)
        wanted.extend(filter_repo_objects(files, **patterns))
        return str(folder)

    monkeypatch.setattr("inters_jax.models.hf.folder.snapshot_download", download)
    assert parameters(load("someone/model")).keys() == parameters(model).keys()
    assert wanted == files[:3]
    assert folder_of("someone/model@refs/pr/1") == folder and revisions == [None, "refs/pr/1"]
    with pytest.raises(
        ModelError,
        match=r"someone/modle: not a local folder, and not available from the Hugging Face hub .*404",
    ):
        load("someone/modle")


def test_unknown_architectures_are_refused_with_the_list(folder: Path) -> None:
    change_config(folder, architectures=["BertForMaskedLM"])
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "BertForMaskedLM" in str(caught.value)
    for family in FAMILIES.values():
        assert family.architecture in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope scaling 'dynamic'"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 0.7}}, "'yarn' with mscale"),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "without long_factor"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "every layer of LlamaForCausalLM"),
        ({"clip_qkv": 8.0}, "clip_qkv is 8.0"),
        ({"rope_scaling": {"type": "linear"}}, "without a factor"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"num_hidden_layers": None}, "num_hidden_layers missing"),
        ({"num_key_value_heads": 3}, "multiple of num_kv_heads"),
    ],
)
def test_configs_that_would_compute_something_else_are_refused(
    folder: Path, values: dict[str, Any], message: str
) -> None:
    change_config(folder, **values)
    with pytest.raises(ModelError, match=message):
        config_from_hf(folder)


def test_windows_of_some_layers_are_read(folder: Path) -> None:
    change_config(
        folder,
        architectures=["Qwen2ForCausalLM"],
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=1,
    )
    config = config_from_hf(folder)
    assert (config.sliding_window, config.sliding_layers) == (8, (False, True))
    assert config_to_hf(config)["layer_types"] == ["full_attention", "sliding_attention"]
    change_config(folder, max_window_layers=0)
    assert config_from_hf(folder).sliding_layers == ()  # all alike
    change_config(folder, layer_types=["chunked_attention"] * 2)
    with pytest.raises(ModelError, match="found 2: chunked_attention"):
        config_from_hf(folder)


def test_several_stop_ids_survive() -> None:
    config = config_from_hf({**config_to_hf(CONFIG), "eos_token_id": [5, 7]})
    assert (config.eos_id, config.stop_ids) == (5, (5, 7))
    assert config_from_hf(config_to_hf(config)) == config
    assert CONFIG.stop_ids == (2,)


def test_a_full_folder_is_not_overwritten(folder: Path, model: Decoder) -> None:
    with pytest.raises(ModelError, match="not an empty folder"):
        save(model, folder)


def test_shapes_that_no_family_has_are_not_written() -> None:
    config = DecoderConfig(**{**vars(CONFIG), "family": "mistral", "mlp_bias": True})
    with pytest.raises(ModelError, match="cannot describe this shape"):
        config_to_hf(config)


def test_abstract_model_allocates_nothing_and_knows_its_axes() -> None:
    huge = DecoderConfig(num_layers=200, hidden_size=16384, intermediate_size=65536, num_heads=128)
    _, params = abstract_model(huge)
    axes = logical_axes(params)
    leaves = jax.tree.leaves(params)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert sum(leaf.size for leaf in leaves) == huge.parameter_count > 8 * 10**11
    names = jax.tree.leaves(axes, is_leaf=lambda node: isinstance(node, tuple))
    for leaf, name in zip(leaves, names, strict=True):
        assert len(name) == leaf.ndim
        assert set(name) <= {"layers", "vocab", "embed", "heads", "kv_heads", "head_dim", "mlp", "norm"}


SHARDED = """
import os, sys
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_PLATFORMS"] = "cpu"
import jax, numpy as np
from flax import nnx
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
one = load_model(sys.argv[1])
many = load_model(sys.argv[1], mesh=make_mesh("fsdp=2,tensor=2"))
kernel = many.model.layers.mlp.gate.kernel[...]
assert kernel.shape == (2, 16, 24) and kernel.addressable_shards[0].data.shape == (2, 8, 12), kernel.sharding
for a, b in zip(jax.tree.leaves(nnx.state(one.model)), jax.tree.leaves(nnx.state(many.model)), strict=True):
    assert len(b.sharding.device_set) == 4
    np.testing.assert_array_equal(a, b)
assert one.fingerprint == many.fingerprint
start = load_model(one.config, seed=3, mesh=make_mesh("fsdp=2,tensor=2"))
same = load_model(one.config, seed=3)
for a, b in zip(jax.tree.leaves(nnx.state(same.model)), jax.tree.leaves(nnx.state(start.model)), strict=True):
    np.testing.assert_array_equal(a, b)
"""


@pytest.mark.slow
def test_parameters_go_to_their_devices(folder: Path) -> None:
    root = Path(inters_jax.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(folder)], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
