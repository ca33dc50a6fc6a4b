"""Stop strings: an answer ends where one of them begins in its decoded text.

Tokens and strings do not align: a stop string may begin inside one token and end inside another. It is
therefore looked for in the decoded text of the whole answer so far, and the answer is cut in the text. The
stop string is not part of the answer, nor is anything behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StopStrings:
    """Cuts answers at the first of some strings.

    tokenizer: a `tokenizers.Tokenizer`, or anything with one as its `.tokenizer` (HuggingFaceTokenizer).
    strings: what ends an answer; not empty.
    """

    tokenizer: Any
    strings: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.strings, str) or not all(isinstance(text, str) and text for text in self.strings):
            raise ValueError(f"stop_strings must be a sequence of texts that are not empty: {self.strings!r}")
        if self.tokenizer is None:
            raise ValueError("stop strings are found in decoded text: the model came without a tokenizer")

    def found(self, ids: Sequence[int] | np.ndarray) -> bool:
        """Whether the text of these tokens holds a stop string."""
        text = self._text(ids)
        return any(stop in text for stop in self.strings)

    def cut(self, ids: Sequence[int]) -> list[int] | None:
        """The tokens before the first stop string; None when there is none.

        Where the string begins inside a token, the characters of that token before it are encoded anew, so
        that no character of the answer is lost.
        """
        text = self._text(ids)
        places = [place for stop in self.strings if (place := text.find(stop)) >= 0]
        if not places:
            return None
        kept = text[: min(places)]
        # The longest beginning of the tokens whose text is a beginning of what is kept.
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high + 1) // 2
            if kept.startswith(self._text(ids[:middle])):
                low = middle
            else:
                high = middle - 1
        begun = self._text(ids[:low])
        rest = kept[len(begun) :]
        return [*ids[:low], *(self._encode(rest) if rest else ())]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def _text(self, ids: Sequence[int] | np.ndarray) -> str:
        text: str = self._inner.decode(list(map(int, ids)), skip_special_tokens=True)
        return text

    @property
    def _inner(self) -> Any:
        return getattr(self.tokenizer, "tokenizer", self.tokenizer)
