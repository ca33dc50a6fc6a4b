"""Rerank the candidates of a test collection: `python -m inters_jax.rerank --gin.MODEL_DIR=...
--gin.COLLECTION=... --gin.METHOD=listwise`

In: a BEIR or MS MARCO folder, an ir_datasets id, a JSON file of candidates, or topics, documents and a run
  (inters_jax.ranking.inputs); BM25 where no first stage is given.
Out, in OUTPUT_DIR:

    reranked.trec      TREC run, scores strictly decreasing, ties in first-stage order
    first_stage.trec   the candidates that were reranked
    scores.jsonl       orders, scores and costs, one line per finished query; an interrupted run goes on
                       behind the last one
    qrels.txt          the judgments that were measured with
    results.json       metrics of both runs by both protocols, cost, manifest, counts
    report.html        the same for reading: intervals, paired test, movement per query
    results.md, .csv, .tex   its tables

The methods are those of inters_jax.ranking.methods; an option that a method does not have is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gin

from inters_jax.config import run_command
from inters_jax.evaluation.manifest import manifest_of, output_folder, tokenizer_of
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.ranking import methods
from inters_jax.ranking.backend import ModelBackend
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.inputs import candidates_of, dataset_of, open_collection
from inters_jax.ranking.questions import CHOICE, GENERATION, JUDGMENT, ORDER, Document, Method, Question
from inters_jax.ranking.reranker import ranking_pair
from inters_jax.ranking.reranking import MEASURES, rerank_candidates, write_results

# METHOD=@Setwise() with Setwise.num_child=2 is the same as METHOD=setwise with NUM_CHILD=2.
for _method in (
    methods.Pointwise,
    methods.QueryLikelihood,
    methods.Pairwise,
    methods.Setwise,
    methods.Listwise,
):
    gin.external_configurable(_method, module="inters_jax")


def rerank(
    model_dir: str,
    collection: str | None = None,
    method: str | Method = "pointwise",
    run: str | None = None,
    split: str | None = "test",
    depth: int = 100,
    output_dir: str | None = None,
    topics: str | None = None,
    documents: str | None = None,
    qrels: str | None = None,
    topic_field: str = "title",
    sort: str | None = None,
    top_k: int | None = None,
    num_child: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    passes: int | None = None,
    shuffles: int | None = None,
    aggregate: str | None = None,
    whole: bool | None = None,
    per_token: bool | None = None,
    seed: int | None = None,
    measures: Sequence[str] | str = MEASURES,
    pair: str | None = None,
    step: int | None = None,
    max_length: int | None = None,
    template: int = 0,
    description: bool = True,
    identifiers: str = "auto",
    marker: str = "[1]",
    joiner: str = " > ",
    tokenizer: str | None = None,
    dtype: str = "float32",
    mesh: str | None = None,
    batch_tokens: int | None = None,
    batch: int = 1024,
    concurrent: int = 64,
    max_queries: int | None = None,
    drop_identical_ids: bool | None = None,
    chat_template: str | None = None,
) -> dict[str, Any]:
    """Rerank first-stage candidates with one model and one of the ranking methods.

    Args:
      model_dir: run folder of train, Hugging Face folder or hub name.
      collection: BEIR or MS MARCO folder, irds:ID, or JSON file of candidates; None with topics and
        documents.
      method: pointwise, query_likelihood, pairwise, setwise, listwise, first_token, self_consistency.
      run: TREC or MS MARCO run of a first stage; None takes the collection's own or BM25.
      split: whose judged queries are reranked and measured; None reranks every query and measures nothing.
      depth: candidates per query.
      output_dir: default `<model_dir>/rerank/<collection>/<method>` of a local model.
      topics, documents, qrels: files, instead of those of a folder.
      topic_field: of TREC topics: title, description, narrative, or several joined by +.
      sort, top_k, num_child, window, stride, passes, shuffles, aggregate, whole, per_token, seed: options of
        methods; None: the method's own default.
      measures: what is computed of both runs, as a list or separated by commas.
      pair: task-dataset pair whose wording is used; default the one named after the collection.
      step: checkpoint of a run folder; default the last.
      max_length: longest sequence in tokens; default 2048 or what the model knows, if that is less.
      template: which of the two wordings of a family; 0 mostly shows the query first (the common beginning is
        encoded once).
      description: begin with the task description, as in training.
      identifiers: numbers, letters, or auto (letters where the tokenizer cannot tell numbers apart).
      marker, joiner: how documents are named and orders written.
      tokenizer: tokenizer.json or its folder, instead of the model's own.
      dtype: compute type; logits are float32 in any case.
      mesh: devices, such as "fsdp=-1"; None: the first one.
      batch_tokens: tokens that the model sees at once, the memory knob; None: 2,048 on a CPU, else 16,384.
      batch: requests that are tokenized and answered together.
      concurrent: queries under way at once; an interruption loses at most these.
      max_queries: only the first so many queries, for a trial.
      drop_identical_ids: leave out a candidate that has the id of its query, before the depth cut; None: in
        the collections whose queries are documents (ArguAna, Quora, CQADupStack, SCIDOCS).
      chat_template: None for the one of training, which a run folder and its export know (others: plain
        prompts); "none", "tokenizer", or a file (see `seqio_tasks.prompts.chat`).
    """
    options = {
        "sort": sort, "top_k": top_k, "num_child": num_child, "window": window, "stride": stride,
        "passes": passes, "shuffles": shuffles, "aggregate": aggregate, "whole": whole,
        "per_token": per_token, "seed": seed,
    }  # fmt: skip
    chosen, name = choose_method(method, {key: value for key, value in options.items() if value is not None})
    wanted = _measures(measures)
    data = open_collection(
        collection, split=split, topics=topics, documents=documents, qrels=qrels, run=run,
        topic_field=topic_field, max_queries=max_queries,
    )  # fmt: skip
    candidates = candidates_of(data, run, depth, drop_identical_ids=drop_identical_ids)
    wording = choose_pair(pair, data.source)
    folder = output_folder(output_dir, model_dir, "rerank", data.name, name)
    print(
        f"{data.name}: {candidates.counts['candidates']} candidates of {len(candidates.documents)} queries "
        f"from {candidates.source}, by {chosen}",
        flush=True,
    )

    from seqio_tasks.prompts import chat
    from seqio_tasks.settings import current
    from seqio_tasks.vocabularies import HuggingFaceVocabulary

    chat_template = chat_template_of(model_dir, chat_template, tokenizer) or current().chat_template
    placed = None if mesh is None else make_mesh(mesh)
    loaded = load_model(model_dir, dtype=dtype, step=step, mesh=placed, tokenizer=tokenizer)
    backend = ModelBackend(
        loaded,
        HuggingFaceVocabulary(tokenizer_of(loaded), chat_template=chat_template),
        wording,
        max_length=max_length or 2048,
        batch_tokens=batch_tokens,
        wording=template,
        description=description,
        separator=current().separator,
        identifiers=identifiers,
        marker=marker,
        joiner=joiner,
    )
    question, labels = backend.example(_question(name))
    manifest = manifest_of(
        loaded,
        command="rerank",
        step=step,
        chat_template=chat.fingerprint(chat_template, tokenizer_of(loaded))[:16] or "none",
        method=name,
        options=dataclasses.asdict(chosen) if dataclasses.is_dataclass(chosen) else {},
        collection=data.name,
        split=split,
        first_stage=candidates.source,
        first_stage_sha256=candidates.fingerprint,
        depth=candidates.depth,
        pair=wording.name,
        template=template,
        description=description,
        question=question,
        labels=labels,
        identifiers=identifiers,
        marker=marker,
        joiner=joiner,
        max_length=backend.max_length,
        max_queries=max_queries,
        drop_identical_ids=data.own_document if drop_identical_ids is None else drop_identical_ids,
        measures=list(wanted),
    )
    result = rerank_candidates(
        data, candidates, chosen, backend, folder, manifest,
        measures=wanted, batch=batch, concurrent=concurrent,
    )  # fmt: skip
    result["counts"].update(backend.counts)
    result["counts"]["compiled shapes"] = backend.compilations
    if backend.scorer.padded_tokens:
        result["counts"]["real share of computed tokens"] = round(
            backend.scorer.real_tokens / backend.scorer.padded_tokens, 4
        )
    write_results(folder, result)
    print((folder / "results.md").read_text(encoding="utf-8"), flush=True)
    return result


def choose_method(method: str | Method, options: dict[str, Any]) -> tuple[Method, str]:
    """The method and its name; an object (METHOD=@Setwise()) brings its own options."""
    if isinstance(method, str):
        return methods.create(method, **options), method
    if options:
        raise RerankError(
            f"{next(iter(options)).upper()} has no effect on METHOD={method}; bind it to the class"
        )
    names = [name for name, (kind, _) in methods.METHODS.items() if isinstance(method, kind)]
    return method, names[0] if names else type(method).__name__


def choose_pair(name: str | None, collection: str) -> Any:
    """The ranking pair of the catalog that gives the wording: by its name, or by the collection's.

    >>> choose_pair(None, "data/beir_cqadupstack/android").dataset
    'cqadupstack'
    """
    from seqio_tasks import catalog

    if name is not None:
        return ranking_pair(name)
    ranking = [pair for pair in catalog.PAIRS if pair.kind == "rank"]
    known = ", ".join(pair.name for pair in ranking)
    entry = dataset_of(Path(collection))
    for pair in ranking:
        if entry is not None and pair.dataset == entry.dataset:
            return pair
    for pair in catalog.EVALUATION_ONLY:
        if entry is not None and pair.dataset == entry.dataset:
            return catalog.pair(pair.wording)
    raise RerankError(
        f"no ranking task is named after the collection {Path(collection).name!r}; set PAIR to one of {known}"
    )


def _measures(measures: Sequence[str] | str) -> tuple[str, ...]:
    """Names of measures, checked before anything is computed."""
    from seqio_tasks.metrics.measures import parse_measure

    parts = measures.split(",") if isinstance(measures, str) else measures
    try:
        return tuple(str(parse_measure(part.strip())) for part in parts)
    except ValueError as error:
        raise RerankError(f"MEASURES: {error}") from None


def _question(method: str) -> Question:
    """A question of the kind that the method asks."""
    families = {"pointwise": (JUDGMENT, 1), "query_likelihood": (GENERATION, 1), "pairwise": (CHOICE, 2)}
    family, count = families.get(method, (ORDER, 2))
    return Question(family, "query", (Document("", "document"),) * count)


if __name__ == "__main__":
    run_command(rerank)
