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

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import seqio
import tensorflow as tf

from seqio_tasks import settings
from seqio_tasks.errors import DataError, MissingData

TOKENIZER_FILE = "tokenizer.json"
# What is read beside it, to know the control tokens by name; later files go before earlier ones.
_NAME_FILES = ("special_tokens_map.json", "tokenizer_config.json")
# Where ids are looked up when no name is given.
_ID_FILES = ("config.json", "generation_config.json")


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A tokenizer and what is known about its ids (all of them Hugging Face ids)."""

    tokenizer: Any
    fingerprint: str
    size: int
    bos: int | None
    eos: int | None
    unknown: int | None
    control: frozenset[int]
    offset: int


class HuggingFaceVocabulary(seqio.Vocabulary):
    """A `tokenizer.json` as a SeqIO vocabulary.

    Args:
      tokenizer: a tokenizer.json, a folder that holds one, or a name on the Hugging Face hub. None means the
        tokenizer of `seqio_tasks.settings` at the time of use: that is what the registered tasks have.
    """

    def __init__(self, tokenizer: str | Path | None = None) -> None:
        super().__init__()
        self._name = None if tokenizer is None else str(tokenizer)

    @property
    def name(self) -> str:
        """The tokenizer as it was named."""
        return settings.current().tokenizer if self._name is None else self._name

    @property
    def _loaded(self) -> _Loaded:
        path = find_tokenizer(self.name)
        stat = path.stat()
        return _load(str(path), stat.st_mtime_ns, stat.st_size)

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
        return self._shifted(self._loaded.bos)

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

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts at once (several times faster than one by one)."""
        loaded = self._loaded
        found = []
        for text, encoding in zip(
            texts, loaded.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False), strict=True
        ):
            ids: list[int] = encoding.ids
            if not loaded.control.isdisjoint(ids):
                ids = _spelled(loaded, text)[0]
            found.append([token + 1 for token in ids] if loaded.offset else ids)
        return found

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text and, for each, the characters it stands for: [start, end)."""
        loaded = self._loaded
        ids, offsets = _spelled(loaded, text)
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


def find_tokenizer(name: str) -> Path:
    """The tokenizer.json of a file, folder or hub name (downloaded once by huggingface_hub)."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        if (path / TOKENIZER_FILE).is_file():
            return path / TOKENIZER_FILE
        raise MissingData(
            f"no {TOKENIZER_FILE} here",
            path=path,
            todo="save the tokenizer in that format, as save_pretrained of a fast tokenizer does",
        )
    return _from_hub(name)


