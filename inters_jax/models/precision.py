"""Compute types: the types of activations and of the operands of matrix products.

    name                activations    operands of products    for
    float32             float32        float32                 any platform
    bfloat16            bfloat16       bfloat16                TPU, GPU
    float16             float16        float16                 GPU
    bfloat16_products   float32        bfloat16                CPUs with bfloat16 products (AVX512-BF16, AMX)
    auto                the fastest of the platform, of those that keep the range of float32

Products accumulate in float32; norms, softmax and logits are float32 with each of them.
"""

from __future__ import annotations

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.typing import DTypeLike

from inters_jax.models.config import ModelError
from inters_jax.models.products import product

PRODUCTS = "bfloat16_products"
AUTO = "auto"

# bfloat16 products must save more than the rounding of their operands costs, and more than noise.
MIN_SPEEDUP = 1.3


@dataclasses.dataclass(frozen=True)
class Precision:
    """The types in which a decoder computes."""

    activations: jnp.dtype
    bfloat16_products: bool = False

    @property
    def name(self) -> str:
        """The name of the compute type."""
        return PRODUCTS if self.bfloat16_products else self.activations.name

    @property
    def weights(self) -> jnp.dtype:
        """The narrowest type in which weights can be stored without changing a product."""
        return jnp.dtype(jnp.bfloat16) if self.bfloat16_products else self.activations


def precision_of(compute_type: DTypeLike) -> Precision:
    """The types of a compute type: a name of the module docstring except "auto", or a dtype.

    >>> precision_of("bfloat16_products").activations.name, precision_of("bfloat16").name
    ('float32', 'bfloat16')
    """
    if compute_type == PRODUCTS:
        return Precision(jnp.dtype(jnp.float32), bfloat16_products=True)
    return Precision(jnp.dtype(compute_type))


def resolve(compute_type: str, platform: str) -> str:
    """The compute type of a setting on a platform: what "auto" stands for there.

    Raises:
      ModelError: the platform has no such type.
    """
    if compute_type == PRODUCTS and platform != "cpu":
        raise ModelError(f"DTYPE='{PRODUCTS}' is for CPUs, and this is {platform}; choose 'bfloat16'")
    if compute_type != AUTO:
        return compute_type
    if platform != "cpu":
        return "bfloat16"
    speedup = products_speedup()
    if jax.process_count() > 1:  # hosts of one run must agree
        speedup = float(multihost_utils.broadcast_one_to_all(np.float32(speedup)))
    return PRODUCTS if speedup >= MIN_SPEEDUP else "float32"


@functools.cache
def products_speedup(rows: int = 1024, width: int = 1024, tries: int = 3) -> float:
    """How many times as fast as float32 this CPU multiplies operands that it rounds to bfloat16.

    It times products [rows, width] x [width, width], the best of each type: a tenth of a second.
    """
    a, b = (jnp.asarray(np.random.default_rng(0).normal(size=(n, width)), jnp.float32) for n in (rows, width))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        kinds = [jax.jit(kind) for kind in (jnp.matmul, product)]
        best = [np.inf, np.inf]
        for attempt in range(tries + 1):
            for number, multiply in enumerate(kinds):
                start = time.perf_counter()
                multiply(a, b).block_until_ready()
                if attempt:  # the first compiles
                    best[number] = min(best[number], time.perf_counter() - start)
    return best[0] / best[1]
