"""The programs in the documentation run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(name: str, language: str = "python") -> list[str]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(program: str, folder: Path, **variables: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"} | variables
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.slow
def test_the_how_to_adds_a_dataset(tmp_path: Path) -> None:
    check = """
from seqio_tasks import mixtures
rows = {split: task.num_input_examples(split) for split in ("train", "validation", "test")}
assert sum(rows.values()) == 100 and min(rows.values()) >= 10, rows
assert {e.example.template for e in task.encoded_examples("train")} == {0, 1, 2}
assert not any(e.example.template == 2 for e in task.encoded_examples("test"))
assert mixtures.rate(task.name) == 6 * rows["train"]  # with 0 to 5 demonstrations
"""
    out = run("\n".join([*blocks("add_a_dataset.md"), check]), tmp_path)
    assert "corners" in out


@pytest.mark.slow
def test_the_page_on_reuse_runs(tmp_path: Path) -> None:
    out = run("\n".join(blocks("reuse.md")), tmp_path)
    assert "decoder_loss_weights" in out


def test_every_mixture_and_option_named_on_the_page_exists() -> None:
    import seqio

    import seqio_tasks  # noqa: F401

    text = (ROOT / "docs" / "reuse.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\binters(?:_[a-z0-9]+)*(?![\w*<-])", text)) - {"inters_jax", "inters_released"}
    known = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
    assert named and named <= known, named - known
