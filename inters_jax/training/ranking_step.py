"""The ranking part of a training step: scores of the documents of a batch, and their loss.

The documents of a row are listed in slots beside its tokens, as many for every row; those of one query lie in
one row.

    row                            <s> q  d1 ?  Yes </s> <s> q  d2 ?  No  </s>      length 10 (two segments)
    decoder_document_positions      3  8 10 10          the position that predicts the answer; 10 = free slot
    decoder_document_groups         1  1  0  0          the query, from 1 in each row; 0 = free slot
    decoder_document_grades         1  0  0  0
    decoder_document_teacher        0  0  0  0          scores of a teacher, 0 where the store has none

A score is logit(Yes) - logit(No) at its position, which pointwise reranking computes as well. The head runs
for these two tokens only. The answers themselves carry no language-model loss: their weights are 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from inters_jax.training import loss as losses
from inters_jax.training.ranking_losses import RankingLoss

POSITIONS, GROUPS, GRADES, TEACHER = (
    f"decoder_document_{name}" for name in ("positions", "groups", "grades", "teacher")
)
DOCUMENT_KEYS = (POSITIONS, GROUPS, GRADES, TEACHER)
FLOATS = (GRADES, TEACHER)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What a step needs to know of the ranking loss.

    weight: of its mean, beside the mean language-model loss. answers: the tokens whose logits are compared,
    those of Yes and of No. documents: slots of a row.
    """

    loss: RankingLoss
    weight: float
    answers: tuple[int, int]
    documents: int

    def row_sums(self, model: Any, hidden: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """The summed loss terms of every row, float32 [rows].

        Args:
            model: a decoder; `logits(hidden, tokens)` are those of some tokens.
            hidden: [rows, length, embed], after the final norm.
            batch: `DOCUMENT_KEYS`, [rows, documents].
        """
        picked, _ = losses.gather_positions(hidden, batch[POSITIONS])
        logits = model.logits(picked, self.answers)
        return self._by_row(logits[..., 0] - logits[..., 1], batch)[0]

    def terms(self, batch: Mapping[str, jax.Array]) -> jax.Array:
        """The number of loss terms of the whole batch, float32 []; 0 in a batch without documents."""
        return jnp.sum(self._by_row(jnp.zeros_like(batch[GRADES]), batch)[1])

    def _by_row(self, scores: jax.Array, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(self.loss)(scores, batch[GROUPS], batch[GRADES], batch[TEACHER])
