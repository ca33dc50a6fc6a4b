"""The file that declares data of one's own (docs/own_data.md): checked, and made into pairs and mixtures.

    datasets:
      clicks:                                    # a ranking dataset
        task: general_retrieval
        documents: docs                          # or folder: a BEIR folder; or irds: an id of ir_datasets
        judgments: {files: clicks.jsonl, query: query, document: url, clicks: clicks}
        grades: {1: 1, 5: 2}
      routing:                                   # rows of JSON lines
        task: ticket_routing
        kind: classify
        description: Ticket routing decides which team answers a ticket.
        rows: tickets.jsonl
        fields: {ticket: text, team: assigned_to}
        answer: team
        labels: [billing, network]
        templates: routing_templates.yaml
    mixtures:
      clicks_and_inters: {clicks: 20000, inters: 100000}

Nothing but this file is read here: whether the data is there is seen when it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks import catalog
from seqio_tasks.base import DataError
from seqio_tasks.catalog import KINDS, Pair, TaskShape
from seqio_tasks.catalog.types import LABEL_METRICS, MULTI_LABEL_METRICS, RANKING_METRICS, TEXT_METRICS
from seqio_tasks.metrics.seqio_metrics import FREE_TEXT
from seqio_tasks.own_data.collections import OwnSet
from seqio_tasks.own_data.entries import Entry
from seqio_tasks.own_data.ranking import of_files, ranking_pair
from seqio_tasks.own_data.rows import RowSource
from seqio_tasks.own_data.splits import DEFAULT, Splits, read_splits
from seqio_tasks.templates import OPTION_FIELDS
from seqio_tasks.yaml_files import read_yaml

_EVERY = ("task", "kind", "description", "templates", "splits")
_ROWS = ("rows", "fields", "answer", "id", "split_by", "document_fields", "optional_fields")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "generate": (*_EVERY, *_ROWS, "metrics"),
    "classify": (*_EVERY, *_ROWS, "labels", "multi_label"),
    "rank": (
        *_EVERY, "metrics", "folder", "irds", "documents", "queries", "topic_field", "judgments", "run",
        "grades", "own_document", "negatives",
    ),
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_RESERVED = ("example_id", "query_id", "doc_id", "document", "relevance", *OPTION_FIELDS)  # of other rows
_GROUP = "own"  # of tasks that are not among the twenty
_TEMPLATES = (
    "name a file: templates: FILE, with `task: {task}` and under `datasets: {name}:` a list of "
    "{{input, output, cue}} (docs/own_data.md)"
)


@dataclass(frozen=True)
class Dataset:
    """A dataset that a file declares: its pair, its task if that is new, its collection if it is ranked."""

    entry: Entry
    pair: Pair
    collection: OwnSet | None
    task: TaskShape


@dataclass(frozen=True)
class Declared:
    """What a file declares; its mixtures are read when its datasets are known."""

    path: Path
    datasets: tuple[Dataset, ...]
    mixtures: Entry | None


def read(path: Path) -> Declared:
    """The datasets and mixtures of a file.

    Raises:
      DataError: anything that is wrong in it, with its line.
    """
    if not path.is_file():
        what = "no such file" if not path.exists() else "no file"
        raise DataError(what, path=path, todo="DATASETS or INTERS_DATASETS names it")
    whole = Entry(path, read_yaml(path, DataError), "the file")
    whole.check_keys(("datasets", "mixtures"))
    found: list[Dataset] = []
    tasks: dict[str, TaskShape] = {}
    datasets = whole.mapping("datasets")
    for name in () if datasets is None else datasets.value:
        assert datasets is not None
        entry = datasets.mapping(name)
        if entry is None:
            raise datasets.error(name, f"dataset {name} is empty", "say what it is: task: ...")
        entry.title = f"dataset {name}"
        one = _dataset(str(name), entry, tasks)
        tasks[one.pair.task] = one.task
        found.append(one)
    mixtures = whole.mapping("mixtures")
    if not found and mixtures is None:
        raise whole.error(None, "the file declares nothing", "write datasets: and below it a name")
    return Declared(path, tuple(found), mixtures)


def check_name(entry: Entry, name: str, known: Sequence[str]) -> None:
    """Refuse the name of a dataset or mixture that cannot be part of a task's name, or is taken."""
    if not _NAME.fullmatch(name):
        raise entry.error(None, f"{entry.title}: {name!r} is no name", "use letters, digits and _")
    if name in known:
        raise entry.error(None, f"{entry.title}: there is already one with this name", "use another name")


