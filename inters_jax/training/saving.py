"""When checkpoints are saved."""

from __future__ import annotations

from inters_jax.training.checkpoints import Checkpoints
from inters_jax.training.hooks import Hook, StepEnd


class Save(Hook):
    """Saves checkpoints: every `every` steps, where the retention rules want one, and at the end.

    Args:
        every: steps between checkpoints.
        checkpoints: of the run.
    """

    def __init__(self, every: int, checkpoints: Checkpoints) -> None:
        self.every = every
        self._checkpoints = checkpoints

    def _saves(self, end: StepEnd) -> bool:
        keep = self._checkpoints.keep
        permanent = bool(keep.every and end.step % keep.every == 0)
        # An evaluated state may turn out to be the best.
        candidate = end.evaluated and keep.best is not None and keep.best.of_evaluation
        return super().due(end) or permanent or candidate

    def due(self, end: StepEnd) -> bool:
        """Whether a checkpoint is saved; errors of earlier ones are raised with every record."""
        return end.record is not None or self._saves(end)

    def needs_record(self, end: StepEnd) -> bool:
        """A checkpoint that is compared with others needs metrics of its own."""
        return self._checkpoints.keep.best is not None

    def after_step(self, end: StepEnd) -> None:
        """Raise what went wrong while writing in the background, and save."""
        best = self._checkpoints.keep.best
        if end.record is not None:
            self._checkpoints.check()
            if best is not None and (end.evaluated or not best.of_evaluation):
                best.check(end.record)  # at the first record, not after a run without a best checkpoint
        if self._saves(end):
            self._checkpoints.save(end.state, metrics=end.record)

    def finish(self) -> None:
        """Wait until everything is on disk."""
        self._checkpoints.wait()
