"""Reranking from Python.

    from inters_jax.ranking.reranker import Reranker

    ranker = Reranker.from_pretrained("runs/mistral")
    results = ranker.rank("who wrote emma", ["Emma is a novel by Jane Austen.", "Emma Stone is an actress."])
    results.top_k(1)[0].text

Names and types follow the `rerankers` library: `rank` returns `RankedResults`, whose `results` are
`Result(document, score, rank)` from the best (rank 1) to the worst.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.evaluation.manifest import tokenizer_of
from inters_jax.inference.model import DEFAULT_LENGTH, open_model
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.ranking.backend import ModelBackend
from inters_jax.ranking.engine import Backend, Cost, Engine
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods import make_method
from inters_jax.ranking.one_query import ranking_of
from inters_jax.ranking.pairs import ranking_pair, wording_of
from inters_jax.ranking.questions import Document as Candidate
from inters_jax.ranking.questions import Method, Ranked
from inters_jax.settings.judging import InferenceSettings, MethodOptions, RankingSettings
from seqio_tasks import own_data, settings
from seqio_tasks.tokenizer import HuggingFaceTokenizer

DEFAULT_PAIR = "inters_general_retrieval_ms_marco"


@dataclass(frozen=True)
class Document:
    """A document as the caller gave it. doc_id: its id, or its number in the list."""

    text: str
    doc_id: str | int
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A ranked document. rank: from 1; score: higher is better, on the method's own scale."""

    document: Document
    score: float
    rank: int

    @property
    def doc_id(self) -> str | int:
        return self.document.doc_id

    @property
    def text(self) -> str:
        return self.document.text

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.document.metadata


@dataclass(frozen=True)
class RankedResults:
    """All documents of a query, best first; a sequence of results.

    cost: requests, tokens and seconds of the ranking.
    """

    query: str
    results: list[Result]
    cost: Cost

    @property
    def has_scores(self) -> bool:
        """True: every result has a score."""
        return True

    def results_count(self) -> int:
        """The number of results."""
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> Result:
        return self.results[place]

    def top_k(self, k: int) -> list[Result]:
        """The best k."""
        return self.results[:k]

    def get_result_by_docid(self, doc_id: str | int) -> Result:
        """The result of one document; KeyError if there is no such id."""
        for result in self.results:
            if result.doc_id == doc_id:
                return result
        raise KeyError(f"no document {doc_id!r} among {len(self.results)}")

    def get_score_by_docid(self, doc_id: str | int) -> float | None:
        """The score of one document; None if there is no such id."""
        return next((result.score for result in self.results if result.doc_id == doc_id), None)


