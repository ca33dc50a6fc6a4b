"""Backends that answer the requests of ranking methods: a model, or a plain function.

`ModelBackend` turns questions into the trained prompts and runs the model in batches of fixed shapes:

    Labels        Scorer.label_logits      common prefixes of neighbouring prompts are encoded once
                  Scorer.loglikelihood     if whole answers are compared: they are branches of one prompt
    Likelihood    Scorer.loglikelihood
    Permutation   Generator.permutations   constrained decoding

A query that leaves no room for a document is cut (`ModelBackend.prepare`); more documents than fit into one
prompt are refused with TooLong, and the methods show fewer.

`FunctionBackend` answers like a model that knows the relevance of every document. With an oracle, a constant
and a random function it shows what the methods themselves do.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.inference.generate import Generator
from inters_jax.inference.placement import call_tokens
from inters_jax.inference.together import Answerers
from inters_jax.ranking.engine import Usage
from inters_jax.ranking.errors import TooLong
from inters_jax.ranking.identifiers import Identifiers, OrderCode
from inters_jax.ranking.questions import (
    CHECK,
    GENERATION,
    JUDGMENT,
    Answer,
    Document,
    Labels,
    Likelihood,
    Permutation,
    Question,
    Request,
)
from seqio_tasks.prompts.encoding import Encoder
from seqio_tasks.prompts.filling import without_blank_lines
from seqio_tasks.prompts.ranking import question as render_question

log = logging.getLogger(__name__)

_SEAMS = 4  # tokens by which documents cut to the same length may differ: where a word ends, and the ellipsis

Relevance = Callable[[str, Any], float]


class FunctionBackend:
    """Answers from relevance(query, document): the higher one wins a choice, and lists are in its order.

    The logits of a judgment are (relevance, 0); those of a check (relevance of the document claimed to be
    better, relevance of the other one).
    """

    call_tokens = 1 << 40  # nothing of it is worth dividing
    progress: Callable[[int], None] | None = None

    def __init__(self, relevance: Relevance):
        self.relevance = relevance

    def prepare(self, requests: Sequence[Request]) -> Sequence[Request]:
        return requests

    def usage(self, prepared: Sequence[Request]) -> list[Usage]:
        return [Usage(0, 0)] * len(prepared)

    def answer(self, prepared: Sequence[Request]) -> list[Answer]:
        return [self._answer(request) for request in prepared]

    def _answer(self, request: Request) -> Answer:
        question = request.question
        scores = [self.relevance(question.query, document) for document in question.documents]
        if isinstance(request, Likelihood):
            return scores[0]
        if isinstance(request, Permutation):
            return sorted(range(len(scores)), key=lambda place: -scores[place])
        if question.family == JUDGMENT:
            return np.asarray([scores[0], 0.0], np.float32)
        if question.family == CHECK and question.number == 2:
            scores = scores[::-1]
        return np.asarray(scores, np.float32)


@dataclass(frozen=True)
class Prepared:
    """Requests in tokens.

    prompts: per request BOS, the question, and the tokens that all its answers start with.
    asked: per request the tokens of its answers (first tokens, all tokens, or the code of an order).
    """

    requests: Sequence[Request]
    prompts: list[list[int]]
    asked: list[Any]
    usages: list[Usage] = field(default_factory=list)


class ModelBackend:
    """Answers from a model, in the trained wordings of one task-dataset pair.

    Args:
      loaded: a LoadedModel, see inters_jax.models.loading.
      vocabulary: a seqio_tasks.tokenizer.HuggingFaceTokenizer of the model's tokenizer.
      pair: the catalog pair whose wordings are used.
      max_length: longest sequence; documents that do not fit are cut by the length rule of training.
      batch_tokens: tokens per model call, the memory setting; None: by the kind of device.
      wording: which of the two wordings of a family. 0 mostly shows the query first, so that the candidates
        of a query share a prefix of their prompts.
      description: start prompts with the task description, as in training.
      separator: text between prompt and answer, as in training.
      identifiers, marker, joiner: how documents are named, see `identifiers`.
      answerers: makes its Scorer and Generator; None: for this process.
    """

    progress: Callable[[int], None] | None = None

    def __init__(
        self,
        loaded: Any,
        vocabulary: Any,
        pair: Any,
        *,
        max_length: int = 2048,
        batch_tokens: int | None = None,
        wording: int = 0,
        description: bool = True,
        separator: str = "\n",
        identifiers: str = "auto",
        marker: str = "[1]",
        joiner: str = " > ",
        answerers: Answerers | None = None,
    ):
        self.loaded, self.vocabulary, self.pair = loaded, vocabulary, pair
        self.max_length = min(max_length, loaded.config.max_position)
        self.wording, self.description, self.separator = wording, description, separator
        self.identifiers = Identifiers(vocabulary, marker=marker, joiner=joiner, kind=identifiers)
        # As in the token store: a sequence starts with BOS if the tokenizer has one.
        bos = vocabulary.bos_id
        self._start = [] if bos is None else plain_ids(vocabulary, [bos]).tolist()
        self.call_tokens, self._generation_tokens = call_tokens(batch_tokens, self.max_length)
        self._answerers = answerers or Answerers()
        self.scorer = self._answerers.scorer(loaded, batch_tokens=self.call_tokens)
        self._generator: Generator | None = None
        self.counts: Counter[str] = Counter()
        self._encoder = Encoder(vocabulary, self.max_length, report=self.counts)
        # Counts apart from the prompts that are asked, and leaves room for the seams of other documents.
        self._measuring = Encoder(vocabulary, self.max_length - _SEAMS)
        self._queries: dict[Any, str] = {}  # how much of a query is shown
        self._lock = threading.Lock()

    @property
    def generator(self) -> Generator:
        """Created for the first method that generates an order: it has compiled programs of its own."""
        if self._generator is None:
            self._generator = self._answerers.generator(self.loaded, batch_tokens=self._generation_tokens)
        return self._generator

    @property
    def compilations(self) -> int:
        """Number of array shapes compiled so far."""
        return self.scorer.compilations + (self._generator.compilations if self._generator else 0)

    def prompt(self, question: Question, *, by_first_token: bool = True) -> Any:
        """The Rendered prompt of a question."""
        count = len(question.documents)
        return render_question(
            self.pair,
            question.family,
            question.query,
            question.documents,
            wording=self.wording,
            style=None if count < 2 else self.identifiers.style(count, by_first_token=by_first_token),
            number=question.number,
            description=self.description,
            separator=self.separator,
        )

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Prompts and answers in tokens.

        A query that leaves no room for one or two documents is cut, see `_fitting`.

        Raises:
          TooLong: questions that exceed `max_length` even so, or show more documents than fit when cut to the
            minimum.
        """
        with self._lock:
            return self._prepare(requests)

    def _prepare(self, given: Sequence[Request]) -> Prepared:
        requests = [
            self._fitting(request)
            if len(request.question.query.encode()) > self.max_length // 8  # a token has at least one byte
            else request
            for request in given
        ]
        parts = [self._rendered(request) for request in requests]
        encoded = self._encoder.encode([part[0] for part in parts], [[part[1]] for part in parts])
        for number, found in enumerate(encoded):
            shorter = requests[number] if found else self._fitting(requests[number])
            if shorter is not requests[number]:
                requests[number], parts[number] = shorter, self._rendered(shorter)
                [encoded[number]] = self._encoder.encode([parts[number][0]], [[parts[number][1]]])
        if too_long := [number for number, found in enumerate(encoded) if not found]:
            raise self._too_long(given[too_long[0]].question, too_long)
        prompts, usages = [], []
        for before, request, (_, _, tokens), fitted in zip(given, requests, parts, encoded, strict=True):
            prompt_ids = self._start + plain_ids(self.vocabulary, fitted[0].input_ids).tolist()
            if isinstance(request, Permutation) or (isinstance(request, Labels) and not request.whole):
                prompt_ids += tokens.common
            prompts.append(prompt_ids)
            generated = _generated(tokens) if isinstance(tokens, OrderCode) else 0
            usages.append(Usage(len(prompt_ids), generated, request.question.query != before.question.query))
        return Prepared(requests, prompts, [tokens for _, _, tokens in parts], usages)

    def _rendered(self, request: Request) -> tuple[Any, str, Any]:
        """The prompt, the longest answer as text, and the answers in tokens."""
        first = isinstance(request, Labels) and not request.whole
        prompt = self.prompt(request.question, by_first_token=first)
        return (prompt, *self._answers(request, prompt, first))

    def _fitting(self, request: Request) -> Request:
        """The request with a query that leaves room for its documents at their minimal length.

        A longer query loses its end: it is cut behind its last word that fits (inside the first word if that
        alone is too long). The cut depends on the query and not on the documents, so that all documents are
        compared with the same words. Questions about more than two documents are not changed: methods ask
        them about fewer documents instead.
        """
        question = request.question
        if len(question.documents) > 2:
            return request
        kind = getattr(request, "whole", None)
        key = (type(request), kind, question.family, len(question.documents), question.query)
        if key not in self._queries:
            if len(self._queries) >= 10_000:
                self._queries.pop(next(iter(self._queries)))
            self._queries[key] = self._longest_fitting(request)
            if self._queries[key] != question.query:
                log.warning(
                    "query %r is cut from %d to %d characters to fit into MAX_LENGTH=%d",
                    question.query[:80], len(question.query), len(self._queries[key]), self.max_length,
                )  # fmt: skip
        query = self._queries[key]
        return request if query == question.query else _about(request, query, question.documents)

    def _longest_fitting(self, request: Request) -> str:
        """The beginning of a request's query that fits; the whole query if it fits, or if nothing does."""
        query = request.question.query
        # Longer than the minimum in any tokenizer, so that the length rule cuts it to the minimum.
        documents = (Document("", "word " * 200),) * len(request.question.documents)

        def fits(length: int) -> bool:
            prompt, longest, _ = self._rendered(_about(request, query[:length], documents))
            return bool(self._measuring.encode([prompt], [[longest]])[0])

        ends = [word.end() for word in re.finditer(r"\S+", query)]
        if not ends or fits(len(query)):
            return query
        if not fits(ends[0]):
            ends = list(range(query.index(query.split()[0]) + 1, ends[0] + 1))
            if not fits(ends[0]):
                return query
        low, high = 0, len(ends) - 1  # the first fits, the last does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(ends[middle]) else (low, middle)
        return query[: ends[low]]

    def usage(self, prepared: Prepared) -> list[Usage]:
        return prepared.usages

    def answer(self, prepared: Prepared) -> list[Answer]:
        """Answer all requests; those of one kind with the same possible answers share batches."""
        groups: dict[Any, list[int]] = {}
        for number, (request, tokens) in enumerate(zip(prepared.requests, prepared.asked, strict=True)):
            if isinstance(request, Permutation):
                key: Any = ("order", tokens.separator)
            elif isinstance(request, Labels) and not request.whole:
                key = ("first", tokens.first)
            else:
                key = ("whole",)
            groups.setdefault(key, []).append(number)
        answers: list[Answer] = [None] * len(prepared.requests)
        for key, members in groups.items():
            # Documents may become equal when they are cut: identical prompts are asked once.
            same: dict[Any, list[int]] = {}
            for number in members:
                same.setdefault(_identity(prepared, number), []).append(number)
            numbers = [copies[0] for copies in same.values()]
            prompts = [prepared.prompts[number] for number in numbers]
            own = [prepared.asked[number] for number in numbers]
            if key[0] == "order":
                found: Any = self.generator.permutations(
                    prompts, [code.items for code in own], key[1], self.progress
                )
            elif key[0] == "first":
                found = self.scorer.label_logits(prompts, key[1], progress=self.progress)
            else:
                found = self.scorer.loglikelihood(list(zip(prompts, own, strict=True)), self.progress)
            for copies, answer in zip(same.values(), found, strict=True):
                for number in copies:
                    answers[number] = _finished(prepared.requests[number], answer, prepared.asked[number])
        return answers

    def example(self, question: Question) -> tuple[str, dict[str, list[int]]]:
        """The text of a prompt and its possible answers in tokens, for the manifest."""
        prompt = self.prompt(question)
        if question.family == GENERATION:
            return prompt.inputs(), {}
        names = prompt.choices or self.identifiers.names(len(question.documents), by_first_token=True)
        return prompt.inputs(), dict(zip(names, map(list, self.identifiers.whole(names)), strict=True))

    def _answers(self, request: Request, prompt: Any, first: bool) -> tuple[str, Any]:
        """The longest answer as text, to leave room for it, and the answers in tokens."""
        if isinstance(request, Likelihood):
            text = without_blank_lines(request.continuation)
            return text, self.identifiers.whole([text])
        count = len(request.question.documents)
        names = prompt.choices or self.identifiers.names(count, by_first_token=first)
        if isinstance(request, Permutation):
            return self.identifiers.joiner.join(names), self.identifiers.order(names)
        if request.whole:
            tokens: Any = self.identifiers.whole(names)
            return max(zip(map(len, tokens), names, strict=True))[1], tokens
        choices = self.identifiers.choices(names)
        return max(zip(map(len, choices.whole), names, strict=True))[1], choices

    def _too_long(self, question: Question, places: Sequence[int]) -> TooLong:
        documents = len(question.documents)
        return TooLong(
            f"a question ({question.family}) with query {question.query[:80]!r} and {documents} documents "
            f"exceeds MAX_LENGTH={self.max_length} tokens even with its documents cut to the minimum; "
            "raise MAX_LENGTH"
            + (" or show fewer documents at once (WINDOW, NUM_CHILD)" if documents > 2 else ""),
            places,
        )


def _about(request: Request, query: str, documents: tuple[Any, ...]) -> Request:
    """The same request about another query and other documents."""
    question = dataclasses.replace(request.question, query=query, documents=documents)
    if isinstance(request, Likelihood) and request.continuation == request.question.query:
        return dataclasses.replace(request, question=question, continuation=query)
    return dataclasses.replace(request, question=question)


def _identity(prepared: Prepared, number: int) -> Any:
    """What the answer to a request of one kind depends on: its prompt and possible answers."""
    asked = prepared.asked[number]
    if isinstance(asked, OrderCode):
        answers: Any = asked.items
    else:
        answers = asked.whole if hasattr(asked, "whole") else asked
    return tuple(prepared.prompts[number]), tuple(map(tuple, answers))


def _finished(request: Request, answer: Any, tokens: Any) -> Answer:
    if isinstance(request, Permutation):
        return list(answer)
    if isinstance(request, Likelihood):
        [whole] = tokens
        return answer[0] / len(whole) if request.per_token else answer[0]
    return np.asarray(answer, np.float32)


def _generated(code: OrderCode) -> int:
    """Tokens generated for an order. The last identifier is the only one left and is not generated."""
    return sum(map(len, code.items)) + len(code.separator) * (len(code.items) - 1)
