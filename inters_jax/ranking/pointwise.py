"""Pointwise reranking: one yes-or-no question per document, ranked by the difference of two logits.

The question is the trained one (seqio_tasks.ranking.pointwise_prompt, encoded by seqio_tasks.encoding), so
the scored tokens are exactly those that training predicts behind the prompt:

    score(query, document) = logit(first token of "Yes") - logit(first token of "No")        float32

When a label has several tokens, its whole log-probability is compared instead. A softmax over the two would
give the same order but saturate; the difference of float32 logits keeps documents apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.inference.score import Progress, Scorer
from inters_jax.ranking.collections import RerankError


@dataclass(frozen=True)
class EncodedPairs:
    """Prompts (BOS included) of (query, document) pairs, and what the length rule did to them."""

    prompts: list[list[int]]
    counts: Counter[str] = field(default_factory=Counter)


class PointwiseRanker:
    """Scores documents for queries with the trained relevance question of one task-dataset pair.

    Args:
      scorer: runs the model.
      vocabulary: a seqio_tasks.vocabularies.HuggingFaceVocabulary of the model's tokenizer.
      pair: the catalog pair whose wording is used.
      max_length: longest sequence; documents that do not fit are cut by the length rule.
      template: 0 shows the query first (candidates of a query share the beginning of their prompts, which
        is then encoded once), 1 the document.
    """

    def __init__(
        self,
        scorer: Scorer,
        vocabulary: Any,
        pair: Any,
        *,
        max_length: int,
        separator: str = "\n",
        template: int = 0,
        description: bool = True,
    ):
        self.scorer, self.vocabulary, self.pair = scorer, vocabulary, pair
        # As in the token store: a sequence begins with BOS where the tokenizer has one.
        bos = vocabulary.bos_id
        self.start = [] if bos is None else plain_ids(vocabulary, [bos]).tolist()
        self.max_length, self.separator = max_length, separator
        self.template, self.description = template, description
        probe = self._render("query", {"title": "", "text": "document"})
        self.choices: tuple[str, ...] = probe.choices
        if len(self.choices) != 2:
            raise RerankError(f"template {template} of {pair.name} has no yes-or-no question: {self.choices}")
        ids = [vocabulary.encode_answer(choice) for choice in self.choices]
        self.label_ids = tuple(tuple(plain_ids(vocabulary, one).tolist()) for one in ids)
        check_labels(self.choices, self.label_ids)
        self.example_prompt = probe.inputs() + self.choices[0]

    def encode(self, pairs: Sequence[tuple[str, Any]]) -> EncodedPairs:
        """(query, Document) pairs -> prompts. A pair whose query alone exceeds the limit is refused by
        name."""
        from seqio_tasks.encoding import Encoder

        report: Counter[str] = Counter()
        encoder = Encoder(self.vocabulary, self.max_length, report=report)
        rendered = [self._render(query, document) for query, document in pairs]
        prompts: list[list[int]] = []
        for (query, _), found in zip(
            pairs, encoder.encode(rendered, [self.choices] * len(pairs)), strict=True
        ):
            if not found:
                raise RerankError(
                    f"the question with query {query[:80]!r} exceeds MAX_LENGTH={self.max_length} tokens "
                    "even with its document cut to the minimum; raise MAX_LENGTH"
                )
            prompts.append(self.start + plain_ids(self.vocabulary, found[0].input_ids).tolist())
        return EncodedPairs(prompts, report)

    def score(self, prompts: Sequence[Sequence[int]], progress: Progress | None = None) -> np.ndarray:
        """Relevance of each prompt's document, float32 [prompts]."""
        if all(len(label) == 1 for label in self.label_ids):
            logits = self.scorer.label_logits(
                prompts, [label[0] for label in self.label_ids], progress=progress
            )
            return logits[:, 0] - logits[:, 1]
        items = [(prompt, self.label_ids) for prompt in prompts]
        scores = np.asarray(self.scorer.loglikelihood(items, progress=progress), np.float64).reshape(-1, 2)
        return (scores[:, 0] - scores[:, 1]).astype(np.float32)

    def _render(self, query: str, document: Any) -> Any:
        from seqio_tasks.ranking import pointwise_prompt

        return pointwise_prompt(
            query,
            document,
            self.pair,
            template=self.template,
            description=self.description,
            separator=self.separator,
        )


def check_labels(choices: Sequence[str], label_ids: Sequence[Sequence[int]]) -> None:
    """Two labels can be told apart only when neither is empty and their first tokens differ.

    >>> check_labels(("Yes", "No"), ((5,), (9, 3)))
    """
    if not all(label_ids):
        empty = choices[[bool(ids) for ids in label_ids].index(False)]
        raise RerankError(f"the tokenizer encodes the label {empty!r} as nothing")
    if label_ids[0][0] == label_ids[1][0]:
        raise RerankError(
            f"the labels {choices[0]!r} and {choices[1]!r} begin with the same token "
            f"{label_ids[0][0]}: their logits cannot be compared with this tokenizer"
        )


def order(documents: Sequence[str], scores: np.ndarray) -> tuple[list[str], int]:
    """Documents by score descending, ties in the given (first-stage) order; and how many documents tie.

    First-stage ranks are unique (ties there are already broken by document id), so the order is complete.

    >>> order(["a", "b", "c", "d"], np.float32([0.5, 2.0, 0.5, 0.5]))
    (['b', 'a', 'c', 'd'], 3)
    """
    if len(documents) != len(scores):
        raise ValueError(f"{len(documents)} documents but {len(scores)} scores")
    ranking = np.argsort(-scores.astype(np.float32), kind="stable")
    _, sizes = np.unique(scores.astype(np.float32), return_counts=True)
    return [documents[index] for index in ranking], int(sizes[sizes > 1].sum())