def _dataset(name: str, entry: Entry, tasks: Mapping[str, TaskShape]) -> Dataset:
    check_name(entry, name, [pair.dataset for pair in (*catalog.known(), *catalog.EVALUATION_ONLY)])
    task, shape = _task(entry, {**catalog.TASKS, **tasks})
    kind = entry.one_of("kind", KINDS, shape.kind)
    if (kind == "rank") != (shape.kind == "rank"):
        what = f"{entry.title}: the task {task} is of kind {shape.kind}, not {kind}"
        raise entry.error("kind", what, "use another task")
    entry.check_keys(_KEYS[kind])
    templates = entry.text("templates")
    if templates:
        file = entry.file(templates)
        if not file.is_file():
            todo = "correct the path, which begins at the folder of this file"
            raise entry.error("templates", f"no such file: {file}", todo)
        templates = str(file.absolute())
    elif kind != "rank":
        todo = _TEMPLATES.format(task=task, name=name)
        raise entry.error(None, f"{entry.title} has no templates, the wording of its prompts", todo)
    common = {
        "task": task, "dataset": name, "group": shape.group, "kind": kind, "in_domain": False,
        "templates": templates, "identity": _identity(entry, shape),
    }  # fmt: skip
    if kind == "rank":
        return Dataset(entry, *ranking_pair(name, entry, shape, common), shape)
    return Dataset(entry, _rows(name, entry, shape, common), None, shape)


def _task(entry: Entry, known: Mapping[str, TaskShape]) -> tuple[str, TaskShape]:
    """The task of a dataset, one of those known or a new one."""
    task, description = entry.text("task"), " ".join(entry.text("description").split())
    if not task:
        todo = f"task: one of {', '.join(known)}, or a name of your own with a description"
        raise entry.error(None, f"{entry.title} has no task", todo)
    if task in known:
        if description and known[task].description != description:
            what = f"{entry.title}: the task {task} has a description already"
            raise entry.error("description", what, "leave it out, or give the task another name")
        return task, known[task]
    if not _NAME.fullmatch(task):
        raise entry.error("task", f"{entry.title}: the task {task!r} is no name", "use letters, digits and _")
    if not description:
        entry.one_of("task", known)  # names the nearest
    kind = entry.one_of("kind", KINDS)
    if not kind:
        what = f"{entry.title}: the task {task} is new, and its kind is not said"
        raise entry.error("task", what, f"kind: one of {', '.join(KINDS)}")
    metrics = {"rank": RANKING_METRICS, "classify": LABEL_METRICS, "generate": TEXT_METRICS}[kind]
    return task, TaskShape(_GROUP, kind, metrics, description)


def _identity(entry: Entry, shape: TaskShape) -> str:
    text = json.dumps([entry.value, shape.description], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _rows(name: str, entry: Entry, shape: TaskShape, common: Mapping[str, Any]) -> Pair:
    """The pair of a dataset of kind generate or classify."""
    kind = str(common["kind"])
    fields = entry.names("fields")
    if not fields:
        todo = "fields: {our name: name in the file}, or a list of names"
        raise entry.error(None, f"{entry.title} has no fields", todo)
    for field in fields:
        if not re.fullmatch(r"[A-Za-z_]\w*", field) or field in _RESERVED:
            what = f"{entry.title}: {field!r} cannot be the name of a field"
            todo = f"use letters, digits and _, and none of {', '.join(_RESERVED)}"
            raise entry.error("fields", what, f"{todo}: write another name before the colon")
    answer = entry.one_of("answer", fields)
    if not answer:
        raise entry.error(None, f"{entry.title} has no answer", f"answer: one of {', '.join(fields)}")
    optional = entry.some_of("optional_fields", [one for one in fields if one != answer], "the other fields")
    labels, multi_label = entry.texts("labels"), entry.flag("multi_label")
    if kind == "classify" and len(labels) < 2:
        raise entry.error("labels", f"{entry.title} has {len(labels)} labels", "labels: [one, other]")
    if multi_label and (wrong := [label for label in labels if "," in label]):
        what = f"{entry.title}: the label {wrong[0]!r} has a comma, which separates labels"
        raise entry.error("labels", what, "write it without")
    files, splits = entry.files("rows"), read_splits(entry) or Splits(shares=DEFAULT)
    if bool(files) == bool(splits.files):
        todo = "rows: FILE with shares as splits, or a file for every split"
        raise entry.error(
            "rows", f"{entry.title} says {'twice' if files else 'not'} where its rows are", todo
        )
    source = RowSource(
        entry, name, files, splits, fields, answer, optional, entry.text("id"),
        entry.one_of("split_by", fields), labels, multi_label,
    )  # fmt: skip
    metrics: tuple[str, ...] = MULTI_LABEL_METRICS if multi_label else LABEL_METRICS
    if kind == "generate":
        own = shape.metrics if shape.kind == kind else TEXT_METRICS
        metrics = entry.some_of("metrics", FREE_TEXT, "the metrics of texts") or own
    paths = [*files, *(path for own in splits.files.values() for path in own)]
    return Pair(
        loader=source, fields=tuple(fields), metrics=metrics, answer=answer, labels=labels,
        label_field=answer if labels else "", multi_label=multi_label, optional_fields=optional,
        document_fields=entry.some_of("document_fields", fields, "the fields"),
        **of_files(paths), **common,
    )  # fmt: skip
