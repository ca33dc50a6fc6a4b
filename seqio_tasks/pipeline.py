"""The SeqIO side of rendering and encoding: a data source of row indices, and a preprocessor over batches.

    source          {"split", "epoch", "index", "max_inputs", "max_targets"}, scalars; permuted per epoch
    encode_dataset  {"inputs" int32 [n], "targets" int32 [m], "inputs_pretokenized", "example_id", ...}
    keep_fitting    drops what exceeds a sequence length, which SeqIO would otherwise truncate

Every function in the graph is stateless (`numpy_function(stateful=False)`), so iterators can be checkpointed.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from seqio_tasks import settings
from seqio_tasks.catalog import Pair
from seqio_tasks.prompts import encoding
from seqio_tasks.prompts.encoding import Encoded
from seqio_tasks.python_calls import ends_with_program
from seqio_tasks.row_source import SplitRows
from seqio_tasks.settings import Settings
from seqio_tasks.variants import NUMBER, TEXT, TEXTS, Form
from seqio_tasks.vocabularies import HuggingFaceVocabulary

log = logging.getLogger(__name__)

# Nothing here branches on tensors: AutoGraph would rewrite functions to no effect, for a second per process.
_as_written = tf.autograph.experimental.do_not_convert

BATCH = 128  # rows per call of the encoder
NO_LIMIT = -1
_SHARDS = 16  # read in parallel by Beam jobs; any other number works as well
_TENSORS = {TEXT: tf.string, NUMBER: tf.int32, TEXTS: tf.string}


class InstructionSource(seqio.DataSource):
    """The row indices of a pair's splits. Rows are looked up when they are encoded."""

    def __init__(self, pair: Pair, form: Form) -> None:
        super().__init__(splits=form.splits, caching_permitted=True, performs_internal_shuffling=True)
        self._pair = pair
        self._form = form

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        return [f"{split}/{shard}" for shard in range(_SHARDS)]

    def num_input_examples(self, split: str) -> int:
        return self._form.count(self._pair, split, settings.current().raw_dir)

    def get_dataset(
        self,
        split: str,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        num_epochs: int | None = 1,
        sequence_length: Mapping[str, int] | None = None,
    ) -> tf.data.Dataset:
        """Row indices of one shard, for `num_epochs` epochs (None: endless), each in its own order.

        Args:
          split: train, validation or test.
          shuffle: whether rows are permuted.
          seed: of the order; None: the seed of the settings, so that all hosts agree.
          shard_info: the shard; None: all rows.
          num_epochs: number of epochs.
          sequence_length: the most tokens of inputs and targets.
        """
        config = settings.current()
        rows = self._form.rows(self._pair, split, config.raw_dir)
        # Looked up again when examples are made; here so that missing files are reported before anything
        # runs.
        self._form.demonstrations(self._pair, split, config.raw_dir)
        shard, shards = (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)
        seed = config.seed if seed is None else int(seed)
        limits = sequence_length or {}

        def order(epoch: np.int64) -> np.ndarray:
            total = len(rows.rows)  # `rows` lives as long as the dataset, so they are read only once
            if not shuffle:
                return np.arange(shard, total, shards)
            generator = np.random.Generator(np.random.Philox(key=[seed % (1 << 63), int(epoch)]))
            return generator.permutation(total)[shard::shards]

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            indices = tf.numpy_function(ends_with_program(order), [epoch], tf.int64, stateful=False)
            indices.set_shape([None])

            def row(index: tf.Tensor) -> dict[str, tf.Tensor]:
                return {
                    "split": tf.constant(split),
                    "epoch": epoch,
                    "index": index,
                    "max_inputs": tf.constant(limits.get("inputs") or NO_LIMIT, tf.int64),
                    "max_targets": tf.constant(limits.get("targets") or NO_LIMIT, tf.int64),
                }

            return tf.data.Dataset.from_tensor_slices(indices).map(_as_written(row))

        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max if num_epochs is None else num_epochs)
        dataset = dataset.flat_map(_as_written(one_epoch))
        if num_epochs is not None:
            own = len(range(shard, len(rows.rows), shards)) * num_epochs
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(own))
        return dataset


