"""Draws depend on names only; settings are read late and can be overridden."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from seqio_tasks import settings
from seqio_tasks.seeded import Draws, splitmix64


def test_splitmix64_equals_the_published_sequence() -> None:
    # The usual reference values, for seed 1234567: the state moves on by the golden ratio, which our function
    # adds itself.
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + i * golden) & ((1 << 64) - 1) for i in range(5)]
    assert [splitmix64(state) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_each_name_changes_the_stream() -> None:
    streams = {
        names: tuple(Draws(*names).bits() for _ in range(1))
        for names in [
            (0, 0, "a", "x"),
            (1, 0, "a", "x"),
            (0, 1, "a", "x"),
            (0, 0, "b", "x"),
            (0, 0, "a", "y"),
        ]
    }
    assert len(set(streams.values())) == 5


@pytest.mark.slow
def test_draws_are_the_same_in_another_process() -> None:
    code = "from seqio_tasks.seeded import Draws; print(Draws(3, 1, 'é/7', 'order').permutation(9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(Draws(3, 1, "é/7", "order").permutation(9))


def test_integers_and_coins_are_even() -> None:
    draws = [Draws(0, 0, str(i), "test") for i in range(12_000)]
    counts = Counter(d.integer(12) for d in draws)
    assert set(counts) == set(range(12))
    assert all(850 < count < 1150 for count in counts.values())  # 1000 each, 5 sigma = 150
    assert 5700 < sum(d.coin() for d in draws) < 6300
    assert abs(sum(d.uniform() for d in draws) / 12_000 - 0.5) < 0.02


def test_sample_takes_different_positions_and_every_order_occurs() -> None:
    orders = Counter(tuple(Draws(0, 0, str(i), "order").sample("abc", 3)) for i in range(3000))
    assert len(orders) == 6 and all(400 < count < 600 for count in orders.values())
    assert len(set(Draws(0, 0, "x", "y").sample(range(10**9), 50))) == 50
    with pytest.raises(ValueError, match="cannot sample 4 of 3"):
        Draws(0, 0, "x", "y").sample("abc", 4)


def test_override_ends_with_its_block_and_typos_are_met() -> None:
    before = settings.current()
    with settings.override(max_length=99, raw_dir="elsewhere") as changed:
        assert settings.current() is changed and changed.max_length == 99
    assert settings.current() == before
    with pytest.raises(TypeError, match="did you mean max_length"):
        settings.configure(max_lenght=3)
    with pytest.raises(ValueError, match="separator"), settings.override(separator=""):
        pass
    assert settings.current() == before


def test_environment_sets_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERS_RAW_DIR", "data/raw")
    monkeypatch.setenv("INTERS_MAX_LENGTH", "512")
    found = settings.from_environment()
    assert (found.raw_dir, found.max_length) == ("data/raw", 512)
    assert found.tokenizer == settings.Settings().tokenizer
    monkeypatch.setenv("INTERS_MAX_LENGTH", "long")
    with pytest.raises(ValueError, match="INTERS_MAX_LENGTH='long'"):
        settings.from_environment()


def test_a_command_takes_a_setting_as_given_else_from_the_environment_else_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("INTERS_CHAT_TEMPLATE", raising=False)
    assert [settings.resolve("chat_template", given) for given in (None, "", "own")] == [
        "none",
        "none",
        "own",
    ]
    monkeypatch.setenv("INTERS_CHAT_TEMPLATE", "tokenizer")
    with settings.override(chat_template="of this process"):
        assert [settings.resolve("chat_template", given) for given in (None, "own")] == ["tokenizer", "own"]
