"""scripts/environment.sh and setup.py: which versions are installed for which Python."""

import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def script(command: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", f". scripts/environment.sh; {command}", "bash", *map(str, arguments)]
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **environment}
    )


def interpreter(folder: Path, series: str) -> Path:
    """This Python under another version number."""
    path = folder / f"python{series}"
    as_series = f"import sys; sys.version_info = ({series.replace('.', ', ')}, 0); exec(sys.argv[1])"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{as_series}" "$2"\n')
    path.chmod(0o755)
    return path


def requirements(series: str) -> list[Requirement]:
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    parsed = [Requirement(line) for line in setup.call_args.kwargs["install_requires"]]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"python_version": series})]


@pytest.mark.parametrize("series", PYTHONS)
def test_the_tested_versions_of_a_python_satisfy_the_requirements(tmp_path, series):
    file = script('constraints_for "$1"', interpreter(tmp_path, series)).stdout.strip()
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    wanted = requirements(series)
    assert len(wanted) == len({r.name for r in wanted}), "one requirement of a package per Python"
    for requirement in wanted:
        assert requirement.specifier.contains(pins[requirement.name.lower().replace("_", "-")]), requirement


@pytest.mark.parametrize(
    ("series", "flax", "jax"),
    [
        ("3.11", "0.12.8", "0.11.1"),
        ("3.12", "0.12.8", "0.11.1"),
        ("3.12", "0.12.9", "0.11.2"),
        ("3.13", "0.12.8", "0.12.0"),
    ],
)
def test_versions_that_cannot_be_imported_together_are_excluded(series, flax, jax):
    bounds = {r.name: r.specifier for r in requirements(series)}
    assert not (bounds["flax"].contains(flax) and bounds["jax"].contains(jax))


def test_an_environment_of_another_python_is_not_reused(tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    interpreter(tmp_path, "3.11").rename(venv / "bin" / "python")
    wanted = interpreter(tmp_path, "3.12")
    done = script('install_into_environment ""', INTERS_VENV=str(venv), PYTHON=str(wanted))
    assert done.returncode == 1
    assert done.stderr == (
        f"{venv} has Python 3.11, PYTHON={wanted} is 3.12; name another folder with INTERS_VENV=...\n"
    )


@pytest.mark.parametrize("series", ["3.10", "3.14"])
def test_a_python_without_all_packages_is_refused(tmp_path, series):
    python = interpreter(tmp_path, series)
    done = script('install_into_environment ""', INTERS_VENV=str(tmp_path / "venv"), PYTHON=str(python))
    assert done.returncode == 1
    assert done.stderr.startswith(f"inters-jax needs Python 3.11, 3.12 or 3.13; {python} is ")
    assert not (tmp_path / "venv").exists()
