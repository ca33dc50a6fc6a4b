"""Lets the tests of this folder import the helper modules beside them by name, and keeps files apart."""

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from seqio_tasks import settings

with contextlib.suppress(ImportError):  # of torch for CUDA; imported after TensorFlow, it ends the process
    import triton  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))

XLA_FLAGS = "--xla_cpu_parallel_codegen_split_count=1"
if metadata.version("jaxlib").startswith("0.10."):  # later ones refuse the flag, which ends the process
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"

# Programs of tests compile far longer than they run. LLVM's expensive passes are left out, as JAX's tests do,
# and so are XLA's newer emitters of fusions, which take three quarters of the rest. Compiled programs are on
# disk, also for the processes that tests start: many train the same tiny models.
for _name, _value in {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "OMP_NUM_THREADS": "1",  # threads of torch that wait for each other take more time than they save
    "XLA_FLAGS": XLA_FLAGS,
}.items():
    os.environ.setdefault(_name, _value)

# The files that take longest, the longest first: one that started last would run on one processor alone.
LONGEST = (
    "tests/test_documented_commands.py",
    "tests/inters_jax/test_experiments_start.py",
    "tests/inters_jax/test_many_hosts.py",
    "tests/test_guarantees.py",
    "tests/inters_jax/test_train.py",
    "tests/seqio_tasks/test_t5x_contract.py",
    "tests/inters_jax/test_faults.py",
    "tests/inters_jax/test_sweep.py",
    "tests/inters_jax/test_evaluation_runs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(autouse=True, scope="module")
def _settings_of_the_file() -> Iterator[None]:
    """A command that ran in this process leaves its RAW_DIR and TOKENIZER to no other file."""
    with settings.override():
        yield
