"""What a program can see of the wording of a template. `linter` runs these checks; the names in its messages:

numbering     the answer is a list: the template asks for a numbered one; any other template does not
polarity      Yes means relevant, better or right: the question is not put the other way round
joined        labels are joined as their sentence needs: "between a and b", "either a or b", "labels: a, b"
stated        a stated number or length ("in one sentence") holds for nine in ten rows of the packaged sample
ties          listwise_order says what becomes of equally relevant documents
instruction   something says what to do: "title: {title}" lines alone do not
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from seqio_tasks import catalog
from seqio_tasks.base import MissingData
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.catalog.types import LIST_METRICS, TURN_METRICS
from seqio_tasks.templates.files import JUDGED, Template

SAMPLE = Path(__file__).resolve().parents[1] / "sample"

_LEAST_SHARE = 0.9
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER = rf"(?:{'|'.join(_NUMBERS)}|single|\d+)"

_NUMBERED = re.compile(r"(?i)\bnumber(ed|ing|s)?\b")
# In other templates the passages may be numbered and an answer may be a number; lines of the answer may not.
_NUMBERED_ANSWER = re.compile(
    r"(?i)\bnumbered (from|list|line|item|answer|quer|question|suggestion|request)"
    r"|\bnumber (them|each|your|every)\b"
)

_INVERTED = re.compile(
    r"(?i)\b(wrong(ly)?|mistak(e|es|en|enly)|misplaced|irrelevant|unrelated|objections?|incorrect(ly)?|errors?|"
    r"useless|never|nothing|nobody|none|neither|worse|out of place|off topic|fails?)\b|n't\b|n\u2019t\b"
)
_NEGATED_QUESTION = re.compile(
    r"(?i)^\W*(is|are|does|do|can|could|should|would|will|has|have|was|were)\b.*\bnot?\b"
)
# "every reply that answers before every one that does not", "Yes or No", "No if it is not"
_HARMLESS_NOT = re.compile(
    r"(?i)\b(that|which|who) (does|do|is|are) not\b|\byes or no\b|\bif (it is|they are) not\b"
)

_ONLY_FIELDS = re.compile(r"(?:[^:{}\n]{1,40}:)?\s*(?:\{\w+\})?")
_VERB = re.compile(
    r"(?i)(answer|ask|choose|classify|decide|describe|explain|find|give|judge|label|list|name|order|rank|reply"
    r"|rewrite|say|select|sort|state|summarize|tell|translate|turn|write)\s"
)

_TIES = re.compile(
    r"(?i)\bti(e|es|ed)\b|\bequal(ly)?\b|\bas good\b|\brearrange|\bunchanged\b|\bswap\b|\bdo not change\b"
    r"|\bchange nothing\b|\bkeep\b|\bstay\b|\bfrom top to bottom\b|\bthe same (level|grade|chance|degree)\b"
    r"|\border (shown|listed|given|above)\b|\b(given|listed|original|present|shown) order\b"
)

_UNITS: dict[str, Callable[[str], int]] = {
    "word": lambda text: len(text.split()),
    "sentence": lambda text: max(1, len(re.findall(r"[.!?](?=\s|$)", text))),
    "line": lambda text: text.count("\n") + 1,
    "paragraph": lambda text: text.count("\n\n") + 1,
}
_MOST = r"(?P<most>(?:at most|no more than|up to) )?"
_AMOUNT = rf"{_MOST}(?:a )?(?P<low>{_NUMBER})(?:(?: or | to |-)(?P<high>{_NUMBER}))?"
# "in one sentence" speaks of the answer, "three words: {title}" of the field; "one sentence each" of parts.
_OF_THE_ANSWER = re.compile(
    rf"(?i)\b(?:in|into|down to|with|using|of|exactly|only)\s+(?:exactly |only |just )?{_AMOUNT}[\s-]"
    r"(?:\w+ )?(?P<unit>word|sentence|line|paragraph)s?\b(?! each| per| apiece)"
)
_OF_A_FIELD = re.compile(
    rf"(?i)\b{_AMOUNT}[\s-](?P<unit>word|sentence|line|paragraph)s?\b[^.?!:{{}}\n]*:\s*{{(?P<field>\w+)}}"
)
_OF_ITEMS = re.compile(
    rf"(?i)\b(?:ask|give|list|name|offer|propose|suggest|write) (?:exactly |just )?{_AMOUNT} (?:\w+ )?\w+s\b"
)


def faults(template: Template, pair: Pair) -> Iterator[tuple[str, str]]:
    """(check, fault) for a template of this pair; see the head of the module."""
    yield from _numbering(template, pair)
    yield from _polarity(template)
    yield from _joined(template.input)
    yield from _stated(template, pair)
    if template.family == "listwise_order" and not _TIES.search(f"{_literals(template)} {template.cue}"):
        yield "ties", "does not say that equally relevant documents keep the order in which they are shown"
    if all(_says_nothing(line) for line in template.input.split("\n")):
        yield "instruction", "only names of fields; say what is to be done"


def is_list(template: Template, pair: Pair) -> bool:
    """Whether the answer is a list, which is written with numbers."""
    listed = pair.metrics in (LIST_METRICS, TURN_METRICS)
    return listed and pair.kind == "generate" and template.output_field == pair.answer


def _literals(template: Template) -> str:
    return " ".join(literal for literal, _ in template.input_parts)


def _numbering(template: Template, pair: Pair) -> Iterator[tuple[str, str]]:
    wording = f"{_literals(template)} {template.cue}"
    if is_list(template, pair):
        if not _NUMBERED.search(wording):
            yield "numbering", "the answer is a numbered list; ask for one"
    elif pair.kind != "rank" and (found := _NUMBERED_ANSWER.search(wording)):
        yield "numbering", f"{found.group(0)!r}, but the answer is a single text without a number"


def _polarity(template: Template) -> Iterator[tuple[str, str]]:
    if template.family not in JUDGED:
        return
    text = _HARMLESS_NOT.sub("", re.sub(r"\{\w+\}", "X", template.input))
    for sentence in [*re.split(r"(?<=[.?!])\s+|\n", text), template.cue]:
        asks = sentence.endswith("?") or sentence == template.cue or re.search(r"\bYes\b", sentence)
        found = _INVERTED.search(sentence) or _NEGATED_QUESTION.search(sentence)
        if asks and found:
            yield "polarity", f"{found.group(0)!r}: Yes must mean relevant, better or right"
            return


def _joined(text: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"\{(options|options_and|options_comma)\}", text):
        clause = re.split(r"[.?!\n]", text[: found.start()])[-1].lower()
        name, between = found.group(1), re.search(r"\bbetween(?: the \w+)?:?\s*$", clause)
        if name != "options_and" and between:
            yield "joined", f"'between' takes {{options_and}}, not {{{name}}}"
        elif (
            name == "options" and clause.rstrip().endswith(":") and not re.search(r"\bwhich\b|\bis\b", clause)
        ):
            yield "joined", "after a colon stands {options_comma} or {option_lines}, not {options}"
        elif name == "options" and (
            before := re.search(r"\b(one|more|several|out) of\s*$|\b(among|from)\s*$", clause)
        ):
            yield (
                "joined",
                f"{before.group(0).strip()!r} takes {{options_and}} or {{options_comma}}, not {{options}}",
            )
        elif name != "options" and re.search(r"\beither\b[^,;]*$|\bor\s*$", clause):
            yield "joined", f"'either' and 'or' take {{options}}, not {{{name}}}"


def _stated(template: Template, pair: Pair) -> Iterator[tuple[str, str]]:
    claims = [(found, template.output_field) for found in _OF_THE_ANSWER.finditer(template.input)]
    known = {found.start("low") for found, _ in claims}
    fields = (found for found in _OF_A_FIELD.finditer(template.input) if found.start("low") not in known)
    claims += [(found, found["field"]) for found in fields]
    for found, name in claims:
        if name in pair.fields:
            yield from _measured(found, pair, name, _UNITS[found["unit"].lower()])
    if is_list(template, pair):
        for found in _OF_ITEMS.finditer(template.input):
            yield from _measured(found, pair, template.output_field, None)


def _measured(
    found: re.Match[str], pair: Pair, name: str, count: Callable[[str], int] | None
) -> Iterator[tuple[str, str]]:
    """A fault where the statement does not hold; `count` of a text, None: the items of a list."""
    low, high = _value(found["low"]), _value(found["high"] or found["low"])
    low = 0 if found["most"] else low
    values = [row[name] for row in _rows(pair.name) if row.get(name)]
    if count is None:
        numbers = [len(value) for value in values if isinstance(value, list)]
    else:
        texts = ["\n".join(value) if isinstance(value, list) else value for value in values]
        numbers = [count(text) for text in texts]
    holds = sum(low <= number <= high for number in numbers)
    if numbers and holds < _LEAST_SHARE * len(numbers):
        yield (
            "stated",
            f"{found.group(0)!r} holds for {holds} of {len(numbers)} rows of {name!r} in the sample",
        )


def _value(word: str) -> int:
    if word.isdigit():
        return int(word)
    return 1 if word.lower() == "single" else _NUMBERS.index(word.lower()) + 1


@functools.lru_cache(maxsize=8)
def _rows(name: str) -> list[Row]:
    """Training rows of the packaged sample; none for a dataset that is not in it."""
    try:
        return list(catalog.pair(name).rows(SAMPLE, "train"))
    except MissingData:
        return []


def _says_nothing(line: str) -> bool:
    """A line "name: {field}", with a name of up to three words that is no short instruction.

    >>> [_says_nothing(line) for line in ("query: {query}", "{query}", "query:", "cited work: {document}")]
    [True, True, True, True]
    >>> [_says_nothing(line) for line in ("Answer the question: {query}", "task: rank", "Who asks this?")]
    [False, False, False]
    """
    name = line.partition(":")[0]
    return bool(_ONLY_FIELDS.fullmatch(line.strip())) and len(name.split()) <= 3 and not _VERB.match(name)
