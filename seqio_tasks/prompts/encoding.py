"""Prompts become token ids, in batches, within the length limit.

`inputs` and `targets` are encoded separately and never joined as text: the boundary between prompt and
answer is a token boundary everywhere (training, generation, scoring). The vocabulary treats special-token
strings in data as ordinary text. BOS is not added here, but room is reserved for it: a sequence of the token
store is [BOS] + input_ids + target_ids, at most `max_length` long.

The length rule, for a prompt that does not fit:

    1. demonstrations are left out, the last first;
    2. then the documents of the item are shortened to one common length, the longest first;
    3. a training example that loses more than the share `max_cut` of its documents, or the answer quoted from
       them, is dropped and counted: it would teach to answer what cannot be read;
    4. a prompt that does not fit even so is dropped and counted.

Instruction, question, cue and answer are never cut. A shortened document ends at a word, with an ellipsis.
The whole prompt is encoded again (concatenated pieces would have other tokens at the seams).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from seqio_tasks.prompts import chat, render
from seqio_tasks.prompts.filling import Example, Rendered
from seqio_tasks.prompts.render import Demonstrations, Row, Variant
from seqio_tasks.settings import Settings

if TYPE_CHECKING:
    from seqio_tasks.catalog import Pair

DOCUMENT_FLOOR = 64  # tokens; reranking does not shorten documents below this
ELLIPSIS = " ..."
CHUNK = 1000  # rows per call of the tokenizer
# A prompt with more characters per available token hardly ever fits: encoding it whole, before its documents
# are measured, would be wasted. This changes the cost, not the result.
LIKELY_CHARACTERS = 5.5

# What `encode_rows` counts.
ROWS = "rows read"
EXAMPLES = "examples written"
SHORTENED = "examples with shortened documents"
TOKENS_CUT = "document tokens cut"
ANSWER_CUT = "examples whose quoted answer was in the part cut away"
DROPPED_CUT = "dropped: too much of its documents would be cut"
DROPPED_ANSWER = "dropped: the quoted answer would be cut away"
FEWER_SHOTS = "demonstrations left out for length"
MISSING_SHOTS = "demonstrations asked for but not available"
TOO_LONG = "dropped: longer than the limit even without demonstrations"


class BatchVocabulary(Protocol):
    """What encoding needs of a vocabulary (see `tokenizer.HuggingFaceTokenizer`)."""

    @property
    def eos_id(self) -> int | None: ...

    @property
    def bos_id(self) -> int | None: ...

    def encode_batch(self, texts: list[str]) -> list[list[int]]: ...

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]: ...


@dataclass
class Encoded:
    """One example in tokens.

    input_ids:  int32 [n]   the prompt, separator included, without BOS
    target_ids: int32 [m]   the answer, EOS last when the vocabulary has one
    shortened:  document tokens removed by the length rule
    """

    input_ids: np.ndarray
    target_ids: np.ndarray
    example: Example
    shortened: int = 0


class Encoder:
    """Encodes prompts within a length limit, with a cache of document lengths (documents recur).

    Args:
      vocabulary: the tokenizer.
      max_length: tokens of BOS, prompt and answer.
      report: counts shortened examples; a new counter by default.
      chat_template: as in the settings; None: that of the vocabulary (third-party vocabularies have none).
        With a template, the template's end of the user turn replaces the separator at the end of a prompt.
      floor: tokens below which no document is shortened.
      max_cut: the largest share of its documents that an example may lose; it may not lose a quoted answer.
        None: any, as in evaluation.
    """

    def __init__(
        self,
        vocabulary: BatchVocabulary,
        max_length: int,
        *,
        report: Counter[str] | None = None,
        chat_template: str | None = None,
        floor: int = DOCUMENT_FLOOR,
        max_cut: float | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._floor = floor
        self._max_cut = max_cut
        self.max_length = max_length
        self.report: Counter[str] = Counter() if report is None else report
        name = getattr(vocabulary, "name", None)
        if chat_template is None:
            self.chat: chat.ChatFormat | None = getattr(vocabulary, "chat_format", None)
        else:
            self.chat = None if name is None else chat.in_force(name, chat_template)
        self._bos = int(vocabulary.bos_id is not None if self.chat is None else self.chat.begins_with_bos)
        self._eos = [] if vocabulary.eos_id is None else [vocabulary.eos_id]
        self._ends: OrderedDict[str, np.ndarray] = OrderedDict()

    def encode(
        self, rendered: Sequence[Rendered], targets: Sequence[Sequence[str]] | None = None
    ) -> list[list[Encoded]]:
        """One list per prompt: an `Encoded` for each of its targets; empty if the prompt was dropped.

        Args:
          rendered: the prompts.
          targets: for each prompt, the answers to encode after it (default: its own answer). They share the
            same prompt, which leaves room for the longest of them.
        """
        answers = [[r.targets] for r in rendered] if targets is None else [list(t) for t in targets]
        # Labels repeat: each distinct answer is encoded once.
        distinct = list(dict.fromkeys(itertools.chain.from_iterable(answers)))
        ids = dict(zip(distinct, self._targets(distinct), strict=True)) if distinct else {}
        answer_ids = {text: np.asarray(ids[text], np.int32) for text in distinct}
        room = [
            self.max_length - self._bos - max((len(answer_ids[text]) for text in texts), default=0)
            for texts in answers
        ]
        texts = [r.inputs() for r in rendered]
        # The others take the slow path, which gives the same result for a prompt that fits.
        likely = [i for i, text in enumerate(texts) if len(text) <= LIKELY_CHARACTERS * self.max_length]
        separators = [rendered[i].separator for i in likely]
        whole = dict(zip(likely, self._inputs([texts[i] for i in likely], separators), strict=True))
        results: list[list[Encoded]] = []
        for i, item in enumerate(rendered):
            fitted: tuple[list[int], Example, int] | None
            if i in whole and len(whole[i]) <= room[i]:
                fitted = whole[i], item.example(), 0
            else:
                fitted = self._fit(item, room[i])
            results.append([] if fitted is None else self._answers(fitted, answers[i], answer_ids))
        return results

    def _inputs(self, texts: Sequence[str], separators: Sequence[str]) -> list[list[int]]:
        """The ids of prompts, without BOS."""
        if self.chat is None:
            return self.vocabulary.encode_batch(list(texts))
        bare = [text.removesuffix(end) for text, end in zip(texts, separators, strict=True)]
        return self.chat.encode_prompts(bare)

    def _targets(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of answers, including the end token."""
        if self.chat is None:
            return [ids + self._eos for ids in self.vocabulary.encode_batch(list(texts))]
        return self.chat.encode_answers(texts)

    def _answers(
        self, fitted: tuple[list[int], Example, int], answers: list[str], answer_ids: dict[str, np.ndarray]
    ) -> list[Encoded]:
        input_ids, example, cut = np.asarray(fitted[0], np.int32), fitted[1], fitted[2]
        found = []
        for text in answers:
            own = dataclasses.replace(example, targets=text, extras=dict(example.extras))
            found.append(Encoded(input_ids, answer_ids[text], own, cut))
        return found

    def _fit(self, item: Rendered, room: int) -> tuple[list[int], Example, int] | None:
        """Leave out demonstrations, then shorten documents; None (counted) if the example is dropped."""
        for shots in range(item.shots, -1, -1):
            ids = self._whole(item, shots, room)
            if ids is not None:
                self.report[FEWER_SHOTS] += item.shots - shots
                return ids, item.example(shots), 0
        documents = item.documents(0)
        cut = self._shorten(item, documents, room)
        if cut is None:
            self.report[TOO_LONG] += 1
            return None
        ids, kept, tokens_cut = cut
        # Matters only where answers are quoted from the document.
        quoted = "references" in item.extras and any(item.targets in text for text in documents)
        answer_cut = quoted and not any(item.targets in text for text in kept)
        if self._max_cut is not None:
            share = tokens_cut / sum(len(self._document_ends(text)) for text in documents)
            if share > self._max_cut or answer_cut:
                self.report[DROPPED_CUT if share > self._max_cut else DROPPED_ANSWER] += 1
                return None
        self.report[ANSWER_CUT] += answer_cut
        self.report[SHORTENED] += 1
        self.report[TOKENS_CUT] += tokens_cut
        self.report[FEWER_SHOTS] += item.shots
        return ids, item.example(0, kept), tokens_cut

    def _whole(self, item: Rendered, shots: int, room: int) -> list[int] | None:
        """The ids of the prompt with `shots` demonstrations, or None if they are too many."""
        documents = item.documents(shots)
        # Documents alone may not fit: no need to encode the rest. A seam joins two tokens at most.
        if sum(len(self._document_ends(text)) - 2 for text in documents) > room:
            return None
        ids = self._inputs([item.inputs(shots)], [item.separator])[0]
        return ids if len(ids) <= room else None

    def _shorten(
        self, item: Rendered, documents: Sequence[str], room: int
    ) -> tuple[list[int], list[str], int] | None:
        """Ids, documents just short enough, and tokens cut, without demonstrations; None if nothing fits."""
        ends = [self._document_ends(text) for text in documents]
        lengths = [len(e) for e in ends]
        fixed = self._inputs([item.inputs(0, [""] * len(documents))], [item.separator])[0]
        available = room - len(fixed)
        while True:
            level = common_level(lengths, available, self._floor)
            if level is None:
                return None
            kept = [
                text if len(e) <= level else shortened(text, int(e[level - 1]))
                for text, e in zip(documents, ends, strict=True)
            ]
            ids = self._inputs([item.inputs(0, kept)], [item.separator])[0]
            if len(ids) <= room:
                return ids, kept, sum(max(0, length - level) for length in lengths)
            # Seams and ellipses take a few more tokens than counted: subtract them and try again.
            # `available` is first capped at the tokens used, so that every iteration shortens something.
            used = sum(min(length, level) for length in lengths)
            available = min(available, used) - (len(ids) - room)

    def _document_ends(self, text: str) -> np.ndarray:
        """int32 [tokens]: the character position where each token of the document ends."""
        if text in self._ends:
            self._ends.move_to_end(text)
            return self._ends[text]
        _, offsets = self.vocabulary.encode_with_offsets(text)
        ends = np.fromiter((end for _, end in offsets), np.int32, len(offsets))
        self._ends[text] = ends
        if len(self._ends) > 20_000:
            self._ends.popitem(last=False)
        return ends


