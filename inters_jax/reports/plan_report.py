"""A plan as text for a terminal, and as plan.md and plan.json."""

from __future__ import annotations

import json
from pathlib import Path

from inters_jax.planning import analytic
from inters_jax.planning.devices import GIB
from inters_jax.planning.plan import Plan, record
from inters_jax.reports.tables import Table
from seqio_tasks.base import write_text


def text(plan: Plan) -> str:
    """The plan for a terminal."""
    return "\n\n".join([heading(plan), *(table.text() for table in tables(plan))])


def markdown(plan: Plan) -> str:
    """The plan as Markdown."""
    return "\n".join([f"**{heading(plan)}**\n", *(table.markdown() for table in tables(plan))])


def write(plan: Plan, folder: str | Path) -> None:
    """Write plan.json and plan.md."""
    write_text(Path(folder, "plan.json"), json.dumps(record(plan), indent=2) + "\n")
    write_text(Path(folder, "plan.md"), markdown(plan))


def heading(plan: Plan) -> str:
    """What was planned, in one or two lines."""
    return (
        f"{plan.topology.name}: {plan.topology.count} x {plan.topology.device.name}, "
        f"{plan.settings.config.family} {plan.settings.config.parameter_count / 1e9:.2f} B, "
        f"{plan.settings.line()} [{plan.source}"
        + (f" in {plan.compiled.seconds:.0f} s]" if plan.compiled is not None else ", nothing was compiled]")
    )


def tables(plan: Plan) -> list[Table]:
    """Memory, work and time of a step, and what would make it fit; empty ones are left out."""
    return [table for table in (_memory(plan), _work(plan), _time(plan), _advice(plan)) if table.rows]


def gib(number: float) -> str:
    """A number of bytes in GiB.

    >>> gib(3 * 2**30), gib(5e6)
    ('3.00 GiB', '0.005 GiB')
    """
    return f"{number / GIB:.2f} GiB" if number >= GIB / 100 else f"{number / GIB:.3f} GiB"


def _table(title: str, rows: list[tuple[str, str, str]]) -> Table:
    """Rows of (what, figure, source)."""
    return Table(title, ("", "", ""), rows, align="lrl")


def _memory(plan: Plan) -> Table:
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
    return _table("Memory per device", rows)


def _work(plan: Plan) -> Table:
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
    return _table("Work of a step", rows)


def _time(plan: Plan) -> Table:
    time = plan.time
    if not time.compute or (plan.compiled is not None and plan.compiled.time is None):
        return _table("Time of a step", [])
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
    return _table("Time of a step (estimates, nothing was run)", rows)


def _advice(plan: Plan) -> Table:
    rows = []
    for one in plan.suggestions:
        verdict = "fits" if one.fits else "does not fit"
        how = "compiled" if one.compiled else "estimate"
        rows.append((one.change, gib(one.needed), f"{verdict} {one.topology.name} ({how})"))
    return _table("What would make it fit", rows)
