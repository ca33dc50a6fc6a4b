"""Stop strings: across token boundaries, inside tokens, and in the generation loop."""

from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx
from tokenizers import Tokenizer, decoders, models

from inters_jax.inference.generate import STOP_CHUNK, Generator
from inters_jax.inference.stops import StopStrings
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder

PIECES = ["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", ".", "\n", "ab", "c\n", "\nde", " "]


@pytest.fixture(scope="module")
def tokenizer():
    """Pieces that decode to their own text; letters are encoded one by one."""
    made = Tokenizer(models.BPE({piece: n for n, piece in enumerate(PIECES)}, []))
    made.decoder = decoders.Fuse()
    made.add_special_tokens(["<pad>", "<s>", "</s>"])
    return made


def ids(*pieces):
    return [PIECES.index(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["a", "b", ".", "c"], ["a", "b"]),
        (["a", "c\n", "d"], ["a", "c"]),  # the stop begins inside a token: its first character stays
        (["ab", "\nde", "f"], ["ab"]),
        (["x", "y", "z", "a"], []),  # "xyz" spans three tokens
        (["a", "x", "y", ".", "x", "y", "z"], ["a", "x", "y"]),  # the first of several
        (["a", "b", "</s>"], None),
    ],
)
def test_the_answer_ends_before_the_first_stop_string(tokenizer, pieces, kept):
    stops = StopStrings(tokenizer, ("xyz", ".", "\n"))
    assert stops.cut(ids(*pieces)) == (None if kept is None else ids(*kept))
    assert stops.found(ids(*pieces)) == (kept is not None)


@pytest.mark.slow
def test_generation_stops_early_and_equals_the_cut_of_the_whole_answer(tokenizer):
    config = DecoderConfig(
        vocab_size=len(PIECES), hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4,
        num_kv_heads=2, max_position=256, init_std=0.6,
    )  # fmt: skip
    model = Decoder(config, rngs=nnx.Rngs(params=1))
    loaded = SimpleNamespace(config=config, model=model, eos_id=2, tokenizer=tokenizer)
    draws = np.random.default_rng(0)
    prompts = [draws.integers(3, 29, size).tolist() for size in (3, 9, 17, 5)]
    whole = Generator(loaded, max_new_tokens=5 * STOP_CHUNK).generate(prompts)
    text = tokenizer.decode(whole[0][:12])
    stop = text[3:6]  # spans tokens, as it comes
    generator = Generator(loaded, max_new_tokens=5 * STOP_CHUNK, stop_strings=[stop])
    answers = generator.generate(prompts)
    expected = [StopStrings(tokenizer, (stop,)).cut(answer) for answer in whole]
    assert answers == [full if cut is None else cut for full, cut in zip(whole, expected, strict=True)]
    assert answers[0] != whole[0] and stop not in tokenizer.decode(answers[0])
    stopped = sum(cut is None and full[-1] != 2 for full, cut in zip(whole, expected, strict=True))
    assert generator.counts.truncated == stopped
    alone = Generator(loaded, max_new_tokens=5 * STOP_CHUNK, stop_strings=[stop])
    assert alone.generate(prompts[:1]) == answers[:1]
    with pytest.raises(ValueError, match="stop strings need a tokenizer"):
        Generator(SimpleNamespace(config=config, model=model, eos_id=2), stop_strings=["x"])


def test_a_single_text_is_no_sequence_of_stop_strings(tokenizer):
    with pytest.raises(ValueError, match="sequence of non-empty strings"):
        StopStrings(tokenizer, "ab")
