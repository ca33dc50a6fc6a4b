"""Compiles the real train step for a topology and reads its memory, FLOPs and time from the result."""

from __future__ import annotations

import dataclasses
import re
import time as clocks
from math import prod
from typing import Any

import jax

from inters_jax import mesh as meshes
from inters_jax.planning import analytic, hlo
from inters_jax.planning.devices import DEVICES, PlanError
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import LOCAL, Topology
from inters_jax.training.program import Program, build_program

_NEEDED = re.compile(
    r"\(([\d.]+)([KMGT])i?B?\) exceeds available HBM|Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm", re.I
)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The compiler's figures of a step; memory and FLOPs are per device."""

    settings: Settings
    fits: bool
    needed: float  # bytes, peak
    memory: analytic.Memory | None  # None if it does not fit: the compiler then reports the total only
    seconds: float  # compilation time
    flops: float = 0.0  # matrix products only; loop bodies count once per iteration
    time: analytic.Time | None = None
    peak: float = 0.0  # bytes in use at once according to the compiler; `needed` is what it reserves
    cycles: int = 0  # the compiler's estimate (TPU)
    optimal_seconds: float = 0.0  # as XLA reports it: loop bodies count once
    xla_flops: float = 0.0  # as XLA reports it: loop bodies count once
    collectives: tuple[tuple[str, int, float], ...] = ()  # kind, times a step, bytes sent


def make_program(settings: Settings, topology: Topology) -> Program:
    """The program that `train` runs with these settings."""
    settings.check(topology)
    if topology.name != LOCAL:
        _keep_off_devices()
    return build_program(
        settings.config,
        device_mesh=meshes.make_mesh(settings.mesh, topology.devices()),
        optimizer=settings.optimizer,
        total_steps=max(1000, int(settings.optimizer.warmup)),  # of the schedule, which takes no memory
        batch_size=settings.batch_size,
        max_length=settings.max_length,
        dtype=settings.dtype,
        remat=settings.remat,
        microbatches=settings.microbatches,
        max_logits=settings.max_logits,
        attention=settings.attention,
        lora=settings.lora,
        rules=settings.rules,
        splash_blocks=settings.splash_blocks,
    )


def compile_step(settings: Settings, topology: Topology) -> Compiled:
    """Compile the step and read its figures; also those of a program that does not fit.

    Raises:
      PlanError: the compiler failed for another reason than memory.
    """
    program = make_program(settings, topology)
    lowered = program.lower(loss_positions=settings.loss_positions)
    start = clocks.monotonic()
    try:
        compiled = lowered.compile(compiler_options=dict(settings.compiler_options) or None)
    except jax.errors.JaxRuntimeError as error:
        needed = refused(str(error))
        if needed is None:
            raise PlanError(f"{topology.name}: the compiler failed: {str(error).splitlines()[0]}") from error
        return Compiled(settings, False, needed, None, clocks.monotonic() - start)
    return read(settings, topology, program, compiled, clocks.monotonic() - start)


def refused(message: str) -> float | None:
    """Bytes that a program needs which the compiler refused, from its message; None for other errors.

    >>> refused("total memory required for HLO temporaries (16.5G) exceeds available HBM (15G).") / 2**30
    16.5
    >>> refused("Ran out of memory in memory space hbm. Used 17.25G of 15.75G hbm.") / 2**30
    17.25
    """
    found = _NEEDED.search(message)
    if found is None:
        return None
    number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
    return float(number) * _UNITS[unit.upper()]


def read(settings: Settings, topology: Topology, program: Program, compiled: Any, seconds: float) -> Compiled:
    """The figures of a compiled step."""
    stats = compiled.memory_analysis()
    text = hlo.Program(compiled.as_text())
    costs = compiled.cost_analysis() or {}
    device = topology.device
    parameters = _bytes_per_device(program.like.params) + _bytes_per_device(program.frozen)
    gradients = sum(
        prod(leaf.sharding.shard_shape(leaf.shape)) * 4 for leaf in jax.tree.leaves(program.like.params)
    ) * (2 if settings.microbatches > 1 else 1)
    temporary = stats.temp_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes
    memory = analytic.Memory(
        parameters=parameters,
        # The remaining arguments: the moments, and the batch, which is small.
        optimizer=stats.argument_size_in_bytes - parameters,
        gradients=min(gradients, temporary),
        activations=max(0.0, temporary - gradients),
        code=stats.generated_code_size_in_bytes,
    )
    kinds: dict[str, tuple[int, float]] = {}
    for one in text.collectives():
        times, sent = kinds.get(one.kind, (0, 0.0))
        kinds[one.kind] = (times + one.count, sent + one.sent)
    network = sum(sent for _, sent in kinds.values())
    kernels = text.custom_calls("tpu_custom_call")
    compute = text.flops / device.peak_flops if device.peak_flops else 0.0
    if device.clock and text.cycles:
        compute = text.cycles / device.clock
    if kernels:  # attention kernels, which the compiler's estimates leave out
        compute += analytic.kernel_seconds(settings, topology)
    return Compiled(
        settings=settings,
        fits=memory.total <= device.memory or _compiler_checks_memory(topology),
        needed=memory.total,
        memory=memory,
        seconds=seconds,
        flops=text.flops,
        time=analytic.Time(
            compute=compute,
            memory=text.traffic / device.bandwidth if device.bandwidth else 0.0,
            network=network / topology.links if topology.links else 0.0,
        ),
        peak=float(getattr(stats, "peak_memory_in_bytes", 0) or 0),
        cycles=text.cycles,
        optimal_seconds=float(costs.get("optimal_seconds", 0.0)),
        xla_flops=float(costs.get("flops", 0.0)),
        collectives=tuple((kind, times, sent) for kind, (times, sent) in sorted(kinds.items())),
    )


def _compiler_checks_memory(topology: Topology) -> bool:
    """Whether the compiler itself refuses programs that do not fit: true for TPUs with all their memory.

    A program that it accepts fits, even if the sizes of its parts add up to more: some parts share memory.
    """
    whole = DEVICES.get(topology.device.name)
    return whole is not None and whole.platform == "tpu" and topology.device.memory >= whole.memory


def _bytes_per_device(tree: Any) -> float:
    """Bytes of the shard of every array."""
    return float(
        sum(
            prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )
    )


def _keep_off_devices() -> None:
    """Trace on the CPU: compiling for a described topology must not make JAX look for real TPUs."""
    jax.config.update("jax_platforms", "cpu")
