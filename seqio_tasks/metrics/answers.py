"""Exact match and token F1 of short answers, as defined by the datasets' own scripts.

SQuAD     Both sides are lower-cased, ASCII punctuation and the articles a, an, the are removed, whitespace is
          collapsed. The best reference counts. A question without an answer (v2) has the gold text
          "unanswerable": it stands for the empty answer, which matches only itself. As in the script of v2,
          a reference without words ("." or "the") counts only where all references are such.
TriviaQA  The same, but punctuation (including four quotation marks outside ASCII) becomes a space, and in F1
          nothing matches an answer without words.
CoQA      SQuAD's words. Each of n annotators is left out once, the best of the others counts, and the mean of
          these n values is the value of the turn.
QuAC      As CoQA; where at least half of the annotators find no answer, only that is correct, otherwise their
          empty answers are ignored. Questions with low agreement between annotators (mean F1 of each against
          the others below 0.4) are left out.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

NO_ANSWER = "unanswerable"

QUAC_LEAST_AGREEMENT = 0.4

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_QUOTES = "\u2018\u2019\u00b4`"  # single quotes, left and right, and accents
_PUNCTUATION_TO_BLANKS = str.maketrans(dict.fromkeys(string.punctuation + _QUOTES, " "))


def words(text: str) -> str:
    """The words of a text as SQuAD's script compares them, joined by spaces.

    >>> words("The  Eiffel-Tower, (Paris)!")
    'eiffeltower paris'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def trivia_words(text: str) -> str:
    r"""The same for TriviaQA's script.

    >>> trivia_words("The  Eiffel-Tower, \u2018Paris!\u2019")
    'eiffel tower paris'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION_TO_BLANKS)).split())


def normalise(text: str) -> str:
    """`words`, where "unanswerable" means no words.

    >>> normalise("The Tower"), normalise("Unanswerable.")
    ('tower', '')
    """
    found = words(text)
    return "" if found == NO_ANSWER else found


def exact_match(references: Sequence[str], prediction: str) -> float:
    """1.0 when the prediction equals one of the references, else 0.0."""
    given = normalise(prediction)
    return float(any(given == normalise(reference) for reference in with_words(references)))


def f1(references: Sequence[str], prediction: str) -> float:
    """Token F1 against the best reference.

    >>> round(f1(["Marie Curie", "Curie"], "the physicist Curie"), 3)
    0.667
    """
    given = normalise(prediction).split()
    return max(_f1(normalise(reference).split(), given) for reference in with_words(references))


def with_words(references: Sequence[str]) -> Sequence[str]:
    """The references that have words; all of them, if none has.

    >>> with_words(["interventionism", "."]), with_words(["."]), with_words(["unanswerable", "."])
    (['interventionism'], ['.'], ['unanswerable'])
    """
    return [reference for reference in references if words(reference)] or references


def squad(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Means in 0..100 over items; references: [items][1 or more]."""
    pairs = _pairs(references, predictions)
    return {
        "exact_match": 100.0 * sum(exact_match(own, text) for own, text in pairs) / len(pairs),
        "f1": 100.0 * sum(f1(own, text) for own, text in pairs) / len(pairs),
    }


