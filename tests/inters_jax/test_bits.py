"""bfloat16 weights are indexed as integers: with equal results and gradients, and no float32 copy."""

from __future__ import annotations

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.models import bits
from inters_jax.models.cache import KVCache
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=96, hidden_size=48, intermediate_size=80, num_layers=7, num_heads=6, num_kv_heads=2
)


def test_a_scan_and_its_gradients_are_those_of_jax() -> None:
    key = jax.random.key(0)
    weights = {
        "narrow": jax.random.normal(key, (5, 8, 8)).astype(jnp.bfloat16),
        "wide": jax.random.normal(key, (5, 8)),
        "number": jnp.arange(5),
    }

    def step(x: jax.Array, layer: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x = jnp.tanh(x @ layer["narrow"].astype(jnp.float32) + layer["wide"]) * (layer["number"] + 1)
        return x, x.sum()

    def loss(narrow: jax.Array, wide: jax.Array, scan: object) -> jax.Array:
        x, sums = scan(step, jnp.ones(8), weights | {"narrow": narrow, "wide": wide})  # type: ignore[operator]
        return x.sum() + (sums**2).sum()

    def found(scan: object) -> object:
        return jax.jit(jax.value_and_grad(lambda *a: loss(*a, scan), (0, 1)))(
            weights["narrow"], weights["wide"]
        )

    ours, theirs = found(bits.scan), found(jax.lax.scan)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert [gradient.dtype for gradient in ours[1]] == [jnp.bfloat16, jnp.float32]  # type: ignore[index]
    assert all(np.abs(np.asarray(gradient, np.float32)).max() > 0 for gradient in ours[1])  # type: ignore[index]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("axis", [0, 1])
def test_taken_rows_and_their_gradients_are_those_of_jax(dtype: str, axis: int) -> None:
    table = jax.random.normal(jax.random.key(0), (6, 6)).astype(dtype)
    index = jnp.array([3, 0, 3, 9])
    theirs = jnp.take(table, index, axis=axis, mode="fill")
    ours = bits.take(table, index, axis)
    assert ours.dtype == table.dtype and bool(jnp.isnan(jnp.take(ours, 3, axis=axis)).all())
    np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(theirs, np.float32))

    def gradient(taken: Callable[[jax.Array], jax.Array]) -> np.ndarray:
        weight = jnp.arange(18.0).reshape((3, 6) if axis == 0 else (6, 3))
        return np.asarray(jax.grad(lambda t: (taken(t) * weight).sum())(table), np.float32)

    known = index[:3]
    found = gradient(lambda t: bits.take(t, known, axis))
    np.testing.assert_array_equal(found, gradient(lambda t: jnp.take(t, known, axis=axis, mode="fill")))
    assert found.any()


def test_a_decoder_on_a_cpu_makes_no_float32_copy_of_its_stacked_weights() -> None:
    model = Decoder(CONFIG, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16, dtype="bfloat16_products")
    graph, params = nnx.split(model, nnx.Param)

    def one(params: nnx.State, tokens: jax.Array, cache: KVCache) -> tuple[jax.Array, KVCache]:
        model = nnx.merge(graph, params)
        hidden, cache = model.decode(tokens, jnp.zeros_like(tokens), cache)
        return model.logits(hidden), cache

    def whole(params: nnx.State, tokens: jax.Array) -> jax.Array:
        model = nnx.merge(graph, params)
        return model.logits(model.hidden(tokens, jnp.ones_like(tokens), jnp.arange(8)[None]), [1, 2])

    tokens = jnp.ones((1, 8), jnp.int32)
    programs = [
        jax.jit(one).lower(params, tokens[:, :1], KVCache.empty(CONFIG, 1, 16)),
        jax.jit(whole).lower(params, tokens),
    ]
    shapes = {leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 2} | {(96, 48)}
    for program in programs:
        text = program.compile().as_text()
        found = {tuple(map(int, m.split(","))) for m in re.findall(r"f32\[([\d,]+)\]", text)}
        assert not found & shapes
