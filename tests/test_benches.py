"""scripts/bench_*.py: contenders as processes, what they share, and how their answers are compared."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

import bench_inference_peers
import bench_scoring
import bench_train
import bench_train_worker
import gguf_from_model
from bench_process import Contender, ContenderError

from inters_jax.models.decoder import random_parameters
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.loading import config_of, load_model

SCRIPTS = Path(bench_train.__file__).parent
DOUBLES = """
import sys
sys.path.append(sys.argv[1])
import bench_process

def work(task):
    print("a library that talks")
    if task == "die":
        raise SystemExit("no memory left")
    return {"double": 2 * int(task)}

bench_process.serve(work)
"""


@pytest.fixture
def contender():
    started = Contender("doubles", [sys.executable, "-c", DOUBLES, str(SCRIPTS)])
    yield started
    started.close()


def test_a_contender_answers_each_task_with_its_time_and_memory(contender: Contender) -> None:
    assert [contender.ask(task)["double"] for task in ("3", "21")] == [6, 42]
    assert len(contender.answers) == 2
    for answer in contender.answers:
        assert 0 <= answer["seconds"] < 60 and answer["memory"] > 1e6
    assert contender.started > 0


def test_the_last_words_of_a_contender_that_ends_are_reported(contender: Contender) -> None:
    with pytest.raises(ContenderError, match=r"(?s)doubles ended with exit code 1.*no memory left$"):
        contender.ask("die")


def test_a_contender_that_cannot_start_is_left_out_with_the_reason(capsys, tmp_path: Path) -> None:
    names = ("size", "rows", "length", "steps", "device", "dtype", "remat")
    options = argparse.Namespace(**dict.fromkeys(names, "tiny"), folder=tmp_path)
    options.python_tunix, options.python_maxtext = None, str(tmp_path / "none")
    assert bench_train.start("tunix", options) is None
    assert bench_train.start("maxtext", options) is None
    first, second = capsys.readouterr().out.splitlines()
    assert first == "tunix: left out, --python_tunix names no interpreter"
    assert second.startswith("maxtext: left out, it cannot run here: ") and "No such file" in second


def test_contenders_share_our_rows_and_weights(tmp_path: Path) -> None:
    options = argparse.Namespace(size="tiny", rows=2, length=64, steps=1, folder=tmp_path)
    bench_train.share(options)
    shared = bench_train_worker.shared_batches(tmp_path)
    ours = bench_train.packed_batches(options)
    for number in (0, 1, 2, 0):  # the shared ones begin again
        theirs, batch = next(shared), ours.batch(number)
        for name in theirs:
            np.testing.assert_array_equal(theirs[name], batch[name], err_msg=name)
        assert bench_train_worker.real_tokens(theirs) == np.count_nonzero(batch["decoder_segment_ids"])
    config = config_of(tmp_path / "model")
    assert config == config_from_hf(bench_train_worker.shape("tiny", 64))
    made = random_parameters(config, 0, None)
    loaded = load_model(tmp_path / "model").model
    np.testing.assert_array_equal(loaded.embedding[...], made["embedding"])


def test_sizes_are_those_of_the_models_they_are_called_after() -> None:
    # SmolLM2-135M has 134,515,008 parameters, of which 61 norms of 576 are in no matrix product.
    assert bench_train_worker.parameters("smollm2") == 134_515_008 - 61 * 576
    for name in ("30m", "110m", "1b"):
        config = config_from_hf(bench_train_worker.shape(name, 512))
        norms = (2 * config.num_layers + 1) * config.hidden_size
        embedding = config.vocab_size * config.hidden_size
        assert bench_train_worker.parameters(name) == config.parameter_count - norms - embedding


def test_tau_is_the_mean_over_queries() -> None:
    queries = [0, 0, 0, 1, 1]
    assert bench_scoring.tau([3, 2, 1, 9, 8], [30, 20, 10, 90, 80], queries) == 1
    assert bench_scoring.tau([3, 2, 1, 9, 8], [1, 2, 3, 8, 9], queries) == -1
    # One of three pairs of the first query is turned: (1 - 2/3 + 1) / 2.
    assert bench_scoring.tau([3, 2, 1, 9, 8], [3, 1, 2, 9, 8], queries) == pytest.approx(2 / 3)


def test_tokens_common_to_the_beginnings() -> None:
    common = bench_inference_peers.common
    assert [common([], [1]), common([1, 2], [1, 2, 3]), common([1, 2, 3], [1, 5, 3])] == [0, 2, 1]


def test_heads_of_llama_cpp_turn_neighbours() -> None:
    """Turning neighbours of the interleaved rows is turning halves of the rows, as transformers does."""
    random = np.random.default_rng(0)
    weight, x = random.normal(size=(2 * 6, 5)), random.normal(size=5)
    angles = random.normal(size=3)
    halves = (weight @ x).reshape(2, 6)
    first, second = halves[:, :3], halves[:, 3:]
    wanted = (
        first * np.cos(angles) - second * np.sin(angles),
        second * np.cos(angles) + first * np.sin(angles),
    )
    pairs = (gguf_from_model._interleaved(weight, 6) @ x).reshape(2, 3, 2)
    turned = pairs[..., 0] + 1j * pairs[..., 1]
    turned = turned * np.exp(1j * angles)
    np.testing.assert_allclose([turned.real, turned.imag], wanted)


def test_every_tensor_of_a_llama_has_a_place_in_a_gguf_file() -> None:
    assert gguf_from_model._place("model.layers.12.self_attn.o_proj.weight") == "blk.12.attn_output.weight"
    assert gguf_from_model._place("lm_head.weight") == "output.weight"
    with pytest.raises(ValueError, match=r"'model.layers.0.self_attn.q_norm.weight' has no place"):
        gguf_from_model._place("model.layers.0.self_attn.q_norm.weight")
