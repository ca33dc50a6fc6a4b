"""Chunked attention and its gradients against the one-block definition."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inters_jax.models import attention as implementation
from inters_jax.models import segment_attention as segmented
from inters_jax.models.attention import (
    alibi,
    attention,
    attention_by_rows,
    attention_mask,
    cache_attention,
    reference_attention,
)
from inters_jax.models.segment_attention import segment_attention

BATCH, LENGTH, HEADS, GROUPS, SIZE = 2, 37, 4, 2, 8


def inputs(seed: int = 0, length: int = LENGTH) -> tuple[jax.Array, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(seed), 3)
    heads = (HEADS, GROUPS, GROUPS)
    q, k, v = (jax.random.normal(key, (BATCH, length, n, SIZE)) for key, n in zip(keys, heads, strict=True))
    return q, k, v


def packed() -> dict[str, jax.Array]:
    """Two rows: three segments and padding; one segment."""
    lengths = ((9, 15, 8), (LENGTH,))
    segments, positions = np.zeros((BATCH, LENGTH), np.int32), np.zeros((BATCH, LENGTH), np.int32)
    for row, parts in enumerate(lengths):
        start = 0
        for number, n in enumerate(parts):
            segments[row, start : start + n] = number + 1
            positions[row, start : start + n] = np.arange(n)
            start += n
    return {"segment_ids": jnp.asarray(segments), "positions": jnp.asarray(positions)}


def branched() -> dict[str, jax.Array]:
    """Both rows: a prompt of 10, then branches of 12, 8 and 7 that go on at position 10."""
    parts = (10, 12, 8, 7)
    branches = np.repeat(np.arange(4), parts)
    positions = np.concatenate([np.arange(10), *(10 + np.arange(n) for n in parts[1:])])
    both = lambda values: jnp.asarray(np.tile(values, (BATCH, 1)).astype(np.int32))  # noqa: E731
    ones = np.ones(LENGTH)
    return {"segment_ids": both(ones), "positions": both(positions), "branch_ids": both(branches)}


CASES: dict[str, dict[str, Any]] = {
    "packed": packed(),
    "window": {**packed(), "window": 5},
    "window of one": {**packed(), "window": 1},
    "branches": branched(),
    "branches and window": {**branched(), "window": 6},
    "soft-cap": {**packed(), "softcap": 2.0},
    "window and soft-cap": {**packed(), "window": 7, "softcap": 1.5},
    "a sliding layer": {**packed(), "window": 7, "sliding": jnp.array(True)},
    "a full layer of a mixed stack": {**packed(), "window": 7, "sliding": jnp.array(False)},
    "mixed stack and branches": {**branched(), "window": 6, "sliding": jnp.array(True), "softcap": 2.0},
    "scale": {**packed(), "scale": 0.5, "softcap": 3.0},
    "slopes": {**packed(), "slopes": jnp.array([0.5, 0.25, 0.125, 0.0625])},
    "slopes and branches": {**branched(), "slopes": jnp.array([0.5, 0.25, 0.125, 0.0625])},
}


@pytest.mark.parametrize("faster", [attention, segment_attention])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [4, 16, None])
def test_chunks_equal_the_definition(case: str, chunk: int | None, faster: Any) -> None:
    q, k, v = inputs()
    expected = reference_attention(q, k, v, **CASES[case])
    got = jax.jit(lambda *a: faster(*a, **CASES[case], chunk=chunk))(q, k, v)
    real = np.asarray(CASES[case]["segment_ids"]) > 0
    np.testing.assert_allclose(got[real], expected[real], atol=2e-6)


@pytest.mark.parametrize("case", ["packed", "branches", "a sliding layer", "slopes and branches"])
def test_rows_after_one_another_equal_all_at_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementation, "CACHED_SCORES", 1)
    arrays, weight = inputs(), jax.random.normal(jax.random.key(2), (BATCH, LENGTH, HEADS, SIZE))

    def found(function: Any) -> Any:
        loss = lambda *a: (function(*a, **CASES[case], chunk=16) * weight).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arrays)

    rows = str(jax.make_jaxpr(lambda *a: attention_by_rows(*a, **CASES[case]))(*arrays))
    assert f"f32[1,{GROUPS},{HEADS // GROUPS},{LENGTH},{LENGTH}]" in rows
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        found(attention_by_rows),
        found(attention),
    )


@pytest.mark.parametrize("faster", [attention, segment_attention])
@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_those_of_the_definition(case: str, faster: Any) -> None:
    q, k, v = inputs(1)
    real = (CASES[case]["segment_ids"] > 0)[..., None, None]
    weight = jax.random.normal(jax.random.key(2), q.shape)

    def loss(function: Any, *arrays: jax.Array, **named: Any) -> jax.Array:
        return jnp.sum(jnp.where(real, function(*arrays, **CASES[case], **named), 0) * weight)

    expected = jax.jit(jax.grad(lambda *a: loss(reference_attention, *a), (0, 1, 2)))(q, k, v)
    got = jax.jit(jax.grad(lambda *a: loss(faster, *a, chunk=16), (0, 1, 2)))(q, k, v)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)


@pytest.mark.parametrize("rows", [1, BATCH])
def test_rows_on_a_cpu_are_trained_together_as_far_as_their_scores_are_small(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implementation, "CACHED_SCORES", rows * 4 * HEADS * implementation.CHUNK * LENGTH)
    loss = lambda *a: segment_attention(*a, **packed()).sum()  # noqa: E731
    program = str(jax.make_jaxpr(jax.grad(loss))(*inputs()))
    assert f"f32[{rows},{GROUPS},{HEADS // GROUPS},{LENGTH},{LENGTH}]" in program


def test_a_chunk_reads_no_keys_before_the_segment_of_its_first_query() -> None:
    """NaN in the values of other segments would reach every mean that reads them, for 0 * NaN is NaN."""
    q, k, v = inputs(length=32)
    lengths = jnp.array([[9, 11, 12], [16, 8, 8]])
    segments = jax.vmap(lambda n: jnp.repeat(jnp.arange(1, 4), n, total_repeat_length=32))(lengths)
    ids = {"segment_ids": segments, "positions": jnp.tile(jnp.arange(32), (BATCH, 1))}
    out = segment_attention(q, k, v.at[:, :8].set(jnp.nan), **ids, chunk=4)
    read = jnp.isnan(out[..., 0, 0])
    assert not read[:, 20:].any()  # chunks from 20 on have segments that begin at 16 or later
    assert read[:, :8].all()


@pytest.mark.parametrize("count", [1, 3, 5, 12, 32, 37])
def test_chunks_that_run_at_the_same_time_divide_all_of_them(count: int) -> None:
    together = segmented._together(count)
    assert count % together == 0 and (together >= 4 or together == count)


def test_mask_by_hand() -> None:
    """A prompt of two, two branches of one; another segment; padding."""
    row = lambda *values: jnp.array([values])  # noqa: E731
    mask = attention_mask(row(1, 1, 1, 1, 2, 0), row(0, 1, 2, 2, 0, 0), row(0, 0, 1, 2, 0, 0), None)
    assert mask[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    windowed = attention_mask(row(1, 1, 1, 1), row(0, 1, 2, 2), row(0, 0, 1, 2), 2)
    assert windowed[0].astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"window": 5},
        {"window": 5, "sliding": jnp.array(True), "scale": 0.3},
        {"window": 5, "sliding": jnp.array(False), "softcap": 2.0},
        {"slopes": jnp.array([0.5, 0.25, 0.125, 0.0625])},
    ],
    ids=lambda named: " ".join(named) or "plain",
)
def test_cache_attention_equals_the_definition(named: dict[str, Any]) -> None:
    """The last positions of a row, over slots written in any number and garbage in the slots behind them."""
    q, k, v = inputs(3)
    positions = jnp.tile(jnp.arange(LENGTH), (BATCH, 1))
    segments = jnp.ones_like(positions)
    expected = reference_attention(q, k, v, segment_ids=segments, positions=positions, **named)
    spare = jnp.full((BATCH, GROUPS, 3, SIZE), 1e3)
    keys, values = (jnp.concatenate((x.transpose(0, 2, 1, 3), spare), axis=2) for x in (k, v))
    for start in (0, 20, LENGTH - 1):
        got = cache_attention(q[:, start:], keys, values, positions=positions[:, start:], **named)
        np.testing.assert_allclose(got, expected[:, start:], atol=2e-6)


def test_alibi_by_hand() -> None:
    """bfloat16 keeps 8 bits: of 300 and 302, between which 301 lies, it takes the even one."""
    got = alibi(jnp.array([0.5, 1.0]), jnp.array([[0, 3, 301]]), scale=0.5, groups=1)
    assert got.shape == (1, 1, 2, 1, 3)
    assert got[0, 0, :, 0].tolist() == [[0.0, 0.75, 75.0], [0.0, 1.5, 150.0]]


def test_padding_is_finite_and_its_gradient_too() -> None:
    q, k, v = inputs(4)
    named = {**packed(), "segment_ids": jnp.zeros((BATCH, LENGTH), jnp.int32)}
    gradient = jax.grad(lambda q: attention(q, k, v, **named, window=3).sum())(q)
    assert bool(jnp.isfinite(gradient).all())
    nothing = jnp.full((BATCH, 1), -1)
    out = cache_attention(q[:, :1], k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), positions=nothing)
    assert bool(jnp.isfinite(out).all())


def test_bfloat16_keeps_the_softmax_in_float32() -> None:
    q, k, v = (x.astype(jnp.bfloat16) for x in inputs(5))
    exact = reference_attention(*(x.astype(jnp.float32) for x in (q, k, v)), **packed())
    got = attention(q, k, v, **packed(), chunk=16)
    assert got.dtype == jnp.bfloat16
    # One rounding of the weights and one of the result; a bfloat16 softmax would be several times as far off.
    np.testing.assert_allclose(got.astype(jnp.float32), exact, atol=0.02)


def test_no_intermediate_is_as_large_as_the_square_of_the_row() -> None:
    length = 1024
    shape = jax.ShapeDtypeStruct((1, length, HEADS, SIZE), jnp.float32)
    small = jax.ShapeDtypeStruct((1, length, GROUPS, SIZE), jnp.float32)
    ids = jnp.ones((1, length), jnp.int32)

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attention(q, k, v, segment_ids=ids, positions=jnp.arange(length)[None]).sum()

    sizes: list[int] = []

    def visit(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            sizes.extend(
                int(np.prod(out.aval.shape)) for out in equation.outvars if hasattr(out.aval, "shape")
            )
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    visit(inner)

    visit(jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(shape, small, small).jaxpr)
    assert max(sizes) <= HEADS * 128 * length < HEADS * length * length
