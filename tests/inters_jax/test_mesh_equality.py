"""Every mesh of eight simulated devices computes what one device computes, with the collectives it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inters_jax import mesh as meshes

HERE = Path(__file__).parent

# (line, microbatches). Sixteen rows, four query heads and two key heads: tensor=8 divides no heads, tensor=4
# only those of queries; the rest stays whole.
MESHES = [
    ("replica=8", 1), ("data=8", 1), ("fsdp=8", 1), ("tensor=8", 1), ("sequence=8", 1),
    ("replica=2,fsdp=4", 1), ("data=2,fsdp=4", 1), ("replica=2,data=2,fsdp=2", 1),
    ("fsdp=4,tensor=2", 1), ("fsdp=2,tensor=4", 1), ("data=2,tensor=4", 1),
    ("fsdp=4,sequence=2", 1), ("fsdp=2,sequence=4", 1), ("data=2,sequence=4", 1),
    ("tensor=4,sequence=2", 1), ("tensor=2,sequence=4", 1),
    ("data=2,fsdp=2,tensor=2", 1), ("fsdp=2,tensor=2,sequence=2", 1), ("replica=2,tensor=2,sequence=2", 1),
    ("fsdp=8", 2), ("fsdp=4,tensor=2", 4), ("data=2,fsdp=2,sequence=2", 4),
]  # fmt: skip

# One layer of the feed-forward weights, whole, and stacked as they are stored.
MLP, STACKED_MLP = {"16,56", "56,16"}, {"2,16,56", "2,56,16"}


@pytest.fixture(scope="module")
def table():
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{HERE}{os.pathsep}{Path(meshes.__file__).parents[1]}",
    }
    command = [sys.executable, str(HERE / "mesh_table.py"), json.dumps(MESHES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_mesh_gives_the_loss_and_the_gradients_of_one_device(table, record_property):
    for name, found in table.items():
        for figure in ("loss", "gradient", "rows"):
            record_property(f"relative error of {figure}, {name}", float(found[figure]))
    assert len(table) == len(MESHES)
    wrong = {name: found for name, found in table.items()
             if max(found["loss"], found["gradient"], found["rows"]) > 1e-5}  # fmt: skip
    assert not wrong


def gathered(table, name):
    return {shape for kind, shape in table[f"{name}/1"]["collectives"] if kind == "all-gather"}


@pytest.mark.slow
def test_only_fsdp_gathers_parameters_and_one_layer_at_a_time(table):
    for name in ("replica=8", "data=8", "tensor=8", "sequence=8", "data=2,tensor=4", "tensor=4,sequence=2"):
        assert not gathered(table, name) & (MLP | STACKED_MLP), name
    assert gathered(table, "fsdp=8") >= MLP
    assert gathered(table, "fsdp=4,tensor=2") & {"16,28", "28,16"}  # the slices of tensor stay slices
    assert not gathered(table, "fsdp=4,tensor=2") & MLP
    for name in table:
        line, _, parts = name.rpartition("/")
        assert parts != "1" or not gathered(table, line) & STACKED_MLP, name


@pytest.mark.slow
def test_gradients_are_summed_where_rows_are_divided(table):
    def reduced(name):
        kinds = ("all-reduce", "reduce-scatter")
        return {shape for kind, shape in table[f"{name}/1"]["collectives"] if kind in kinds}

    assert reduced("data=8") & (MLP | STACKED_MLP) and reduced("fsdp=8") & (MLP | STACKED_MLP)
    assert not reduced("tensor=8") & (MLP | STACKED_MLP)
