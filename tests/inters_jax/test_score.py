"""Scores of packed, branched rows against one plain forward pass per sequence."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.inference.score import Scorer
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    max_position=2048, init_std=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    return SimpleNamespace(config=CONFIG, model=Decoder(CONFIG, rngs=nnx.Rngs(params=0)), eos_id=2)


@pytest.fixture(scope="module")
def plain(loaded):
    """log p(next token) after every position of one sequence, float64 [length, vocab]."""
    forward = jax.jit(lambda tokens, positions: loaded.model(tokens, jnp.ones_like(tokens), positions))

    def logits(sequence):
        # Padded on the right: causal attention does not see it, and fewer shapes are compiled.
        length = 64 * -(-len(sequence) // 64)
        tokens = np.zeros((1, length), np.int32)
        tokens[0, : len(sequence)] = sequence
        return np.asarray(forward(tokens, np.arange(length)[None]), np.float64)[0, : len(sequence)]

    return logits


def naive(plain, prompt, continuation):
    sequence = [*prompt, *continuation]
    logits = plain(sequence)
    total = 0.0
    for at, token in enumerate(continuation, start=len(prompt)):
        total += logits[at - 1, token] - np.logaddexp.reduce(logits[at - 1])
    return total


def draw(generator, low, high):
    return generator.integers(3, CONFIG.vocab_size, generator.integers(low, high)).tolist()


def test_loglikelihood_equals_one_forward_pass_per_sequence(loaded, plain):
    generator = np.random.default_rng(0)
    items = [
        (draw(generator, 1, 120), [draw(generator, 1, 6) for _ in range(generator.integers(1, 5))])
        for _ in range(25)
    ]
    scorer = Scorer(loaded, batch_tokens=512)
    scores = scorer.loglikelihood(items)
    for (prompt, continuations), row in zip(items, scores, strict=True):
        assert len(row) == len(continuations)
        for continuation, score in zip(continuations, row, strict=True):
            assert score == pytest.approx(naive(plain, prompt, continuation), abs=1e-5, rel=1e-5)
    repeated = sum(len(prompt) + len(c) for prompt, continuations in items for c in continuations)
    assert scorer.real_tokens < repeated
    assert scorer.compilations <= 12


def test_a_score_does_not_depend_on_its_neighbours(loaded):
    generator = np.random.default_rng(1)
    items = [(draw(generator, 5, 80), [[7], [8, 9, 2]]) for _ in range(12)]
    together = Scorer(loaded, batch_tokens=1024).loglikelihood(items)
    alone = [Scorer(loaded).loglikelihood([item])[0] for item in items[:3]]
    np.testing.assert_allclose(together[:3], alone, atol=1e-5)


def test_label_logits_are_the_raw_logits_after_the_prompt_shared_beginning_or_not(loaded, plain):
    generator = np.random.default_rng(2)
    prompts = []
    for _ in range(5):  # five queries, their candidates beside each other
        beginning = draw(generator, 10, 40)
        prompts += [beginning + draw(generator, 1, 60) for _ in range(6)]
    prompts.append(prompts[-1][:3])  # a prompt that is a beginning of another one
    expected = [plain(prompt)[-1, [5, 9, 11]] for prompt in prompts]
    shared = Scorer(loaded, batch_tokens=1024)
    apart = Scorer(loaded, batch_tokens=1024)
    got = shared.label_logits(prompts, [5, 9, 11])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)
    unshared = apart.label_logits(prompts, [5, 9, 11], share_beginnings=False)
    np.testing.assert_allclose(unshared, expected, atol=1e-5)
    normalised = apart.label_logits(prompts, [5, 9, 11], share_beginnings=False, normalised=True)
    logs = [
        row - np.logaddexp.reduce(plain(prompt)[-1]) for prompt, row in zip(prompts, expected, strict=True)
    ]
    np.testing.assert_allclose(normalised, logs, atol=1e-5, rtol=1e-5)
    apart.real_tokens //= 2  # the same prompts were scored twice
    assert apart.real_tokens == sum(map(len, prompts)) > 1.2 * shared.real_tokens


def test_many_continuations_are_spread_over_several_rows(loaded, plain):
    generator = np.random.default_rng(3)
    prompt = draw(generator, 20, 21)
    continuations = [draw(generator, 10, 30) for _ in range(20)]
    scores = Scorer(loaded, max_row=64).loglikelihood([(prompt, continuations)])[0]
    expected = [naive(plain, prompt, continuation) for continuation in continuations]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_progress_counts_every_prompt_once(loaded):
    generator = np.random.default_rng(4)
    seen = []
    items = [(draw(generator, 5, 30), [[7], [8]]) for _ in range(9)]
    Scorer(loaded).loglikelihood(items, progress=seen.append)
    assert sum(seen) == 9


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([([], [[1]])], "prompt 0 is empty"),
        ([([1], [[1], []])], "continuation 1 of prompt 0 is empty"),
        ([([1], [[61]])], r"token 61, the model has 0\.\.60"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(loaded, items, message):
    with pytest.raises(ValueError, match=message):
        Scorer(loaded).loglikelihood(items)
