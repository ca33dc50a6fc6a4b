"""A Hugging Face tokenizer with the ids and rules of this project, without SeqIO or TensorFlow.

`HuggingFaceTokenizer` encodes exactly like the `tokenizers` library without special tokens, except that the
strings of control tokens ("</s>", "<|im_end|>") in data are plain text: a web page must not end a sequence.

SeqIO reserves id 0 for padding: it derives loss weights, lengths and segments from "is not 0". Where a
tokenizer's own id 0 can occur inside a sequence (Qwen, GPT-2: "!"; Pythia: the end of text), all ids are
therefore shifted by `id_offset` = 1:

    seqio id = Hugging Face id + id_offset

Every id that this class takes or returns is a SeqIO id, including bos_id and eos_id; `to_hf` and `from_hf`
convert. `vocabularies.HuggingFaceVocabulary` is this class as a SeqIO vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from seqio_tasks import settings
from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer_files import LoadedTokenizer, find_tokenizer, load, spelled

PAD_ID = 0


class HuggingFaceTokenizer:
    """A `tokenizer.json`. Nothing is loaded until it is needed, and an instance pickles as its name.

    Args:
      tokenizer: a tokenizer.json, a folder that holds one, or a name on the Hugging Face hub. None: the
        tokenizer of `seqio_tasks.settings` at the time of use, as for the registered tasks.
      chat_template: "none", "tokenizer" or a file (see `prompts.chat`); None: that of the settings, likewise.
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
    def tokenizer(self) -> Tokenizer:
        """The `tokenizers.Tokenizer` itself; its ids are Hugging Face ids."""
        return self._loaded.tokenizer

    @property
    def fingerprint(self) -> str:
        """sha256 over tokenizer.json and the ids that begin and end sequences."""
        return self._loaded.fingerprint

    @property
    def id_offset(self) -> int:
        """SeqIO id minus Hugging Face id: 0 or 1."""
        return self._loaded.offset

    @property
    def hf_vocab_size(self) -> int:
        """One more than the largest Hugging Face id."""
        return self._loaded.size

    @property
    def vocab_size(self) -> int:
        """One more than the largest SeqIO id."""
        return self._loaded.size + self._loaded.offset

    @property
    def pad_id(self) -> int:
        return PAD_ID

    @property
    def bos_id(self) -> int | None:
        """The token that begins a sequence; None also where the current chat template begins with another."""
        chat_format = self.chat_format
        if chat_format is not None and not chat_format.begins_with_bos:
            return None
        return self._shifted(self._loaded.bos)

    @property
    def eos_id(self) -> int | None:
        """The token that ends a sequence."""
        return self._shifted(self._loaded.eos)

    @property
    def unk_id(self) -> int | None:
        """The unknown token."""
        return self._shifted(self._loaded.unknown)

    @property
    def chat_format(self) -> chat.ChatFormat | None:
        """The current chat template on this tokenizer; None: prompts are plain text."""
        return chat.in_force(self.name, self._chat_template)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that may end an answer: EOS, and the end of the assistant's turn in a chat."""
        chat_format = self.chat_format
        ends = (self.eos_id, None if chat_format is None else chat_format.end_id)
        return tuple(dict.fromkeys(end for end in ends if end is not None))

    def to_hf(self, ids: Iterable[int] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """SeqIO ids [n] -> Hugging Face ids, int32 [n].

        Raises:
          ValueError: there is padding among the ids, which has no Hugging Face id.
        """
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int32)
        offset = self.id_offset
        if offset and array.size and int(np.min(array)) < offset:
            raise ValueError("padding (id 0) has no id in this tokenizer; cut it off before `to_hf`")
        return array - np.int32(offset)

    def from_hf(self, ids: Iterable[int] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Hugging Face ids [n] -> SeqIO ids, int32 [n]."""
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int32)
        return array + np.int32(self.id_offset)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without BOS and EOS."""
        return self.encode_batch([text])[0]

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
        """The ids of a text and, for each, the range of its characters: [start, end)."""
        loaded = self._loaded
        ids, offsets = spelled(loaded, text)
        return [token + loaded.offset for token in ids], offsets

    def encode_answer(self, text: str) -> list[int]:
        """The ids with which an answer begins after a prompt, in a chat template or not; without its end."""
        chat_format = self.chat_format
        return self.encode(text) if chat_format is None else chat_format.encode_choices([text])[0]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, up to the first EOS, as `seqio.Vocabulary.decode` defines it.

        Padding and control tokens are dropped. Ids out of range are unknown tokens, and dropped if there is
        none.
        """
        loaded, eos, unknown = self._loaded, self.eos_id, self.unk_id
        found: list[int] = np.asarray(ids if hasattr(ids, "__array__") else list(ids), np.int64).tolist()
        if unknown is not None:
            found = [token if token < self.vocab_size else unknown for token in found]
        if eos in found:
            found = found[: found.index(eos) + 1]
        known = (token - loaded.offset for token in found if token != PAD_ID)
        return loaded.tokenizer.decode(
            [token for token in known if 0 <= token < loaded.size], skip_special_tokens=True
        )

    def _shifted(self, token: int | None) -> int | None:
        return None if token is None else token + self._loaded.offset

    def __getstate__(self) -> dict[str, Any]:
        """A pickled tokenizer is the one in use when it was pickled, in any process."""
        return self.__dict__ | {"_name": self.name}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HuggingFaceTokenizer):
            return NotImplemented
        return self.name == other.name or self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
