"""A whole reranking: rank all candidates, measure both runs, sum the cost, write the files.

Works with any backend that answers requests; needs no model.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.evaluation import written_runs
from inters_jax.evaluation.results import write_json
from inters_jax.ranking.candidates import Candidates
from inters_jax.ranking.collection import Collection
from inters_jax.ranking.engine import Backend, Cost, Engine
from inters_jax.ranking.interpolation import RANK_CONSTANT
from inters_jax.ranking.journal import FINISHED, FinishedQueries
from inters_jax.ranking.one_query import ranking_of
from inters_jax.ranking.progress import DocumentBar
from inters_jax.ranking.questions import Document, Method, Ranking
from inters_jax.ranking.tuned_weight import Weighting
from inters_jax.reports import reranking_page
from inters_jax.shards import Shard
from seqio_tasks.base import file_sha256
from seqio_tasks.metrics.trec_files import write_run

log = logging.getLogger(__name__)

# In the manifest, but not what the ranking of one query depends on.
_NOT_OF_A_QUERY = ("versions", "device", "measures", "max_queries", "first_stage_sha256")
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
    interpolation: Weighting | None = None,
    shard: Shard | None = None,
) -> dict[str, Any] | None:
    """Rank the candidates, write the runs to `folder` and measure them.

    Args:
      data: queries, documents and judgments.
      candidates: what is ranked.
      method: how.
      backend: answers the method's requests.
      folder: output folder; queries that an interrupted run finished there are not ranked again.
      manifest: everything that identifies the run; a folder with another manifest is refused.
      measures: names of measures.
      tag: name of the reranked run in its file.
      batch: the most requests that are prepared and answered together; the first batches are smaller.
      concurrent: queries in progress at once.
      interpolation: also write the reranking interpolated with the first stage. It is no part of what
        identifies the run: another weight ranks nothing again.
      shard: rank only this share of the queries, and write no result.

    Returns:
      The content of results.json; None with a shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in manifest.items() if key not in _NOT_OF_A_QUERY}
    input_of = functools.partial(_input, data, candidates)
    done = FinishedQueries(folder, settings, candidates.documents, input_of, shard)
    counts: Counter[str] = Counter({"queries resumed": len(done.ranked)})
    engine = Engine(backend, batch=batch, concurrent=concurrent, growing=True)
    seconds = _rank_all(data, candidates, method, engine, done, counts, shard)
    if shard is not None:
        return None
    reranked: dict[str, dict[str, float]] = {}
    for query, documents in candidates.documents.items():
        ranked = done.ranked[query]
        ordered = [documents[number] for number in ranked.order]
        scores = ranked.scores[ranked.order]
        counts["documents with a tied score"] += _tied(scores)
        reranked[query] = dict(zip(ordered, scores.tolist(), strict=True))
    files = {name: folder / file for name, file in written_runs.FILES.items()}
    write_run(files["reranked"], reranked, tag, ties="given")
    write_run(files["first stage"], candidates.run(), "first-stage")
    files[written_runs.INTERPOLATED].unlink(missing_ok=True)  # of an earlier weight
    weighting: dict[str, Any] = {}
    if interpolation is not None:
        fused, weighting = interpolation.run(
            reranked, candidates.run(), data.qrels, by_rank=not method.scored
        )
        write_run(files[written_runs.INTERPOLATED], fused, f"{tag}-interpolated", ties="given")
    metrics: written_runs.Figures = {}
    paper: written_runs.Figures = {}
    names = [*(path.name for path in files.values() if path.is_file()), FINISHED]
    if data.qrels is not None:
        written_runs.write_qrels(folder, data.qrels)
        names.append(written_runs.QRELS)
        metrics = written_runs.measure(folder, measures)
        method_name = str(manifest.get("method", ""))
        paper = written_runs.measure_as_paper(folder, method=method_name, depth=candidates.depth)
    too_long = _too_long(done.costs)
    for what, queries in too_long.items():
        counts[what] = len(queries)
        named = ", ".join(queries[:5]) + (", ..." if len(queries) > 5 else "")
        log.warning("%d %s: %s (all are named in results.json)", len(queries), what, named)
    return {
        "manifest": dict(manifest),
        "metrics": metrics,
        "paper_metrics": paper,
        "files": {"": {name: file_sha256(folder / name) for name in names}},
        **({} if interpolation is None else {"interpolation": {"of": _of(method), **weighting}}),
        "counts": {**candidates.counts, **counts},
        "too_long": too_long,
        "cost": cost_summary(done.costs.values()),
        "seconds": round(seconds, 3),
        "documents per second": round(counts["documents scored now"] / seconds, 2) if seconds else None,
    }


