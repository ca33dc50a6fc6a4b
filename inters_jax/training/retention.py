"""Which checkpoints of a run are kept: the newest, the best, every N-th, and step 0 of a random start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inters_jax.run_folder import Best
from seqio_tasks.base import UserError

# Metrics of evaluations inside a run begin so.


@dataclasses.dataclass
class Keep:
    """The rules; a preservation policy of Orbax.

    Args:
        newest: number of newest checkpoints to keep.
        every: keep multiples of this many steps for good; None: no such rule.
        best: keep the best by this metric (the newest of equals); None: no such rule.
        first: whether to keep step 0.
        metrics_of: returns the metrics saved with the checkpoint of a step.
    """

    newest: int = 2
    every: int | None = None
    best: Best | None = None
    first: bool = False
    metrics_of: Callable[[int], Mapping[str, Any]] = lambda step: {}

    def __post_init__(self) -> None:
        if self.newest < 1:
            raise UserError(f"KEEP_CHECKPOINTS={self.newest}: at least the newest checkpoint must be kept")
        if self.every is not None and self.every < 1:
            raise UserError(f"KEEP_EVERY={self.every} must be a number of steps, or None")

    def best_of(self, steps: Sequence[int]) -> tuple[int, float] | None:
        """(step, metric) of the best checkpoint; None without a rule or when none has the metric."""
        return None if self.best is None else self.best.choose(steps, self.metrics_of)

    def stay(self, steps: Sequence[int]) -> set[int]:
        """The steps to keep, of the existing ones.

        >>> sorted(Keep(newest=2, every=10, first=True).stay([0, 5, 10, 15, 20, 25, 30, 35]))
        [0, 10, 20, 30, 35]
        """
        kept = set(sorted(steps)[-self.newest :])
        kept.update(step for step in steps if self.every and step and step % self.every == 0)
        best = self.best_of(steps)
        kept.update([best[0]] if best else [])
        return kept | ({0} & set(steps) if self.first else set())

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Called by Orbax: one answer per checkpoint, each with a `step`."""
        kept = self.stay([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]
