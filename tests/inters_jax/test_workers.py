"""Work by several processes: its order, its errors, and that no process stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worker_stand_ins
from worker_stand_ins import failing, spelling, unable

from inters_jax.data import workers
from seqio_tasks.base import DataError, UserError
from seqio_tasks.expected_errors import expected, is_disk_full


def test_answers_come_in_the_order_of_the_names_from_other_processes():
    names = [f"name{number}" for number in range(7)]
    found = workers.answers(spelling, names, 3)
    assert list(found) == names
    assert [text for text, _ in found.values()] == [name.upper() for name in names]
    others = {process for _, process in found.values()}
    assert os.getpid() not in others and 1 <= len(others) <= 3
    assert not any(_alive(process) for process in others)


def test_an_error_arrives_as_it_was_raised():
    with pytest.raises(DataError) as caught:
        workers.answers(failing, ["data"], 2)
    assert expected(caught.value) == "a.tsv:7: 3 columns, expected 5; download it again"
    assert (caught.value.path, caught.value.line) == (Path("a.tsv"), 7)
    assert "worker_stand_ins.py" in caught.value.__notes__[0]  # where it was raised


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("peculiar", UserError, "SEED=3 is odd"),  # its class cannot be made again, its message can
        ("cut", EOFError, "the archive ends early"),
        ("killed", UserError, "killed: the process that worked on it was ended by SIGKILL, perhaps because "),
    ],
)
def test_errors_of_other_kinds(name, kind, message):
    with pytest.raises(kind) as caught:
        workers.answers(failing, [name], 2)
    assert str(caught.value).startswith(message)


def test_a_full_disk_is_known_by_the_cause_of_an_error():
    with pytest.raises(OSError) as caught:
        workers.answers(failing, ["full"], 2)
    assert is_disk_full(caught.value)


def test_a_process_that_cannot_start_says_why():
    with pytest.raises(UserError, match="MODULES: nothing of that name"):
        workers.answers(unable, ["a", "b"], 2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_called(tmp_path, how):
    script = worker_stand_ins.__file__
    environment = os.environ | {"STARTED": str(tmp_path)}
    caller = subprocess.Popen(
        [sys.executable, script], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _until(lambda: len(list(tmp_path.iterdir())) == 2)
    if how == signal.SIGINT:
        os.killpg(caller.pid, how)  # as a terminal does: to every process
    else:
        caller.send_signal(how)
    _, errors = caller.communicate(timeout=60)
    assert errors.splitlines() == (["interrupted"] if how == signal.SIGINT else [])
    _until(lambda: not any(_alive(int(path.name)) for path in tmp_path.iterdir()))


def _until(reached):
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


def _alive(process):
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
