"""``python bucket_launcher.py FOLDER MODULE ARGUMENTS``: run a module, with gs:// in a folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "inters_jax"))

import bucket_stand_ins

if __name__ == "__main__":
    folder, module, *arguments = sys.argv[1:]
    bucket_stand_ins.install(Path(folder), pytest.MonkeyPatch())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
