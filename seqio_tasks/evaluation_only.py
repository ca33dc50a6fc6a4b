"""The collections of `catalog.EVALUATION_ONLY` as tasks: `inters_ood_<name>_rerank`, split test.

Every (query, candidate) of a first stage, with Yes and No, as in the `_rerank` form of the trained pairs.
Collections that are no trained pair have no templates of their own and use those of general retrieval.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seqio_tasks import catalog, ranking_rows, settings
from seqio_tasks.base import MissingData
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.catalog.evaluation_only import EvaluationPair
from seqio_tasks.prompts import render
from seqio_tasks.prompts.filling import Rendered
from seqio_tasks.prompts.render import Variant
from seqio_tasks.row_source import SplitRows
from seqio_tasks.sources.beir import Qrels
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.retrieval_sets import EVALUATION_SETS
from seqio_tasks.variants import Form

DEPTH = 100


class EvaluationForm(Form):
    """Candidates of all judged queries of a collection, in the wording of another pair."""

    @property
    def render(self) -> Callable[..., Rendered]:
        return _render

    def rows(self, pair: Pair, split: str, raw_dir: str) -> SplitRows:
        if reason := self.missing(pair, split, raw_dir):
            raise MissingData(reason)
        return _rows(pair.dataset, split, raw_dir, _stamp(pair.dataset, raw_dir))

    def qrels(self, pair: Pair, split: str) -> Mapping[str, Mapping[str, int]]:
        return _qrels(pair.dataset, split, settings.current().raw_dir)

    def demonstrates(self, split: str) -> bool:
        return False

    def missing(self, pair: Pair, split: str, raw_dir: str) -> str | None:
        if split not in self.splits:
            return f"{pair.name}{self.suffix} has no split {split!r}"
        try:
            _qrels(pair.dataset, split, raw_dir)
        except MissingData as error:
            assert isinstance(pair, EvaluationPair)
            return f"{error} ({pair.name}: {pair.origin})"
        return None


POINTWISE = Variant(shots=0, template=0, family="pointwise_judgment")
FORM = EvaluationForm("_rerank", POINTWISE, choices=True, rerank=True, splits=("test",))


def _render(row: Row, pair: Pair, **options: Any) -> Rendered:
    """The prompt of a row in the wording of the collection; called like `render.render`."""
    assert isinstance(pair, EvaluationPair)
    return render.render(row, catalog.pair(pair.wording), **options)


def _qrels(dataset: str, split: str, raw_dir: str) -> Qrels:
    return EVALUATION_SETS[dataset].qrels(raw_dir, split)


def _stamp(dataset: str, raw_dir: str) -> tuple[tuple[int, int], ...]:
    """Changes with the files of a collection, so cached rows match the disk."""
    found = []
    for part in EVALUATION_SETS[dataset].parts(raw_dir):
        for path in (*sorted(part.folder.glob("*")), *sorted((part.folder / "qrels").glob("*"))):
            stat = Path(path).stat()
            found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=2)
def _rows(dataset: str, split: str, raw_dir: str, _stamp: Any) -> SplitRows:
    rows = list(ranking_rows.set_rerank_rows(EVALUATION_SETS[dataset], raw_dir, split, DEPTH))
    if not rows:
        raise MissingData(
            f"no candidate for any query of {dataset}",
            path=Path(raw_dir) / f"beir_{dataset}",
            todo="check its queries and judgments",
        )
    return SplitRows(rows, SourceReport())
