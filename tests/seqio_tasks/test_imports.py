"""What may be imported without SeqIO and TensorFlow, and when tasks are registered."""

import pkgutil
import subprocess
import sys

import pytest

import seqio_tasks

# The only modules that may import SeqIO and TensorFlow.
SEQIO_SIDE = {
    f"seqio_tasks.{name}"
    for name in ("tasks", "mixtures.registered", "pipeline", "vocabularies", "registration")
}
FRAMEWORKS = ("tensorflow", "seqio", "jax", "torch", "transformers")
# Commands that list and check: they must start at once.
COMMANDS = (
    "seqio_tasks.catalog",
    "seqio_tasks.mixtures",
    "seqio_tasks.mixtures inters_quickstart",
    "seqio_tasks.templates --check",
    "seqio_tasks.templates --list",
    "seqio_tasks.download --help",
)
ORDERS = {
    "seqio first": "import seqio, seqio_tasks",
    "seqio_tasks first": "import seqio_tasks, seqio",
    "tasks alone": "import seqio_tasks.tasks",
    "vocabularies alone": "import seqio_tasks.vocabularies",
    "mixtures alone": "from seqio_tasks.mixtures import registered",
}


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_other_modules_load_no_framework():
    names = {module.name for module in pkgutil.walk_packages(seqio_tasks.__path__, "seqio_tasks.")}
    assert names > SEQIO_SIDE
    light = sorted(name for name in names - SEQIO_SIDE if not name.endswith("__main__"))
    imports = "; ".join(f"import {name}" for name in light)
    assert output_of(f"import sys; {imports}; print(set({FRAMEWORKS}) & set(sys.modules))") == "set()"


@pytest.mark.parametrize("command", COMMANDS)
def test_listing_and_checking_loads_no_framework_and_logs_nothing(command):
    module, *arguments = command.split()
    program = f"""
import runpy, sys
sys.argv = {[module, *arguments]!r}
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print({{name for name in {FRAMEWORKS} if name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "set()" and len(done.stdout.splitlines()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_every_task_is_registered_whatever_is_imported_first(order, tmp_path, monkeypatch):
    own = tmp_path / "mine.yaml"
    own.write_text(
        "datasets:\n  mine: {task: fact_retrieval, folder: a}\nmixtures:\n  both: {mine: 1, inters: 2}\n"
    )
    monkeypatch.setenv("INTERS_DATASETS", str(own))
    program = f"{ORDERS[order]}\nimport seqio\nprint('inters' in seqio.MixtureRegistry.names(), end=' ')"
    program += "\nprint('inters_ood_trec_dl_2019_rerank' in seqio.TaskRegistry.names())"
    program += "\nprint('both' in seqio.MixtureRegistry.names())"
    assert output_of(program).splitlines()[-2:] == ["True True", "True"]
