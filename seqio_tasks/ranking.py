"""Queries, documents and judgments become ranking rows.

A row holds one query with some of its relevant documents and some others; `prompts.render` draws a template
family and what it shows from them:

    {"example_id": "fact_retrieval_scifact/train/3", "query_id": "3", "query": "...",
     "positives": [{"doc_id", "title", "text", "grade"}, ...],     grade > 0, best first, MAX_POSITIVES
     "negatives": [{"doc_id", "title", "text", "grade": 0}, ...]}  hard (judged 0, BM25) and random ones

Evaluation reads `rerank_rows`: one row per (query, candidate), every query of the qrels, every candidate of
the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqio_tasks import prompts
from seqio_tasks.draws import Draws
from seqio_tasks.errors import DataError
from seqio_tasks.prompts import Rendered, Variant
from seqio_tasks.sources import beir

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair
    from seqio_tasks.sources.beir import Document
    from seqio_tasks.sources.common import SourceReport

Row = dict[str, Any]
Run = Mapping[str, Mapping[str, float]]  # query id -> {doc id: score}

MAX_POSITIVES = 10
CANDIDATES = 20  # negatives per row: half hard, half random
FIRST_STAGE_DEPTH = 100  # hard negatives are drawn from so many best BM25 documents
NO_POSITIVE = "query without a relevant document in the corpus"
NO_NEGATIVE = "query without any other document to compare with"


def scifact(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Claims and abstracts (BEIR SciFact)."""
    folder = beir.beir_folder(raw_dir, "scifact")
    return rows(folder, split, prefix="fact_retrieval_scifact", report=report)


