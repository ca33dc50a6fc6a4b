"""Passes the rows of one task from SeqIO to the model, in chunks, and saves the answers.

    dataset -> chunks of whole questions -> Generator or Scorer -> records (a journal on disk) -> metrics

Chunks whose answers are saved begin small and grow (`inters_jax.inference.portions`).

A sequence is [BOS, if the tokenizer has one] + inputs + targets, as in the token store.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from inters_jax.data.conversion import plain_ids
from inters_jax.evaluation.records import Records
from inters_jax.inference.portions import GENERATION, SCORING, portions
from seqio_tasks.base import UserError

Row = tuple[Any, Mapping[str, Any]]  # its number, and the example


class Answerer(Protocol):
    """The part of a Judge that a bridge uses."""

    generator: Any
    scorer: Any
    start: list[int]  # [BOS] or []
    progress: Any
    chunk_rows: int
    call_tokens: int  # of a model call that scores
    generation_tokens: int  # of a model call that generates, prompts and answers
    max_new_tokens: int
    target_loss: bool  # also score the targets of generated tasks

    def is_cut(self, prompt: int, answer: Sequence[int]) -> bool: ...


class Bridge:
    """The predict_fn and score_fn of one task. Saves the answers and keeps what the metrics need.

    Rows are processed in chunks: read, answered, appended to the records, freed. A chunk ends between two
    questions, so that all answers to a question are scored together. Third-party tasks may have the rows of
    a question anywhere: where answers are scored they are one chunk.

    Args:
      judge: answers and scores.
      task: a seqio.Task.
      records: where the answers go; rows that it already has are not asked again.
    """

    def __init__(self, judge: Answerer, task: Any, records: Records):
        self.judge, self.task, self.records = judge, task, records
        self.vocabulary = task.output_features["targets"].vocabulary
        self.targets: list[Any] = []  # one per row, as the metric functions get them
        self.counts: dict[str, int | float] = {"items": 0}

    def predict(self, dataset: Any) -> list[tuple[int, np.ndarray]]:
        """(row number, answer) in SeqIO ids; shorter answers are padded with EOS to one length."""
        answers: list[list[int]] = []
        numbers: list[int] = []
        budgets = portions(self.judge.generation_tokens, GENERATION)
        chunks = self._divided(dataset, budgets, self.judge.max_new_tokens)
        for found, examples, done in self._chunks(chunks):
            numbers += found
            done = done + self._answered(found[len(done) :], examples[len(done) :], self._generate)
            answers += [[int(token) for token in record["answer"]] for record in done]
        self.counts |= {"questions": len(answers), "answers cut at the length limit": 0, "empty answers": 0}
        end = 0 if self.vocabulary.eos_id is None else int(self.vocabulary.eos_id)
        padded = np.full((len(answers), max(map(len, answers), default=0)), end, np.int32)
        for row, answer in zip(padded, answers, strict=True):
            row[: len(answer)] = answer
        self.counts["generated tokens"] = sum(map(len, answers))
        for record in self.records:
            self.counts["answers cut at the length limit"] += record["truncated"]
            self.counts["empty answers"] += not record["prediction"]
        return list(zip(numbers, padded, strict=True))

    def score(self, dataset: Any) -> list[tuple[int, float]]:
        """(row number, log p(targets | inputs)).

        Rows that share a prompt are the candidate answers to one question: the prompt is encoded once. The
        EOS behind the answers is left out unless one answer of the question is a prefix of another: it cannot
        tell them apart, and Yes against No is then the difference of two logits, as in inters_jax.rerank.
        """
        scores: list[float] = []
        numbers: list[int] = []
        self.counts["questions"] = 0
        if hasattr(self.task, "form"):
            chunks = self._divided(dataset, portions(self.judge.call_tokens, SCORING))
        else:
            chunks = iter([list(self._rows(dataset))])
        for found, examples, done in self._chunks(chunks):
            numbers += found
            done = done + self._answered(found[len(done) :], examples[len(done) :], self._score)
            self.counts["questions"] += len({np.asarray(one["inputs"]).tobytes() for one in examples})
            scores += [record["score"] for record in done]
        return list(zip(numbers, scores, strict=True))

    def _answered(
        self,
        numbers: Sequence[int],
        examples: Sequence[Mapping[str, Any]],
        answer: Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]],
    ) -> list[dict[str, Any]]:
        """The records of rows, saved: what shards have answered, and what `answer` says to the others."""
        if not examples:
            return []
        found = [self.records.of_shards(number) for number in numbers]
        for record, example in zip(found, examples, strict=True):
            if record is not None:
                self._check_question(record, example)
        left = [place for place, record in enumerate(found) if record is None]
        said = answer([examples[place] for place in left]) if left else []
        targets = self.targets[-len(examples) :]
        for place, one in zip(left, said, strict=True):
            found[place] = self._record(examples[place], targets[place], numbers[place], one)
        records = [record for record in found if record is not None]
        self.records.append(records)
        return records

    def _generate(self, examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Generate the answers of a chunk, in SeqIO ids."""
        prompts = [self._prompt(example) for example in examples]
        found = self.judge.generator.generate(prompts, progress=self.judge.progress)
        shift = int(getattr(self.vocabulary, "id_offset", 0))
        answers = [[int(token) + shift for token in answer] for answer in found]
        said = [
            {
                "prediction": self._text(answer),
                "truncated": self.judge.is_cut(len(prompt), plain),
                "answer": answer,
            }
            for prompt, plain, answer in zip(prompts, found, answers, strict=True)
        ]
        if self.judge.target_loss:
            for record, more in zip(said, self._target_scores(examples, prompts), strict=True):
                record |= more
        return said

    def _target_scores(
        self, examples: Sequence[Mapping[str, Any]], prompts: Sequence[list[int]]
    ) -> list[dict[str, Any]]:
        """log p(targets, EOS | inputs) of generated tasks, in nats; {} for a row without targets."""
        targets = [plain_ids(self.vocabulary, np.asarray(one["targets"])).tolist() for one in examples]
        asked = [row for row, target in enumerate(targets) if target]
        scores = self.judge.scorer.loglikelihood([(prompts[row], [targets[row]]) for row in asked])
        found: list[dict[str, Any]] = [{} for _ in examples]
        for row, (score,) in zip(asked, scores, strict=True):
            if not np.isfinite(score):
                raise UserError(
                    f"{self.task.name}: the target {self._text(targets[row])!r:.80} has the "
                    f"log-probability {score}; the model's output is not finite"
                )
            found[row] = {"target_score": score, "target_tokens": len(targets[row])}
        return found

    def _score(self, examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Compute the scores of a chunk."""
        groups: dict[bytes, list[int]] = {}
        for row, example in enumerate(examples):
            groups.setdefault(np.asarray(example["inputs"]).tobytes(), []).append(row)
        prompts = [self._prompt(examples[rows[0]]) for rows in groups.values()]
        # What ends an answer in the data: EOS, or the end of the assistant's turn in a chat.
        ends = getattr(self.vocabulary, "end_ids", (self.vocabulary.eos_id,))
        end = None if not ends or ends[-1] is None else int(ends[-1])
        answers = []
        for rows in groups.values():
            targets = [np.asarray(examples[row]["targets"]).tolist() for row in rows]
            kept = without_end(targets, end)
            answers.append([plain_ids(self.vocabulary, ids).tolist() for ids in kept])
        scores, sizes = np.zeros(len(examples)), np.zeros(len(examples), int)
        for rows, values, given in zip(
            groups.values(), self._loglikelihoods(prompts, answers), answers, strict=True
        ):
            scores[rows] = values
            sizes[rows] = [len(answer) for answer in given]
        if not np.isfinite(scores).all():
            bad = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise UserError(
                f"{self.task.name}: an answer to {self._inputs(examples[bad])!r:.80} has the score "
                f"{scores[bad]}; the model's output is not finite"
            )
        return [
            {"score": score, "answer_tokens": size}
            for score, size in zip(scores.tolist(), sizes.tolist(), strict=True)
        ]

    def _loglikelihoods(self, prompts: Sequence[list[int]], answers: Sequence[list[list[int]]]) -> Any:
        """One list of log-probabilities per prompt; faster if all have the same one-token labels."""
        first = answers[0]
        if all(len(label) == 1 for label in first) and all(labels == first for labels in answers):
            labels = [label[0] for label in first]
            return self.judge.scorer.label_logits(
                prompts, labels, normalised=True, progress=self.judge.progress
            )
        return self.judge.scorer.loglikelihood(
            list(zip(prompts, answers, strict=True)), progress=self.judge.progress
        )

    def _divided(self, dataset: Any, budgets: Iterator[int], generated: int = 0) -> Iterator[list[Row]]:
        """The rows of a dataset in chunks; of answers that are not saved, only memory limits their size."""
        if self.records.folder is None:
            budgets = itertools.repeat(sys.maxsize)
        return whole_questions(self._rows(dataset), budgets, self.judge.chunk_rows, generated)

    def _rows(self, dataset: Any) -> Iterator[Row]:
        """(number, example) of every row, or of those of the shard."""
        shard = self.records.shard
        for number, example in dataset.as_numpy_iterator():
            if shard is None or shard.has(self._inputs(example)):
                yield number, example

    def _chunks(
        self, chunks: Iterable[list[Row]]
    ) -> Iterator[tuple[list[int], list[Mapping[str, Any]], list[dict[str, Any]]]]:
        """(row numbers, examples, records from an interrupted run) of each chunk."""
        resumed = len(self.records)
        # Not beyond: the journal grows while it is read.
        before = itertools.islice(self.records, resumed)
        for pairs in chunks:
            numbers = [int(number) for number, _ in pairs]
            examples = [example for _, example in pairs]
            self.counts["items"] += len(examples)
            self.targets += [self._target(example) for example in examples]
            done = list(itertools.islice(before, len(examples)))
            for record, example in zip(done, examples, strict=False):
                self._check_question(record, example)
            yield numbers, examples, done
        if not self.counts["items"] and self.records.shard is None:
            raise UserError(f"{self.task.name}: this split has no rows")
        if resumed:
            self.counts["rows resumed"] = resumed

    def _prompt(self, example: Mapping[str, Any]) -> list[int]:
        return self.judge.start + plain_ids(self.vocabulary, np.asarray(example["inputs"])).tolist()

    def _text(self, answer: Sequence[int]) -> str:
        text: str = self.vocabulary.decode(list(answer)).strip()
        return text

    def _inputs(self, example: Mapping[str, Any]) -> str:
        if "inputs_pretokenized" in example:
            return str(readable(example["inputs_pretokenized"]))
        return str(self.vocabulary.decode(np.asarray(example["inputs"]).tolist()))

    def _target(self, example: Mapping[str, Any]) -> Any:
        """The target of a row as the metric functions get it; as seqio.Evaluator computes it."""
        text = example.get("targets_pretokenized")
        if text is None:
            text = self.vocabulary.decode(np.asarray(example["targets"]).tolist())
        return readable(self.task.postprocess_fn(readable(text), example=example, is_target=True))

    def _check_question(self, record: Mapping[str, Any], example: Mapping[str, Any]) -> None:
        if record["inputs_pretokenized"] != self._inputs(example):
            raise UserError(
                f"{self.task.name}: the unfinished answers in {self.records.folder} belong to other "
                "questions (were the data or templates changed?); set another OUTPUT_DIR"
            )

    def _record(
        self, example: Mapping[str, Any], target: Any, row: int, answer: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The example without its token ids, and the answer; in a shard also the number of the row."""
        record = {
            name: readable(value) for name, value in example.items() if name not in self.task.output_features
        }
        record |= {"inputs_pretokenized": self._inputs(example), "target": target, **answer}
        return record if self.records.shard is None else record | {"row": row}


def whole_questions(
    rows: Iterable[Row], budgets: Iterator[int], most: int, generated: int = 0
) -> Iterator[list[Row]]:
    """Split rows into chunks that end where a prompt ends.

    Args:
      rows: (number, example).
      budgets: tokens from which on the first chunk ends, the second, ...
      most: rows from which on a chunk ends in any case.
      generated: tokens of an answer that is generated; 0: the targets are scored, and the rows of a question
        share its prompt.

    >>> rows = [(n, {"inputs": [n // 2], "targets": [7]}) for n in range(8)]
    >>> [[n for n, _ in chunk] for chunk in whole_questions(rows, iter([2, 4, 9]), 9)]
    [[0, 1], [2, 3, 4, 5], [6, 7]]
    >>> [[n for n, _ in chunk] for chunk in whole_questions(rows, itertools.repeat(99), 3)]
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    chunk: list[Row] = []
    last: bytes | None = None
    budget, tokens = next(budgets), 0
    for number, example in rows:
        prompt = np.asarray(example["inputs"]).tobytes()
        if prompt != last and (tokens >= budget or len(chunk) >= most):
            yield chunk
            chunk, budget, tokens = [], next(budgets), 0
        if generated or prompt != last:
            tokens += len(example["inputs"])
        tokens += generated or len(example["targets"])
        chunk.append((number, example))
        last = prompt
    if chunk:
        yield chunk


def without_end(targets: Sequence[list[int]], end: int | None) -> list[list[int]]:
    """Answers without their EOS, unless it is needed to tell them apart, or there is only one answer.

    Args:
      targets: answers to one question, in token ids.
      end: the id that ends answers; None if there is none.

    >>> without_end([[5, 2], [6, 2]], 2), without_end([[5, 2], [5, 6, 2]], 2), without_end([[5, 2]], 2)
    ([[5], [6]], [[5, 2], [5, 6, 2]], [[5, 2]])
    """
    bare = [ids[:-1] if ids and ids[-1] == end else ids for ids in targets]
    prefixes = any(other[: len(ids)] == ids for ids, other in itertools.permutations(bare, 2))
    return list(targets) if prefixes or len(targets) == 1 or not all(bare) else bare


def readable(value: Any) -> Any:
    """A feature as JSON: text, numbers, lists, objects.

    >>> readable(b"text"), readable(np.int64(3)), readable(np.array([b"a", b"b"], object))
    ('text', 3, ['a', 'b'])
    """
    if isinstance(value, np.ndarray | np.generic):
        return readable(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [readable(one) for one in value]
    if isinstance(value, Mapping):
        return {name: readable(one) for name, one in value.items()}
    return value
