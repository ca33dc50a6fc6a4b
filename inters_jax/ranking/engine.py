r"""Ranks many queries at once: the requests of their generators share batches.

    query 1   yields 3 requests  \                      / answers -> query 1 continues, yields again
    query 2   yields 1 request    > one batch, a model <  answers -> query 2
    query 3   yields 99 requests /                      \ answers -> query 3

Sorting algorithms make one request at a time; alone they would run a model with batches of one. Here dozens
of queries advance together. While the device works on a batch, the next one (of other queries) is tokenized
in a thread.

At most `concurrent` queries are in progress, and no query starts while a whole batch is waiting: memory stays
bounded for any number of queries, and for methods that make 9,900 requests at once. Batches may begin small
and grow (`inters_jax.inference.portions`), so that the first queries are ranked early.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from inters_jax.inference.portions import SCORING, portions
from inters_jax.ranking.errors import RerankError, TooLong
from inters_jax.ranking.questions import Answer, Labels, Ranked, Ranking, Request

_TOKENS_PER_DOCUMENT = 256  # of a prompt, before the first was made
_UNLIMITED = 1 << 60  # tokens, of a batch that only its requests limit


class Usage(NamedTuple):
    """Tokens of one request, in its prompt and generated for its answer; whether its query was cut to fit."""

    prompt: int
    generated: int
    query_cut: bool = False


@dataclass
class Cost:
    """The cost of ranking one query.

    calls: requests answered, each with one prompt; prompt_tokens and generated_tokens: their sums.
    seconds: its share of the model's time, by tokens.
    latency: from the start of the query to its end, while others shared the batches.
    query_cut: requests that show the query cut, because it is too long.
    narrowed: how often prompts were too long and the method went on with fewer documents at once.
    unranked: 1 if the query is too long to be ranked and keeps its first-stage order.
    """

    calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0
    latency: float = 0.0
    query_cut: int = 0
    narrowed: int = 0
    unranked: int = 0


class Backend(Protocol):
    """Answers requests. `prepare` runs in a thread, during the `answer` of the batch before.

    `prepare` raises TooLong for requests whose prompts exceed the length limit; the engine throws it into the
    generators that made them.

    call_tokens: tokens of one model call.
    progress: called with a number of prompts while a batch is answered; None: with none.
    """

    call_tokens: int
    progress: Callable[[int], None] | None

    def prepare(self, requests: Sequence[Request]) -> Any: ...

    def usage(self, prepared: Any) -> list[Usage]: ...

    def answer(self, prepared: Any) -> list[Answer]: ...


@dataclass
class _Query:
    """A query in progress: its latest requests, how many of them are in a batch, and the answers so far."""

    key: str
    ranking: Ranking
    started: float
    cost: Cost = field(default_factory=Cost)
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    sent: int = 0
    missing: int = 0

    @property
    def waiting(self) -> int:
        return len(self.requests) - self.sent

    @property
    def shown(self) -> int:
        """Documents in the next request; those of a round show equally many."""
        return max(1, len(self.requests[self.sent].question.documents))


class _Batch(NamedTuple):
    parts: list[tuple[_Query, int, int]]  # query, first and end of its requests in the batch
    requests: list[Request]
    prepared: Future[Any]


class _Room:
    """How many documents the prompts of the next batch may show.

    Args:
      budgets: tokens of the first batch, the second, ...
    """

    def __init__(self, budgets: Iterator[int]) -> None:
        self._budgets = budgets
        self._budget = next(budgets)
        self._tokens = self._documents = 0  # of the batches so far

    @property
    def documents(self) -> int:
        each = self._tokens / self._documents if self._documents else _TOKENS_PER_DOCUMENT
        return max(1, int(self._budget / max(each, 1)))

    def used(self) -> None:
        """A batch was made: the next one has the next budget."""
        self._budget = next(self._budgets)

    def measure(self, requests: Sequence[Request], usages: Sequence[Usage]) -> None:
        """Learn from the prompts of a batch how many tokens a document takes."""
        self._tokens += sum(usage.prompt + usage.generated for usage in usages)
        self._documents += sum(max(1, len(request.question.documents)) for request in requests)


class Engine:
    """Runs rankings over one backend.

    Args:
      backend: answers requests.
      batch: requests in one batch. The backend divides them further to fit the device.
      concurrent: queries in progress at once. More of them fill batches better if a method makes one request
        at a time; fewer lose less when a run is interrupted.
      growing: batches begin with two model calls and grow to eight, for runs whose rankings are saved.
    """

    def __init__(
        self, backend: Backend, *, batch: int = 1024, concurrent: int = 64, growing: bool = False
    ) -> None:
        if batch < 1 or concurrent < 1:
            raise ValueError(f"batch and concurrent must be at least 1, got {batch} and {concurrent}")
        self.backend, self.batch, self.concurrent = backend, batch, concurrent
        self._budgets = portions(backend.call_tokens, SCORING) if growing else itertools.repeat(_UNLIMITED)
        self.batches = 0

    def run(
        self,
        rankings: Mapping[str, Ranking] | Iterable[tuple[str, Ranking]],
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[str, Ranked, Cost]]:
        """(query id, its ranking, its cost), in the order in which queries finish.

        Args:
          rankings: query id -> generator of a method. It is read only as far as queries can start, so it may
            be an infinite iterator.
          progress: called with the number of requests answered.

        Raises:
          RerankError: an answer is not finite.
          TooLong: a prompt exceeds the length limit and its method does not handle that.
        """
        source = iter(rankings.items() if isinstance(rankings, Mapping) else rankings)
        active: dict[str, _Query] = {}
        finished: list[_Finished] = []
        room = _Room(self._budgets)
        with ThreadPoolExecutor(1) as pool:
            following = self._next(source, active, pool, finished, room)
            yield from _drain(finished)
            while following is not None:
                batch = self._that_fits(following, active, pool, finished)
                if batch is not None:
                    room.measure(batch.requests, self.backend.usage(batch.prepared.result()))
                following = self._next(source, active, pool, finished, room)
                if batch is not None:
                    self._answer(batch, batch.prepared.result(), active, finished)
                    if progress:
                        progress(len(batch.requests))
                if following is None:
                    following = self._next(source, active, pool, finished, room)
                yield from _drain(finished)

    def _next(
        self,
        source: Iterator[tuple[str, Ranking]],
        active: dict[str, _Query],
        pool: ThreadPoolExecutor,
        finished: list[_Finished],
        room: _Room,
    ) -> _Batch | None:
        """The next batch, with its prompts in preparation; None if every query waits for pending answers."""
        requests, documents = self.batch, room.documents  # that the batch may still take
        ready = [query for query in active.values() if query.waiting]
        waiting = sum(query.waiting for query in ready)
        shown = sum(query.waiting * query.shown for query in ready)
        while waiting < requests and shown < documents and len(active) < self.concurrent:
            following = next(source, None)
            if following is None:
                break
            key, ranking = following
            if key in active:
                raise RerankError(f"query {key!r} is ranked twice at the same time")
            query = active[key] = _Query(key, ranking, time.perf_counter())
            _advance(query, None, active, finished)
            if query.waiting:
                ready.append(query)
                waiting += query.waiting
                shown += query.waiting * query.shown
        parts: list[tuple[_Query, int, int]] = []
        # Half of the queries at most: the prompts of the other half are prepared while these are answered.
        for query in ready[: max(1, -(-self.concurrent // 2))]:
            fitting = documents // query.shown
            take = min(requests, query.waiting, fitting if parts else max(1, fitting))
            if not take:
                break
            requests, documents = requests - take, documents - take * query.shown
            parts.append((query, query.sent, query.sent + take))
            query.sent += take
        if not parts:
            return None
        room.used()
        asked = [request for query, first, end in parts for request in query.requests[first:end]]
        return _Batch(parts, asked, pool.submit(self.backend.prepare, asked))

    def _that_fits(
        self,
        batch: _Batch,
        active: dict[str, _Query],
        pool: ThreadPoolExecutor,
        finished: list[_Finished],
    ) -> _Batch | None:
        """The batch, prepared, without queries that made a prompt too long; these continue as they decide."""
        try:
            batch.prepared.result()
            return batch
        except TooLong as error:
            owners = [query for query, first, end in batch.parts for _ in range(first, end)]
            failed = {id(owners[place]): owners[place] for place in error.places}
            kept = [part for part in batch.parts if id(part[0]) not in failed]
            # No other batch is under way here, so the requests of these queries can be replaced.
            for query in failed.values():
                query.cost.narrowed += 1
                _advance(query, None, active, finished, error)
        if not kept:
            return None
        requests = [request for query, first, end in kept for request in query.requests[first:end]]
        again = _Batch(kept, requests, pool.submit(self.backend.prepare, requests))
        return self._that_fits(again, active, pool, finished)

    def _answer(
        self, batch: _Batch, prepared: Any, active: dict[str, _Query], finished: list[_Finished]
    ) -> None:
        started = time.perf_counter()
        answers = self.backend.answer(prepared)
        seconds = time.perf_counter() - started
        self.batches += 1
        usages = self.backend.usage(prepared)
        if not len(answers) == len(usages) == len(batch.requests):
            raise RuntimeError(f"{len(batch.requests)} requests have {len(answers)} answers")
        finite = _all_finite(answers)
        all_tokens = sum(usage.prompt + usage.generated for usage in usages)
        at = 0
        for query, first, end in batch.parts:
            own = slice(at, at + end - first)
            at = own.stop
            tokens = 0
            for place, answer, usage in zip(range(first, end), answers[own], usages[own], strict=True):
                if not finite:
                    _check(query.key, query.requests[place], answer)
                query.answers[place] = answer
                query.cost.prompt_tokens += usage.prompt
                query.cost.generated_tokens += usage.generated
                query.cost.query_cut += usage.query_cut
                tokens += usage.prompt + usage.generated
            count = end - first
            share = tokens / all_tokens if all_tokens else count / len(batch.requests)
            query.cost.calls += count
            query.cost.seconds += seconds * share
            query.missing -= count
            if not query.missing:
                _advance(query, query.answers, active, finished)


_Finished = tuple[str, Ranked, Cost]


def _advance(
    query: _Query,
    answers: list[Answer] | None,
    active: dict[str, _Query],
    finished: list[_Finished],
    error: TooLong | None = None,
) -> None:
    """Send a generator its answers, or throw an error into it, and take its next requests.

    Empty lists of requests are skipped.
    """
    try:
        while True:
            if error is not None:
                requests = query.ranking.throw(error)
            else:
                requests = next(query.ranking) if answers is None else query.ranking.send(answers)
            answers, error = [], None
            if requests:
                break
    except StopIteration as end:
        del active[query.key]
        query.cost.latency = time.perf_counter() - query.started
        if not end.value.reranked:
            query.cost.narrowed, query.cost.unranked = 0, 1
        finished.append((query.key, end.value, query.cost))
        return
    query.requests, query.answers = requests, [None] * len(requests)
    query.sent, query.missing = 0, len(requests)


def _drain(finished: list[_Finished]) -> Iterator[_Finished]:
    ready = list(finished)
    finished.clear()
    yield from ready


def _all_finite(answers: Sequence[Answer]) -> bool:
    """Whether every number of a batch is finite: one check for all answers is cheap."""
    arrays = [answer for answer in answers if isinstance(answer, np.ndarray)]
    numbers = [answer for answer in answers if not isinstance(answer, np.ndarray | list)]
    return bool(np.isfinite(np.concatenate(arrays)).all() if arrays else True) and bool(
        np.isfinite(np.asarray(numbers, np.float64)).all()
    )


def _check(key: str, request: Request, answer: Answer) -> None:
    """Refuse an answer that is not finite, by query and document."""
    values = np.asarray(answer)
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return
    documents = request.question.documents
    if isinstance(request, Labels) and len(documents) == values.size:
        documents = (documents[int(bad[0])],)
    names = [name for document in documents if (name := getattr(document, "doc_id", ""))]
    where = f"query {key!r}" + (f", document {names[0]!r}" if names else "")
    raise RerankError(
        f"{where}: the model answers {values.reshape(-1)[bad[0]]}; a model whose output is not finite cannot "
        "rank (did its training diverge? is DTYPE too narrow?)"
    )