def nfcorpus(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Nutrition questions and medical abstracts, grades 1 and 2 (BEIR NFCorpus)."""
    folder = beir.beir_folder(raw_dir, "nfcorpus")
    return rows(folder, split, prefix="biomedical_retrieval_nfcorpus", report=report)


def rows(
    folder: Path,
    split: str,
    candidates: int = CANDIDATES,
    *,
    prefix: str = "",
    seed: int = 0,
    report: SourceReport | None = None,
) -> Iterator[Row]:
    """One row per judged query of a BEIR folder, in the order of the qrels.

    Negatives: documents judged 0 or below first, then BM25 candidates, until half of `candidates` are
    found, then random documents. Nothing judged relevant is ever among them. The choice depends on (seed,
    query) only.
    """
    folder = Path(folder)
    prefix = prefix or folder.name
    corpus = beir.read_corpus(folder)
    queries = beir.read_queries(folder)
    qrels = beir.read_qrels(folder, split, report)
    known = {query_id: _query(queries, query_id, folder) for query_id in qrels}
    run = _bm25(corpus, known, FIRST_STAGE_DEPTH)
    doc_ids = list(corpus)
    for query_id, judged in qrels.items():
        example_id = f"{prefix}/{split}/{query_id}"
        draws = Draws(seed, 0, example_id, "candidates")
        relevant = [(doc_id, grade) for doc_id, grade in judged.items() if grade > 0 and doc_id in corpus]
        # A random order among equal grades: the cap must not favour documents that come early in the file.
        relevant = sorted(draws.sample(relevant, len(relevant)), key=lambda entry: -entry[1])[:MAX_POSITIVES]
        excluded = {doc_id for doc_id, grade in judged.items() if grade > 0} | {query_id}
        negatives = _negatives(judged, run.get(query_id, {}), excluded, corpus, doc_ids, candidates, draws)
        if not relevant or not negatives:
            if report is not None:
                report[NO_NEGATIVE if relevant else NO_POSITIVE] += 1
            continue
        yield {
            "example_id": example_id,
            "query_id": query_id,
            "query": known[query_id],
            "positives": [_document(doc_id, corpus, grade) for doc_id, grade in relevant],
            "negatives": [_document(doc_id, corpus, 0) for doc_id in negatives],
        }


def _negatives(
    judged: Mapping[str, int],
    found: Mapping[str, float],
    excluded: set[str],
    corpus: Mapping[str, Document],
    doc_ids: list[str],
    count: int,
    draws: Draws,
) -> list[str]:
    """Document ids: up to count // 2 hard ones, then random ones; fewer only when the corpus has no more."""
    judged_bad = [doc_id for doc_id in judged if doc_id in corpus and doc_id not in excluded]
    retrieved = [doc_id for doc_id in found if doc_id not in excluded and doc_id not in judged]
    half = count // 2
    chosen = draws.sample(judged_bad, min(half, len(judged_bad)))
    chosen += draws.sample(retrieved, min(half - len(chosen), len(retrieved)))
    taken = excluded | set(chosen)
    for doc_id in draws.shuffled(doc_ids):
        if len(chosen) >= count:
            break
        if doc_id not in taken:
            chosen.append(doc_id)
    return chosen


def rerank_rows(folder: Path, split: str, run: Run | None = None, depth: int = 100) -> Iterator[Row]:
    """Every (query, candidate) of a first stage, best candidates first, for pointwise judgment.

    {"example_id": "q1/d7", "query_id", "doc_id", "relevance": grade (0 when unjudged), "rank": from 1,
     "first_stage_score", "query", "document": {"doc_id", "title", "text"}}

    run: scores of a first stage; None computes BM25. Candidates are ordered as trec_eval orders them (score
    descending, then document id descending) and cut at `depth`; a candidate missing from the corpus is an
    error.
    """
    folder = Path(folder)
    corpus = beir.read_corpus(folder)
    queries = beir.read_queries(folder)
    qrels = beir.read_qrels(folder, split)
    known = {query_id: _query(queries, query_id, folder) for query_id in qrels}
    if run is None:
        run = _bm25(corpus, known, depth)
    for query_id, judged in qrels.items():
        scores = run.get(query_id, {})
        ordered = sorted(scores, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)[:depth]
        for rank, doc_id in enumerate(ordered, start=1):
            if doc_id not in corpus:
                raise DataError(
                    f"the run names document {doc_id!r} for query {query_id!r}; it is not in the corpus",
                    path=folder / "corpus.jsonl",
                    todo="use the run with the corpus it was made from",
                )
            yield {
                "example_id": f"{query_id}/{doc_id}",
                "query_id": query_id,
                "doc_id": doc_id,
                "relevance": judged.get(doc_id, 0),
                "rank": rank,
                "first_stage_score": float(scores[doc_id]),
                "query": known[query_id],
                "document": {"doc_id": doc_id, "title": corpus[doc_id].title, "text": corpus[doc_id].text},
            }


def pointwise_prompt(
    query: str,
    document: Document | Mapping[str, Any],
    pair: Pair,
    *,
    template: int = 0,
    description: bool = True,
    separator: str = "\n",
) -> Rendered:
    """The trained question "is this document relevant?" for any query and document.

    `choices` are ("Yes", "No"), the very answers of training. Template 0 puts the query first, so that all
    candidates of a query share the beginning of their prompts; template 1 puts the document first.
    """
    fields = document if isinstance(document, Mapping) else {"title": document.title, "text": document.text}
    row = {"example_id": "", "query": query, "document": fields, "relevance": 0}
    variant = Variant(shots=0, template=template, description=description, family="pointwise_judgment")
    return prompts.render(row, pair, variant=variant, seed=0, split="test", separator=separator)


def _bm25(corpus: Mapping[str, Document], queries: Mapping[str, str], depth: int) -> Run:
    from seqio_tasks.first_stage import bm25_run  # only when a run is really needed: it loads bm25s

    return bm25_run(corpus, queries, k=min(depth, len(corpus)))


def _query(queries: Mapping[str, str], query_id: str, folder: Path) -> str:
    if not queries.get(query_id):
        raise DataError(
            f"query {query_id!r} is judged but has no text",
            path=folder / "queries.jsonl",
            todo="unpack the whole BEIR zip again",
        )
    return queries[query_id]


def _document(doc_id: str, corpus: Mapping[str, Document], grade: int) -> Row:
    return {"doc_id": doc_id, "title": corpus[doc_id].title, "text": corpus[doc_id].text, "grade": grade}
