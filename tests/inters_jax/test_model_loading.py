"""One way to open a model, whatever holds it, and a run written as a Hugging Face folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from command_stand_ins import export
from flax import nnx
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import abstract_model
from inters_jax.models.hf.config_json import config_to_hf
from inters_jax.models.hf.folder import save
from inters_jax.models.loading import LoadedModel, config_of, load_model

CONFIG = DecoderConfig(
    vocab_size=61,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    max_position=64,
)


def write_tokenizer(folder: Path, **special: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<end>": 3, "good": 4}
    Tokenizer(WordLevel(words, unk_token="<pad>")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special})
    )
    return folder


@pytest.fixture(scope="module")
def start() -> LoadedModel:
    return load_model(CONFIG, seed=5)


@pytest.fixture
def run(start: LoadedModel, tmp_path: Path) -> Path:
    """A run folder as training writes it: step 0 is `start`, step 3 the same with another final norm."""
    folder = tmp_path / "my_run"
    write_tokenizer(folder / "model", bos_token="<s>", eos_token={"__type": "AddedToken", "content": "</s>"})
    (folder / "model" / "config.json").write_text(json.dumps(config_to_hf(CONFIG)))
    (folder / "operative_config.gin").write_text("train.seed = 5\n")
    params = nnx.to_pure_dict(nnx.state(start.model, nnx.Param))
    for step in (0, 3):
        params["final_norm"]["scale"] = params["final_norm"]["scale"] + step
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((folder / "checkpoints" / str(step) / "params").absolute(), params)
    return folder


@pytest.mark.slow
def test_random_starts_depend_on_the_seed_alone(start: LoadedModel) -> None:
    again, other = load_model(CONFIG, seed=5), load_model(CONFIG, seed=6)
    assert start.fingerprint == again.fingerprint != other.fingerprint
    for a, b in zip(
        jax.tree.leaves(nnx.state(start.model)), jax.tree.leaves(nnx.state(again.model)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert start.description == "random weights, seed 5 (llama, 5.87 k parameters)"
    assert (start.tokenizer, start.tokenizer_path, start.bos_id, start.eos_id) == (None, None, 1, 2)


def test_random_weights_have_their_declared_size() -> None:
    config = dataclasses.replace(
        CONFIG, hidden_size=128, intermediate_size=256, num_heads=4, num_layers=8, head_dim=32
    )
    model = load_model(config).model
    layers = model.layers
    for kernel, expected in (
        (model.embedding, 0.02),
        (layers.attention.query.kernel, 0.02),
        (layers.mlp.gate.kernel, 0.02),
        (layers.attention.output.kernel, 0.005),
        (layers.mlp.down.kernel, 0.005),
    ):
        assert float(jnp.std(kernel[...])) == pytest.approx(expected, rel=0.05)
    assert not np.array_equal(layers.mlp.gate.kernel[0], layers.mlp.gate.kernel[1])


def test_a_run_opens_at_its_newest_step_or_the_one_asked_for(start: LoadedModel, run: Path) -> None:
    newest, first = load_model(run), load_model(run, step=0)
    assert newest.description == "my_run, step 3 (llama, 5.87 k parameters)"
    np.testing.assert_array_equal(newest.model.final_norm.scale[...], 4.0)
    assert first.fingerprint == start.fingerprint != newest.fingerprint
    assert (first.bos_id, first.eos_id) == (1, 2)
    assert first.tokenizer is not None and first.tokenizer.token_to_id("good") == 4
    assert config_of(run) == CONFIG
    with pytest.raises(ValueError, match=r"no checkpoint of step 7; found 0, 3"):
        load_model(run, step=7)


def test_an_exported_run_is_the_same_model(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = export(str(run), str(tmp_path / "out"))
    assert "my_run, step 3" in capsys.readouterr().out
    ours, exported = load_model(run), load_model(target)
    assert exported.fingerprint == ours.fingerprint
    assert (exported.bos_id, exported.eos_id) == (1, 2)
    card = (target / "README.md").read_text()
    assert "train.seed = 5" in card and ours.fingerprint in card and str(tmp_path) not in card
    half = load_model(
        export(str(run), str(tmp_path / "half"), step=0, export_dtype="bfloat16"), dtype="bfloat16"
    )
    assert half.model.embedding.dtype == jnp.bfloat16


def test_an_exported_run_opens_in_transformers(run: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    target = export(str(run), str(tmp_path / "out"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(target).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    tokens = np.arange(20)[None]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(tokens)).logits.numpy()
    got = load_model(run).model(tokens, np.ones_like(tokens), tokens)
    np.testing.assert_allclose(got, expected, atol=5e-5)


def test_special_tokens_are_the_tokenizer_s_own(start: LoadedModel, tmp_path: Path) -> None:
    folder = save(start.model, tmp_path / "model")
    assert load_model(folder).tokenizer is None
    write_tokenizer(folder, bos_token=None, eos_token="<end>")
    loaded = load_model(folder)
    assert (loaded.bos_id, loaded.eos_id) == (None, 3)  # not the model's 1 and 2
    assert loaded.tokenizer_path == str(folder)
    other = write_tokenizer(tmp_path / "other")  # silent about both: the model's
    assert (load_model(folder, tokenizer=other).bos_id, load_model(folder, tokenizer=other).eos_id) == (1, 2)
    write_tokenizer(folder, eos_token="<absent>")
    with pytest.raises(ModelError, match="'<absent>'"):
        load_model(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    with pytest.raises(ModelError, match="5 tokens, but the model has only 4 embeddings"):
        load_model(dataclasses.replace(CONFIG, vocab_size=4), tokenizer=folder)
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load_model(CONFIG, tokenizer=tmp_path)


def test_only_a_run_has_steps_and_only_a_run_is_exported(start: LoadedModel, tmp_path: Path) -> None:
    folder = save(start.model, tmp_path / "model")
    with pytest.raises(ModelError, match="only a run folder has steps"):
        load_model(folder, step=1)
    with pytest.raises(ModelError, match="not a run folder"):
        export(str(folder), str(tmp_path / "out"))


def test_a_token_outside_the_vocabulary_is_noticed(start: LoadedModel) -> None:
    """Its row becomes NaN, which training reports; the other rows stay as they are."""
    tokens = jnp.array([[4, 5], [4, CONFIG.vocab_size]])
    logits = start.model(tokens, jnp.ones_like(tokens), jnp.tile(jnp.arange(2), (2, 1)))
    assert bool(jnp.isfinite(logits[0]).all()) and bool(jnp.isnan(logits[1, 1]).all())


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["full", "dots"])
def test_recomputation_changes_no_gradient(start: LoadedModel, remat: str) -> None:
    tokens = jnp.arange(24).reshape(2, 12)
    positions = jnp.tile(jnp.arange(12), (2, 1))

    def gradient(remat: str) -> list[jax.Array]:
        graphdef, _ = abstract_model(CONFIG, remat=remat)

        def loss(params: nnx.State) -> jax.Array:
            logits = nnx.merge(graphdef, params)(tokens, jnp.ones_like(tokens), positions)
            return -jax.nn.log_softmax(logits)[..., 7].mean()

        return jax.tree.leaves(jax.jit(jax.grad(loss))(nnx.state(start.model, nnx.Param)))

    for expected, got in zip(gradient("none"), gradient(remat), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    with pytest.raises(ModelError, match="none, full, dots"):
        load_model(CONFIG, remat="some")


def test_unflattened_products_give_the_same_result(start: LoadedModel) -> None:
    tokens = jnp.arange(20).reshape(2, 10)
    positions = jnp.tile(jnp.arange(10), (2, 1))
    seen: set[tuple[str, ...]] = set()

    def watch(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        assert x.ndim == len(axes)
        seen.add(axes)
        return x

    graphdef, _ = abstract_model(CONFIG, flatten=False, constrain=watch)
    apart = nnx.merge(graphdef, nnx.state(start.model, nnx.Param))
    expected = start.model(tokens, jnp.ones_like(tokens), positions)
    np.testing.assert_allclose(apart(tokens, jnp.ones_like(tokens), positions), expected, atol=1e-6)
    assert ("batch", "length", "embed") in seen and ("batch", "length", "heads", "head_dim") in seen
