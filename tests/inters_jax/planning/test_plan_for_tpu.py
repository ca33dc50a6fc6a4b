"""A slice that is not there: the step of a small decoder compiled by libtpu alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"),
]

SCRIPT = """
import json, sys
from inters_jax.models.config import DecoderConfig
from inters_jax.plan import make_plan
from inters_jax.planning.plan import record
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import resolve

config = DecoderConfig(
    vocab_size=1024, hidden_size=512, intermediate_size=1024, num_layers=3, num_heads=4, num_kv_heads=2)
settings = Settings(config, batch_size=8, max_length=512, loss_positions=128)
found = {}
for name, memory, tries in (("v5e-8", None, 0), ("v5e-1", None, 0)):
    found[name] = record(make_plan(settings, resolve(name, memory), compiles=True, tries=tries))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def plans():
    # A process of its own: libtpu must not settle in the one that runs all other tests.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_slice_is_compiled_for_without_being_there(plans):
    plan = plans["v5e-8"]
    assert plan["source"] == "compiled" and plan["fits"] and plan["devices"] == 8
    assert plan["bytes"]["parameters"] == pytest.approx(4 * plan["parameters"] / 8, rel=0.01)
    kinds = {kind for kind, _, _ in plan["collectives"]}
    assert kinds & {"all-gather", "collective-permute"} and kinds & {"reduce-scatter", "all-reduce"}
    assert 0 < plan["mfu"]["serial"] <= plan["mfu"]["overlapped"] < 1


def test_one_chip_holds_everything_and_sends_nothing(plans):
    plan = plans["v5e-1"]
    assert plan["fits"] and plan["devices"] == 1 and not plan["collectives"]
    assert plan["bytes"]["parameters"] == 4 * plan["parameters"]


def test_attention_runs_in_the_kernel_of_the_tpu(plans):
    # Its products are in a kernel, so the program's own are those of the linear maps and the head.
    plan = plans["v5e-1"]
    assert plan["flops"]["compiled_per_device"] < 0.97 * plan["flops"]["hardware"]
