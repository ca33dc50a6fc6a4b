"""Queries, documents and judgments become ranking rows.

A row has one query with some of its relevant documents and some others; `prompts.render` draws a template
family and the documents it shows:

    {"example_id": "fact_retrieval_scifact/train/3", "query_id": "3", "query": "...",
     "positives": [{"doc_id", "title", "text", "grade"}, ...],     grade > 0, best first, MAX_POSITIVES
     "negatives": [{"doc_id", "title", "text", "grade": 0}, ...]}  hard (judged 0, mined, BM25), random ones

Evaluation reads `set_rerank_rows`: one row per (query, candidate), for every query of the qrels and every
candidate of its first stage.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.first_stage import bm25_run
from seqio_tasks.metrics.trec_files import read_runs
from seqio_tasks.seeded import Draws
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Document, Part, Qrels
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.mined import Mined
from seqio_tasks.sources.retrieval_sets import SETS, RetrievalSet
from seqio_tasks.teachers import Teacher

log = logging.getLogger(__name__)

Row = dict[str, Any]
Run = Mapping[str, Mapping[str, float]]  # query id -> {doc id: score}

MAX_POSITIVES = 10
CANDIDATES = 20  # negatives per row: half hard, half random
FIRST_STAGE_DEPTH = 100  # hard negatives are drawn from this many top BM25 documents
NO_POSITIVE = "query without a relevant document in the corpus"
NO_NEGATIVE = "query without any other document to compare with"
ABSENT_POSITIVE = "relevant document missing from the corpus"
EMPTY_POSITIVE = "relevant document without title and text"
EXCLUDED = -100  # the grade of documents that are not candidates of a query (BRIGHT)


def _loader(task: str, dataset: str) -> functools.partial[Iterator[Row]]:
    """``loader(raw_dir, split, report=None)`` of a pair of the catalog."""
    return functools.partial(set_rows, SETS[dataset], f"{task}_{dataset}")


def set_rows(
    collection: RetrievalSet,
    prefix: str,
    raw_dir: Path,
    split: str,
    report: SourceReport | None = None,
    *,
    teacher: Teacher | None = None,
    candidates: int = CANDIDATES,
    seed: int = 0,
) -> Iterator[Row]:
    """One row per judged query, in the order of the qrels, forum by forum where there are several.

    Negatives are documents judged 0 or below, then mined ones (`sources.mined`) if the split has a file of
    them, else first-stage candidates, until half of `candidates` are found, then random documents. No
    document judged relevant is ever among them. The choice depends on (seed, query) only. With a teacher, all
    documents of a query are among those that it has scored, unless these have no negative.

    Args:
      collection: the collection.
      prefix: of the example ids.
      raw_dir: folder of raw files.
      split: train, validation or test.
      report: counts the queries left out, by reason.
      teacher: the scores of another ranker, for distillation.
      candidates: negatives per row.
      seed: of the choice.

    Raises:
      DataError: a mined negative is judged relevant, or it or its query is not in the collection.
    """
    qrels = collection.qrels(raw_dir, split, report)
    mined = collection.mined(raw_dir, split)
    if mined is not None:
        _check_mined(mined, collection.parts(raw_dir), qrels, split)
    for part in collection.parts(raw_dir):
        yield from _part_rows(
            part,
            part.own(qrels),
            f"{prefix}/{split}",
            candidates,
            seed,
            report,
            collection.own_document,
            mined,
            teacher,
        )


def _check_mined(mined: Mined, parts: Sequence[Part], qrels: Qrels, split: str) -> None:
    """Refuse negatives of other queries, and say how many queries have none."""
    mined.check_queries({part.prefix + query for part in parts for query in beir.read_queries(part.folder)})
    without = sum(query_id not in mined.lines for query_id in qrels)
    if without:
        log.warning(
            "%s: no negatives for %s of the %s queries of %s; they get random ones",
            mined.path, f"{without:,}", f"{len(qrels):,}", split,
        )  # fmt: skip


def _part_rows(
    part: Part,
    qrels: Qrels,
    name: str,
    candidates: int,
    seed: int,
    report: SourceReport | None,
    own_document: bool,
    mined: Mined | None,
    teacher: Teacher | None,
) -> Iterator[Row]:
    corpus = Corpus(part.folder)
    known = judged_queries(part.folder, qrels)
    scored: dict[str, list[str]] = {}
    if teacher is not None:
        for query_id, text in known.items():
            named = teacher.scores(part.prefix + query_id, text)
            scored[query_id] = [name.removeprefix(part.prefix) for name in named]
    searched = {query_id: text for query_id, text in known.items() if not scored.get(query_id)}
    run = {} if mined is not None else first_stage(part.folder, corpus, searched, FIRST_STAGE_DEPTH)
    for query_id, judged in qrels.items():
        example_id = f"{name}/{part.prefix}{query_id}"
        draws = Draws(seed, 0, example_id, "candidates")
        relevant = _relevant(judged, corpus, report)
        compared = scored.get(query_id, ())
        relevant = [one for one in relevant if one["doc_id"] in compared] or relevant
        # A random order among equal grades: the cap must not favour documents early in the file.
        positives = draws.sample(relevant, len(relevant))
        positives = sorted(positives, key=lambda document: -document["grade"])[:MAX_POSITIVES]
        excluded = {doc_id for doc_id, grade in judged.items() if grade > 0}
        retrieved: Iterable[str] = run.get(query_id, ())
        if mined is not None:
            retrieved = mined.of(part.prefix + query_id, excluded, corpus, part.prefix)
        if own_document:
            excluded.add(query_id)
        negatives: list[Row] = []
        if positives and compared:
            others = draws.shuffled([name for name in compared if name not in excluded])
            negatives = list(itertools.islice(_with_text(others, corpus), candidates))
        if positives and not negatives:
            negatives = _negatives(judged, retrieved, excluded, corpus, candidates, draws)
        if not negatives:
            if report is not None:
                report[NO_NEGATIVE if positives else NO_POSITIVE] += 1
            continue
        shown = [{**found, "doc_id": part.prefix + found["doc_id"]} for found in positives + negatives]
        yield {
            "example_id": example_id,
            "query_id": part.prefix + query_id,
            "query": known[query_id],
            "positives": shown[: len(positives)],
            "negatives": shown[len(positives) :],
        }


def _relevant(judged: Mapping[str, int], corpus: Corpus, report: SourceReport | None) -> list[Row]:
    """The relevant documents that have a text; the others are counted."""
    found = []
    for doc_id, grade in judged.items():
        if grade <= 0:
            continue
        document = corpus.get(doc_id)
        if document is not None and document.joined():
            found.append(_document(doc_id, document, grade))
        elif report is not None:
            report[ABSENT_POSITIVE if document is None else EMPTY_POSITIVE] += 1
    return found


def _with_text(names: Iterable[str], corpus: Corpus) -> Iterator[Row]:
    """Documents that are not relevant; those without text are skipped, for there is nothing to judge."""
    for name in names:
        document = corpus.get(name)
        if document is not None and document.joined():
            yield _document(name, document, 0)


def _negatives(
    judged: Mapping[str, int],
    found: Iterable[str],
    excluded: set[str],
    corpus: Corpus,
    count: int,
    draws: Draws,
) -> list[Row]:
    """Up to count // 2 hard negatives, then random ones; fewer only if the corpus has no more.

    Documents without text are skipped: there is nothing to judge.
    """
    judged_bad = [doc_id for doc_id in judged if doc_id not in excluded]
    retrieved = [doc_id for doc_id in found if doc_id not in excluded and doc_id not in judged]
    chosen: dict[str, Row] = {}

    def take(doc_id: str, document: Document | None) -> None:
        if document is not None and document.joined() and doc_id not in excluded:
            chosen.setdefault(doc_id, _document(doc_id, document, 0))

    for pool in (judged_bad, retrieved):
        for doc_id in draws.shuffled(pool):
            if len(chosen) >= count // 2:
                break
            take(doc_id, corpus.get(doc_id))
    for position in draws.shuffled(range(len(corpus))):
        if len(chosen) >= count:
            break
        take(*corpus.at(position))
    return list(chosen.values())


def set_rerank_rows(
    collection: RetrievalSet, raw_dir: Path | str, split: str, depth: int = 100
) -> Iterator[Row]:
    """Every (query, candidate) of a first stage, best candidates first, for pointwise judgment.

    {"example_id": "q1/d7", "query_id", "doc_id", "relevance": grade (0 when unjudged), "rank": from 1,
     "first_stage_score", "query", "document": {"doc_id", "title", "text"}}

    Candidates come from the collection's own runs, or else from BM25. They are ordered as trec_eval orders
    them (score descending, then document id descending) and cut at `depth`. Ids have the prefix of their
    forum.

    Raises:
      DataError: a candidate is not in the corpus.
    """
    qrels = collection.qrels(raw_dir, split)
    for part in collection.parts(raw_dir):
        for row in _part_rerank_rows(part, part.own(qrels), depth, collection.own_document):
            query_id, doc_id = part.prefix + row["query_id"], part.prefix + row["doc_id"]
            document = {**row["document"], "doc_id": doc_id}
            names = {
                "example_id": f"{part.prefix}{row['example_id']}",
                "query_id": query_id,
                "doc_id": doc_id,
            }
            yield {**row, **names, "document": document}


def _part_rerank_rows(part: Part, qrels: Qrels, depth: int, own_document: bool) -> Iterator[Row]:
    corpus = Corpus(part.folder)
    known = judged_queries(part.folder, qrels)
    most = max((sum(g <= EXCLUDED for g in judged.values()) for judged in qrels.values()), default=0)
    run = first_stage(part.folder, corpus, known, depth + own_document + most)
    for query_id, judged in qrels.items():
        scores = run.get(query_id, {})
        # The query itself and excluded documents are removed before the cut, or they would cost candidates.
        left_out = {doc_id for doc_id, grade in judged.items() if grade <= EXCLUDED}
        left_out |= {query_id} if own_document else set()
        ids = [doc_id for doc_id in scores if doc_id not in left_out]
        ordered = sorted(ids, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)[:depth]
        for rank, doc_id in enumerate(ordered, start=1):
            document = corpus.get(doc_id)
            if document is None:
                raise DataError(
                    f"the run names document {doc_id!r} for query {query_id!r}; it is not in the corpus",
                    path=corpus.path,
                    todo="use the run with the corpus that it was made from",
                )
            yield {
                "example_id": f"{query_id}/{doc_id}",
                "query_id": query_id,
                "doc_id": doc_id,
                "relevance": judged.get(doc_id, 0),
                "rank": rank,
                "first_stage_score": float(scores[doc_id]),
                "query": known[query_id],
                "document": {"doc_id": doc_id, "title": document.title, "text": document.text},
            }


def first_stage(folder: Path, corpus: Corpus, queries: Mapping[str, str], depth: int) -> Run:
    """Candidates from the TREC runs in the folder's `runs/`; BM25 for queries that no run has.

    Over millions of documents, BM25 takes gigabytes and minutes, which a published run saves.
    """
    stored = read_runs(sorted((folder / "runs").glob("[!.]*")))
    run: dict[str, Mapping[str, float]] = {
        query_id: found for query_id, found in stored.items() if query_id in queries
    }
    missing = {query_id: text for query_id, text in queries.items() if query_id not in run}
    return run | dict(_bm25(corpus, missing, depth)) if missing else run


def _bm25(corpus: Mapping[str, Document], queries: Mapping[str, str], depth: int) -> Run:
    return bm25_run(corpus, queries, k=max(1, min(depth, len(corpus))))


def judged_queries(folder: Path, qrels: Qrels) -> dict[str, str]:
    """The texts of the judged queries."""
    queries = beir.read_queries(folder)
    for query_id in qrels:
        if not queries.get(query_id):
            raise DataError(
                f"query {query_id!r} is judged but has no text",
                path=folder / "queries.jsonl",
                todo="unpack the whole BEIR zip again",
            )
    return {query_id: queries[query_id] for query_id in qrels}


def _document(doc_id: str, document: Document, grade: int) -> Row:
    return {"doc_id": doc_id, "title": document.title, "text": document.text, "grade": grade}


ms_marco = _loader("general_retrieval", "ms_marco")
trec_covid = _loader("biomedical_retrieval", "trec_covid")
nfcorpus = _loader("biomedical_retrieval", "nfcorpus")
nq = _loader("supporting_evidence_retrieval", "nq")
fiqa = _loader("supporting_evidence_retrieval", "fiqa")
hotpot_qa = _loader("supporting_evidence_retrieval", "hotpot_qa")
arguana = _loader("argument_retrieval", "arguana")
touche = _loader("argument_retrieval", "touche")
cqadupstack = _loader("duplicate_question_retrieval", "cqadupstack")
quora = _loader("duplicate_question_retrieval", "quora")
dbpedia = _loader("entity_retrieval", "dbpedia")
scidocs = _loader("article_retrieval", "scidocs")
climate_fever = _loader("fact_retrieval", "climate_fever")
fever = _loader("fact_retrieval", "fever")
scifact = _loader("fact_retrieval", "scifact")
