"""Rerank the candidates of a test collection: `python -m inters_jax.rerank --gin.MODEL_DIR=...
--gin.COLLECTION=...`

In: a BEIR folder (official zip, unpacked) and, if there is one, a TREC run of a first stage; without one
  BM25 is run.
Out, in OUTPUT_DIR:

    reranked.trec      TREC run, scores strictly decreasing, ties in first-stage order
    first_stage.trec   the candidates that were reranked
    scores.jsonl       raw scores, one line per finished query; an interrupted run goes on behind the last one
    results.json       metrics of both runs side by side, manifest, counts
    results.md         the same for reading
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inters_jax.config import run_command
from inters_jax.evaluation import report
from inters_jax.inference.placement import default_batch_tokens
from inters_jax.inference.score import Scorer
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
from inters_jax.ranking.collections import (
    Candidates,
    Collection,
    RerankError,
    from_bm25,
    from_run_file,
    load_collection,
)
from inters_jax.ranking.pointwise import EncodedPairs, PointwiseRanker, order
from inters_jax.ranking.score_file import ScoreFile

MEASURES = ("nDCG@10", "RR@10", "R@100", "Judged@10")


class Ranker(Protocol):
    """What reranking needs of a model: prompts from (query, document) pairs, and a score for each prompt."""

    def encode(self, pairs: Sequence[tuple[str, Any]]) -> EncodedPairs: ...

    def score(self, prompts: Sequence[Sequence[int]], progress: Any = None) -> np.ndarray: ...


def rerank(
    model_dir: str,
    collection: str,
    run: str | None = None,
    split: str | None = "test",
    depth: int = 100,
    output_dir: str | None = None,
    pair: str | None = None,
    step: int | None = None,
    max_length: int | None = None,
    template: int = 0,
    description: bool = True,
    tokenizer: str | None = None,
    dtype: str = "float32",
    mesh: str | None = None,
    batch_tokens: int | None = None,
    chunk_documents: int = 1024,
    max_queries: int | None = None,
    drop_identical_ids: bool = False,
    chat_template: str | None = None,
) -> dict[str, Any]:
    """Rerank first-stage candidates by the trained relevance question (Yes minus No, float32 logits).

    Args:
      model_dir: run folder of train, Hugging Face folder or hub name.
      collection: BEIR folder (corpus.jsonl, queries.jsonl, qrels/).
      run: TREC run of a first stage; None runs BM25.
      split: whose judged queries are reranked and measured; None reranks every query and measures nothing.
      depth: candidates per query.
      output_dir: default `<model_dir>/rerank/<collection>` of a local model.
      pair: task-dataset pair whose wording is used; default the one named after the collection.
      step: checkpoint of a run folder; default the last.
      max_length: longest sequence in tokens; default 2048 or what the model knows, if that is less.
      template: 0 query first (the common beginning is encoded once), 1 document first.
      description: begin with the task description, as in training.
      tokenizer: tokenizer.json or its folder, instead of the model's own.
      dtype: compute type; logits are float32 in any case.
      mesh: devices, such as "fsdp=-1"; None: the first one.
      batch_tokens: tokens that the model sees at once, the memory knob; None: 2,048 on a CPU, else 16,384.
      chunk_documents: documents scored between two writes of scores.jsonl.
      max_queries: only the first so many queries, for a trial.
      drop_identical_ids: leave out a candidate that has the id of its query (ArguAna, Quora), before the
        depth cut.
      chat_template: as in training: None for plain prompts, "tokenizer", or a file (see `seqio_tasks.chat`).
    """
    data = load_collection(collection, split, max_queries)
    if run is None:
        candidates = from_bm25(data, depth, drop_identical_ids=drop_identical_ids)
    else:
        candidates = from_run_file(data, run, depth, drop_identical_ids=drop_identical_ids)
    wording = choose_pair(pair, data.name)
    folder = report.output_folder(output_dir, model_dir, "rerank", data.name)
    print(
        f"{data.name}: {candidates.counts['candidates']} candidates of {len(candidates.documents)} queries "
        f"from {candidates.source}",
        flush=True,
    )

    from seqio_tasks.settings import configure, current
    from seqio_tasks.vocabularies import HuggingFaceVocabulary

    if chat_template is not None:
        configure(chat_template=chat_template)
    placed = None if mesh is None else make_mesh(mesh)
    loaded = load_model(model_dir, dtype=dtype, step=step, mesh=placed, tokenizer=tokenizer)
    limit = min(2048 if max_length is None else max_length, loaded.config.max_position)
    scorer = Scorer(loaded, batch_tokens=max(batch_tokens or default_batch_tokens(), limit))
    ranker = PointwiseRanker(
        scorer,
        HuggingFaceVocabulary(report.tokenizer_of(loaded)),
        wording,
        max_length=limit,
        separator=current().separator,
        template=template,
        description=description,
    )
    manifest = report.manifest(
        loaded,
        command="rerank",
        step=step,
        collection=data.name,
        split=split,
        chat_template=current().chat_template,
        first_stage=candidates.source,
        first_stage_sha256=candidates.fingerprint,
        depth=candidates.depth,
        pair=wording.name,
        template=template,
        description=description,
        question=ranker.example_prompt,
        labels=dict(zip(ranker.choices, map(list, ranker.label_ids), strict=True)),
        max_length=limit,
        max_queries=max_queries,
        drop_identical_ids=drop_identical_ids,
    )
    result = rerank_candidates(data, candidates, ranker, folder, manifest, chunk_documents=chunk_documents)
    result["counts"]["compiled shapes"] = scorer.compilations
    if scorer.padded_tokens:
        result["counts"]["real share of computed tokens"] = round(
            scorer.real_tokens / scorer.padded_tokens, 4
        )
    write_results(folder, result)
    print((folder / "results.md").read_text(encoding="utf-8"), flush=True)
    return result


def rerank_candidates(
    data: Collection,
    candidates: Candidates,
    ranker: Ranker,
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    tag: str = "inters-jax",
    chunk_documents: int = 1024,
) -> dict[str, Any]:
    """Score, order, write the runs and measure; the part of `rerank` that no model is needed for."""
    from seqio_tasks.metrics.trec_files import write_run

    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in manifest.items() if key not in ("versions", "device")}
    settings["texts_sha256"] = _texts_hash(data, candidates)
    scores, counts, seconds = _score_all(
        data, candidates, ranker, folder / "scores.jsonl", settings, chunk_documents
    )
    reranked: dict[str, dict[str, float]] = {}
    for query, documents in candidates.documents.items():
        ordered, tied = order(documents, scores[query])
        by_document = dict(zip(documents, scores[query].tolist(), strict=True))
        reranked[query] = {document: by_document[document] for document in ordered}
        counts["documents with a tied score"] += tied
    write_run(folder / "reranked.trec", reranked, tag, ties="given")
    write_run(folder / "first_stage.trec", candidates.run(), "first-stage")
    metrics = {}
    if data.qrels is not None:
        # The order is measured as it was written: ranks, not scores, so that no tie can be broken otherwise.
        ranks = {query: {d: -float(n) for n, d in enumerate(found)} for query, found in reranked.items()}
        metrics = {
            name: _measure(data.qrels, run)
            for name, run in (("first stage", candidates.run()), ("reranked", ranks))
        }
    return {
        "manifest": dict(manifest),
        "metrics": metrics,
        "counts": {**candidates.counts, **counts},
        "seconds": round(seconds, 3),
        "documents per second": round(counts["documents scored now"] / seconds, 2) if seconds else None,
    }


def _measure(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    from seqio_tasks.metrics.ranking import evaluate_run

    return evaluate_run(qrels, run, MEASURES).means


def _score_all(
    data: Collection,
    candidates: Candidates,
    ranker: Ranker,
    path: Path,
    settings: Mapping[str, Any],
    chunk_documents: int,
) -> tuple[dict[str, np.ndarray], Counter[str], float]:
    """Scores of all queries: those in `path` already, then the others, appended as they are finished."""
    from tqdm.auto import tqdm

    done = ScoreFile(path, settings, candidates.documents)
    scores = dict(done.scores)
    left = [query for query in candidates.documents if query not in scores]
    sizes = {query: len(candidates.documents[query]) for query in left}
    counts: Counter[str] = Counter(
        {"documents scored now": sum(sizes.values()), "queries taken up": len(scores)}
    )
    chunks = list(_chunks(left, sizes, chunk_documents))

    def encode(queries: Sequence[str]) -> EncodedPairs:
        pairs = [(data.queries[q], data.corpus[d]) for q in queries for d in candidates.documents[q]]
        return ranker.encode(pairs)

    started = time.perf_counter()
    with (
        ThreadPoolExecutor(1) as pool,  # the next chunk is tokenized while the device works on this one
        tqdm(total=sum(sizes.values()), unit="doc", desc="rerank", mininterval=1.0) as bar,
    ):
        following = pool.submit(encode, chunks[0]) if chunks else None
        for queries, after in itertools.zip_longest(chunks, chunks[1:]):
            assert following is not None
            encoded = following.result()
            following = pool.submit(encode, after) if after else None
            counts.update(encoded.counts)
            found = np.asarray(ranker.score(encoded.prompts, progress=bar.update), np.float32)
            at = 0
            for query in queries:
                scores[query] = found[at : at + sizes[query]]
                at += sizes[query]
            done.append({query: scores[query] for query in queries})
    return scores, counts, time.perf_counter() - started


def _chunks(queries: Sequence[str], sizes: Mapping[str, int], documents: int) -> Iterator[list[str]]:
    """Whole queries, together at least `documents` documents (the last chunk may have fewer).

    >>> list(_chunks(["a", "b", "c"], {"a": 3, "b": 3, "c": 3}, 5))
    [['a', 'b'], ['c']]
    """
    chunk: list[str] = []
    held = 0
    for query in queries:
        chunk.append(query)
        held += sizes[query]
        if held >= documents:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _texts_hash(data: Collection, candidates: Candidates) -> str:
    """sha256 of every query and candidate text: a changed corpus must not be mixed into old scores."""
    digest = hashlib.sha256()
    for query, documents in candidates.documents.items():
        digest.update(data.queries[query].encode())
        for document in documents:
            digest.update("\0".join((document, *data.corpus[document])).encode())
    return digest.hexdigest()


def choose_pair(name: str | None, collection: str) -> Any:
    """The ranking pair of the catalog that gives the wording: by its name, or by the collection's."""
    from seqio_tasks import catalog
    from seqio_tasks.sources import retrieval_sets

    ranking = [pair for pair in catalog.PAIRS if pair.kind == "rank"]
    if name is not None:
        for pair in ranking:
            if name in (pair.name, pair.dataset):
                return pair
        known = ", ".join(pair.name for pair in ranking)
        raise RerankError(f"PAIR {name!r} is no ranking task; choose one of {known}")
    folded = collection.lower().replace("-", "_").removeprefix("beir_")
    for pair in ranking:
        # The folder has our name or, as the official zip makes it, the name of the zip.
        unzipped = retrieval_sets.collection(pair.dataset).unzipped
        if folded in (pair.dataset, unzipped.replace("-", "_")):
            return pair
    known = ", ".join(pair.name for pair in ranking)
    raise RerankError(
        f"no ranking task is named after the collection {collection!r}; set PAIR to one of {known}"
    )


def write_results(folder: Path, result: Mapping[str, Any]) -> None:
    """results.json and results.md."""
    report.write_json(folder / "results.json", result)
    manifest, metrics = result["manifest"], result["metrics"]
    lines = [f"# Reranking of {manifest['collection']}, split {manifest['split']}", ""]
    if metrics:
        names = list(metrics["reranked"])
        lines.append(
            report.table(
                ["run", *names], [[run, *(report.number(metrics[run][n]) for n in names)] for run in metrics]
            )
        )
    else:
        lines.append("No judgments: nothing was measured.")
    lines += [
        "",
        f"Model: {manifest['model']}",
        f"First stage: {manifest['first_stage']}, depth {manifest['depth']}",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in result["counts"].items()]
    lines += [f"- documents per second: {result['documents per second']}"]
    report.write_text(folder / "results.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_command(rerank)
