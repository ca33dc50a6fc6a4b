"""Judges tasks through seqio.Evaluator: a Generator answers its predict_fn, a Scorer its score_fn.

    seqio.Task -> seqio.Evaluator -> predict_fn(dataset) -> [(index, token ids), ...]   ->
    metric_fns(targets, predictions)
                                  -> score_fn(dataset)   -> [(index, log p), ...]       ->
                                  metric_fns(targets, scores)

Pitfalls of seqio.Evaluator, and how they are avoided:

* it needs predictions of one length: all predictions of a task are padded with EOS;
* one failed metric makes it unusable: every task gets its own evaluator;
* it pads every example to the longest of the task: a feature converter that converts nothing passes the plain
  examples, and the model side groups them by length itself;
* a limit on examples could separate a question from its answers: limits count whole questions.

A sequence is [BOS, if the tokenizer has one] + inputs + targets, as in the token store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import seqio

from inters_jax.data.conversion import plain_ids
from inters_jax.evaluation import target_loss as target_losses
from inters_jax.evaluation.bridge import Bridge
from inters_jax.evaluation.records import Records
from inters_jax.evaluation.task_metrics import as_number, paper_metrics, ranking, rerank_metrics, split_counts
from inters_jax.inference.together import Answerers
from inters_jax.shards import Shard
from seqio_tasks.base import UserError


@dataclass
class TaskResult:
    """The result of judging one task.

    metrics, paper_metrics: by the protocols `standard` (the task's own metric functions) and `paper`.
    counts: items (rows), questions (rows that share a prompt count once), truncated answers and so on.
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


class Judge:
    """Judges tasks with one model.

    Args:
      loaded: a LoadedModel.
      vocabulary: the HuggingFaceTokenizer of its tokenizer; gives BOS, as in training.
      max_new_tokens: limit of a generated answer.
      batch_tokens: tokens per model call, the memory setting.
      generation_tokens: the same for generation, prompts and answers; None: as many.
      chunk_rows: the most rows that are answered and saved together; memory is bounded by it.
      decoding: further arguments of `Generator` (sampling, stop strings); greedy by default.
      target_loss: also measure how probable the right answers are (`inters_jax.evaluation.target_loss`).
      answerers: makes its Generator and Scorer; None: for this process.
    """

    def __init__(
        self,
        loaded: Any,
        vocabulary: Any,
        *,
        max_new_tokens: int = 256,
        batch_tokens: int = 8192,
        generation_tokens: int | None = None,
        chunk_rows: int = 4096,
        decoding: Mapping[str, Any] | None = None,
        target_loss: bool = False,
        answerers: Answerers | None = None,
    ):
        # The model's own ends, and that of the assistant's turn if a chat template is used.
        known = plain_ids(vocabulary, vocabulary.end_ids).tolist()
        ends = [loaded.eos_id, *loaded.config.stop_ids, *known]
        self.ends = {int(end) for end in ends if end is not None}
        made, generation_tokens = answerers or Answerers(), generation_tokens or batch_tokens
        self.generator = made.generator(
            loaded,
            max_new_tokens=max_new_tokens,
            batch_tokens=generation_tokens,
            **({"eos_ids": ends} | dict(decoding or {})),
        )
        self.scorer = made.scorer(loaded, batch_tokens=batch_tokens)
        self.call_tokens = batch_tokens
        self.generation_tokens = max(1, generation_tokens // self.generator.sampling.beams)
        self.start = [] if vocabulary.bos_id is None else plain_ids(vocabulary, [vocabulary.bos_id]).tolist()
        self.chunk_rows, self.max_new_tokens = chunk_rows, max_new_tokens
        self.max_position = loaded.config.max_position
        self.target_loss = target_loss
        self.progress: Any = None  # called with a number of finished prompts

    def use(self, model: Any) -> None:
        """Continue with other parameters of the same model; nothing is compiled again."""
        self.generator.use(model)
        self.scorer.use(model)

    def is_cut(self, prompt: int, answer: Sequence[int]) -> bool:
        """Whether an answer to a prompt of `prompt` tokens ended at the length limit."""
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
        shard: Shard | None = None,
    ) -> TaskResult | None:
        """Judge one registered task (not a mixture) by its own metric_fns.

        Args:
          task_name: name of the task.
          split: split to judge on.
          questions: judge the first N prompts only, or queries where documents are ranked.
          seed: of the task's dataset.
          folder: where answers are saved as they are given, so that an interrupted evaluation resumes; None
            keeps them in memory.
          settings: what the answers depend on, besides task, split, questions and seed.
          shard: only answer this share of the questions, into a file in `folder`, and return None.

        Raises:
          UserError: no such split, nothing to measure, or the folder holds answers given with other settings.
        """
        task = seqio.get_mixture_or_task(task_name)
        if not isinstance(task, seqio.Task):
            raise UserError(f"{task_name} is a mixture; judge its tasks one by one")
        if split not in task.splits:
            raise UserError(f"{task_name} has no split {split!r}; it has {', '.join(task.splits)}")
        if not task.metric_fns and not task.metric_objs:
            raise UserError(f"{task_name} has no metrics")
        rows = None if questions is None else _rows_of(task, split, questions, seed)
        identity = {"task": task_name, "split": split, "rows": rows, "seed": seed, **(settings or {})}
        bridge = Bridge(self, task, Records(folder, identity, shard))
        if shard is not None:
            answer = bridge.score if _only_scored(task) else bridge.predict
            answer(_dataset(task, split, rows, seed).enumerate())
            return None
        form = getattr(task, "form", None)
        if getattr(form, "rerank", False):
            result = self._streamed(bridge, split, rows, seed)
        else:
            metrics = self._by_evaluator(bridge, split, rows, seed)
            result = TaskResult(task_name, metrics, bridge.counts, bridge.records)
        bridge.records.finish()
        result.metrics, counts = split_counts(result.metrics)
        result.counts |= counts
        if self.target_loss:
            result.metrics |= target_losses.measures(result.examples)
        result.paper_metrics = paper_metrics(task_name, result.examples, result.qrels)
        return result

    def _by_evaluator(self, bridge: Bridge, split: str, rows: int | None, seed: int) -> dict[str, float]:
        name = bridge.task.name
        evaluator = seqio.Evaluator(
            name,
            feature_converter=PlainConverter(),
            eval_split=split,
            num_examples=rows,
            seed=seed,
            async_compute_metrics=False,
        )
        future, _ = evaluator.evaluate(compute_metrics=True, predict_fn=bridge.predict, score_fn=bridge.score)
        return {name: as_number(value) for name, value in future.result()[name].items()}

    def _streamed(self, bridge: Bridge, split: str, rows: int | None, seed: int) -> TaskResult:
        """The same as seqio.Evaluator, without its copy of the dataset in memory.

        Rerank tasks have a row for every (query, candidate, label): hundreds of thousands. Only the few
        fields that the metric functions use are kept. With a limit on questions, the measures cover the
        judgments of the queries that were ranked; all others would count as not found.
        """
        task = bridge.task
        bridge.score(_dataset(task, split, rows, seed).enumerate())
        run = ranking(bridge.records)
        qrels = task.form.qrels(task.pair, split)
        if rows is not None:
            qrels = {query: qrels[query] for query in run}
        metrics = rerank_metrics(task, bridge.records, qrels)
        return TaskResult(task.name, metrics, bridge.counts, bridge.records, run, qrels)


class PlainConverter(seqio.PassThroughFeatureConverter):
    """A seqio feature converter that leaves examples as they are."""

    pack = False
    TASK_FEATURES: Mapping[str, Any] = {}


def _question_of(example: Mapping[str, Any], scored: bool, row: int) -> Any:
    """The question of a row: the query whose documents are ranked, or the prompt whose answers are scored."""
    if not scored:
        return row
    if "query_id" in example:
        return example["query_id"]
    return np.asarray(example["inputs"]).tobytes()


def _dataset(task: Any, split: str, rows: int | None, seed: int) -> Any:
    """The rows as seqio.Evaluator reads them."""
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False, seed=seed, num_epochs=1)
    return dataset if rows is None else dataset.take(rows)


def _only_scored(task: Any) -> bool:
    return bool(task.score_metric_fns) and not task.predict_metric_fns


def _rows_of(task: Any, split: str, questions: int, seed: int) -> int:
    """The number of rows of the first N questions."""
    scored = _only_scored(task)
    seen: set[Any] = set()
    rows = 0
    for row, example in enumerate(_dataset(task, split, None, seed).as_numpy_iterator()):
        seen.add(_question_of(example, scored, row))
        if len(seen) > questions:
            break
        rows += 1
    return rows
