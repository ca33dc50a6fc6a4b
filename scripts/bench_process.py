"""Contenders of a benchmark as processes that work one at a time: both ends of the pipe.

Each contender is a process of its own, with an interpreter of its own where its packages contradict ours, and
waits while the others work. A line on its standard input is a task; its answer is one line of JSON.

    parent   Contender(name, command)        <-  {"ready": true}      worker   serve(work)
             contender.ask("step")           ->  step
                                             <-  {"seconds": ..., "cpu": ..., "memory": ..., ...}

The module needs the standard library only, so that a worker imports it in any environment.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = dict[str, Any]


class ContenderError(Exception):
    """A contender ended before it answered; the message has the last lines of what it said."""


class Contender:
    """A worker process, from its start to `close`.

    Args:
      name: of the contender.
      command: the program and its arguments.
      environment: variables beside those of this process.

    Attributes:
      started: seconds from the start of the process until it was ready.
      answers: all answers so far.

    Raises:
      ContenderError: the process ended before it was ready.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.name, self.answers = name, list[Answer]()
        # A pipe could fill up and stop the contender. `close` closes the file.
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"} | dict(environment or {}),
        )
        self._read()
        self.started = time.perf_counter() - begin

    def ask(self, task: str) -> Answer:
        """The answer to a task.

        Raises:
          ContenderError: the process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{task}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # _read says why
        self.answers.append(self._read())
        return self.answers[-1]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"'):
                found: Answer = json.loads(line)
                return found
        self._process.wait()
        self._said.seek(0)
        said = self._said.read()[-2000:].strip()
        raise ContenderError(f"{self.name} ended with exit code {self._process.returncode}:\n{said}")


def started(
    name: str, command: Sequence[str], tasks: Sequence[str], environment: Mapping[str, str]
) -> Contender | None:
    """A contender that has done `tasks`, unmeasured; None, with a line that says why, if it cannot run.

    Args:
      name, command, environment: of the contender. Without "ours" there is nothing to compare.
      tasks: compile its programs and warm its caches.
    """
    try:
        contender = Contender(name, command, environment)
        try:
            for task in tasks:
                contender.ask(task)
        except ContenderError:
            contender.close()
            raise
    except (ContenderError, OSError) as error:
        if name == "ours":
            raise SystemExit(str(error)) from None
        print(f"{name}: left out, it cannot run here: {str(error).splitlines()[-1]}", flush=True)
        return None
    return contender


def ready() -> None:
    """Tell that the contender can work."""
    print(json.dumps({"ready": True}), flush=True)


def answer(wall: float, cpu: float, more: Mapping[str, Any]) -> None:
    """Tell of a finished task: its time, the peak memory so far, and `more`.

    Args:
      wall, cpu: `time.perf_counter` and `time.process_time` when it began.
    """
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": used, "memory": _memory(), **more}), flush=True)


def serve(work: Callable[[str], Mapping[str, Any]]) -> None:
    """Answer every line of input by what `work` returns, until the input ends."""
    ready()
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        answer(wall, cpu, work(line.strip()))


def _memory() -> float:
    """Peak bytes: of the GPU where one is used, else of the process."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return float(torch.cuda.max_memory_allocated())
    if "jax" in sys.modules:
        import jax

        statistics = jax.devices()[0].memory_stats()
        if statistics and "peak_bytes_in_use" in statistics:
            return float(statistics["peak_bytes_in_use"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
