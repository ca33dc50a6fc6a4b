"""Backends that answer the requests of ranking methods: a model, or a plain function.

`ModelBackend` turns questions into the trained prompts and runs the model in batches of fixed shapes:

    Labels        Scorer.label_logits      common prefixes of neighbouring prompts are encoded once
                  Scorer.loglikelihood     if whole answers are compared: they are branches of one prompt
    Likelihood    Scorer.loglikelihood
    Permutation   Generator.permutations   constrained decoding

`FunctionBackend` answers like a model that knows the relevance of every document. With an oracle, a constant
and a random function it shows what the methods themselves do.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.inference.generate import Generator
from inters_jax.inference.placement import default_batch_tokens
from inters_jax.inference.score import Scorer
from inters_jax.ranking.engine import Usage
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.identifiers import Identifiers, OrderCode
from inters_jax.ranking.questions import (
    CHECK,
    GENERATION,
    JUDGMENT,
    Answer,
    Labels,
    Likelihood,
    Permutation,
    Question,
    Request,
)
from seqio_tasks.prompts.encoding import Encoder
from seqio_tasks.prompts.filling import without_blank_lines
from seqio_tasks.prompts.ranking import question as render_question

Relevance = Callable[[str, Any], float]


class FunctionBackend:
    """Answers from relevance(query, document): the higher one wins a choice, and lists are in its order.

    The logits of a judgment are (relevance, 0); those of a check (relevance of the document claimed to be
    better, relevance of the other one).
    """

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
    """

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
    ):
        self.loaded, self.vocabulary, self.pair = loaded, vocabulary, pair
        self.max_length = min(max_length, loaded.config.max_position)
        self.wording, self.description, self.separator = wording, description, separator
        self.identifiers = Identifiers(vocabulary, marker=marker, joiner=joiner, kind=identifiers)
        # As in the token store: a sequence starts with BOS if the tokenizer has one.
        bos = vocabulary.bos_id
        self._start = [] if bos is None else plain_ids(vocabulary, [bos]).tolist()
        self._batch_tokens = max(batch_tokens or default_batch_tokens(), self.max_length)
        self.scorer = Scorer(loaded, batch_tokens=self._batch_tokens)
        self._generator: Generator | None = None
        self.counts: Counter[str] = Counter()
        self._encoder = Encoder(vocabulary, self.max_length, report=self.counts)
        self._lock = threading.Lock()

    @property
    def generator(self) -> Generator:
        """Created for the first method that generates an order: it has compiled programs of its own."""
        if self._generator is None:
            self._generator = Generator(self.loaded, batch_tokens=self._batch_tokens)
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

        Raises:
          RerankError: a question exceeds `max_length` even with its documents shortened.
        """
        with self._lock:
            return self._prepare(requests)

    def _prepare(self, requests: Sequence[Request]) -> Prepared:
        rendered, targets, asked = [], [], []
        for request in requests:
            first = isinstance(request, Labels) and not request.whole
            prompt = self.prompt(request.question, by_first_token=first)
            longest, tokens = self._answers(request, prompt, first)
            rendered.append(prompt)
            targets.append([longest])
            asked.append(tokens)
        prompts: list[list[int]] = []
        for request, found in zip(requests, self._encoder.encode(rendered, targets), strict=True):
            if not found:
                raise self._too_long(request.question)
            prompts.append(self._start + plain_ids(self.vocabulary, found[0].input_ids).tolist())
        usages = []
        for request, prompt_ids, tokens in zip(requests, prompts, asked, strict=True):
            if isinstance(request, Permutation) or (isinstance(request, Labels) and not request.whole):
                prompt_ids += tokens.common
            usages.append(Usage(len(prompt_ids), _generated(tokens) if isinstance(tokens, OrderCode) else 0))
        return Prepared(requests, prompts, asked, usages)

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
        for key, numbers in groups.items():
            prompts = [prepared.prompts[number] for number in numbers]
            own = [prepared.asked[number] for number in numbers]
            if key[0] == "order":
                found: Any = self.generator.permutations(prompts, [code.items for code in own], key[1])
            elif key[0] == "first":
                found = self.scorer.label_logits(prompts, key[1])
            else:
                found = self.scorer.loglikelihood(list(zip(prompts, own, strict=True)))
            for number, answer in zip(numbers, found, strict=True):
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

    def _too_long(self, question: Question) -> RerankError:
        documents = len(question.documents)
        return RerankError(
            f"a question ({question.family}) with query {question.query[:80]!r} and {documents} documents "
            f"exceeds MAX_LENGTH={self.max_length} tokens even with its documents cut to the minimum; "
            "raise MAX_LENGTH"
            + (" or show fewer documents at once (WINDOW, NUM_CHILD)" if documents > 2 else "")
        )


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
