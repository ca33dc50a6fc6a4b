"""Hugging Face tokenizers as SeqIO vocabularies.

`HuggingFaceVocabulary` encodes exactly as the `tokenizers` library does without special tokens, except that
the strings of control tokens ("</s>", "<|im_end|>") inside data are plain text: a web page must not end a
sequence.

SeqIO reserves id 0 for padding: it derives loss weights, lengths and segments from "is not 0". Where a
tokenizer's own id 0 can occur inside a sequence (Qwen, GPT-2: "!"; Pythia: the end of text) all ids are
therefore shifted by `id_offset` = 1:

    seqio id = Hugging Face id + id_offset

Every id that this class takes or gives is a SeqIO id, bos_id and eos_id included; `to_hf` and `from_hf`
convert. Nothing is loaded before it is needed, and a vocabulary pickles as its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import seqio
import tensorflow as tf

from seqio_tasks import settings
from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer_files import LoadedTokenizer, find_tokenizer, load, spelled


class HuggingFaceVocabulary(seqio.Vocabulary):
    """A `tokenizer.json` as a SeqIO vocabulary.

    Args:
      tokenizer: a tokenizer.json, a folder that holds one, or a name on the Hugging Face hub. None means the
        tokenizer of `seqio_tasks.settings` at the time of use: that is what the registered tasks have.
      chat_template: "none", "tokenizer" or a file (see `chat`); None: that of the settings, likewise.
    """

    def __init__(self, tokenizer: str | Path | None = None, *, chat_template: str | None = None) -> None:
        super().__init__()
        self._name = None if tokenizer is None else str(tokenizer)
        self._chat_template = chat_template

    @property
    def name(self) -> str:
        """The tokenizer as it was named."""
        return settings.current().tokenizer if self._name is None else self._name

    @property
    def _loaded(self) -> LoadedTokenizer:
        path = find_tokenizer(self.name)
        stat = path.stat()
        return load(str(path), stat.st_mtime_ns, stat.st_size)

    @property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` itself; its ids are Hugging Face ids."""
        return self._loaded.tokenizer

    @property
    def fingerprint(self) -> str:
        """sha256 over tokenizer.json and the ids that begin and end sequences."""
        return self._loaded.fingerprint

    @property
    def id_offset(self) -> int:
        return self._loaded.offset

    @property
    def hf_vocab_size(self) -> int:
        """One more than the greatest Hugging Face id."""
        return self._loaded.size

    @property
    def bos_id(self) -> int | None:
        """What begins a sequence; None as well where the chat template in force begins with something
        else."""
        chat_format = self.chat_format
        if chat_format is not None and not chat_format.begins_with_bos:
            return None
        return self._shifted(self._loaded.bos)

    @property
    def chat_format(self) -> chat.ChatFormat | None:
        """The chat template in force on this tokenizer; None: prompts are plain text."""
        return chat.in_force(self.name, self._chat_template)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that may end an answer: EOS, and the end of the assistant's turn in a chat."""
        chat_format = self.chat_format
        ends = (self.eos_id, None if chat_format is None else chat_format.end_id)
        return tuple(dict.fromkeys(end for end in ends if end is not None))

    @property
    def eos_id(self) -> int | None:
        return self._shifted(self._loaded.eos)

    @property
    def unk_id(self) -> int | None:
        return self._shifted(self._loaded.unknown)

    @property
    def _base_vocab_size(self) -> int:
        return self._loaded.size + self._loaded.offset

    def to_hf(self, ids: Iterable[int] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """SeqIO ids [n] -> Hugging Face ids, int32 [n]. Padding has no such id and is refused."""
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int32)
        offset = self.id_offset
        if offset and array.size and int(array.min()) < offset:
            raise ValueError("padding (id 0) has no id in this tokenizer; cut it off before `to_hf`")
        return array - np.int32(offset)

    def from_hf(self, ids: Iterable[int] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Hugging Face ids [n] -> SeqIO ids, int32 [n]."""
        return np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int32) + np.int32(
            self.id_offset
        )

    def encode_answer(self, text: str) -> list[int]:
        """The ids with which an answer begins after a prompt, chat template in force or not; no end."""
        chat_format = self.chat_format
        return self._encode(text) if chat_format is None else chat_format.encode_choices([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts at once (several times faster than one by one)."""
        loaded = self._loaded
        found = []
        for text, encoding in zip(
            texts, loaded.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False), strict=True
        ):
            ids: list[int] = encoding.ids
            if not loaded.control.isdisjoint(ids):
                ids = spelled(loaded, text)[0]
            found.append([token + 1 for token in ids] if loaded.offset else ids)
        return found

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text and, for each, the characters it stands for: [start, end)."""
        loaded = self._loaded
        ids, offsets = spelled(loaded, text)
        return [token + loaded.offset for token in ids], offsets

    def _encode(self, s: str) -> list[int]:
        return self.encode_batch([s])[0]

    def _decode(self, ids: Sequence[int]) -> str:
        loaded = self._loaded
        known = [int(token) - loaded.offset for token in ids if int(token) != seqio.vocabularies.PAD_ID]
        text: str = loaded.tokenizer.decode(
            [token for token in known if 0 <= token < loaded.size], skip_special_tokens=True
        )
        return text

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        """A string tensor [] -> int32 [tokens]; [n] -> int32 ragged [n, (tokens)]."""
        s = tf.convert_to_tensor(s)
        if s.shape.rank not in (0, 1):
            raise ValueError(f"encode_tf takes strings of shape [] or [n], got {s.shape}")

        def encode(strings: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
            encoded = self.encode_batch([string.decode("utf-8") for string in np.atleast_1d(strings)])
            flat = [token for ids in encoded for token in ids]
            return np.asarray(flat, np.int32), np.asarray([len(ids) for ids in encoded], np.int64)

        values, lengths = tf.numpy_function(encode, [s], (tf.int32, tf.int64), stateful=False)
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

        text = tf.numpy_function(decode, [ids], tf.string, stateful=False)
        text.set_shape(ids.shape[:-1])
        return text

    def _shifted(self, token: int | None) -> int | None:
        return None if token is None else token + self._loaded.offset

    def __getstate__(self) -> dict[str, Any]:
        """A pickled vocabulary means the tokenizer in force when it was pickled, in any process."""
        return self.__dict__ | {"_name": self.name}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HuggingFaceVocabulary):
            return NotImplemented
        return self.name == other.name or self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"HuggingFaceVocabulary({self.name!r})"
