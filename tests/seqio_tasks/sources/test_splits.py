"""The split rule: sizes, stability, and groups that stay together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport
from seqio_tasks.sources.splits import (
    BEYOND_CAP,
    IN_OFFICIAL_DEV,
    IN_OFFICIAL_TEST,
    assign,
    group_key,
    select,
    select_official,
    select_three,
    sizes,
    stable_hash,
)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (9, (9, 0, 0)),
        (50, (40, 5, 5)),
        (2_000, (1_600, 200, 200)),
        (2_001, (1_601, 200, 200)),
        (10_400, (10_000, 200, 200)),
        (10_401, (10_000, 200, 200)),
        (1_000_000, (10_000, 200, 200)),
    ],
)
def test_sizes_without_official_test(count: int, expected: tuple[int, int, int]) -> None:
    assert sizes(count) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(32, (29, 3, 0)), (2_001, (1_801, 200, 0)), (10_200, (10_000, 200, 0)), (87_599, (10_000, 200, 0))],
)
def test_sizes_with_official_test(count: int, expected: tuple[int, int, int]) -> None:
    assert sizes(count, official_test=True) == expected


def test_hash_is_pinned() -> None:
    """A changed hash would silently move rows between train and test of every published result."""
    assert stable_hash("pearl farming") == 13527566597529425572


@given(st.lists(st.integers(0, 40), max_size=300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_groups_stay_together_and_sizes_hold(groups: list[int], official: bool) -> None:
    keys = [f"query {group}" for group in groups]
    places = assign(keys, official_test=official)
    assert all(len({place for place, k in zip(places, keys, strict=True) if k == key}) == 1 for key in keys)
    _, validation, test = sizes(len(keys), official_test=official)
    largest = max((keys.count(key) for key in keys), default=0)
    for name, size in (("validation", validation), ("test", test)):
        # A held-out split is filled group by group: never short (rows permitting), at most a group too large.
        assert places.count(name) < size + max(largest, 1)
        assert places.count(name) >= min(size, len(keys) - places.count("test") * (name == "validation"))


def test_order_of_rows_does_not_matter() -> None:
    keys = [f"query {number}" for number in range(100)]
    forwards = dict(zip(keys, assign(keys), strict=True))
    backwards = dict(zip(keys[::-1], assign(keys[::-1]), strict=True))
    assert forwards == backwards


def test_selected_rows_keep_file_order_and_the_cap_is_counted() -> None:
    rows = [{"example_id": str(number)} for number in range(10_500)]
    keys = [row["example_id"] for row in rows]
    report = SourceReport()
    train = select(rows, keys, "train", report)
    assert len(train) == 10_000
    assert report == {BEYOND_CAP: 100}
    numbers = [int(row["example_id"]) for row in train]
    assert numbers == sorted(numbers)


def test_training_rows_of_test_queries_are_left_out_and_counted() -> None:
    rows = [{"example_id": str(number)} for number in range(40)]
    keys = [f"q{number}" for number in range(40)]
    report = SourceReport()
    train = select_official(rows, keys, {"q3", "q5", "other"}, "train", report)
    validation = select_official(rows, keys, {"q3", "q5", "other"}, "validation")
    assert report == {IN_OFFICIAL_TEST: 2}
    assert len(train) + len(validation) == 38
    assert not {"3", "5"} & {row["example_id"] for row in train + validation}


def test_keys_ignore_case_punctuation_and_width_but_not_words() -> None:
    assert group_key("Pearl-farming, \uff2aapan ") == group_key("pearl farming japan")
    assert group_key("pearl farming") != group_key("farming pearl")
    assert group_key("???") != group_key("!!!")  # nothing but punctuation is compared as it is


def test_unknown_split() -> None:
    with pytest.raises(DataError, match="unknown split 'dev'; use one of train, validation, test"):
        select([], [], "dev")


def test_three_official_files_keep_apart_and_only_train_is_capped() -> None:
    files = {
        "train": ["a", "b", "c", "a", *(f"q{number // 2}" for number in range(10_004))],
        "validation": ["b", "v", "c"],
        "test": ["c", "t", "c"],
    }

    def read(name: str) -> tuple[list[Row], list[str]]:
        return [{"example_id": f"{name}/{number}"} for number in range(len(files[name]))], files[name]

    def ids(split: str, report: SourceReport) -> list[str]:
        return [row["example_id"] for row in select_three(read, split, report)]

    report = SourceReport()
    assert ids("test", report) == ["test/0", "test/1", "test/2"] and not report
    assert ids("validation", report) == ["validation/0", "validation/1"]
    assert report == {IN_OFFICIAL_TEST: 1}
    report = SourceReport()
    train = ids("train", report)
    assert report == {IN_OFFICIAL_TEST: 1, IN_OFFICIAL_DEV: 1, BEYOND_CAP: 6}
    assert len(train) == 10_000 and not {"train/1", "train/2"} & set(train)
    numbers = [int(name.split("/")[1]) for name in train]
    assert numbers == sorted(numbers)
