"""Work on many names by several processes of this machine, one name at a time each.

    this process      hands out the names in their order, one to every process that is free
    the others        a fresh Python each (a fork would inherit TensorFlow's threads as dead locks), made
                      ready once, then asked until it is killed

An answer may depend on its name only, so it is the same whichever process gives it. No process outlives the
call: not after an error, not after Ctrl-C, and not when the calling process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from typing import Any, TypeVar

from tqdm import tqdm

from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import expected, is_disk_full

T = TypeVar("T")
# Makes a process ready: what it yields answers a name.
Start = Callable[[], contextlib.AbstractContextManager[Callable[[str], T]]]


def answers(start: Start[T], names: Sequence[str], processes: int, *, title: str = "") -> dict[str, T]:
    """The answers by names, in the order of the names.

    Args:
      start: makes a process ready; it is pickled, so a function of a module, or a `partial` of one.
      names: what is asked, distinct.
      processes: how many work at once; there are no more than names.
      title: of the progress bar on a terminal.

    Raises:
      UserError: a process was killed.
      Exception: what `start` or an answer raises, with the traceback of its process as a note.
    """
    waiting = deque(names)
    found: dict[str, T] = {}
    context = multiprocessing.get_context("spawn")
    bar = tqdm(total=len(names), desc=title, unit=" tasks", disable=None, leave=False)
    with bar, contextlib.ExitStack() as ending:
        busy: dict[Any, _Process] = {}
        for _ in range(min(processes, len(names))):
            process = _Process(context, start)
            ending.callback(process.stop)
            busy[process.connection] = process
            process.ask(waiting.popleft())
        while busy:
            for connection in wait(list(busy)):
                process = busy[connection]
                found[process.name] = process.answer()
                bar.update()
                if waiting:
                    process.ask(waiting.popleft())
                else:
                    del busy[connection]
                    process.stop()  # for its memory
    return {name: found[name] for name in names}


class _Process:
    """A process that answers one name at a time; its answer arrives at `connection`."""

    def __init__(self, context: SpawnContext, start: Start[Any]) -> None:
        self.connection, other = context.Pipe()
        self.name = ""
        self._process = context.Process(target=_serve, args=(other, start), daemon=True)
        with _without_interrupts():
            self._process.start()
        other.close()  # so that the connection ends with the process

    def ask(self, name: str) -> None:
        """Send a name."""
        self.name = name
        with contextlib.suppress(ConnectionError):  # the process has ended, as `answer` will say
            self.connection.send(name)

    def answer(self) -> Any:
        """Receive the answer."""
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionError):
            raise self._ended() from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _ended(self) -> UserError:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        memory = ", perhaps because memory was short (then lower WORKERS)" if code == -signal.SIGKILL else ""
        return UserError(
            f"{self.name}: the process that worked on it {how}{memory}; start the same command again, it "
            "keeps what is finished"
        )


def _serve(connection: Connection, start: Start[Any]) -> None:
    """The main function of a process: answers every name that it is sent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its default is a semaphore of the system, which a kill leaves behind
    try:
        with start() as answer:
            for name in _asked(connection):
                connection.send(answer(name))
    except Exception as error:
        with contextlib.suppress(ConnectionError):
            connection.send(_portable(error))


def _asked(connection: Connection) -> Iterator[str]:
    """The names that arrive, as long as somebody can send them."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            yield connection.recv()


def _end_with_parent() -> None:
    """End this process when its parent ends, however that happens."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error as another process can read it, with its traceback as a note."""
    note = "".join(traceback.format_exception(error))
    if is_disk_full(error):  # perhaps only by its cause, which is not sent
        error = OSError(errno.ENOSPC, str(error))
    try:
        same = pickle.loads(pickle.dumps(error))
        faithful = type(same) is type(error) and str(same) == str(error)
    except Exception:  # an error class may raise anything when it is made again
        faithful = False
    if not faithful:
        message = expected(error)
        error = RuntimeError(f"{type(error).__name__}: {error}") if message is None else UserError(message)
    error.add_note(note)
    return error


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in the block do not get Ctrl-C; this one gets it afterwards, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which multiprocessing would start here, and unblock signals then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
