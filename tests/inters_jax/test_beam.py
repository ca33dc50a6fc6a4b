"""Beam search against exhaustive search, batch independence, and transformers' num_beams."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.inference.generate import Generator
from inters_jax.inference.sampling import Sampling
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder


def small(vocabulary):
    return DecoderConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4,
        num_kv_heads=2, max_position=160, init_std=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    config = small(7)
    return SimpleNamespace(config=config, model=Decoder(config, rngs=nnx.Rngs(params=3)), eos_id=2)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_answer(loaded, penalty):
    prompt, steps = [4, 5, 6], 3
    # All answers of up to three tokens: EOS (2) ends one, the third token in any case.
    answers = [
        answer
        for size in (1, 2, 3)
        for answer in itertools.product(range(7), repeat=size)
        if 2 not in answer[:-1] and (size == 3 or answer[-1] == 2)
    ]
    tokens = np.zeros((len(answers), 6), np.int32)
    for row, answer in enumerate(answers):
        tokens[row, : 3 + len(answer)] = [*prompt, *answer]
    logits = loaded.model(tokens, jnp.ones_like(tokens), jnp.broadcast_to(jnp.arange(6), tokens.shape))
    logs = np.asarray(jax.nn.log_softmax(logits))
    worth = [
        sum(logs[row, 2 + at, token] for at, token in enumerate(answer)) / len(answer) ** penalty
        for row, answer in enumerate(answers)
    ]
    sampling = Sampling(beams=49, length_penalty=penalty)
    found = Generator(loaded, max_new_tokens=steps, sampling=sampling, eos_ids=[2]).generate([prompt])[0]
    # The early stop judges running beams by their present length; with a penalty the search may end sooner.
    assert found == list(answers[int(np.argmax(worth))])


@pytest.mark.slow
def test_an_answer_does_not_depend_on_its_batch(loaded):
    generator = np.random.default_rng(0)
    prompts = [generator.integers(3, 7, size).tolist() for size in (3, 17, 40, 65, 20, 21)]
    options = {"max_new_tokens": 8, "sampling": Sampling(beams=3)}
    together = Generator(loaded, batch_tokens=2048, **options).generate(prompts)
    backwards = Generator(loaded, batch_tokens=256, **options).generate(prompts[::-1])[::-1]
    assert together == backwards


@pytest.mark.slow
@pytest.mark.parametrize("ends", [[2], [2, 9, 13]])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_equal_to_transformers(tmp_path, ends, penalty):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from inters_jax.models.hf import folder

    config = transformers.LlamaConfig(
        vocab_size=29, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=160, initializer_range=0.4,
        bos_token_id=1, eos_token_id=ends, rms_norm_eps=1e-5,
    )  # fmt: skip
    torch.manual_seed(0)
    reference = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    model = folder.load(tmp_path, dtype="float32")
    ours = SimpleNamespace(config=model.config, model=model, eos_id=2)
    generator = np.random.default_rng(1)
    prompts = [generator.integers(3, 29, size).tolist() for size in (1, 3, 17, 40, 22, 9, 5, 30)]
    for beams in (2, 4):
        sampling = Sampling(beams=beams, length_penalty=penalty)
        answers = Generator(ours, max_new_tokens=12, eos_ids=ends, sampling=sampling).generate(prompts)
        assert any(answer[-1] in ends for answer in answers)
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt])
            with torch.no_grad():
                out = reference.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
                    num_beams=beams, length_penalty=penalty, pad_token_id=0,
                )  # fmt: skip
            assert answer == out[0, len(prompt) :].tolist()
