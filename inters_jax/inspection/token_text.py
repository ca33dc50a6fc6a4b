r"""The text of every single token of a sequence.

A tokenizer decodes sequences, not tokens: one character may be spread over several tokens, and a leading
space may vanish. Here every token gets its own bytes from the vocabulary, and a character belongs to the
token that holds its first byte.

    ids        9     15    31    77     78
    token      Ġcaf  Ã     ©     <s>    Ġ!          (byte-level BPE)
    text       " caf" "é"   ""    "<s>"  " !"
    kind       TEXT  TEXT  REST  SPECIAL TEXT

Control characters become visible symbols, so that data cannot change the direction of the page's text.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inters_jax.data.pass_files import StoreError
from seqio_tasks import tokenizer_files
from seqio_tasks.base import file_sha256, read_json_object

TEXT, BOS, EOS, SPECIAL, REST = range(5)  # REST: only later bytes of a character
Piece = tuple[int, str, int]  # id, text, kind

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_KEPT_CONTROLS = "\n\t"


class TokenTexts:
    """The texts of the tokens of one tokenizer.

    Args:
      description: content of a tokenizer.json.
      bos_id: the token that begins sequences, or None.
      eos_id: the token that ends them, or None.
    """

    def __init__(self, description: Mapping[str, Any], *, bos_id: int | None, eos_id: int | None) -> None:
        tokenizer = Tokenizer.from_str(json.dumps(description))
        self._token = tokenizer.id_to_token
        decoder = json.dumps([description.get("decoder"), description.get("pre_tokenizer")])
        self._from_bytes = _byte_alphabet() if '"ByteLevel"' in decoder else None
        added = tokenizer.get_added_tokens_decoder()
        self._added = {number: token.content for number, token in added.items()}
        self._special = {number for number, token in added.items() if token.special}
        self._ends = {bos_id: BOS, eos_id: EOS}
        self._bytes: dict[int, bytes] = {}

    def pieces(self, ids: Iterable[int]) -> list[Piece]:
        """One (id, text, kind) per token."""
        found: list[list[Any]] = []
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        owner = -1  # the token that holds the first byte of an unfinished character
        for number, token in enumerate(ids):
            kind = self._ends.get(token, SPECIAL if token in self._special else TEXT)
            found.append([token, "", kind])
            if kind != TEXT:
                self._flush(found, decoder, owner)
                owner = -1
                found[number][1] = self._name(token)
                continue
            data = self._token_bytes(token)
            if owner < 0:
                try:
                    found[number][1] = data.decode("utf-8")
                    continue
                except UnicodeDecodeError:
                    pass
            for byte in data:
                owner = number if owner < 0 else owner
                if text := decoder.decode(bytes([byte])):
                    # Two characters at once: a replaced broken one, and the one that showed it was broken.
                    found[owner][1] += text[:1]
                    found[number][1] += text[1:]
                    owner = number if decoder.getstate()[0] else -1
        self._flush(found, decoder, owner)
        return [
            (token, visible(text), REST if kind == TEXT and not text else kind) for token, text, kind in found
        ]

    @staticmethod
    def _flush(found: list[list[Any]], decoder: codecs.IncrementalDecoder, owner: int) -> None:
        rest = decoder.decode(b"", final=True)
        decoder.reset()
        if rest and owner >= 0:
            found[owner][1] += rest

    def _name(self, token: int) -> str:
        return self._token(token) or f"[{token}]"

    def _token_bytes(self, token: int) -> bytes:
        if token not in self._bytes:
            self._bytes[token] = self._spelled(token)
        return self._bytes[token]

    def _spelled(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode("utf-8", "replace")
        name = self._name(token)
        if self._from_bytes is not None:
            if all(character in self._from_bytes for character in name):
                return bytes(self._from_bytes[character] for character in name)
        elif match := _BYTE_TOKEN.fullmatch(name):
            return bytes([int(match[1], 16)])
        return name.replace("\u2581", " ").encode("utf-8", "replace")


def visible(text: str) -> str:
    r"""Replace control and invisible formatting characters by symbols, except line breaks and tabs.

    >>> visible("a\x00b\n\x1b")
    'a\u2400b\n\u241b'
    >>> visible("left\u202eright")
    'left⟨202E⟩right'
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(character if character in _KEPT_CONTROLS else _symbol(character) for character in text)


def _symbol(character: str) -> str:
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "\u2421"
    # Joiners (emoji, Indic scripts) are kept: they are part of how their neighbours look.
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\u200c\u200d"
    return f"\u27e8{code:04X}\u27e9" if hidden else character


def _byte_alphabet() -> dict[str, int]:
    """Character -> byte of byte-level vocabularies: printable Latin-1 as itself, the others from 256 up."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def open_texts(manifest: Mapping[str, Any], tokenizer: str | None) -> TokenTexts:
    """The texts of a store's tokens.

    Args:
      manifest: of the store.
      tokenizer: a tokenizer.json, a folder with one or a hub name; None: the name in the manifest.

    Raises:
      StoreError: the tokenizer is not the one that made the store, or is not on this machine.
    """
    known = manifest["tokenizer"]
    name = tokenizer or known["name"]
    file = find_tokenizer(name)
    sha256 = file_sha256(file)
    if known["sha256"] and sha256 != known["sha256"]:
        raise StoreError(
            f"{file} is not the tokenizer of the store (made with {known['name']}, another tokenizer.json); "
            "its ids would be shown as the wrong text. Name the right one with --gin.TOKENIZER=..."
        )
    description = read_json_object(file)
    return TokenTexts(description, bos_id=known["bos_id"], eos_id=known["eos_id"])


def find_tokenizer(name: str) -> Path:
    """The tokenizer.json behind a file, a folder or a hub name."""
    if not name:
        raise StoreError("the store does not say which tokenizer made it; name it with --gin.TOKENIZER=...")
    if Path(name).is_absolute() and tokenizer_files.local_tokenizer(name) is None:
        raise StoreError(
            f"the tokenizer {name} is not on this machine; name its place here with --gin.TOKENIZER=..."
        )
    return tokenizer_files.find_tokenizer(name)
