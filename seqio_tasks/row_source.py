"""Rows of the catalog's pairs: read once, counted cheaply, and checked for existence.

A split is read when first requested, and the few splits used last are kept in memory: their rows are needed
several times (for their number, the examples, and the demonstrations of other examples).
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from seqio_tasks import catalog, ranking_rows, settings, teachers
from seqio_tasks.base import MissingData, text_hash
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.retrieval_sets import collection

SPLITS = ("train", "validation", "test")

_KEPT = 8  # splits in memory; a store is prepared task by task and needs two
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")  # their presence does not mean that they were unpacked


@dataclass(frozen=True)
class SplitRows:
    """All rows of one split, and the number of records left out, by reason."""

    rows: Sequence[Row]
    report: SourceReport


# pair, split, raw directory, rerank, and the files of the teacher as they are
_Key = tuple[str, str, str, bool, tuple[tuple[str, int, int], ...]]

_lock = threading.RLock()
_kept: OrderedDict[_Key, SplitRows] = OrderedDict()
# Rows that a dataset still uses are found even after newer splits have evicted them from `_kept`.
_alive: WeakValueDictionary[_Key, SplitRows] = WeakValueDictionary()


def load_rows(
    pair: Pair,
    split: str,
    *,
    raw_dir: str | None = None,
    rerank: bool = False,
    teacher: Sequence[str] = (),
) -> SplitRows:
    """The rows of a split.

    Args:
      pair: the pair.
      split: train, validation or test.
      raw_dir: folder of raw files; default: that of the settings.
      rerank: instead, one row per candidate of every judged query (pairs of kind "rank").
      teacher: files of scores by another ranker; the documents of a row are among those that it has scored.

    Raises:
      MissingData: there are no usable rows.
    """
    raw_dir = settings.current().raw_dir if raw_dir is None else raw_dir
    key = (pair.name, split, raw_dir, rerank, teachers.stamps(teacher))
    with _lock:
        found = _alive.get(key)
        if found is None:
            report = SourceReport()
            if rerank:
                rows = list(ranking_rows.set_rerank_rows(collection(pair.dataset), raw_dir, split))
            else:
                options = {"teacher": teachers.read(teacher)} if teacher else {}
                rows = list(pair.rows(raw_dir, split, report=report, **options))
            if not rows:
                todo = "put the official files there (`python -m seqio_tasks.catalog` lists them)"
                raise MissingData(
                    f"no usable row for {pair.name}, split {split} ({report.summary()})",
                    path=Path(raw_dir) / pair.folder,
                    todo="check the files that its declaration names" if pair.identity else todo,
                )
            found = _alive[key] = SplitRows(rows, report)
        _kept[key] = found
        _kept.move_to_end(key)
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
        return found


def count(pair: Pair, split: str, *, raw_dir: str | None = None) -> int:
    """The number of rows of a split; 0 if its files have none for it.

    The catalog's number is used when the official files are there in full size. Any other files (the sample,
    a part, another edition) are counted, once per process.

    Raises:
      MissingData: the files are not there.
    """
    raw_dir = settings.current().raw_dir if raw_dir is None else raw_dir
    return _count(pair.name, split, raw_dir)


@functools.cache
def _count(name: str, split: str, raw_dir: str) -> int:
    pair = catalog.pair(name)
    if split in pair.counts and has_official_files(pair, raw_dir):
        return pair.counts[split]
    if pair.kind == "rank":  # counted without the corpus, where the search for negatives would take long
        judged = collection(pair.dataset).qrels(raw_dir, split)
        return sum(any(grade > 0 for grade in grades.values()) for grades in judged.values())
    return len(load_rows(pair, split, raw_dir=raw_dir).rows)


def fixed_part(rows: Sequence[Row], fraction: float) -> Sequence[Row]:
    """A fixed share of the rows, in their order: those with the smallest hashes of their example ids.

    The part is the same in every run and for every seed, and a smaller part is a subset of every larger one.
    """
    if fraction >= 1:
        return rows
    hashes = [text_hash(f"part\0{row['example_id']}") for row in rows]
    chosen = sorted(range(len(rows)), key=hashes.__getitem__)[: part_size(len(rows), fraction)]
    return [rows[number] for number in sorted(chosen)]


def part_size(rows: int, fraction: float) -> int:
    """The number of rows of `fixed_part`: rounded, but at least one if there are any.

    >>> part_size(10_000, 0.25), part_size(3, 0.25), part_size(0, 0.25)
    (2500, 1, 0)
    """
    return min(rows, max(1, round(rows * fraction)))


def has_official_files(pair: Pair, raw_dir: str | Path) -> bool:
    """Whether every official file of a pair is in its folder, unpacked and of the published size."""
    folder = Path(raw_dir) / pair.folder
    return bool(pair.files) and all(
        file.bytes > 0
        and not file.name.endswith(_ARCHIVES)
        and (folder / file.name).is_file()
        and (folder / file.name).stat().st_size == file.bytes
        for file in pair.files
    )


def missing(pair: Pair, split: str, *, raw_dir: str | None = None) -> str | None:
    """Why a split cannot be read, naming the folder expected; None if it can."""
    raw_dir = settings.current().raw_dir if raw_dir is None else raw_dir
    try:
        if count(pair, split, raw_dir=raw_dir) > 0:
            return None
    except MissingData as error:
        return str(error)
    return str(MissingData(f"no row for {pair.name}, split {split}", path=Path(raw_dir) / pair.folder))


def read_qrels(pair: Pair, split: str, *, raw_dir: str | None = None) -> dict[str, dict[str, int]]:
    """All judgments of a split of a ranking pair: query id -> document id -> grade.

    In a collection of several forums, ids have the prefix of their forum.
    """
    raw_dir = settings.current().raw_dir if raw_dir is None else raw_dir
    return collection(pair.dataset).qrels(raw_dir, split)
