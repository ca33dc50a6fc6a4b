"""Templates proposed by a model: the prompt, the checks, and the file for a person to review.

The model is given the task, the fields of the rows and the existing templates, and asked for new ones in
YAML. A proposal must pass the linter of the packaged files, must not equal an existing template, and must not
be a near copy of one (`OVERLAP`) or of another proposal. The review file has the form of a template file of
one's own (`seqio_tasks.templates.own`), so that what a person keeps can be used at once; refused proposals
follow as comments, each with its reason. The packaged files are never written.

Any function from a prompt to an answer can be the model; `suggest_templates.py` has two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seqio_tasks import catalog
from seqio_tasks.base import nearest, write_text
from seqio_tasks.catalog import Pair
from seqio_tasks.templates import (
    FOLDER,
    OPTION_FIELDS,
    TaskTemplates,
    Template,
    TemplateError,
    load,
    load_entries,
    load_file,
    packaged_tasks,
)
from seqio_tasks.templates.linter import FAMILY_FIELDS, template_faults, wording_key

Complete = Callable[[str], str]  # a model: the answer to a prompt

OVERLAP = 0.6  # templates that share this much of their word trigrams count as the same
_KEYS = ("input", "output", "cue", "reverse", "family")
_MOST_ENTRIES = 200  # read from one answer
_FENCE = re.compile(r"```[A-Za-z]*\s*\n(.*?)(?:```|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_ITEM = re.compile(r"(?m)^(?=\s*- )")


@dataclass(frozen=True)
class Refused:
    """A refused proposal: its text, and why."""

    text: str
    reason: str


@dataclass
class Review:
    """The proposals for one pair, checked; `requests` is how often the model was asked."""

    pair: Pair
    accepted: list[Template] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    requests: int = 0


def suggest(pair: Pair, complete: Complete, *, number: int = 12, requests: int = 4) -> Review:
    """Ask until `number` templates are accepted, at most `requests` times."""
    found = Review(pair)
    existing = load(pair.task, ())
    while len(found.accepted) < number and found.requests < requests:
        wanted = number - len(found.accepted)
        # No prompt twice: a deterministic model would repeat its answer.
        again = f"\n\nThis is request {found.requests + 1}: bring other ideas." if found.requests else ""
        answer = complete(instruction(pair, existing, wanted, found.accepted) + again)
        found.requests += 1
        for entry, problem in entries_of(answer):
            if problem:
                found.refused.append(Refused(_shown(entry), problem))
            elif len(found.accepted) < number:
                examine(entry, found, existing)
    return found


def instruction(pair: Pair, existing: TaskTemplates, number: int, accepted: Sequence[Template] = ()) -> str:
    """The prompt that asks for `number` templates beyond the existing and the accepted ones."""
    own = existing.datasets.get(pair.dataset, ())
    parts = [
        f"You write instruction templates for training language models on the task "
        f"{pair.task.replace('_', ' ')!r}, data set {pair.dataset!r}.",
        f"The task: {existing.description}",
        _fields(pair),
        "A template has three texts. `input` is the instruction with the fields as {name} in braces, "
        "`output` is exactly one field in braces, which must not occur in the input, and `cue` is a short "
        "line that ends with a colon and announces the answer. Wording and layout should differ clearly from "
        "template to template: a question, a command, a form to fill in, a short story. Use no braces except "
        "around fields, and at most 90 words.",
    ]
    if pair.kind == "classify":
        parts.append(
            "Every template offers the answers with {options} (a or b), {options_and} (a and b), "
            "{options_comma} (a, b) or {option_lines} (one per line), whichever the sentence needs; do not "
            "list them yourself."
        )
    shown = [*own, *accepted]
    if shown:
        parts.append("These templates exist. Do not repeat or merely rephrase them:\n\n" + _yaml(shown))
    keys = "input, output, cue" + (", family" if pair.kind == "rank" else "")
    parts.append(
        f"Write {number} new templates as a YAML list of mappings with the keys {keys}, and nothing else."
    )
    return "\n\n".join(parts)


def _fields(pair: Pair) -> str:
    if pair.kind == "rank":
        lines = [f"- {family}: fields {', '.join(sorted(inputs))}; output {{{output}}}"
                 for family, (inputs, output) in FAMILY_FIELDS.items()]  # fmt: skip
        return "\n".join(
            ["Each template belongs to a family, which determines its fields and output:", *lines]
        )
    names = (*pair.fields, *(OPTION_FIELDS if pair.kind == "classify" else ()))
    text = f"The fields of a row: {', '.join(f'{{{n}}}' for n in names)}. The output is {{{pair.answer}}}."
    if pair.optional_fields:
        text += f" A row may lack: {', '.join(pair.optional_fields)}."
    return text


def entries_of(answer: str) -> Iterator[tuple[Any, str]]:
    """(entry, "") for each template in an answer, (text, problem) for what cannot be read.

    Parsing is lenient: thoughts and code fences around the list are stripped, JSON is YAML too, the list may
    be below a key, and if the whole is broken the items are parsed one by one. Only `yaml.safe_load` is used.

    >>> list(entries_of("Here they are:\\n```yaml\\n- input: a\\n- {input: 'b\\n```"))
    [({'input': 'a'}, ''), ("- {input: 'b", 'not valid YAML')]
    """
    text = _THOUGHT.sub("", answer)
    fenced = _FENCE.findall(text)
    text = "\n".join(fenced) if fenced else text
    found = _list_in(_loaded(text))
    if found is None:
        items = [item for item in _ITEM.split(text) if item.lstrip().startswith("- ")]
        if not items:
            yield text, "no list of templates in the answer" if text.strip() else "an empty answer"
            return
        for item in items[:_MOST_ENTRIES]:
            loaded = _list_in(_loaded(item))
            if loaded is None:
                yield item.strip(), "not valid YAML"
            else:
                yield from ((entry, "") for entry in loaded[:1])
        return
    for entry in found[:_MOST_ENTRIES]:
        yield entry, ""
    if len(found) > _MOST_ENTRIES:
        yield (
            f"{len(found) - _MOST_ENTRIES} more",
            f"only {_MOST_ENTRIES} templates of an answer are read",
        )


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):  # ValueError: an impossible date
        return None


def _list_in(data: Any) -> list[Any] | None:
    """The list itself, or the first one below a key; a mapping with an input is a list of one."""
    if isinstance(data, dict):
        if "input" in data:
            return [data]
        data = next((value for value in data.values() if isinstance(value, list | dict)), None)
        return _list_in(data) if isinstance(data, dict) and "input" not in data else data
    return data if isinstance(data, list) else None


def examine(entry: Any, found: Review, existing: TaskTemplates) -> None:
    """Add one proposal to the accepted or the refused ones."""
    text = _shown(entry)
    try:
        template = _template(entry, found.pair)
    except TemplateError as error:
        found.refused.append(Refused(text, str(error)))
        return
    problems = [f"{name}: {what}" for name, what in template_faults(template, found.pair)]
    if not problems and (twin := _twin(template, found, existing)):
        problems = [twin]
    if problems:
        found.refused.append(Refused(text, "; ".join(problems)))
    else:
        found.accepted.append(template)


def _template(entry: Any, pair: Pair) -> Template:
    """The template of an entry; what a model cannot know or often forgets is filled in."""
    if not isinstance(entry, dict) or not all(
        isinstance(value, str | bool | None) for value in entry.values()
    ):
        raise TemplateError("form: a template is a mapping of texts")
    known: dict[Any, Any] = {key: entry[key] for key in _KEYS if entry.get(key) is not None}
    known |= {key: value.strip() for key, value in known.items() if isinstance(value, str)}
    if strange := [str(key) for key in entry if key not in _KEYS]:
        raise TemplateError(f"form: unknown keys {', '.join(strange)[:80]}")
    if pair.kind == "rank":
        known.pop("reverse", None)
    else:
        known.pop("family", None)
        output = str(known.get("output", "")).strip("{}")
        known["reverse"] = bool(pair.answer) and output in pair.fields and output != pair.answer
    made = load_entries({"task": pair.task, "description": "", "datasets": {pair.dataset: [known]}}, "form")
    return made.datasets[pair.dataset][0]


def _twin(template: Template, found: Review, existing: TaskTemplates) -> str:
    """The template this one repeats, or "": word for word in any packaged file, nearly in its own task."""
    key = wording_key(template.input)
    for task in packaged_tasks():
        others = existing if task == existing.task else load_file(FOLDER / f"{task}.yaml")
        for dataset, entries in others.datasets.items():
            for slot, other in enumerate(entries):
                where = f"{task}.yaml: {dataset}[{slot}]"
                if wording_key(other.input) == key:
                    return f"duplicate: the same input as {where}"
                if task == existing.task and (share := overlap(template.input, other.input)) >= OVERLAP:
                    return f"duplicate: {share:.0%} of its word trigrams are those of {where}"
    for number, other in enumerate(found.accepted, 1):
        share = 1.0 if wording_key(other.input) == key else overlap(template.input, other.input)
        if share >= OVERLAP:
            return f"duplicate: {share:.0%} of its word trigrams are those of proposal {number}"
    return ""


def overlap(one: str, other: str) -> float:
    """The share of the shorter text's word trigrams that the other has, 0 to 1.

    >>> overlap("Expand the query {title} now", "expand the query: {title}"), overlap("a b", "c d")
    (1.0, 0.0)
    """
    first, second = _trigrams(one), _trigrams(other)
    return len(first & second) / min(len(first), len(second))


def _trigrams(text: str) -> set[tuple[str, ...]]:
    words = wording_key(text).split() or [""]
    return {tuple(words[place : place + 3]) for place in range(max(1, len(words) - 2))}


def _yaml(templates: Sequence[Template]) -> str:
    entries = []
    for template in templates:
        entry: dict[str, Any] = {"family": template.family} if template.family else {}
        entry |= {"input": template.input, "output": template.output, "cue": template.cue}
        entries.append(entry | ({"reverse": True} if template.reverse else {}))
    return str(yaml.dump(entries, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


class _Dumper(yaml.SafeDumper):
    """Writes multi-line texts as blocks, as a person would."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def _shown(entry: Any) -> str:
    """A bounded rendering of anything a model wrote, in printable characters."""
    if isinstance(entry, dict):
        pieces = [f"{str(key)[:40]}: {value[:300] if isinstance(value, str) else type(value).__name__}"
                  for key, value in list(entry.items())[:8]]  # fmt: skip
        text = "\n".join(pieces)
    else:
        text = entry[:600] if isinstance(entry, str) else f"({type(entry).__name__})"
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines())


