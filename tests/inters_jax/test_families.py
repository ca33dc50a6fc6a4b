"""Every family against transformers: logits, packing, branches, cache, generation, the way out and back."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.models.cache import KVCache
from inters_jax.models.hf.config_json import config_from_hf, config_to_hf
from inters_jax.models.hf.folder import load, save

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
zoo = pytest.importorskip("family_zoo")

TOLERANCE = 5e-5
FAST = ("gemma3", "falcon-rw")
FAR = ("llama-yarn", "phi3-longrope", "phi4-mini", "falcon-rw")  # where positions far away are special
MIXED = ("gemma3", "phi4-mini", "falcon-rw")
LENGTH = 24  # one compiled shape for most tests


class Pair:
    """A transformers model and the decoder loaded from its folder, with the compiled programs of tests."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.theirs = zoo.transformers_model(name)
        self.theirs.save_pretrained(folder)
        self.ours = load(folder)
        self.graphdef, self.params = nnx.split(self.ours)
        self.decode = jax.jit(self._decode)
        self._row = jax.jit(self.logits)

    def logits(
        self, params: nnx.State, tokens: Any, segments: Any, positions: Any, branches: Any
    ) -> jax.Array:
        model = nnx.merge(self.graphdef, params)
        return model.logits(model.hidden(tokens, segments, positions, branch_ids=branches))

    def _decode(self, params: nnx.State, tokens: Any, positions: Any, cache: KVCache) -> Any:
        model = nnx.merge(self.graphdef, params)
        hidden, cache = model.decode(tokens, positions, cache)
        return model.logits(hidden), cache

    def reference(self, tokens: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.theirs(torch.from_numpy(tokens).long()).logits.numpy()

    def run(self, tokens: Any, segments: Any, positions: Any, branches: Any = None) -> np.ndarray:
        branches = np.zeros_like(tokens) if branches is None else branches
        arrays = [np.asarray(array, np.int32) for array in (tokens, segments, positions, branches)]
        return np.asarray(self._row(self.params, *arrays))


NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("families") / request.param)


def tokens_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, zoo.SHAPE["vocab_size"], shape, dtype=np.int32)


def close(pair: Pair, what: str, difference: float) -> None:
    print(f"\n{pair.name:22s} {what:10s} {difference:.2e}", end="")
    assert difference <= TOLERANCE


def test_plain_padded_and_packed_rows(pair: Pair) -> None:
    """One batch: a full row, a row with padding behind it, a row of three segments and padding."""
    full, padded = tokens_of(1, LENGTH, seed=1), tokens_of(1, 15, seed=2)
    parts = [tokens_of(1, n, seed=3 + n) for n in (9, 4, 8)]
    tokens, segments, positions = (np.zeros((3, LENGTH), np.int32) for _ in range(3))
    for row, pieces in enumerate(([full], [padded], parts)):
        start = 0
        for number, piece in enumerate(pieces, start=1):
            end = start + piece.shape[1]
            tokens[row, start:end], segments[row, start:end] = piece[0], number
            positions[row, start:end] = np.arange(end - start)
            start = end
    ours = pair.run(tokens, segments, positions)
    theirs = pair.reference(full)[0]
    assert np.abs(theirs).max() > 1.0  # otherwise the bar would mean little
    close(pair, "plain", np.abs(ours[0] - theirs).max())
    close(pair, "padded", np.abs(ours[1, :15] - pair.reference(padded)[0]).max())
    alone = np.concatenate([pair.reference(part)[0] for part in parts])
    close(pair, "packed", np.abs(ours[2, : len(alone)] - alone).max())


@pytest.mark.slow
def test_long_rows(pair: Pair) -> None:
    """Beyond the trained length of scaled models, beyond a chunk, beyond what bfloat16 counts exactly."""
    if pair.name not in FAR:
        pytest.skip("nothing is special far away")
    tokens = tokens_of(1, 300)
    positions = np.arange(300)[None]
    ours = np.asarray(jax.jit(pair.logits)(pair.params, tokens, np.ones_like(tokens), positions, None))
    close(pair, "long", np.abs(ours - pair.reference(tokens)).max())