def shortened(text: str, end: int) -> str:
    """The text up to a character position, ending at a word, with an ellipsis.

    >>> shortened("red kites nest in trees", 12), shortened("red kites nest in trees", 9)
    ('red kites ...', 'red kites ...')
    """
    kept = text[:end]
    if end < len(text) and not text[end].isspace():
        kept = kept.rpartition(" ")[0] or kept  # a text without spaces is cut anywhere
    return kept.rstrip() + ELLIPSIS


def common_level(lengths: Sequence[int], available: int, floor: int = DOCUMENT_FLOOR) -> int | None:
    """The largest common length L with sum(min(length, L)) <= available; None if L would be below `floor`.

    Documents shorter than L keep their length, so the longest are shortened first.

    >>> common_level([100, 300, 500], 600)
    250
    >>> common_level([100, 300], 400)
    300
    >>> common_level([100, 300], 120) is None
    True
    """
    if sum(lengths) <= available:
        return max(lengths, default=0)
    left, level = available, 0
    ordered = sorted(lengths)
    for position, length in enumerate(ordered):
        level = left // (len(ordered) - position)
        if length > level:
            break
        left -= length
    return level if level >= floor else None


def largest_list(max_length: int) -> int:
    """The most documents of a listwise prompt: about 100 tokens each, and 200 for the instruction.

    >>> largest_list(2048), largest_list(1024), largest_list(512)
    (10, 8, 3)
    """
    return max(2, min(10, (max_length - 200) // 100))


def encode_rows(
    rows: Iterable[Row],
    pair: Pair,
    vocabulary: BatchVocabulary,
    config: Settings,
    *,
    variant: Variant | None = None,
    demonstrations: Demonstrations = (),
    split: str = "train",
    epoch: int = 0,
    max_length: int | None = None,
    report: Counter[str] | None = None,
    choices: bool = False,
    chunk: int = CHUNK,
    render: Callable[..., Rendered] = render.render,
) -> Iterator[Encoded]:
    """Render and encode rows, in order.

    Args:
      rows: rows of the pair.
      pair: the pair.
      vocabulary: the tokenizer.
      config: seed, templates, separator, chat template, length, shots, and what training examples may lose.
      variant: the form of the prompts.
      demonstrations: see `render.render`; likewise split and epoch.
      max_length: tokens of BOS, prompt and answer; None: that of `config`.
      report: counts rows, examples, cuts and drops under the names at the top of this module.
      choices: for scoring, yield one example per possible answer of a row (labels, or Yes and No) in label
        order, with extras["choice"] (its index) and extras["gold"] (the right answer).
      chunk: rows per call of the tokenizer.
      render: renders a row; called like `render.render`.

    Yields:
      The examples that fit; the others are counted.
    """
    variant = variant or Variant()
    limit = config.max_length if max_length is None else max_length
    encoder = Encoder(
        vocabulary,
        limit,
        report=report,
        chat_template=config.chat_template,
        floor=1,
        max_cut=config.max_cut if split == "train" else None,
    )
    counts = encoder.report
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, chunk)):
        counts[ROWS] += len(batch)
        rendered = [
            render(
                row,
                pair,
                variant=variant,
                demonstrations=demonstrations,
                seed=config.seed,
                epoch=epoch,
                split=split,
                separator=config.separator,
                max_shots=config.max_shots,
                largest_list=largest_list(limit),
                templates=config.templates,
            )
            for row in batch
        ]
        if variant.shots and (missing := sum(variant.shots - item.shots for item in rendered)):
            counts[MISSING_SHOTS] += missing
        answers = [_choices(item) for item in rendered] if choices else None
        for item, found in zip(rendered, encoder.encode(rendered, answers), strict=True):
            for number, encoded in enumerate(found):
                if choices:
                    encoded.example.extras |= {"choice": number, "gold": item.targets}
                counts[EXAMPLES] += 1
                yield encoded


def _choices(item: Rendered) -> Sequence[str]:
    if not item.choices:
        raise ValueError(f"{item.example_id}: template {item.template} has no fixed set of answers to score")
    return item.choices
