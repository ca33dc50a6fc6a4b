"""Which candidates of a query are its negatives.

A candidate goes through the checks in the order of `REASONS`; the first that it fails is why it is removed.
The two rules that compare it with a relevant document are those of NV-Retriever (arXiv 2407.15831, section
3): TopK-PercPos is `max_share`, TopK-MarginPos is `margin`. Where several documents are relevant, it is
compared with the one of them that the teacher scores lowest: it has to be less relevant than all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seqio_tasks.base import DataError, UserError, text_hash
from seqio_tasks.metrics.ranking import ranking_order

ITSELF = "the query itself"
OUT_OF_DEPTH = "outside the ranks"
RELEVANT = "judged relevant"
JUDGED = "judged not relevant (training takes these first)"
EMPTY = "without title and text"
SAME_TEXT = "same text as a relevant document"
UNSCORED = "without a teacher score"
UNSCORED_POSITIVES = "no relevant document has a teacher score"
SHARE = "above the share of the positive's score"
MARGIN = "within the margin of the positive's score"
SCORE = "above the maximum score"
BEYOND = "beyond the number per query"
REASONS = (
    ITSELF, OUT_OF_DEPTH, RELEVANT, JUDGED, EMPTY, SAME_TEXT, UNSCORED, UNSCORED_POSITIVES, SHARE, MARGIN,
    SCORE, BEYOND,
)  # fmt: skip
KEPT = "kept"
SAMPLING = ("top", "random")


@dataclass(frozen=True)
class Rules:
    """What a negative has to be.

    first_rank, last_rank: the ranks of the run that are taken, from 1 and inclusive.
    max_share: a negative scores at most this share of the positive; None: no such rule.
    margin: a negative scores at least this much less than the positive; None: no such rule.
    max_score: a negative scores at most this; None: no such rule.
    per_query: the most negatives of a query; None: all.
    sampling: which ones those are: the "top" ranks, or "random" ones by a hash of seed, query and document.
    seed: of the hash.
    """

    first_rank: int = 1
    last_rank: int = 100
    max_share: float | None = None
    margin: float | None = None
    max_score: float | None = None
    per_query: int | None = None
    sampling: str = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.first_rank <= self.last_rank:
            raise UserError(f"ranks {self.first_rank} to {self.last_rank}: write 1 <= first <= last")
        if self.max_share is not None and not 0 < self.max_share <= 1:
            raise UserError(
                f"the share {self.max_share:g} of the positive's score is not above 0 and up to 1"
            )
        if self.margin is not None and not 0 <= self.margin < float("inf"):
            raise UserError(f"the margin {self.margin:g} is not a number from 0 on")
        if self.max_score is not None and self.max_score != self.max_score:
            raise UserError("the maximum score is not a number")
        if self.per_query is not None and self.per_query < 1:
            raise UserError(f"{self.per_query} negatives per query: write 1 or more")
        if self.sampling not in SAMPLING:
            raise UserError(f"sampling {self.sampling!r} is unknown; choose one of {', '.join(SAMPLING)}")

    @property
    def relative(self) -> bool:
        """Whether candidates are compared with a relevant document."""
        return self.max_share is not None or self.margin is not None

    @property
    def scored(self) -> bool:
        """Whether candidates need a teacher score."""
        return self.relative or self.max_score is not None


def negatives_of(
    query_id: str,
    run: Mapping[str, float],
    judged: Mapping[str, int],
    teacher: Mapping[str, float],
    rules: Rules,
    removed: Callable[[str], str],
    counts: Counter[str],
) -> list[str]:
    """The negatives of one query, best rank first.

    Args:
      query_id: the query.
      run: document id -> score: the candidates, which are ordered as trec_eval orders them.
      judged: document id -> grade.
      teacher: document id -> score, of candidates and relevant documents.
      rules: see `Rules`.
      removed: says why a document is no candidate whatever its scores: EMPTY, SAME_TEXT, or "".
      counts: gets the number of candidates by reason, and of those KEPT.

    Raises:
      DataError: a relevant document scores below 0, where a share has no meaning.

    >>> run = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.5, "e": 1.0}
    >>> counts = Counter()
    >>> negatives_of("q", run, {"b": 1}, run, Rules(last_rank=4, max_share=0.85), lambda doc: "", counts)
    ['d']
    >>> [f"{counts[reason]} {reason}" for reason in (*REASONS, KEPT) if counts[reason]][:2]
    ['1 outside the ranks', '1 judged relevant']
    >>> counts[SHARE]  # a and c: 0.85 * 8 = 6.8
    2
    """
    positives = {doc: teacher[doc] for doc, grade in judged.items() if grade > 0 and doc in teacher}
    lowest = min(positives.values(), default=None)
    if rules.max_share is not None and lowest is not None and lowest < 0:
        worst = min(positives, key=lambda doc: (positives[doc], doc))
        raise DataError(
            f"relevant document {worst!r} of query {query_id!r} has the teacher score {lowest:g}: a share of "
            "a number below 0 is no limit", todo="use a margin, or a teacher with scores from 0 on"
        )  # fmt: skip
    passed = []
    for rank, doc_id in enumerate(ranking_order(run), start=1):
        reason = ""
        if not rules.first_rank <= rank <= rules.last_rank:
            reason = OUT_OF_DEPTH
        elif doc_id in judged:
            reason = RELEVANT if judged[doc_id] > 0 else JUDGED
        else:
            reason = removed(doc_id) or _too_close(teacher.get(doc_id), lowest, rules)
        if reason:
            counts[reason] += 1
        else:
            passed.append(doc_id)
    kept = _sample(query_id, passed, rules)
    counts[BEYOND] += len(passed) - len(kept)
    counts[KEPT] += len(kept)
    return kept


def _too_close(score: float | None, lowest: float | None, rules: Rules) -> str:
    """Why a score is too high for a negative; "" if it is not."""
    if not rules.scored:
        return ""
    if score is None:
        return UNSCORED
    if rules.relative and lowest is None:
        return UNSCORED_POSITIVES
    if rules.max_share is not None and lowest is not None and score > rules.max_share * lowest:
        return SHARE
    if rules.margin is not None and lowest is not None and score > lowest - rules.margin:
        return MARGIN
    return SCORE if rules.max_score is not None and score > rules.max_score else ""


def _sample(query_id: str, passed: list[str], rules: Rules) -> list[str]:
    """At most `per_query` of the candidates, in their order."""
    if rules.per_query is None or len(passed) <= rules.per_query:
        return passed
    if rules.sampling == "top":
        return passed[: rules.per_query]
    drawn = sorted(passed, key=lambda doc: (text_hash(f"{rules.seed}\0{query_id}\0{doc}"), doc))
    chosen = set(drawn[: rules.per_query])
    return [doc for doc in passed if doc in chosen]
