"""Declarations of ranking datasets: where queries, documents and judgments are, and what grades mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seqio_tasks import ranking_rows
from seqio_tasks.base import UserError
from seqio_tasks.catalog import Pair, TaskShape
from seqio_tasks.download.ir_datasets_source import split_name
from seqio_tasks.metrics.measures import parse_measure
from seqio_tasks.own_data.collections import Files, OwnSet
from seqio_tasks.own_data.entries import Entry
from seqio_tasks.own_data.judgments import Judgments, read_grades, read_judgments
from seqio_tasks.own_data.splits import DEFAULT, Splits, read_splits
from seqio_tasks.sources.collection_files import DOCUMENT_FIELDS, TOPIC_FIELDS
from seqio_tasks.sources.splits import SPLITS


def ranking_pair(name: str, entry: Entry, shape: TaskShape, common: Mapping[str, Any]) -> tuple[Pair, OwnSet]:
    """The pair and the collection of a dataset of kind rank.

    Args:
      name: of the dataset.
      entry: what is declared about it.
      shape: of its task.
      common: fields of the pair that every kind has.
    """
    given = [key for key in ("folder", "irds", "documents") if key in entry]
    if len(given) != 1:
        what = f"{entry.title} has {' and '.join(given) or 'neither folder, irds nor documents'}"
        raise entry.error(given[-1] if given else None, what, "one of the three says where it is")
    for key in ("queries", "topic_field", "run"):
        if key in entry and given != ["documents"]:
            what = f"{entry.title}: {key} belongs to documents, not to {given[0]}"
            raise entry.error(key, what, "leave it out")
    measures = entry.texts("metrics") or shape.metrics
    try:
        metrics = tuple(str(parse_measure(measure)) for measure in measures)
    except UserError as error:
        raise entry.error("metrics", f"{entry.title}: {error}") from None
    queries, splits = entry.files("queries"), read_splits(entry)
    judgments = read_judgments(entry, ids=bool(queries) or given != ["documents"])
    if splits is not None and splits.files and judgments.files:
        todo = "leave one of the two out"
        raise entry.error("judgments", f"{entry.title}: splits and judgments both name files", todo)
    irds = _ids(entry) if given == ["irds"] else {}
    if splits is None and (given == ["documents"] or judgments.files):
        splits = Splits(shares=DEFAULT)
    if given == ["documents"] and not judgments.files and not (splits and splits.files):
        raise entry.error(
            None, f"{entry.title} has no judgments", "judgments: FILE, or a file for every split"
        )
    other = _files(entry, queries, judgments) if given == ["documents"] else None
    folder = entry.file(entry.text("folder")) if given == ["folder"] else None
    collection = OwnSet(
        name, name, own_document=entry.flag("own_document"), folder=folder, irds=irds, other=other,
        grades=_pairs(entry), entry=entry, splits=splits, judgments=judgments, scale=read_grades(entry),
        negatives=_negatives(entry),
    )  # fmt: skip
    paths = [*([folder] if folder else []), *judgments.files, *collection.negatives.values()]
    paths += [] if other is None else [*other.documents, *other.queries, *other.run]
    paths += [] if splits is None else [path for own in splits.files.values() for path in own]
    pair = Pair(
        loader=partial(ranking_rows.set_rows, collection, f"{common['task']}_{name}"),
        fields=("query", "document"), document_fields=("document",), metrics=metrics,
        **of_files(paths), **common,
    )  # fmt: skip
    return pair, collection


def _pairs(entry: Entry) -> tuple[tuple[int, int], ...]:
    found = entry.mapping("grades")
    return () if found is None else tuple(found.value.items())


def _negatives(entry: Entry) -> dict[str, Path]:
    """Split -> file of mined negatives; a single file has those of training."""
    if isinstance(entry.value.get("negatives"), str):
        return {"train": entry.file(entry.text("negatives"))}
    found = entry.mapping("negatives")
    if found is None:
        return {}
    found.check_keys(SPLITS)
    files = {split: found.file(found.text(split)) for split in SPLITS if split in found}
    if not files:
        raise entry.error("negatives", f"{found.title} is empty", "write a file, or train: FILE")
    return files


def _ids(entry: Entry) -> dict[str, str]:
    """Split -> id of ir_datasets; a single id has the split of its name."""
    if isinstance(entry.value["irds"], str):
        name = entry.text("irds")
        return {{"dev": "validation"}.get(split_name(name), split_name(name)): name}
    found = entry.mapping("irds")
    assert found is not None
    found.check_keys(SPLITS)
    ids = {split: found.text(split) for split in SPLITS if split in found}
    if not ids:
        raise entry.error("irds", f"{found.title} is empty", "write an id, or train: ID, test: ID")
    names = [split_name(name) for name in ids.values()]
    if len(set(names)) < len(names):
        what = f"{found.title}: two ids have the same part ({', '.join(names)}) of their collection"
        raise entry.error(
            "irds", what, "make folders with seqio_tasks.download irds:ID --folder, and name those"
        )
    return ids


def _files(entry: Entry, queries: tuple[Path, ...], judgments: Judgments) -> Files:
    topic_field = entry.text("topic_field", "title")
    if unknown := [part for part in topic_field.split("+") if part not in TOPIC_FIELDS]:
        what = f"{entry.title}: topic_field {unknown[0]!r} is unknown"
        raise entry.error("topic_field", what, f"use {', '.join(TOPIC_FIELDS)}, or several joined by +")
    if not queries and not judgments.query:
        todo = "queries: FILE, or judgments: {files: ..., query: FIELD, document: FIELD}"
        raise entry.error(None, f"{entry.title} does not say where its queries are", todo)
    fields = DOCUMENT_FIELDS
    if not isinstance(entry.value["documents"], dict):
        documents = entry.files("documents")
    else:
        found = entry.mapping("documents")
        assert found is not None
        found.check_keys(("files", "id", "title", "text"))
        documents = found.files("files")
        if not documents:
            raise found.error(None, f"{found.title} names no files", "files: FILE OR FOLDER")
        named = {"ids": found.texts("id"), "titles": found.texts("title"), "texts": found.texts("text")}
        fields = fields._replace(**{key: names for key, names in named.items() if names})
    return Files(documents, fields, queries, topic_field, entry.files("run"))


def of_files(paths: Sequence[Path]) -> dict[str, Any]:
    """The fields of a pair that say where its data is."""
    absolute = tuple(dict.fromkeys(str(path.absolute()) for path in paths))
    return {"paths": absolute, "folder": absolute[0] if absolute else ""}
