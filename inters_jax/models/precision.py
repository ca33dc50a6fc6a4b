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
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils  # agreeing across hosts has no other public name
from jax.typing import DTypeLike

from inters_jax.models.config import ModelError
from inters_jax.models.products import product

PRODUCTS = "bfloat16_products"
AUTO = "auto"

# bfloat16 products must save more than the rounding of their operands costs, and more than noise.
MIN_SPEEDUP = 1.3
ROUNDS = 4


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


def resolve(compute_type: str, platform: str | None = None) -> str:
    """The compute type of a setting on a platform: what "auto" stands for there.

    Args:
      compute_type: a name of the module docstring.
      platform: "cpu", "gpu" or "tpu"; None: that of the devices that JAX uses.

    Raises:
      ModelError: the platform has no such type.
    """
    platform = platform or jax.default_backend()
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
def products_speedup() -> float:
    """How many times as fast as float32 this CPU multiplies operands that it rounds to bfloat16.

    By processor time: other work on the machine changes the wall-clock time, and with it the choice.
    """
    clock = time.process_time
    rates = [
        (product_rate(PRODUCTS, clock=clock), product_rate("float32", clock=clock)) for _ in range(ROUNDS)
    ]
    bfloat16, float32 = map(max, zip(*rates, strict=True))
    return bfloat16 / float32


def product_rate(
    compute_type: str, size: int = 1024, tries: int = 4, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Operations per second of a CPU: the best of a few products of two float32 matrices [size, size].

    Args:
      compute_type: of the operands, as in `precision_of`.
      size: of the matrices; a product of the default size takes milliseconds.
      tries: how many products are timed, after one that is not.
      clock: in seconds.
    """
    kind = precision_of(compute_type)
    multiply = jax.jit(product if kind.bfloat16_products else jnp.matmul)
    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(kind.activations)
    on_cpu = jax.device_put(matrix, jax.local_devices(backend="cpu")[0])
    multiply(on_cpu, on_cpu).block_until_ready()
    best = float("inf")
    for _ in range(tries):
        start = clock()
        multiply(on_cpu, on_cpu).block_until_ready()
        best = min(best, clock() - start)
    return 2.0 * size**3 / best
