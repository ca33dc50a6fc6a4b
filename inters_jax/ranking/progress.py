"""The progress of a reranking on the terminal, in documents."""

from __future__ import annotations

from tqdm import tqdm


class DocumentBar:
    """A bar that moves with every model call.

    The documents of a query are ranked when its last request is answered, which can be minutes after the
    first one. Until then its answers count as the documents that as many requests of finished queries ranked.

    Args:
      documents: the number of documents to rank.
    """

    def __init__(self, documents: int) -> None:
        self.bar = tqdm(total=documents, unit="doc", desc="rerank", mininterval=1.0)
        self._total, self._shown = documents, 0
        self._ranked = self._paid = 0  # documents of finished queries, and the requests that these took
        self._answered = self._current = 0  # requests of finished batches, and of the one under way

    def prompts(self, count: int) -> None:
        """So many prompts more of the current batch were answered."""
        self._current += count
        self._show()

    def batch(self, requests: int) -> None:
        """A batch of so many requests was answered."""
        self._answered, self._current = self._answered + requests, 0
        self._show()

    def query(self, documents: int, requests: int) -> None:
        """A query was ranked: its documents, and the requests that it took."""
        self._ranked, self._paid = self._ranked + documents, self._paid + requests
        self._show()

    def _show(self) -> None:
        answered = self._answered + self._current
        worth = self._ranked / self._paid if self._paid else 0.0
        estimate = self._ranked + int(max(0, answered - self._paid) * worth)
        documents = max(self._shown, min(self._total, estimate))
        self.bar.set_postfix(calls=answered, refresh=False)
        self.bar.update(documents - self._shown)
        self._shown = documents

    def __enter__(self) -> DocumentBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
