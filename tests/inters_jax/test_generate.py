"""Greedy generation against repeated full forward passes and against transformers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.inference.generate import Generator
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    max_position=160, init_std=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    return SimpleNamespace(config=CONFIG, model=Decoder(CONFIG, rngs=nnx.Rngs(params=1)), eos_id=2)


@pytest.fixture(scope="module")
def prompts():
    generator = np.random.default_rng(0)
    return [generator.integers(3, 61, size).tolist() for size in (1, 3, 17, 40, 64, 65, 90, 20, 21, 22, 23)]


@pytest.fixture(scope="module")
def plain(loaded):
    forward = jax.jit(lambda tokens, positions: loaded.model(tokens, jnp.ones_like(tokens), positions))

    def greedy(prompt, steps, stop):
        sequence = list(prompt)
        while len(sequence) - len(prompt) < steps:
            tokens = np.zeros((1, 160), np.int32)
            tokens[0, : len(sequence)] = sequence
            logits = forward(tokens, np.arange(160)[None])
            sequence.append(int(np.argmax(logits[0, len(sequence) - 1])))
            if sequence[-1] in stop:
                break
        return sequence[len(prompt) :]

    return greedy


def test_cached_generation_equals_repeated_full_passes(loaded, prompts, plain):
    generator = Generator(loaded, max_new_tokens=12, batch_tokens=512)
    answers = generator.generate(prompts)
    assert answers == [plain(prompt, 12, {2}) for prompt in prompts]
    assert generator.counts.prompts == len(prompts)
    assert generator.counts.truncated == sum(answer[-1] != 2 for answer in answers)
    assert generator.compilations <= 6


def test_one_prompt_takes_one_row_on_a_cpu(loaded, prompts):
    generator = Generator(loaded, max_new_tokens=4, batch_tokens=16384)
    generator.generate(prompts[:1])
    assert [rows for rows, _ in generator.shapes] == [1]


@pytest.mark.slow
def test_an_answer_does_not_depend_on_its_batch(loaded, prompts):
    together = Generator(loaded, max_new_tokens=8, batch_tokens=2048).generate(prompts)
    backwards = Generator(loaded, max_new_tokens=8, batch_tokens=256).generate(prompts[::-1])[::-1]
    assert together == backwards
    alone = Generator(loaded, max_new_tokens=8)
    assert together[2:4] == [alone.generate([prompt])[0] for prompt in prompts[2:4]]


def test_generation_stops_behind_any_end_token(loaded, prompts, plain):
    long = plain(prompts[3], 12, set())
    stop = long[4]
    answer = Generator(loaded, max_new_tokens=12, eos_ids=[2, stop]).generate([prompts[3]])[0]
    assert answer == long[: long.index(stop) + 1]


def test_generation_ends_at_the_last_position_of_the_model(loaded):
    generator = Generator(loaded, max_new_tokens=12, eos_ids=[60])
    prompt = [5] * 155
    answer = generator.generate([prompt])[0]
    assert len(answer) <= 5
    with pytest.raises(ValueError, match=r"prompt 1 has 160 tokens, the model has 160 positions"):
        generator.generate([[5], [5] * 160])


@pytest.mark.slow
def test_equal_to_transformers(prompts, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from inters_jax.models.hf import folder

    config = transformers.LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=160, initializer_range=0.5,
        bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5,
    )  # fmt: skip
    torch.manual_seed(0)
    reference = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    model = folder.load(tmp_path, dtype="float32")
    ours = SimpleNamespace(config=model.config, model=model, eos_id=2)
    answers = Generator(ours, max_new_tokens=12, batch_tokens=1024).generate(prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        with torch.no_grad():
            ids = torch.tensor([prompt])
            out = reference.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
            )
        assert answer == out[0, len(prompt) :].tolist()
