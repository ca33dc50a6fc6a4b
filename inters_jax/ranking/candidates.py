"""The first-stage candidates of each query: of a run file, stored with the collection, or by BM25.

A run is checked before a model is loaded: unknown queries and documents are refused with file and line.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inters_jax.ranking.collection import Collection, Run
from inters_jax.ranking.errors import RerankError
from seqio_tasks import first_stage
from seqio_tasks.metrics.ranking import ranking_order
from seqio_tasks.metrics.trec_files import read_run
from seqio_tasks.ranking_rows import ABSENT_POSITIVE, EXCLUDED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidates:
    """First-stage results, cut to `depth`.

    documents: query id -> document ids, best first, in trec_eval's order: by score (float32), then by
      document id, both descending. The rank column of a run file is not used.
    scores: query id -> first-stage score per document, in the same order.
    fingerprint: sha256 of queries, documents and their order; equal for equal inputs to the reranker.
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


def candidates_of(
    collection: Collection,
    run: str | Path | None,
    depth: int,
    *,
    drop_identical_ids: bool | None = None,
    run_format: str = "auto",
) -> Candidates:
    """The first stage: a run file, the collection's own results, or BM25.

    Args:
      collection: whose wanted queries get candidates.
      run: a TREC or MS MARCO run file, or None.
      depth: candidates per query.
      drop_identical_ids: leave out the candidate that has the id of its query, before the cut. None: in
        collections whose queries are documents (ArguAna, Quora, CQADupStack, SCIDOCS).
      run_format: "ranks", "scores" or "auto": the third column of a run with three.

    Raises:
      RerankError: there is no candidate at all, the run names what the collection does not have, or an id
        cannot be written to a TREC run.
    """
    if depth < 1:
        raise RerankError(f"DEPTH must be at least 1, got {depth}")
    drop = collection.own_document if drop_identical_ids is None else drop_identical_ids
    if run is not None:
        return _from_run_file(collection, Path(run), depth, drop, run_format)
    if collection.run is not None:
        return _cut(collection, collection.run, depth, collection.run_source, drop)
    if not collection.searchable:
        raise RerankError(f"{collection.source}: no corpus to search; set RUN to the run of a first stage")
    if not len(collection.documents):
        raise RerankError(f"{collection.source}: the corpus is empty, it has no document to rank")
    queries = {query: collection.queries[query] for query in collection.wanted}
    most = max((len(_excluded(collection, query)) for query in collection.wanted), default=0)
    found = first_stage.bm25_run(collection.documents, queries, depth + drop + most)
    return _cut(collection, found, depth, "BM25 (bm25s, k1=0.9, b=0.4)", drop)


def _from_run_file(collection: Collection, path: Path, depth: int, drop: bool, form: str) -> Candidates:
    """Candidates from a run file. Judged queries that it does not have are counted and score 0."""
    run = read_run(path, form)
    for query, found in run.items():
        if query not in collection.queries:
            raise _unknown(collection, path, query)
        for document in found:
            if document not in collection.documents:
                raise _unknown(collection, path, query, document)
    return _cut(collection, run, depth, f"run file {path.name}", drop)


def _unknown(collection: Collection, path: Path, query: str, document: str | None = None) -> RerankError:
    what = f"query {query!r}" if document is None else f"document {document!r}"
    return RerankError(
        f"{path}:{_line_of(path, query, document)}: {what} is not in {collection.source}; is this a run of "
        "another collection?"
    )


def _cut(collection: Collection, run: Run, depth: int, source: str, drop: bool) -> Candidates:
    counts: Counter[str] = Counter({"queries": len(collection.wanted)})
    counts["queries of the first stage left out"] = len(run.keys() - set(collection.wanted))
    documents: dict[str, tuple[str, ...]] = {}
    scores: dict[str, tuple[float, ...]] = {}
    digest = hashlib.sha256()
    for query in collection.wanted:
        found = run.get(query, {})
        order = ranking_order(found)
        if drop and query in found:
            order.remove(query)
            counts["candidates with the id of their query left out"] += 1
        if excluded := _excluded(collection, query):
            before, order = len(order), [document for document in order if document not in excluded]
            counts["candidates excluded by the judgments left out"] += before - len(order)
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
            f"{collection.source}"
        )
    _refuse_blanks(collection, documents)
    if absent := _absent_relevant(collection):
        counts[ABSENT_POSITIVE] += len(absent)
        query, document = absent[0]
        log.warning(
            "%s: %d relevant documents are missing from the corpus and cannot be ranked, the first is %r of "
            "query %r", collection.source, len(absent), document, query,
        )  # fmt: skip
    return Candidates(documents, scores, depth, source, digest.hexdigest(), counts)


def _refuse_blanks(collection: Collection, documents: Mapping[str, Sequence[str]]) -> None:
    """Refuse ids that a TREC run or judgment file cannot hold, before the first model call."""
    names = [("query", query) for query in documents]
    names += [("document", document) for found in documents.values() for document in found]
    names += [("judged query", query) for query in collection.qrels or {}]
    names += [("judged document", doc) for judged in (collection.qrels or {}).values() for doc in judged]
    bad: dict[str, str] = {}
    for kind, name in names:
        if name.split() != [name]:
            bad.setdefault(name, kind)
    if bad:
        name, kind = next(iter(bad.items()))
        raise RerankError(
            f"{collection.source}: {len(bad)} ids are empty or have blanks, which TREC runs cannot hold; the "
            f"first is that of {kind} {name!r}; replace the blanks, for example by _, in corpus, queries, "
            "qrels and runs"
        )


def _absent_relevant(collection: Collection) -> list[tuple[str, str]]:
    """(query, document) of relevant documents that a whole corpus lacks."""
    if not collection.searchable:
        return []
    return [
        (query, document)
        for query, judged in (collection.qrels or {}).items()
        for document, grade in judged.items()
        if grade > 0 and document not in collection.documents
    ]


def _excluded(collection: Collection, query: str) -> set[str]:
    """Documents that the judgments remove from the candidates of a query (BRIGHT)."""
    judged = (collection.qrels or {}).get(query, {})
    return {document for document, grade in judged.items() if grade <= EXCLUDED}


def _line_of(path: Path, query: str, document: str | None = None) -> int:
    """The line of a run file (TREC or MS MARCO form) that names a query (and a document); 0 if none does."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.split()
            if cells and cells[0] == query and (document is None or document in cells[1:3]):
                return number
    return 0