def trivia(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Means in 0..100 over items; references: [items][1 or more], an answer and its aliases.

    >>> trivia([["Jean-Luc Picard", "Picard"]], ["jean luc picard"])
    {'trivia_exact_match': 100.0, 'trivia_f1': 100.0}
    """
    exact = overlap = 0.0
    pairs = _pairs(references, predictions)
    for own, text in pairs:
        given = trivia_words(text)
        accepted = [trivia_words(reference) for reference in own]
        exact += given in accepted
        overlap += max(_f1(one.split(), given.split()) if given else 0.0 for one in accepted)
    return {"trivia_exact_match": 100.0 * exact / len(pairs), "trivia_f1": 100.0 * overlap / len(pairs)}


def coqa_turn(references: Sequence[str], prediction: str) -> tuple[float, float]:
    """(exact match, F1) of one turn; references: the answers of all annotators, including repeated ones.

    >>> coqa_turn(["white", "a white kitten", "white"], "white")
    (1.0, 1.0)
    >>> coqa_turn(["white", "a white kitten"], "white")
    (0.5, 0.8333333333333333)
    """
    given = words(prediction)
    wanted = [words(reference) for reference in references]
    exact = [float(one == given) for one in wanted]
    overlap = [_f1(one.split(), given.split()) for one in wanted]
    return _left_out(exact), _left_out(overlap)


def quac(
    references: Sequence[Sequence[str]],
    predictions: Sequence[str],
    dialogues: Sequence[str] = (),
) -> dict[str, float]:
    """quac_f1 and quac_heq_q, in 0..100, over the questions on which the annotators agree.

    references: [questions][1 or more], the answers of all annotators, including repeated ones; "unanswerable"
        for none. dialogues: the dialogue of each question; adds quac_heq_d.
    quac_heq_q is how often a prediction is at least as good as the annotators among themselves, quac_heq_d
    how often this holds for all questions of a dialogue. low_agreement counts the questions left out; if all
    are, the scores are 0.

    >>> quac([["in May 1983", "May 1983", "1983"], ["unanswerable", "no"]], ["May 1983", "unanswerable"])
    {'quac_f1': 96.66666666666666, 'quac_heq_q': 100.0, 'low_agreement': 0.0}
    """
    pairs = _pairs(references, predictions)
    scores: list[float] = []
    reached: list[bool] = []
    poor: set[str] = set()
    for index, (own, text) in enumerate(pairs):
        spans = _quac_references(own)
        human = 1.0
        if len(spans) > 1:
            others = ([*spans[:i], *spans[i + 1 :]] for i in range(len(spans)))
            best = [max(_quac_f1(a, b) for b in rest) for a, rest in zip(spans, others, strict=True)]
            human = sum(best) / len(best)
        if human < QUAC_LEAST_AGREEMENT:
            continue
        scores.append(_left_out([_quac_f1(text, span) for span in spans]))
        reached.append(scores[-1] >= human - 1e-9)  # the same numbers may be summed in another order
        if dialogues and not reached[-1]:
            poor.add(dialogues[index])
    kept = max(len(scores), 1)
    found = {"quac_f1": 100.0 * sum(scores) / kept, "quac_heq_q": 100.0 * sum(reached) / kept}
    if dialogues:
        found["quac_heq_d"] = 100.0 * (1.0 - len(poor) / len(set(dialogues)))
    return found | {"low_agreement": float(len(pairs) - len(scores))}


def _quac_references(own: Sequence[str]) -> list[str]:
    """The answers that count: "unanswerable" if at least half say so, otherwise the others."""
    spans = [text for text in own if words(text) != NO_ANSWER]
    return spans if 2 * len(spans) > len(own) else [NO_ANSWER]


def _quac_f1(text: str, span: str) -> float:
    """F1 of two answers; "unanswerable" matches only itself, and answers without words match nothing."""
    one, other = words(text), words(span)
    return _f1(other.split(), one.split()) if one and other else 0.0


def _left_out(values: Sequence[float]) -> float:
    """The mean over annotators of the maximum of the others; for one annotator, its value."""
    if len(values) == 1:
        return values[0]
    first, second = sorted(values, reverse=True)[:2]
    # The maximum of the others is the maximum of all, except for the annotator who gives it.
    return (first * (len(values) - 1) + second) / len(values)


def _pairs(
    references: Sequence[Sequence[str]], predictions: Sequence[str]
) -> list[tuple[Sequence[str], str]]:
    """(references, prediction) of every item."""
    check_items(references, predictions)
    return list(zip(references, predictions, strict=True))


def check_items(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> None:
    """Refuse references [items][1 or more] that do not belong to the predictions [items].

    Raises:
      ValueError: there are no items, or their numbers differ, or an item has no references.
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} items have references but {len(predictions)} have predictions")
    if not predictions:
        raise ValueError("no items to score")
    for index, own in enumerate(references):
        if isinstance(own, str) or not own:
            raise ValueError(f"item {index}: references must be a list with at least one text, got {own!r}")


def _f1(reference: Sequence[str], prediction: Sequence[str]) -> float:
    """F1 of two bags of words; two empty bags are equal, an empty and a non-empty one share nothing."""
    if not reference or not prediction:
        return float(reference == prediction)
    common = sum((Counter(reference) & Counter(prediction)).values())
    return 2.0 * common / (len(reference) + len(prediction))
