"""Templates of your own instead of the packaged ones.

    seqio_tasks.configure(templates="mine.yaml")          or INTERS_TEMPLATES=mine.yaml:more.py, or a folder

A dataset named in such a file has only the file's templates; all others keep the packaged ones. Two formats
are read, by the suffix of the file:

`.yaml`, like the packaged files (see `seqio_tasks.templates`), with one or more templates per dataset; the
description may be left out, and so may the cue (an empty one gives no line).

`.py`, the dictionaries of the INTERS authors; the file is parsed and never executed::

    PATTERNS = {"query-matching-msrp": [("Same meaning? {sentence1} / {sentence2}", "{answer}"), ...], ...}
    PATTERNS_FOR_FEW_SHOT_DEMONSTRATIONS = {...}     # optional: the same with a cue at the end of the input
    TASK_DESCRIPTIONS = {"query_matching": "...", "retrieval": "..."}      # optional

How names of that format map to ours:

    keys             "-" and "_" are the same; task and dataset as in the catalog, plus KEYS; the keys cast19
                     and cast2x are one dataset here, with the templates of both
    placeholders     the fields of the catalog, plus PLACEHOLDERS; a `{word}` that is not a field is refused,
                     other braces ("{a, b}") are ordinary characters
    cues             the word before the final colon of the few-shot input ("... Answer: " -> "Answer:");
                     without that dictionary there are no cues
    descriptions     by task; "retrieval" is used for all ranking tasks
    ranking          twelve templates in the order of `templates.FAMILIES`, two each; {document} of several
                     documents is {documents}, {num} is {number}, {identifier} of a list is {order}
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from seqio_tasks import catalog
from seqio_tasks.base import nearest, read_text
from seqio_tasks.catalog import Pair
from seqio_tasks.templates.files import (
    FAMILIES,
    OPTION_FIELDS,
    SLOTS,
    TaskTemplates,
    Template,
    TemplateError,
    load_entries,
)
from seqio_tasks.templates.linter import FAMILY_FIELDS
from seqio_tasks.yaml_files import read_yaml

# Keys that are not task and dataset as in the catalog.
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "qury_suggestion_aol": "query_suggestion_aol",
        "query_reformulation_cast19": "query_reformulation_trec_cast",
        "query_reformulation_cast2x": "query_reformulation_trec_cast",
        "reading_comprehension_bool_q": "reading_comprehension_boolq",
        "summarization_cnndm": "summarization_cnn_dm",
        "summarization_multinews": "summarization_multi_news",
        "general_retrieval_msmarco": "general_retrieval_ms_marco",
    }
)

# Placeholders that stand for a field under another name, in any pair ("") or in one.
PLACEHOLDERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "": {"descrisption": "description"},
        "inters_reading_comprehension_webglm_qa": {"references": "reference_passages"},
        "inters_conversational_qa_quac": {"answers": "answer"},
    }
)
_FAMILY_PLACEHOLDERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "pairwise_choice": {"document": "documents"},
        "pairwise_check": {"document": "documents", "num": "number"},
        "listwise_order": {"document": "documents", "identifier": "order"},
        "listwise_check": {"document": "documents", "identifier": "order"},
    }
)

_PATTERNS, _FEW_SHOT = "PATTERNS", "PATTERNS_FOR_FEW_SHOT_DEMONSTRATIONS"
_DESCRIPTIONS, _RETRIEVAL = "TASK_DESCRIPTIONS", "retrieval"
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CUE = re.compile(r"([A-Z][A-Za-z ]*:)\s*\Z")


def overlay(packaged: TaskTemplates, files: Iterable[str]) -> TaskTemplates:
    """The templates of a task, overridden by own files; later files win."""
    description, datasets = packaged.description, dict(packaged.datasets)
    for path in files:
        for found in read(path):
            if found.task == packaged.task:
                description = found.description or description
                datasets |= found.datasets
    return dataclasses.replace(packaged, description=description, datasets=datasets)


def read(path: str | Path) -> list[TaskTemplates]:
    """The templates of a file, or of all files of a folder; a missing description is empty.

    Raises:
      TemplateError: there is no such file, or it cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".py"))
        if not files:
            raise TemplateError(f"{path}: no template file (.yaml or .py) in this folder")
        return [found for file in files for found in read(file)]
    if not path.is_file():
        raise TemplateError(f"{path}: no such template file; settings.templates or INTERS_TEMPLATES names it")
    return list(_read_file(str(path)))


