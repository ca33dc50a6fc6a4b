"""A plan as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from inters_jax.planning import analytic
from inters_jax.planning.advice import Suggestion
from inters_jax.planning.analytic import Memory, Time
from inters_jax.planning.compile import Compiled
from inters_jax.planning.devices import GIB
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import Topology
from seqio_tasks.base import write_text

Rows = list[tuple[str, str, str]]  # what, figure, where it comes from


@dataclasses.dataclass(frozen=True)
class Plan:
    """The answer: compiled where that is possible, and the analytic estimate in any case."""

    settings: Settings
    topology: Topology
    estimate: Memory
    estimated_time: Time
    compiled: Compiled | None
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def memory(self) -> Memory | None:
        """Memory by kind from the best source; None if the compiler refused the program."""
        return self.estimate if self.compiled is None else self.compiled.memory

    @property
    def needed(self) -> float:
        """Bytes per device."""
        return self.estimate.total if self.compiled is None else self.compiled.needed

    @property
    def fits(self) -> bool:
        """Whether the step fits its devices."""
        return self.needed <= self.topology.device.memory if self.compiled is None else self.compiled.fits

    @property
    def source(self) -> str:
        """Where the figures come from."""
        return "analytic estimate" if self.compiled is None else "compiled"

    @property
    def time(self) -> Time:
        """Seconds of a step from the best source."""
        found = self.compiled.time if self.compiled is not None else None
        return found or self.estimated_time

    def tokens_per_second(self, seconds: float) -> float:
        """Positions a second if a step takes `seconds`."""
        return self.settings.tokens / seconds if seconds else 0.0

    def utilisation(self, seconds: float) -> float:
        """Model-FLOPs utilisation if a step takes `seconds`."""
        peak = self.topology.device.peak_flops * self.topology.count
        return analytic.model_flops(self.settings) / (seconds * peak) if seconds and peak else 0.0


def gib(number: float) -> str:
    """
    >>> gib(3 * 2**30), gib(5e6)
    ('3.00 GiB', '0.005 GiB')
    """
    return f"{number / GIB:.2f} GiB" if number >= GIB / 100 else f"{number / GIB:.3f} GiB"


def tables(plan: Plan) -> list[tuple[str, Rows]]:
    """(title, rows) of every table of the plan."""
    return [table for table in (_memory(plan), _work(plan), _time(plan), _advice(plan)) if table[1]]


def _memory(plan: Plan) -> tuple[str, Rows]:
    memory, rows = plan.memory, []
    compiled = plan.compiled is not None
    if memory is not None:
        rows = [
            ("parameters", gib(memory.parameters), "shapes and shardings" if compiled else "estimate"),
            ("optimiser", gib(memory.optimizer), "shapes and shardings" if compiled else "estimate"),
            ("gradients", gib(memory.gradients), "shapes and shardings" if compiled else "estimate"),
            ("activations, copies", gib(memory.activations), "compiler's temporaries less gradients"
             if compiled else "estimate"),
        ]  # fmt: skip
        if compiled:
            rows.append(("code", gib(memory.code), "compiler"))
    else:
        rows = [
            (f"{name} (estimate)", gib(getattr(plan.estimate, name)), "the compiler gave a total only")
            for name in ("parameters", "optimizer", "gradients", "activations")
        ]
    if plan.compiled is not None and plan.compiled.peak:
        rows.append(("in use at once", gib(plan.compiled.peak), "compiler"))
    available = plan.topology.device.memory
    rows.append(("together", gib(plan.needed), plan.source))
    rows.append(("available", gib(available), f"{plan.topology.device.name}"))
    free = available - plan.needed
    if plan.fits and free < 0:
        rows.append(("fits", gib(0), "the compiler placed it all: some of the parts above share memory"))
    else:
        word = "fits" if plan.fits else "does NOT fit"
        rows.append((word, gib(abs(free)), "free" if plan.fits else "too much"))
    return "Memory per device", rows


def _work(plan: Plan) -> tuple[str, Rows]:
    settings, count = plan.settings, plan.topology.count
    model, hardware = analytic.model_flops(settings), analytic.hardware_flops(settings)
    rows = [
        ("model FLOPs per step", f"{model:.3e}", "6N + attention, all devices"),
        ("FLOPs with recomputation", f"{hardware:.3e}", "estimate, all devices"),
    ]
    found = plan.compiled
    if found is not None and found.time is not None:
        rows.append(("products in the program", f"{found.flops * count:.3e}", "compiled, without kernels"))
        for kind, times, sent in found.collectives:
            rows.append((kind, f"{sent / 1e9:.3f} GB", f"sent per device, {times} a step"))
    return "Work of a step", rows


def _time(plan: Plan) -> tuple[str, Rows]:
    time = plan.time
    if not time.compute or (plan.compiled is not None and plan.compiled.time is None):
        return "Time of a step", []
    cycles = plan.compiled is not None and plan.compiled.cycles > 0
    source = "compiler's cycle estimates" if cycles else "FLOPs / peak"
    if plan.compiled is None:
        source = "FLOPs / peak (roofline)"
    rows = [
        ("cores", f"{time.compute:.3f} s", source),
        ("memory traffic", f"{time.memory:.3f} s", "bytes / bandwidth" + ("" if cycles else " (roofline)")),
        ("network", f"{time.network:.3f} s", "bytes sent / links"),
    ]
    ends = (("all overlapped", time.overlapped), ("nothing overlapped", time.serial))
    for name, seconds in ends:
        rows.append(
            (
                f"step, {name}",
                f"{seconds:.3f} s",
                f"{plan.tokens_per_second(seconds):,.0f} tokens/s, MFU {plan.utilisation(seconds):.1%}",
            )
        )
    found = plan.compiled
    if found is not None and found.optimal_seconds > 0:
        note = "XLA's optimal_seconds, an estimate that counts each loop once"
        rows.append(("(compiler)", f"{found.optimal_seconds:.3f} s", note))
    return "Time of a step (estimates, nothing was run)", rows


def _advice(plan: Plan) -> tuple[str, Rows]:
    rows = []
    for one in plan.suggestions:
        verdict = "fits" if one.fits else "does not fit"
        how = "compiled" if one.compiled else "estimate"
        rows.append((one.change, gib(one.needed), f"{verdict} {one.topology.name} ({how})"))
    return "What would make it fit", rows


def heading(plan: Plan) -> str:
    """What was planned, in one or two lines."""
    return (
        f"{plan.topology.name}: {plan.topology.count} x {plan.topology.device.name}, "
        f"{plan.settings.config.family} {plan.settings.config.parameter_count / 1e9:.2f} B, "
        f"{plan.settings.line()} [{plan.source}"
        + (f" in {plan.compiled.seconds:.0f} s]" if plan.compiled is not None else ", nothing was compiled]")
    )


def text(plan: Plan) -> str:
    """The plan for a terminal."""
    lines = [heading(plan)]
    for title, rows in tables(plan):
        wide = max(len(row[0]) for row in rows)
        figures = max(len(row[1]) for row in rows)
        lines += ["", title]
        lines += [f"  {what:<{wide}}  {figure:>{figures}}  {source}" for what, figure, source in rows]
    return "\n".join(lines)


def markdown(plan: Plan) -> str:
    """The plan as Markdown."""
    lines = [f"**{heading(plan)}**"]
    for title, rows in tables(plan):
        lines += ["", f"| {title} | | |", "|---|---:|---|"]
        lines += [f"| {what} | {figure} | {source} |" for what, figure, source in rows]
    return "\n".join(lines) + "\n"


def record(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    found, settings = plan.compiled, plan.settings
    time = plan.time
    measured = found is None or found.time is not None
    return {
        "topology": plan.topology.name,
        "devices": plan.topology.count,
        "device": plan.topology.device.name,
        "source": plan.source,
        "settings": {
            "mesh": settings.mesh,
            "batch_size": settings.batch_size,
            "max_length": settings.max_length,
            "loss_positions": settings.loss_positions,
            "microbatches": settings.microbatches,
            "remat": settings.remat,
            "dtype": settings.dtype,
            "max_logits": settings.max_logits,
            "optimizer": {"kind": settings.optimizer.kind, **dataclasses.asdict(settings.optimizer)},
            "attention": getattr(settings.attention, "backend", settings.attention),
            "compiler_options": dict(settings.compiler_options),
            "lora": None if settings.lora is None else dataclasses.asdict(settings.lora),
        },
        "parameters": settings.config.parameter_count,
        "fits": plan.fits,
        "bytes": {
            "needed": plan.needed,
            "available": plan.topology.device.memory,
            **(dataclasses.asdict(plan.memory) if plan.memory else {}),
            "peak": found.peak if found else None,
            "estimate": plan.estimate.total,
        },
        "flops": {
            "model": analytic.model_flops(settings),
            "hardware": analytic.hardware_flops(settings),
            "compiled_per_device": found.flops if found else None,
            "xla_per_device_loops_once": found.xla_flops if found else None,
        },
        "seconds": None
        if not measured or not time.compute
        else {
            **dataclasses.asdict(time),
            "overlapped": time.overlapped,
            "serial": time.serial,
            "xla_optimal_loops_once": found.optimal_seconds if found else None,
        },
        "mfu": None
        if not measured or not time.compute
        else {
            "overlapped": plan.utilisation(time.overlapped),
            "serial": plan.utilisation(time.serial),
        },
        "tokens_per_second": None
        if not measured or not time.compute
        else {
            "overlapped": plan.tokens_per_second(time.overlapped),
            "serial": plan.tokens_per_second(time.serial),
        },
        "collectives": [list(one) for one in found.collectives] if found else None,
        "compile_seconds": found.seconds if found else None,
        "suggestions": [
            {
                "change": one.change,
                "topology": one.topology.name,
                "bytes": one.needed,
                "fits": one.fits,
                "source": "compiled" if one.compiled else "analytic estimate",
            }
            for one in plan.suggestions
        ],
    }


def write(plan: Plan, folder: str | Path) -> None:
    """``plan.json`` and ``plan.md`` in a folder."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("plan.json", json.dumps(record(plan), indent=2) + "\n"),
        ("plan.md", markdown(plan)),
    ):
        write_text(path / name, content)
