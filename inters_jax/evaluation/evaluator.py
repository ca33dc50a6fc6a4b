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

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.inference.generate import Generator
from inters_jax.inference.score import Scorer

# What metric functions return beside measures.
COUNTS = frozenset({"examples", "tied", "unparsed", "queries", "queries_missing", "documents"})


class EvaluationError(ValueError):
    """A task or model that cannot be judged as asked."""


@dataclass
class TaskResult:
    """What judging one task gave.

    examples: one record per row of the task: texts, evaluation fields, `prediction` and/or `score`.
    counts: items (rows), questions (rows that share a prompt are one), truncated answers and so on.
    run: query id -> document id -> score in ranking order, and qrels, for tasks that rank documents.
    """

    task: str
    metrics: dict[str, float]
    counts: dict[str, int | float]
    examples: list[dict[str, Any]] = field(default_factory=list)
    run: dict[str, dict[str, float]] | None = None
    qrels: Mapping[str, Mapping[str, int]] | None = None


class Judge:
    """Runs seqio.Evaluator on a model.

    Args:
      loaded: a LoadedModel.
      vocabulary: the HuggingFaceVocabulary of its tokenizer; gives BOS, as in training.
      max_new_tokens: limit of a generated answer.
      batch_tokens: tokens that the model sees at once, the memory knob.
    """

    def __init__(self, loaded: Any, vocabulary: Any, *, max_new_tokens: int = 256, batch_tokens: int = 8192):
        if jax.process_count() > 1:
            raise EvaluationError(
                "evaluation runs in one process; start it on one host (its devices are all used)"
            )
        self.generator = Generator(loaded, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens)
        self.scorer = Scorer(loaded, batch_tokens=batch_tokens)
        self.start = [] if vocabulary.bos_id is None else plain_ids(vocabulary, [vocabulary.bos_id]).tolist()
        self.progress: Any = None  # a callable that gets a number of finished prompts

    def run(self, task_name: str, split: str, *, questions: int | None = None, seed: int = 0) -> TaskResult:
        """Judge one registered task (not a mixture) by its own metric_fns.

        `questions` limits the evaluation to the first so many prompts, or queries where documents are ranked.
        """
        import seqio

        task = seqio.get_mixture_or_task(task_name)
        if not isinstance(task, seqio.Task):
            raise EvaluationError(f"{task_name} is a mixture; judge its tasks one by one")
        if split not in task.splits:
            raise EvaluationError(f"{task_name} has no split {split!r}; it has {', '.join(task.splits)}")
        if not task.metric_fns and not task.metric_objs:
            raise EvaluationError(f"{task_name} has no metrics: nothing can be measured")
        rows = None if questions is None else _rows_of(task, split, questions, seed)
        evaluator = seqio.Evaluator(
            task_name,
            feature_converter=plain_converter(),
            eval_split=split,
            num_examples=rows,
            seed=seed,
            async_compute_metrics=False,
        )
        bridge = Bridge(self, task)
        future, _ = evaluator.evaluate(compute_metrics=True, predict_fn=bridge.predict, score_fn=bridge.score)
        metrics = {name: _value(value) for name, value in future.result()[task_name].items()}
        result = TaskResult(task_name, metrics, bridge.counts, bridge.records())
        if getattr(getattr(task, "form", None), "rerank", False):
            _add_run(result, task.pair, split, limited=questions is not None)
        for name in COUNTS & result.metrics.keys():
            result.counts[name] = int(result.metrics.pop(name))
        return result


