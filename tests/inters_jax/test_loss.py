"""The loss at target positions equals the loss over all logits, in any chunking; free slots count nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inters_jax.training import loss as losses

ROWS, LENGTH, WIDTH, VOCABULARY = 3, 12, 5, 17


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    positions = np.full((ROWS, 7), LENGTH, np.int32)
    positions[0, :7] = [0, 2, 3, 5, 7, 9, 11]
    positions[1, :3] = [1, 4, 6]
    weights = np.zeros((ROWS, LENGTH), np.float32)
    weights[0, [0, 2, 3, 5, 7, 9, 11]] = [1, 1, 0.5, 1, 2, 1, 1]
    weights[1, [1, 4, 6]] = 1
    return {
        "hidden": rng.normal(size=(ROWS, LENGTH, WIDTH)).astype(np.float32),
        "head": rng.normal(size=(WIDTH, VOCABULARY)).astype(np.float32),
        "targets": rng.integers(0, VOCABULARY, (ROWS, LENGTH), dtype=np.int32),
        "weights": weights,
        "positions": positions,
    }


def row_losses(case, hidden=None, head=None, **options):
    """Loss sums and weight sums of every row, [rows] and [rows]."""
    weighted, weight = losses.weighted_losses(
        jnp.asarray(case["hidden"] if hidden is None else hidden),
        lambda x: x @ jnp.asarray(case["head"] if head is None else head),
        jnp.asarray(case["targets"]),
        jnp.asarray(case["weights"]),
        jnp.asarray(case["positions"]),
        vocabulary=VOCABULARY,
        **options,
    )
    return jnp.sum(weighted, axis=1), weight


def by_hand(case):
    logits = case["hidden"].astype(np.float64) @ case["head"].astype(np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_softmax, case["targets"][..., None], -1)[..., 0]
    return -(chosen * case["weights"]).sum(1)


@pytest.mark.parametrize("max_logits", [losses.MAX_LOGITS, ROWS * VOCABULARY * 4, ROWS * VOCABULARY * 2, 1])
def test_equals_the_loss_over_all_positions(case, max_logits):
    summed, weight = row_losses(case, max_logits=max_logits)
    np.testing.assert_allclose(summed, by_hand(case), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weight, case["weights"].sum(1))
    assert summed[2] == 0 and weight[2] == 0  # a row without targets


@pytest.mark.parametrize("max_logits", [ROWS * VOCABULARY * 4, 1])
def test_gradients_do_not_depend_on_the_chunking(case, max_logits):
    def total(hidden, head, limit):
        return jnp.sum(row_losses(case, hidden, head, max_logits=limit)[0])

    whole = jax.grad(total, argnums=(0, 1))(case["hidden"], case["head"], losses.MAX_LOGITS)
    chunked = jax.grad(total, argnums=(0, 1))(case["hidden"], case["head"], max_logits)
    for one, other in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_whatever_lies_in_free_slots_is_ignored(case):
    expected, _ = row_losses(case)
    spoiled = case["hidden"].copy()
    spoiled[1, 0] = np.nan  # the position that free slots of row 1 read
    spoiled[2, 0] = np.inf
    summed, _ = row_losses(case, hidden=spoiled)
    np.testing.assert_array_equal(summed[1:], expected[1:])


def test_log_softmax_is_float32_and_stable_for_bfloat16_logits():
    logits = jnp.asarray([[3e4, 0.0, -3e4]], jnp.bfloat16)
    assert losses.token_losses(logits, jnp.asarray([0]))[0] == 0
    assert losses.token_losses(logits, jnp.asarray([1])).dtype == jnp.float32


def test_no_array_of_all_logits_exists(case):
    rows, length, slots, vocabulary = 4, 256, 64, 1000

    def total(hidden, head):
        return jnp.sum(
            losses.weighted_losses(
                hidden,
                lambda x: x @ head,
                jnp.zeros((rows, length), jnp.int32),
                jnp.ones((rows, length)),
                jnp.tile(jnp.arange(slots), (rows, 1)),
                vocabulary=vocabulary,
                max_logits=rows * 16 * vocabulary,
            )[0]
        )

    arguments = (jnp.zeros((rows, length, WIDTH)), jnp.zeros((WIDTH, vocabulary)))
    text = str(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(*arguments))
    assert f"f32[{rows},16,{vocabulary}]" in text
    assert f"f32[{rows},{slots},{vocabulary}]" not in text and f"[{rows},{length},{vocabulary}]" not in text
