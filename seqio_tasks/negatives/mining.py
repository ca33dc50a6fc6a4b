"""The negatives of all queries of a split, with the counts of what was removed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seqio_tasks.base import DataError, aligned
from seqio_tasks.metrics.trec_files import read_run
from seqio_tasks.negatives import rules as checks
from seqio_tasks.negatives.rules import Rules
from seqio_tasks.ranking_rows import first_stage, judged_queries
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.retrieval_sets import RetrievalSet
from seqio_tasks.sources.splits import group_key, stable_hash

SCORED_DEPTH = 1000  # deeper than negatives are taken from: relevant documents need a score, too

QUERIES = "queries with a relevant document"
WITHOUT_POSITIVE = "queries without one, which training leaves out"
WITHOUT_CANDIDATES = "queries that the run does not have"
WITHOUT_NEGATIVES = "queries left without a negative: random ones in training"
POSITIVES = "relevant documents"
SCORED_POSITIVES = "relevant documents with a teacher score"
OTHER_QUERIES = "queries of the run that are not in the split"


@dataclass
class Found:
    """negatives: query id -> document ids, best rank first. candidates: their numbers by reason, and KEPT.
    others: the numbers of queries and relevant documents.
    """

    negatives: dict[str, list[str]] = field(default_factory=dict)
    candidates: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def table(self) -> list[str]:
        """Lines of text: queries and relevant documents, then candidates by reason.

        Percentages are of the candidates that the ranks let through.
        """
        names = (QUERIES, WITHOUT_POSITIVE, WITHOUT_CANDIDATES, OTHER_QUERIES, WITHOUT_NEGATIVES)
        shown = [(name, self.others[name]) for name in (*names, POSITIVES, SCORED_POSITIVES)]
        rows = [(name, f"{count:,}", "") for name, count in shown if count or name in (QUERIES, POSITIVES)]
        total = sum(self.candidates.values())
        inside = total - self.candidates[checks.ITSELF] - self.candidates[checks.OUT_OF_DEPTH]
        rows.append(("candidates", f"{total:,}", ""))
        for name in (*checks.REASONS, checks.KEPT):
            if count := self.candidates[name]:
                outside = name in (checks.ITSELF, checks.OUT_OF_DEPTH)
                rows.append((f"  {name}", f"{count:,}", "" if outside else f"{100 * count / inside:.1f} %"))
        return aligned(rows, "lrr")


def mine(
    collection: RetrievalSet,
    raw_dir: Path | str,
    split: str,
    rules: Rules,
    *,
    run_file: Path | None = None,
    run_format: str = "auto",
    teacher_file: Path | None = None,
) -> Found:
    """Mine the negatives of a split; queries in the order of the judgments.

    Args:
      collection: the collection.
      raw_dir: folder of raw files.
      split: train, validation or test.
      rules: which candidates are negatives.
      run_file: the run with the candidates; None: the collection's first stage.
      run_format: see `read_run`.
      teacher_file: a run with the teacher's scores of candidates and relevant documents; None: those of the
        run.

    Raises:
      DataError: a file that is no run, or names a document that the corpus does not have.
    """
    qrels = collection.qrels(raw_dir, split)
    run = None if run_file is None else read_run(run_file, run_format)
    teacher = None if teacher_file is None else read_run(teacher_file, "scores")
    found = Found()
    if run is not None:
        found.others[OTHER_QUERIES] = sum(query_id not in qrels for query_id in run)
    for part in collection.parts(raw_dir):
        corpus = Corpus(part.folder)
        own = part.own(qrels)
        queries = judged_queries(part.folder, own)
        depth = max(SCORED_DEPTH, rules.last_rank)
        candidates = first_stage(part.folder, corpus, queries, depth) if run is None else part.own(run)
        scores = candidates if teacher is None else part.own(teacher)
        texts = _Texts(corpus, run_file or corpus.path)
        for query_id, judged in own.items():
            relevant = [doc for doc, grade in judged.items() if grade > 0]
            if not any(doc in corpus for doc in relevant):
                found.others[WITHOUT_POSITIVE] += 1
                continue
            listed = dict(candidates.get(query_id, {}))
            if collection.own_document and listed.pop(query_id, None) is not None:
                found.candidates[checks.ITSELF] += 1
            scored = scores.get(query_id, {})
            found.others[QUERIES] += 1
            found.others[POSITIVES] += len(relevant)
            found.others[SCORED_POSITIVES] += sum(doc in scored for doc in relevant)
            found.others[WITHOUT_CANDIDATES] += not listed
            try:
                kept = checks.negatives_of(
                    query_id, listed, judged, scored, rules, texts.check(query_id, relevant), found.candidates
                )
            except DataError as error:
                raise DataError(
                    error.what, path=error.path or teacher_file or run_file, todo=error.todo
                ) from None
            found.others[WITHOUT_NEGATIVES] += not kept
            found.negatives[part.prefix + query_id] = [part.prefix + doc for doc in kept]
    return found


class _Texts:
    """Compares the texts of documents, ignoring case, punctuation and spacing."""

    def __init__(self, corpus: Corpus, path: Path) -> None:
        self._corpus, self._path = corpus, path
        self._keys: dict[str, str | None] = {}  # document id -> digest, "" without text; None if absent

    def check(self, query_id: str, relevant: Sequence[str]) -> Callable[[str], str]:
        """Document id -> why its text makes it no negative of the query: EMPTY, SAME_TEXT, or ""."""
        same = {self._key(doc_id) for doc_id in relevant}

        def removed(doc_id: str) -> str:
            key = self._key(doc_id)
            if key is None:
                raise DataError(
                    f"the run names document {doc_id!r} for query {query_id!r}; it is not in the corpus",
                    path=self._path, todo="use the run with the corpus that it was made from",
                )  # fmt: skip
            return checks.EMPTY if not key else checks.SAME_TEXT if key in same else ""

        return removed

    def _key(self, doc_id: str) -> str | None:
        if doc_id not in self._keys:
            document = self._corpus.get(doc_id)
            text = "" if document is None else document.joined()
            digest = f"{stable_hash(group_key(text)):x}" if text else ""
            self._keys[doc_id] = None if document is None else digest
        return self._keys[doc_id]
