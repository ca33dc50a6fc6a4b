"""Python functions within tf.data graphs that let the program end while an iterator is still filling.

A tf.data iterator reads ahead on threads of TensorFlow. When the interpreter shuts down it stops such a
thread at its next use of Python; the destructor of the iterator then waits for the thread, and the process
never ends. Here calls fail once the interpreter begins to end, and it waits for the threads to notice.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

_PATIENCE = 60.0  # seconds for all calls to end; one takes far less than a second
_QUIET = 0.3  # seconds without a call: TensorFlow converts results and errors after the call, in Python too

_changed = threading.Condition()
_calls = 0  # begun so far
_in_flight = 0
_ending = False


def ends_with_program(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises RuntimeError instead of starting when the program is ending."""

    @functools.wraps(function, updated=())
    def call(*arguments: Any) -> Any:
        global _calls, _in_flight
        with _changed:
            _calls += 1
            if _ending:
                raise RuntimeError("the program is ending")
            _in_flight += 1
        try:
            return function(*arguments)
        finally:
            with _changed:
                _in_flight -= 1

    return call


@atexit.register
def _end() -> None:
    """Refuse further calls, and wait until there are none."""
    global _ending
    if not _calls:
        return
    with _changed:
        _ending = True
    last, since = -1, time.monotonic()
    begin = since
    while time.monotonic() - begin < _PATIENCE:
        now = time.monotonic()
        if _in_flight or _calls != last:
            last, since = _calls, now
        elif now - since > _QUIET:
            return
        time.sleep(0.02)