def test_branches_equal_separate_continuations(pair: Pair) -> None:
    prompt, branches = tokens_of(1, 11, seed=1), [tokens_of(1, n, seed=2 + n) for n in (5, 8)]
    tokens = np.concatenate([prompt, *branches], axis=1)
    assert tokens.shape[1] == LENGTH
    numbers = np.repeat([0, 1, 2], [11, 5, 8])[None]
    positions = np.concatenate([np.arange(11), 11 + np.arange(5), 11 + np.arange(8)])[None]
    ours = pair.run(tokens, np.ones_like(tokens), positions, numbers)[0]
    worst, start = 0.0, 11
    for branch in branches:
        end = start + branch.shape[1]
        theirs = pair.reference(np.concatenate([prompt, branch], axis=1))[0]
        worst = max(worst, np.abs(ours[:11] - theirs[:11]).max(), np.abs(ours[start:end] - theirs[11:]).max())
        start = end
    close(pair, "branches", worst)


def test_greedy_generations_are_identical(pair: Pair) -> None:
    """Prompts of two lengths in one batch, through the cache; every step's logits equal the whole row's."""
    lengths, steps = (12, 7), 10
    prompt, at = np.zeros((2, 12), np.int32), np.full((2, 12), -1, np.int32)
    for row, n in enumerate(lengths):
        prompt[row, :n], at[row, :n] = tokens_of(n, seed=row), np.arange(n)
    logits, cache = pair.decode(pair.params, prompt, at, KVCache.empty(pair.ours.config, 2, 24))
    last = np.asarray(logits)[np.arange(2), np.array(lengths) - 1]
    rows = [list(prompt[row, :n]) for row, n in enumerate(lengths)]
    seen: list[list[np.ndarray]] = [[], []]
    for step in range(steps):
        for row in range(2):
            seen[row].append(last[row])
            rows[row].append(int(last[row].argmax()))
        token = np.array([[row[-1]] for row in rows], np.int32)
        logits, cache = pair.decode(pair.params, token, np.array(lengths, np.int32)[:, None] + step, cache)
        last = np.asarray(logits)[:, 0]
    for row, n in enumerate(lengths):
        with torch.no_grad():
            theirs = pair.theirs.generate(
                torch.from_numpy(prompt[row : row + 1, :n]).long(),
                max_new_tokens=steps, do_sample=False, eos_token_id=None, pad_token_id=0,
            )[0].tolist()  # fmt: skip
        assert rows[row] == theirs
        whole = pair.reference(np.array([rows[row]]))[0]
        close(pair, "cache", max(np.abs(a - whole[n - 1 + i]).max() for i, a in enumerate(seen[row])))


@pytest.mark.slow
def test_fresh_prefill_equals_the_general_one(pair: Pair) -> None:
    if pair.name not in MIXED:
        pytest.skip("three kinds of attention are enough")
    tokens = tokens_of(1, 16)
    positions, empty = np.arange(16, dtype=np.int32)[None], KVCache.empty(pair.ours.config, 1, 16)
    slow, cache = jax.jit(pair.ours.decode)(tokens, positions, empty)
    fast, fresh = jax.jit(functools.partial(pair.ours.decode, fresh=True))(tokens, positions, empty)
    np.testing.assert_allclose(fast, slow, atol=2e-5)
    np.testing.assert_allclose(fresh.keys, cache.keys, atol=2e-5)


def test_the_way_out_and_back_keeps_every_bit(pair: Pair, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    save(pair.ours, tmp_path / "out")
    original = load_file(pair.folder / "model.safetensors")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == original.keys()
    for name, array in original.items():
        assert array.dtype == written[name].dtype and np.array_equal(array, written[name]), name
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype="auto", attn_implementation=zoo.implementation(pair.name)
    ).eval()
    assert type(again) is type(pair.theirs)
    tokens = tokens_of(1, 20)
    with torch.no_grad():
        np.testing.assert_array_equal(
            again(torch.from_numpy(tokens).long()).logits.numpy(), pair.reference(tokens)
        )
    back = load(tmp_path / "out")
    for ours, theirs in zip(
        jax.tree.leaves(nnx.state(back)), jax.tree.leaves(nnx.state(pair.ours)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_parameters_are_counted(pair: Pair) -> None:
    config = config_from_hf(pair.folder)
    assert config_from_hf(config_to_hf(config)) == config
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(pair.ours, nnx.Param)))
    assert config.parameter_count == size == sum(p.numel() for p in pair.theirs.parameters())