def encode_dataset(dataset: tf.data.Dataset, *, pair: Pair, form: Form) -> tf.data.Dataset:
    """Row indices -> examples. The dataset keeps the settings of this call."""
    encoder = _BatchEncoder(pair, form, settings.current())
    kinds = list(form.fields.items())

    def encode(batch: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        names = ("split", "epoch", "index", "max_inputs", "max_targets")
        dtypes = [tf.int32, tf.int64, tf.int32, tf.int64]
        for _, kind in kinds:
            dtypes += [_TENSORS[kind], tf.int64] if kind == TEXTS else [_TENSORS[kind]]
        outputs = tf.numpy_function(
            ends_with_program(encoder), [batch[name] for name in names], dtypes, stateful=False
        )
        for output in outputs:
            output.set_shape([None])
        found = iter(outputs)
        example: dict[str, Any] = {}
        for name in ("inputs", "targets"):
            example[name] = tf.RaggedTensor.from_row_lengths(next(found), next(found), validate=False)
        for name, kind in kinds:
            values = next(found)
            if kind == TEXTS:
                values = tf.RaggedTensor.from_row_lengths(values, next(found), validate=False)
            example[name] = values
        return example

    return dataset.batch(BATCH).map(_as_written(encode)).unbatch().map(_as_written(_plain))


def _plain(example: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Converts ragged vectors (the result of `unbatch`) to ordinary ones."""
    return {
        name: tf.convert_to_tensor(value) if isinstance(value, tf.RaggedTensor) else value
        for name, value in example.items()
    }


def keep_fitting(
    dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None
) -> tf.data.Dataset:
    """Drops examples longer than `sequence_length`: a truncated prompt has lost its question.

    Examples encoded on the fly already fit; cached ones may have been made for greater lengths.
    """
    limits = {name: length for name, length in (sequence_length or {}).items() if length is not None}
    for name in ("inputs", "targets"):
        if name in limits:
            dataset = dataset.filter(lambda example, name=name: tf.size(example[name]) <= limits[name])
    return dataset


class _BatchEncoder:
    """Encodes batches of row indices for one dataset."""

    def __init__(self, pair: Pair, form: Form, config: Settings) -> None:
        self._pair = pair
        self._form = form
        self._config = config
        self._vocabulary = HuggingFaceVocabulary(config.tokenizer)
        self._opened: dict[str, tuple[SplitRows, Sequence[Any]]] = {}  # split: rows, demonstrations
        self._left_out = 0
        self._lock = threading.Lock()  # tf.data may encode several batches at once

    def __call__(
        self,
        split: np.ndarray,
        epoch: np.ndarray,
        index: np.ndarray,
        max_inputs: np.ndarray,
        max_targets: np.ndarray,
    ) -> list[np.ndarray]:
        examples: list[tuple[Encoded, dict[str, Any]]] = []
        keys = zip(split.tolist(), epoch.tolist(), max_inputs.tolist(), max_targets.tolist(), strict=True)
        for (name, turn, inputs, targets), group in itertools.groupby(
            zip(keys, index.tolist(), strict=True), key=lambda entry: entry[0]
        ):
            numbers = [number for _, number in group]
            examples += self._encode(name.decode(), turn, numbers, inputs, targets)
        columns: list[np.ndarray] = []
        for ids in ([e.input_ids for e, _ in examples], [e.target_ids for e, _ in examples]):
            columns.append(np.concatenate(ids).astype(np.int32) if ids else np.zeros(0, np.int32))
            columns.append(np.asarray([len(one) for one in ids], np.int64))
        for field, kind in self._form.fields.items():
            values = [found[field] for _, found in examples]
            if kind == NUMBER:
                columns.append(np.asarray(values, np.int32))
            elif kind == TEXT:
                columns.append(_strings(values))
            else:
                columns.append(_strings([text for texts in values for text in texts]))
                columns.append(np.asarray([len(texts) for texts in values], np.int64))
        return columns

    def _encode(
        self, split: str, epoch: int, numbers: Sequence[int], max_inputs: int, max_targets: int
    ) -> list[tuple[Encoded, dict[str, Any]]]:
        with self._lock:
            if split not in self._opened:
                raw_dir = self._config.raw_dir
                demonstrations = self._form.demonstrations(self._pair, split, raw_dir)
                self._opened[split] = self._form.rows(self._pair, split, raw_dir), demonstrations
            split_rows, demonstrations = self._opened[split]
        rows = [split_rows.rows[number] for number in numbers]
        limit = self._config.max_length
        if max_inputs != NO_LIMIT:
            # BOS and at least one target token share the limit with the prompt.
            limit = min(limit, max_inputs + 1 + int(self._vocabulary.bos_id is not None))
        report: Counter[str] = Counter()
        encoded = self._form.encoded(
            rows,
            self._pair,
            self._vocabulary,
            self._config,
            demonstrations=demonstrations,
            split=split,
            epoch=epoch,
            max_length=limit,
            report=report,
        )
        by_id = {row["example_id"]: row for row in rows}
        found = []
        for item in encoded:
            if max_targets != NO_LIMIT and len(item.target_ids) > max_targets:
                report[encoding.TOO_LONG] += 1
                continue
            row = by_id[item.example.extras.get("group_id", item.example.example_id)]
            found.append((item, self._form.values(item, row, split)))
        self._warn(split, sum(count for name, count in report.items() if name.startswith("dropped: ")))
        return found

    def _warn(self, split: str, left_out: int) -> None:
        """Warns when examples are left out: at the first, and whenever their number has doubled."""
        with self._lock:
            before = self._left_out
            self._left_out += left_out
        if (before + left_out).bit_length() > before.bit_length():
            name = f"{self._pair.name}{self._form.suffix}"
            log.warning(
                "%s, %s: %d examples so far do not fit and are left out", name, split, before + left_out
            )


def _strings(texts: Sequence[str]) -> np.ndarray:
    return np.asarray([text.encode("utf-8") for text in texts] or np.zeros(0, "S1"), object)
