"""What is reranked: a collection in any of the known forms, and the first-stage candidates of each query.

    COLLECTION    BEIR folder          corpus.jsonl, queries.jsonl, qrels/; runs/ if it has stored runs
                  MS MARCO folder      collection.tsv, queries.*.tsv, qrels.*.tsv, or top1000.* with texts
                  irds:ID              by ir_datasets, kept as a BEIR folder in the cache
                  FILE.json, .jsonl    rank_llm, RankGPT or the INTERS authors' lines: candidates with texts
    TOPICS, DOCUMENTS, RUN             a TREC run, its topics and a file with its documents

Candidates come from RUN, else from what the collection brings along, else from BM25 over its corpus.
Everything is checked before a model is loaded: a run that names a query or document unknown to the
collection, a broken line or a score that is no number is refused with file and line. Corpora stay on disk;
of document files only the candidates are kept.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inters_jax.ranking import formats
from inters_jax.ranking.errors import RerankError

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]
IRDS = "irds:"


@dataclass(frozen=True)
class Collection:
    """Queries, documents and judgments.

    name: for output folders and for finding the trained wording.
    source: the folder or file, for messages.
    documents: doc id -> object with title and text; may lie on disk.
    qrels: judgments of the wanted queries, or None: then nothing is measured.
    wanted: the queries that count: the judged ones in the order of the qrels, else all.
    run: first-stage results that came with the collection, and where they come from.
    searchable: whether `documents` is a whole corpus, which BM25 can search.
    own_document: queries are documents too: the one with the id of the query is no candidate.
    """

    name: str
    source: str
    queries: Mapping[str, str]
    documents: Mapping[str, Any]
    qrels: Qrels | None
    wanted: tuple[str, ...]
    split: str | None = None
    run: Run | None = None
    run_source: str = ""
    searchable: bool = True
    own_document: bool = False


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


def open_collection(
    collection: str | Path | None,
    *,
    split: str | None = "test",
    topics: str | Path | None = None,
    documents: str | Path | None = None,
    qrels: str | Path | None = None,
    run: str | Path | None = None,
    topic_field: str = "title",
    max_queries: int | None = None,
) -> Collection:
    """Opens a collection of any form.

    Args:
      collection: see the top of this module; None with topics and documents.
      split: whose judged queries are wanted, where the collection has splits; None: every query, unmeasured.
      topics, documents: files of a collection that is no folder; or replacing those of one.
      qrels: a judgment file (TREC or BEIR form) instead of the collection's own.
      run: the run that will be reranked: of a document file only its documents are kept.
      topic_field: of TREC topics, title, description, narrative or several joined by +.
      max_queries: only the first so many of the wanted queries, for a trial.
    """
    if collection is None:
        if topics is None or documents is None:
            raise RerankError("set COLLECTION, or TOPICS and DOCUMENTS (and RUN)")
        base = _from_files(Path(topics), Path(documents), run, topic_field)
    elif str(collection).startswith(IRDS):
        base = _from_folder(_brought(str(collection)), split, own_qrels=qrels is None)
    else:
        path = Path(collection)
        if path.is_file():
            base = _from_lists(path, formats.lists(path))
        else:
            base = _from_folder(path, split, own_qrels=qrels is None)
        if topics is not None:
            base = _replaced(base, queries=formats.topics(Path(topics), topic_field))
        if documents is not None:
            found = formats.documents(Path(documents), _named(run))
            base = _replaced(base, documents=found, searchable=run is None)
    judged = base.qrels
    if qrels is not None:
        from seqio_tasks.metrics.trec_files import read_qrels

        judged = read_qrels(Path(qrels))
    if split is None and qrels is None:
        judged = None
    if judged is not None:
        missing = [query for query in judged if query not in base.queries]
        if missing:
            raise RerankError(
                f"{qrels or base.source}: {len(missing)} judged queries have no text, the first is "
                f"{missing[0]!r}; use the judgments and queries of one collection"
            )
    wanted = tuple(base.queries if judged is None else judged)[:max_queries]
    if not wanted:
        raise RerankError(f"{base.source}: split {split} has no query")
    kept = None if judged is None else {query: judged[query] for query in wanted}
    return _replaced(base, qrels=kept, wanted=wanted, split=split)


def candidates_of(
    collection: Collection,
    run: str | Path | None,
    depth: int,
    *,
    drop_identical_ids: bool | None = None,
) -> Candidates:
    """The first stage: a run file, the collection's own results, or BM25.

    drop_identical_ids: leave out the candidate that has the id of its query, before the cut; None: where the
      catalog says that queries are documents (ArguAna, Quora, CQADupStack, SCIDOCS).
    """
    if depth < 1:
        raise RerankError(f"DEPTH must be at least 1, got {depth}")
    drop = collection.own_document if drop_identical_ids is None else drop_identical_ids
    if run is not None:
        return _from_run_file(collection, Path(run), depth, drop)
    if collection.run is not None:
        return _cut(collection, collection.run, depth, collection.run_source, drop)
    if not collection.searchable:
        raise RerankError(f"{collection.source}: no corpus to search; set RUN to the run of a first stage")
    from seqio_tasks import first_stage

    queries = {query: collection.queries[query] for query in collection.wanted}
    most = max((len(_excluded(collection, query)) for query in collection.wanted), default=0)
    found = first_stage.bm25_run(collection.documents, queries, depth + drop + most)
    return _cut(collection, found, depth, "BM25 (bm25s, k1=0.9, b=0.4)", drop)


def _from_folder(folder: Path, split: str | None, *, own_qrels: bool) -> Collection:
    """A BEIR folder, or one of MS MARCO's files."""
    from seqio_tasks.metrics.trec_files import read_run
    from seqio_tasks.sources import beir
    from seqio_tasks.sources.corpus_index import Corpus

    tables = sorted(folder.glob("top1000*")) if folder.is_dir() else []
    whole = any((folder / name).is_file() for name in beir.CORPUS_FILES)
    if not whole and not tables:
        inner = [path.parent for path in folder.glob("*/corpus.jsonl")] if folder.is_dir() else []
        if len(inner) != 1:
            raise RerankError(
                f"{folder}: no corpus.jsonl here; COLLECTION must be an unpacked BEIR folder, a folder "
                "with MS MARCO's collection.tsv or top1000 file, a JSON file with candidates, or irds:ID"
            )
        folder = inner[0]
    qrels = beir.read_qrels(folder, split) if split is not None and own_qrels else None
    known = dataset_of(folder.resolve())
    if qrels is not None and known is not None:
        qrels = known.graded(qrels)
    if not whole and tables:
        if len(tables) > 1:
            raise RerankError(f"{folder}: {len(tables)} top1000 files; keep the one that is meant")
        found = formats.top1000(tables[0])
        queries = {**found.queries, **_queries_without_candidates(folder)}
        return Collection(
            folder.name, str(folder), queries, found.documents, qrels, (), run=found.run,
            run_source=f"candidates of {tables[0].name}", searchable=False,
        )  # fmt: skip
    stored: dict[str, dict[str, float]] = {}
    names = []
    for path in sorted((folder / "runs").glob("[!.]*")):
        stored |= read_run(path)
        names.append(path.name)
    return Collection(
        folder.name, str(folder), beir.read_queries(folder), Corpus(folder), qrels, (),
        run=stored or None, run_source=f"stored run {', '.join(names)}",
        own_document=_own_document(folder),
    )  # fmt: skip


