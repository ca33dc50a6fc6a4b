"""The decoder against transformers on tiny models of every family, and what must not change a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.models.cache import KVCache
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf.config_json import config_from_hf, config_to_hf
from inters_jax.models.hf.folder import load, save

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 5e-5
SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 500000.0,
}
LINEAR_ROPE = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
# name -> (transformers model, what its config adds)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama2": ("Llama", {}),
    "llama3": ("Llama", {"num_key_value_heads": 2, "rope_parameters": LLAMA3_ROPE}),
    "llama-linear-rope": ("Llama", {"rope_parameters": LINEAR_ROPE}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True, "head_dim": 16}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 7}),
    "mistral-full": ("Mistral", {"num_key_value_heads": 2, "sliding_window": None}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2-window": (
        "Qwen2",
        {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0},
    ),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16}),
    "gemma": ("Gemma", {"num_key_value_heads": 1, "head_dim": 16}),
}


class Pair:
    """A transformers model, its folder, and the decoder loaded from that folder."""

    def __init__(self, name: str, folder: Path) -> None:
        kind, extra = MODELS[name]
        config = getattr(transformers, f"{kind}Config")(**SHAPE, **extra)
        torch.manual_seed(0)
        self.theirs = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
        with torch.no_grad():
            for key, value in self.theirs.named_parameters():
                if (
                    value.ndim == 1
                ):  # norms start at one and biases at zero, which would hide an error in either
                    value.add_(0.3 * torch.randn_like(value))
                elif "embed_tokens" not in key or config.tie_word_embeddings:
                    value.mul_(6.0)  # logits of a trained model's size
        self.folder = folder
        self.theirs.save_pretrained(folder)
        self.ours = load(folder)

    def reference(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        with torch.no_grad():
            out = self.theirs(
                torch.from_numpy(tokens).long(),
                position_ids=None if positions is None else torch.tensor(positions).long(),
            )
        return out.logits.numpy()


# These differ from a model above by one switch.
SLOW = ("llama-linear-rope", "mistral-full", "qwen2-window")
PARAMETERS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODELS]


@pytest.fixture(scope="module", params=PARAMETERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("models") / request.param)


def tokens_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SHAPE["vocab_size"], shape, dtype=np.int32)


def plain(tokens: np.ndarray, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """segment_ids, positions of unpacked rows."""
    positions = np.broadcast_to(np.arange(start, start + tokens.shape[1], dtype=np.int32), tokens.shape)
    return np.ones_like(tokens), positions


def run(model: Decoder, *arrays: Any, **named: Any) -> np.ndarray:
    graphdef, params = nnx.split(model)

    @jax.jit
    def logits(params: nnx.State, arrays: tuple[Any, ...], named: dict[str, Any]) -> jax.Array:
        merged = nnx.merge(graphdef, params)
        return merged.logits(merged.hidden(*arrays, **named))

    return np.asarray(logits(params, arrays, named))


def report(record: Any, pair: Pair, name: str, difference: float) -> None:
    record(name, float(difference))  # a plain number: xdist sends it between processes
    print(f"\n{pair.folder.name:20s} {name:8s} {difference:.2e}", end="")
    assert difference <= TOLERANCE


def test_logits_equal_transformers(pair: Pair, record_property: Any) -> None:
    tokens = tokens_of(2, 40)
    theirs, ours = pair.reference(tokens), run(pair.ours, tokens, *plain(tokens))
    assert np.abs(theirs).max() > 1.0  # otherwise the bar would mean little
    report(record_property, pair, "plain", np.abs(theirs - ours).max())


def test_logits_at_high_positions_equal_transformers(pair: Pair, record_property: Any) -> None:
    tokens = tokens_of(1, 16)
    _, positions = plain(tokens, start=480)
    theirs = pair.reference(tokens, positions)
    report(
        record_property,
        pair,
        "far",
        np.abs(theirs - run(pair.ours, tokens, np.ones_like(tokens), positions)).max(),
    )


def test_padding_changes_nothing(pair: Pair, record_property: Any) -> None:
    tokens, lengths = tokens_of(2, 24), (24, 15)
    segments, positions = (array.copy() for array in plain(tokens))
    segments[1, 15:], positions[1, 15:] = 0, 0
    ours = run(pair.ours, tokens, segments, positions)
    worst = max(
        np.abs(ours[row, :n] - pair.reference(tokens[row : row + 1, :n])[0]).max()
        for row, n in enumerate(lengths)
    )
    report(record_property, pair, "padded", worst)


def test_packed_segments_equal_each_alone(pair: Pair, record_property: Any) -> None:
    lengths = (13, 9, 14)
    parts = [tokens_of(1, n, seed=n) for n in lengths]
    tokens = np.concatenate([*parts, np.zeros((1, 4), np.int32)], axis=1)
    segments = np.concatenate([np.full(n, i + 1) for i, n in enumerate(lengths)] + [np.zeros(4)])[None]
    positions = np.concatenate([np.arange(n) for n in (*lengths, 4)])[None]
    ours = run(pair.ours, tokens, segments.astype(np.int32), positions.astype(np.int32))
    theirs = np.concatenate([pair.reference(part) for part in parts], axis=1)
    report(record_property, pair, "packed", np.abs(theirs - ours[:, : sum(lengths)]).max())


def test_cache_equals_the_full_row(pair: Pair, record_property: Any) -> None:
    tokens, lengths, total = tokens_of(2, 20), (12, 7), 20
    theirs = pair.reference(tokens)
    graphdef, params = nnx.split(pair.ours)

    @jax.jit
    def decode(params: nnx.State, tokens: jax.Array, positions: jax.Array, cache: KVCache) -> Any:
        model = nnx.merge(graphdef, params)
        hidden, cache = model.decode(tokens, positions, cache)
        return model.logits(hidden), cache

    # Prompts of different lengths in one batch: -1 is padding, before and behind the prompt.
    prompt, at = np.zeros((2, 14), np.int32), np.full((2, 14), -1, np.int32)
    for row, (n, left) in enumerate(zip(lengths, (0, 4), strict=True)):
        prompt[row, left : left + n], at[row, left : left + n] = tokens[row, :n], np.arange(n)
    logits, cache = decode(params, prompt, at, KVCache.empty(pair.ours.config, 2, total))
    worst = max(
        np.abs(np.asarray(logits)[row, left : left + n] - theirs[row, :n]).max()
        for row, (n, left) in enumerate(zip(lengths, (0, 4), strict=True))
    )
    slots = np.abs(np.asarray(cache.keys)).sum(axis=(0, 2, 4))
    assert (slots[0, :12] > 0).all() and (slots[0, 12:] == 0).all()
    assert (slots[1, :7] > 0).all() and (slots[1, 7:] == 0).all()
    here = np.array(lengths)
    while (here < total).any():
        going = here < total
        step = np.where(going, tokens[[0, 1], np.minimum(here, total - 1)], 0)[:, None].astype(np.int32)
        logits, cache = decode(params, step, np.where(going, here, -1)[:, None].astype(np.int32), cache)
        for row in np.flatnonzero(going):
            worst = max(worst, np.abs(np.asarray(logits)[row, 0] - theirs[row, here[row]]).max())
        here = here + going
    report(record_property, pair, "cache", worst)


def test_fresh_prefill_and_prefill_in_parts_agree(pair: Pair) -> None:
    tokens = tokens_of(2, 20)
    positions = np.stack([np.arange(20), np.where(np.arange(20) < 13, np.arange(20), -1)]).astype(np.int32)
    empty = KVCache.empty(pair.ours.config, 2, 24)
    slow, cache = pair.ours.decode(tokens, positions, empty)
    fast, fresh = pair.ours.decode(tokens, positions, empty, fresh=True)
    first, part = pair.ours.decode(tokens[:, :9], positions[:, :9], empty)
    second, part = pair.ours.decode(tokens[:, 9:], positions[:, 9:], part)
    real = positions >= 0
    whole = jnp.concatenate((first, second), axis=1)
    np.testing.assert_allclose(fast[real], slow[real], atol=2e-5)
    np.testing.assert_allclose(whole[real], slow[real], atol=2e-5)
    for other in (fresh, part):
        np.testing.assert_allclose(other.keys, cache.keys, atol=2e-5)
        np.testing.assert_allclose(other.values, cache.values, atol=2e-5)


def test_branches_equal_separate_continuations(pair: Pair, record_property: Any) -> None:
    prompt = tokens_of(1, 11, seed=1)
    branches = [tokens_of(1, n, seed=2 + n) for n in (3, 5, 1)]
    tokens = np.concatenate([prompt, *branches], axis=1)
    numbers = np.concatenate([np.zeros(11), *(np.full(b.shape[1], i + 1) for i, b in enumerate(branches))])
    positions = np.concatenate([np.arange(11), *(11 + np.arange(b.shape[1]) for b in branches)])
    # A second prompt behind the first: branches must not leak into another segment either.
    both = np.concatenate([tokens, tokens], axis=1)
    segments = np.repeat([1, 2], tokens.shape[1])[None].astype(np.int32)
    twice = lambda values: np.tile(values, 2)[None].astype(np.int32)  # noqa: E731
    ours = run(pair.ours, both, segments, twice(positions), branch_ids=twice(numbers))
    worst, width = 0.0, tokens.shape[1]
    for offset in (0, width):
        start = 11
        for branch in branches:
            end = start + branch.shape[1]
            theirs = pair.reference(np.concatenate([prompt, branch], axis=1))[0]
            worst = max(worst, np.abs(ours[0, offset : offset + 11] - theirs[:11]).max())
            worst = max(worst, np.abs(ours[0, offset + start : offset + end] - theirs[11:]).max())
            start = end
    report(record_property, pair, "branches", worst)


def test_written_folder_is_the_same_model(pair: Pair, tmp_path: Path, record_property: Any) -> None:
    from safetensors.numpy import load_file

    save(pair.ours, tmp_path / "out", max_shard_bytes=20_000)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 1
    written = {name: array for file in files for name, array in load_file(tmp_path / "out" / file).items()}
    original = load_file(pair.folder / "model.safetensors")
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in original.values())
    assert written.keys() == original.keys()
    for name, array in original.items():
        assert array.dtype == written[name].dtype and np.array_equal(array, written[name]), name

    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").eval()
    tokens = tokens_of(1, 30)
    with torch.no_grad():
        logits = again(torch.from_numpy(tokens).long()).logits.numpy()
    report(record_property, pair, "reload", np.abs(logits - pair.reference(tokens)).max())
    assert type(again) is type(pair.theirs)
    np.testing.assert_array_equal(
        run(load(tmp_path / "out"), tokens, *plain(tokens)), run(pair.ours, tokens, *plain(tokens))
    )


def test_config_survives_the_way_there_and_back(pair: Pair) -> None:
    config = config_from_hf(pair.folder)
    assert config_from_hf(config_to_hf(config)) == config
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(pair.ours, nnx.Param)))
    assert config.parameter_count == size == sum(p.numel() for p in pair.theirs.parameters())
