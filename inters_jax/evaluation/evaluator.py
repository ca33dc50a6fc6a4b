"""The bridge to seqio.Evaluator: a Generator answers its predict_fn, a Scorer its score_fn.

    seqio.Task -> seqio.Evaluator -> predict_fn(dataset) -> [(index, token ids), ...]   ->
    metric_fns(targets, predictions)
                                  -> score_fn(dataset)   -> [(index, log p), ...]       ->
                                  metric_fns(targets, scores)

Known traps of seqio.Evaluator and what is done about them here:

* ragged predictions break it: all predictions of a task are padded with EOS to one length;
* one failed metric poisons it: every task gets an evaluator of its own;
* it pads every example to the longest of the task: a feature converter that converts nothing hands over the
  plain examples, and the model side groups them by length itself;
* a limit on examples would cut a question off from its answers: limits are counted in whole questions.

A sequence is [BOS, if the tokenizer has one] + inputs + targets, as in the token store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.evaluation import target_loss as target_losses
from inters_jax.evaluation.bridge import Bridge
from inters_jax.evaluation.records import Records
from inters_jax.inference.generate import Generator
from inters_jax.inference.score import Scorer
from seqio_tasks.base import UserError

# What metric functions return beside measures.
COUNTS = frozenset(
    {"examples", "tied", "unparsed", "low_agreement", "queries", "queries_missing", "documents"}
)


@dataclass
class TaskResult:
    """What judging one task gave.

    metrics, paper_metrics: by the protocols `standard` (the task's own metric functions) and `paper`.
    counts: items (rows), questions (rows that share a prompt are one), truncated answers and so on.
    examples: one record per row of the task: texts, evaluation fields, `target` (what the metric functions
      get), `prediction` and/or `score`.
    run: query id -> document id -> score in ranking order, and qrels, for tasks that rank documents.
    """

    task: str
    metrics: dict[str, float]
    counts: dict[str, int | float]
    examples: Records = field(default_factory=Records)
    run: dict[str, dict[str, float]] | None = None
    qrels: Mapping[str, Mapping[str, int]] | None = None
    paper_metrics: dict[str, float] = field(default_factory=dict)

    def split_counts(self) -> None:
        """Moves what metric functions count (unparsed answers, ties, ...) from the metrics to the counts."""
        for name in COUNTS & self.metrics.keys():
            self.counts[name] = int(self.metrics.pop(name))


class Judge:
    """Judges tasks with one model: seqio.Evaluator asks, Generator and Scorer answer.

    Args:
      loaded: a LoadedModel.
      vocabulary: the HuggingFaceTokenizer of its tokenizer; gives BOS, as in training.
      max_new_tokens: limit of a generated answer.
      batch_tokens: tokens that the model sees at once, the memory knob.
      chunk_rows: rows of our own tasks that are answered, written down and forgotten together.
      decoding: further arguments of `Generator` (sampling, stop strings); greedy when there are none.
      target_loss: also measure how probable the right answers are (`inters_jax.evaluation.target_loss`).
    """

    def __init__(
        self,
        loaded: Any,
        vocabulary: Any,
        *,
        max_new_tokens: int = 256,
        batch_tokens: int = 8192,
        chunk_rows: int = 4096,
        decoding: Mapping[str, Any] | None = None,
        target_loss: bool = False,
    ):
        if jax.process_count() > 1:
            raise UserError("evaluation runs in one process; start it on one host (its devices are all used)")
        # The model's own ends, and that of the assistant's turn where a chat template is in force.
        known = plain_ids(vocabulary, vocabulary.end_ids).tolist()
        ends = [loaded.eos_id, *loaded.config.stop_ids, *known]
        self.ends = {int(end) for end in ends if end is not None}
        self.generator = Generator(
            loaded,
            max_new_tokens=max_new_tokens,
            batch_tokens=batch_tokens,
            **({"eos_ids": ends} | dict(decoding or {})),
        )
        self.scorer = Scorer(loaded, batch_tokens=batch_tokens)
        self.start = [] if vocabulary.bos_id is None else plain_ids(vocabulary, [vocabulary.bos_id]).tolist()
        self.chunk_rows, self.max_new_tokens = chunk_rows, max_new_tokens
        self.max_position = loaded.config.max_position
        self.target_loss = target_loss
        self.progress: Any = None  # a callable that gets a number of finished prompts

    def use(self, model: Any) -> None:
        """Go on with other parameters of the same model; nothing is compiled again."""
        self.generator.use(model)
        self.scorer.use(model)

    def is_cut(self, prompt: int, answer: Sequence[int]) -> bool:
        """Whether an answer to a prompt of so many tokens ended at the length limit."""
        limit = min(self.max_new_tokens, self.max_position - prompt)
        return len(answer) >= limit and answer[-1] not in self.ends

    def run(
        self,
        task_name: str,
        split: str,
        *,
        questions: int | None = None,
        seed: int = 0,
        folder: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> TaskResult:
        """Judge one registered task (not a mixture) by its own metric_fns.

        Args:
          task_name: of the task.
          split: to judge on.
          questions: limits the evaluation to the first so many prompts, or queries where documents are
            ranked.
          seed: of the task's dataset.
          folder: where the answers are written while they are given, so that an interrupted evaluation goes
            on where it stopped; None keeps them in memory.
          settings: what the answers belong to, beside task, split, questions and seed.
        """
        import seqio

        task = seqio.get_mixture_or_task(task_name)
        if not isinstance(task, seqio.Task):
            raise UserError(f"{task_name} is a mixture; judge its tasks one by one")
        if split not in task.splits:
            raise UserError(f"{task_name} has no split {split!r}; it has {', '.join(task.splits)}")
        if not task.metric_fns and not task.metric_objs:
            raise UserError(f"{task_name} has no metrics: nothing can be measured")
        rows = None if questions is None else _rows_of(task, split, questions, seed)
        identity = {"task": task_name, "split": split, "rows": rows, "seed": seed, **(settings or {})}
        bridge = Bridge(self, task, Records(folder, identity))
        form = getattr(task, "form", None)
        if getattr(form, "rerank", False):
            result = self._streamed(bridge, split, rows, seed)
        else:
            metrics = self._by_evaluator(bridge, split, rows, seed)
            result = TaskResult(task_name, metrics, bridge.counts, bridge.records)
        bridge.records.finish()
        result.split_counts()
        if self.target_loss:
            result.metrics |= target_losses.measures(result.examples)
        result.paper_metrics = paper_metrics(task_name, result.examples, result.qrels)
        return result

    def _by_evaluator(self, bridge: Bridge, split: str, rows: int | None, seed: int) -> dict[str, float]:
        import seqio

        name = bridge.task.name
        evaluator = seqio.Evaluator(
            name,
            feature_converter=plain_converter(),
            eval_split=split,
            num_examples=rows,
            seed=seed,
            async_compute_metrics=False,
        )
        future, _ = evaluator.evaluate(compute_metrics=True, predict_fn=bridge.predict, score_fn=bridge.score)
        return {name: as_number(value) for name, value in future.result()[name].items()}

    def _streamed(self, bridge: Bridge, split: str, rows: int | None, seed: int) -> TaskResult:
        """What seqio.Evaluator does, without its copy of the dataset in memory.

        Rerank tasks have a row for every (query, candidate, label): hundreds of thousands, of which only
        the few fields that the metric functions look at are kept. With a limit on questions the measures are
        taken over the judgments of the queries that were ranked: those left out would count as not found.
        """
        from seqio_tasks import row_source

        task = bridge.task
        dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False, seed=seed, num_epochs=1)
        dataset = dataset.take(rows) if rows is not None else dataset
        bridge.score(dataset.enumerate())
        run = ranking(bridge.records)
        qrels = row_source.read_qrels(task.pair, split)
        if rows is not None:
            qrels = {query: qrels[query] for query in run}
        metrics = rerank_metrics(task, bridge.records, qrels)
        return TaskResult(task.name, metrics, bridge.counts, bridge.records, run, qrels)


def rerank_metrics(
    task: Any, records: Iterable[Mapping[str, Any]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """The task's own metrics of the scores in its records, against the given judgments."""
    pairs = [(record["target"], record["score"]) for record in records]
    targets, scores = [target for target, _ in pairs], [score for _, score in pairs]
    found: dict[str, float] = {}
    for metric in task.score_metric_fns:
        found |= metric(targets, scores, qrels=lambda split: qrels)
    return {name: as_number(value) for name, value in found.items()}


def paper_metrics(
    task: str, records: Iterable[Mapping[str, Any]], qrels: Mapping[str, Mapping[str, int]] | None
) -> dict[str, float]:
    """The same answers by the protocol `paper`; nothing for tasks that are not of the catalog."""
    from seqio_tasks.metrics import protocols

    try:
        protocols.pair_of(task)
    except ValueError:
        return {}
    # Large tasks are rerank tasks, whose texts no metric looks at.
    kept = [
        record
        if "query_id" not in record
        else {name: value for name, value in record.items() if not name.endswith("_pretokenized")}
        for record in records
    ]
    found: dict[str, float] = protocols.score(task, kept, "paper", qrels=qrels)
    return found


def ranking(examples: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Documents by score(Yes) - score(No) as float32, ties in first-stage order.

    >>> row = {"query_id": "q", "doc_id": "a", "first_stage_rank": 1, "choice": 0, "score": -1.0}
    >>> other = row | {"doc_id": "b", "first_stage_rank": 2}
    >>> ranking([row, row | {"choice": 1, "score": -2.0}, other, other | {"choice": 1, "score": -4.0}])
    {'q': {'b': 3.0, 'a': 1.0}}
    """
    differences: dict[str, dict[str, float]] = {}
    ranks: dict[tuple[str, str], int] = {}
    for example in examples:
        query, document = example["query_id"], example["doc_id"]
        scores = differences.setdefault(query, {})
        sign = 1.0 if example["choice"] == 0 else -1.0
        scores[document] = scores.get(document, 0.0) + sign * example["score"]
        ranks[query, document] = example["first_stage_rank"]
    run = {}
    for query, scores in differences.items():
        narrow = {document: float(np.float32(score)) for document, score in scores.items()}
        ordered = sorted(narrow, key=lambda document: (-narrow[document], ranks[query, document]))
        run[query] = {document: narrow[document] for document in ordered}
    return run


def plain_converter() -> Any:
    """A seqio feature converter that leaves examples as they are (built here: seqio is imported late)."""
    import seqio

    class Plain(seqio.PassThroughFeatureConverter):
        pack = False
        TASK_FEATURES: Mapping[str, Any] = {}

    return Plain()


def question_of(example: Mapping[str, Any], scored: bool, row: int) -> Any:
    """What a row belongs to: the query that documents are ranked for, the prompt that answers are scored
    for."""
    if not scored:
        return row
    if "query_id" in example:
        return example["query_id"]
    return np.asarray(example["inputs"]).tobytes()


def _rows_of(task: Any, split: str, questions: int, seed: int) -> int:
    """The number of rows of the first so many questions."""
    scored = bool(task.score_metric_fns) and not task.predict_metric_fns
    seen: set[Any] = set()
    rows = 0
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False, seed=seed, num_epochs=1)
    for row, example in enumerate(_numpy(dataset)):
        seen.add(question_of(example, scored, row))
        if len(seen) > questions:
            break
        rows += 1
    return rows


def _numpy(dataset: Any) -> Iterator[Mapping[str, Any]]:
    yield from dataset.as_numpy_iterator()


def as_number(metric: Any) -> float:
    """A metric as a float: metric functions may return numbers, arrays of one number or seqio metric
    values."""
    value = np.asarray(getattr(metric, "value", metric), np.float64)
    if value.size != 1:
        raise UserError(f"a metric must be one number, got an array of shape {value.shape}")
    return float(value.reshape(()))
