"""Every pair of the catalog as SeqIO tasks.

    inters_<task>_<dataset>      training: template, description and 0..5 demonstrations drawn per example
    ..._0shot, ..._5shot         always this number of demonstrations
    ..._no_description           without the task description         (ablations)
    ..._no_template              fields and values, no wording
    ..._25pct, _50pct, _75pct    a fixed part of the training rows
    ..._1template, _3templates, _6templates    this number of the twelve templates, in training
    ..._pointwise_judgment, ...  ranking pairs: one family of templates, in training
    ..._documents                ranking pairs: a group of Yes/No questions per row, for a ranking loss
    ..._1shot to _4shot, ..._template0 to _template4    one form of prompt at test time; `_choices_1shot` and
                                 so on where classes are scored, `_rerank_template1` for ranking
    ..._choices                  classification by scoring: a row per (example, label)
    ..._rerank                   ranking pairs: a row per (query, candidate, Yes or No)

Registering opens no file and loads no tokenizer: `seqio_tasks.settings` decides what the tasks read when a
dataset is built. Rendering and encoding are the plain Python functions of `prompts`, called on batches by one
preprocessor. Templates and demonstrations depend on (settings.seed, example_id, epoch), so shuffling,
sharding and the `seed` of `get_dataset` only change the order of examples, and every epoch has new prompts.

`encoded_examples` gives the same examples without TensorFlow; the token store is made from it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import seqio
import tensorflow as tf

from seqio_tasks import named_tasks, settings
from seqio_tasks.base import UserError
from seqio_tasks.catalog import Pair
from seqio_tasks.metrics import seqio_metrics
from seqio_tasks.pipeline import InstructionSource, encode_dataset, keep_fitting
from seqio_tasks.prompts import encoding
from seqio_tasks.prompts.encoding import Encoded
from seqio_tasks.sources.retrieval_sets import collection
from seqio_tasks.variants import Form
from seqio_tasks.vocabularies import HuggingFaceVocabulary

VOCABULARY = HuggingFaceVocabulary()  # of the settings at the time of use

OUTPUT_FEATURES: Mapping[str, seqio.Feature] = {
    "inputs": seqio.Feature(VOCABULARY, add_eos=False, dtype=tf.int32),
    "targets": seqio.Feature(VOCABULARY, add_eos=True, dtype=tf.int32),
}


class InstructionTask(seqio.Task):
    """A pair in one form. `last_report` counts what the last full pass left out or shortened."""

    def __init__(self, pair: Pair, form: Form) -> None:
        self.pair = pair
        self.form = form
        self.last_report: Counter[str] = Counter()
        super().__init__(
            name=pair.name + form.suffix,
            source=InstructionSource(pair, form),
            output_features=OUTPUT_FEATURES,
            preprocessors=[
                functools.partial(encode_dataset, pair=pair, form=form),
                seqio.CacheDatasetPlaceholder(),
                keep_fitting,
            ],
            postprocess_fn=functools.partial(postprocess, form=form),
            metric_fns=[metric_of(pair, form)],
            shuffle_buffer_size=None,  # the source permutes all rows; a buffer would only use memory
        )

    @property
    def cache_dir(self) -> str | None:
        """Where SeqIO cached this task; reset when that folder is no longer searched."""
        searched = [os.path.join(folder, self.name) for folder in seqio.get_global_cache_dirs()]  # noqa: PTH118
        if vars(self).get("_cache_dir") not in searched:  # folders may be gs://...
            self._cache_dir: str | None = None
        found: str | None = super().cache_dir
        return found

    def encoded_examples(
        self,
        split: str,
        *,
        seed: int | None = None,
        epoch: int = 0,
        max_length: int | None = None,
        vocabulary: encoding.BatchVocabulary | None = None,
    ) -> Iterator[Encoded]:
        """All examples of a split, in row order.

        Args:
          split: train, validation or test.
          seed: of templates and demonstrations; this and all other arguments default to the settings.
          epoch: has its own templates and demonstrations.
          max_length: tokens of BOS, prompt and answer.
          vocabulary: the tokenizer.
        """
        config = settings.current()
        if seed is not None:
            config = dataclasses.replace(config, seed=seed)
        if max_length is not None and self.form.documents:
            config = dataclasses.replace(config, max_length=max_length)  # which the documents share
        rows = self.form.rows(self.pair, split, config.raw_dir)
        report: Counter[str] = Counter(rows.report)
        self.last_report = report
        yield from self.form.encoded(
            rows.rows,
            self.pair,
            HuggingFaceVocabulary(config.tokenizer) if vocabulary is None else vocabulary,
            config,
            demonstrations=self.form.demonstrations(self.pair, split, config.raw_dir),
            split=split,
            epoch=epoch,
            max_length=max_length,
            report=report,
        )

    def get_dataset(
        self,
        sequence_length: Mapping[str, int] | None = None,
        split: str = "train",
        use_cached: bool = False,
        shuffle: bool = True,
        shuffle_buffer_size: int | None = None,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        num_epochs: int | None = 1,
        trim_output_features: bool = True,
        try_in_mem_cache: bool = True,
    ) -> tf.data.Dataset:
        """As `seqio.Task.get_dataset`, with two differences when nothing is cached.

        Every epoch has its own templates and demonstrations (SeqIO would repeat those of the first), and
        `sequence_length` shortens documents by the length rule instead of truncating the prompt.
        """
        if use_cached:
            return super().get_dataset(
                sequence_length, split, use_cached, shuffle, shuffle_buffer_size, seed, shard_info,
                num_epochs, trim_output_features, try_in_mem_cache,
            )  # fmt: skip
        dataset = self.source.get_dataset(
            split, shuffle, seed, shard_info, num_epochs=num_epochs, sequence_length=sequence_length
        )
        dataset = self.preprocess_precache(dataset, seed=seed)
        dataset = self.preprocess_postcache(dataset, sequence_length=sequence_length, seed=seed)
        return self._validate_preprocessing(dataset).prefetch(tf.data.AUTOTUNE)


def postprocess(
    text: Any, *, form: Form, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> Any:
    """What the metric functions receive: a stripped prediction, or a target with its example's fields."""
    text = _text(text).strip()
    if not is_target or example is None:
        return text
    if form.rerank:
        return {
            "split": _text(example["split"]),
            "query_id": _text(example["query_id"]),
            "doc_id": _text(example["doc_id"]),
            "first_stage_rank": int(example["first_stage_rank"]),
            "choice": text,
        }
    if form.choices:
        return {
            "example_id": _text(example["example_id"]),
            "choice": text,
            "gold": _text(example["gold"]),
        }
    return {"target": text, "references": [_text(reference) for reference in example["references"]]}


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def metric_of(pair: Pair, form: Form) -> Callable[..., dict[str, float]]:
    """The metric function of a task."""
    if form.rerank:
        qrels = functools.partial(form.qrels, pair)
        prefixes = collection(pair.dataset).prefixes
        return seqio_metrics.rerank_metric(pair.metrics, qrels, prefixes=prefixes)
    if form.choices:
        return seqio_metrics.choice_metric(pair.labels, multi_label=pair.multi_label)
    if pair.kind == "rank":  # ranking prompts have short answers: Yes, a number, an order
        return seqio_metrics.generation_metric(("exact_match",))
    return seqio_metrics.generation_metric(pair.metrics, pair.labels)


def register() -> None:
    """Add every task to SeqIO's registry, once."""
    for pair, form in named_tasks.every().values():
        add(pair, form)


def add(pair: Pair, form: Form) -> None:
    """Add one task to SeqIO's registry, unless its name is taken: by itself, registered before."""
    name = named_tasks.add(pair, form)
    if name not in seqio.TaskRegistry.names():
        seqio.TaskRegistry.add_provider(name, InstructionTask(pair, form))


def task(name: str) -> InstructionTask:
    """A registered task of this package.

    Raises:
      UserError: it is a task of another project.
    """
    found = seqio.TaskRegistry.get(name)
    if not isinstance(found, InstructionTask):
        raise UserError(f"{name} is registered, but not a task of seqio_tasks")
    return found
