"""Work for the processes of `inters_jax.data.workers`: light, slow, or wrong on purpose."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from inters_jax.data import workers
from seqio_tasks.base import DataError, UserError


class Peculiar(UserError):
    """An error that cannot be made again from its message."""

    def __init__(self, setting: str, number: int) -> None:
        super().__init__(f"{setting}={number} is odd")


@contextlib.contextmanager
def spelling():
    """Answers a name with its capitals and the process that wrote them."""
    yield lambda name: (name.upper(), os.getpid())


@contextlib.contextmanager
def failing():
    def answer(name):
        if name == "data":
            raise DataError("3 columns, expected 5", path="a.tsv", line=7, todo="download it again")
        if name == "peculiar":
            raise Peculiar("SEED", 3)
        if name == "full":
            raise ValueError("not written") from OSError(28, "No space left on device")
        if name == "cut":
            raise EOFError("the archive ends early")
        if name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return name

    yield answer


@contextlib.contextmanager
def unable():
    raise UserError("MODULES: nothing of that name")
    yield


@contextlib.contextmanager
def _waiting():
    def answer(name):
        (Path(os.environ["STARTED"]) / str(os.getpid())).touch()
        time.sleep(60)

    yield answer


if __name__ == "__main__":
    # A shell makes programs in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        workers.answers(_waiting, ["a", "b", "c"], 2)
    except KeyboardInterrupt:
        sys.exit("interrupted")
