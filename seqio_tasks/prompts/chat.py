"""Chat templates: the prompt as the user's turn of a conversation, the answer as the assistant's.

Prompts are plain text, as in the paper, unless `settings.chat_template` names a template: "tokenizer" (the
one that comes with the tokenizer) or a file with Jinja text. A template is rendered once, in Jinja's sandbox,
with marks in place of the two texts; only the text around the marks is kept:

    <s><|user|>\\n  MARK  <|end|>\\n<|assistant|>\\n      MARK  <|end|>\\n
    -----------        ------------------------           -------
    head        user   tail                    lead answer end      (lead: what the template puts between)

* `inputs` becomes head + user text + tail, the ids of `apply_chat_template(add_generation_prompt=True)`;
* `targets` becomes lead + answer + end, up to the last control token of the end, which ends a generation;
* the template's own control strings are control tokens, the same strings in the data are plain text;
* BOS is dropped where the template writes it: the store, the generator and the scorer put it in front of
  every sequence. Where it writes none, sequences have none (`HuggingFaceTokenizer.bos_id` is None then).

A lead that is not only whitespace (an empty "<think></think>") belongs to the prompt: the model need not
write it. Where a template trims a turn, the text is trimmed here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData, read_json_object, read_text
from seqio_tasks.prompts.chat_templates import render
from seqio_tasks.tokenizer_files import (
    CHAT_TEMPLATE_FILE,
    LoadedTokenizer,
    find_tokenizer,
    load,
    special_tokens,
    spelled,
)

NONE, TOKENIZER = "none", "tokenizer"
_USER, _ANSWER = "qU3stMark", "aNsw3rMark"
_BLANKS = " \n "  # around a mark, to detect whether the template trims


@dataclasses.dataclass(frozen=True)
class Turns:
    """The text of a template around the two texts, and whether it trims them."""

    head: str
    tail: str
    lead: str
    end: str
    trims_user: bool
    trims_answer: bool


class ChatFormat:
    """A template on a tokenizer. Ids are SeqIO ids (see `tokenizer`), without BOS."""

    def __init__(self, turns: Turns, loaded: LoadedTokenizer) -> None:
        self.turns = turns
        self._loaded = loaded
        # A copy that parses control tokens, for the template's own text.
        self._parsing = Tokenizer.from_str(loaded.tokenizer.to_str())
        self._parsing.encode_special_tokens = False
        self._prompt_controls = self._controls(self._parse(turns.head + "x" + turns.tail))
        self.begins_with_bos = loaded.bos is not None and self._prompt_controls[:1] == [loaded.bos]
        # An answer is encoded after the template's text since the last control token, as in a conversation.
        encoding = self._parsing.encode(turns.tail, add_special_tokens=False)
        last = max((i for i, token in enumerate(encoding.ids) if token in loaded.control), default=-1)
        self._before = turns.tail[encoding.offsets[last][0] if last >= 0 else 0 :]
        self._before_ids = self._parse(self._before)
        self._answer_controls = self._controls(self._parse(self._before + turns.lead + "x" + turns.end))
        ends = self._controls(self._parse(turns.end))
        self._ends = bool(ends)
        if not ends and loaded.eos is None:
            raise DataError(
                "the chat template ends the assistant's turn without a control token, and the tokenizer has "
                "no EOS: no answer could end"
            )
        self._end = ends[-1] if ends else loaded.eos

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        assert self._end is not None
        return self._end + self._loaded.offset

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of user texts in the template, up to where the assistant's answer begins."""
        turns = self.turns
        users = [text.strip() if turns.trims_user else text for text in texts]
        whole = [turns.head + user + turns.tail for user in users]
        found = []
        for user, encoding in zip(
            users, self._parsing.encode_batch_fast(whole, add_special_tokens=False), strict=True
        ):
            ids: list[int] = encoding.ids
            if self._controls(ids) != self._prompt_controls:  # the user's text has control strings
                ids = self._pieces(turns.head, user, turns.tail)
            found.append(self._shifted(ids[1:] if self.begins_with_bos else ids))
        return found

    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of answers, including the token that ends them."""
        turns = self.turns
        found = []
        for text in texts:
            answer = text.strip() if turns.trims_answer else text
            ids = self._parse(self._before + turns.lead + answer + turns.end)
            size = len(self._before_ids)
            if ids[:size] == self._before_ids and self._controls(ids) == self._answer_controls:
                ids = ids[size:]
            else:
                ids = self._pieces(turns.lead, answer, turns.end)
            if self._ends:
                while ids[-1] not in self._loaded.control:
                    ids = ids[:-1]
            else:
                ids = [*ids, int(self._loaded.eos or 0)]
            found.append(self._shifted(ids))
        return found

    def encode_choices(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids with which answers begin: without the end of the turn, for scoring."""
        end = self._parse(self.turns.end) if self._ends else [int(self._loaded.eos or 0)]
        while end[-1] not in self._loaded.control:
            end = end[:-1]
        shifted = self._shifted(end)
        return [
            ids[: len(ids) - (len(end) if ids[-len(end) :] == shifted else 1)]
            for ids in self.encode_answers(texts)
        ]

    def _pieces(self, before: str, text: str, after: str) -> list[int]:
        """Ids in which only control strings of the template are control tokens.

        The template's plain text next to the data is encoded with it, as one text.
        """
        left = self._parsing.encode(before, add_special_tokens=False)
        right = self._parsing.encode(after, add_special_tokens=False)
        control = self._loaded.control
        last = max((i for i, token in enumerate(left.ids) if token in control), default=None)
        first = next((i for i, token in enumerate(right.ids) if token in control), None)
        plain_left = before if last is None else before[left.offsets[last][1] :]
        plain_right = after if first is None else after[: right.offsets[first][0]]
        middle = spelled(self._loaded, plain_left + text + plain_right)[0]
        return [
            *([] if last is None else left.ids[: last + 1]),
            *middle,
            *([] if first is None else right.ids[first:]),
        ]

    def _parse(self, text: str) -> list[int]:
        ids: list[int] = self._parsing.encode(text, add_special_tokens=False).ids
        return ids

    def _controls(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._loaded.control]

    def _shifted(self, ids: Sequence[int]) -> list[int]:
        return [token + self._loaded.offset for token in ids]


