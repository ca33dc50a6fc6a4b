"""`tokenizer.HuggingFaceTokenizer` as a SeqIO vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import seqio
import tensorflow as tf

from seqio_tasks.python_calls import ends_with_program
from seqio_tasks.tokenizer import HuggingFaceTokenizer


class HuggingFaceVocabulary(HuggingFaceTokenizer, seqio.Vocabulary):
    """A `tokenizer.json` as a SeqIO vocabulary; arguments and ids as for `HuggingFaceTokenizer`."""

    @property
    def _base_vocab_size(self) -> int:
        return self.vocab_size

    def _encode(self, s: str) -> list[int]:
        return self.encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        """A string tensor [] -> int32 [tokens]; [n] -> int32 ragged [n, (tokens)]."""
        s = tf.convert_to_tensor(s)
        if s.shape.rank not in (0, 1):
            raise ValueError(f"encode_tf takes strings of shape [] or [n], got {s.shape}")

        def encode(strings: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
            encoded = self.encode_batch([string.decode("utf-8") for string in np.atleast_1d(strings)])
            flat = [token for ids in encoded for token in ids]
            return np.asarray(flat, np.int32), np.asarray([len(ids) for ids in encoded], np.int64)

        values, lengths = tf.numpy_function(
            ends_with_program(encode), [s], (tf.int32, tf.int64), stateful=False
        )
        values.set_shape([None])
        if s.shape.rank == 0:
            return values
        lengths.set_shape(s.shape)
        return tf.RaggedTensor.from_row_lengths(values, lengths)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 [tokens] -> string []; [n, tokens] -> strings [n]."""
        ids = ids.to_tensor() if isinstance(ids, tf.RaggedTensor) else tf.convert_to_tensor(ids)

        def decode(array: Any) -> Any:
            if array.ndim == 1:
                return np.asarray(self.decode(array.tolist()).encode())
            return np.asarray([self.decode(row).encode() for row in array.tolist()], object)

        text = tf.numpy_function(ends_with_program(decode), [ids], tf.string, stateful=False)
        text.set_shape(ids.shape[:-1])
        return text
