"""Sampling: the exact distribution of a tiny case, and samples that belong to their prompt."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.inference.generate import Generator
from inters_jax.inference.sampling import Sampling, draw, filtered, prompt_keys
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    max_position=160, init_std=0.3,
)  # fmt: skip
PROBABILITIES = np.array([0.4, 0.25, 0.2, 0.1, 0.05])


@pytest.fixture(scope="module")
def loaded():
    return SimpleNamespace(config=CONFIG, model=Decoder(CONFIG, rngs=nnx.Rngs(params=1)), eos_id=2)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1.0), PROBABILITIES),
        (Sampling(temperature=0.5), PROBABILITIES**2),
        (Sampling(temperature=1.0, top_k=2), [0.4, 0.25, 0, 0, 0]),
        (Sampling(temperature=1.0, top_p=0.66), [0.4, 0.25, 0.2, 0, 0]),  # 0.65 is less than 0.66
        (Sampling(temperature=1.0, top_p=0.3), [1, 0, 0, 0, 0]),  # never empty
        (Sampling(temperature=1.0, top_k=3, top_p=0.7), [0.4, 0.25, 0, 0, 0]),  # 0.65 / 0.85 > 0.7
    ],
)
def test_draws_follow_the_distribution(sampling, expected):
    expected = np.asarray(expected) / np.sum(expected)
    logits = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))
    np.testing.assert_allclose(jax.nn.softmax(filtered(logits, sampling)), expected, atol=1e-6)
    size = 20_000
    keys = prompt_keys([[7]] * size, seed=3)
    tokens = np.asarray(draw(jnp.broadcast_to(logits, (size, 5)), keys, 0, sampling))
    shares = np.bincount(tokens, minlength=5) / size
    # Five standard errors of a share; what is left out is never drawn.
    np.testing.assert_array_less(np.abs(shares - expected), 5 * np.sqrt(expected / size) + 1e-9)


def test_other_steps_and_seeds_give_other_draws():
    logits = jnp.zeros((1, 1000))
    seen = {
        int(draw(logits, prompt_keys([[7]], seed), step, Sampling(temperature=1.0))[0])
        for seed in range(3)
        for step in range(3)
    }
    assert len(seen) > 6


@pytest.mark.slow
def test_a_sample_belongs_to_its_prompt_not_to_its_batch(loaded):
    generator = np.random.default_rng(0)
    prompts = [generator.integers(3, 61, size).tolist() for size in (3, 17, 40, 65, 20, 21)]
    options = {"max_new_tokens": 8, "sampling": Sampling(temperature=1.0, top_p=0.95, seed=5)}
    together = Generator(loaded, batch_tokens=2048, **options).generate(prompts)
    backwards = Generator(loaded, batch_tokens=256, **options).generate(prompts[::-1])[::-1]
    assert together == backwards
    assert Generator(loaded, **options).generate(prompts[2:3]) == together[2:3]
    greedy = Generator(loaded, max_new_tokens=8).generate(prompts)
    assert greedy != together


@pytest.mark.slow
def test_the_same_prompt_gives_several_samples_the_same_ones_each_time(loaded):
    generator = Generator(loaded, max_new_tokens=8, sampling=Sampling(temperature=1.0))
    first = generator.generate([[5, 6, 7]] * 4)
    assert len({tuple(answer) for answer in first}) == 4
    assert generator.generate([[5, 6, 7]] * 4) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"temperature": 1.0, "top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"temperature": 1.0, "top_k": 0}, "top_k must be at least 1"),
        ({"top_k": 5}, "set temperature above 0"),
        ({"beams": 2, "temperature": 1.0}, "leave temperature at 0"),
        ({"beams": 0}, "beams must be at least 1"),
    ],
)
def test_invalid_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
