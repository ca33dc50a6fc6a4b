"""Template files: one YAML file per task, twelve templates per dataset.

File format (checked by `python -m seqio_tasks.templates --check`, see `linter.py`)::

    task: query_description
    description: What the task is, in two or three sentences; it opens every prompt.
    datasets:
      gov2:
        - input: 'Explain what somebody searching for "{title}" wants to know.'
          output: '{narrative}'
          cue: 'Explanation:'
        - ...            # twelve in all; `reverse: true` where input and output are swapped,
                         # `family: pointwise_judgment` and so on for ranking tasks

`{name}` is a field of the row. Placeholders are found once, when the template is read, and replaced field by
field: braces in the data are ordinary characters (`str.format` would fail on them). Besides the fields of the
pair, classification templates may use `{options}` (a, b or c), `{options_and}` (a, b and c),
`{options_comma}` (a, b, c) and `{option_lines}` (one "- a" per line): each lists exactly the labels that are
scored, in an order drawn per prompt.

Templates of your own, in this format or that of the INTERS authors, are read by `seqio_tasks.templates.own`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError
from seqio_tasks.yaml_files import read_yaml

FOLDER = Path(__file__).resolve().parent
GENERAL = FOLDER / "general" / "ranking.yaml"
SLOTS = 12
OPTION_FIELDS = ("options", "options_and", "options_comma", "option_lines")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

# A parsed template: (literal text, name of the field after it); the last field is None.
Parts = tuple[tuple[str, str | None], ...]

# The twelve slots of every ranking dataset: two templates for each of six families.
FAMILIES = (
    "pointwise_judgment",  # document, query -> judgment: does the document answer the query? Yes / No
    "query_generation",  # document -> query
    "pairwise_choice",  # query, documents (2) -> identifier of the better one
    "pairwise_check",  # query, documents (2), number -> judgment: is that one the better? Yes / No
    "listwise_order",  # query, documents (n) -> order, best first
    "listwise_check",  # query, documents (n), order (a claimed one) -> judgment: is it right? Yes / No
)

JUDGED = ("pointwise_judgment", "pairwise_check", "listwise_check")  # answered by Yes or No


class TemplateError(UserError):
    """A template file that cannot be used; the message names file and slot."""


@dataclass(frozen=True)
class Template:
    """One template; `cue`, if any, is a line of its own between the input and the answer."""

    input: str
    output: str
    cue: str
    reverse: bool = False
    family: str | None = None

    @functools.cached_property
    def input_parts(self) -> Parts:
        return parse(self.input)

    @functools.cached_property
    def output_parts(self) -> Parts:
        return parse(self.output)

    @property
    def input_fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(field for _, field in self.input_parts if field))

    @functools.cached_property
    def output_field(self) -> str:
        fields = [field for _, field in self.output_parts if field]
        return fields[0] if len(fields) == 1 else ""


@dataclass(frozen=True)
class TaskTemplates:
    """The templates of one task: a description and, for each dataset, `SLOTS` templates.

    general: those of all other datasets.
    """

    task: str
    description: str
    datasets: Mapping[str, tuple[Template, ...]]
    general: tuple[Template, ...] = ()

    def of(self, dataset: str) -> tuple[Template, ...]:
        """The templates of a dataset.

        Raises:
          TemplateError: it has none, and the task has no general ones.
        """
        found = self.datasets.get(dataset) or self.general
        if not found:
            known = ", ".join(self.datasets) or "none"
            raise TemplateError(
                f"task {self.task}: no templates for {dataset!r} (known: {known}); docs/add_a_dataset.md, "
                "section Templates, says how to write them"
            )
        return found


def parse(text: str) -> Parts:
    """Split a template into (literal, field) pairs; the last pair has no field.

    >>> parse('Q: {query} {a, b}')
    (('Q: ', 'query'), (' {a, b}', None))
    """
    pieces = _PLACEHOLDER.split(text)
    return (*zip(pieces[:-1:2], pieces[1::2], strict=True), (pieces[-1], None))


def _template(entry: Any, where: str) -> Template:
    if not isinstance(entry, dict):
        raise TemplateError(f"{where}: a template is a mapping with input, output and cue, got {entry!r}")
    known = {"input", "output", "cue", "reverse", "family"}
    if extra := set(entry) - known:
        raise TemplateError(f"{where}: unknown keys {sorted(extra)}; a template has {sorted(known)}")
    if missing := {"input", "output", "cue"} - set(entry):
        raise TemplateError(f"{where}: {sorted(missing)} missing")
    for key in ("input", "output", "cue"):
        if not isinstance(entry[key], str):
            raise TemplateError(f"{where}: {key} must be text (quote it in the YAML), got {entry[key]!r}")
    if not isinstance(entry.get("reverse", False), bool):
        raise TemplateError(f"{where}: reverse must be true or false, got {entry['reverse']!r}")
    family = entry.get("family")
    if family is not None and family not in FAMILIES:
        raise TemplateError(f"{where}: unknown family {family!r}; known: {', '.join(FAMILIES)}")
    return Template(**entry)


def load_file(path: str | Path) -> TaskTemplates:
    """Read one template file.

    Raises:
      TemplateError: it is not valid; the message names file, dataset and slot.
    """
    path = Path(path)
    return load_entries(read_yaml(path, TemplateError), path.name)


def load_entries(data: Any, where: str) -> TaskTemplates:
    """The templates in the parsed content of a file; error messages begin with `where`."""
    if not isinstance(data, dict) or set(data) != {"task", "description", "datasets"}:
        raise TemplateError(f"{where}: the top level must have the keys task, description, datasets")
    if not isinstance(data["description"], str) or not isinstance(data["datasets"], dict):
        raise TemplateError(f"{where}: description must be text and datasets a mapping")
    datasets = {
        dataset: _templates(data["datasets"][dataset], f"{where}: {dataset}") for dataset in data["datasets"]
    }
    return TaskTemplates(str(data["task"]), data["description"].strip(), datasets)


def _templates(entries: Any, where: str) -> tuple[Template, ...]:
    if not isinstance(entries, list):
        raise TemplateError(f"{where}: must be a list of templates, got {entries!r}")
    return tuple(_template(entry, f"{where}[{slot}]") for slot, entry in enumerate(entries))


def general() -> tuple[Template, ...]:
    """The templates of ranking datasets that have none of their own, two of each family."""
    return _templates(read_yaml(GENERAL, TemplateError), GENERAL.name)


def packaged(task: str) -> TaskTemplates:
    """The packaged templates of a task.

    Raises:
      TemplateError: there is no such task.
    """
    path = FOLDER / f"{task}.yaml"
    if not path.is_file():
        raise TemplateError(f"no template file for task {task!r}; there are {', '.join(packaged_tasks())}")
    return load_file(path)


def packaged_tasks() -> tuple[str, ...]:
    """The tasks with a template file, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
