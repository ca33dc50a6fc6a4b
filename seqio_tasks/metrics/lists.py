"""Numbered lists: as sets (clarifications, subtopics, reformulations) and item by item (answers of turns)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from seqio_tasks.metrics import answers

_MARKER = re.compile(r"(?:^|(?<=\s))(?:(\d+)[.)]|\[(\d+)\]|\((\d+)\))(?=\s)")


def parse_list(text: str) -> list[str]:
    """The items of a list written as ``1. a 2. b``, ``[1] a``, ``(1) a``, ``1) a``, or one item per line.

    A number is a marker only where it continues 1, 2, 3 ..., and markers at the beginning of lines take
    precedence over markers inside lines, so items may contain numbers. Text before the first marker is not an
    item.

    >>> parse_list("1. version 2. 0 of the app\\n2. the 3. of May")
    ['version 2. 0 of the app', 'the 3. of May']
    >>> parse_list("Here: [1] a [2] b [10] c")
    ['a', 'b [10] c']
    >>> parse_list("- red\\n- blue")
    ['red', 'blue']
    """
    return [item for item in parse_items(text) if item]


def parse_items(text: str) -> list[str]:
    """The items of `parse_list`, with empty items kept.

    >>> parse_items("1. Ann\\n2.\\n3. in May")
    ['Ann', '', 'in May']
    """
    markers = _markers(text)
    if not markers:
        lines = (line.strip().lstrip("-*•").strip() for line in text.splitlines())
        return [line for line in lines if line]
    ends = [match.start() for match in markers[1:]] + [len(text)]
    return [text[match.end() : end].strip() for match, end in zip(markers, ends, strict=True)]


def has_markers(text: str) -> bool:
    """Whether a text has a numbered item.

    >>> has_markers("(1) red"), has_markers("red\\nblue")
    (True, False)
    """
    return bool(_markers(text))


def _markers(text: str) -> list[re.Match[str]]:
    """The markers 1, 2, 3 ... of a text: those at line starts if there are two or more, else all."""
    found = list(_MARKER.finditer(text + "\n"))
    markers = _chain([match for match in found if not text[: match.start()].rpartition("\n")[2].strip()])
    return markers if len(markers) > 1 else _chain(found)


def _chain(matches: Iterable[re.Match[str]]) -> list[re.Match[str]]:
    """The matches whose numbers continue 1, 2, 3 ..."""
    chain: list[re.Match[str]] = []
    for match in matches:
        if int(next(group for group in match.groups() if group)) == len(chain) + 1:
            chain.append(match)
    return chain


def normalise_item(text: str) -> str:
    """An item without differences in case, whitespace and a final full stop."""
    return " ".join(text.casefold().split()).rstrip(".").rstrip()


def set_scores(references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """Means over items of set precision, recall and F1 in 0..100, by normalised equality.

    references, predictions: [items][entries]. Two empty sets agree fully.

    >>> set_scores([["a", "b"]], [["A ", "c", "d", "e"]])
    {'set_precision': 25.0, 'set_recall': 50.0, 'set_f1': 33.33333333333333}
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} items have references but {len(predictions)} have predictions")
    if not predictions:
        raise ValueError("no items to score")
    precision = recall = f1 = 0.0
    for reference, prediction in zip(references, predictions, strict=True):
        wanted = {normalise_item(entry) for entry in reference}
        given = {normalise_item(entry) for entry in prediction}
        common = len(wanted & given)
        agree = float(not wanted and not given)
        precision += common / len(given) if given else agree
        recall += common / len(wanted) if wanted else agree
        f1 += 2.0 * common / (len(wanted) + len(given)) if wanted or given else 1.0
    scale = 100.0 / len(predictions)
    return {"set_precision": scale * precision, "set_recall": scale * recall, "set_f1": scale * f1}


def turn_scores(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Means over all turns of exact match and F1 in 0..100, by CoQA's comparison of answers.

    references: [conversations][1 or more] numbered lists of the same length, one per annotator; predictions:
        [conversations] numbered lists. The n-th answer is compared with the n-th of every annotator (see
        `answers.coqa_turn`). A missing answer is wrong, surplus answers are ignored.

    >>> turn_scores([["1. the barn\\n2. yes", "1. a barn\\n2. it is"]], ["1. Barn\\n2. it is so\\n3. no"])
    {'turn_exact_match': 50.0, 'turn_f1': 70.0}
    """
    answers.check_items(references, predictions)
    exact = f1 = 0.0
    turns = 0
    for own, prediction in zip(references, predictions, strict=True):
        by_turn = list(zip(*map(parse_items, own), strict=True))
        given = parse_items(prediction)
        given += [""] * (len(by_turn) - len(given))
        turns += len(by_turn)
        for wanted, answer in zip(by_turn, given, strict=False):
            if answer:
                one, other = answers.coqa_turn(wanted, answer)
                exact, f1 = exact + one, f1 + other
    if not turns:
        raise ValueError("no items to score")
    return {"turn_exact_match": 100.0 * exact / turns, "turn_f1": 100.0 * f1 / turns}
