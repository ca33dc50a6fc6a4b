"""The plan of a run, and its figures as JSON values."""

from __future__ import annotations

import dataclasses
from typing import Any

from inters_jax.planning import analytic
from inters_jax.planning.advice import Suggestion
from inters_jax.planning.analytic import Memory, Time
from inters_jax.planning.compile import Compiled
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import Topology


@dataclasses.dataclass(frozen=True)
class Plan:
    """Whether a run fits its devices: compiled where possible, with the analytic estimate in any case."""

    settings: Settings
    topology: Topology
    estimate: Memory
    estimated_time: Time
    compiled: Compiled | None
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def memory(self) -> Memory | None:
        """Memory by kind from the best source; None if the compiler gave only a total."""
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


def record(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values: plan.json."""
    found, settings = plan.compiled, plan.settings
    time = plan.time
    timed = bool(time.compute) and (found is None or found.time is not None)
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
            "optimizer": dataclasses.asdict(settings.optimizer),
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
        if not timed
        else {
            **dataclasses.asdict(time),
            "overlapped": time.overlapped,
            "serial": time.serial,
            "xla_optimal_loops_once": found.optimal_seconds if found else None,
        },
        "mfu": None
        if not timed
        else {
            "overlapped": plan.utilisation(time.overlapped),
            "serial": plan.utilisation(time.serial),
        },
        "tokens_per_second": None
        if not timed
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
