"""Scores of generated text under a PaperProtocol; with all switches off they are those of `standard`.

Values are in 0..100. (The released code gives 0..1, the paper's figures 0..100.)
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seqio_tasks.metrics import answers, lists, text
from seqio_tasks.metrics.paper import PaperProtocol

_MARK = r"\d\.|\[\d\]|\(\d\)"
_ITEM = re.compile(rf"(?:{_MARK})\s*(.*?)\s*(?={_MARK}|$)")
_TURN = re.compile(rf"(\d+\.|\[\d+\]|\(\d+\))\s*(.*?)\s*(?={_MARK}|$)")

References = Sequence[Sequence[str]]


def bleu(
    references: References, predictions: Sequence[str], max_order: int, protocol: PaperProtocol
) -> float:
    """Corpus BLEU; references: [items][1 or more]."""
    if protocol.nltk_smoothing:
        split = str.split if protocol.split_at_blanks else _tokens_13a
        wanted = [[split(reference) for reference in own] for own in references]
        return 100.0 * nltk_bleu(wanted, [split(prediction) for prediction in predictions], max_order)
    tokens = "none" if protocol.split_at_blanks else "13a"
    return text.bleu(references, predictions, max_order=max_order, tokenize=tokens)


def nltk_bleu(
    references: Sequence[Sequence[Sequence[str]]], predictions: Sequence[Sequence[str]], max_order: int
) -> float:
    """Corpus BLEU in 0..1 as in NLTK 3.6 and later, with equal weights and smoothing method 4.

    references: [items][1 or more][tokens]; predictions: [items][tokens].
    An item shorter than an n-gram adds 1 to the n-gram count of that order. The i-th order without matches
    (except the first order) has log(length) / (5 * 2**i) of them.

    >>> round(nltk_bleu([[["a", "b", "c"]]], [["a", "x", "c"]], 2), 4)
    0.1914
    """
    length = sum(map(len, predictions))
    nearest = 0
    right, total = [0] * max_order, [0] * max_order
    for own, prediction in zip(references, predictions, strict=True):
        nearest += min(map(len, own), key=lambda size: (abs(size - len(prediction)), size))
        for order in range(max_order):
            given = _grams(prediction, order + 1)
            most: Counter[tuple[str, ...]] = Counter()
            for reference in own:
                most |= _grams(reference, order + 1)
            right[order] += (given & most).total()
            total[order] += max(1, given.total())
    if right[0] == 0:
        return 0.0
    logs = 0.0
    empty = 0
    for matches, count in zip(right, total, strict=True):
        precision = matches / count
        if not matches and length > 1:
            empty += 1
            precision = math.log(length) / (5 * 2**empty) / count
        logs += math.log(precision) / max_order if precision > 0 else 0.0
    return math.exp(logs + min(0.0, 1.0 - nearest / length))


def rouge(references: References, predictions: Sequence[str], types: Sequence[str]) -> dict[str, float]:
    """As in `standard`: both protocols use google's rouge-score with stemming."""
    return text.rouge(references, predictions, types)


def answer_scores(
    references: References, predictions: Sequence[str], protocol: PaperProtocol, *, trivia: bool
) -> dict[str, float]:
    """exact_match and f1, named as for TriviaQA where its words are compared."""
    if trivia and not protocol.squad_words:
        if not protocol.character_f1:
            return answers.trivia(references, predictions)
        prefix, words = "trivia_", answers.trivia_words
    else:
        prefix, words = "", answers.words if protocol.no_answer_is_text else answers.normalise
    exact = overlap = 0.0
    for own, prediction in zip(references, predictions, strict=True):
        wanted = [words(one) for one in (own if protocol.no_answer_is_text else answers.with_words(own))]
        given = words(prediction)
        exact += given in wanted
        overlap += max(_f1(one, given, protocol) for one in wanted)
    scale = 100.0 / len(predictions)
    return {f"{prefix}exact_match": scale * exact, f"{prefix}f1": scale * overlap}


def _f1(wanted: str, given: str, protocol: PaperProtocol) -> float:
    one: Sequence[str] = wanted if protocol.character_f1 else wanted.split()
    other: Sequence[str] = given if protocol.character_f1 else given.split()
    if not one and not other:
        return 0.0 if protocol.character_f1 else 1.0
    return 2.0 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


def list_scores(
    targets: Sequence[str], predictions: Sequence[str], protocol: PaperProtocol, *, gold_is_list: bool
) -> dict[str, float]:
    """set_precision, set_recall, set_f1.

    targets: numbered lists. gold_is_list: the released file has the items themselves (MIMICS), so only
        predictions are parsed with the pattern of the released code.
    """
    totals = [0.0, 0.0, 0.0]
    for target, prediction in zip(targets, predictions, strict=True):
        released = protocol.single_digit_markers and not gold_is_list
        wanted = _item_set(_ITEM.findall(target) if released else lists.parse_list(target), protocol)
        if protocol.single_digit_markers:
            found = _ITEM.findall(prediction)
            marked = bool(found)
        else:
            found, marked = lists.parse_list(prediction), lists.has_markers(prediction)
        given = set(prediction) if protocol.characters_as_items and not marked else _item_set(found, protocol)
        common = len(wanted & given)
        agree = float(not wanted and not given and not protocol.empty_lists_disagree)
        totals[0] += common / len(given) if given else agree
        totals[1] += common / len(wanted) if wanted else agree
        totals[2] += 2.0 * common / (len(wanted) + len(given)) if wanted or given else agree
    names = ("set_precision", "set_recall", "set_f1")
    return {name: 100.0 * total / len(targets) for name, total in zip(names, totals, strict=True)}


def _item_set(items: Sequence[str], protocol: PaperProtocol) -> set[str]:
    return set(items) if protocol.literal_items else {lists.normalise_item(item) for item in items}


def turn_accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """accuracy: the share of a target's turns that are in the prediction, mean over conversations.

    >>> turn_accuracy(["1. the barn 2. yes", "red"], ["1. the barn 2. Yes", "red"])
    {'accuracy': 75.0}
    """
    total = 0.0
    for target, prediction in zip(targets, predictions, strict=True):
        wanted, given = _turns(target), _turns(prediction)
        total += sum(given.get(marker) == answer for marker, answer in wanted.items()) / len(wanted)
    return {"accuracy": 100.0 * total / len(targets)}


def _turns(answer: str) -> dict[str, str]:
    """marker -> text; a text without markers is one turn. The last of equal markers counts."""
    return dict(_TURN.findall(answer)) or {"": answer}


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))


def _tokens_13a(line: str) -> list[str]:
    tokens: list[str] = _tokenizer_13a()(line).split()
    return tokens


@functools.cache
def _tokenizer_13a() -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()
