"""Checksums of arrays: one flipped bit anywhere changes them, sharding and place of computing do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inters_jax import checksums as sums
from inters_jax import mesh as meshes

ARRAYS = {
    "float32": np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32),
    "bfloat16": np.linspace(-1, 1, 64).astype(jnp.bfloat16).reshape(8, 8),
    "int32": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
    "int8": np.arange(-9, 9, dtype=np.int8),
    "bool": np.arange(7) % 3 == 0,
    "uint32": np.uint32(7).reshape(()),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_devices_and_the_host_compute_the_same(kind):
    array = ARRAYS[kind]
    assert sums._sum_on_host(array, kind, block=5) == int(sums._sum_on_devices(jnp.asarray(array), kind))


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int32", "int8"])
def test_every_single_flipped_bit_changes_the_sum(kind):
    array = ARRAYS[kind]
    expected = sums.checksums({"x": jnp.asarray(array)})["x"][kind]
    raw = array.tobytes()
    for bit in range(0, 8 * len(raw), 3):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        other = np.frombuffer(bytes(flipped), array.dtype).reshape(array.shape)
        assert f"{sums._sum_on_host(other, kind):08x}" != expected


def test_exchanged_elements_change_the_sum():
    assert sums.differences(
        {"x": jnp.asarray([2.0, 1.0])}, sums.checksums({"x": jnp.asarray([1.0, 2.0])})
    ) == ["x"]


def test_a_sharded_array_has_the_sum_of_the_whole():
    mesh = meshes.make_mesh()
    whole = ARRAYS["float32"]
    axes = jax.sharding.PartitionSpec(None, mesh.axis_names)
    if 40 % mesh.size:
        pytest.skip(f"40 columns do not divide over {mesh.size} devices")
    sharded = jax.device_put(whole, jax.sharding.NamedSharding(mesh, axes))
    assert int(sums._sum_on_devices(sharded, "float32")) == sums._sum_on_host(whole, "float32")
