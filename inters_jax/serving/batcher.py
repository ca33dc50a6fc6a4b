"""Dynamic batching: requests that arrive together are ranked together.

    clients ── submit ──▶ queue (bounded) ──▶ one worker thread ──▶ Reranker.rank_batch ──▶ futures

The worker takes up to `max_batch` waiting requests and ranks them in one batch; new ones queue meanwhile.
There is no timer: a lone request starts at once. A full queue refuses requests (`Busy`), so memory and
waiting times stay bounded. A request that cannot be ranked fails alone.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from inters_jax.ranking.reranker import RankedResults


class Busy(RuntimeError):
    """No further request is accepted: the queue is full, or the server is ending."""


class Ranker(Protocol):
    """The part of a Reranker that the batcher uses."""

    def rank_batch(
        self, queries: Sequence[str], docs: Sequence[Sequence[Any]]
    ) -> Sequence[RankedResults]: ...


@dataclass
class Statistics:
    """Counters since the start of the server, for /metrics.

    busy_seconds: time the worker spent ranking; latency_seconds: sum over the ranked requests, of which
    `latencies` holds the last; abandoned: requests cancelled before they were ranked.
    """

    requests: int = 0
    documents: int = 0
    prompt_tokens: int = 0
    failures: int = 0
    refused: int = 0
    batches: int = 0
    busy_seconds: float = 0.0
    latency_seconds: float = 0.0
    abandoned: int = 0
    latencies: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=2048))


@dataclass(frozen=True, eq=False)
class _Waiting:
    query: str
    documents: Sequence[Any]
    arrived: float
    future: Future[RankedResults]


class Batcher:
    """One worker thread that ranks queued requests in batches.

    Args:
      ranker: ranks several queries at once.
      max_batch: most requests in a batch.
      max_waiting: most requests in the queue; more are refused.
      max_batch_documents: most documents in a batch of several requests. A batch cannot be stopped, so this
        bounds the time spent on clients that disconnect meanwhile.
    """

    def __init__(
        self, ranker: Ranker, *, max_batch: int = 32, max_waiting: int = 256, max_batch_documents: int = 1000
    ) -> None:
        if max_batch < 1 or max_waiting < 1:
            raise ValueError(f"max_batch and max_waiting must be at least 1, got {max_batch}, {max_waiting}")
        self.ranker, self.max_batch, self.max_waiting = ranker, max_batch, max_waiting
        self.max_batch_documents = max_batch_documents
        self.statistics = Statistics()
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._change = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="reranker", daemon=True)
        self._worker.start()

    def submit(self, query: str, documents: Sequence[Any]) -> Future[RankedResults]:
        """Queue one query; the future holds its ranking. Cancelling it takes the query out of the queue.

        Raises:
          Busy: the queue is full, or the batcher is closed.
        """
        with self._change:
            if self._closed:
                raise Busy("the reranker is being shut down")
            if len(self._waiting) >= self.max_waiting:
                self.statistics.refused += 1
                raise Busy(f"{self.max_waiting} requests are waiting already; try again in a moment")
            request = _Waiting(query, documents, time.perf_counter(), Future())
            self._waiting.append(request)
            self._change.notify()
        request.future.add_done_callback(lambda future: self._forget(request) if future.cancelled() else None)
        return request.future

    def _forget(self, request: _Waiting) -> None:
        with self._change:
            self.statistics.abandoned += 1
            with contextlib.suppress(ValueError):  # the worker has taken it
                self._waiting.remove(request)

    @property
    def waiting(self) -> int:
        """Number of queued requests."""
        return len(self._waiting)

    def close(self, timeout: float | None = None) -> None:
        """Rank the queued requests, then end the worker.

        Args:
          timeout: seconds to wait for it; None: no limit.
        """
        with self._change:
            self._closed = True
            self._change.notify()
        self._worker.join(timeout)

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                batch = self._next_batch()
            if not batch:
                return
            # Requests of clients that disconnected are cancelled and not ranked.
            batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if batch:
                self._rank(batch)

    def _next_batch(self) -> list[_Waiting]:
        """Take the requests of the next batch from the queue; the lock is held."""
        batch: list[_Waiting] = []
        documents = 0
        while self._waiting and len(batch) < self.max_batch:
            documents += len(self._waiting[0].documents)
            if batch and documents > self.max_batch_documents:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _rank(self, batch: Sequence[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            found = self.ranker.rank_batch([one.query for one in batch], [one.documents for one in batch])
        except Exception as error:
            if len(batch) > 1:  # one of them cannot be ranked: find out which
                for one in batch:
                    self._rank([one])
                return
            self.statistics.failures += 1
            batch[0].future.set_exception(error)
            return
        ended = time.perf_counter()
        self.statistics.batches += 1
        self.statistics.busy_seconds += ended - started
        for one, results in zip(batch, found, strict=True):
            self.statistics.requests += 1
            self.statistics.documents += len(results)
            self.statistics.prompt_tokens += results.cost.prompt_tokens
            self.statistics.latencies.append(ended - one.arrived)
            self.statistics.latency_seconds += ended - one.arrived
            one.future.set_result(results)
