"""Compute types: products with bfloat16 operands, what is saved for the backward pass, and what "auto" is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inters_jax.models import precision
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder
from inters_jax.models.products import product, product_with_rows


def rounded(x: np.ndarray) -> np.ndarray:
    """x as a product sees it, in float64."""
    return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(8, 6, 10), (7, 11, 13), (16, 1, 4), (4, 12, 6), (1, 7, 5)]
)
def test_products_round_their_operands_and_nothing_else(
    batch: tuple[int, ...], rows: int, inner: int, columns: int
) -> None:
    a, b = arrays((*batch, rows, inner), (*batch, inner, columns))
    exact = rounded(a) @ rounded(b)
    np.testing.assert_allclose(jax.jit(product)(a, b), exact, rtol=1e-5, atol=1e-5)
    turned = np.swapaxes(b, -1, -2)
    np.testing.assert_allclose(jax.jit(product_with_rows)(a, turned), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(8, 6, 10), (7, 11, 13), (8, 10, 6), (1, 7, 5)])
def test_gradients_are_products_of_rounded_operands(
    batch: tuple[int, ...], rows: int, inner: int, columns: int
) -> None:
    a, b, g = arrays((*batch, rows, inner), (*batch, inner, columns), (*batch, rows, columns))
    of_a, of_b = jax.jit(lambda a, b, g: jax.vjp(product, a, b)[1](g))(a, b, g)
    np.testing.assert_allclose(of_a, rounded(g) @ np.swapaxes(rounded(b), -1, -2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_b, np.swapaxes(rounded(a), -1, -2) @ rounded(g), rtol=1e-5, atol=1e-5)
    turned = np.swapaxes(b, -1, -2)
    of_a, of_b = jax.jit(lambda a, b, g: jax.vjp(product_with_rows, a, b)[1](g))(a, turned, g)
    np.testing.assert_allclose(of_a, rounded(g) @ np.swapaxes(rounded(b), -1, -2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_b, np.swapaxes(rounded(g), -1, -2) @ rounded(a), rtol=1e-5, atol=1e-5)


def test_one_row_is_multiplied_as_a_matrix() -> None:
    """XLA's CPU backend multiplies a bfloat16 vector and a matrix by a loop, ten times slower."""
    text = jax.jit(product).lower(*arrays((1, 64), (64, 32))).compile().as_text()
    assert "bf16[2,64]" in text and "bf16[1,64]{1,0} fusion" not in text


def test_gradients_have_the_type_of_the_weights() -> None:
    a, b = jnp.ones((2, 4)), jnp.ones((4, 3), jnp.bfloat16)
    of_a, of_b = jax.grad(lambda a, b: product(a, b).sum(), argnums=(0, 1))(a, b)
    assert (of_a.dtype, of_b.dtype) == (jnp.float32, jnp.bfloat16)


CONFIG = DecoderConfig(
    vocab_size=64, hidden_size=48, intermediate_size=80, num_layers=2, num_heads=6, num_kv_heads=2
)


def losses_and_gradients(config: DecoderConfig, dtype: str) -> tuple[float, dict]:
    from flax import nnx

    model = Decoder(config, rngs=nnx.Rngs(params=0), dtype=dtype)
    graph, params = nnx.split(model, nnx.Param)
    rng = np.random.default_rng(1)
    tokens = jnp.asarray(rng.integers(0, 64, (2, 160)))
    segments = jnp.asarray(np.repeat([[1, 2]], 80, axis=1).repeat(2, 0))
    positions = jnp.asarray(np.tile(np.arange(80), 2)[None].repeat(2, 0))

    def loss(params: nnx.State) -> jax.Array:
        logits = nnx.merge(graph, params)(tokens, segments, positions)
        return -jax.nn.log_softmax(logits)[:, :-1][..., 5].mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    return float(value), nnx.to_pure_dict(gradients)


@pytest.mark.parametrize("tie", [True, False])
def test_a_decoder_with_bfloat16_products_learns_what_one_in_float32_learns(tie: bool) -> None:
    import dataclasses

    config = dataclasses.replace(CONFIG, tie_embeddings=tie)
    exact, expected = losses_and_gradients(config, "float32")
    found, gradients = losses_and_gradients(config, "bfloat16_products")
    assert found != exact and found == pytest.approx(exact, rel=1e-3)
    for path, leaf in jax.tree_util.tree_flatten_with_path(expected)[0]:
        other = dict(jax.tree_util.tree_flatten_with_path(gradients)[0])[path]
        assert np.linalg.norm(other - leaf) <= 0.02 * np.linalg.norm(leaf), path


def test_activations_stay_float32() -> None:
    from flax import nnx

    model = Decoder(CONFIG, rngs=nnx.Rngs(params=0), dtype="bfloat16_products")
    tokens = jnp.zeros((1, 8), jnp.int32)
    assert model.hidden(tokens, tokens + 1, jnp.arange(8)[None]).dtype == jnp.float32
    assert model.precision.name == "bfloat16_products" and model.precision.weights == jnp.bfloat16


@pytest.mark.parametrize(("speedup", "chosen"), [(2.1, "bfloat16_products"), (1.1, "float32")])
def test_auto_measures_a_cpu(monkeypatch: pytest.MonkeyPatch, speedup: float, chosen: str) -> None:
    monkeypatch.setattr(precision, "products_speedup", lambda: speedup)
    assert precision.resolve("auto", "cpu") == chosen
    assert precision.resolve("auto", "tpu") == precision.resolve("auto", "gpu") == "bfloat16"
    assert precision.resolve("float32", "tpu") == "float32"


def test_the_speedup_is_measured_in_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside other work, wall-clock time chose float32 on a CPU that is twice as fast with bfloat16."""

    def disturbed() -> float:
        raise AssertionError("wall-clock time was read")

    monkeypatch.setattr(precision.time, "perf_counter", disturbed)
    precision.products_speedup.cache_clear()
    assert 0.05 < precision.products_speedup() < 50


def test_bfloat16_products_are_refused_where_bfloat16_is_as_good() -> None:
    with pytest.raises(ModelError, match="is for CPUs, and this is tpu; choose 'bfloat16'"):
        precision.resolve("bfloat16_products", "tpu")
