"""Finding and loading a `tokenizer.json`, and its control tokens.

Ids are Hugging Face ids throughout; `tokenizer` shifts them where SeqIO needs it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from tokenizers import Tokenizer

from seqio_tasks import hub_names
from seqio_tasks.base import DataError, MissingData, read_json_object

TOKENIZER_FILE = "tokenizer.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"  # see `prompts.chat`; older folders use tokenizer_config.json
# Files beside it that name the control tokens; later files override earlier ones.
_NAME_FILES = ("special_tokens_map.json", "tokenizer_config.json")
# Files that give their ids, used where no name is given.
_ID_FILES = ("config.json", "generation_config.json")


@dataclasses.dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer and its ids, all of them Hugging Face ids.

    control: ids of control tokens; offset: what is added to ids to keep 0 for padding (0 or 1).
    """

    tokenizer: Tokenizer
    fingerprint: str
    size: int
    bos: int | None
    eos: int | None
    unknown: int | None
    control: frozenset[int]
    offset: int


def find_tokenizer(name: str) -> Path:
    """The tokenizer.json of a file, folder or hub name (downloaded once by huggingface_hub).

    Args:
      name: a path, ``org/name``, or ``org/name@revision``.

    Raises:
      MissingData: there is none.
    """
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


def local_tokenizer(name: str) -> Path | None:
    """The tokenizer.json of a file, folder or hub name if it is on this machine; nothing is downloaded."""
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / TOKENIZER_FILE
        return path if path.is_file() else None
    if path.is_file():
        return path
    # Imported here: it takes longer than all other imports of this module, and most tokenizers are files.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    repository, revision = hub_names.split(name)
    try:
        cached = try_to_load_from_cache(repository, TOKENIZER_FILE, revision=revision)
    except HFValidationError:  # the path of a missing file is not a hub name
        return None
    return Path(cached) if isinstance(cached, str) else None


@functools.cache
def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download  # here for the same reason
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    repository, revision = hub_names.split(name)

    def download(file: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, file, revision=revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None

    try:
        tokenizer = download(TOKENIZER_FILE)
        for file in (*_NAME_FILES, *_ID_FILES, CHAT_TEMPLATE_FILE):  # they land beside it
            download(file)
    except (
        HFValidationError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise MissingData(
            f"{name!r} is no file or folder, and cannot be downloaded from the Hugging Face hub ({error})",
            todo=f"give the path of a {TOKENIZER_FILE}, of its folder, or a hub name",
        ) from error
    if tokenizer is None:
        raise MissingData(f"the hub repository {name!r} has no {TOKENIZER_FILE}")
    return tokenizer


@functools.lru_cache(maxsize=8)
def load(path: str, modified: int, size: int) -> LoadedTokenizer:
    """Load a tokenizer; `modified` and `size` are in the cache key, so a changed file is loaded again."""
    file = Path(path)
    content = file.read_bytes()
    names, ids = special_tokens(file.parent)
    tokenizer = _open(content, {name for name in names.values() if name}, file)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if not vocabulary:
        raise DataError("has no token", path=file, todo="download it again")
    bos, eos = (_control_id(kind, names, ids, tokenizer, file) for kind in ("bos", "eos"))
    model = json.loads(content)["model"]
    unknown_token = model.get("unk_token")
    if isinstance(model.get("unk_id"), int):  # Unigram names it by number
        unknown_token = tokenizer.id_to_token(model["unk_id"])
    unknown = None if unknown_token is None else tokenizer.token_to_id(unknown_token)
    control = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    control |= {token for token in (bos, eos) if token is not None}
    # Ids can stay unshifted only if id 0 never occurs in a sequence: it is a control token, but neither BOS
    # nor EOS, nor an unknown token that text can produce (with byte fallback it cannot).
    gives_unknown = unknown == 0 and not model.get("byte_fallback", False)
    reserved = 0 in control and 0 not in (bos, eos) and not gives_unknown
    digest = hashlib.sha256(content)
    digest.update(json.dumps([bos, eos]).encode())
    return LoadedTokenizer(
        tokenizer=tokenizer,
        fingerprint=digest.hexdigest(),
        size=max(vocabulary.values()) + 1,
        bos=bos,
        eos=eos,
        unknown=unknown,
        control=frozenset(control - {unknown}),
        offset=0 if reserved else 1,
    )


def read_tokenizer(file: Path) -> Tokenizer:
    """A tokenizer.json as the library reads it.

    Raises:
      DataError: it cannot be read.
    """
    return _parsed(file.read_bytes(), file)


def _parsed(content: bytes, file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises plain Exception
        reason = str(error).splitlines()[0]
        raise DataError(
            f"cannot be read as a tokenizer: {reason}", path=file, todo="download it again"
        ) from error


def _open(content: bytes, control: set[str], file: Path) -> Tokenizer:
    """The tokenizer without truncation or padding, treating the strings of control tokens as text."""
    tokenizer = _parsed(content, file)
    description = json.loads(content)
    marked = False
    for added in description.get("added_tokens") or ():
        if added["content"] in control and not added["special"]:
            added["special"] = marked = True  # some files register BOS or EOS as ordinary added words
    if marked:
        tokenizer = _parsed(json.dumps(description).encode(), file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def special_tokens(folder: Path) -> tuple[dict[str, str | None], dict[str, int]]:
    """({"bos": "<s>", ...} from the tokenizer's files, {"bos": 1, ...} from the model's files) of a folder.

    A name given as null means that there is no such token; ids are used only for tokens not mentioned at all.
    """
    names: dict[str, str | None] = {}
    ids: dict[str, int] = {}
    for file in (*_NAME_FILES, *_ID_FILES):
        path = folder / file
        if not path.is_file():
            continue
        content = read_json_object(path)
        for kind in ("bos", "eos", "unk", "pad"):
            if file in _NAME_FILES and f"{kind}_token" in content:
                token = content[f"{kind}_token"]
                name = token.get("content", token) if isinstance(token, dict) else token
                if name is not None and not isinstance(name, str):
                    raise DataError(f"{kind}_token is {token!r:.80}, expected a text or null", path=path)
                names[kind] = name
            number = content.get(f"{kind}_token_id")
            number = number[0] if isinstance(number, list) and number else number
            if file in _ID_FILES and isinstance(number, int):
                ids[kind] = number
    return names, ids


def _control_id(
    kind: str, names: dict[str, str | None], ids: dict[str, int], tokenizer: Tokenizer, file: Path
) -> int | None:
    if kind not in names:
        if kind == "eos" and kind not in ids:
            raise DataError(
                "no file beside it names the token that ends a sequence, so no answer could end",
                path=file,
                todo='add tokenizer_config.json with "eos_token" (null if there is none)',
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
            todo="the files of two tokenizers may be mixed",
        )
    return found


def spelled(loaded: LoadedTokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and character offsets of a text, with control tokens spelled out.

    Some models have control strings among their words ("</s>" in a Unigram model) and find them in plain text
    even when control tokens are not parsed. Such a token is replaced by the tokens of its single characters.
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
