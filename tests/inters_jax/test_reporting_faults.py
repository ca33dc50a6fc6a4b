"""No record, tracker, progress line or trace that cannot be written stops or delays a run."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import tensorboardX.record_writer

from inters_jax import terminal
from inters_jax.training import profiling
from inters_jax.training.metrics import EventFile, InBackground, MetricWriter, read_metrics
from inters_jax.training.progress import Progress
from inters_jax.training.trackers import WandB

FULL = OSError(28, "No space left on device")


class Full:
    """A file on a disk with room for `room` bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room == 0:
            raise FULL
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def close(self):
        self.file.close()


def test_records_wait_for_room_on_the_disk_and_are_whole(tmp_path, caplog):
    writer = MetricWriter(tmp_path, tensorboard=False)
    writer.write(1, {"loss": 1.0})
    writer._stream = Full(writer._stream, 7)  # in the middle of a line
    with caplog.at_level(logging.WARNING):
        writer.write(2, {"loss": 2.0})
        writer.write(3, {"loss": 3.0})
    assert caplog.text.count("No space left on device") == 1
    writer._stream.room = 1000
    writer.write(4, {"loss": 4.0})
    writer.close()
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_a_disk_that_stays_full_does_not_stop_the_records(tmp_path):
    writer = MetricWriter(tmp_path, tensorboard=False)
    writer._stream = Full(writer._stream, 0)
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_events_are_given_up_when_the_disk_is_full(tmp_path, monkeypatch, caplog):
    writer = MetricWriter(tmp_path)
    writer.write(1, {"loss": 1.0})

    def full(self):
        raise FULL

    monkeypatch.setattr(tensorboardX.record_writer.RecordWriter, "flush", full)
    threads = threading.active_count()
    with caplog.at_level(logging.WARNING):
        for step in range(2, 100):  # more than any queue holds
            writer.write(step, {"loss": 1.0, "task_loss": {"a": 1.0}})
        writer.close()
    assert caplog.text.count("no more TensorBoard events") == 1
    assert threading.active_count() == threads and len(read_metrics(tmp_path)) == 99


def test_events_are_those_of_tensorboard(tmp_path):
    loader = pytest.importorskip("tensorflow").compat.v1.train.summary_iterator
    file = EventFile(tmp_path, resume_step=4)
    file.write(5, [("loss", 2.5), ("task_loss/a", float("nan"))])
    file.close()
    (written,) = tmp_path.iterdir()
    first, start, *values = loader(str(written))
    assert first.file_version == "brain.Event:2" and (start.step, start.session_log.status) == (5, 1)
    found = {value.tag: (event.step, value.simple_value) for event in values for value in event.summary.value}
    assert found["loss"] == (5, 2.5) and np.isnan(found["task_loss/a"][1])


class Tracker:
    def __init__(self, wait=None, fail=None):
        self.wait, self.fail, self.seen, self.closed = wait, fail, [], False

    def write(self, step, record):
        if self.wait is not None:
            self.wait.wait()
        if self.fail:
            raise self.fail
        self.seen.append((step, record))

    def close(self):
        self.closed = True


def test_a_tracker_gets_every_record_in_order():
    tracker = Tracker()
    background = InBackground(tracker)
    for step in range(50):
        background.write(step, {"loss": step})
    background.close()
    assert [step for step, _ in tracker.seen] == list(range(50)) and tracker.closed


def test_a_tracker_that_fails_is_reported_once(caplog):
    with caplog.at_level(logging.WARNING):
        background = InBackground(Tracker(fail=ConnectionError("no network")))
        for step in range(50):
            background.write(step, {})
        background.close()
    assert caplog.text.count("no more records for Tracker in this run: no network") == 1


def test_a_tracker_that_hangs_is_given_up(caplog):
    released = threading.Event()
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        full = InBackground(Tracker(wait=released), waiting=2)
        for step in range(9):
            full.write(step, {})
        full.close()
        slow = InBackground(Tracker(wait=released), patience=0.05)
        slow.write(0, {})
        slow.close()
    assert time.monotonic() - started < 5
    assert "it does not respond" in caplog.text and "did not finish within" in caplog.text
    released.set()


def test_a_service_that_cannot_be_reached_does_not_stop_the_start(tmp_path, monkeypatch, caplog):
    wandb = types.ModuleType("wandb")

    def init(**_):
        raise ConnectionError("no network")

    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    tracker = WandB("project", tmp_path, {})
    tracker.write(1, {"loss": 1.0})
    tracker.close()
    assert "no records for W&B in this run: no network" in caplog.text


class Broken(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal, self.lost = terminal, False

    def isatty(self):
        return self.terminal

    def write(self, text):
        if self.lost:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_lost_terminal_does_not_stop_a_run(terminal):
    stream = Broken(terminal)
    progress = Progress(10, stream=stream)
    progress.line("before")
    stream.lost = True
    record = {"seconds_per_step": 1.0, "loss": 1.0, "learning_rate": 1.0, "grad_norm": 1.0}
    record |= {"tokens_per_second": 1.0, "density": 1.0}
    for step in range(10):
        progress.step()
        progress.record(step, record)
    progress.close()
    assert "before" in stream.getvalue()


def test_a_trace_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    said = []

    def full(*_):
        raise FULL

    reader = types.SimpleNamespace(read=lambda: None)
    for failing in ("start_trace", "stop_trace"):
        monkeypatch.setattr(profiling.jax.profiler, "start_trace", lambda folder: None)
        monkeypatch.setattr(profiling.jax.profiler, failing, full)
        profiler = profiling.Profiler("2:4", tmp_path, said.append)
        for step in (1, 2, 3):
            profiler.before_step(step, reader)
            end = types.SimpleNamespace(step=step)
            if profiler.due(end):
                profiler.after_step(end)
        profiler.finish()
    assert len(said) == 2 and all("No space left" in line for line in said)


def test_a_pipe_that_nobody_reads_does_not_stop_a_run():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe, os.fdopen(reader, "rb", buffering=0) as end:
        stream = terminal.Unblocked(pipe, patience=0.05)
        progress = Progress(10, stream=stream)
        for number in range(3000):
            progress.line(f"line {number} " + "ü" * 100)
        taken = end.read(1 << 20)
        assert taken.startswith(b"line 0 ") and len(taken) <= 1 << 16
        progress.line("the reader is back")
        assert end.read(1 << 20).decode().endswith("nobody read them)\nthe reader is back\n")


def test_a_command_ends_although_nobody_reads_its_messages():
    program = (
        "import sys\nfrom inters_jax.command_line import run_command\n"
        "def compare(settings):\n"
        "    sys.stderr._patience = 0.1\n"
        "    for number in range(3000):\n        print('x' * 100, file=sys.stderr)\n"
        "    print('done')\n"
        "run_command(compare, ['--gin.RUNS=a'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(60) == 0 and process.stdout.read() == b"done\n"
        assert len(process.stderr.read()) <= 1 << 16
