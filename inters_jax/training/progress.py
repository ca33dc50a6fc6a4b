"""Progress on the terminal: a bar with the main figures, and one line per record."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

_IMPORTED = time.time()


def seconds_since_process_start() -> float:
    """Wall-clock seconds since the operating system started this process, including interpreter start-up.

    Without /proc: since this module was imported.
    """
    try:
        # Field 22 of stat, in clock ticks since boot; the command in field 2 may hold spaces and brackets.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return float(Path("/proc/uptime").read_text().split()[0]) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time() - _IMPORTED


def short_number(value: float) -> str:
    """Three digits and a unit.

    >>> [short_number(value) for value in (7, 950.0, 12345.6, 2.5e6)]
    ['7', '950', '12.3k', '2.5M']
    """
    for unit in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}T"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))


class Progress:
    """A bar over the steps of a run, and lines printed above it.

    The bar is drawn on terminals only; a log file gets just the lines.

    Args:
        total: steps of the run.
        start: steps already done.
        stream: where to write; None: stderr.
        visible: False on all hosts but the first.
    """

    def __init__(
        self, total: int, start: int = 0, *, stream: TextIO | None = None, visible: bool = True
    ) -> None:
        self._stream = stream or sys.stderr
        self._visible = visible
        self._total = total
        terminal = self._stream.isatty()
        self._bar = tqdm(
            total=total,
            initial=start,
            unit="step",
            file=self._stream,
            disable=not (visible and terminal),
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def step(self) -> None:
        """Advance the bar by one step."""
        with self._lost_terminal():
            self._bar.update(1)

    def record(self, step: int, record: Mapping[str, Any]) -> None:
        """Show the figures of a record in the bar, and as a line with the remaining time."""
        remaining = (self._total - step) * record["seconds_per_step"]
        figures = {
            "loss": f"{record['loss']:.4f}",
            **{
                name: f"{record[key]:.4f}"
                for name, key in (("language", "language_loss"), ("ranking", "ranking_loss"))
                if key in record
            },
            "lr": f"{record['learning_rate']:.2e}",
            "norm": f"{record['grad_norm']:.3g}",
            "tok/s": short_number(record["tokens_per_second"]),
            "density": f"{record['density']:.1%}",
        }
        if record.get("mfu") is not None:
            figures["MFU"] = f"{record['mfu']:.1%}"
        if "input_wait" in record:
            figures["input wait"] = f"{record['input_wait']:.0%}"
        if record.get("skipped_steps"):
            figures["skipped"] = str(record["skipped_steps"])
        with self._lost_terminal():
            self._bar.set_postfix(figures, refresh=False)
        shown = "  ".join(f"{name} {value}" for name, value in figures.items())
        pace = f"{record['seconds_per_step']:.3g} s/step"
        self.line(f"step {step}/{self._total}  {shown}  {pace}  ETA {duration(remaining)}")

    def so_far(self, step: int, loss: float, pace: float | None) -> None:
        """Print a line between two records: the steps done, the loss, and the seconds per step if known."""
        rest = "" if pace is None else f"  {pace:.3g} s/step  ETA {duration((self._total - step) * pace)}"
        self.line(f"step {step}/{self._total}  loss {loss:.4f}{rest}")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._visible:
            with self._lost_terminal():
                tqdm.write(text, file=self._stream)
                self._stream.flush()

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        with self._lost_terminal():
            self._bar.close()

    @contextlib.contextmanager
    def _lost_terminal(self) -> Iterator[None]:
        """A terminal or log file that cannot be written any more does not end the run."""
        try:
            yield
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._visible = False
            self._bar.disable = True