def _queries_without_candidates(folder: Path) -> dict[str, str]:
    from seqio_tasks.sources import beir

    return beir.read_queries(folder) if list(folder.glob("queries.*")) else {}


def _from_lists(path: Path, found: formats.Lists) -> Collection:
    name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    return Collection(
        name, str(path), found.queries, found.documents, found.qrels, (), run=found.run,
        run_source=f"candidates of {path.name}", searchable=False,
    )  # fmt: skip


def _from_files(topics: Path, documents: Path, run: str | Path | None, topic_field: str) -> Collection:
    return Collection(
        topics.name.split(".")[0], f"{topics} and {documents}", formats.topics(topics, topic_field),
        formats.documents(documents, _named(run)), None, (), searchable=run is None,
    )  # fmt: skip


def _named(run: str | Path | None) -> set[str] | None:
    """The documents that a run names, or None."""
    if run is None:
        return None
    from seqio_tasks.metrics.trec_files import read_run

    return {document for scores in read_run(Path(run)).values() for document in scores}


def _replaced(collection: Collection, **changes: Any) -> Collection:
    return dataclasses.replace(collection, **changes)


def _brought(name: str) -> Path:
    """The BEIR folder that ir_datasets makes of an id, in the cache."""
    from seqio_tasks import settings
    from seqio_tasks.download import ir_datasets_source
    from seqio_tasks.download.report import FAILED

    dataset_id = name.removeprefix(IRDS)
    base = Path(settings.current().cache_dir) / "irds"
    failed = [one for one in ir_datasets_source.convert(dataset_id, base) if one.status == FAILED]
    if failed:
        raise RerankError(f"{name}: {failed[0].message}")
    return base / ir_datasets_source.folder_name(dataset_id)


def dataset_of(folder: Path) -> Any:
    """The RetrievalSet of the catalog that a folder or file belongs to, by its name or its parent's, or None.

    >>> dataset_of(Path("data/beir_quora/quora")).dataset, dataset_of(Path("scifact.bm25.100.jsonl")).dataset
    ('quora', 'scifact')
    """
    from seqio_tasks.sources import retrieval_sets

    for name in (folder.name, folder.name.split(".")[0], folder.parent.name):
        folded = name.lower().replace("-", "_").removeprefix("beir_")
        for entry in (*retrieval_sets.SETS.values(), *retrieval_sets.EVALUATION_SETS.values()):
            # The folder has our name or, as the official zip makes it, the name of the zip.
            if folded in (entry.dataset, entry.unzipped.replace("-", "_")):
                return entry
    return None


def _own_document(folder: Path) -> bool:
    entry = dataset_of(folder.resolve())
    return entry is not None and entry.own_document


def _from_run_file(collection: Collection, path: Path, depth: int, drop: bool) -> Candidates:
    """Candidates from a run file; judged queries that it leaves out are counted and score 0."""
    from seqio_tasks.metrics.trec_files import read_run

    run = read_run(path)
    for query, found in run.items():
        if query not in collection.queries:
            raise RerankError(
                f"{path}:{_line_of(path, query)}: query {query!r} is not in {collection.source}; is this a "
                "run of another collection?"
            )
        for document in found:
            if document not in collection.documents:
                raise RerankError(
                    f"{path}:{_line_of(path, query, document)}: document {document!r} is not in "
                    f"{collection.source}; is this a run of another collection?"
                )
    return _cut(collection, run, depth, f"run file {path.name}", drop)


def _cut(collection: Collection, run: Run, depth: int, source: str, drop: bool) -> Candidates:
    from seqio_tasks.metrics.ranking import ranking_order

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
    return Candidates(documents, scores, depth, source, digest.hexdigest(), counts)


def _excluded(collection: Collection, query: str) -> set[str]:
    """Documents that the judgments take out of the candidates of a query (BRIGHT)."""
    from seqio_tasks.ranking_rows import EXCLUDED

    judged = (collection.qrels or {}).get(query, {})
    return {document for document, grade in judged.items() if grade <= EXCLUDED}


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
