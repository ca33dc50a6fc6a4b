"""The documents of a query as a group of Yes/No questions, for a ranking loss.

A ranking row is asked about several of its documents, each by itself and all in one wording:

    row      {"example_id": "t/train/3", "query": "...", "positives": [d7, d9], "negatives": [d2, d5, ...]}
    asked    {"example_id": "t/train/3/d9", "group_id": "t/train/3", "group_size": 4,
              "query": "...", "document": d9, "relevance": 1}
             {"example_id": "t/train/3/d2", "group_id": "t/train/3", ... "relevance": 0}    two more like it

A group has GROUP_SIZE documents, fewer where the row has no more: one to half of them relevant, the others
not, hard ones first. With a teacher they are drawn from the documents that it has scored, relevant or not
(`ranking_rows`).
What is drawn depends on (seed, epoch, example id) only. Every document has an equal share of the length, so
that the group fits a packed row. A longer one is shortened to it, however much that is, as in reranking; a
group of which one prompt does not fit even so is left out whole.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from seqio_tasks import teachers
from seqio_tasks.prompts import encoding
from seqio_tasks.prompts.encoding import Encoded
from seqio_tasks.seeded import Draws
from seqio_tasks.settings import Settings
from seqio_tasks.teachers import Scores

Row = Mapping[str, Any]

# What `encode_groups` counts, besides what `encoding` does.
INCOMPLETE = "dropped: a prompt about one document of the query does not fit its share of the length"
UNSCORED = "dropped: the teacher has scored fewer than two documents of the query"
NOT_SHOWN = "documents without a score of the teacher, not shown"


def encode_groups(
    rows: Iterable[Row],
    config: Settings,
    encode: Callable[..., Iterator[Encoded]],
    *,
    epoch: int,
    max_length: int | None = None,
    report: Counter[str],
) -> Iterator[Encoded]:
    """The examples of whole groups, one after the other.

    Args:
      rows: ranking rows.
      config: seed, number of documents, teacher, and the length that a group shares.
      encode: `encoding.encode_rows`, called with rows of one document, config, max_length and report.
      epoch: draws differ from epoch to epoch.
      max_length: tokens of one document's example, where they are fewer than its share.
      report: counts rows, groups that are dropped, and documents that are shortened or the reason for it.

    Yields:
      Examples with extras group_id, group_size, relevance and, with a teacher, teacher (its score).
    """
    share = config.max_length // config.group_size
    counts: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    documents = encode(
        _ask(rows, config, epoch, report, asked),
        config=dataclasses.replace(config, max_cut=1.0),
        max_length=share if max_length is None else min(share, max_length),
        report=counts,
    )
    whole = 0
    for _, members in itertools.groupby(documents, key=lambda one: one.example.extras["group_id"]):
        group = list(members)
        if len(group) == group[0].example.extras["group_size"]:
            whole += 1
            report[encoding.EXAMPLES] += len(group)
            yield from group
    report[INCOMPLETE] += asked["groups"] - whole
    for name, count in counts.items():
        if name not in (encoding.ROWS, encoding.EXAMPLES):
            report[f"documents {name}" if name.startswith("dropped: ") else name] += count


def _ask(
    rows: Iterable[Row], config: Settings, epoch: int, report: Counter[str], asked: Counter[str]
) -> Iterator[Row]:
    """The rows of one document of all groups."""
    teacher = teachers.read(config.teacher) if config.teacher else None
    for row in rows:
        report[encoding.ROWS] += 1
        draws = Draws(config.seed, epoch, row["example_id"], "documents")
        scores: Scores | None = None
        if teacher is not None:
            scores = teacher.scores(row["query_id"], row["query"])
            listed = [document["doc_id"] for document in (*row["positives"], *row["negatives"])]
            scored = sum(doc_id in scores for doc_id in listed)
            report[NOT_SHOWN] += len(listed) - scored
            if scored < 2:
                report[UNSCORED] += 1
                continue
        shown = draw(row, config.group_size, draws, scores)
        asked["groups"] += 1
        for document in shown:
            doc_id = document["doc_id"]
            yield {
                "example_id": f"{row['example_id']}/{doc_id}",
                "group_id": row["example_id"],
                "group_size": len(shown),
                "query_id": row["query_id"],
                "doc_id": doc_id,
                "query": row["query"],
                "document": document,
                "relevance": document["grade"],
                **({} if scores is None else {"teacher": float(scores[doc_id])}),
            }


def draw(row: Row, size: int, draws: Draws, scores: Scores | None = None) -> list[Row]:
    """The documents of one group, relevant ones first.

    Args:
      row: a ranking row; the first half of its negatives are the hard ones.
      size: documents of the group.
      draws: the random stream.
      scores: of a teacher; None: there is none.

    >>> documents = [{"doc_id": str(n), "grade": int(n < 2)} for n in range(8)]
    >>> row = {"positives": documents[:2], "negatives": documents[2:]}
    >>> [one["grade"] for one in draw(row, 4, Draws(0, 0, "example", "documents"))]
    [1, 1, 0, 0]
    """
    positives, negatives = row["positives"], row["negatives"]
    half = len(negatives) // 2
    pools: list[Sequence[Row]] = [positives, negatives[:half], negatives[half:]]
    if scores is not None:
        pools = [[one for one in pool if one["doc_id"] in scores] for pool in pools]
    relevant, hard, other = ([*draws.shuffled(pool)] for pool in pools)
    others = hard + other
    most = min(len(relevant), size - 1, max(1, size // 2))
    count = 1 + draws.integer(most) if most else 0
    # Where there are too few of one kind, the other kind fills the group.
    count = max(count, min(len(relevant), size - len(others)))
    return [*relevant[:count], *others[: size - count]]
