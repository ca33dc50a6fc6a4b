"""Rows of JSON lines with a map of fields, for datasets whose answers are texts or labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.own_data.entries import Entry
from seqio_tasks.own_data.splits import Splits, choose
from seqio_tasks.sources.common import Row, SourceReport, json_lines
from seqio_tasks.sources.splits import group_key

REFERENCES = "references"  # a field of this name has all the answers that are right


@dataclass(frozen=True)
class RowSource:
    """Where the rows of a dataset are.

    files: of all rows; () where every split has its own.
    fields: our name of a field -> its name in the files.
    optional: fields that a row may lack.
    id_field: names the rows; "": their file and line do.
    split_by: the field whose text decides the split; "": the id does, or without ids all texts of the row.
    labels: what the answer may be; (): any text.
    """

    entry: Entry
    name: str
    files: tuple[Path, ...]
    splits: Splits
    fields: Mapping[str, str]
    answer: str
    optional: tuple[str, ...] = ()
    id_field: str = ""
    split_by: str = ""
    labels: tuple[str, ...] = ()
    multi_label: bool = False

    def __call__(self, raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
        """The rows of a split; called like the readers of `sources`, but its files are not in `raw_dir`."""
        yield from choose(self.splits, split, self._read, self._key, self.entry, report)

    def _key(self, row: Row) -> str:
        if self.id_field and not self.split_by:
            return str(row["example_id"])
        texts: list[str] = []
        for name in [self.split_by] if self.split_by else self.fields:
            value = row.get(name, "")
            texts += [value] if isinstance(value, str) else value
        return group_key(*texts)

    def _read(self, files: Sequence[Path] | None) -> list[Row]:
        rows: list[Row] = []
        places: dict[str, str] = {}
        for path in files_in(self.files if files is None else files, self.entry, "rows"):
            for number, record in json_lines(path):
                row = self._row(record, path, number)
                here = f"{path.name}:{number}"
                if (before := places.setdefault(row["example_id"], here)) != here:
                    what = f"the id {record[self.id_field]!r} is also that of {before}"
                    raise DataError(what, path=path, line=number, todo="every row needs its own")
                rows.append(row)
        return rows

    def _row(self, record: Mapping[str, Any], path: Path, line: int) -> Row:
        def error(what: str, todo: str) -> DataError:
            return DataError(what, path=path, line=line, todo=todo)

        row: Row = {}
        for name, theirs in self.fields.items():
            value = _text(record.get(theirs))
            if value is None:
                what = f"{theirs!r} is {record[theirs]!r:.60}, no text and no list of texts"
                raise error(what, "write a text")
            if value:
                row[name] = [value] if name == REFERENCES and isinstance(value, str) else value
            elif name not in self.optional:
                known = "" if theirs in record else f" (the record has {', '.join(list(record)[:8])})"
                todo = f"add it, or name {name} under optional_fields of {self.entry.title}"
                raise error(f"no text under {theirs!r}{known}", todo)
        if self.labels:
            answer = row[self.answer]
            stated = split_labels(answer) if self.multi_label and isinstance(answer, str) else [answer]
            if wrong := [label for label in stated if label not in self.labels]:
                where = f"{self.entry.path.name}:{self.entry.value.lines.get('labels', self.entry.line)}"
                what = f"the label {wrong[0]!r} is not among {', '.join(self.labels)}"
                raise error(what, f"correct it, or add it to labels ({where})")
        row["example_id"] = f"{self.name}/{os.path.relpath(path, self.entry.path.parent)}:{line}"
        if self.id_field:
            given = _text(record.get(self.id_field))
            if not isinstance(given, str) or not given:
                raise error(f"no id under {self.id_field!r}", "every row needs its own")
            row["example_id"] = f"{self.name}/{given}"
        return row


def files_in(paths: Sequence[Path], entry: Entry, key: str) -> list[Path]:
    """The files that are named, and those in folders that are named, by name.

    Raises:
      MissingData: one does not exist, or a folder is empty.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
            if not inside:
                raise entry.missing(key, f"no file in the folder {path}", "put the files there")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            todo = "correct the path, which begins at the folder of this file"
            raise entry.missing(key, f"no such file: {path}", todo)
    return found


def _text(value: Any) -> str | list[str] | None:
    """A field as templates take it; "" or [] if it is empty, None if it is neither text nor texts.

    >>> _text(" a "), _text(3), _text(True), _text(["a", ""]), _text(None), _text({})
    ('a', '3', 'true', ['a'], '', None)
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value).strip()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [stripped for one in value if (stripped := one.strip())]
    return None