def in_force(tokenizer: str, template: str | None = None) -> ChatFormat | None:
    """The chat format of a tokenizer; None: plain text.

    Args:
      tokenizer: tokenizer.json, a folder with one, or a hub name.
      template: as `settings.chat_template`; None: that of the settings.
    """
    chosen = settings.current().chat_template if template is None else template
    if chosen == NONE:
        return None
    file = find_tokenizer(tokenizer)
    stat = file.stat()
    try:
        return _format(template_text(chosen, file), str(file), stat.st_mtime_ns, stat.st_size)
    except DataError as error:
        if error.path is not None:
            raise
        raise DataError(error.what, path=template_file(chosen, file), todo=error.todo) from error


@functools.lru_cache(maxsize=8)
def _format(text: str, file: str, modified: int, size: int) -> ChatFormat:
    names = {f"{kind}_token": name for kind, name in special_tokens(Path(file).parent)[0].items() if name}
    return ChatFormat(turns_of(text, names), load(file, modified, size))


def fingerprint(template: str, tokenizer: str) -> str:
    """sha256 of the template's text; "" for plain text."""
    if template == NONE:
        return ""
    return hashlib.sha256(template_text(template, tokenizer).encode()).hexdigest()


def template_file(template: str, tokenizer: str | Path) -> Path:
    """The file that holds a chat template: Jinja text, or JSON with "chat_template".

    Args:
      template: "tokenizer" or the path of a file.
      tokenizer: tokenizer.json, a folder with one, or a hub name; used for "tokenizer" only.

    Raises:
      MissingData: there is no such file.
    """
    path = Path(template).expanduser()
    if template == TOKENIZER:
        folder = find_tokenizer(str(tokenizer)).parent
        beside = folder / CHAT_TEMPLATE_FILE
        path = beside if beside.is_file() else folder / "tokenizer_config.json"
    if not path.is_file():
        raise MissingData(
            "no such chat template",
            path=path,
            todo=f"chat_template is {NONE!r}, {TOKENIZER!r} or the path of a file with Jinja text",
        )
    return path


def template_text(template: str, tokenizer: str | Path) -> str:
    """The Jinja text of a chat template; arguments as for `template_file`."""
    path = template_file(template, tokenizer)
    if path.suffix != ".json":
        return read_text(path)
    found: Any = read_json_object(path).get("chat_template")
    if isinstance(found, list):  # several by name
        named = [entry for entry in found if isinstance(entry, dict) and entry.get("name") == "default"]
        found = named[-1].get("template") if named else None
    if not isinstance(found, str):
        raise MissingData(
            "has no chat template",
            path=path,
            todo=f"leave chat_template at {NONE!r} for a base model, or give the path of a template",
        )
    return found


def turns_of(text: str, names: dict[str, str]) -> Turns:
    """Render a template with marks and split it at them.

    >>> text = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[end]{% endfor %}"
    >>> turns_of(text + "{% if add_generation_prompt %}[assistant]{% endif %}", {})
    ... # doctest: +NORMALIZE_WHITESPACE
    Turns(head='[user]', tail='[end][assistant]', lead='', end='[end]', trims_user=True, trims_answer=True)
    """
    user = {"role": "user", "content": _BLANKS + _USER + _BLANKS}
    answer = {"role": "assistant", "content": _BLANKS + _ANSWER + _BLANKS}
    prompt = render(text, [user], names, add_generation_prompt=True)
    both = render(text, [user, answer], names, add_generation_prompt=False)
    head, tail, trims_user = _around(prompt, _USER)
    before, end, trims_answer = _around(both, _ANSWER)
    if not before.startswith(prompt):
        raise DataError(
            "the chat template writes a conversation differently from its own prompt followed by an answer "
            f"({before!r} does not begin with {prompt!r}): training and generation would differ",
            todo="give a template without that difference as a file",
        )
    lead = before[len(prompt) :]
    if lead.strip():
        tail, lead = tail + lead, ""
    return Turns(head, tail, lead, end, trims_user, trims_answer)


def _around(rendered: str, mark: str) -> tuple[str, str, bool]:
    """The text before and after a mark, and whether the whitespace around it was trimmed."""
    if rendered.count(mark) != 1:
        raise DataError(f"the chat template writes a message {rendered.count(mark)} times instead of once")
    before, after = rendered.split(mark)
    kept = before.endswith(_BLANKS), after.startswith(_BLANKS)
    if kept == (True, True):
        return before[: -len(_BLANKS)], after[len(_BLANKS) :], False
    if any(kept):
        raise DataError("the chat template trims only one side of a message; use one that trims both")
    return before, after, True
