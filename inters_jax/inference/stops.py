"""Stop strings: an answer ends where one of them begins in its decoded text.

Tokens and strings do not align: a stop string can begin inside one token and end inside another. It is
therefore searched for in the decoded text of the whole answer so far, and the answer is cut in the text. The
answer contains neither the stop string nor anything after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqio_tasks.base import UserError


@dataclass(frozen=True)
class StopStrings:
    """Cut answers at the first of several strings.

    Args:
      tokenizer: a `tokenizers.Tokenizer`, or an object with one as its `.tokenizer` (HuggingFaceTokenizer).
      strings: the stop strings; none may be empty.

    Raises:
      UserError: a string is empty, or there is no tokenizer.
    """

    tokenizer: Any
    strings: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.strings, str) or not all(isinstance(text, str) and text for text in self.strings):
            raise UserError(f"stop_strings must be a sequence of non-empty strings, not {self.strings!r}")
        if self.tokenizer is None:
            raise UserError("stop strings need a tokenizer to decode answers, but the model has none")

    def found(self, ids: Sequence[int] | np.ndarray) -> bool:
        """Whether the text of these tokens contains a stop string."""
        text = self._text(ids)
        return any(stop in text for stop in self.strings)

    def cut(self, ids: Sequence[int]) -> list[int] | None:
        """The tokens before the first stop string; None if there is none.

        If the string begins inside a token, the characters of that token before it are encoded again, so that
        no character of the answer is lost.
        """
        text = self._text(ids)
        places = [place for stop in self.strings if (place := text.find(stop)) >= 0]
        if not places:
            return None
        kept = text[: min(places)]
        # The longest prefix of the tokens whose text is a prefix of what is kept.
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
