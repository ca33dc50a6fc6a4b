"""BLEU and ROUGE of generated text, by sacrebleu and google's rouge-score.

References are lists, one or more per item. Both packages are imported when first used.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

from seqio_tasks.metrics import answers

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def bleu(
    references: Sequence[Sequence[str]],
    predictions: Sequence[str],
    *,
    max_order: int = 4,
    tokenize: str = "13a",
) -> float:
    """Corpus BLEU in 0..100: sacrebleu, exponential smoothing, case kept.

    references: [items][1 or more]; items may have different numbers of references.
    """
    answers.check_items(references, predictions)
    return float(_bleu(max_order, tokenize).corpus_score(list(predictions), _transposed(references)).score)


def rouge(
    references: Sequence[Sequence[str]],
    predictions: Sequence[str],
    types: Sequence[str] = ("rouge1", "rouge2", "rougeL"),
) -> dict[str, float]:
    """Mean F-measures in 0..100 with stemming; the best reference counts, separately for each type.

    "rougeLsum" compares line by line, so each sentence must be on its own line.
    """
    answers.check_items(references, predictions)
    scorer = _rouge(tuple(types))
    totals = dict.fromkeys(types, 0.0)
    for own, prediction in zip(references, predictions, strict=True):
        scored = [scorer.score(reference, prediction) for reference in own]
        for kind in types:
            totals[kind] += max(score[kind].fmeasure for score in scored)
    return {kind: 100.0 * total / len(predictions) for kind, total in totals.items()}


def _transposed(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """[items][references] -> [references][items], None where an item has fewer."""
    return [list(stream) for stream in itertools.zip_longest(*references)]


@functools.cache
def _bleu(max_order: int, tokenize: str) -> Any:
    import sacrebleu

    # Without `force` sacrebleu warns about text that looks tokenised; the datasets' texts are used as they
    # are.
    return sacrebleu.BLEU(max_ngram_order=max_order, tokenize=tokenize, force=True)


@functools.cache
def _rouge(types: tuple[str, ...]) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(types), use_stemmer=True)
