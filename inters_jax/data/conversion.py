"""Converts SeqIO tasks to token sequences.

    our tasks            task.encoded_examples(split, seed, epoch, ...)     plain Python, batched tokenizer
    our tasks, cached    task.get_dataset(use_cached=True)                  written by `seqio_cache_tasks`
    third-party tasks    task.get_dataset(...)                              their preprocessors, or cache

A sequence is always ``[bos] + inputs + targets``. Sequences that are too long are dropped and counted, not
cut: the cut would remove the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inters_jax.data.pass_files import Document, StoreError
from seqio_tasks import settings

# tokens int32 [n], target_start, example id, and a `Document` if it is one of a query's
Converted = tuple[Any, ...]

ROWS = "rows"
SHORTENED = "shortened"
FROM_CACHE = "rows from SeqIO's cache"
TOO_LONG = "dropped: longer than max_length"
NO_TARGET = "dropped: empty target"
NO_CONTEXT = "dropped: a single token, nothing to predict it from"

_CHECKED = 100  # cached examples whose text is encoded again to check the cache

# Texts on which tokenizers differ: spaces, case, digits, accents, other scripts, code, special-token strings.
_PROBES = (
    "Answer: yes",
    "  two leading spaces and a tab\t.",
    "HELLO world 1234567890, 3.14159",
    "na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d \u20ac5",
    "\u68c0\u7d22\u7cfb\u7edf \u043f\u043e\u0438\u0441\u043a \u0628\u062d\u062b",
    "def f(x):\n    return x ** 2  # \U0001f600",
    "line one\nline two\n\nline four",
    "un\u00adbroken\u00a0words and <s>markup</s>",
)


@dataclass(frozen=True)
class Reader:
    """How to read one task: `read(pass_, report)` yields its examples and counts the rows it drops."""

    name: str
    rows: int | None  # per pass, for the progress bar
    folders: tuple[str, ...]  # of raw_dir, or files and folders elsewhere by absolute paths
    read: Callable[[int, Counter[str]], Iterator[Converted]]


def reader(task: Any, vocabulary: Any, *, split: str, seed: int, max_length: int) -> Reader:
    """The reader of a seqio.Task.

    Args:
      task: a seqio.Task; our own have a method `encoded_examples`.
      vocabulary: the HuggingFaceVocabulary of the model.
      split: a split of the task.
      seed: chooses templates and demonstrations; pass p of a third-party task is read with seed + p.
      max_length: tokens of the longest sequence, BOS and EOS included.

    Raises:
      StoreError: the task has no targets, was encoded with another tokenizer than the model's, or has
        documents of queries in a cache.
    """
    bos = [] if vocabulary.bos_id is None else [plain_ids(vocabulary, [vocabulary.bos_id])[0]]
    own = hasattr(task, "encoded_examples")
    if not own:
        _check_features(task)
        for name in ("inputs", "targets"):
            if name in task.output_features:
                check_vocabulary(task.name, name, task.output_features[name].vocabulary, vocabulary)

    if getattr(getattr(task, "form", None), "documents", False) and task.cache_dir:
        raise StoreError(
            f"{task.name}: SeqIO's cache does not keep the documents of a query together; move its cache "
            f"{task.cache_dir} out of CACHE_DIRS"
        )

    def read(pass_: int, report: Counter[str]) -> Iterator[Converted]:
        pairs: Iterable[tuple[Any, ...]]
        if own and getattr(task, "cache_dir", None):
            pairs = _cached(task, vocabulary, split, report)
        elif own:
            pairs = _own(task, vocabulary, split, seed, pass_, max_length, report)
        else:
            pairs = _third_party(task, split, seed + pass_, report)
        for inputs, targets, example_id, *about in pairs:
            start = len(bos) + len(inputs)
            if len(targets) == 0:
                report[NO_TARGET] += 1
            elif start + len(targets) > max_length:
                report[TOO_LONG] += 1
            elif start + len(targets) < 2:
                report[NO_CONTEXT] += 1
            else:
                tokens = np.concatenate([np.array(bos, np.int64), inputs, targets])
                # Without BOS and inputs, nothing precedes the first target: it cannot be predicted.
                yield tokens, max(start, 1), example_id, *about

    pair = getattr(task, "pair", None)
    return Reader(task.name, _rows(task, split), getattr(pair, "inputs", ()), read)


def plain_ids(vocabulary: Any, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The model's ids of SeqIO ids: our vocabularies may shift them by one, so that 0 is padding only."""
    convert = getattr(vocabulary, "to_hf", None)
    return np.asarray(ids if convert is None or len(ids) == 0 else convert(ids), np.int64)


def _own(
    task: Any,
    vocabulary: Any,
    split: str,
    seed: int,
    pass_: int,
    max_length: int,
    report: Counter[str],
) -> Iterator[tuple[Any, ...]]:
    examples = task.encoded_examples(
        split, seed=seed, epoch=pass_, max_length=max_length, vocabulary=vocabulary
    )
    for encoded in examples:
        extras = encoded.example.extras
        yield (
            plain_ids(vocabulary, encoded.input_ids),
            plain_ids(vocabulary, encoded.target_ids),
            encoded.example.example_id,
            *(
                [Document(extras["group_id"], float(extras["relevance"]), extras.get("teacher"))]
                if "group_id" in extras
                else []
            ),
        )
    report.update(standard_names(task.last_report))


