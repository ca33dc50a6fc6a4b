"""Reranking as a whole: candidates through a method, two runs measured, the cost, and what is written.

No model is needed here: any backend that answers requests will do.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.evaluation import written_runs
from inters_jax.evaluation.results import write_json
from inters_jax.ranking.engine import Backend, Cost, Engine
from inters_jax.ranking.inputs import Candidates, Collection
from inters_jax.ranking.journal import FinishedFile
from inters_jax.ranking.questions import Document, Method, Ranked, Ranking
from inters_jax.reports import reranking_page
from seqio_tasks.base import file_sha256

MEASURES = ("nDCG@10", "RR@10", "R@100", "Judged@10")


def rerank_candidates(
    data: Collection,
    candidates: Candidates,
    method: Method,
    backend: Backend,
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    measures: Sequence[str] = MEASURES,
    tag: str = "inters-jax",
    batch: int = 1024,
    concurrent: int = 64,
) -> dict[str, Any]:
    """Rank, write the runs and measure; queries that `folder` has from an interrupted run are taken up."""
    from seqio_tasks.metrics.trec_files import write_run

    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        key: value for key, value in manifest.items() if key not in ("versions", "device", "measures")
    }
    settings["texts_sha256"] = _texts_hash(data, candidates)
    done = FinishedFile(folder / "scores.jsonl", settings, candidates.documents)
    counts: Counter[str] = Counter({"queries taken up": len(done.ranked)})
    seconds = _rank_all(
        data, candidates, method, Engine(backend, batch=batch, concurrent=concurrent), done, counts
    )
    reranked: dict[str, dict[str, float]] = {}
    for query, documents in candidates.documents.items():
        ranked = done.ranked[query]
        ordered = [documents[number] for number in ranked.order]
        scores = ranked.scores[ranked.order]
        counts["documents with a tied score"] += _tied(scores)
        reranked[query] = dict(zip(ordered, scores.tolist(), strict=True))
    write_run(folder / "reranked.trec", reranked, tag, ties="given")
    write_run(folder / "first_stage.trec", candidates.run(), "first-stage")
    metrics: written_runs.Figures = {}
    paper: written_runs.Figures = {}
    names = [*written_runs.FILES.values(), "scores.jsonl"]
    if data.qrels is not None:
        written_runs.write_qrels(folder, data.qrels)
        names.append(written_runs.QRELS)
        metrics = written_runs.measure(folder, measures)
        method_name = str(manifest.get("method", ""))
        paper = written_runs.measure_as_paper(folder, method=method_name, depth=candidates.depth)
    return {
        "manifest": dict(manifest),
        "metrics": metrics,
        "paper_metrics": paper,
        "files": {"": {name: file_sha256(folder / name) for name in names}},
        "counts": {**candidates.counts, **counts},
        "cost": cost_summary(done.costs.values()),
        "seconds": round(seconds, 3),
        "documents per second": round(counts["documents scored now"] / seconds, 2) if seconds else None,
    }


def cost_summary(costs: Iterable[Cost]) -> dict[str, Any]:
    """Sums, and mean, median and 95th percentile per query.

    >>> summary = cost_summary([Cost(calls=2, seconds=1.0), Cost(calls=4, seconds=3.0)])
    >>> summary["model calls"], summary["model calls per query"], summary["seconds per query"]["p50"]
    (6, 3.0, 2.0)
    """
    costs = list(costs)
    if not costs:
        return {}

    def spread(values: Sequence[float]) -> dict[str, float]:
        middle, high = np.percentile(values, [50, 95])
        return {"mean": _rounded(np.mean(values)), "p50": _rounded(middle), "p95": _rounded(high)}

    sums = {
        "model calls": sum(cost.calls for cost in costs),
        "prompt tokens": sum(cost.prompt_tokens for cost in costs),
        "generated tokens": sum(cost.generated_tokens for cost in costs),
    }
    return {
        **sums,
        **{f"{name} per query": _rounded(total / len(costs)) for name, total in sums.items()},
        "seconds per query": spread([cost.seconds for cost in costs]),
        "latency per query": spread([cost.latency for cost in costs]),
    }


def write_results(folder: Path, result: Mapping[str, Any]) -> None:
    """results.json, and the report in its writings."""
    write_json(folder / "results.json", result)
    reranking_page.write(folder, result)


def _rank_all(
    data: Collection,
    candidates: Candidates,
    method: Method,
    engine: Engine,
    done: FinishedFile,
    counts: Counter[str],
) -> float:
    """Ranks the queries that `done` lacks and adds them, one by one as they are finished; seconds taken."""
    from tqdm.auto import tqdm

    left = [query for query in candidates.documents if query not in done.ranked]
    sizes = {query: len(candidates.documents[query]) for query in left}
    counts["documents scored now"] = sum(sizes.values())
    calls = 0
    started = time.perf_counter()
    with tqdm(total=sum(sizes.values()), unit="doc", desc="rerank", mininterval=1.0) as bar:

        def answered(requests: int) -> None:
            nonlocal calls
            calls += requests
            bar.set_postfix(calls=calls, refresh=False)
            bar.update(0)

        for query, ranked, cost in engine.run(_rankings(data, candidates, method, left), progress=answered):
            done.append(query, ranked, cost)
            bar.update(sizes[query])
    return time.perf_counter() - started


def _rankings(
    data: Collection, candidates: Candidates, method: Method, queries: Sequence[str]
) -> Iterator[tuple[str, Ranking]]:
    """Rankings as the engine takes them: documents are read when their query begins."""
    for query in queries:
        documents = []
        for doc_id in candidates.documents[query]:
            found = data.documents[doc_id]
            documents.append(Document(found.title, found.text, doc_id))
        yield query, method.rank(data.queries[query], documents)


def _texts_hash(data: Collection, candidates: Candidates) -> str:
    """sha256 of every query and candidate text: a changed corpus must not be mixed into old rankings."""
    digest = hashlib.sha256()
    for query, documents in candidates.documents.items():
        digest.update(data.queries[query].encode())
        for doc_id in documents:
            found = data.documents[doc_id]
            digest.update("\0".join((doc_id, found.title, found.text)).encode())
    return digest.hexdigest()


def _tied(scores: np.ndarray) -> int:
    _, sizes = np.unique(scores, return_counts=True)
    return int(sizes[sizes > 1].sum())


def _rounded(value: Any) -> float:
    """Four significant digits below one, else four decimals."""
    return float(f"{value:.4g}") if abs(value) < 1 else round(float(value), 4)


__all__ = ["MEASURES", "Ranked", "cost_summary", "rerank_candidates", "write_results"]