@functools.cache
def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    def download(file: str) -> Path | None:
        try:
            return Path(hf_hub_download(name, file))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None

    try:
        tokenizer = download(TOKENIZER_FILE)
        for file in (*_NAME_FILES, *_ID_FILES):  # they land beside it
            download(file)
    except (
        HFValidationError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise MissingData(
            f"{name!r} is neither a file nor a folder, and not to be had from the Hugging Face hub ({error})",
            todo=f"give the path of a {TOKENIZER_FILE}, of its folder, or a hub name",
        ) from error
    if tokenizer is None:
        raise MissingData(f"the hub repository {name!r} has no {TOKENIZER_FILE}")
    return tokenizer


@functools.lru_cache(maxsize=8)
def _load(path: str, modified: int, size: int) -> _Loaded:
    """Loads a tokenizer; `modified` and `size` make a changed file another one."""
    from tokenizers import Tokenizer

    file = Path(path)
    content = file.read_bytes()
    names, ids = _special_tokens(file.parent)
    tokenizer = _open(content, {name for name in names.values() if name}, file)
    bos, eos = (_control_id(kind, names, ids, tokenizer, file) for kind in ("bos", "eos"))
    model = json.loads(content)["model"]
    unknown_token = model.get("unk_token")
    if isinstance(model.get("unk_id"), int):  # Unigram names it by number
        unknown_token = tokenizer.id_to_token(model["unk_id"])
    unknown = None if unknown_token is None else tokenizer.token_to_id(unknown_token)
    control = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    control |= {token for token in (bos, eos) if token is not None}
    # Id 0 may stay where it is only if it never occurs in a sequence: a control token, neither BOS nor EOS,
    # nor an unknown token that text can really give (with byte fallback it cannot).
    gives_unknown = unknown == 0 and not model.get("byte_fallback", False)
    reserved = 0 in control and 0 not in (bos, eos) and not gives_unknown
    digest = hashlib.sha256(content)
    digest.update(json.dumps([bos, eos]).encode())
    assert isinstance(tokenizer, Tokenizer)
    return _Loaded(
        tokenizer=tokenizer,
        fingerprint=digest.hexdigest(),
        size=max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1,
        bos=bos,
        eos=eos,
        unknown=unknown,
        control=frozenset(control - {unknown}),
        offset=0 if reserved else 1,
    )


def _open(content: bytes, control: set[str], file: Path) -> Any:
    """The tokenizer with neither truncation nor padding, taking the strings of control tokens for text."""
    from tokenizers import Tokenizer

    try:
        description = json.loads(content)
        marked = False
        for added in description.get("added_tokens", ()):
            if added["content"] in control and not added["special"]:
                added["special"] = marked = True  # some files register BOS or EOS as ordinary added words
        tokenizer = Tokenizer.from_str(json.dumps(description) if marked else content.decode("utf-8"))
    except Exception as error:  # the library raises plain Exception
        raise DataError(f"cannot be read as a tokenizer: {error}", path=file) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _special_tokens(folder: Path) -> tuple[dict[str, str | None], dict[str, int]]:
    """({"bos": "<s>", ...} as named by the tokenizer's files, {"bos": 1, ...} from the model's files).

    A name given as null means that there is none; only what is not mentioned at all is taken from the ids.
    """
    names: dict[str, str | None] = {}
    ids: dict[str, int] = {}
    for file in (*_NAME_FILES, *_ID_FILES):
        path = folder / file
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"is not JSON: {error}", path=path) from error
        for kind in ("bos", "eos", "unk", "pad"):
            if file in _NAME_FILES and f"{kind}_token" in content:
                token = content[f"{kind}_token"]
                names[kind] = token["content"] if isinstance(token, dict) else token
            number = content.get(f"{kind}_token_id")
            number = number[0] if isinstance(number, list) and number else number
            if file in _ID_FILES and isinstance(number, int):
                ids[kind] = number
    return names, ids


def _control_id(
    kind: str, names: dict[str, str | None], ids: dict[str, int], tokenizer: Any, file: Path
) -> int | None:
    if kind not in names:
        if kind == "eos" and kind not in ids:
            raise DataError(
                "nothing beside it tells the token that ends a sequence, so no answer could end",
                path=file,
                todo='add tokenizer_config.json with "eos_token" (null if there really is none)',
            )
        return ids.get(kind)
    name = names[kind]
    if name is None:
        return None
    found: int | None = tokenizer.token_to_id(name)
    if found is None:
        raise DataError(
            f"has no token {name!r}, which the files beside it name as {kind}_token",
            path=file,
            todo="the files of two tokenizers may have been mixed",
        )
    return found


def _spelled(loaded: _Loaded, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and character offsets of a text, control tokens spelled letter by letter.

    Some models hold control strings among their words ("</s>" in a Unigram model) and find them in plain text
    even though they are not looked for. Such a token is replaced by the tokens of its single characters.
    """
    encoding = loaded.tokenizer.encode(text, add_special_tokens=False)
    if loaded.control.isdisjoint(encoding.ids):
        return encoding.ids, encoding.offsets
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if token not in loaded.control:
            ids.append(token)
            offsets.append((start, end))
            continue
        for position in range(start, end):
            letter = loaded.tokenizer.token_to_id(text[position])
            letter = loaded.unknown if letter is None else letter
            if letter is not None:
                ids.append(letter)
                offsets.append((position, position + 1))
    return ids, offsets
