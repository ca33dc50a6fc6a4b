"""How the rows of a dataset of one's own are divided: by files, or by shares of a stable hash.

    splits: {train: a.jsonl, test: b.jsonl}        as given
    splits: {train: 0.8, validation: 0.1, test: 0.1}

By shares, a row's place depends on its key alone, so rows that are added later move no other. Rows with the
same key stay together. By files, a row of training whose key is in a later split is left out and counted, so
that nothing is tested that was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from seqio_tasks.own_data.entries import Entry
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.splits import SPLITS, check_split, stable_hash

T = TypeVar("T")

DEFAULT: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
HELD_OUT = "the same as in a later split"


@dataclass(frozen=True)
class Splits:
    """Either the share of each split, or its files."""

    shares: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The splits, in the order of `SPLITS`."""
        return tuple(name for name in SPLITS if name in self.shares or name in self.files)


def read_splits(entry: Entry) -> Splits | None:
    """What the key `splits` of an entry says; None without it.

    Raises:
      DataError: another split, shares that are none or do not sum to 1, or files and shares together.
    """
    found = entry.mapping("splits")
    if found is None:
        return None
    found.check_keys(SPLITS)
    values = found.value
    numbers = [name for name in values if _is_number(values[name])]
    if not numbers:
        files = {name: found.files(name) for name in values}
        if empty := [name for name, paths in files.items() if not paths]:
            raise found.error(empty[0], f"{found.title}: {empty[0]} is empty", "name a file, or a share")
        if not files:
            raise entry.error("splits", f"{found.title} is empty", "write train: 0.8, test: 0.2, say")
        return Splits(files=files)
    if len(numbers) < len(values):
        other = next(name for name in values if name not in numbers)
        raise found.error(other, f"{found.title}: some are shares, {other} is not", "write shares or files")
    for name in numbers:
        if not 0 < values[name] <= 1:
            what = f"{found.title}: the share of {name} is {values[name]}"
            raise found.error(name, what, "write a number above 0 and up to 1, or leave the split out")
    if abs(sum(values.values()) - 1) > 1e-6:
        raise entry.error("splits", f"{found.title}: the shares sum to {sum(values.values()):g}", "make it 1")
    return Splits(shares=dict(values))


def choose(
    splits: Splits,
    split: str,
    read: Callable[[Sequence[Path] | None], Sequence[T]],
    key_of: Callable[[T], str],
    entry: Entry,
    report: SourceReport | None = None,
) -> list[T]:
    """The rows of a split, in file order.

    Args:
      splits: of the dataset.
      split: train, validation or test.
      read: the rows of some files; of None: all rows.
      key_of: the key of a row.
      entry: of the dataset, for messages.
      report: counts what is left out.

    Raises:
      MissingData: the dataset has no such split.
      DataError: the split is empty.
    """
    check_split(split)
    if split not in splits.names:
        what = f"{entry.title} has no split {split!r} (it has {', '.join(splits.names)})"
        raise entry.missing("splits", what, "add it to splits, or use another")
    if splits.shares:
        rows = read(None)
        kept = [row for row in rows if place(key_of(row), splits.shares) == split]
        if not kept:
            what = f"{entry.title}: split {split!r} is empty: none of {len(rows)} rows fell into it"
            raise entry.error("splits", what, "make its share larger, leave it out, or give it files")
        return kept
    later = splits.names[splits.names.index(split) + 1 :]
    held_out = {key_of(row) for name in later for row in read(splits.files[name])}
    rows = read(splits.files[split])
    kept = [row for row in rows if key_of(row) not in held_out]
    if report is not None and len(kept) < len(rows):
        report[HELD_OUT] += len(rows) - len(kept)
    if not kept:
        why = "all its rows are in a later split too" if rows else "its files have no row"
        raise entry.error("splits", f"{entry.title}: split {split!r} is empty: {why}", "give it other files")
    return kept


def place(key: str, shares: Mapping[str, float]) -> str:
    """The split of a key. Test comes first: another share of training does not change it.

    >>> [place(f"q{n}", {"train": 0.5, "test": 0.5}) for n in range(4)]
    ['test', 'train', 'test', 'test']
    """
    point = stable_hash(f"split\0{key}") / 2**64
    names = [name for name in reversed(SPLITS) if name in shares]
    for name in names:
        point -= shares[name]
        if point < 0:
            return name
    return names[-1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