class Bridge:
    """predict_fn and score_fn of one task; keeps the examples and what the model said about them."""

    def __init__(self, judge: Judge, task: Any):
        self.judge, self.task = judge, task
        self.vocabulary = task.output_features["targets"].vocabulary
        self.examples: list[dict[str, Any]] = []
        self.predictions: list[str] | None = None
        self.scores: list[float] | None = None
        self.counts: dict[str, int | float] = {}

    def predict(self, dataset: Any) -> list[tuple[int, np.ndarray]]:
        """Greedy answers in SeqIO ids, all of one length: [EOS ...] behind the shorter ones."""
        numbers = self._read(dataset)
        counts, before = self.judge.generator.counts, self.judge.generator.counts.truncated
        tokens = counts.generated_tokens
        answers = self.judge.generator.generate(
            [self._prompt(example) for example in self.examples], progress=self.judge.progress
        )
        self.counts["questions"] = len(answers)
        self.counts["answers cut at the length limit"] = counts.truncated - before
        self.counts["generated tokens"] = counts.generated_tokens - tokens
        shift = int(getattr(self.vocabulary, "id_offset", 0))
        end = 0 if self.vocabulary.eos_id is None else int(self.vocabulary.eos_id)
        padded = np.full((len(answers), max(map(len, answers))), end, np.int32)
        for row, answer in zip(padded, answers, strict=True):
            row[: len(answer)] = np.asarray(answer, np.int32) + shift
        self.predictions = [self.vocabulary.decode(row.tolist()).strip() for row in padded]
        self.counts["empty answers"] = sum(not text for text in self.predictions)
        return list(zip(numbers, padded, strict=True))

    def score(self, dataset: Any) -> list[tuple[int, float]]:
        """log p(targets | inputs). Rows that share a prompt are the candidate answers to one question: the
        prompt is encoded once.

        Where no answer of the question is the beginning of another one, the EOS behind the answers is left
        out: it cannot tell them apart, and Yes against No is then the difference of two logits, as in
        inters_jax.rerank.
        """
        numbers = self._read(dataset)
        groups: dict[bytes, list[int]] = {}
        for row, example in enumerate(self.examples):
            groups.setdefault(np.asarray(example["inputs"]).tobytes(), []).append(row)
        prompts = [self._prompt(self.examples[rows[0]]) for rows in groups.values()]
        end = None if self.vocabulary.eos_id is None else int(self.vocabulary.eos_id)
        answers = []
        for rows in groups.values():
            targets = [np.asarray(self.examples[row]["targets"]).tolist() for row in rows]
            kept = without_end(targets, end)
            answers.append([plain_ids(self.vocabulary, ids).tolist() for ids in kept])
        found = self._score(prompts, answers)
        scores = np.zeros(len(self.examples))
        for rows, values in zip(groups.values(), found, strict=True):
            scores[rows] = values
        if not np.isfinite(scores).all():
            bad = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise EvaluationError(
                f"{self.task.name}, row {bad}: the score is {scores[bad]}; the model yields no numbers"
            )
        self.counts["questions"] = len(groups)
        self.scores = scores.tolist()
        return list(zip(numbers, self.scores, strict=True))

    def _score(self, prompts: Sequence[list[int]], answers: Sequence[list[list[int]]]) -> Any:
        """One list of log-probabilities per prompt; the same one-token labels everywhere take the fast
        way."""
        first = answers[0]
        if all(len(label) == 1 for label in first) and all(labels == first for labels in answers):
            labels = [label[0] for label in first]
            return self.judge.scorer.label_logits(
                prompts, labels, normalised=True, progress=self.judge.progress
            )
        return self.judge.scorer.loglikelihood(
            list(zip(prompts, answers, strict=True)), progress=self.judge.progress
        )

    def _read(self, dataset: Any) -> list[int]:
        """Examples of the enumerated dataset as numpy; returns their numbers."""
        numbers = []
        self.examples = []
        for number, example in dataset.as_numpy_iterator():
            numbers.append(int(number))
            self.examples.append(example)
        if not self.examples:
            raise EvaluationError(f"{self.task.name}: this split has no rows")
        self.counts["items"] = len(self.examples)
        return numbers

    def _prompt(self, example: Mapping[str, Any]) -> list[int]:
        return self.judge.start + plain_ids(self.vocabulary, np.asarray(example["inputs"])).tolist()

    def records(self) -> list[dict[str, Any]]:
        """One record per row for predictions.jsonl: everything but token ids."""
        records = []
        for row, example in enumerate(self.examples):
            record = {
                name: readable(value)
                for name, value in example.items()
                if name not in self.task.output_features
            }
            if self.predictions is not None:
                record["prediction"] = self.predictions[row]
            if self.scores is not None:
                record["score"] = self.scores[row]
            records.append(record)
        return records


def without_end(targets: Sequence[list[int]], end: int | None) -> list[list[int]]:
    """Answers without their EOS, unless it is needed to tell them apart or there is only one.

    >>> without_end([[5, 2], [6, 2]], 2), without_end([[5, 2], [5, 6, 2]], 2), without_end([[5, 2]], 2)
    ([[5], [6]], [[5, 2], [5, 6, 2]], [[5, 2]])
    """
    bare = [ids[:-1] if ids and ids[-1] == end else ids for ids in targets]
    begun = any(other[: len(ids)] == ids for ids, other in itertools.permutations(bare, 2))
    return list(targets) if begun or len(targets) == 1 or not all(bare) else bare


def _add_run(result: TaskResult, pair: Any, split: str, limited: bool) -> None:
    """The order of the documents, and the judgments it is measured by.

    When only some queries were ranked, the measures are taken again over these: the task's metric counts
    every judged query of the split, and those left out would count as not found.
    """
    from seqio_tasks import row_source
    from seqio_tasks.metrics.ranking import evaluate_run

    result.run = ranking(result.examples)
    qrels = row_source.read_qrels(pair, split)
    result.qrels = {query: qrels[query] for query in result.run} if limited else qrels
    if limited:
        ranks = {query: {d: -float(n) for n, d in enumerate(found)} for query, found in result.run.items()}
        measured = evaluate_run(result.qrels, ranks, pair.metrics)
        result.metrics |= measured.means
        result.metrics |= {name: measured.counts[name] for name in ("queries", "queries_missing")}


def ranking(examples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
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


def readable(value: Any) -> Any:
    """A feature as JSON: text, numbers, lists.

    >>> readable(b"text"), readable(np.int64(3)), readable(np.array([b"a", b"b"], object))
    ('text', 3, ['a', 'b'])
    """
    if isinstance(value, np.ndarray | np.generic):
        return readable(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [readable(one) for one in value]
    return value


def _value(metric: Any) -> float:
    """A metric as a float: metric functions may return numbers, arrays of one number or seqio metric
    values."""
    value = np.asarray(getattr(metric, "value", metric), np.float64)
    if value.size != 1:
        raise EvaluationError(f"a metric must be one number, got an array of shape {value.shape}")
    return float(value.reshape(()))
