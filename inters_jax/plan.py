"""`python -m inters_jax.plan`: does a run fit its devices, and how fast can it be?

    python -m inters_jax.plan --gin_file=mistral.gin --topology=v5e-8

Reads the settings that `train` reads, compiles the very step that `train` would run, and prints the memory of
a device by kind, the work of a step, the time it implies, and what would make it fit. TPU slices need not be
there: ``pip install "jax[tpu]"`` (part of inters-jax[tpu]) brings their compiler. GPUs are compiled for where
one is present (``--topology=local``); elsewhere their figures are analytic estimates, and say so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from inters_jax.command_line import run_command
from inters_jax.mesh import AxisRules
from inters_jax.models import precision
from inters_jax.planning import advice, analytic
from inters_jax.planning.compile import compile_step
from inters_jax.planning.devices import GIB
from inters_jax.planning.plan import Plan, record
from inters_jax.planning.settings import Settings
from inters_jax.planning.shapes import shape_of
from inters_jax.planning.topologies import Topology, resolve
from inters_jax.reports import plan_report
from inters_jax.settings.training import (
    LengthSettings,
    ModelSettings,
    OptimizerSettings,
    PlanSettings,
    StepSettings,
)


def plan(
    model: ModelSettings,
    length: LengthSettings,
    step: StepSettings,
    optimizer: OptimizerSettings,
    planning: PlanSettings,
) -> dict[str, Any]:
    """Say whether a run fits its devices, how long a step takes at best, and what would make it fit."""
    memory = planning.device_memory
    where = resolve(planning.topology, None if memory is None else memory * GIB)
    slots = planning.loss_positions
    settings = Settings(
        config=shape_of(model.model),
        mesh=step.mesh,
        batch_size=step.batch_size,
        max_length=length.max_length,
        loss_positions=max(1, length.max_length // 4) if slots is None else slots,
        microbatches=step.microbatches,
        dtype=precision.resolve(step.dtype, where.device.platform),
        remat=step.remat,
        max_logits=step.max_logits,
        optimizer=optimizer,
        attention=step.attention,
        lora=model.lora,
        rules=AxisRules(step.axis_rules, step.activation_axis_rules),
        splash_blocks=step.splash_blocks,
        compiler_options=tuple((planning.compiler_options or {}).items()),
    )
    compiles = planning.method == "compile" or (planning.method == "auto" and where.compiles)
    found = make_plan(settings, where, compiles=compiles, tries=planning.tries)
    print(plan_report.text(found))
    if planning.output_dir is not None:
        plan_report.write(found, planning.output_dir)
    return record(found)


def make_plan(settings: Settings, where: Topology, *, compiles: bool, tries: int = 3) -> Plan:
    """The plan of one setting; with `compiles` the step is compiled, and so are suggestions."""
    settings.check(where)
    estimate = analytic.memory(settings, where)
    compiled = compile_step(settings, where) if compiles else None
    needed = estimate.total if compiled is None else compiled.needed
    fits = needed <= where.device.memory if compiled is None else compiled.fits
    suggestions = (
        () if fits else advice.suggest(settings, where, needed, compile_step if compiles else None, tries)
    )
    return Plan(
        settings=settings,
        topology=where,
        estimate=estimate,
        estimated_time=analytic.time(settings, where),
        compiled=compiled,
        suggestions=tuple(suggestions),
    )


def arguments(argv: Sequence[str]) -> list[str]:
    """``--topology=X`` and ``--topology X`` as ``--gin.TOPOLOGY=X``; the rest as it is.

    >>> arguments(["--gin_file=tiny.gin", "--topology", "v5e-8"])
    ['--gin_file=tiny.gin', '--gin.TOPOLOGY=v5e-8']
    """
    out: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--topology" and rest:
            argument = f"--topology={rest.pop(0)}"
        out.append(
            argument.replace("--topology=", "--gin.TOPOLOGY=", 1)
            if argument.startswith("--topology=")
            else argument
        )
    return out


if __name__ == "__main__":
    run_command(plan, arguments(sys.argv[1:]))
