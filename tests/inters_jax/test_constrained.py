"""Permutations and choices against greedy generation restricted token by token with full passes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inters_jax.inference.generate import Generator
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

LENGTH = 224
CONFIG = DecoderConfig(
    vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    max_position=LENGTH, init_std=0.6,
)  # fmt: skip
OPEN, CLOSE, ZERO = 20, 21, 30
SEPARATOR = [22, 23]


def identifier(number):
    """ "[12]" in tokens: bracket, digit, digit, bracket."""
    return [OPEN, *(ZERO + int(digit) for digit in str(number)), CLOSE]


@pytest.fixture(scope="module")
def loaded():
    return SimpleNamespace(config=CONFIG, model=Decoder(CONFIG, rngs=nnx.Rngs(params=1)), eos_id=2)


@pytest.fixture(scope="module")
def generator(loaded):
    return Generator(loaded, batch_tokens=2048)


@pytest.fixture(scope="module")
def after(loaded):
    """Logits of the next token after a sequence, by one full forward pass."""
    forward = jax.jit(lambda tokens, positions: loaded.model(tokens, jnp.ones_like(tokens), positions))

    def logits(sequence):
        tokens = np.zeros((1, LENGTH), np.int32)
        tokens[0, : len(sequence)] = sequence
        return np.asarray(forward(tokens, np.arange(LENGTH)[None]))[0, len(sequence) - 1]

    return logits


def restricted(after, prompt, items, separator, named):
    """The definition: at every token, the most probable one that still leads to an item not yet named."""
    sequence, order = list(prompt), []
    while len(order) < named:
        if order:
            sequence += separator
        said = []
        while said not in items:
            left = [item for index, item in enumerate(items) if index not in order]
            allowed = {item[len(said)] for item in left if item[: len(said)] == said}
            logits = after(sequence)
            said.append(max(allowed, key=lambda token: logits[token]))
            sequence.append(said[-1])
        order.append(items.index(said))
    return order


def draw_prompts(sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(3, 61, size).tolist() for size in sizes]


@pytest.mark.slow
def test_permutations_equal_greedy_generation_restricted_by_hand(generator, after):
    prompts = draw_prompts((5, 17, 70, 40))
    items = [identifier(number) for number in range(8, 14)]  # [8] [9] [10] ... [13]
    orders = generator.permutations(prompts, items, SEPARATOR)
    assert orders == [restricted(after, prompt, items, SEPARATOR, len(items)) for prompt in prompts]
    assert len({tuple(order) for order in orders}) > 1  # the model decides, not the method


@pytest.mark.slow
def test_every_answer_is_a_permutation(generator):
    prompts = draw_prompts(range(3, 33), seed=1)
    items = [identifier(number) for number in range(1, 21)]
    orders = generator.permutations(prompts, items, SEPARATOR)
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert generator.permutations(prompts[::-1], items, SEPARATOR)[::-1] == orders  # whatever the batch


@pytest.mark.slow
@pytest.mark.parametrize("separator", [[], [22], [22, 23, 24, 25, 26, 27, 28, 29, 40]])
def test_any_separator_and_candidates_of_their_own_for_each_prompt(generator, after, separator):
    prompts = draw_prompts((5, 17, 9), seed=2)
    items = [
        [identifier(number) for number in (3, 1, 2)],
        [[40], [41, 50], [41, 51, 52, 53, 54, 55, 56, 57, 58, 59]],
        [[44]],
    ]
    orders = generator.permutations(prompts, items, separator)
    assert orders == [
        restricted(after, prompt, own, separator, len(own))
        for prompt, own in zip(prompts, items, strict=True)
    ]


@pytest.mark.slow
def test_a_choice_follows_the_trie_of_the_continuations(generator, after):
    prompts = draw_prompts(range(4, 16), seed=3)
    continuations = [[7, 8, 2], [7, 9, 10, 2], [11, 2], [12, 7, 2], [7, 8, 9, 2]]
    chosen = generator.choose(prompts, continuations)
    assert chosen == [restricted(after, prompt, continuations, [], 1)[0] for prompt in prompts]
    assert len(set(chosen)) > 1
    assert generator.choose(prompts[:1], [[5]]) == [0]
    assert generator.choose([], continuations) == []


@pytest.mark.slow
def test_progress_and_compilations_are_counted(loaded):
    generator, seen = Generator(loaded), []
    generator.permutations(draw_prompts((5, 6, 80)), [[5], [6]], [], progress=seen.append)
    assert sum(seen) == 3 and generator.compilations == 2


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [[5, 6], [5], [7]],
            r"candidate 1 of prompt 0 is a prefix of candidate 0 \(\[5\] and \[5, 6\]\)",
        ),
        ([[5], [7], [5]], "candidate 0 of prompt 0 equals candidate 2"),
        ([[5], []], "candidate 1 of prompt 0 has no tokens"),
        ([[5], [99]], r"candidate 1 of prompt 0 has tokens 99\.\.99"),
        ([[[5]], [[6]]], "2 lists of candidates for 1 prompts"),
        ([], "prompt 0 has no candidates"),
    ],
)
def test_candidates_that_cannot_be_told_apart_are_refused(generator, items, message):
    with pytest.raises(ValueError, match=message):
        generator.permutations([[4, 5]], items, [])


def test_a_prompt_without_room_for_the_answer_is_refused(generator):
    with pytest.raises(ValueError, match=r"prompt 1 has 220 tokens.*its answer may need 8 more"):
        generator.permutations([[5], [5] * 220], [identifier(1), identifier(2)], SEPARATOR)