@pytest.mark.slow
def test_gradients_are_finite_with_recomputation(pair: Pair) -> None:
    if pair.name not in MIXED:
        pytest.skip("three kinds of attention are enough")
    model = load(pair.folder, remat="full")
    graphdef, params = nnx.split(model, nnx.Param)
    tokens = tokens_of(1, LENGTH)
    positions = np.arange(LENGTH, dtype=np.int32)[None]

    def loss(params: nnx.State) -> jax.Array:
        logits = nnx.merge(graphdef, params)(tokens, np.ones_like(tokens), positions)
        return -jnp.mean(jax.nn.log_softmax(logits)[..., 5])

    gradient = jax.tree.leaves(jax.jit(jax.grad(loss))(params))
    assert all(bool(jnp.isfinite(leaf).all()) and bool((leaf != 0).any()) for leaf in gradient)


def test_a_text_decoder_is_read_out_of_a_model_of_text_and_images(pair: Pair, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    if pair.name != "gemma3":
        pytest.skip("Gemma 3 alone comes nested")
    text = json.loads((pair.folder / "config.json").read_text())
    text["architectures"] = None
    outer = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "eos_token_id": [2, 9],
    }
    tensors = load_file(pair.folder / "model.safetensors")
    image = {
        "vision_tower.patch": np.zeros((2, 2), np.float32),
        "multi_modal_projector.w": np.zeros(2, np.float32),
    }
    for prefix, old in (("language_model.model.", "model."), ("model.language_model.", "model.")):
        folder = tmp_path / prefix.strip(".")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**outer, "text_config": text, "vision_config": {}}))
        renamed = {prefix + name.removeprefix(old): array for name, array in tensors.items()}
        save_file({**renamed, **image}, folder / "model.safetensors")
        model = load(folder)
        assert model.config.stop_ids == (2, 9)
        for ours, theirs in zip(
            jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(pair.ours)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert config_to_hf(model.config)["architectures"] == ["Gemma3ForCausalLM"]


@pytest.mark.parametrize(
    ("described", "billions"),
    [
        ({"architectures": ["PhiForCausalLM"], "vocab_size": 51200, "hidden_size": 2560,
          "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32,
          "partial_rotary_factor": 0.4}, 2.780),
        ({"architectures": ["FalconForCausalLM"], "vocab_size": 50304, "hidden_size": 2048,
          "num_hidden_layers": 24, "num_attention_heads": 32, "alibi": True, "multi_query": False,
          "parallel_attn": False, "bias": True}, 1.312),
        ({"architectures": ["FalconForCausalLM"], "vocab_size": 65024, "hidden_size": 4544,
          "num_hidden_layers": 32, "num_attention_heads": 71}, 6.922),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "sliding_window": 1024, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}}, 3.880),
        ({"architectures": ["Qwen3ForCausalLM"], "vocab_size": 151936, "hidden_size": 2560,
          "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
          "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True}, 4.022),
        ({"architectures": ["GPTNeoXForCausalLM"], "vocab_size": 50304, "hidden_size": 2048,
          "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 8}, 1.012),
    ],
    ids=["phi-2", "falcon-rw-1b", "falcon-7b", "gemma-3-4b", "qwen3-4b", "pythia-1b"],
)  # fmt: skip
def test_published_shapes_have_their_published_size(described: dict[str, Any], billions: float) -> None:
    config = config_from_hf(described)
    assert round(config.parameter_count / 1e9, 3) == billions
    assert config_from_hf(config_to_hf(config)) == config
