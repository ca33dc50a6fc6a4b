"""Both protocols on the files of an evaluation: predictions.jsonl, run.trec and qrels.txt.

    score(task, records, "standard")     the metrics of the task itself, from its predictions.jsonl
    score(task, records, "paper")        what the released code of the paper computes from the same answers
    score_run(qrels, run, "paper")       the same for a run without predictions.jsonl (rerank)

Pure functions: no model, no tokenizer, no data file. Standard and paper values with the same name are the
same kind of number by two definitions; docs/metrics.md explains the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqio_tasks import catalog
from seqio_tasks.base import UserError, nearest
from seqio_tasks.catalog import Pair
from seqio_tasks.metrics import paper_ranking, paper_text, seqio_metrics
from seqio_tasks.metrics.measures import Measure
from seqio_tasks.metrics.paper import STANDARD, PaperProtocol, protocol_of
from seqio_tasks.metrics.ranking import Qrels, Run, evaluate_run, float32_scores
from seqio_tasks.sources.retrieval_sets import collection

Record = Mapping[str, Any]

YES_NO = ("Yes", "No")
# Results of metric functions that are not measures.
COUNTS = (
    "unparsed", "low_agreement", "examples", "tied", "queries", "queries_missing", "documents", "parts",
)  # fmt: skip
# The label measures of the released code.
_LABELS = ("accuracy", "weighted_f1", "precision_at_1")
# Measures that are means over items, and their names where the mean is not the metric's own.
_PER_ITEM = {
    name: name
    for name in (
        "rouge_1", "rouge_2", "rouge_l", "exact_match", "f1", "trivia_exact_match", "trivia_f1", "quac_f1",
        "quac_heq_q", "set_precision", "set_recall", "set_f1", "accuracy", "accuracy_norm", "precision_at_1",
        "precision_at_1_norm",
    )
}  # fmt: skip
_PER_ITEM |= {name: f"{name} per conversation" for name in ("turn_exact_match", "turn_f1")}
_HEADLINES = ("rouge_l", "set_f1", "turn_f1", "quac_f1", "trivia_f1", "f1")
# Datasets whose released files have the items of a list, not its text.
_ITEMS_RELEASED = ("mimics", "mimics_duo")


def pair_of(task: str) -> Pair:
    """The pair of the catalog of a task in any form, including released tasks.

    Raises:
      UserError: there is none.

    >>> pair_of("inters_query_matching_msrp_choices").name
    'inters_query_matching_msrp'
    >>> pair_of("inters_released_fact_retrieval_fever_rerank").name
    'inters_fact_retrieval_fever'
    """
    name = task.replace("inters_released_", "inters_", 1)
    found = catalog.pair_of(name)
    if found is None:
        near = nearest(name, (pair.name for pair in (*catalog.known(), *catalog.EVALUATION_ONLY)), most=1)
        raise UserError(f"task {task!r} belongs to no pair of the catalog{near}")
    return found


def headline(task: str, protocol: str | PaperProtocol = "standard") -> str:
    """The measure of a task that enters averages over tasks.

    The paper averages one measure per dataset, but does not say which: these are the usual ones.

    >>> headline("inters_conversational_qa_coqa"), headline("inters_conversational_qa_coqa", "paper")
    ('turn_f1', 'accuracy')
    """
    pair, switches = pair_of(task), protocol_of(protocol)
    if pair.kind == "rank":
        return "nDCG@10" if "nDCG@10" in pair.metrics else pair.metrics[0]
    if pair.kind == "classify":
        return "precision_at_1" if pair.multi_label else "accuracy"
    if switches != STANDARD:
        if pair.task == "conversational_qa":
            return "accuracy"
        if "trivia_f1" in pair.metrics:
            return "f1"
    return next((name for name in _HEADLINES if name in pair.metrics), pair.metrics[0])


def score(
    task: str,
    records: Sequence[Record],
    protocol: str | PaperProtocol = "standard",
    *,
    qrels: Qrels | None = None,
) -> dict[str, float]:
    """Metrics of one task, without counts.

    records: the lines of its predictions.jsonl (`TaskResult.examples`): generated answers ("prediction",
        "references", "targets_pretokenized"), scored labels ("score", "choice", "gold") or scored documents
        ("score", "choice", "query_id", "doc_id", "first_stage_rank"; needs qrels, those of its qrels.txt).
    """
    switches = protocol_of(protocol)
    pair = pair_of(task)
    if not records:
        raise UserError(f"{task}: no records to score")
    if "query_id" in records[0] and "score" in records[0]:
        if qrels is None:
            raise UserError(f"{task} ranks documents: pass its judgments, qrels=read_qrels('.../qrels.txt')")
        found = _reranked(pair, records, switches, qrels)
    elif "gold" in records[0]:
        found = _chosen(pair, records, switches)
    else:
        found = _generated(pair, records, switches)
    return {name: value for name, value in found.items() if name not in COUNTS}


def per_item(
    task: str, records: Sequence[Record], *, qrels: Qrels | None = None
) -> dict[str, dict[str, float]]:
    """measure -> item -> value in the standard protocol, for the measures that are means over items.

    Items are queries where documents are ranked, conversations for measures of turns (whose mean weights all
    conversations equally), and examples otherwise. Corpus measures (BLEU, macro and weighted F1) have no
    values per item, nor do the questions left out by QuAC's measures.
    """
    pair = pair_of(task)
    found: dict[str, dict[str, float]] = {}
    if records and "query_id" in records[0] and "score" in records[0]:
        if qrels is None:
            raise UserError(f"{task} ranks documents: pass its judgments, qrels=read_qrels('.../qrels.txt')")
        run, first_stage = _candidates(records)
        ranks = {
            query: paper_ranking.places(query, {document: run[query][document] for document in own})
            for query, own in first_stage.items()
        }
        return evaluate_run(qrels, ranks, pair.metrics).per_query
    groups: dict[str, list[Record]] = {}
    scored = bool(records) and "gold" in records[0]
    for record in records:
        groups.setdefault(record["example_id"], []).append(record)
    names = [name for name in _names(pair) if name in _PER_ITEM]
    for item, own in groups.items():
        if len(own) > 1 and not scored:
            raise UserError(f"{task}: {len(own)} records have the example_id {item!r}; one is expected")
        values = _chosen(pair, own, STANDARD) if scored else _standard(pair, own, names)
        for name, value in values.items():
            shown = _PER_ITEM.get(name, "")
            if shown and not (name in seqio_metrics.QUAC and values["low_agreement"]):
                found.setdefault(shown, {})[item] = value
    return found


def score_run(
    qrels: Qrels,
    run: Run,
    protocol: str | PaperProtocol = "standard",
    *,
    measures: Sequence[str | Measure] = paper_ranking.MEASURES,
    first_stage: Mapping[str, Sequence[str]] | None = None,
    differences: bool = False,
    method: str = paper_ranking.POINTWISE,
    depth: int | None = None,
    prefixes: Sequence[str] = (),
) -> dict[str, float]:
    """Ranking measures of a run.

    run: query id -> document id -> score.
    first_stage: query id -> the same documents in first-stage order: in both protocols equal scores keep that
        order, as in rerank. None: the order of equal scores follows the protocol.
    differences: the scores are log p(Yes) - log p(No), which the paper's protocol turns into probabilities.
    method: how the run was made ("pointwise", "pairwise", ...); depth: candidates per query; prefixes: of the
        query ids of each part of a collection; see paper_ranking.
    """
    switches = protocol_of(protocol)
    for query, scores in run.items():
        float32_scores(query, scores)  # refuses scores that are not finite
    if differences and switches.saturated_scores:
        run = {
            query: {document: paper_ranking.probability_of_yes(score) for document, score in scores.items()}
            for query, scores in run.items()
        }
    if first_stage is not None:
        given = {query: {d: scores[d] for d in first_stage[query]} for query, scores in run.items()}
        run = {query: paper_ranking.places(query, scores) for query, scores in given.items()}
    return paper_ranking.ranking_scores(
        qrels, run, measures, switches, method=method, depth=depth, prefixes=prefixes
    )


def _standard(pair: Pair, records: Sequence[Record], names: Sequence[str]) -> dict[str, float]:
    targets = [
        {"target": str(record["targets_pretokenized"]).strip(), "references": list(record["references"])}
        for record in records
    ]
    predictions = [str(record["prediction"]).strip() for record in records]
    return seqio_metrics.generation_scores(targets, predictions, names=names, label_set=pair.labels)


def _names(pair: Pair) -> tuple[str, ...]:
    """Metrics of generated answers; ranking prompts have short answers: Yes, a number, an order."""
    return pair.metrics if pair.kind != "rank" else ("exact_match",)


def _generated(pair: Pair, records: Sequence[Record], switches: PaperProtocol) -> dict[str, float]:
    names = _names(pair)
    if switches == STANDARD or pair.kind != "generate":
        found = _standard(pair, records, names)
        return found if switches == STANDARD else _as_released(pair, found)
    predictions = [str(record["prediction"]).strip() for record in records]
    targets = [str(record["targets_pretokenized"]).strip() for record in records]
    references = [list(record["references"]) for record in records]
    if pair.task == "conversational_qa" and switches.literal_turns:
        return paper_text.turn_accuracy(targets, predictions)
    first = [[target] for target in targets] if switches.first_reference else references
    if "bleu_1" in names or "rouge_1" in names:
        found = {}
        for name in names:
            if name in seqio_metrics.BLEU:
                order = seqio_metrics.BLEU[name]
                found[name] = paper_text.bleu(first, predictions, order, switches)
            else:
                kind = seqio_metrics.ROUGE[name]
                found[name] = paper_text.rouge(first, predictions, [kind])[kind]
        return found
    if pair.task == "reading_comprehension":
        trivia = pair.dataset == "trivia_qa"
        return paper_text.answer_scores(references, predictions, switches, trivia=trivia)
    if "set_f1" in names:
        released = pair.dataset in _ITEMS_RELEASED
        return paper_text.list_scores(targets, predictions, switches, gold_is_list=released)
    return _standard(pair, records, names)


def _chosen(pair: Pair, records: Sequence[Record], switches: PaperProtocol) -> dict[str, float]:
    """Scores of labels; both protocols choose the label with the greatest sum of log-probabilities."""
    targets = [
        {
            "example_id": record["example_id"],
            "choice": str(record["targets_pretokenized"]).strip(),
            "gold": record["gold"],
        }
        for record in records
    ]
    scores = [record["score"] for record in records]
    found = seqio_metrics.choice_scores(targets, scores, label_set=pair.labels, multi_label=pair.multi_label)
    return found if switches == STANDARD else _as_released(pair, found)


def _as_released(pair: Pair, found: dict[str, float]) -> dict[str, float]:
    if pair.kind != "classify":
        return found
    return {name: value for name, value in found.items() if name in _LABELS}


def _reranked(
    pair: Pair, records: Sequence[Record], switches: PaperProtocol, qrels: Qrels
) -> dict[str, float]:
    prefixes = collection(pair.dataset).prefixes
    if switches == STANDARD:
        targets = [
            {
                "split": "",
                "query_id": record["query_id"],
                "doc_id": record["doc_id"],
                "first_stage_rank": record["first_stage_rank"],
                "choice": YES_NO[int(record["choice"])],
            }
            for record in records
        ]
        return seqio_metrics.rerank_scores(
            targets,
            [record["score"] for record in records],
            measures=pair.metrics,
            qrels=lambda split: qrels,
            choices=YES_NO,
            prefixes=prefixes,
        )
    if prefixes and switches.ten_candidates:
        few = paper_ranking.FEW_CANDIDATES
        records = [record for record in records if record["first_stage_rank"] <= few]
    run, first_stage = _candidates(records)
    return score_run(qrels, run, switches, first_stage=first_stage, differences=True, prefixes=prefixes)


def _candidates(
    records: Sequence[Record],
) -> tuple[dict[str, dict[str, float]], dict[str, list[str]]]:
    """(query -> document -> log p(Yes) - log p(No), query -> documents in the order of the first stage)."""
    run: dict[str, dict[str, float]] = {}
    ranks: dict[str, dict[str, int]] = {}
    for record in records:
        query, document = record["query_id"], record["doc_id"]
        scores = run.setdefault(query, {})
        sign = 1.0 if int(record["choice"]) == 0 else -1.0
        scores[document] = scores.get(document, 0.0) + sign * record["score"]
        ranks.setdefault(query, {})[document] = record["first_stage_rank"]
    return run, {query: sorted(own, key=own.__getitem__) for query, own in ranks.items()}
