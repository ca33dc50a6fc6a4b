"""What is reranked: a BEIR folder with its judgments, and the first-stage candidates of each query.

The candidates come from a TREC run file or, without one, from BM25 over the folder's corpus. Either way
they are checked before a model is loaded: a run that names a query or document unknown to the collection,
that has a broken line or a score that is no number is refused with file and line.
"""

from __future__ import annotations

import gzip
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
    """A BEIR folder.

    qrels: judgments of the wanted queries, or None when no split was asked for: then nothing is measured.
    wanted: the queries that count: the judged ones of the split in qrels order, else all.
    """

    folder: Path
    corpus: Mapping[str, Any]  # doc id -> Document(title, text)
    queries: Mapping[str, str]
    split: str | None
    qrels: Mapping[str, Mapping[str, int]] | None
    wanted: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.folder.name


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


def load_collection(folder: str | Path, split: str | None, max_queries: int | None = None) -> Collection:
    """Corpus, queries and judgments of a BEIR folder (an official zip, unpacked).

    `max_queries` keeps the first so many of the queries that count.

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
    wanted = tuple(queries if qrels is None else qrels)[:max_queries]
    if not wanted:
        raise RerankError(f"{folder}: split {split} has no query")
    judged = None if qrels is None else {query: qrels[query] for query in wanted}
    return Collection(folder, corpus, queries, split, judged, wanted)


def from_run_file(
    collection: Collection, path: str | Path, depth: int, *, drop_identical_ids: bool = False
) -> Candidates:
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
    return _candidates(collection, run, depth, f"run file {path.name}", drop_identical_ids)


def from_bm25(collection: Collection, depth: int, *, drop_identical_ids: bool = False) -> Candidates:
    """Candidates from BM25 (seqio_tasks.first_stage) over the whole corpus."""
    from seqio_tasks import first_stage

    queries = {query: collection.queries[query] for query in collection.wanted}
    run = first_stage.bm25_run(collection.corpus, queries, depth + drop_identical_ids)
    return _candidates(collection, run, depth, "BM25 (bm25s, k1=0.9, b=0.4)", drop_identical_ids)


def _candidates(
    collection: Collection,
    run: Mapping[str, Mapping[str, float]],
    depth: int,
    source: str,
    drop_identical_ids: bool,
) -> Candidates:
    from seqio_tasks.metrics.ranking import ranking_order

    if depth < 1:
        raise RerankError(f"DEPTH must be at least 1, got {depth}")
    counts: Counter[str] = Counter({"queries": len(collection.wanted)})
    counts["queries of the first stage left out"] = len(run.keys() - set(collection.wanted))
    documents: dict[str, tuple[str, ...]] = {}
    scores: dict[str, tuple[float, ...]] = {}
    digest = hashlib.sha256()
    for query in collection.wanted:
        found = run.get(query, {})
        order = ranking_order(found)
        if drop_identical_ids and query in found:
            order.remove(query)
            counts["candidates with the id of their query left out"] += 1
        counts["candidates below the depth left out"] += max(0, len(order) - depth)
        order = order[:depth]
        digest.update("\t".join((query, *order)).encode() + b"\n")
        if not order:
            counts["queries without candidates"] += 1
            continue
        documents[query] = tuple(order)
        scores[query] = tuple(float(found[document]) for document in order)
        counts["candidates"] += len(order)
    if not documents:
        raise RerankError(
            f"{source} has no candidate for any of the {len(collection.wanted)} queries of "
            f"{collection.folder}"
        )
    return Candidates(documents, scores, depth, source, digest.hexdigest(), counts)


def _line_of(path: Path, query: str, document: str | None = None) -> int:
    """The line of a run file (TREC or MS MARCO form) that names a query (and a document)."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as lines
    ):
        for number, line in enumerate(lines, 1):
            cells = line.split()
            if cells and cells[0] == query and (document is None or document in cells[1:3]):
                return number
    return 0
