"""Ranking methods with scorers whose result is known, on real collections: no model, no download.

    python scripts/oracle_ranking.py [COLLECTION ...] [--qrels FILE] [--depth 100] [--queries N]

Collections are given as for rerank: BEIR folders, irds:ID, files of candidates with --qrels, or datasets of
INTERS_DATASETS. Without any: beir_scifact, beir_nfcorpus and msmarco_trec_dl in INTERS_REAL_DATA, or in
../shared/raw beside the repository. For every method the table shows

    oracle     relevance from the judgments: must reach the ideal nDCG@10 of the candidates; less means that a
               method skips documents or gets their order wrong
    constant   no opinion at all: must leave the first stage as it is, to the last document
    random     uniform scores: must meet the analytic expectation of a random order, within the error of its
               mean over seeds
    calls      questions to the model per query
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.candidates import Candidates, candidates_of
from inters_jax.ranking.collection import Collection, open_collection
from inters_jax.ranking.engine import Engine
from inters_jax.ranking.methods import make_method
from inters_jax.ranking.questions import Document, Method
from inters_jax.reports.tables import Table
from inters_jax.settings.judging import MethodOptions
from seqio_tasks import own_data
from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics.ranking import evaluate_run

MEASURE = "nDCG@10"
SEEDS = 5
FEW = 15  # queries for all pairs, 9,900 questions each
METHODS: dict[str, Method] = {
    "pointwise": make_method("pointwise"),
    "query likelihood": make_method("query_likelihood"),
    "pairwise, all pairs": make_method("pairwise", MethodOptions(sort="allpairs")),
    "pairwise, heapsort": make_method("pairwise", MethodOptions(sort="heapsort")),
    "pairwise, bubble": make_method("pairwise", MethodOptions(sort="bubble")),
    "setwise c=3, heapsort": make_method("setwise", MethodOptions(sort="heapsort")),
    "setwise c=3, bubble": make_method("setwise", MethodOptions(sort="bubble")),
    "listwise 20/10": make_method("listwise"),
    "listwise 7/3": make_method("listwise", MethodOptions(window=7, stride=3)),
    "first token 20/10": make_method("first_token"),
    "self-consistency 20/10, 5": make_method("self_consistency", MethodOptions(shuffles=5)),
}


def data_folder() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "raw"
    folder = Path(os.environ.get("INTERS_REAL_DATA", beside))
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; set INTERS_REAL_DATA to the real data")
    return folder


def named(options: argparse.Namespace) -> Iterator[tuple[str, Collection]]:
    for name in options.collections:
        found = open_collection(name, split=options.split, qrels=options.qrels, max_queries=options.queries)
        if found.qrels is None:
            raise UserError(f"{name} has no judgments, which are the oracle: give --qrels FILE")
        yield found.name, found


def collections(raw: Path, queries: int | None) -> Iterator[tuple[str, Collection]]:
    listed = raw / "msmarco_trec_dl" / "BM25" / "retrieve_results_dl19.json"
    judged = raw / "msmarco_trec_dl" / "qrels" / "qrels.dl19-passage.txt"
    yield "DL19", open_collection(listed, qrels=judged, max_queries=queries)
    yield "SciFact", open_collection(raw / "beir_scifact", max_queries=queries)
    yield "NFCorpus", open_collection(raw / "beir_nfcorpus", max_queries=queries)


def ideal(data: Collection, candidates: Candidates) -> float:
    """nDCG@10 of the candidates in the order of their grades."""
    assert data.qrels is not None
    best = {
        query: {d: data.qrels[query].get(d, 0) for d in documents}
        for query, documents in candidates.documents.items()
    }
    return evaluate_run(data.qrels, best, [MEASURE]).means[MEASURE]


def expected_at_random(data: Collection, candidates: Candidates) -> float:
    """The mean nDCG@10 of a uniformly random order: every rank has the mean gain of the candidates."""
    assert data.qrels is not None
    discounts = 1 / np.log2(np.arange(2, 12))
    values = []
    for query, judged in data.qrels.items():
        documents = candidates.documents.get(query, ())
        gains = [max(0, judged.get(document, 0)) for document in documents]
        best = sorted((max(0, grade) for grade in judged.values()), reverse=True)[:10]
        top = float(np.dot(best, discounts[: len(best)]))
        found = float(np.mean(gains)) * discounts[: min(10, len(gains))].sum() if gains else 0.0
        values.append(found / top if top else 0.0)
    return float(np.mean(values))


def first_queries(data: Collection, candidates: Candidates, count: int) -> tuple[Collection, Candidates]:
    """The same with the first queries only."""
    assert data.qrels is not None
    kept = [query for query in data.wanted if query in candidates.documents][:count]
    return (
        dataclasses.replace(data, qrels={q: data.qrels[q] for q in kept}, wanted=tuple(kept)),
        dataclasses.replace(candidates, documents={q: candidates.documents[q] for q in kept}),
    )


def ranked(
    data: Collection, candidates: Candidates, method: Method, relevance: Callable[[str, Any], float]
) -> tuple[dict[str, list[str]], float]:
    """The order of every query (asked by its id), and model calls per query."""
    rankings = (
        (query, method.rank(query, [Document("", "", doc_id) for doc_id in documents]))
        for query, documents in candidates.documents.items()
    )
    orders, calls = {}, 0
    for query, found, cost in Engine(FunctionBackend(relevance)).run(rankings):
        orders[query] = [candidates.documents[query][number] for number in found.order]
        calls += cost.calls
    return orders, calls / len(orders)


def measured(data: Collection, orders: dict[str, list[str]]) -> float:
    assert data.qrels is not None
    run = {query: {d: -float(n) for n, d in enumerate(order)} for query, order in orders.items()}
    return evaluate_run(data.qrels, run, [MEASURE]).means[MEASURE]


def chance(seed: int) -> Callable[[str, Any], float]:
    """A uniform number per query and document."""
    known: dict[tuple[str, str], float] = {}

    def relevance(query: str, document: Any) -> float:
        key = (query, document.doc_id)
        if key not in known:
            digest = hashlib.blake2b(f"{seed}\t{query}\t{document.doc_id}".encode(), digest_size=3).digest()
            known[key] = float(int.from_bytes(digest, "little"))  # 24 bits: exact in float32
        return known[key]

    return relevance


def report(name: str, data: Collection, depth: int) -> bool:
    candidates = candidates_of(data, None, depth)
    qrels = data.qrels
    assert qrels is not None
    first = evaluate_run(qrels, candidates.run(), [MEASURE]).means[MEASURE]
    best, at_random = ideal(data, candidates), expected_at_random(data, candidates)
    print(
        f"\n{name}: {len(qrels)} queries, {candidates.counts['candidates']} candidates from "
        f"{candidates.source}\n"
        f"first stage {first:.4f}, ideal order of the candidates {best:.4f}, random order {at_random:.4f}\n"
    )
    rows, right = [], True
    whole = data, candidates, best
    for label, method in METHODS.items():
        begun = time.perf_counter()
        data, candidates, best = whole
        if "all pairs" in label and len(qrels) > FEW:
            label = f"{label} ({FEW} queries)"
            data, candidates = first_queries(data, candidates, FEW)
            best = ideal(data, candidates)
        oracle, calls = ranked(data, candidates, method, lambda q, d: qrels[q].get(d.doc_id, 0))
        constant, _ = ranked(data, candidates, method, lambda q, d: 0.0)
        same = constant == {query: list(documents) for query, documents in candidates.documents.items()}
        values = [measured(data, ranked(data, candidates, method, chance(seed))[0]) for seed in range(SEEDS)]
        reached = measured(data, oracle)
        fine = abs(reached - best) < 1e-9 and same
        right &= fine
        rows.append(
            [
                label,
                f"{reached:.4f}",
                "first stage" if same else f"{measured(data, constant):.4f}",
                f"{np.mean(values):.4f}",
                f"{calls:,.1f}",
                f"{time.perf_counter() - begun:.1f}",
                "yes" if fine else "NO",
            ]
        )
    header = ["method", "oracle", "constant", "random", "calls", "seconds", "as it must be"]
    print(Table("", header, rows).markdown())
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "collections", nargs="*", metavar="COLLECTION", help="default: three with known results"
    )
    parser.add_argument("--qrels", help="judgments in place of the collection's")
    parser.add_argument("--split", default="test", help="whose judged queries are ranked")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--queries", type=int, help="only the first so many queries")
    options = parser.parse_args()
    with one_line("oracle_ranking"):
        own_data.register()
        opened = named(options) if options.collections else collections(data_folder(), options.queries)
        results = [report(name, data, options.depth) for name, data in opened]
    if not all(results):
        raise SystemExit("a method did not do what it must")


if __name__ == "__main__":
    main()
