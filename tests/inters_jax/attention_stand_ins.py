"""Packed rows, the difference to the definition, and what cuDNN does, for the tests of attention.

As a program, with eight simulated devices: the largest differences over meshes, as JSON.

    JAX_NUM_CPU_DEVICES=8 python attention_stand_ins.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inters_jax.mesh import make_mesh
from inters_jax.models import cudnn
from inters_jax.models.attention import reference_attention
from inters_jax.models.attention_backends import choose
from inters_jax.models.splash import SplashBlocks

BLOCKS = SplashBlocks(*[128] * 6)


def rows(
    lengths: tuple[tuple[int, ...], ...], length: int, heads: int = 4, groups: int = 2, size: int = 16
) -> dict[str, jax.Array]:
    """Random q, k, v, and packed rows of these segments followed by padding."""
    keys = jax.random.split(jax.random.key(length), 3)
    count = len(lengths)
    q, k, v = (
        jax.random.normal(key, (count, length, n, size))
        for key, n in zip(keys, (heads, groups, groups), strict=True)
    )
    segments, positions = np.zeros((count, length), np.int32), np.zeros((count, length), np.int32)
    for row, parts in enumerate(lengths):
        start = 0
        for number, n in enumerate(parts):
            segments[row, start : start + n] = number + 1
            positions[row, start : start + n] = np.arange(n)
            start += n
    return {"q": q, "k": k, "v": v, "segment_ids": jnp.asarray(segments), "positions": jnp.asarray(positions)}


def difference(attend: Callable[..., jax.Array], data: dict[str, jax.Array], **options: Any) -> float:
    """Largest difference to the definition, of results and of gradients of q, k and v, padding left out."""
    ids = {name: data[name] for name in ("segment_ids", "positions")}
    real = (data["segment_ids"] > 0)[..., None, None]
    weights = jax.random.normal(jax.random.key(1), data["q"].shape)

    def both(function: Callable[..., jax.Array]) -> Any:
        def run(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
            out = jnp.where(real, function(q, k, v, **ids, **options), 0.0)
            return (out * weights).sum(), out

        return jax.jit(jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True))

    arrays = data["q"], data["k"], data["v"]
    (_, out), gradients = both(attend)(*arrays)
    (_, expected), wanted = both(reference_attention)(*arrays)
    pairs = zip((out, *gradients), (expected, *wanted), strict=True)
    return max(float(jnp.max(jnp.abs(a.astype(jnp.float32) - b))) for a, b in pairs)


def cudnn_stand_in(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: None,
    mask: None,
    q_seqlen: jax.Array,
    kv_seqlen: jax.Array,
    q_offsets: jax.Array,
    kv_offsets: jax.Array,
    *,
    scale: float,
    mask_type: Any,
    sliding_window_length: int | None,
) -> jax.Array:
    """JAX's wrapper of cuDNN by its own documentation: sequences given by offset and length, each causal.

    Positions of no sequence give NaN: cuDNN leaves their memory as it is.
    """
    assert bias is None and mask is None and mask_type.name == "PADDING_CAUSAL"
    assert query.shape == key.shape == value.shape
    assert q_seqlen.shape[1] + 1 == q_offsets.shape[1] == kv_offsets.shape[1]
    at = jnp.arange(query.shape[1])[None, :, None]

    def number(offsets: jax.Array, lengths: jax.Array) -> jax.Array:
        starts = offsets[:, None, :-1]
        inside = (starts >= 0) & (at >= starts) & (at < starts + lengths[:, None, :])
        return jnp.where(inside.any(-1), inside.argmax(-1), -1)

    of_query, of_key = number(q_offsets, q_seqlen), number(kv_offsets, kv_seqlen)
    rows, columns = at[0], at[0].T
    allowed = (rows >= columns) & (of_query[:, :, None] == of_key[:, None, :]) & (of_query >= 0)[:, :, None]
    if sliding_window_length is not None:
        allowed &= columns > rows - sliding_window_length
    scores = jnp.einsum("bihk,bjhk->bhij", query, key) * scale
    weights = jax.nn.softmax(jnp.where(allowed[:, None], scores, -1e30), axis=-1)
    out = jnp.einsum("bhij,bjhk->bihk", weights, value)
    return jnp.where((of_query >= 0)[..., None, None], out, jnp.nan)


def over_meshes() -> dict[str, float]:
    """Largest difference of the kernels, divided over eight devices, to the definition on one."""
    cudnn.wrapper.dot_product_attention = cudnn_stand_in
    lengths = ((70, 5, 90), (120, 60))
    cases: dict[str, tuple[str, dict[str, jax.Array], dict[str, Any]]] = {
        "splash, heads divided": ("fsdp=2,tensor=4", rows(lengths, 200), {"window": 37, "softcap": 5.0}),
        "splash, positions divided": (
            "fsdp=2,tensor=2,sequence=2", rows(lengths, 200, groups=1),
            {"window": 37, "sliding": jnp.array(True)},
        ),
        "splash, rows that do not divide": ("fsdp=4,sequence=2", rows(lengths, 200), {}),
        "cudnn, heads divided": ("fsdp=2,tensor=4", rows(lengths, 200), {"window": 37}),
    }  # fmt: skip
    out = {}
    for name, (line, data, options) in cases.items():
        mesh = make_mesh(line)
        if name.startswith("splash"):
            out[name] = difference(
                choose("splash", mesh=mesh, blocks=BLOCKS, interpret=True), data, **options
            )
        else:

            def attend(*arrays: jax.Array, mesh: Any = mesh, **ids: Any) -> jax.Array:
                return cudnn.cudnn_attention(*arrays, **ids, mesh=mesh)

            out[name] = difference(attend, data, **options)
    return out


if __name__ == "__main__":
    assert jax.device_count() == 8
    print(json.dumps(over_meshes()))
