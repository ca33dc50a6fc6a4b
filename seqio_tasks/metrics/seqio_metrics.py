"""The metric functions of the SeqIO tasks: thin adapters from the Evaluator's arguments to `metrics`.

Signatures are SeqIO's: `(targets, predictions)` for generated text, `(targets, scores)` for log-likelihoods.
The targets are the results of `postprocess`:

    generation   {"target": text, "references": [text, ...]}
    choices      {"example_id", "choice": the label of the row, "gold": the correct label,
                  or several: "a, b"}
    reranking    {"split", "query_id", "doc_id", "first_stage_rank", "choice": "Yes" or "No"}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from seqio_tasks.base import UserError
from seqio_tasks.metrics import answers, labels, lists, text
from seqio_tasks.metrics.measures import parse_measure
from seqio_tasks.metrics.ranking import Qrels, evaluate_run

Target = Mapping[str, Any]

BLEU = {"bleu_1": 1, "bleu_2": 2, "bleu": 4}
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
_ANSWERS = ("exact_match", "f1")
_TRIVIA = ("trivia_exact_match", "trivia_f1")
QUAC = ("quac_f1", "quac_heq_q")
_LABELS = ("accuracy", "macro_f1", "weighted_f1")
_MULTI_LABEL = ("precision_at_1",)
_LISTS = ("set_precision", "set_recall", "set_f1")
_TURNS = ("turn_exact_match", "turn_f1")
FREE_TEXT = (*BLEU, *ROUGE, *_ANSWERS, *_TRIVIA, *_LISTS)  # of any answers
GENERATION = (*FREE_TEXT, *QUAC, *_LABELS, *_MULTI_LABEL, *_TURNS)


def generation_metric(names: Sequence[str], label_set: Sequence[str] = ()) -> Callable[..., dict[str, float]]:
    """The metric function of a generation task, for names among GENERATION.

    >>> metric = generation_metric(("exact_match",))
    >>> metric([{"target": "Paris", "references": ["Paris", "Paris, France"]}], ["paris."])
    {'exact_match': 100.0}
    """
    for name in names:
        if name not in GENERATION:
            raise ValueError(f"unknown metric {name!r} for generated text; known: {', '.join(GENERATION)}")
        if name in (*_LABELS, *_MULTI_LABEL) and not label_set:
            raise ValueError(f"metric {name!r} needs the label set of the task")
    return functools.partial(generation_scores, names=tuple(names), label_set=tuple(label_set))


def generation_scores(
    targets: Sequence[Target],
    predictions: Sequence[str],
    *,
    names: Sequence[str],
    label_set: Sequence[str] = (),
) -> dict[str, float]:
    """Scores of generated texts, in 0..100 and in the order of `names`.

    For labels, unparsed predictions are counted as well; for QuAC, the questions left out.
    """
    references = [list(target["references"]) for target in targets]
    found: dict[str, float] = {}
    result: dict[str, float] = {}
    for name in names:
        if name in BLEU:
            found[name] = text.bleu(references, predictions, max_order=BLEU[name])
    if wanted := [ROUGE[name] for name in names if name in ROUGE]:
        scores = text.rouge(references, predictions, wanted)
        found |= {name: scores[ROUGE[name]] for name in names if name in ROUGE}
    if any(name in _ANSWERS for name in names):
        found |= answers.squad(references, predictions)
    if any(name in _TRIVIA for name in names):
        found |= answers.trivia(references, predictions)
    if any(name in QUAC for name in names):
        found |= answers.quac(references, predictions)
        result["low_agreement"] = found["low_agreement"]
    if any(name in _LISTS for name in names):
        wanted_lists = [lists.parse_list(target["target"]) for target in targets]
        found |= lists.set_scores(wanted_lists, [lists.parse_list(prediction) for prediction in predictions])
    if any(name in _TURNS for name in names):
        found |= lists.turn_scores(references, predictions)
    if any(name in _LABELS for name in names):
        stated = [labels.parse_label(prediction, label_set) for prediction in predictions]
        found |= labels.classification([target["target"] for target in targets], stated, label_set)
        result["unparsed"] = found["unparsed"]
    if any(name in _MULTI_LABEL for name in names):
        gold = [labels.split_labels(target["target"]) for target in targets]
        first = [labels.parse_label(prediction.partition(",")[0], label_set) for prediction in predictions]
        found |= labels.precision_at_1(gold, first, label_set)
        result["unparsed"] = found["unparsed"]
    return {name: found[name] for name in names} | result


def choice_metric(label_set: Sequence[str], *, multi_label: bool = False) -> Callable[..., dict[str, float]]:
    """The metric function of a task whose rows are (example, label) pairs, for scoring."""
    return functools.partial(choice_scores, label_set=tuple(label_set), multi_label=multi_label)


def choice_scores(
    targets: Sequence[Target], scores: Any, *, label_set: Sequence[str], multi_label: bool = False
) -> dict[str, float]:
    """accuracy, macro_f1, weighted_f1 of the label with the greatest log-likelihood of each example.

    scores: float [rows]. Among equal scores the first label of the set wins; such examples are counted.
    multi_label: "gold" lists all correct labels; precision_at_1 is computed instead. accuracy_norm and
    precision_at_1_norm use the greatest log-likelihood per byte of the label, because longer labels have
    smaller sums.
    """
    values = _scores(targets, scores)
    by_example: dict[str, dict[str, float]] = {}
    gold: dict[str, str] = {}
    for target, value in zip(targets, values, strict=True):
        own = by_example.setdefault(target["example_id"], {})
        if target["choice"] in own:
            raise ValueError(f"{target['example_id']}: label {target['choice']!r} is scored twice")
        own[target["choice"]] = value
        gold[target["example_id"]] = target["gold"]
    predicted, by_length = [], []
    lengths = {label: len(label.encode()) for label in label_set}
    tied = 0
    for example_id, own in by_example.items():
        if missing := [label for label in label_set if label not in own]:
            raise ValueError(f"{example_id}: no score for the label {missing[0]!r}")
        best = max(own.values())
        leaders = [label for label in label_set if own[label] == best]
        tied += len(leaders) > 1
        predicted.append(leaders[0])
        per_byte = {label: own[label] / lengths[label] for label in label_set}
        by_length.append(max(per_byte, key=per_byte.__getitem__))
    counts = {"examples": float(len(gold)), "tied": float(tied)}
    if multi_label:
        holding = [labels.split_labels(text) for text in gold.values()]
        found = labels.precision_at_1(holding, predicted, label_set)
        normed = labels.precision_at_1(holding, by_length, label_set)["precision_at_1"]
        return {name: found[name] for name in _MULTI_LABEL} | {"precision_at_1_norm": normed} | counts
    found = labels.classification(list(gold.values()), predicted, label_set)
    normed = labels.classification(list(gold.values()), by_length, label_set)["accuracy"]
    return {name: found[name] for name in _LABELS} | {"accuracy_norm": normed} | counts


def rerank_metric(
    measures: Sequence[str],
    qrels: Callable[[str], Qrels],
    choices: Sequence[str] = ("Yes", "No"),
    prefixes: Sequence[str] = (),
) -> Callable[..., dict[str, float]]:
    """The metric function of pointwise reranking.

    qrels: split -> all judgments of that split, so that queries and relevant documents missed by the first
        stage count as well.
    prefixes: of the query ids of each part of a collection (forums); measures are computed for each part and
        averaged over the parts with queries. Empty: one collection.
    """
    for measure in measures:
        parse_measure(measure)
    return functools.partial(
        rerank_scores,
        measures=tuple(measures),
        qrels=qrels,
        choices=tuple(choices),
        prefixes=tuple(prefixes),
    )


def rerank_scores(
    targets: Sequence[Target],
    scores: Any,
    *,
    measures: Sequence[str],
    qrels: Callable[[str], Qrels],
    choices: Sequence[str],
    prefixes: Sequence[str] = (),
) -> dict[str, float]:
    """Ranking measures in 0..1 of the order by log-likelihood("Yes") - log-likelihood("No").

    scores: float [rows], two rows for each (query, document). Ties keep the first-stage order.
    prefixes: of the parts of a collection; measures are means over its parts.
    """
    values = _scores(targets, scores)
    splits = {target["split"] for target in targets}
    if len(splits) != 1:
        raise ValueError(f"rows of several splits cannot be ranked together: {sorted(splits)}")
    by_pair: dict[tuple[str, str], dict[str, float]] = {}
    first_stage: dict[tuple[str, str], int] = {}
    for target, value in zip(targets, values, strict=True):
        pair = (target["query_id"], target["doc_id"])
        by_pair.setdefault(pair, {})[target["choice"]] = value
        first_stage[pair] = int(target["first_stage_rank"])
    candidates: dict[str, list[tuple[float, int, str]]] = {}
    for (query, document), own in by_pair.items():
        if set(own) != set(choices):
            raise ValueError(
                f"query {query!r}, document {document!r}: scored are {sorted(own)}, not {choices}"
            )
        difference = float(np.float32(own[choices[0]] - own[choices[1]]))
        candidates.setdefault(query, []).append((-difference, first_stage[query, document], document))
    tied = 0
    run = {}
    for query, entries in candidates.items():
        entries.sort()
        differences = [entry[0] for entry in entries]
        tied += len(differences) - len(set(differences))
        run[query] = {document: float(len(entries) - place) for place, (_, _, document) in enumerate(entries)}
    judged = qrels(splits.pop())
    results = []
    for prefix in prefixes or ("",):
        graded = {query: judged[query] for query in judged if query.startswith(prefix)}
        if graded or not prefixes:
            part = {query: found for query, found in run.items() if query.startswith(prefix)}
            results.append(evaluate_run(graded, part, measures))
    means = {name: sum(result.means[name] for result in results) / len(results) for name in results[0].means}
    counts = {
        name: float(sum(result.counts[name] for result in results))
        for name in ("queries", "queries_missing", "documents")
    }
    return means | counts | {"tied": float(tied)} | ({"parts": float(len(results))} if prefixes else {})


def _scores(targets: Sequence[Target], scores: Any) -> list[float]:
    """One finite float per target; SeqIO passes (scores, intermediates) as a tuple."""
    values = np.asarray(scores[0] if isinstance(scores, tuple) else scores, np.float64)
    if values.shape != (len(targets),):
        raise ValueError(f"{len(targets)} rows, but scores of shape {values.shape}")
    if not targets:
        raise ValueError("no rows to score")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise UserError(f"row {row} ({dict(targets[row])}) has the score {values[row]}, which is not finite")
    found: list[float] = values.tolist()
    return found
