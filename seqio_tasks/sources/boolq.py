"""BoolQ: a passage, a yes/no question, the answer as "true" or "false".

Two formats of the same data are read; each line may have either:

    original    {"question": "...", "title": "Ethanol fuel", "answer": false, "passage": "..."}
    SuperGLUE   {"question": "...", "passage": "Ethanol fuel -- ...", "idx": 0, "label": false}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_lines, one_line
from seqio_tasks.sources.splits import check_split, group_key, select_official


def read_boolq(path: Path, name: str) -> list[Row]:
    """Rows {example_id, title, context, question, answer}; the title is split off a SuperGLUE passage."""
    rows: list[Row] = []
    for number, record in json_lines(path):
        answer = record.get("answer", record.get("label"))
        if answer in ("true", "false"):
            answer = answer == "true"
        question, passage = record.get("question"), record.get("passage")
        if not isinstance(answer, bool) or not isinstance(question, str) or not isinstance(passage, str):
            raise DataError(
                f"answer {answer!r}, question and passage expected as true/false and text",
                path=path,
                line=number,
                todo="use the labelled files (train, dev or val), not the SuperGLUE test file",
            )
        title = record.get("title", "")
        if "title" not in record and " -- " in passage:
            title, _, passage = passage.partition(" -- ")
        rows.append(
            {
                "example_id": f"boolq/{name}/{number - 1}",
                "title": one_line(title),
                "context": one_line(passage),
                "question": one_line(question),
                "answer": "true" if answer else "false",
            }
        )
    return rows


def boolq(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """The official dev set is the test set here: the official test set has no answers."""
    check_split(split)
    test = read_boolq(find_file(raw_dir, "boolq", ("dev.jsonl", "val.jsonl"), "BoolQ dev file"), "dev")
    if split == "test":
        yield from test
        return
    train = read_boolq(find_file(raw_dir, "boolq", ("train.jsonl",), "BoolQ train file"), "train")

    def key(row: Row) -> str:
        return group_key(row["question"])

    yield from select_official(train, [key(row) for row in train], {key(row) for row in test}, split, report)
