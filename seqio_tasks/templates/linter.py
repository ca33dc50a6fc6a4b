"""Checks of the template files; `python -m seqio_tasks.templates --check` runs them on all files.

The checks, by the names used in messages:

    coverage      every pair of the catalog has templates, and every dataset in a file is such a pair
    count         twelve templates per dataset
    field         every placeholder is a field of the pair (a misspelling is answered with the nearest name)
    output        the output is a single placeholder that does not occur in the input
    braces        no braces except placeholders (write option lists as {options})
    reverse       `reverse: true` exactly where the answer is not that of the pair; slots 10 and 11 of
                  query_description and query_expansion
    options       a classification template offers the scored labels: {options}, {option_lines} or all of
                  them in words; a literal list after "Options:" is refused, as it could differ from the
                  labels
    family        ranking: two templates for each of the six families, with the placeholders of the family;
                  with documents, one of the two puts the query first, the other the documents
    optional      at least three templates can be filled when the optional fields of a row are empty, and at
                  least three show an indispensable field
    cue           one line, not empty, ends with a colon, without placeholder
    spacing       no space at the edges or before a line end, no double space, no two blank lines, no
                  placeholder attached to a word
    duplicate     no two equal inputs (ignoring case, spacing and punctuation), within or across files
    variety       at least four different cues; no word begins more than half of the templates
    length        at most 90 words of wording

and those of `wording`: numbering, polarity, joined, stated, ties, instruction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seqio_tasks import catalog
from seqio_tasks.base import nearest
from seqio_tasks.catalog import Pair
from seqio_tasks.templates.files import (
    FAMILIES,
    FOLDER,
    OPTION_FIELDS,
    SLOTS,
    TaskTemplates,
    Template,
    TemplateError,
    load_file,
)
from seqio_tasks.templates.wording import faults as wording_faults

# family -> (input fields, output field)
FAMILY_FIELDS = {
    "pointwise_judgment": ({"query", "document"}, "judgment"),
    "query_generation": ({"document"}, "query"),
    "pairwise_choice": ({"query", "documents"}, "identifier"),
    "pairwise_check": ({"query", "documents", "number"}, "judgment"),
    "listwise_order": ({"query", "documents"}, "order"),
    "listwise_check": ({"query", "documents", "order"}, "judgment"),
}
_RANK_FIELDS = ("query", "document", "documents", "identifier", "number", "order", "judgment")
_TWO_REVERSED = ("query_description", "query_expansion")
_MOST_WORDS = 90
_LEAST_PLAIN = 3
_LITERAL_OPTIONS = re.compile(r"(?i)\b(options?|labels?|choices)\s*(are)?\s*:\s*(?!\s*\{)\S")


def check_all(folder: Path = FOLDER, pairs: Sequence[Pair] | None = None) -> list[str]:
    """All faults of a folder of template files, one line each."""
    pairs = catalog.PAIRS if pairs is None else pairs
    faults: list[str] = []
    loaded: list[TaskTemplates] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            task = load_file(path)
        except TemplateError as error:
            faults.append(f"form: {error}")
            continue
        if task.task != path.stem:
            faults.append(f"coverage: {path.name}: is for task {task.task!r}; name file and task alike")
        loaded.append(task)
    have = {(task.task, dataset) for task in loaded for dataset in task.datasets}
    faults += [
        f"coverage: {p.task}.yaml: no templates for dataset {p.dataset!r}"
        for p in pairs
        if (p.task, p.dataset) not in have
    ]
    for task in loaded:
        faults += check_task(task, [p for p in pairs if p.task == task.task])
    return faults + list(_duplicates(loaded))


def check_task(task: TaskTemplates, pairs: Sequence[Pair]) -> list[str]:
    """Faults of one task file, except duplicates across files."""
    faults = []
    if len(task.description.split()) < 10:
        faults.append(f"coverage: {task.task}.yaml: the description is too short (under ten words)")
    faults += [f"spacing: {task.task}.yaml: description: {fault}" for fault in _spacing(task.description)]
    by_dataset = {pair.dataset: pair for pair in pairs}
    for dataset, entries in task.datasets.items():
        where = f"{task.task}.yaml: {dataset}"
        if dataset not in by_dataset:
            faults.append(
                f"coverage: {where}: no such pair in the catalog{nearest(dataset, by_dataset, most=1)}"
            )
            continue
        if len(entries) != SLOTS:
            faults.append(f"count: {where}: {len(entries)} templates, there must be {SLOTS}")
        for slot, template in enumerate(entries):
            found = _check_template(template, slot, by_dataset[dataset])
            faults += [f"{name}: {where}[{slot}]: {what}" for name, what in found]
        faults += [f"variety: {where}: {what}" for what in _variety(entries)]
        faults += [f"optional: {where}: {what}" for what in _optional(entries, by_dataset[dataset])]
        if by_dataset[dataset].kind == "rank":
            faults += [f"family: {where}: {what}" for what in _families(entries)]
    return faults


def template_faults(template: Template, pair: Pair) -> list[tuple[str, str]]:
    """(check, fault) for a single template, in a slot of its kind."""
    slot = 0
    if pair.kind == "rank" and template.family in FAMILIES:
        slot = 2 * FAMILIES.index(template.family)
    elif template.reverse and pair.task in _TWO_REVERSED:
        slot = SLOTS - 1
    return list(_check_template(template, slot, pair))


def wording_key(text: str) -> str:
    """A key that is equal for repeated texts: without case, spacing and punctuation."""
    return re.sub(r"[\W_]+", " ", text).lower().strip()


def _check_template(template: Template, slot: int, pair: Pair) -> Iterator[tuple[str, str]]:
    known = _RANK_FIELDS if pair.kind == "rank" else (*pair.fields, *OPTION_FIELDS)
    output_fields = [name for _, name in template.output_parts if name]
    for name in dict.fromkeys((*template.input_fields, *output_fields)):
        if name not in known:
            near = nearest(name, known, most=1)
            yield "field", f"the pair has no field {name!r}{near} (it has {', '.join(known)})"
    if len(output_fields) != 1 or template.output != f"{{{template.output_field}}}":
        yield "output", f"must be one placeholder, got {template.output!r}"
    elif template.output_field in template.input_fields:
        yield "output", f"{template.output_field!r} is also in the input, which gives the answer away"
    wording = " ".join(literal for literal, _ in template.input_parts)
    if "{" in wording or "}" in wording:
        yield "braces", "braces that are not a placeholder; use {options} or write the text without braces"
    if pair.kind != "rank":
        yield from _check_direction(template, slot, pair)
    if pair.kind == "classify":
        yield from _check_options(template, wording, pair)
    if pair.kind == "rank":
        yield from _check_family(template, slot)
    elif template.family is not None:
        yield "family", "only ranking templates have a family"
    cue = template.cue
    if not cue.strip() or cue != cue.strip() or "\n" in cue or not cue.endswith(":") or "{" in cue:
        yield "cue", f"{cue!r} must be one line ending with a colon, without placeholder"
    for what in _spacing(template.input):
        yield "spacing", what
    if len(wording.split()) > _MOST_WORDS:
        yield "length", f"{len(wording.split())} words; at most {_MOST_WORDS} are allowed"
    yield from wording_faults(template, pair)


def _check_direction(template: Template, slot: int, pair: Pair) -> Iterator[tuple[str, str]]:
    answer = pair.answer
    if answer and template.output_field and template.reverse != (template.output_field != answer):
        yield "reverse", f"the answer is {template.output_field!r}, so reverse must be {not template.reverse}"
    if pair.task in _TWO_REVERSED and template.reverse != (slot in (10, 11)):
        yield "reverse", "slots 10 and 11 must be reversed, the others must not"


def _check_options(template: Template, wording: str, pair: Pair) -> Iterator[tuple[str, str]]:
    if template.output_field != pair.label_field:
        return
    if _LITERAL_OPTIONS.search(template.input):
        yield "options", "a literal list; write {options} or {option_lines}, which match the labels"
    if not any(name in template.input_fields for name in OPTION_FIELDS):
        words = wording.lower()
        missing = [label for label in pair.labels if not re.search(rf"\b{re.escape(label)}\b", words)]
        if missing:
            yield "options", f"does not offer {', '.join(missing)}; add {{options}}"


def _check_family(template: Template, slot: int) -> Iterator[tuple[str, str]]:
    wanted = FAMILIES[slot // 2] if slot < SLOTS else None
    if template.family != wanted:
        yield "family", f"slot {slot} is for {wanted}, not {template.family}"
    if template.family is not None:
        inputs, output = FAMILY_FIELDS[template.family]
        if set(template.input_fields) != inputs or template.output_field != output:
            yield "family", f"{template.family} takes {', '.join(sorted(inputs))} and answers {output}"
    if template.reverse:
        yield "reverse", "ranking templates are not reversed; they have families"


def _families(entries: Sequence[Template]) -> Iterator[str]:
    """The first template of a family puts the query first (servers can share that prefix), the second not."""
    for first, second in zip(entries[::2], entries[1::2], strict=False):
        if first.family == "query_generation" or "query" not in first.input_fields:
            continue
        orders = [
            fields.index("query") < min(fields.index(name) for name in fields if name.startswith("document"))
            for fields in (t.input_fields for t in (first, second))
            if "query" in fields and any(name.startswith("document") for name in fields)
        ]
        if orders != [True, False]:
            yield f"{first.family}: the first template must put the query first, the second the documents"


def _optional(entries: Sequence[Template], pair: Pair) -> Iterator[str]:
    """Rows without the optional fields need templates too; outside training, ones that are not reversed."""
    optional = set(pair.optional_fields)
    plain = [t for t in entries if not t.reverse and not optional & {*t.input_fields, t.output_field}]
    if optional and len(plain) < _LEAST_PLAIN:
        names = ", ".join(pair.optional_fields)
        yield f"only {len(plain)} templates work without {names}; there must be {_LEAST_PLAIN}"
    for name in pair.indispensable_fields:
        showing = sum(name in template.input_fields and not template.reverse for template in entries)
        if showing < _LEAST_PLAIN:
            yield f"only {showing} templates show {name!r}, needed by some rows; there must be {_LEAST_PLAIN}"


def _spacing(text: str) -> Iterator[str]:
    if text != text.strip():
        yield "spaces at the beginning or end"
    if "\t" in text or re.search(r"  | \n|\n\n\n", text):
        yield "a tab, a double space, a space before a line end, or two blank lines in a row"
    if glued := re.search(r"\w\{[A-Za-z_]\w*\}|\{[A-Za-z_]\w*\}\w", text):
        yield f"a placeholder attached to a word: {glued.group(0)!r}"


def _variety(entries: Sequence[Template]) -> Iterator[str]:
    if len(entries) < SLOTS:
        return
    if len({template.cue for template in entries}) < 4:
        yield "fewer than four different cues"
    first = Counter(template.input.lower().split(maxsplit=1)[0] for template in entries if template.input)
    for word, count in first.items():
        if count > SLOTS // 2:
            yield f"{count} templates begin with {word!r}"


def _duplicates(tasks: Iterable[TaskTemplates]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for task in tasks:
        for dataset, entries in task.datasets.items():
            for slot, template in enumerate(entries):
                where = f"{task.task}.yaml: {dataset}[{slot}]"
                key = wording_key(template.input)
                if key in seen:
                    yield f"duplicate: {where}: the same input as {seen[key]}"
                else:
                    seen[key] = where
