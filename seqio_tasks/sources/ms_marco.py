"""MS MARCO question answering, versions 2.1 and 1.1.

    train_v2.1.json.gz   one object, column by column: {"query": {"0": "..."}, "passages": {"0": [...]}, ...}
    train_v1.1.json.gz   one row per line: {"query": "...", "passages": [...], "answers": [...], ...}

    passages   [{"is_selected": 0 or 1, "url", "passage_text"} x 10]
    answers    ["..."], or ["No Answer Present."], or [] (1.1)
    wellFormedAnswers   a list of texts or, where there is none, the string "[]"

The large file of version 2.1 is read twice and never kept in memory: first questions and answers, for the
split, then the passages of the chosen rows. Files named .gz may be plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, one_line, reading_gzip, unusable
from seqio_tasks.sources.json_stream import columns, is_columns, open_text
from seqio_tasks.sources.splits import check_split, group_key, select_official

NO_ANSWER = "question without an answer"
NO_PASSAGE = "question without a passage"
_HEAD = ("query", "query_id", "answers", "wellFormedAnswers")


def read_questions(path: Path, name: str, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, key, question, answer, references} of the answered questions, without passages.

    key: of the passages (row key of the columns, or line number).
    """
    rows: list[Row] = []
    for key, record in _records(path, _HEAD):
        try:
            answers = _texts(record["answers"])
            if not answers:
                if report is not None:
                    report[NO_ANSWER] += 1
                continue
            references = answers + _texts(record.get("wellFormedAnswers", []))
            rows.append(
                {
                    "example_id": f"ms_marco/{name}/{record['query_id']}",
                    "key": key,
                    "question": one_line(record["query"]),
                    "answer": answers[0],
                    "references": list(dict.fromkeys(references)),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise _not_ms_marco(path, key, error) from None
    return rows


def with_passages(path: Path, rows: list[Row], report: SourceReport | None = None) -> Iterator[Row]:
    """The rows with `context`, all their passages; `is_selected` would say which of them hold the answer."""
    waiting = {row["key"] for row in rows}
    found: dict[str, list[str]] = {}
    for key, record in _records(path, ("passages",), waiting):
        try:
            texts = [one_line(entry["passage_text"]) for entry in record["passages"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise _not_ms_marco(path, key, error) from None
        found[key] = [text for text in texts if text]
    for row in rows:
        if context := found.get(row.pop("key"), []):
            yield row | {"context": context}
        elif report is not None:
            report[NO_PASSAGE] += 1


def _texts(value: Any) -> list[str]:
    """Answers as texts; neither "No Answer Present." nor the string "[]" is one.

    >>> _texts("[]"), _texts(["No Answer Present."]), _texts([" a  b "])
    ([], [], ['a b'])
    """
    if isinstance(value, str):
        value = json.loads(value) if value.strip() == "[]" else [value]
    texts = [one_line(text) for text in value]
    return [text for text in texts if text and text.rstrip(".") != "No Answer Present"]


def _records(
    path: Path, names: tuple[str, ...], wanted: set[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(row key, the named columns) of either version."""
    if is_columns(path):
        rows: dict[str, dict[str, Any]] = {}
        for column, key, value in columns(path, names):
            if wanted is None or key in wanted:
                rows.setdefault(key, {})[column] = value
        yield from rows.items()
        return
    with open_text(path) as file, reading_gzip(path):
        for number, line in enumerate(file, start=1):
            if not line.strip() or (wanted is not None and str(number) not in wanted):
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"not JSON ({error.msg})", path=path, line=number, todo="download the file again"
                ) from None
            if found := unusable(line, record):
                raise DataError(found, path=path, line=number, todo="repair or remove the line")
            yield str(number), {name: record[name] for name in names if name in record}


def _not_ms_marco(path: Path, key: str, error: Exception) -> DataError:
    return DataError(
        f"row {key} is not of MS MARCO's form ({type(error).__name__}: {error})",
        path=path,
        todo="use the official files with answers (train and dev)",
    )


def ms_marco(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, question, context, answer, references}.

    The official dev set is the test set here: the official test set has no answers.
    """
    check_split(split)

    def path(name: str) -> Path:
        versions = ("v2.1.json.gz", "v2.1.json", "v1.1.json.gz", "v1.1.json")
        patterns = tuple(f"{name}_{version}" for version in versions)
        return find_file(raw_dir, "ms_marco_qa", patterns, f"MS MARCO question answering, {name} file")

    test = read_questions(path("dev"), "dev", report if split == "test" else None)
    if split == "test":
        yield from with_passages(path("dev"), test, report)
        return
    train = read_questions(path("train"), "train", report if split == "train" else None)
    keys = [group_key(row["question"]) for row in train]
    tested = {group_key(row["question"]) for row in test}
    yield from with_passages(path("train"), select_official(train, keys, tested, split, report), report)
