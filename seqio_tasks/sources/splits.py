"""The split of rows into train, validation and test: a rule, a stable hash, and no query on both sides.

The sizes follow the rule of the INTERS authors (known from their follow-up code): without an official test
set, more than 10,400 rows give 10,000 / 200 / 200; more than 2,000 give 200 + 200 and the rest to train;
fewer give a tenth each. An official test set stays complete; more than 10,200 training rows give 10,000 /
200, more than 2,000 give 200 to validation, fewer a tenth. An official validation set besides the test set is
used unchanged (`select_three`).

Rows are never split individually. Rows with the same group key (the normalised query, title or claim) stay
together, so a query of the test set never occurs in train; the last group may make validation or test a few
rows larger than the rule says. Groups are ordered by a hash of the key alone, not of the dataset, so two
tasks that share topics have the same split, and adding a row moves few others.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from seqio_tasks.base import DataError, text_hash
from seqio_tasks.sources.common import Row, SourceReport

SPLITS = ("train", "validation", "test")
IN_OFFICIAL_TEST = "query is also in the official test set"
IN_OFFICIAL_DEV = "query is also in the official validation set"
BEYOND_CAP = "beyond the 10,000 training rows of the rule"
MOST_TRAINING_ROWS = 10_000


def group_key(*texts: str) -> str:
    """The key of one or more texts, ignoring case, punctuation and spacing.

    >>> group_key("  U.S. Oil-industry  history ") == group_key("u s oil industry history")
    True
    >>> group_key("a b", "c") == group_key("a", "b c")
    False
    """
    return "\t".join(
        re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip() or text.strip()
        for text in texts
    )


def stable_hash(key: str) -> int:
    """The 64-bit hash by which keys are divided: big-endian, unlike other hashes of this package."""
    return text_hash(key, "big")


def sizes(count: int, *, official_test: bool = False) -> tuple[int, int, int]:
    """(train, validation, test) for a pool of ``count`` rows; test is 0 when it comes from its own file.

    >>> sizes(150), sizes(4000), sizes(20_000)
    ((120, 15, 15), (3600, 200, 200), (10000, 200, 200))
    >>> sizes(809, official_test=True), sizes(9_427, official_test=True), sizes(130_319, official_test=True)
    ((729, 80, 0), (9227, 200, 0), (10000, 200, 0))
    """
    large = count > (10_200 if official_test else 10_400)
    held_out = 200 if large or count > 2_000 else count // 10
    test = 0 if official_test else held_out
    return min(count - held_out - test, 10_000), held_out, test


def assign(keys: Sequence[str], *, official_test: bool = False) -> list[str]:
    """The split of every row, by the group keys of all rows of the pool.

    keys:    ["oil", "oil", "tea", "sun", ...]      one per row, in file order
    result:  ["train", "train", "test", "train", ...]   "" for training rows beyond the cap

    >>> split = assign([f"query {number // 2}" for number in range(60)])
    >>> {name: split.count(name) for name in SPLITS}
    {'train': 48, 'validation': 6, 'test': 6}
    >>> all(split[i] == split[i + 1] for i in range(0, 60, 2))
    True
    """
    train, validation, test = sizes(len(keys), official_test=official_test)
    members: dict[str, int] = {}
    for key in keys:
        members[key] = members.get(key, 0) + 1
    place: dict[str, str] = {}
    taken = {"test": 0, "validation": 0, "train": 0}
    wanted = {"test": test, "validation": validation}
    for key in sorted(members, key=lambda key: (stable_hash(key), key)):
        name = next((name for name, size in wanted.items() if taken[name] < size), "train")
        if name == "train" and taken["train"] + members[key] > train and taken["train"] and train >= 10_000:
            name = ""
        else:
            taken[name] += members[key]
        place[key] = name
    return [place[key] for key in keys]


def select(
    rows: Sequence[Row], keys: Sequence[str], split: str, report: SourceReport | None = None
) -> list[Row]:
    """Rows of one split, in file order, of a dataset without official splits."""
    check_split(split)
    places = assign(keys)
    if report is not None and split == "train" and (beyond := places.count("")):
        report[BEYOND_CAP] += beyond
    return [row for row, place in zip(rows, places, strict=True) if place == split]


def select_official(
    train_rows: Sequence[Row],
    train_keys: Sequence[str],
    test_keys: set[str],
    split: str,
    report: SourceReport | None = None,
) -> list[Row]:
    """Train or validation rows of a dataset with an official test set.

    Training rows whose query is also an official test query are left out and counted: the test set stays
    complete.
    """
    check_split(split)
    kept = [(row, key) for row, key in zip(train_rows, train_keys, strict=True) if key not in test_keys]
    places = assign([key for _, key in kept], official_test=True)
    if report is not None and split == "train":
        if leaked := len(train_rows) - len(kept):
            report[IN_OFFICIAL_TEST] += leaked
        if beyond := places.count(""):
            report[BEYOND_CAP] += beyond
    return [row for (row, _), place in zip(kept, places, strict=True) if place == split]


def select_three(
    read: Callable[[str], tuple[Sequence[Row], Sequence[str]]],
    split: str,
    report: SourceReport | None = None,
) -> list[Row]:
    """Rows of one split, in file order, of a dataset with official train, validation and test files.

    read: split name -> rows and group keys of its file; only the files needed are read. The test set stays
        complete. Queries of a later set are left out of an earlier one and counted; at most 10,000 training
        rows are kept, by the hash of their keys.
    """
    check_split(split)
    rows, keys = read(split)
    held_out: dict[str, str] = {}
    if split == "train":
        held_out.update(dict.fromkeys(read("validation")[1], IN_OFFICIAL_DEV))
    if split != "test":
        held_out.update(dict.fromkeys(read("test")[1], IN_OFFICIAL_TEST))
    left_out = Counter(held_out[key] for key in keys if key in held_out)
    members = Counter(key for key in keys if key not in held_out)
    room = MOST_TRAINING_ROWS if split == "train" else len(keys)
    for key in sorted(members, key=lambda key: (stable_hash(key), key)):
        if members[key] > room:
            held_out[key] = BEYOND_CAP
            left_out[BEYOND_CAP] += members[key]
        else:
            room -= members[key]
    if report is not None:
        report.update(left_out)
    return [row for row, key in zip(rows, keys, strict=True) if key not in held_out]


def check_split(split: str) -> None:
    """Refuse an unknown split."""
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}", todo=f"use one of {', '.join(SPLITS)}")
