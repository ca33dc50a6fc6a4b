"""Finds a change of settings that makes a step fit: candidates are tried from the cheapest on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from inters_jax.models.lora.layers import LoRA
from inters_jax.planning import analytic
from inters_jax.planning.compile import Compiled
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import Topology, larger


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A change of settings or topology, and the result of checking it."""

    change: str  # what to write on the command line
    settings: Settings
    topology: Topology
    needed: float  # bytes per device
    fits: bool
    compiled: bool  # False: an analytic estimate


def changes(settings: Settings, topology: Topology) -> Iterator[tuple[str, dict[str, Any]]]:
    """Single changes that save memory, those that cost the least speed first."""
    if settings.moment_bytes == 4 and settings.moments:
        yield "--gin.MOMENT_DTYPE=bfloat16", {"moment_dtype": "bfloat16"}
    rows = settings.rows(topology)
    if settings.remat != "full":
        yield "--gin.REMAT=full", {"remat": "full"}
    parts = settings.microbatches
    while rows > 1 and rows % 2 == 0:
        parts, rows = parts * 2, rows // 2
        yield f"--gin.MICROBATCHES={parts}", {"microbatches": parts}
    axes = settings.axes(topology)
    sharded = axes["fsdp"] * axes["tensor"]
    if sharded < topology.count:
        yield "--gin.MESH=fsdp=-1", {"mesh": "fsdp=-1"}
    batch = settings.batch_size
    if settings.microbatches > 1 and batch % settings.microbatches == 0:
        smaller = batch // settings.microbatches
        yield (
            f"--gin.BATCH_SIZE={smaller} --gin.MICROBATCHES=1",
            {"batch_size": smaller, "microbatches": 1},
        )
    for tensor in (2, 4):
        fsdp = topology.count // tensor
        if axes["tensor"] == 1 and tensor <= settings.config.num_kv_heads and fsdp * tensor == topology.count:
            mesh = f"fsdp={fsdp},tensor={tensor}"
            if batch % fsdp == 0 and fsdp >= 1:
                yield (
                    f"--gin.MESH={mesh} --gin.MICROBATCHES={batch // fsdp}",
                    {"mesh": mesh, "microbatches": batch // fsdp},
                )
    if settings.lora is None:
        for base in ("bfloat16", "nf4"):
            yield f"--gin.LORA=@LoRA() --gin.LoRA.base_dtype={base}", {"lora": LoRA(base_dtype=base)}
    if settings.max_length > 1024:
        shorter = settings.max_length // 2
        yield (
            f"--gin.MAX_LENGTH={shorter}",
            {"max_length": shorter, "loss_positions": max(1, settings.loss_positions // 2)},
        )


def candidates(settings: Settings, topology: Topology) -> Iterator[tuple[str, Settings]]:
    """Single changes, then combinations: the first two, the first three, and so on."""
    single = list(changes(settings, topology))
    for text, change in single:
        yield text, settings.changed(**change)
    words: list[str] = []
    together = settings
    for text, change in single:
        if "MAX_LENGTH" in text or "LORA" in text or any(word.split("=")[0] in text for word in words):
            continue
        words.append(text)
        together = together.changed(**change)
        if len(words) > 1:
            yield " ".join(words), together


def suggest(
    settings: Settings,
    topology: Topology,
    needed: float,
    compiler: Callable[[Settings, Topology], Compiled] | None,
    tries: int = 3,
) -> list[Suggestion]:
    """The changes that were checked, ending with the first that fits; empty if nothing can be changed.

    The analytic estimate, scaled by what this step needs according to the compiler, selects candidates; up to
    `tries` of them are compiled. The last candidate is the next larger slice.

    Args:
        settings: of a step that does not fit.
        topology: the devices it does not fit.
        needed: bytes per device that it needs.
        compiler: compiles a candidate; None if that is not possible.
        tries: most candidates to compile.
    """
    scale = needed / analytic.memory(settings, topology).total
    judged: list[Suggestion] = []
    promising: list[tuple[str, Settings, Topology, float]] = []
    for text, candidate in candidates(settings, topology):
        try:
            candidate.check(topology)
        except ValueError:
            continue
        estimate = scale * analytic.memory(candidate, topology).total
        if estimate <= 1.1 * topology.device.memory:
            promising.append((text, candidate, topology, estimate))
        else:
            judged.append(Suggestion(text, candidate, topology, estimate, False, False))
    slice_ = larger(topology)
    while slice_ is not None:
        batch = -(-settings.batch_size // slice_.count) * slice_.count
        bigger = settings.changed(batch_size=batch, mesh="fsdp=-1")
        estimate = scale * analytic.memory(bigger, slice_).total
        if estimate <= slice_.device.memory:
            change = f"--topology={slice_.name}" + (
                f" --gin.BATCH_SIZE={batch}" if batch != settings.batch_size else ""
            )
            promising.append((change, bigger, slice_, estimate))
            break
        slice_ = larger(slice_)
    for text, candidate, where, estimate in promising:
        if compiler is None or tries <= 0:
            judged.append(
                Suggestion(text, candidate, where, estimate, estimate <= where.device.memory, False)
            )
            if judged[-1].fits:
                break
            continue
        tries -= 1
        result = compiler(candidate, where)
        judged.append(Suggestion(text, candidate, where, result.needed, result.fits, True))
        if result.fits:
            break
    return judged
