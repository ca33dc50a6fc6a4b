"""`python -m inters_jax.plan`: does a run fit its devices, and how fast can it be?

    python -m inters_jax.plan --gin_file=mistral.gin --topology=v5e-8

Reads the settings that `train` reads, compiles the very step that `train` would run, and prints the memory of
a device by kind, the work of a step, the time it implies, and what would make it fit. TPU slices need not be
there: ``pip install libtpu`` (part of inters-jax[tpu]) brings their compiler. GPUs are compiled for where one
is present (``--topology=local``); elsewhere their figures are analytic estimates, and say so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from inters_jax.config import run_command
from inters_jax.models.config import DecoderConfig
from inters_jax.models.lora.layers import LoRA
from inters_jax.planning import advice, analytic, report
from inters_jax.planning.compile import compile_step
from inters_jax.planning.devices import GIB, PlanError
from inters_jax.planning.settings import Settings
from inters_jax.planning.shapes import shape_of
from inters_jax.planning.topologies import Topology, resolve
from inters_jax.training import gin_bindings  # noqa: F401 (gin makes the optimiser)
from inters_jax.training.loss import MAX_LOGITS
from inters_jax.training.optimizer import OptimizerSettings

METHODS = ("auto", "compile", "estimate")


def plan(
    model: str | DecoderConfig,
    topology: str = "local",
    batch_size: int = 8,
    microbatches: int = 1,
    max_length: int = 2048,
    loss_positions: int | None = None,
    optimizer: OptimizerSettings | None = None,
    dtype: str = "bfloat16",
    remat: str = "full",
    mesh: str = "fsdp=-1",
    max_logits: int = MAX_LOGITS,
    attention: str = "auto",
    lora: LoRA | None = None,
    compiler_options: Mapping[str, str] | None = None,
    device_memory: float | None = None,
    method: str = "auto",
    tries: int = 3,
    output_dir: str | None = None,
) -> dict[str, Any]:
    """Say whether a run fits, how long a step takes at best, and what would make it fit.

    Args:
        model: Hugging Face folder or hub name, a run folder of ours, or a `DecoderConfig`; only its shape
            is read.
        topology: devices, such as "v5e-8", "v4-32", "v5p-8", "v6e-8", "h100-8", or "local" for those present.
        batch_size: packed rows per optimiser step, over all devices.
        microbatches: parts into which a batch is cut.
        max_length: positions of a row.
        loss_positions: slots for target tokens of a row; None: a quarter of `max_length`.
        optimizer: the optimiser and its settings; None: those of the recipe.
        dtype: what activations and matrix products are computed in.
        remat: what the backward pass computes again: "none", "dots", "attention", "full", "offload" or
            "offload_dots" (`inters_jax.models.remat`).
        mesh: devices by axis.
        max_logits: logits that may exist at once on a device.
        attention: "auto" (by hardware), "xla", "splash" (TPU), "cudnn" (GPU) or "reference".
        compiler_options: XLA flags, such as {'xla_tpu_scoped_vmem_limit_kib': '65536'}; train takes them from
            the environment (LIBTPU_INIT_ARGS on TPU, XLA_FLAGS elsewhere).
        lora: train low-rank updates of a frozen base; None: train every parameter.
        device_memory: GiB per device, instead of what the table of devices says.
        method: "compile", "estimate", or "auto" for whatever the topology allows.
        tries: changes that may be compiled when the step does not fit.
        output_dir: folder for plan.json and plan.md; None: nothing is written.
    """
    if method not in METHODS:
        raise PlanError(f"METHOD={method!r} is not known; choose {', '.join(METHODS)}")
    where = resolve(topology, None if device_memory is None else device_memory * GIB)
    settings = Settings(
        config=shape_of(model),
        mesh=mesh,
        batch_size=batch_size,
        max_length=max_length,
        loss_positions=max(1, max_length // 4) if loss_positions is None else loss_positions,
        microbatches=microbatches,
        dtype=dtype,
        remat=remat,
        max_logits=max_logits,
        optimizer=optimizer or OptimizerSettings(),
        attention=attention,
        lora=lora,
        compiler_options=tuple((compiler_options or {}).items()),
    )
    found = make_plan(
        settings, where, compiles=method == "compile" or (method == "auto" and where.compiles), tries=tries
    )
    print(report.text(found))
    if output_dir is not None:
        report.write(found, output_dir)
    return report.record(found)


def make_plan(settings: Settings, where: Topology, *, compiles: bool, tries: int = 3) -> report.Plan:
    """The plan of one setting; with `compiles` the step is compiled, and so are suggestions."""
    settings.check(where)
    estimate = analytic.memory(settings, where)
    compiled = compile_step(settings, where) if compiles else None
    needed = estimate.total if compiled is None else compiled.needed
    fits = needed <= where.device.memory if compiled is None else compiled.fits
    suggestions = (
        () if fits else advice.suggest(settings, where, needed, compile_step if compiles else None, tries)
    )
    return report.Plan(
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
