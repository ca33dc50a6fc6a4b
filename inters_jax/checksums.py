"""Checksums of the arrays of a checkpoint: a changed bit on disk is noticed when it is read.

The sum of an array does not depend on how it is sharded: the bits of each element are mixed with its position
by a function that is one-to-one for each position, and the results are added modulo 2^32. A change of one
element always changes the sum; any other change goes unnoticed once in 2^32 times. Devices compute it at the
speed of their memory, and a pod needs one all-reduce of a number per array.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# name of an array -> type as which it may be read -> 8 hex digits
Checksums = Mapping[str, Mapping[str, str]]


def checksums(
    arrays: Mapping[str, jax.Array], other_types: tuple[str, ...] = ()
) -> dict[str, dict[str, str]]:
    """The checksums of arrays; on several hosts all call it together.

    Args:
      arrays: by name; of numbers of at most 32 bits.
      other_types: types as which floating arrays may be read as well (a cast to them is deterministic).

    Returns:
      For each name the checksum of the array in its own type and in the other types.

    >>> checksums({"bias": jnp.zeros(3), "count": jnp.zeros((), jnp.int32)}, ("bfloat16",))
    {'bias': {'float32': '194d4a53', 'bfloat16': '194d4a53'}, 'count': {'int32': '1efee872'}}
    """
    return {
        name: {
            kind: f"{_checksum(x, kind):08x}"
            for kind in dict.fromkeys(
                (str(x.dtype), *(other_types if jnp.issubdtype(x.dtype, jnp.floating) else ()))
            )
        }
        for name, x in arrays.items()
    }


def differences(arrays: Mapping[str, jax.Array], stored: Checksums) -> list[str]:
    """The names of arrays whose checksum is not the stored one of their type.

    Arrays that have no stored checksum of their type are not compared.
    """
    known = {name: x for name, x in arrays.items() if str(x.dtype) in stored.get(name, {})}
    return [
        name
        for name, found in checksums(known).items()
        if any(value != stored[name][kind] for kind, value in found.items())
    ]


def readable_type(kind: Any, stored: Mapping[str, str]) -> Any:
    """The type as which an array is read to be checked: the wanted one, or else the stored one."""
    return kind if not stored or str(jnp.dtype(kind)) in stored else jnp.dtype(next(iter(stored)))


def _checksum(x: jax.Array, kind: str) -> int:
    if jax.default_backend() == "cpu" and x.is_fully_addressable:
        return _sum_on_host(np.asarray(x), kind)  # nothing to compile
    return int(np.asarray(_sum_on_devices(x, kind)))


def _sum_on_host(x: np.ndarray, kind: str, block: int = 1 << 16) -> int:
    flat = x.reshape(-1)
    total = 0
    for start in range(0, flat.size, block):  # blocks stay in the cache of a processor
        part = flat[start : start + block].astype(jnp.dtype(kind))
        bits = part.view(f"uint{8 * part.itemsize}").astype(np.uint32)
        place = np.arange(start, start + part.size).astype(np.uint32)
        total += int(_mixed(bits, place).sum(dtype=np.uint64))
    return total % 2**32


@functools.partial(jax.jit, static_argnums=1)
def _sum_on_devices(x: jax.Array, kind: str) -> jax.Array:
    x = x.astype(kind)
    x = x.astype(jnp.uint8) if x.dtype == jnp.bool_ else x
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(x.ndim)):
        place += jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= x.shape[axis]
    return jnp.sum(_mixed(bits, place), dtype=jnp.uint32)


def _mixed(bits: Any, place: Any) -> Any:
    """uint32 of the same shape; each line is one-to-one in the bits ("lowbias32", an integer hash)."""
    bits = bits ^ (place * np.uint32(0x9E3779B9) + np.uint32(0x85EBCA6B))
    bits = (bits ^ (bits >> 16)) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * np.uint32(0x846CA68B)
    return bits ^ (bits >> 16)