def _of(method: Method) -> str:
    """What is interpolated."""
    return "scores, min-max" if method.scored else f"ranks, 1 / ({RANK_CONSTANT} + rank)"


def _too_long(costs: Mapping[str, Cost]) -> dict[str, list[str]]:
    """The queries that did not fit into MAX_LENGTH as they are, by what was done about it."""
    kinds = {
        "queries cut to fit MAX_LENGTH": "query_cut",
        "queries ranked with fewer documents per prompt to fit MAX_LENGTH": "narrowed",
        "queries in first-stage order because they exceed MAX_LENGTH": "unranked",
    }
    found = {
        what: [query for query, cost in costs.items() if getattr(cost, name)] for what, name in kinds.items()
    }
    return {what: queries for what, queries in found.items() if queries}


def cost_summary(costs: Iterable[Cost]) -> dict[str, Any]:
    """Sums of costs, and mean, median and 95th percentile per query.

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
    """Write results.json and the report (HTML, Markdown, CSV, LaTeX)."""
    write_json(folder / "results.json", result)
    reranking_page.write(folder, result)


def _rank_all(
    data: Collection,
    candidates: Candidates,
    method: Method,
    engine: Engine,
    done: FinishedQueries,
    counts: Counter[str],
    shard: Shard | None,
) -> float:
    """Rank the queries that `done` lacks and add each one as it finishes; the seconds this took."""
    left = [query for query in candidates.documents if query not in done.ranked]
    left = [query for query in left if shard is None or shard.has(query)]
    sizes = {query: len(candidates.documents[query]) for query in left}
    counts["documents scored now"] = sum(sizes.values())
    started = time.perf_counter()
    with DocumentBar(counts["documents scored now"]) as bar:
        engine.backend.progress = bar.prompts
        for query, ranked, cost in engine.run(_rankings(data, candidates, method, left), progress=bar.batch):
            done.append(query, ranked, cost)
            bar.query(sizes[query], cost.calls)
    return time.perf_counter() - started


def _rankings(
    data: Collection, candidates: Candidates, method: Method, queries: Sequence[str]
) -> Iterator[tuple[str, Ranking]]:
    """Rankings for the engine; documents are read when their query starts."""
    for query in queries:
        documents = []
        for doc_id in candidates.documents[query]:
            found = data.documents[doc_id]
            documents.append(Document(found.title, found.text, doc_id))
        yield query, ranking_of(method, data.queries[query], documents)


def _input(data: Collection, candidates: Candidates, query: str) -> str:
    """Digest of a query's text, its candidates and their texts: a resumed run notices changes."""
    digest = hashlib.sha256(data.queries[query].encode())
    for doc_id in candidates.documents[query]:
        document = data.documents[doc_id]
        digest.update("\0".join(("", doc_id, document.title, document.text)).encode())
    return digest.hexdigest()[:16]


def _tied(scores: np.ndarray) -> int:
    _, sizes = np.unique(scores, return_counts=True)
    return int(sizes[sizes > 1].sum())


def _rounded(value: Any) -> float:
    """Four significant digits below 1, else four decimals."""
    return float(f"{value:.4g}") if abs(value) < 1 else round(float(value), 4)
