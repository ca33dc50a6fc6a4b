"""Template, shots and parts of stored examples, found by rendering them again.

A store keeps token ids, not how they were made. Our tasks are functions of (seed, pass, example_id), so the
prompt can be rendered again from its row. The result counts only if it gives exactly the stored tokens.

    sequence   <s> d d d d \\n\\n e e e cue \\n a a \\n\\n q q q cue \\n | a </s>
    parts          description  demonstration 1            item            completion
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection.sampling import Pick
from seqio_tasks import named_tasks, settings, templates
from seqio_tasks.base import DataError, UserError
from seqio_tasks.prompts.encoding import Encoder, largest_list
from seqio_tasks.prompts.filling import BLANK
from seqio_tasks.prompts.render import render as render_prompt
from seqio_tasks.tokenizer import HuggingFaceTokenizer

DESCRIPTION, ITEM = "description", "item"


@dataclass(frozen=True)
class Rendering:
    """How an example was made.

    Attributes:
      template: its number.
      family: of ranking templates, else None.
      shots: demonstrations in the prompt.
      shortened: document tokens cut by the length rule.
      parts: (name, first token in the sequence) of the parts of the prompt; empty when unknown.
    """

    template: int
    family: str | None
    shots: int
    shortened: int
    parts: tuple[tuple[str, int], ...]


def render(
    store: TokenStore, picks: Sequence[Pick], *, raw_dir: Path, tokenizer: Path
) -> tuple[dict[Pick, Rendering], dict[str, str]]:
    """Render examples again.

    Args:
      store: the store the picks come from.
      picks: examples of it.
      raw_dir: the folder of official files it was made from.
      tokenizer: its tokenizer.json.

    Returns:
      the renderings, and task -> reason for tasks with examples that have none.
    """
    found: dict[Pick, Rendering] = {}
    reasons: dict[str, str] = {}
    asked = store.manifest["settings"]
    if "chat_template" in asked:
        why = "prompts in a chat template are not split into parts"
        return {}, dict.fromkeys((pick.task for pick in picks), why)
    shaping = {name: asked[name] for name in ("max_length", "max_shots", "max_cut", "seed") if name in asked}
    by_task: dict[str, list[Pick]] = defaultdict(list)
    for pick in picks:
        by_task[pick.task].append(pick)
    with settings.override(raw_dir=str(raw_dir), tokenizer=str(tokenizer), **shaping):
        for task, own in by_task.items():
            try:
                made = _Renderer(store, task)
            except _Unknown as error:
                reasons[task] = str(error)
                continue
            missing: Counter[str] = Counter()
            for pick in own:
                try:
                    found[pick] = made.rendering(pick)
                except _Unknown as error:
                    missing[str(error)] += 1
            if missing:
                reasons[task] = "; ".join(f"{n} of {len(own)}: {why}" for why, n in missing.items())
    return found, reasons


class _Unknown(Exception):
    """The reason why an example cannot be rendered again."""


class _Renderer:
    """Renders examples of one of our tasks with the current settings."""

    def __init__(self, store: TokenStore, task: str) -> None:

        try:
            self._pair, self._form = named_tasks.find(task)
        except UserError as error:
            raise _Unknown("not a task of seqio_tasks") from error
        if self._form.choices:
            raise _Unknown("it has one example per answer, whose template and shots are not stored")
        if self._form.documents:
            raise _Unknown("it has one example per document of a query, whose template is not stored")
        self._store = store
        self._config = settings.current()
        self._split = store.manifest["settings"]["split"]
        try:
            rows = self._form.rows(self._pair, self._split, self._config.raw_dir).rows
            self._demonstrations = self._form.demonstrations(self._pair, self._split, self._config.raw_dir)
        except DataError as error:
            raise _Unknown(f"its rows cannot be read: {error}") from error
        self._rows: dict[str, Mapping[str, Any]] = {row["example_id"]: row for row in rows}
        self._vocabulary = HuggingFaceTokenizer(self._config.tokenizer)

    def rendering(self, pick: Pick) -> Rendering:
        row = self._rows.get(self._store.example_id(pick.task, pick.pass_, pick.index))
        if row is None:
            raise _Unknown("the raw files have no such row (any more)")
        config = self._config
        prompt = render_prompt(
            row,
            self._pair,
            variant=self._form.variant,
            demonstrations=self._demonstrations,
            seed=config.seed,
            epoch=pick.pass_,
            split=self._split,
            separator=config.separator,
            max_shots=config.max_shots,
            largest_list=largest_list(config.max_length),
        )
        encoded = next(iter(Encoder(self._vocabulary, config.max_length).encode([prompt])[0]), None)
        stored = self._store.tokens(pick.task, pick.pass_, pick.index)
        bos = self._store.manifest["tokenizer"]["bos_id"]
        start = 0 if bos is None else 1
        made = [] if encoded is None else [encoded.input_ids, encoded.target_ids]
        if encoded is None or not np.array_equal(
            stored[start:], np.concatenate([self._vocabulary.to_hf(ids) for ids in made])
        ):
            raise _Unknown("rendered again, it gives other tokens: raw files, templates or code have changed")
        example = encoded.example
        _, offsets = self._vocabulary.encode_with_offsets(example.inputs)
        names, begins = zip(*_parts(prompt, example), strict=True)
        firsts = [start + first for first in first_tokens(offsets, begins)]
        family = templates.load(self._pair.task).of(self._pair.dataset)[example.template].family
        parts = tuple(zip(names, firsts, strict=True))
        return Rendering(example.template, family, example.shots, encoded.shortened, parts)


def _parts(prompt: Any, example: Any) -> list[tuple[str, int]]:
    """(name, first character) of the parts of a prompt.

    Where documents were cut, only the end of the description is known.
    """
    pieces = [(DESCRIPTION, prompt.description)] if prompt.description else []
    if prompt.inputs(example.shots) != example.inputs:
        return [*((name, 0) for name, _ in pieces), ("prompt", len(prompt.description) + 2 * bool(pieces))]
    for number, block in enumerate(prompt.demonstrations[: example.shots], 1):
        pieces.append((f"demonstration {number}", block.text(None) + prompt.separator + block.target))
    ends = itertools.accumulate((len(text) + len(BLANK) for _, text in pieces), initial=0)
    return list(zip([*(name for name, _ in pieces), ITEM], ends, strict=True))


def first_tokens(offsets: Iterable[tuple[int, int]], begins: Sequence[int]) -> list[int]:
    """The first token that ends after each character position.

        text      a b c _ d e       begins 0, 3
        tokens    [a b] [c _] [d e]    ->  0, 1

    >>> first_tokens([(0, 2), (2, 4), (4, 6)], [0, 3])
    [0, 1]
    """
    ends = np.fromiter((end for _, end in offsets), np.int64)
    return np.searchsorted(ends, np.asarray(begins), side="right").tolist()
