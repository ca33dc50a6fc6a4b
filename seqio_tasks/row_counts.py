"""The rows that are really there: every split of the catalog's pairs, read from the raw files and counted.

python -m seqio_tasks.catalog --rows --raw_dir /data/inters
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seqio_tasks import catalog, settings
from seqio_tasks.base import UserError, aligned, nearest
from seqio_tasks.catalog import Pair
from seqio_tasks.catalog.evaluation_only import EvaluationPair
from seqio_tasks.row_source import SPLITS
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.retrieval_sets import EVALUATION_SETS, collection


@dataclass(frozen=True)
class Counted:
    """The rows of a split; `missing` says why there are none, `report` counts what was left out."""

    pair: Pair
    split: str
    rows: int
    report: SourceReport
    missing: str = ""


def chosen(names: Iterable[str]) -> list[Pair]:
    """The pairs with these names or folders, also those for evaluation only and your own datasets; (): all.

    Raises:
      UserError: there is none.
    """
    every = (*catalog.known(), *catalog.EVALUATION_ONLY)
    known = {name: None for pair in every for name in _names(pair)}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UserError(f"no pair, dataset or folder is named {name!r}{nearest(name, known)}")
    return [pair for pair in every if not wanted or _names(pair) & set(wanted)]


def _names(pair: Pair) -> set[str]:
    return {pair.name, pair.folder, pair.dataset if pair.identity else pair.name}


def count(pair: Pair, split: str, raw_dir: str) -> Counted:
    """Read a split and count its rows; of a ranking pair, its queries with a relevant document."""
    report, rows = SourceReport(), 0
    try:
        if pair.kind == "rank":
            whole = isinstance(pair, EvaluationPair)
            entry = EVALUATION_SETS[pair.dataset] if whole else collection(pair.dataset)
            judged = entry.qrels(raw_dir, split, report)
            rows = sum(any(grade > 0 for grade in grades.values()) for grades in judged.values())
        else:
            rows = sum(1 for _ in pair.rows(raw_dir, split, report=report))
    except UserError as error:  # one broken file does not end the list
        return Counted(pair, split, 0, report, str(error))
    return Counted(pair, split, rows, report)


def splits_of(pair: Pair) -> tuple[str, ...]:
    """The splits of a pair; collections for evaluation only have a test set."""
    return ("test",) if pair in catalog.EVALUATION_ONLY else SPLITS


def table(names: Iterable[str] = (), raw_dir: str | None = None) -> Iterator[str]:
    """Lines of text: one per split that is there, then the reasons why others are not.

    Args:
      names: see `chosen`.
      raw_dir: folder of raw files; None: that of the settings.
    """
    raw_dir = settings.current().raw_dir if raw_dir is None else raw_dir
    missing: dict[str, list[str]] = {}
    lines: list[tuple[str, str, str, str, str]] = [("pair", "split", "rows", "catalog", "left out")]
    for pair in chosen(names):
        for split in splits_of(pair):
            found = count(pair, split, raw_dir)
            if found.missing:
                missing.setdefault(found.missing, []).append(f"{pair.name} {split}")
                continue
            stated = pair.counts.get(split)
            left_out = "; ".join(f"{number:,} {reason}" for reason, number in found.report.items())
            shown = "?" if stated is None else f"{stated:,}"
            lines.append((pair.name, split, f"{found.rows:,}", shown, left_out))
    yield from (line.rstrip() for line in aligned(lines, "llrrl"))
    if missing:
        yield ""
    for reason, owners in missing.items():
        yield f"not counted: {', '.join(owners)}: {reason}"