def review_file(reviews: Sequence[Review], source: str) -> str:
    """The text of the review file of one task."""
    task = reviews[0].pair.task
    taken, left = sum(len(r.accepted) for r in reviews), sum(len(r.refused) for r in reviews)
    lines = [
        f"# Templates for {task} proposed by {' '.join(source.split())}: {taken} to review, {left} refused.",
        "# Read every one: the checks cover form, fields and repetition, not meaning. Use what you keep with",
        "#     python -m seqio_tasks.templates --check THIS_FILE     and     INTERS_TEMPLATES=THIS_FILE",
        "# A dataset in this file has only these templates, not the packaged ones.",
        f"task: {task}",
        "datasets:" if taken else "datasets: {}",
    ]
    for review in reviews:
        if review.accepted:
            lines.append(f"  {review.pair.dataset}:")
            lines += [f"    {line}" if line else "" for line in _yaml(review.accepted).rstrip().split("\n")]
    for review in reviews:
        for refused in review.refused:
            lines += ["", f"# refused ({review.pair.dataset}): {' '.join(refused.reason.split())[:400]}"]
            lines += [f"#   {line}" for line in refused.text.splitlines()]
    return "\n".join(lines) + "\n"


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse to write packaged files and, without `overwrite`, existing ones.

    Raises:
      TemplateError: the review file cannot be `path`.
    """
    if path.resolve().is_relative_to(FOLDER):
        raise TemplateError(f"{path.name}: the packaged templates are not written; choose a file elsewhere")
    if path.exists() and not overwrite:
        raise TemplateError(f"{path.name} exists; choose another file, or replace it with --overwrite")


def wanted_pairs(task: str, dataset: str = "") -> tuple[Pair, ...]:
    """The pairs of a task, or the one of a dataset.

    Raises:
      TemplateError: there is no such task or dataset.
    """
    found = catalog.pairs(task=task, dataset=dataset or None)
    if not found:
        known, name = {pair.task for pair in catalog.PAIRS}, task
        if task in known:
            known, name = {pair.dataset for pair in catalog.pairs(task=task)}, dataset
        hint = nearest(name, known) or f"; there are {', '.join(sorted(known))}"
        raise TemplateError(f"nothing is named {name!r}{hint}")
    return found


def propose(
    pairs: Sequence[Pair],
    complete: Complete,
    path: Path,
    source: str,
    *,
    number: int = 12,
    requests: int = 4,
    overwrite: bool = False,
) -> list[Review]:
    """Ask for templates and write the review file, again after every pair: what was paid for is kept.

    Args:
      pairs: of one task (see `wanted_pairs`).
      complete: the model.
      path: the review file.
      source: the name of the model, for the head of the file.
      number, requests: templates wanted per pair, and how often the model is asked at most.
      overwrite: replace an existing file.
    """
    check_target(path, overwrite=overwrite)
    reviews: list[Review] = []
    for pair in pairs:
        reviews.append(suggest(pair, complete, number=number, requests=requests))
        write_text(path, review_file(reviews, source))
    return reviews


def summary(reviews: Sequence[Review], path: Path) -> str:
    """One line per pair, then the path."""
    lines = [f"{review.pair.dataset:16} {len(review.accepted)} to review, {len(review.refused)} refused, "
             f"{review.requests} requests" for review in reviews]  # fmt: skip
    return "\n".join([*lines, str(path)])