@functools.cache
def _read_file(name: str) -> tuple[TaskTemplates, ...]:
    path = Path(name)
    if path.suffix == ".py":
        return tuple(_read_python(path))
    if path.suffix in (".yaml", ".yml"):
        return (_read_yaml(path),)
    raise TemplateError(f"{path}: a template file ends in .yaml or .py")


def _read_yaml(path: Path) -> TaskTemplates:
    data = read_yaml(path, TemplateError)
    if not isinstance(data, dict) or not {"task", "datasets"} <= set(data):
        raise TemplateError(f"{path}: the top level must have the keys task and datasets (and description)")
    entries = data["datasets"]
    if isinstance(entries, dict):
        for templates in entries.values():
            for template in templates if isinstance(templates, list) else ():
                if isinstance(template, dict):
                    template.setdefault("cue", "")
    found = load_entries({"description": ""} | data, str(path))
    for dataset, templates in found.datasets.items():
        pair = _pair(f"{found.task}_{dataset}", f"{path}: {dataset}")
        for slot, template in enumerate(templates):
            _check(template, pair, slot, f"{path}: {dataset}[{slot}]")
    return found


def _read_python(path: Path) -> list[TaskTemplates]:
    """The assignments of the known names, read as literals; everything else in the file is ignored."""
    text = read_text(path, TemplateError)
    try:
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise TemplateError(f"{path}:{error.lineno}: not valid Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, deep nesting
        raise TemplateError(f"{path}: not valid Python: {str(error) or 'nested too deeply'}") from error
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        for name in {*names} & {_PATTERNS, _FEW_SHOT, _DESCRIPTIONS}:
            value = statement.value  # type: ignore[attr-defined]
            try:
                values[name] = ast.literal_eval(value)
            except (ValueError, TypeError) as error:
                raise TemplateError(
                    f"{path}:{statement.lineno}: {name} must be written out as a literal (it is never "
                    f"executed): {error}"
                ) from error
            if not isinstance(values[name], dict):
                raise TemplateError(f"{path}:{statement.lineno}: {name} must be a dictionary")
            lines[name] = statement.lineno
    if _PATTERNS not in values:
        raise TemplateError(f"{path}: no {_PATTERNS} = {{...}} at the top level of this file")
    descriptions = values.get(_DESCRIPTIONS, {})
    few_shot = values.get(_FEW_SHOT, {})
    if unknown := [key for key in few_shot if key not in values[_PATTERNS]]:
        raise TemplateError(f"{path}:{lines[_FEW_SHOT]}: {unknown[0]!r} is not a key of {_PATTERNS}")
    tasks: dict[str, dict[str, tuple[Template, ...]]] = {}
    for key, entries in values[_PATTERNS].items():
        where = f"{path}: {key}"
        pair = _pair(str(key), where)
        read_templates = _python_templates(pair, entries, few_shot.get(key), where)
        datasets = tasks.setdefault(pair.task, {})
        datasets[pair.dataset] = (*datasets.get(pair.dataset, ()), *read_templates)
    return [
        TaskTemplates(task, _description(descriptions, task, path), datasets)
        for task, datasets in tasks.items()
    ]


def _description(descriptions: Mapping[str, Any], task: str, path: Path) -> str:
    by_name = {str(name).replace("-", "_"): text for name, text in descriptions.items()}
    ranking = catalog.TASKS[task].kind == "rank"
    text = by_name.get(task, by_name.get(_RETRIEVAL, "") if ranking else "")
    if not isinstance(text, str):
        raise TemplateError(f"{path}: {_DESCRIPTIONS}: the description of {task} must be text")
    return text.strip()


def _python_templates(pair: Pair, entries: Any, few_shot: Any, where: str) -> list[Template]:
    texts = _texts(entries, where)
    cued = texts if few_shot is None else _texts(few_shot, f"{where} ({_FEW_SHOT})")
    if len(cued) != len(texts):
        raise TemplateError(f"{where}: {len(texts)} templates, but {len(cued)} in {_FEW_SHOT}")
    if pair.kind == "rank" and len(texts) != SLOTS:
        raise TemplateError(
            f"{where}: {len(texts)} templates; a ranking dataset has {SLOTS}, two each of "
            + ", ".join(FAMILIES)
        )
    found = []
    for slot, ((plain, output), (longer, _)) in enumerate(zip(texts, cued, strict=True)):
        family = FAMILIES[slot // 2] if pair.kind == "rank" else None
        names = {**PLACEHOLDERS[""], **PLACEHOLDERS.get(pair.name, {})}
        names |= _FAMILY_PLACEHOLDERS.get(family or "", {})
        answer = _rename(output.strip(), names)
        field = answer.strip("{}")
        template = Template(
            input=_rename(plain.strip(), names),
            output=answer,
            cue="" if few_shot is None else _cue(plain, longer),
            reverse=bool(pair.answer) and field != pair.answer,
            family=family,
        )
        _check(template, pair, slot, f"{where}[{slot}]")
        found.append(template)
    return found


def _texts(entries: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(entries, list | tuple) or not entries:
        raise TemplateError(f"{where}: must be a list of (input, output), got {entries!r:.60}")
    for slot, entry in enumerate(entries):
        if not (
            isinstance(entry, list | tuple)
            and len(entry) == 2
            and all(isinstance(text, str) for text in entry)
        ):
            raise TemplateError(f"{where}[{slot}]: must be two texts (input, output), got {entry!r:.60}")
    return [(entry[0], entry[1]) for entry in entries]


def _cue(plain: str, longer: str) -> str:
    """What the few-shot input appends to the plain one, or its last words where they differ elsewhere.

    >>> _cue("Is it so? {claim}", "Is it so? {claim} Answer: ")
    'Answer:'
    >>> _cue("Is it so? {claim}", "Is {claim} so?. Result: ")
    'Result:'
    >>> _cue("Is it so? {claim}", "Is it so? {claim}")
    ''
    """
    added = longer.removeprefix(plain) if longer.startswith(plain) else longer
    found = _CUE.search(added)
    if found:
        return found.group(1)
    return added.strip().lstrip(".!? ") if added is not longer else ""


def _rename(text: str, names: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: "{" + names.get(match[1], match[1]) + "}", text)


def _pair(key: str, where: str) -> Pair:
    name = key.replace("-", "_")
    by_key = {pair.name.removeprefix("inters_"): pair for pair in catalog.known()}
    found = by_key.get(KEYS.get(name, name))
    if found is None:
        near = nearest(name, by_key, most=1)
        raise TemplateError(f"{where}: no such task and dataset in the catalog{near}")
    return found


def _check(template: Template, pair: Pair, slot: int, where: str) -> None:
    """Check that a template can be filled; its style is up to the author."""
    rank = pair.kind == "rank"
    output = template.output_field
    if not output or template.output != f"{{{output}}}":
        raise TemplateError(f"{where}: the output must be one placeholder, got {template.output!r}")
    if output in template.input_fields:
        raise TemplateError(f"{where}: the output {output!r} is also in the input")
    if rank:
        family = template.family
        if family is None:
            raise TemplateError(f"{where}: a ranking template needs a family: {', '.join(FAMILIES)}")
        inputs, answer = FAMILY_FIELDS[family]
        if set(template.input_fields) != inputs or output != answer:
            raise TemplateError(
                f"{where}: {family} takes {', '.join(sorted(inputs))} and answers {answer}; this one takes "
                f"{', '.join(sorted(template.input_fields))} and answers {output}"
            )
        if slot == 0 and family != FAMILIES[0]:
            raise TemplateError(f"{where}: the first template is the one that reranking uses: {FAMILIES[0]}")
        return
    known: Sequence[str] = (*pair.fields, *(OPTION_FIELDS if pair.kind == "classify" else ()))
    for name in (*template.input_fields, output):
        if name not in known:
            near = nearest(name, known, most=1)
            raise TemplateError(f"{where}: {pair.name} has no field {name!r}{near} ({', '.join(known)})")
    if template.reverse != (bool(pair.answer) and output != pair.answer):
        raise TemplateError(
            f"{where}: {pair.name} asks for {pair.answer!r}, so reverse must be {not template.reverse}"
        )
