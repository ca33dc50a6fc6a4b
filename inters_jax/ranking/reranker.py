"""Reranking from Python: a model, a method, documents in, an order out.

    from inters_jax.ranking.reranker import Reranker

    ranker = Reranker.from_pretrained("runs/mistral")
    results = ranker.rank("who wrote emma", ["Emma is a novel by Jane Austen.", "Emma Stone is an actress."])
    results.top_k(1)[0].text

Names and shapes are those of the `rerankers` library, so that one can stand in for the other: `rank` gives
`RankedResults`, whose `results` are `Result(document, score, rank)` from the best (rank 1) to the worst.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.evaluation.report import tokenizer_of
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.ranking.backend import ModelBackend
from inters_jax.ranking.engine import Backend, Cost, Engine
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods import create
from inters_jax.ranking.questions import Document as Candidate
from inters_jax.ranking.questions import Method, Ranked
from seqio_tasks.tokenizer import HuggingFaceTokenizer

DEFAULT_PAIR = "inters_general_retrieval_ms_marco"


@dataclass(frozen=True)
class Document:
    """A document as it was given. doc_id: its id, or its number in the list."""

    text: str
    doc_id: str | int
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A document in the order. rank: from 1; score: higher is better, of the method's own scale."""

    document: Document
    score: float
    rank: int

    @property
    def doc_id(self) -> str | int:
        return self.document.doc_id

    @property
    def text(self) -> str:
        return self.document.text


@dataclass(frozen=True)
class RankedResults:
    """All documents of a query, best first; iterates over its results.

    cost: requests, tokens and seconds that it took.
    """

    query: str
    results: list[Result]
    cost: Cost

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
        """The result of one document; KeyError when there is none of that id."""
        for result in self.results:
            if result.doc_id == doc_id:
                return result
        raise KeyError(f"no document {doc_id!r} among {len(self.results)}")

    def get_score_by_docid(self, doc_id: str | int) -> float:
        """The score of one document."""
        return self.get_result_by_docid(doc_id).score


class Reranker:
    """Ranks documents with one backend and one method. Safe to call from several threads: they take turns.

    Args:
      backend: answers the method's questions, usually a `ModelBackend`.
      method: from `inters_jax.ranking.methods.create`.
      name: of the model, for messages.
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
        **options: Any,
    ) -> Reranker:
        """A reranker from a run folder of `train`, a Hugging Face folder or a hub name.

        Args:
          source: of the model.
          method: pointwise, query_likelihood, pairwise, setwise, listwise, first_token, self_consistency.
          pair: the ranking task whose wording is used, such as inters_fact_retrieval_scifact.
          max_length: longest prompt; documents are shortened to fit, by the length rule of training.
          dtype: compute type; logits are float32 in any case.
          mesh: devices, such as "fsdp=-1"; None: the first one.
          batch_tokens: tokens that the model sees at once, the memory knob.
          step: checkpoint of a run folder; None: the last.
          tokenizer: tokenizer.json or its folder, instead of the model's own.
          description: begin prompts with the task description, as in training.
          chat_template: None for the one of training, which a run folder and its export know (others: what
            the settings say, plain prompts by default); "none", "tokenizer", or a file.
          options: of the method, such as window=10 for listwise.
        """
        from seqio_tasks import settings

        made = create(method, **options)  # a wrong option is said before a model is loaded
        wording = ranking_pair(pair)
        chosen = chat_template_of(source, chat_template, tokenizer) or settings.current().chat_template
        placed = None if mesh is None else make_mesh(mesh)
        loaded = load_model(source, dtype=dtype, step=step, mesh=placed, tokenizer=tokenizer)
        backend = ModelBackend(
            loaded,
            HuggingFaceTokenizer(tokenizer_of(loaded), chat_template=chosen),
            wording,
            max_length=max_length,
            batch_tokens=batch_tokens,
            description=description,
            separator=settings.current().separator,
        )
        return cls(backend, made, name=loaded.description, method_name=method)

    def rank(
        self,
        query: str,
        docs: Sequence[Any],
        doc_ids: Sequence[str | int] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> RankedResults:
        """Ranks the documents of one query.

        Args:
          query: text.
          docs: texts, `Document`s, or mappings with "text" and perhaps "title"; in first-stage order, which
            breaks ties and is where sorting methods begin.
          doc_ids: one per document; None: their own, or their numbers.
          metadata: one per document, kept as it is.
        """
        [found] = self.rank_batch([query], [docs], [doc_ids], [metadata])
        return found

    def rank_batch(
        self,
        queries: Sequence[str],
        docs: Sequence[Sequence[Any]],
        doc_ids: Sequence[Sequence[str | int] | None] | None = None,
        metadata: Sequence[Sequence[Mapping[str, Any]] | None] | None = None,
    ) -> list[RankedResults]:
        """`rank` for many queries at once: their questions share batches. Results are in the given order."""
        ids = doc_ids or [None] * len(queries)
        more = metadata or [None] * len(queries)
        if not len(queries) == len(docs) == len(ids) == len(more):
            raise RerankError(f"{len(queries)} queries, but {len(docs)} lists of documents")
        given = [_documents(*each) for each in zip(docs, ids, more, strict=True)]
        rankings = (
            (str(number), self.method.rank(_query(query), [_candidate(one) for one in own]))
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


def ranking_pair(name: str) -> Any:
    """The ranking pair of the catalog with this name or dataset."""
    from seqio_tasks import catalog

    ranking = [pair for pair in catalog.PAIRS if pair.kind == "rank"]
    for pair in ranking:
        if name in (pair.name, pair.dataset):
            return pair
    raise RerankError(
        f"PAIR {name!r} is no ranking task; choose one of {', '.join(pair.name for pair in ranking)}"
    )


def _query(query: Any) -> str:
    if not isinstance(query, str) or not query.strip():
        raise RerankError(f"a query must be a text that is not empty, got {query!r:.80}")
    return query


def _documents(
    docs: Sequence[Any], doc_ids: Sequence[str | int] | None, metadata: Sequence[Mapping[str, Any]] | None
) -> list[Document]:
    """Documents of one query, whatever form they were given in."""
    if isinstance(docs, str):
        raise RerankError("docs must be a list of documents, got one text")
    for name, values in (("doc_ids", doc_ids), ("metadata", metadata)):
        if values is not None and len(values) != len(docs):
            raise RerankError(f"{len(docs)} docs, but {len(values)} {name}")
    found = []
    for number, doc in enumerate(docs):
        own = {} if metadata is None else metadata[number]
        doc_id = number if doc_ids is None else doc_ids[number]
        if isinstance(doc, Document):
            made = doc
        elif isinstance(doc, str):
            made = Document(doc, doc_id, metadata=own)
        elif isinstance(doc, Mapping) and isinstance(doc.get("text"), str):
            title = doc.get("title") or ""
            made = Document(doc["text"], doc.get("doc_id", doc_id), str(title), own)
        else:
            raise RerankError(f"document {number} must be a text or have a 'text', got {doc!r:.80}")
        found.append(made)
    ids = [one.doc_id for one in found]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise RerankError(f"two documents have the id {twice!r}")
    return found


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
