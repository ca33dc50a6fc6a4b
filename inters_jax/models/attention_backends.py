"""The attention implementation, chosen by hardware.

    splash     TPU: JAX's Pallas kernel (`splash.py`)
    cudnn      NVIDIA GPU: cuDNN flash attention (`cudnn.py`)
    xla        any platform: queries in chunks (`attention.py`; on one CPU `segment_attention.py`)
    reference  any platform: the definition, in one [L, L] block

"auto" is the first of these that the platform has. What a kernel does not support (branches, ALiBi slopes,
and what `unsupported` lists) falls back to xla; the reason is logged once.
"""

from __future__ import annotations

import dataclasses
import functools
import logging

import jax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from inters_jax.models import cudnn, splash
from inters_jax.models.attention import attention, reference_attention
from inters_jax.models.config import ModelError
from inters_jax.models.segment_attention import segment_attention
from inters_jax.models.splash import SplashBlocks

BACKENDS = ("auto", "xla", "splash", "cudnn", "reference")
KERNELS = {"tpu": "splash", "gpu": "cudnn", "cuda": "cudnn"}  # the best of a platform; xla elsewhere

# Below these a kernel mostly processes padding.
MIN_LENGTH = 128
MIN_HEAD = 64

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Attention:
    """An implementation with the signature of `inters_jax.models.attention.attention`; made by `choose`."""

    backend: str  # used wherever it supports the call; any of `BACKENDS` except "auto"
    platform: str
    mesh: Mesh | None = None
    blocks: SplashBlocks | None = None  # None: SplashBlocks()
    capability: tuple[int, int] | None = None  # of a GPU
    interpret: bool = False

    def __call__(
        self,
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        *,
        segment_ids: jax.Array,
        positions: jax.Array,
        branch_ids: jax.Array | None = None,
        window: int | None = None,
        sliding: jax.Array | None = None,
        softcap: float | None = None,
        scale: float | None = None,
        slopes: jax.Array | None = None,
        bfloat16_products: bool = False,
        chunk: int | None = None,
    ) -> jax.Array:
        """q: [B, L, H, K]; k, v: [B, L, G, K] -> [B, L, H, K]; arguments as in `attention`."""
        reason = self.unsupported(
            length=q.shape[1],
            head_dim=q.shape[-1],
            dtype=q.dtype,
            value_dim=v.shape[-1],
            branches=branch_ids is not None,
            slopes=slopes is not None,
            softcap=softcap is not None,
        )
        if reason is not None:
            _warn_once(f"attention: xla instead of {self.backend}: {reason}")
        name = self.backend if reason is None else "xla"
        if name == "splash":
            return splash.splash_attention(
                q, k, v, segment_ids=segment_ids, window=window, sliding=sliding, softcap=softcap,
                scale=scale, mesh=self.mesh, blocks=self.blocks, interpret=self.interpret,
            )  # fmt: skip
        if name == "cudnn":
            return cudnn.cudnn_attention(
                q, k, v, segment_ids=segment_ids, positions=positions, window=window, sliding=sliding,
                scale=scale, mesh=self.mesh, variant=self._variant(q.shape[1]) or "packed",
            )  # fmt: skip
        faster = segment_attention if self.within_segments else attention
        plain = reference_attention if name == "reference" else faster
        return plain(
            q, k, v, segment_ids=segment_ids, positions=positions, branch_ids=branch_ids, window=window,
            sliding=sliding, softcap=softcap, scale=scale, slopes=slopes,
            bfloat16_products=bfloat16_products, chunk=chunk,
        )  # fmt: skip

    @property
    def within_segments(self) -> bool:
        """Whether long rows cost no more than short ones, because nothing is computed between segments."""
        one = self.mesh is None or self.mesh.size == 1
        return self.backend == "xla" and self.platform == "cpu" and one

    def unsupported(
        self,
        *,
        length: int,
        head_dim: int,
        dtype: DTypeLike = "bfloat16",
        value_dim: int | None = None,
        branches: bool = False,
        slopes: bool = False,
        softcap: bool = False,
    ) -> str | None:
        """Why the backend does not support a call; None if it does.

        >>> choose("auto", platform="gpu").unsupported(length=2048, head_dim=256, softcap=True)
        'cuDNN has no soft-cap'
        """
        if self.backend not in KERNELS.values():
            return None
        if branches:
            return "its mask has no branches of a prompt"
        if slopes:
            return "it has no ALiBi slopes"
        if value_dim not in (None, head_dim):
            return f"values of size {value_dim} with keys of size {head_dim}"
        if not self.interpret and (length < MIN_LENGTH or head_dim < MIN_HEAD):
            least = f"{MIN_LENGTH} positions and heads of {MIN_HEAD}"
            return f"{length} positions with heads of {head_dim} are too small; it needs {least}"
        return (
            self._unsupported_by_cudnn(length, head_dim, dtype, softcap) if self.backend == "cudnn" else None
        )

    def _unsupported_by_cudnn(
        self, length: int, head_dim: int, dtype: DTypeLike, softcap: bool
    ) -> str | None:
        if softcap:
            return "cuDNN has no soft-cap"
        if jax.numpy.dtype(dtype).name not in ("bfloat16", "float16"):
            return f"cuDNN computes in bfloat16 or float16, not {jax.numpy.dtype(dtype).name}"
        largest = 256 if self.capability is not None and self.capability >= cudnn.HOPPER else 128
        if head_dim > largest or head_dim % 8:
            return f"cuDNN needs heads of at most {largest} on this GPU, a multiple of 8, not {head_dim}"
        if self.mesh is not None and self.mesh.shape["sequence"] > 1:
            return "cuDNN does not shard rows over devices (MESH has sequence > 1)"
        if self._variant(length) is None:
            return f"rows of {length} on a GPU before Hopper would need a bias of length x length"
        return None

    def _variant(self, length: int) -> str | None:
        return cudnn.variant_for(self.capability, length)