class Reranker:
    """Ranks documents with one backend and one method. Thread-safe: calls run one after the other.

    Args:
      backend: answers the method's questions, usually a `ModelBackend`.
      method: from `inters_jax.ranking.methods.make_method`.
      name: of the model, for messages.
      method_name: of the method; None: the name of its class.
    """

    def __init__(
        self, backend: Backend, method: Method, *, name: str = "model", method_name: str = ""
    ) -> None:
        self.backend, self.method, self.name = backend, method, name
        self.method_name = method_name or type(method).__name__.lower()
        self._engine = Engine(backend)
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        method: str = "pointwise",
        pair: str = DEFAULT_PAIR,
        max_length: int = 2048,
        dtype: str = "float32",
        mesh: str | None = None,
        batch_tokens: int | None = None,
        step: int | None = None,
        tokenizer: str | Path | None = None,
        description: bool = True,
        chat_template: str | None = None,
        options: MethodOptions | None = None,
    ) -> Reranker:
        """Load a model and create its reranker.

        Args:
          source: run folder of `train`, Hugging Face folder or hub name.
          method: pointwise, query_likelihood, pairwise, setwise, listwise, first_token, self_consistency.
          pair: the ranking task whose wording is used, such as inters_fact_retrieval_scifact.
          max_length: longest prompt in tokens; documents are cut to fit, by the length rule of training.
          dtype: compute type; logits are always float32.
          mesh: devices, such as "fsdp=-1"; None: the first one.
          batch_tokens: tokens per model call, the memory setting.
          step: checkpoint of a run folder; None: the last.
          tokenizer: tokenizer.json or its folder, instead of the model's own.
          description: start prompts with the task description, as in training.
          chat_template: None: the template used in training, recorded in run folders and exports (for other
            models that of the settings, by default plain prompts); "none", "tokenizer", or a file.
          options: of the method, such as MethodOptions(window=10) for listwise.

        Raises:
          RerankError: an option that the method does not have; refused before the model is loaded.
        """
        return cls.from_settings(
            InferenceSettings(
                model_dir=str(source),
                max_length=max_length,
                dtype=dtype,
                mesh=mesh,
                batch_tokens=batch_tokens,
                step=step,
                tokenizer=None if tokenizer is None else str(tokenizer),
                chat_template=chat_template,
            ),
            RankingSettings(method=method, pair=pair, description=description),
            options or MethodOptions(),
        )

    @classmethod
    def from_settings(
        cls, model: InferenceSettings, ranking: RankingSettings, options: MethodOptions
    ) -> Reranker:
        """A reranker as the command `serve` opens it."""
        own_data.register(ranking.datasets)
        made = make_method(ranking.method, options)
        wording = wording_of(ranking_pair(ranking.pair or DEFAULT_PAIR))
        chosen = chat_template_of(model.model_dir, model.chat_template, model.tokenizer)
        chosen = chosen or settings.current().chat_template
        loaded = open_model(model)
        backend = ModelBackend(
            loaded,
            HuggingFaceTokenizer(tokenizer_of(loaded), chat_template=chosen),
            wording,
            max_length=model.max_length or DEFAULT_LENGTH,
            batch_tokens=model.batch_tokens,
            wording=ranking.template,
            description=ranking.description,
            separator=settings.current().separator,
            identifiers=ranking.identifiers,
            marker=ranking.marker,
            joiner=ranking.joiner,
        )
        return cls(backend, made, name=loaded.description, method_name=ranking.method)

    def score(self, query: str, doc: Any) -> float:
        """The score of one document, in a form that `rank` accepts."""
        return self.rank(query, [doc])[0].score

    async def rank_async(
        self,
        query: str,
        docs: Any,
        doc_ids: Sequence[str | int] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> RankedResults:
        """`rank` in a thread, so that an event loop goes on meanwhile."""
        return await asyncio.to_thread(self.rank, query, docs, doc_ids, metadata)

    def rank(
        self,
        query: str,
        docs: Any,
        doc_ids: Sequence[str | int] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> RankedResults:
        """Rank the documents of one query.

        Args:
          query: text.
          docs: texts, `Document`s (of this module or of the `rerankers` library), or mappings with "text" and
            optionally "title"; a single text or `Document` needs no list. In first-stage order, which breaks
            ties and is where sorting methods start.
          doc_ids: one per document; None: their own ids, or their numbers.
          metadata: one per document, returned unchanged.

        Raises:
          RerankError: a blank query, a document without a text (NaN is none), a title that is not a text, or
            two documents with one id. A missing title (None or NaN) is an empty one.
        """
        if _is_document(docs):
            docs = [docs]
            doc_ids = [doc_ids] if isinstance(doc_ids, str | int) else doc_ids
            metadata = [metadata] if isinstance(metadata, Mapping) else metadata
        [found] = self.rank_batch([query], [docs], [doc_ids], [metadata])
        return found

    def rank_batch(
        self,
        queries: Sequence[str],
        docs: Sequence[Sequence[Any]],
        doc_ids: Sequence[Sequence[str | int] | None] | None = None,
        metadata: Sequence[Sequence[Mapping[str, Any]] | None] | None = None,
    ) -> list[RankedResults]:
        """`rank` for many queries at once: they share batches. Results are in the order of the queries."""
        ids = doc_ids or [None] * len(queries)
        more = metadata or [None] * len(queries)
        if not len(queries) == len(docs) == len(ids) == len(more):
            raise RerankError(f"{len(queries)} queries, but {len(docs)} lists of documents")
        given = [_documents(*each) for each in zip(docs, ids, more, strict=True)]
        rankings = (
            (str(number), ranking_of(self.method, _query(query), [_candidate(one) for one in own]))
            for number, (query, own) in enumerate(zip(queries, given, strict=True))
            if own
        )
        empty = Ranked([], np.zeros(0, np.float32)), Cost()
        found: dict[str, tuple[Ranked, Cost]] = {}
        with self._lock:
            for key, ranked, cost in self._engine.run(rankings):
                found[key] = ranked, cost
        return [
            _results(query, own, *found.get(str(number), empty))
            for number, (query, own) in enumerate(zip(queries, given, strict=True))
        ]


def _query(query: Any) -> str:
    if not isinstance(query, str) or not query.strip():
        raise RerankError(f"a query must be a text that is not empty, got {query!r:.80}")
    return query


def _is_document(value: Any) -> bool:
    """Whether this is one text or `Document`, and not a list of them."""
    return isinstance(value, str) or isinstance(getattr(value, "text", None), str)


def _documents(
    docs: Sequence[Any], doc_ids: Sequence[str | int] | None, metadata: Sequence[Mapping[str, Any]] | None
) -> list[Document]:
    """The documents of one query, from any of the accepted forms."""
    if isinstance(docs, str | bytes | Mapping | Set) or hasattr(docs, "columns"):
        raise RerankError(f"docs must be a list of documents, got a {type(docs).__name__}")
    docs = list(docs)
    for name, values in (("doc_ids", doc_ids), ("metadata", metadata)):
        if values is not None and len(values) != len(docs):
            raise RerankError(f"{len(docs)} docs, but {len(values)} {name}")
    found = []
    for number, doc in enumerate(docs):
        own = {} if metadata is None else metadata[number]
        doc_id = number if doc_ids is None else doc_ids[number]
        if isinstance(doc, Document):
            made = replace(doc, title=_title(doc.title, number))
        elif isinstance(doc, str):
            made = Document(doc, doc_id, metadata=own)
        elif isinstance(doc, Mapping) and "text" in doc:
            made = Document(doc["text"], doc.get("doc_id", doc_id), _title(doc.get("title"), number), own)
        elif isinstance(getattr(doc, "text", None), str):  # a Document of the rerankers library
            theirs = getattr(doc, "doc_id", None)
            theirs = doc_id if theirs is None or doc_ids is not None else theirs
            made = Document(doc.text, theirs, metadata=own or getattr(doc, "metadata", None) or {})
        else:
            raise RerankError(f"document {number} must be a text or have a 'text', got {doc!r:.80}")
        if not isinstance(made.text, str):
            raise RerankError(f"document {number} must be a text or have a 'text', got {doc!r:.80}")
        found.append(made)
    ids = [one.doc_id for one in found]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise RerankError(f"two documents have the id {twice!r}")
    return found


def _title(title: Any, number: int) -> str:
    """A title; None and NaN, the missing value of pandas, are an empty one."""
    if title is None or title != title or str(title) == "<NA>":
        return ""
    if not isinstance(title, str):
        raise RerankError(f"the title of document {number} must be a text, got {title!r:.80}")
    return title


def _candidate(document: Document) -> Candidate:
    return Candidate(document.title, document.text, str(document.doc_id))


def _results(query: str, documents: Sequence[Document], ranked: Ranked, cost: Cost) -> RankedResults:
    return RankedResults(
        query,
        [
            Result(documents[place], float(ranked.scores[place]), rank)
            for rank, place in enumerate(ranked.order, 1)
        ],
        cost,
    )
