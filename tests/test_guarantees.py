"""The six guarantees of the README, each with its test.

1 loss mask               test_loss_mask_covers_exactly_the_target_tokens_and_eos (real prompts, here)
2 packing                 test_packed_equals_unpacked_per_example_loss_and_gradient (here)
3 weights to HF and back  test_exported_weights_give_transformers_the_same_logits (here; every family in
                          inters_jax/test_decoder_against_transformers.py)
4 a clean install         test_wheel_installs_and_trains_in_an_empty_environment (here)
5 a killed run            inters_jax/test_train.py::test_a_run_killed_with_sigkill_twice_ends_in_the_same_bits
6 documented commands     test_documented_commands.py::test_commands_run_in_processes_of_their_own
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf import folder

ROOT = Path(__file__).resolve().parent.parent
CONFIG = DecoderConfig(
    family="mistral", vocab_size=97, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4,
    num_kv_heads=2, sliding_window=9, max_position=64, bos_id=1, eos_id=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(params=3))


def test_loss_mask_covers_exactly_the_target_tokens_and_eos(tmp_path):
    """Real prompts of the packaged sample, through SeqIO task, store, plan and batch, decoded again."""
    import seqio

    from inters_jax.config import call
    from inters_jax.prepare import prepare
    from seqio_tasks import settings

    tasks = ("inters_query_intent_classification_orcas_i", "inters_fact_retrieval_scifact")
    with settings.override(raw_dir=settings.Settings().raw_dir, tokenizer=settings.Settings().tokenizer):
        for name in tasks:
            task = seqio.get_mixture_or_task(name)
            store = call(prepare, mixture_or_task_name=name, store_dir=str(tmp_path / name), max_length=512)
            vocabulary = task.output_features["targets"].vocabulary
            expected = sorted(
                (encoded.example.inputs, encoded.example.targets)
                for encoded in task.encoded_examples("train", seed=0, epoch=0, max_length=512)
            )
            batches = PackedBatches(store, batch_rows=8, max_length=512, seed=0, epochs=1)
            found = []
            for batch in batches.iterate():
                arrays = {key.removeprefix("decoder_"): array for key, array in batch.items()}
                for row in range(8):
                    for segment in range(1, arrays["segment_ids"][row].max() + 1):
                        here = arrays["segment_ids"][row] == segment
                        sequence = [
                            *arrays["input_tokens"][row][here][:1],
                            *arrays["target_tokens"][row][here],
                        ]
                        scored = arrays["loss_weights"][row][here] == 1
                        start = len(sequence) - int(scored.sum())
                        assert (
                            scored[-1] and scored.sum() == scored[scored.argmax() :].sum()
                        )  # one block, at the end
                        assert sequence[0] == store.manifest["tokenizer"]["bos_id"]
                        assert sequence[-1] == store.manifest["tokenizer"]["eos_id"]
                        prompt = vocabulary.tokenizer.decode([int(t) for t in sequence[1:start]])
                        answer = vocabulary.tokenizer.decode([int(t) for t in sequence[start:-1]])
                        found.append((prompt, answer))
            assert sorted(found) == expected


def random_examples(seed: int = 0) -> list[tuple[list[int], int, str]]:
    """Sequences (tokens, target start, id) of which several share a row of 48; ids 0 and 2 occur as text."""
    random = np.random.default_rng(seed)
    examples = []
    for number in range(9):
        length = int(random.integers(5, 22))
        tokens = [1, *random.integers(0, CONFIG.vocab_size, length - 2).tolist(), 2]
        examples.append((tokens, int(random.integers(2, length - 1)), str(number)))
    return examples


def row_loss(model: Decoder, batch: dict[str, jax.Array], example: jax.Array) -> jax.Array:
    """Summed loss of the positions of one example (a mask [rows, length])."""
    logits = model(batch["decoder_input_tokens"], batch["decoder_segment_ids"], batch["decoder_positions"])
    chosen = jnp.take_along_axis(
        jax.nn.log_softmax(logits), batch["decoder_target_tokens"][..., None], axis=-1
    )
    return -jnp.sum(chosen[..., 0] * batch["decoder_loss_weights"] * example)


def test_packed_equals_unpacked_per_example_loss_and_gradient(model, tmp_path):
    examples = random_examples()
    store = TokenStore.create(
        tmp_path / "store",
        {"task": [examples]},
        vocab_size=CONFIG.vocab_size,
        bos_id=1,
        eos_id=2,
        max_length=48,
    )
    batches = PackedBatches(store, batch_rows=4, max_length=48, seed=0, epochs=1)
    assert batches.total_steps == 1
    packed = batches.batch(0)
    graphdef, params = nnx.split(model, nnx.Param)

    @jax.jit
    def value_and_grad(batch, mask):
        return jax.value_and_grad(lambda params: row_loss(nnx.merge(graphdef, params), batch, mask))(params)

    seen = 0
    for row, names in enumerate(batches.example_ids(0)):
        assert row == 3 or len(names) != 1, "a row of one example shows nothing"
        for segment, name in enumerate(names, 1):
            tokens, start, _ = examples[int(name.rpartition(":")[2])]
            size = len(tokens) - 1
            alone = {
                "decoder_input_tokens": np.array([tokens[:-1]]),
                "decoder_target_tokens": np.array([tokens[1:]]),
                "decoder_loss_weights": (np.arange(1, size + 1) >= start).astype(np.float32)[None],
                "decoder_segment_ids": np.ones((1, size), np.int32),
                "decoder_positions": np.arange(size)[None],
            }
            mask = np.zeros_like(packed["decoder_loss_weights"])
            mask[row] = packed["decoder_segment_ids"][row] == segment
            loss, gradient = value_and_grad(packed, mask)
            loss_alone, gradient_alone = value_and_grad(alone, np.ones((1, size), np.float32))
            np.testing.assert_allclose(loss, loss_alone, rtol=1e-5)
            for left, right in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_alone), strict=True):
                np.testing.assert_allclose(
                    left, right, rtol=1e-4, atol=1e-6 * float(jnp.abs(right).max() + 1)
                )
            seen += 1
    assert seen == len(examples)


def test_exported_weights_give_transformers_the_same_logits(model, tmp_path):
    torch = pytest.importorskip("torch", reason="the reference is transformers on torch")
    from transformers import AutoModelForCausalLM

    folder.save(model, tmp_path / "export")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 24))
    ones, positions = np.ones_like(tokens), np.broadcast_to(np.arange(24), (2, 24))
    with torch.no_grad():
        expected = reference(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(model(tokens, ones, positions), expected, atol=5e-5, rtol=0)
    back = folder.load(tmp_path / "export")
    for left, right in zip(
        jax.tree.leaves(nnx.state(model, nnx.Param)), jax.tree.leaves(nnx.state(back, nnx.Param)), strict=True
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.slow
def test_wheel_installs_and_trains_in_an_empty_environment(tmp_path):
    """Wheel, new environment, pinned dependencies from the index, then the README's command for a laptop."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environment |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("inters_jax-*.whl")
    assert set(zipfile.ZipFile(wheel).namelist()) >= packaged_files()
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)  # the new environment has no pip of its own
    choose = '. "$0/scripts/environment.sh"; constraints_for "$1"'
    constraints = ROOT / run("bash", "-c", choose, ROOT, python).strip()
    run(*pip, "install", "--quiet", "--no-compile", "-c", constraints, wheel)
    run(*pip, "check")
    command = (
        python,
        "-m",
        "inters_jax.train",
        "--gin_file=tiny.gin",
        "--gin.MODEL_DIR=run",
        "--gin.TRAIN_STEPS=2",
        "--gin.MIXTURE_OR_TASK_NAME=inters_query_understanding",
    )
    assert "finished" in run(*command)
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()


def packaged_files() -> set[str]:
    """Every module, template, sample and recipe of the repository, by its place in the wheel."""
    places = {"inters_jax": "inters_jax", "seqio_tasks": "seqio_tasks", "gin": "inters_jax/gin_configs"}
    return {
        f"{place}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, place in places.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
