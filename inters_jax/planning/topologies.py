"""Named sets of devices: Cloud TPU slices, GPUs of one host, and the local devices.

Slices have Google's names. v5e and v6e count chips; v4 and v5p count cores, two per chip. JAX has one device
per chip:

    v5e-8    8 devices, 2x4 chips          v4-32   16 devices, 2x2x4 chips
    v6e-8    8 devices, 2x4 chips          v5p-8    4 devices, 2x2x1 chips

TPU slices need not be present: libtpu describes them and compiles for them on any x86 Linux machine.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from math import prod
from typing import Any

import jax
from jax.experimental import topologies
from packaging.requirements import Requirement

from inters_jax.planning.devices import DEVICES, Device, PlanError, device, of_kind
from seqio_tasks.base import nearest

_FLAT = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16)}
_CUBIC = {
    8: (2, 2, 1), 16: (2, 2, 2), 32: (2, 2, 4), 64: (2, 4, 4), 128: (4, 4, 4), 256: (4, 4, 8), 512: (4, 8, 8),
}  # fmt: skip
_GRIDS: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "v4": _CUBIC,
    "v5p": _CUBIC,
    "v5e": _FLAT,
    "v6e": _FLAT,
}
_ALIASES = {"v5litepod": "v5e"}
_GPU_COUNTS = (1, 2, 4, 8)
LOCAL = "local"
_INSTALL = 'pip install "jax[tpu]" installs the libtpu that belongs to the installed jax; no TPU is needed'


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices that a step can be planned for.

    grid: arrangement of TPU chips; () for GPUs and local devices.
    """

    name: str
    device: Device
    count: int
    grid: tuple[int, ...] = ()

    @property
    def compiles(self) -> bool:
        """Whether this machine can compile a program for it."""
        return self.name == LOCAL or self.device.platform == "tpu"

    @property
    def links(self) -> float:
        """Bytes per second and direction between a device and the others, over all usable links.

        An axis of a slice has one link per direction, two if it is a ring; an open axis is limited by its
        ends.
        """
        if not self.grid:
            return self.device.link
        ring = self.device.wraps_from or 10**9
        return self.device.link * sum(2 if size >= ring else 1 for size in self.grid if size > 1)

    def devices(self) -> Sequence[Any]:
        """The devices: descriptions (TPU) or real ones (local).

        Raises:
          PlanError: GPUs, or TPUs without libtpu.
        """
        if self.name == LOCAL:
            return jax.devices()
        if self.device.platform != "tpu":
            raise PlanError(f"{self.name}: programs for GPUs can only be compiled on a machine with a GPU")
        return _describe(self)


def known() -> list[str]:
    """Every name that `resolve` accepts."""
    tpus = [f"{kind}-{count}" for kind, grids in _GRIDS.items() for count in grids]
    gpus = [
        f"{entry.name}-{count}"
        for entry in DEVICES.values()
        if entry.platform == "gpu"
        for count in _GPU_COUNTS
    ]
    return [*tpus, *gpus, LOCAL]


def resolve(name: str, memory: float | None = None) -> Topology:
    """The topology with this name.

    >>> resolve("v4-32").grid, resolve("v4-32").count, resolve("v5litepod-8").name
    ((2, 2, 4), 16, 'v5e-8')

    Args:
        name: such as "v5e-8", "v4-32", "h100-8", or "local".
        memory: bytes per device; None: those of the table.

    Raises:
        PlanError: the name is unknown.
    """
    match = re.fullmatch(r"([a-z0-9]+?)-(\d+)", name.strip().lower())
    if name == LOCAL:
        found = _present()
    elif match and (kind := _ALIASES.get(match[1], match[1])) in _GRIDS and int(match[2]) in _GRIDS[kind]:
        grid = _GRIDS[kind][int(match[2])]
        found = Topology(f"{kind}-{match[2]}", device(kind), prod(grid), grid)
    elif (
        match and match[1] in DEVICES and DEVICES[match[1]].platform == "gpu" and int(match[2]) in _GPU_COUNTS
    ):
        found = Topology(f"{match[1]}-{match[2]}", device(match[1]), int(match[2]))
    else:
        raise PlanError(
            f"topology {name!r} is not known{nearest(name, known())}; known: {', '.join(known())}"
        )
    if memory is None:
        return found
    return dataclasses.replace(found, device=dataclasses.replace(found.device, memory=float(memory)))


def larger(topology: Topology) -> Topology | None:
    """The next larger slice of the same kind, if there is one."""
    kind = topology.device.name
    same = [resolve(name) for name in known() if name.rpartition("-")[0] == kind]
    return min((one for one in same if one.count > topology.count), key=lambda one: one.count, default=None)


def _present() -> Topology:
    devices = jax.devices()
    entry = of_kind(devices[0].device_kind)
    if entry is None:
        # A kind outside the table: its memory if it reports it, and no peak.
        limit = (devices[0].memory_stats() or {}).get("bytes_limit", 0) if devices[0].platform != "cpu" else 0
        entry = Device(devices[0].device_kind, devices[0].platform, limit or _host_memory(), 0.0, 0.0, 0.0)
    return Topology(LOCAL, entry, len(devices))


def _host_memory() -> float:
    """Memory of this machine per device; simulated devices share it."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / jax.device_count()


def _wrong_libtpu() -> str | None:
    """What is wrong with the installed libtpu. jaxlib cannot read what a later one compiles."""
    needed = [Requirement(line) for line in metadata.requires("jax") or ()]
    found = metadata.version("libtpu")
    for requirement in needed:
        if requirement.name == "libtpu" and not requirement.specifier.contains(found):
            return f"libtpu {found} is installed; jax {jax.__version__} needs libtpu{requirement.specifier}"
    return None


@functools.cache  # the devices of two descriptions are not equal
def _describe(topology: Topology) -> Sequence[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise PlanError(f"{topology.name}: the package libtpu is missing: {_INSTALL}")
    if wrong := _wrong_libtpu():
        raise PlanError(f"{topology.name}: {wrong}: {_INSTALL}")
    # Without these, libtpu waits for the metadata server of a cloud machine.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # compiling does not use the TPU
    options: dict[str, Any] = {"chip_config_name": "megacore" if len(topology.grid) == 3 else "default"}
    if topology.count == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    layout = "x".join(map(str, topology.grid))
    described = topologies.get_topology_desc(
        platform="tpu", topology_name=f"{topology.device.name}:{layout}", **options
    )
    return described.devices
