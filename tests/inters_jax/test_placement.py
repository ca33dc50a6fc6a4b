"""Inference with parameters and rows spread over a mesh of simulated devices."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json
import numpy as np
from inters_jax.inference.generate import Generator
from inters_jax.inference.score import Scorer
from inters_jax.mesh import make_mesh
from inters_jax.models.config import DecoderConfig
from inters_jax.models.loading import load_model

config = DecoderConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, max_position=512
)
draw = np.random.default_rng(0)
prompts = [draw.integers(3, 64, size).tolist() for size in (5, 20, 90, 41, 7)]
found = []
for mesh in (None, "fsdp=2,tensor=2"):
    loaded = load_model(config, mesh=None if mesh is None else make_mesh(mesh), seed=1)
    scorer = Scorer(loaded, batch_tokens=1024)
    scores = scorer.loglikelihood([(prompt, [[5], [6, 7]]) for prompt in prompts])
    answers = Generator(loaded, max_new_tokens=4, batch_tokens=1024).generate(prompts)
    found.append({"scores": scores, "answers": answers, "parts": scorer._parts_of_rows})
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_mesh_gives_the_results_of_one_device():
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone, spread = json.loads(done.stdout.splitlines()[-1])
    assert (alone["parts"], spread["parts"]) == (1, 2)
    np.testing.assert_allclose(spread["scores"], alone["scores"], atol=1e-5)
    assert spread["answers"] == alone["answers"]