def _cached(
    task: Any, vocabulary: Any, split: str, report: Counter[str]
) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """The cached examples of one of our tasks, sorted by id (a cache has no order)."""
    found = []
    examples = task.get_dataset(None, split, use_cached=True, shuffle=False, num_epochs=1)
    for number, example in enumerate(examples.as_numpy_iterator()):
        report[ROWS] += 1
        report[FROM_CACHE] += 1
        if number < _CHECKED:  # a cache does not record its tokenizer and chat template
            text = example["inputs_pretokenized"].decode("utf-8")
            _check_cached(task, vocabulary, text, example["inputs"].tolist())
        inputs, targets = (plain_ids(vocabulary, example[name]) for name in ("inputs", "targets"))
        found.append((inputs, targets, example["example_id"].decode("utf-8")))
    return sorted(found, key=lambda entry: entry[2])


def _check_cached(task: Any, vocabulary: Any, text: str, ids: list[int]) -> None:
    """Refuse a cached prompt (SeqIO ids [n]) that differs with the present tokenizer and chat template."""
    chat, plain = vocabulary.chat_format, vocabulary.encode(text)
    expected = plain
    if chat is not None:
        expected = chat.encode_prompts([text.removesuffix(settings.current().separator)])[0]
    if ids == expected:
        return
    where = f"{task.name}: the cache in {task.cache_dir} was written"
    todo = "cache the task again (with INTERS_TOKENIZER and INTERS_CHAT_TEMPLATE in the environment)"
    if ids == plain:
        raise StoreError(f"{where} with plain prompts, but CHAT_TEMPLATE is set; {todo}")
    if chat is not None:
        raise StoreError(f"{where} with another chat template or tokenizer than that of {vocabulary}; {todo}")
    raise StoreError(
        f"{where} with another tokenizer than {vocabulary}, or with a chat template, which CHAT_TEMPLATE "
        f"must name; {todo}"
    )


def standard_names(report: Counter[str]) -> Counter[str]:
    """The report of our tasks with the count names used here; counts without a counterpart keep theirs.

    >>> sorted(standard_names(Counter({"rows read": 9, "dropped: long": 2, "examples written": 7})).items())
    [('dropped: long', 2), ('rows', 9)]
    """
    names = {"rows read": ROWS, "examples with shortened documents": SHORTENED}
    return Counter(
        {names.get(name, name): count for name, count in report.items() if name != "examples written"}
    )


def _third_party(
    task: Any, split: str, seed: int, report: Counter[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    dataset = task.get_dataset(
        sequence_length=None,
        split=split,
        use_cached=bool(task.cache_dir),
        shuffle=False,
        seed=seed,
        num_epochs=1,
    )
    features = task.output_features
    for number, example in enumerate(dataset.as_numpy_iterator()):
        report[ROWS] += 1
        parts = []
        for name in ("inputs", "targets"):
            ids = np.asarray(example.get(name, np.zeros(0, np.int64)))
            if ids.ndim != 1:
                raise StoreError(
                    f"{task.name}: feature {name} has shape {ids.shape}, token ids [n] are needed"
                )
            parts.append(plain_ids(features[name].vocabulary if name in features else None, ids))
        yield parts[0], parts[1], _example_id(example, f"{split}/{number}")


def _example_id(example: dict[str, Any], otherwise: str) -> str:
    for name in ("example_id", "id", "idx"):
        value = example.get(name)
        if isinstance(value, bytes | str | int | np.integer):
            return value.decode() if isinstance(value, bytes) else str(value)
    return otherwise


def _rows(task: Any, split: str) -> int | None:
    try:
        return task.num_input_examples(split)
    except (KeyError, ValueError, OSError):  # raised by sources that do not know
        return None


def _check_features(task: Any) -> None:
    if "targets" not in task.output_features:
        raise StoreError(
            f"{task.name} has the features {', '.join(task.output_features)}; a decoder is trained on "
            "`targets` (and `inputs`, when there is a prompt)"
        )


def check_vocabulary(task: str, feature: str, theirs: Any, ours: Any) -> None:
    """Check that a task's vocabulary is the model's tokenizer.

    They are compared by their encodings of texts on which tokenizers differ, and by their EOS.

    Args:
      task: name of the task, for messages.
      feature: name of the feature, for messages.
      theirs: the vocabulary of the feature.
      ours: the vocabulary of the model.

    Raises:
      StoreError: they differ.
    """
    if theirs == ours or type(theirs).__name__ == "PassThroughVocabulary":
        return
    remedy = (
        f"Define {task} with seqio_tasks.vocabularies.HuggingFaceVocabulary of the model's tokenizer, or "
        "prepare it with the tokenizer it was defined for."
    )
    for probe in _PROBES:
        found, expected = (plain_ids(v, v.encode(probe)).tolist() for v in (theirs, ours))
        if found != expected:
            raise StoreError(
                f"{task}: the vocabulary of {feature} ({theirs}) is not the model's tokenizer ({ours}): it "
                f"encodes {probe!r} as {found[:8]}, the tokenizer as {expected[:8]}. {remedy}"
            )
    their_eos, our_eos = (
        None if v.eos_id is None else int(plain_ids(v, [v.eos_id])[0]) for v in (theirs, ours)
    )
    if their_eos != our_eos:
        raise StoreError(
            f"{task}: the vocabulary of {feature} ends with id {their_eos}, the tokenizer with {our_eos}. "
            f"{remedy}"
        )
