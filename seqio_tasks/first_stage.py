"""A BM25 first stage over a corpus in memory: candidates for reranking, and hard negatives for training.

The analysis follows Lucene's English analyzer as used by Anserini: lower case, possessive 's removed, 33 stop
words, Porter stems; title and text are searched as one field; k1 = 0.9, b = 0.4. bm25s (numpy backend) does
the indexing and scoring. Everything is deterministic: among equal scores the greater document id comes first,
as in trec_eval, also at the cut.

Runs are cached on disk, in the cache directory of the settings, by a digest of everything they depend on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqio_tasks import settings
from seqio_tasks.base import UserError, replacing

log = logging.getLogger(__name__)

K1, B = 0.9, 0.4
STEMMER = "porter"

_VERSION = 1  # of the analysis below: increase it when the same input would give another run
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_POSSESSIVE = re.compile(r"['\u2019]s$")
_STOP_WORDS = frozenset(
    ("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
     "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
     "was", "will", "with")
)  # fmt: skip


class SearchedDocument(Protocol):
    """The searched fields of a document (`sources.beir.Document`)."""

    @property
    def title(self) -> str: ...

    @property
    def text(self) -> str: ...


class Analyzer:
    """Text to index terms.

    >>> Analyzer()("The runner's shoes, running in the U.S.")
    ['runner', 'shoe', 'run', 'u', 's']
    """

    def __init__(self, stemmer: str | None = STEMMER) -> None:
        self._stem: Callable[[str], str] = _stemmer(stemmer)
        self._terms: dict[str, str] = {}  # word -> term, "" for stop words: each word is analysed once

    def __call__(self, text: str) -> list[str]:
        terms = self._terms
        found = []
        for word in _WORD.findall(text.lower()):
            term = terms.get(word)
            if term is None:
                bare = _POSSESSIVE.sub("", word)
                term = terms[word] = "" if bare in _STOP_WORDS else self._stem(bare) or bare
            if term:
                found.append(term)
        return found


def bm25_run(
    corpus: Mapping[str, SearchedDocument],
    queries: Mapping[str, str],
    k: int = 100,
    *,
    k1: float = K1,
    b: float = B,
    stemmer: str | None = STEMMER,
    cache: bool = True,
) -> dict[str, dict[str, float]]:
    """The k best documents of every query, best first: query id -> document id -> score.

    Only documents that share a term with the query are returned, so a query may have fewer than k, or none.

    Args:
      corpus: document id -> document.
      queries: query id -> text.
      k: documents per query.
      k1: saturation of term frequencies.
      b: weight of document lengths, 0 to 1.
      stemmer: an algorithm of PyStemmer ("porter", "english", ...) or None.
      cache: keep the result on disk and read it from there.

    Raises:
      UserError: k is below 1, or there is no such stemmer.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, got {k}")
    path = None
    if cache:
        digest = _digest(corpus, queries, {"k": k, "k1": k1, "b": b, "stemmer": stemmer})
        path = Path(settings.current().cache_dir) / "bm25" / f"{digest}.npz"
        if path.is_file():
            return _load(path, list(corpus), list(queries))
    run = _search(corpus, queries, k, k1, b, Analyzer(stemmer))
    if path is not None:
        try:
            _save(path, run, corpus)
        except OSError as error:  # a read-only or full cache costs time only
            log.warning("the BM25 run could not be kept in %s: %s", path, error)
    return run


def _search(
    corpus: Mapping[str, SearchedDocument],
    queries: Mapping[str, str],
    k: int,
    k1: float,
    b: float,
    analyze: Analyzer,
) -> dict[str, dict[str, float]]:
    import bm25s  # here and below: it takes a second, and most runs are cached or given

    documents = list(corpus)
    vocabulary: dict[str, int] = {}
    ids = [
        [vocabulary.setdefault(term, len(vocabulary)) for term in analyze(f"{doc.title} {doc.text}")]
        for doc in corpus.values()
    ]
    if not vocabulary:
        return {query: {} for query in queries}
    index = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
    index.index((ids, vocabulary), create_empty_token=False, show_progress=False)
    # The rank of every document id, for ties: the greater id comes first.
    id_rank = np.empty(len(documents), np.int64)
    id_rank[sorted(range(len(documents)), key=documents.__getitem__)] = np.arange(len(documents))
    run: dict[str, dict[str, float]] = {}
    for query, text in queries.items():
        terms = [vocabulary[term] for term in analyze(text) if term in vocabulary]
        best = _best(index.get_scores_from_ids(terms), id_rank, k) if terms else []
        run[query] = {documents[number]: score for number, score in best}
    return run


def _best(scores: np.ndarray, id_rank: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The k best (document number, score) with a score above 0; ties by document id, descending.

    scores: float32 [documents]; id_rank: int64 [documents].
    """
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        threshold = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= threshold]
    order = np.lexsort((-id_rank[found], -scores[found]))[:k]
    return [(int(number), float(scores[number])) for number in found[order]]


def _stemmer(name: str | None) -> Callable[[str], str]:
    if name is None:
        return str
    import Stemmer

    if name not in Stemmer.algorithms():
        raise UserError(f"unknown stemmer {name!r}; known: None, {', '.join(Stemmer.algorithms())}")
    stem: Callable[[str], str] = Stemmer.Stemmer(name).stemWord
    return stem


def _digest(
    corpus: Mapping[str, SearchedDocument], queries: Mapping[str, str], options: dict[str, Any]
) -> str:
    import bm25s

    digest = hashlib.sha256()

    def add(parts: Iterable[str]) -> None:
        for part in parts:
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little"))  # lengths separate neighbouring parts
            digest.update(encoded)

    add([json.dumps({"version": _VERSION, "bm25s": bm25s.__version__, **options}, sort_keys=True)])
    for document_id, document in corpus.items():
        add((document_id, document.title, document.text))
    add(["queries"])
    for query_id, text in queries.items():
        add((query_id, text))
    return digest.hexdigest()


def _save(path: Path, run: Mapping[str, Mapping[str, float]], corpus: Mapping[str, object]) -> None:
    """offsets int64 [queries + 1], documents int32 [results] (numbers in the corpus), scores float32
    [results].
    """
    number = {document: position for position, document in enumerate(corpus)}
    lengths = [len(scores) for scores in run.values()]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
            documents=np.asarray([number[doc] for scores in run.values() for doc in scores], np.int32),
            scores=np.asarray([score for scores in run.values() for score in scores.values()], np.float32),
        )


def _load(path: Path, documents: list[str], queries: list[str]) -> dict[str, dict[str, float]]:
    with np.load(path) as stored:
        offsets, numbers, scores = (stored[name].tolist() for name in ("offsets", "documents", "scores"))
    return {
        query: {documents[numbers[i]]: scores[i] for i in range(offsets[position], offsets[position + 1])}
        for position, query in enumerate(queries)
    }
