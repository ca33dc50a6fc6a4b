"""Rerankers in PyTerrier pipelines: `bm25 % 100 >> InstructionReranker(ranker)`.

A PyTerrier transformer: takes a frame with one row per candidate and returns the same rows with new scores
and ranks.

    in     qid, query, docno, text (optional: title; score, which gives the first-stage order)
    out    the same columns, with score and rank replaced; rank from 0

`pip install inters-jax[pyterrier]`; this module starts no Java.
"""

from __future__ import annotations

from typing import Any

try:
    import pandas
    import pyterrier
except ImportError as error:
    raise ImportError("PyTerrier is not installed: pip install inters-jax[pyterrier]") from error

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.reranker import Reranker


class InstructionReranker(pyterrier.Transformer):
    """Reorders the candidates of every query.

    Args:
      ranker: from `Reranker.from_pretrained`.
      text_attr, title_attr: columns with the text and, if there is one, the title of a document.
    """

    def __init__(self, ranker: Reranker, *, text_attr: str = "text", title_attr: str = "title") -> None:
        self.ranker, self.text_attr, self.title_attr = ranker, text_attr, title_attr

    def transform(self, inp: Any) -> Any:
        """Rerank a pandas.DataFrame as described above; an empty one is returned with its columns.

        Raises:
          RerankError: a column is missing, or has missing values (a missing title is an empty one).
        """
        needed = ["qid", "query", "docno", self.text_attr]
        if missing := [name for name in needed if name not in inp.columns]:
            raise RerankError(
                f"the frame has no column {', '.join(missing)}; add texts with pt.text.get_text(index, "
                f"{self.text_attr!r}) before this transformer"
            )
        frame = inp.reset_index(drop=True)
        for name in needed:
            if (bad := frame[name].isna()).any():
                first = frame.loc[bad].iloc[0]
                raise RerankError(
                    f"the column {name} is empty (NaN or None) in {int(bad.sum())} rows, the first has qid "
                    f"{first['qid']!r} and docno {first['docno']!r}; fill it or drop these rows"
                )
        if "score" in frame.columns:  # the order of the first stage breaks ties
            frame = frame.sort_values(["qid", "score"], ascending=[True, False], kind="stable")
        groups = [(qid, rows.index.to_list()) for qid, rows in frame.groupby("qid", sort=False)]
        titled = self.title_attr in frame.columns
        docs = [
            [
                {
                    "text": str(frame.at[row, self.text_attr]),
                    "title": _title(frame.at[row, self.title_attr]) if titled else "",
                }
                for row in rows
            ]
            for _, rows in groups
        ]
        ids = [[str(frame.at[row, "docno"]) for row in rows] for _, rows in groups]
        queries = [str(frame.at[rows[0], "query"]) for _, rows in groups]
        scores: dict[int, float] = {}
        ranks: dict[int, int] = {}
        for (_, rows), results in zip(groups, self.ranker.rank_batch(queries, docs, ids), strict=True):
            by_id = dict(zip([str(frame.at[row, "docno"]) for row in rows], rows, strict=True))
            for result in results:
                row = by_id[str(result.doc_id)]
                scores[row], ranks[row] = result.score, result.rank - 1
        frame["score"] = [scores[row] for row in frame.index]
        frame["rank"] = [ranks[row] for row in frame.index]
        return frame.sort_values(["qid", "rank"], kind="stable").reset_index(drop=True)


def _title(value: Any) -> str:
    """A title as text; a missing one (None, NaN, pandas.NA) is empty."""
    return "" if pandas.isna(value) else str(value)
