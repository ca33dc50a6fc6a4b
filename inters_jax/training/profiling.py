"""Traces of chosen steps for TensorBoard's profile page or ui.perfetto.dev: PROFILE_STEPS='10:13'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax

from inters_jax.training.hooks import Hook, StepEnd
from inters_jax.training.reader import Reader
from seqio_tasks.base import UserError

FOLDER = "profile"


class Profiler(Hook):
    """Traces the steps first, first + 1, ..., last - 1 (the first step of a run is 1) into ``<run>/profile``.

    A run that resumes within these steps traces the rest of them.

    Args:
        steps: ``first:last``, or one number.
        folder: run folder.
        announce: called with a line of text.
    """

    def __init__(
        self, steps: str | int, folder: Path, announce: Callable[[str], None] = lambda line: None
    ) -> None:
        self._first, self._last = parse_steps(steps)
        self._folder = folder / FOLDER
        self._announce = announce
        self._running = False

    def before_step(self, step: int, reader: Reader) -> None:
        """Start the trace, with nothing queued on the devices."""
        if not self._running and self._first <= step < self._last:
            reader.read()
            try:
                jax.profiler.start_trace(str(self._folder))
            except (OSError, RuntimeError) as error:
                self._last = 0
                self._announce(f"no trace: {error}")
                return
            self._running = True

    def due(self, end: StepEnd) -> bool:
        """At the end of the last traced step."""
        return self._running and end.step >= self._last - 1

    def after_step(self, end: StepEnd) -> None:
        """Write the trace."""
        if self._stop():
            self._announce(f"trace of the steps to {end.step} written to {self._folder}")

    def finish(self) -> None:
        """Write the trace, if one is running."""
        self._stop()

    def _stop(self) -> bool:
        """Write a running trace; whether there was one and it could be written."""
        if not self._running:
            return False
        self._running = False
        self._last = 0
        try:
            jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            self._announce(f"the trace could not be written to {self._folder}: {error}")
            return False
        return True


def parse_steps(steps: str | int) -> tuple[int, int]:
    """The first traced step and the one after the last.

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
