"""Small models, batches and stores for the tests of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.data.pass_files import Document
from inters_jax.data.token_store import TokenStore
from inters_jax.models.config import DecoderConfig

VOCABULARY = 40
WIDTH = 16


class TinyDecoder(nnx.Module):
    """Embedding, causal mean over the segment, MLP, head; the interface of models.decoder.Decoder."""

    def __init__(self, rngs: nnx.Rngs, dtype=jnp.float32):
        def weight(*shape):
            return nnx.Param(jax.random.normal(rngs.params(), shape) * 0.3)

        self.embedding = weight(VOCABULARY, WIDTH)
        self.up = weight(WIDTH, 4 * WIDTH)
        self.down = weight(4 * WIDTH, WIDTH)
        self.norm = nnx.Param(jnp.ones((WIDTH,)))
        self.head = weight(WIDTH, VOCABULARY)
        self.dtype = dtype

    def hidden(self, tokens, segment_ids, positions):
        x = self.embedding[...][tokens].astype(self.dtype)
        length = tokens.shape[1]
        same = segment_ids[:, :, None] == segment_ids[:, None, :]
        mask = (same & (jnp.arange(length)[:, None] >= jnp.arange(length)[None])).astype(self.dtype)
        x = x + jnp.einsum("bij,bjd->bid", mask / jnp.sum(mask, -1, keepdims=True), x)
        x = x + jnp.tanh(x @ self.up[...].astype(self.dtype)) @ self.down[...].astype(self.dtype)
        x = x + jnp.cos(positions.astype(self.dtype))[..., None]
        return x * self.norm[...].astype(self.dtype)

    def logits(self, hidden, tokens=None):
        head = self.head[...] if tokens is None else self.head[...][:, jnp.asarray(tokens)]
        return (hidden @ head.astype(self.dtype)).astype(jnp.float32)


LOGICAL_AXES = {
    "embedding": ("vocab", "embed"),
    "up": ("embed", "mlp"),
    "down": ("mlp", "embed"),
    "norm": ("norm",),
    "head": ("embed", "vocab"),
}


def random_batch(seed: int, rows: int = 8, length: int = 32, slots: int = 8) -> dict[str, np.ndarray]:
    """Packed rows with two segments and padding, 1 to `slots` targets a row, different numbers per row."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, VOCABULARY, (rows, length), dtype=np.int32)
    segments = np.zeros((rows, length), np.int32)
    segments[:, : length // 2] = 1
    segments[:, length // 2 : length - 4] = 2
    positions = np.concatenate([np.arange(length // 2), np.arange(length - length // 2)])
    weights = np.zeros((rows, length), np.float32)
    loss_positions = np.full((rows, slots), length, np.int32)
    for row in range(rows):
        chosen = np.sort(rng.choice(length - 4, rng.integers(1, slots + 1), replace=False))
        weights[row, chosen] = 1.0
        loss_positions[row, : len(chosen)] = chosen
    return {
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": np.roll(tokens, -1, axis=1),
        "decoder_loss_weights": weights,
        "decoder_segment_ids": segments,
        "decoder_positions": np.tile(positions.astype(np.int32), (rows, 1)),
        "decoder_loss_positions": loss_positions,
    }


def with_documents(batch: dict[str, np.ndarray], seed: int, slots: int = 6) -> dict[str, np.ndarray]:
    """The batch with documents of one or two queries in every row but the first, at random positions."""
    rng = np.random.default_rng(seed)
    rows, length = batch["decoder_input_tokens"].shape
    positions, groups = np.full((rows, slots), length, np.int32), np.zeros((rows, slots), np.int32)
    for row in range(1, rows):
        count = rng.integers(2, slots + 1)
        positions[row, :count] = np.sort(rng.choice(length - 4, count, replace=False))
        groups[row, :count] = np.sort(rng.integers(1, 3, count))
    return batch | {
        "decoder_document_positions": positions,
        "decoder_document_groups": groups,
        "decoder_document_grades": rng.integers(0, 3, groups.shape).astype(np.float32),
        "decoder_document_teacher": rng.normal(size=groups.shape).astype(np.float32),
    }


def make_store(folder: Path, examples: int = 200, vocab_size: int = 64) -> TokenStore:
    """Two tasks of short sequences whose targets repeat their inputs, so that there is something to learn."""
    rng = np.random.default_rng(0)

    def sequences(name: str, count: int) -> list[tuple[list[int], int, str]]:
        made = []
        for number in range(count):
            body = rng.integers(3, vocab_size, rng.integers(2, 6)).tolist()
            made.append(([1, *body, *body[:2], 2], 1 + len(body), f"{name}/{number}"))
        return made

    tasks = {"copy": [sequences("copy", examples)], "small": [sequences("small", examples // 10)]}
    return TokenStore.create(folder, tasks, vocab_size=vocab_size, bos_id=1, eos_id=2, max_length=24)


def make_documents_store(folder: Path) -> TokenStore:
    """Queries with four documents, of which the one that repeats the query is relevant, and another task."""
    rng = np.random.default_rng(0)
    ranked: list[Any] = []
    for query in range(60):
        name = int(rng.integers(3, 20))
        for document in range(4):
            body = name if document == 0 else name + 20 + document
            about = Document(f"q{query}", float(document == 0))
            sequence = [1, name, body, 60 if document == 0 else 61, 2]
            ranked.append((sequence, 3, f"q{query}/{document}", about))
    copies = [([1, n % 50 + 3, n % 50 + 3, 2], 2, f"copy/{n}") for n in range(60)]
    return TokenStore.create(
        folder, {"ranked": [ranked], "copy": [copies]}, vocab_size=64, bos_id=1, eos_id=2, max_length=40,
        judgment={"common": 0, "yes": 60, "no": 61},
    )  # fmt: skip


class Prepared:
    """In place of `stores.start_preparing`: the store is there already."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def wait(self) -> TokenStore:
        return TokenStore.open(self.settings["STORE_DIR"])

    def stop(self) -> None:
        pass


TINY = DecoderConfig(
    family="llama", vocab_size=64, hidden_size=16, intermediate_size=32, num_layers=2, num_heads=2
)


def run_train(model_dir: Path, made: Path, *, store: str | None = None, **changes: Any) -> dict[str, Any]:
    """`train` on a store from `make_store`, in this process; `store` is its URL, if it lies there too."""
    from inters_jax import train
    from inters_jax.config import call
    from inters_jax.training import prepare_store

    tokenizer = Path(made).parent / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_text("{}")
    settings: dict[str, Any] = {
        "model": TINY, "init": "random", "train_steps": 12, "batch_size": 4, "max_length": 24,
        "dtype": "float32", "remat": "none", "checkpoint_every": 5, "log_every": 3,
        "learning_rate": 0.01,
    }  # fmt: skip
    settings |= {"model_dir": str(model_dir), "store_dir": store or str(made), "tokenizer": str(tokenizer)}
    original = prepare_store.start_preparing
    prepare_store.start_preparing = Prepared
    try:
        return call(train.train, **(settings | changes))
    finally:
        prepare_store.start_preparing = original
