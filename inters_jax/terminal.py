"""Messages for people must not stop a run.

A pipe that nobody reads, or a terminal that was stopped, fills up, and then every write waits for good.
`never_wait` replaces `sys.stderr`, where progress, logs and warnings go, by a stream that gives up instead.
What a command prints as its result (stdout) still waits for its reader. What libraries in C++ write to the
file itself is out of reach.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
import time
from typing import Any, TextIO

# A pipe that can be written at all takes this many bytes (PIPE_BUF of Linux) without waiting.
_PIECE = 4096 // 4  # characters, of at most four bytes


class Unblocked:
    """A text stream that leaves out what its reader does not take; all else is that of the stream itself.

    Args:
        stream: with a file descriptor.
        patience: seconds that all writes together may wait.
    """

    def __init__(self, stream: TextIO, patience: float = 5.0) -> None:
        self._stream = stream
        self._patience = patience
        self._lost = 0
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(stream.fileno(), select.POLLOUT)

    def write(self, text: str) -> int:
        """Write a text, or the beginning of it that can be written without waiting."""
        with self._lock:
            for start in range(0, len(text), _PIECE):
                if not self._ready():
                    self._lost += 1
                    break
                if self._lost:
                    self._stream.write(f"\n({self._lost} messages were left out: nobody read them)\n")
                    self._lost = 0
                self._stream.write(text[start : start + _PIECE])
                self._stream.flush()
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Everything has been written already."""

    def _ready(self) -> bool:
        started = time.monotonic()
        found = self._poll.poll(self._patience * 1000)
        self._patience = max(0.0, self._patience - (time.monotonic() - started))
        return bool(found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def never_wait() -> None:
    """Replace `sys.stderr` by an `Unblocked` one, unless it is a file, which never waits."""
    try:
        mode = os.fstat(sys.stderr.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # no stderr, or one that is no file
        return
    if not (stat.S_ISREG(mode) or isinstance(sys.stderr, Unblocked)) and hasattr(select, "poll"):
        sys.stderr = Unblocked(sys.stderr)
