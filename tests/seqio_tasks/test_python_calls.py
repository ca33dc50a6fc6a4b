"""A program ends although an iterator of a mixture is still reading ahead, and also when it raises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import seqio
import seqio_tasks

dataset = seqio.get_mixture_or_task("inters_query_matching").get_dataset(
    sequence_length={"inputs": 512, "targets": 128}, split="train", shuffle=True, num_epochs=None
)
iterator = dataset.as_numpy_iterator()
next(iterator)
print("read", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code"), [("", 0), ("raise RuntimeError('the job failed')", 1)])
def test_a_program_ends_while_an_iterator_is_filling(ending: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + ending],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,  # it used to wait for ever
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "read\n"), done.stderr
