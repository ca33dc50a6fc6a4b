"""Commands that read no SeqIO task load neither SeqIO nor TensorFlow: they start in a second, not in ten."""

import subprocess
import sys

import pytest

HEAVY = "tensorflow", "seqio", "torch", "transformers"
# Everything that training, reranking, serving, planning and the reading of stores and results is made of.
LIGHT = [
    "inters_jax.rerank",
    "inters_jax.ranking.reranker",
    "inters_jax.ranking.candidates",
    "inters_jax.serve",
    "inters_jax.evaluate",
    "inters_jax.evaluation.bridge",
    "inters_jax.evaluation.items",
    "inters_jax.evaluation.target_loss",
    "inters_jax.evaluation.verify",
    "inters_jax.evaluation.written_runs",
    "inters_jax.experiments.lists",
    "inters_jax.experiments.orders",
    "inters_jax.experiments.runs",
    "inters_jax.data.conversion",
    "inters_jax.data.loader",
    "inters_jax.journal",
    "inters_jax.paths",
    "inters_jax.plan",
    "inters_jax.planning.advice",
    "inters_jax.planning.compile",
    "inters_jax.planning.shapes",
    "inters_jax.train",
]


def loaded_by(program):
    program += f"\nimport sys\nprint({set(HEAVY)} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_light_modules_load_neither_seqio_nor_tensorflow():
    assert loaded_by("\n".join(f"import {name}" for name in LIGHT)) == "set()"


def test_a_whole_reranking_loads_neither_seqio_nor_tensorflow(tmp_path):
    """BM25 and a function in the model's place, to the last file that is written."""
    program = f"""
from pathlib import Path
import seqio_tasks
from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.candidates import candidates_of
from inters_jax.ranking.collection import open_collection
from inters_jax.ranking.methods import make_method
from inters_jax.ranking.reranking import rerank_candidates, write_results

seqio_tasks.configure(cache_dir={str(tmp_path / "cache")!r})
data = open_collection(Path(seqio_tasks.__file__).parent / "sample" / "beir_scifact", max_queries=2)
candidates = candidates_of(data, None, 5)
backend = FunctionBackend(lambda query, document: float(len(document.text)))
manifest = {{"command": "rerank", "method": "setwise", "collection": data.name, "split": "test"}}
manifest |= {{"first_stage": candidates.source, "depth": 5}}
result = rerank_candidates(
    data, candidates, make_method("setwise"), backend, Path({str(tmp_path / "out")!r}), manifest
)
write_results(Path({str(tmp_path / "out")!r}), result)
from inters_jax.evaluation.verify import verify
print(verify({str(tmp_path / "out")!r} + "/results.json"))
"""
    assert loaded_by(program) == "set()"
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_what_reads_seqio_tasks_loads_seqio():
    """The counterpart, so that the tests above look for the right names."""
    assert "seqio" in loaded_by("import inters_jax.data.building")