def choose(
    backend: str = "auto",
    *,
    platform: str | None = None,
    mesh: Mesh | None = None,
    blocks: SplashBlocks | None = None,
    capability: tuple[int, int] | None = None,
    interpret: bool = False,
) -> Attention:
    """Choose the attention implementation of a machine.

    Args:
      backend: one of `BACKENDS`.
      platform: "cpu", "gpu" or "tpu"; None: that of the mesh, or JAX's default.
      mesh: devices over which the arrays are sharded; kernels then run on each device's shard.
      blocks: block sizes of splash; None: `SplashBlocks()`.
      capability: compute capability of the GPU; None: that of the devices, unless `platform` is given.
      interpret: emulate splash on any platform; for tests.

    Raises:
      ModelError: there is no such backend, or the platform does not have it.

    >>> choose("auto", platform="tpu").backend, choose("auto", platform="cpu").backend
    ('splash', 'xla')
    """
    if backend not in BACKENDS:
        raise ModelError(f"ATTENTION={backend!r} is not known; choose one of {', '.join(BACKENDS)}")
    if platform is None:
        platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
        capability = _capability(mesh) if capability is None else capability
        if platform == "gpu" and capability is None:
            platform = "a GPU of another vendor"
    best = KERNELS.get(platform, "xla")
    if backend == "auto":
        backend = "splash" if interpret else best
    elif backend in KERNELS.values() and backend != best and not interpret:
        needs = "a TPU" if backend == "splash" else "an NVIDIA GPU"
        raise ModelError(f"ATTENTION={backend!r} needs {needs}, this is {platform}; choose 'auto' or 'xla'")
    return Attention(backend, platform, mesh, blocks or SplashBlocks(), capability, interpret)


def _capability(mesh: Mesh | None) -> tuple[int, int] | None:
    """The compute capability of the NVIDIA GPUs in use; None for other devices."""
    device = jax.local_devices()[0] if mesh is None else mesh.devices.flat[0]
    text = getattr(device, "compute_capability", None)
    if not isinstance(text, str) or not text.replace(".", "").isdigit():
        return None
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


@functools.cache
def _warn_once(message: str) -> None:
    """Log a warning once, though a decoder issues it for each program that it is part of."""
    log.warning(message)
