"""What is reranked: a BEIR folder with its judgments, and the first-stage candidates of each query.

The candidates come from a TREC run file or, without one, from BM25 over the folder's corpus. Either way
they are checked before a model is loaded: a run that names a query or document unknown to the collection,
that has a broken line or a score that is no number is refused with file and line.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class RerankError(ValueError):
    """Input that must not be reranked: says where, what, and what to do."""


@dataclass(frozen=True)
class Collection:
    """A BEIR folder. `qrels` is None when no split was asked for: then nothing is measured."""

    folder: Path
    corpus: Mapping[str, Any]  # doc id -> Document(title, text)
    queries: Mapping[str, str]
    split: str | None
    qrels: Mapping[str, Mapping[str, int]] | None

    @property
    def name(self) -> str:
        return self.folder.name

    def wanted_queries(self) -> list[str]:
        """Queries that count: the judged ones of the split in qrels order, else all."""
        return list(self.queries if self.qrels is None else self.qrels)


@dataclass(frozen=True)
class Candidates:
    """First-stage results, cut to `depth`.

    documents: query id -> document ids, best first (score as float32 descending, then document id descending:
      trec_eval's order, whatever the rank column of a run file says).
    scores: query id -> first-stage score per document, in the same order.
    fingerprint: sha256 of the candidates (queries, documents, order), equal for equal inputs to the reranker.
    """

    documents: Mapping[str, Sequence[str]]
    scores: Mapping[str, Sequence[float]]
    depth: int
    source: str
    fingerprint: str
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> dict[str, dict[str, float]]:
        """The candidates as a run: query id -> document id -> first-stage score."""
        return {
            query: dict(zip(documents, self.scores[query], strict=True))
            for query, documents in self.documents.items()
        }


def load_collection(folder: str | Path, split: str | None) -> Collection:
    """Corpus, queries and judgments of a BEIR folder (an official zip, unpacked).

    A document or query id in the judgments that the folder does not have is left in: it counts against the
    ranking, as trec_eval counts it. A judged query without text cannot be ranked and is refused.
    """
    from seqio_tasks.sources import beir

    folder = Path(folder)
    if not (folder / "corpus.jsonl").is_file():
        inner = [path.parent for path in folder.glob("*/corpus.jsonl")] if folder.is_dir() else []
        if len(inner) != 1:
            raise RerankError(f"{folder}: no corpus.jsonl here; COLLECTION must be an unpacked BEIR folder")
        folder = inner[0]
    corpus, queries = beir.read_corpus(folder), beir.read_queries(folder)
    qrels = None if split is None else beir.read_qrels(folder, split)
    if qrels is not None:
        missing = [query for query in qrels if query not in queries]
        if missing:
            raise RerankError(
                f"{folder}: split {split} judges query {missing[0]!r} (and {len(missing) - 1} more), which "
                "queries.jsonl does not have; unpack the official zip again"
            )
    return Collection(folder, corpus, queries, split, qrels)


def from_run_file(collection: Collection, path: str | Path, depth: int) -> Candidates:
    """Candidates from a TREC run file; judged queries that it leaves out are counted and score 0."""
    from seqio_tasks.metrics.trec_files import read_run

    path = Path(path)
    run = read_run(path)
    for query, documents in run.items():
        if query not in collection.queries:
            raise RerankError(
                f"{path}:{_line_of(path, query)}: query {query!r} is not in "
                f"{collection.folder}/queries.jsonl; is this a run of another collection?"
            )
        for document in documents:
            if document not in collection.corpus:
                raise RerankError(
                    f"{path}:{_line_of(path, query, document)}: document {document!r} is not in "
                    f"{collection.folder}/corpus.jsonl; is this a run of another collection?"
                )
    return _candidates(collection, run, depth, source=f"run file {path.name}")


def from_bm25(collection: Collection, depth: int) -> Candidates:
    """Candidates from BM25 (seqio_tasks.first_stage) over the whole corpus."""
    from seqio_tasks import first_stage

    queries = {query: collection.queries[query] for query in collection.wanted_queries()}
    run = first_stage.bm25_run(collection.corpus, queries, depth)
    return _candidates(collection, run, depth, source="BM25 (bm25s, k1=0.9, b=0.4)")


def _candidates(
    collection: Collection, run: Mapping[str, Mapping[str, float]], depth: int, source: str
) -> Candidates:
    from seqio_tasks.metrics.ranking import ranking_order

    if depth < 1:
        raise RerankError(f"DEPTH must be at least 1, got {depth}")
    wanted = collection.wanted_queries()
    counts = Counter(
        queries=len(wanted),
        queries_without_candidates=sum(not run.get(query) for query in wanted),
        queries_without_judgments_left_out=len(run.keys() - set(wanted)),
    )
    documents: dict[str, tuple[str, ...]] = {}
    scores: dict[str, tuple[float, ...]] = {}
    digest = hashlib.sha256()
    for query in wanted:
        found = run.get(query)
        if not found:
            continue
        order = ranking_order(found)
        counts["candidates_below_depth_left_out"] += max(0, len(order) - depth)
        documents[query] = tuple(order[:depth])
        scores[query] = tuple(float(found[document]) for document in order[:depth])
        counts["documents"] += len(documents[query])
        digest.update("\t".join((query, *documents[query])).encode() + b"\n")
    if not documents:
        raise RerankError(
            f"{source} has no candidate for any of the {len(wanted)} queries of {collection.folder}"
        )
    return Candidates(documents, scores, depth, source, digest.hexdigest(), counts)


def _line_of(path: Path, query: str, document: str | None = None) -> int:
    """The line of a run file that names a query (and a document)."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.split()
            if len(cells) > 2 and cells[0] == query and document in (None, cells[2]):
                return number
    return 0
