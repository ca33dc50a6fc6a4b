"""scripts/cache_on_dask.py: which tasks it takes; with Dask, that it writes what SeqIO's tool writes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqio_tasks.base import UserError

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "cache_on_dask.py"
TASK = "inters_query_description_gov2_25pct"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("cache_on_dask", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_patterns_name_whole_tasks_once_and_in_order(script):
    patterns = [r"inters_fact_verification_(fever|scifact)", "inters_fact_verification_fever"]
    found = script.chosen(patterns)
    assert sorted(found) == ["inters_fact_verification_fever", "inters_fact_verification_scifact"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("inters_query_matching_mrsp", "did you mean inters_query_matching_msrp"),
        ("inters_(", "no regular expression"),
    ],
)
def test_a_pattern_of_no_task_is_refused(script, pattern, message):
    with pytest.raises(UserError, match=message):
        script.chosen([pattern])


@pytest.mark.skipif(importlib.util.find_spec("distributed") is not None, reason="Dask is installed")
def test_without_dask_it_says_what_to_install(tmp_path):
    arguments = ["--tasks", TASK, "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("cache_on_dask: Dask is not installed") and "pip install" in line
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    "INTERS_DASK_VENV" not in os.environ,
    reason="INTERS_DASK_VENV: an environment with the extra [beam] and apache-beam[dask]",
)
def test_workers_write_what_seqios_own_tool_writes(tmp_path):
    python = Path(os.environ["INTERS_DASK_VENV"]) / "bin" / "python"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "INTERS_RAW_DIR": str(ROOT / "seqio_tasks" / "sample"),
        "HOME": str(tmp_path),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    tool = ["-m", "seqio.scripts.cache_tasks_main", "--module_import=seqio_tasks", f"--tasks={TASK}"]
    by_tool = [*tool, "--pipeline_options=--runner=FnApiRunner", "--min_shards=1"]
    by_dask = [str(SCRIPT), "--tasks", TASK, "--min-shards", "1", "--workers", "2"]
    for command in (
        [*by_tool, f"--output_cache_dir={tmp_path / 'tool'}"],
        [*by_dask, "--cache-dir", str(tmp_path / "dask")],
    ):
        done = subprocess.run(
            [python, *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    names = [sorted(path.name for path in (tmp_path / kind / TASK).iterdir()) for kind in ("tool", "dask")]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(".json"):
            assert (tmp_path / "dask" / TASK / name).read_bytes() == (
                tmp_path / "tool" / TASK / name
            ).read_bytes()
    compare = """
import sys, tensorflow as tf
def examples(pattern):
    for record in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))):
        example = tf.train.Example.FromString(record.numpy())
        yield sorted((name, value.SerializeToString()) for name, value in example.features.feature.items())
one, two = (sorted(examples(pattern)) for pattern in sys.argv[1:])
assert one and one == two, (len(one), len(two))
"""
    files = [str(tmp_path / kind / TASK / "train.tfrecord-*") for kind in ("tool", "dask")]
    subprocess.run([sys.executable, "-c", compare, *files], check=True)
