"""Rerank the candidates of a test collection: `python -m inters_jax.rerank --gin.MODEL_DIR=...
--gin.COLLECTION=... --gin.METHOD=listwise`

In: a BEIR or MS MARCO folder, an ir_datasets id, a JSON file of candidates, or topics, documents and a run
  (inters_jax.ranking.collection); BM25 where no first stage is given.
Out, in OUTPUT_DIR:

    reranked.trec      TREC run, scores strictly decreasing, ties in first-stage order
    first_stage.trec   the candidates that were reranked
    interpolated.trec  the two interpolated, with INTERPOLATION
    scores.jsonl       orders, scores and costs, one line per finished query; an interrupted run goes on
                       behind the last one. Shares of a run (SHARD, hosts) write scores.3of8.jsonl
    qrels.txt          the judgments that were measured with
    results.json       metrics of the runs by both protocols, the weight of the interpolation, cost, manifest,
                       counts
    report.html        the same for reading: intervals, paired test, movement per query
    results.md, .csv, .tex   its tables

The methods are those of inters_jax.ranking.methods; an option that a method does not have is refused. PAIR,
or the pair with the collection's name, says what is measured, what grades mean and whether a query is a
document itself (inters_jax.ranking.pairs). INTERPOLATION is a weight, or says on which other queries the best
one is chosen (inters_jax.ranking.tuned_weight).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inters_jax.command_line import run_command
from inters_jax.evaluation.manifest import manifest_of, output_folder, tokenizer_of
from inters_jax.hosts import one_fate
from inters_jax.inference.model import DEFAULT_LENGTH, open_model
from inters_jax.inference.together import Lead, together
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.ranking.backend import ModelBackend
from inters_jax.ranking.candidates import candidates_of
from inters_jax.ranking.collection import open_collection
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods import make_method
from inters_jax.ranking.pairs import pair_of, ranking_pair, wording_of
from inters_jax.ranking.questions import Document, Method, Question
from inters_jax.ranking.reranking import rerank_candidates, write_results
from inters_jax.ranking.tuned_weight import (
    CROSS_VALIDATION,
    CrossValidation,
    Interpolation,
    Weighting,
    read_tuning,
)
from inters_jax.settings.judging import (
    CollectionSettings,
    InferenceSettings,
    MethodOptions,
    RankingSettings,
    RerankSettings,
    ShareSettings,
)
from inters_jax.settings.training import HostSettings
from inters_jax.shards import Shard
from inters_jax.shared_work import in_shares, share_of_process
from seqio_tasks import own_data
from seqio_tasks.base import UserError
from seqio_tasks.metrics.measures import parse_measure, split_measures
from seqio_tasks.prompts import chat
from seqio_tasks.settings import current
from seqio_tasks.sources import retrieval_sets
from seqio_tasks.tokenizer import HuggingFaceTokenizer

JUDGED = "Judged@10"  # measured besides the measures of the collection


def rerank(
    model: InferenceSettings,
    collection: CollectionSettings,
    ranking: RankingSettings,
    options: MethodOptions,
    output: RerankSettings,
    shares: ShareSettings,
    hosts: HostSettings,
) -> dict[str, Any] | None:
    """Rerank first-stage candidates with one model and one of the ranking methods."""
    share = share_of_process(shares.shard, across_hosts=shares.across_hosts, mesh=model.mesh, **vars(hosts))
    with one_fate():
        return together(
            "rerank",
            shares.across_hosts,
            functools.partial(open_model, model),
            functools.partial(_reranked, model, collection, ranking, options, output, share),
        )


def _reranked(
    model: InferenceSettings,
    collection: CollectionSettings,
    ranking: RankingSettings,
    options: MethodOptions,
    output: RerankSettings,
    share: Shard | None,
    lead: Lead | None,
) -> dict[str, Any] | None:
    """Rank the queries of this process, and measure; None if another process measures."""
    own_data.register(ranking.datasets)
    method = make_method(ranking.method, options)
    chosen = None if output.measures is None else parse_measures(output.measures)
    given = None if ranking.pair is None else ranking_pair(ranking.pair)
    data = open_collection(
        collection.collection,
        split=collection.split,
        topics=collection.topics,
        documents=collection.documents,
        qrels=collection.qrels,
        run=collection.run,
        topic_field=collection.topic_field,
        run_format=collection.run_format,
        max_queries=collection.max_queries,
        rules=None if given is None else retrieval_sets.collection(given.dataset),
    )
    pair = pair_of(data, given)
    wording = wording_of(pair)
    measures = (*pair.metrics, JUDGED) if chosen is None else chosen
    crossed = output.interpolation == CROSS_VALIDATION
    tuning = None
    if isinstance(output.interpolation, str) and not crossed:
        tuning = read_tuning(Path(output.interpolation))
    candidates = candidates_of(
        data,
        collection.run,
        collection.depth,
        drop_identical_ids=collection.drop_identical_ids,
        run_format=collection.run_format,
    )
    if tuning is not None:  # what is known before the model is loaded
        tuning.check({"method": ranking.method, "options": dict(vars(method)), "depth": candidates.depth})
        tuning.refuse_queries(data.name, candidates.documents)
    folder = output_folder(output.output_dir, model.model_dir, "rerank", data.name, ranking.method)
    print(
        f"{data.name}: {candidates.counts['candidates']} candidates of {len(candidates.documents)} queries "
        f"from {candidates.source}, by {method}",
        flush=True,
    )
    chat_template = (
        chat_template_of(model.model_dir, model.chat_template, model.tokenizer) or current().chat_template
    )
    loaded = open_model(model, lead)
    tokenizer = tokenizer_of(loaded)
    backend = ModelBackend(
        loaded,
        HuggingFaceTokenizer(tokenizer, chat_template=chat_template),
        wording,
        max_length=model.max_length or DEFAULT_LENGTH,
        batch_tokens=model.batch_tokens,
        wording=ranking.template,
        description=ranking.description,
        separator=current().separator,
        identifiers=ranking.identifiers,
        marker=ranking.marker,
        joiner=ranking.joiner,
        answerers=lead,
    )
    question, labels = backend.example(_question(method))
    manifest = manifest_of(
        loaded,
        command="rerank",
        step=model.step,
        chat_template=chat.fingerprint(chat_template, tokenizer)[:16] or "none",
        method=ranking.method,
        options=dict(vars(method)),
        collection=data.name,
        split=collection.split,
        first_stage=candidates.source,
        first_stage_sha256=candidates.fingerprint,
        depth=candidates.depth,
        pair=pair.name,
        wording=wording.name,
        template=ranking.template,
        description=ranking.description,
        question=question,
        labels=labels,
        identifiers=ranking.identifiers,
        marker=ranking.marker,
        joiner=ranking.joiner,
        max_length=backend.max_length,
        max_queries=collection.max_queries,
        drop_identical_ids=(
            data.own_document if collection.drop_identical_ids is None else collection.drop_identical_ids
        ),
        measures=list(measures),
    )
    interpolation: Weighting | None = None
    if tuning is not None:
        tuning.check(manifest)
        interpolation = tuning.best(measures[0], by_rank=not method.scored)
    elif crossed:
        interpolation = CrossValidation(measures[0])
    elif output.interpolation is not None:
        interpolation = Interpolation(float(output.interpolation))

    def work(shard: Shard | None) -> dict[str, Any] | None:
        result = rerank_candidates(
            data,
            candidates,
            method,
            backend,
            folder,
            manifest,
            measures=measures,
            batch=output.batch,
            concurrent=output.concurrent,
            interpolation=interpolation,
            shard=shard,
        )
        if result is not None:
            result["counts"].update(backend.counts)
            result["counts"]["compiled shapes"] = backend.compilations
            if backend.scorer.padded_tokens:
                result["counts"]["real share of computed tokens"] = round(
                    backend.scorer.real_tokens / backend.scorer.padded_tokens, 4
                )
            write_results(folder, result)
        return result

    result = in_shares(share, folder, work)
    if result is not None:
        print((folder / "results.md").read_text(encoding="utf-8"), flush=True)
    return result


def parse_measures(measures: Sequence[str] | str) -> tuple[str, ...]:
    """Names of measures, checked before anything is computed.

    >>> parse_measures("nDCG@10, RR(rel=2,judged_only=True)@10")
    ('nDCG@10', 'RR(judged_only=True,rel=2)@10')
    """
    try:
        found = tuple(str(parse_measure(part)) for part in split_measures(measures))
    except UserError as error:
        raise RerankError(f"MEASURES: {error}") from None
    if not found:
        raise RerankError("MEASURES is empty; name one, such as nDCG@10")
    return found


def _question(method: Method) -> Question:
    """The first question that a method asks about two documents."""
    [request, *_] = next(method.rank("query", (Document("", "document"),) * 2))
    return request.question


if __name__ == "__main__":
    run_command(rerank)
