"""Shapes for ragged sequences: few, large enough, and every sequence placed exactly once."""

import itertools
import random

import pytest

from inters_jax.inference import bucketing


def test_ladder_grows_by_at_most_half_and_ends_at_the_first_length_that_is_enough():
    steps = bucketing.ladder(5000, smallest=16)
    assert steps[0] == 16 and steps[-2] < 5000 <= steps[-1]
    assert all(b / a <= 1.5 for a, b in itertools.pairwise(steps))


def test_a_sequence_beyond_the_ladder_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"130 tokens.*128"):
        bucketing.bucket(130, (64, 128))


def test_length_batches_place_every_sequence_once_in_a_row_that_holds_it():
    draw = random.Random(0)
    lengths = [draw.randint(1, 900) for _ in range(500)]
    batches = bucketing.length_batches(lengths, 4096, extra=32)
    assert sorted(i for b in batches for i in b.indices) == list(range(500))
    for batch in batches:
        assert len(batch.indices) <= batch.rows
        assert max(lengths[i] for i in batch.indices) <= batch.length
        assert batch.rows == 1 or batch.rows * (batch.length + 32) <= 4096
    shapes = {(b.rows, b.length) for b in batches}
    assert len(shapes) <= 3 * len(bucketing.ladder(900))


def test_fewer_shapes_leave_more_rows_empty():
    rows = lambda count, shapes: [  # noqa: E731
        batch.rows for batch in bucketing.length_batches([60] * count, 64 * 64, shapes=shapes)
    ]
    assert [rows(count, 3) for count in (1, 17, 40, 65)] == [[16], [32], [64], [64, 16]]
    assert [rows(count, 16) for count in (1, 17, 40, 65)] == [[1], [32], [64], [64, 1]]
    packed = [bucketing.packed_batches([250], 16 * 256, shapes=shapes)[0].rows for shapes in (3, 16)]
    assert packed == [4, 1]


def test_packed_batches_place_every_sequence_once_and_fill_the_rows():
    draw = random.Random(1)
    lengths = [min(2000, int(draw.lognormvariate(5.8, 0.7)) + 1) for _ in range(2000)]
    batches = bucketing.packed_batches(lengths, 8192)
    assert sorted(i for b in batches for i in b.indices) == list(range(2000))
    capacity = real = 0
    for batch in batches:
        for members in batch.bins:
            assert sum(lengths[i] for i in members) <= batch.length
        capacity += batch.rows * batch.length
        real += sum(lengths[i] for i in batch.indices)
    assert real / capacity > 0.95
    assert len({(b.rows, b.length) for b in batches}) <= 24


@pytest.mark.parametrize("even", [576 * 3, 4096 * 3])
def test_sequences_of_about_one_length_share_longer_rows_where_that_costs_less(even):
    for typical, most in ((187, 1.25), (445, 1.17)):  # one to a row of 256 costs 1.36 to 1.38
        draw = random.Random(2)
        lengths = [typical + draw.randint(-9, 9) for _ in range(80)]
        batches = bucketing.packed_batches(lengths, 2048, even=even)
        assert sorted(i for b in batches for i in b.indices) == list(range(80))
        ideal = sum(length * (1 + typical / 2 / even) for length in lengths)
        assert bucketing.cost(batches, lengths, even) / ideal < most


def test_sequences_share_rows_where_attention_ends_at_a_sequence():
    """187 positions leave a quarter of 256 empty; two fill 384, with attention between them."""
    lengths = [187] * 60
    shapes = []
    for within in (False, True):
        batches = bucketing.packed_batches(lengths, 2048, even=20, within=within)
        shapes.append({batch.length for batch in batches})
    assert shapes == [{256}, {384}]


def test_nothing_to_do_gives_no_batches():
    assert bucketing.length_batches([], 100) == [] and bucketing.packed_batches([], 100) == []
