"""Traces of chosen steps, for TensorBoard's profile page or ui.perfetto.dev: PROFILE_STEPS='10:13'."""

from __future__ import annotations

from pathlib import Path

import jax

from seqio_tasks.base import UserError

FOLDER = "profile"


class Profiler:
    """Traces the steps first, first + 1, ..., last - 1 (the first step of a run is 1) into ``<run>/profile``.

    Args:
        steps: ``first:last``, or one number; None: no trace.
        folder: run folder.
    """

    def __init__(self, steps: str | int | None, folder: Path) -> None:
        self.first, self.last = parse_steps(steps) if steps is not None else (0, 0)
        self.folder = folder / FOLDER
        self._running = False

    def starts(self, step: int) -> bool:
        """Whether the trace begins with this step, or with one before it that a resumed run has behind it."""
        return not self._running and self.first <= step < self.last

    def start(self) -> None:
        """From here on."""
        jax.profiler.start_trace(str(self.folder))
        self._running = True

    def ends(self, step: int) -> bool:
        """Whether this step was the last one to be traced."""
        return self._running and step >= self.last - 1

    def stop(self) -> None:
        """Write the trace, when one is running."""
        if self._running:
            self._running = False
            self.last = 0
            jax.profiler.stop_trace()


def parse_steps(steps: str | int) -> tuple[int, int]:
    """
    >>> parse_steps("10:13"), parse_steps(5)
    ((10, 13), (5, 6))
    """
    first, colon, last = str(steps).partition(":")
    try:
        begin = int(first)
        end = int(last) if colon else begin + 1
    except ValueError:
        begin = end = 0
    if not 1 <= begin < end:
        raise UserError(
            f"PROFILE_STEPS={steps!r} must read FIRST:LAST with 1 <= FIRST < LAST, such as '10:13' for the "
            "steps 10, 11 and 12"
        )
    return begin, end
