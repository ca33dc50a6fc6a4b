"""Memory, speed and bandwidth of single devices, by kind.

Sources, all from the manufacturers (bf16 figures are dense, without structured sparsity):

* TPU v4: docs.cloud.google.com/tpu/docs/v4 (275 TFLOP/s, 32 GiB, 1,228 GB/s, six links of 50 GB/s each way)
* TPU v5e: docs.cloud.google.com/tpu/docs/v5e (197 TFLOP/s, 16 GB, 819 GB/s, four links, 400 GB/s both ways)
* TPU v5p: docs.cloud.google.com/tpu/docs/v5p (459 TFLOP/s, 95 GiB, 2,765 GB/s, six links, 1,200 GB/s both)
* TPU v6e: docs.cloud.google.com/tpu/docs/v6e (918 TFLOP/s, 32 GB, 1,638 GB/s, four links, 800 GB/s both)
* A100, H100, H200 (SXM): NVIDIA's data sheets (312, 989, 989 TFLOP/s; NVLink 600, 900, 900 GB/s both ways)
* RTX 3090, 4090: NVIDIA's Ampere GA102 and Ada white papers, bf16 products accumulated in float32.

`memory` is what a program can use. The TPU compiler reserves a part; where it was seen to report the rest as
"available HBM", that is the figure here (15.75 GiB of v5e). GPUs lose about 6 % to the driver and to JAX's
allocator.

`clock` converts the compiler's estimated cycles to seconds. Where it is not published, it is the clock at
which the most efficient matrix products, in the compiler's estimate, reach the published peak.
"""

from __future__ import annotations

import dataclasses

from seqio_tasks.base import UserError, nearest

GIB = 2**30


class PlanError(UserError):
    """A question that the planner cannot answer; the message says what it knows."""


@dataclasses.dataclass(frozen=True)
class Device:
    """One device as JAX counts them: a TPU chip (both cores of v4 and v5p) or a GPU."""

    name: str
    platform: str  # "tpu", "gpu" or "cpu"
    memory: float  # bytes that a program can use
    peak_flops: float  # bf16 FLOPs per second
    bandwidth: float  # bytes per second between memory and cores
    link: float  # bytes per second and direction of one link (TPU), or of the whole device (GPU)
    clock: float | None = None  # cycles per second (TPU)
    wraps_from: int | None = None  # an axis of at least this many chips is a ring


DEVICES = {
    device.name: device
    for device in (
        Device("v4", "tpu", 31.25 * GIB, 275e12, 1228e9, 50e9, 1.05e9, 4),
        Device("v5e", "tpu", 15.75 * GIB, 197e12, 819e9, 50e9, 1.5e9, 16),
        Device("v5p", "tpu", 94.75 * GIB, 459e12, 2765e9, 100e9, 1.75e9, 4),
        Device("v6e", "tpu", 31.25 * GIB, 918e12, 1638e9, 100e9, 1.75e9, 16),
        Device("a100", "gpu", 0.94 * 80e9, 312e12, 2039e9, 300e9),
        Device("h100", "gpu", 0.94 * 80e9, 989e12, 3350e9, 450e9),
        Device("h200", "gpu", 0.94 * 141e9, 989e12, 4800e9, 450e9),
        Device("rtx3090", "gpu", 0.94 * 24 * GIB, 71e12, 936e9, 16e9),
        Device("rtx4090", "gpu", 0.94 * 24 * GIB, 165e12, 1008e9, 32e9),
    )
}

# JAX's `device_kind` -> name.
KINDS = {
    "TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5e": "v5e", "TPU v5": "v5p", "TPU v5p": "v5p",
    "TPU v6 lite": "v6e", "TPU v6e": "v6e",
}  # fmt: skip


def device(name: str) -> Device:
    """The device with this name.

    Raises:
      PlanError: the name is unknown.
    """
    if name in DEVICES:
        return DEVICES[name]
    raise PlanError(f"device {name!r} is not known{nearest(name, DEVICES)}; known: {', '.join(DEVICES)}")


def of_kind(kind: str) -> Device | None:
    """The device with this `jax.Device.device_kind`, or None.

    >>> of_kind("NVIDIA H200").name, of_kind("TPU v5 lite").name, of_kind("cpu")
    ('h200', 'v5e', None)
    """
    if kind in KINDS:
        return DEVICES[KINDS[kind]]
    plain = kind.lower().replace(" ", "").replace("geforce", "")
    return next((entry for name, entry in DEVICES.items() if entry.platform == "gpu" and name in plain), None)
