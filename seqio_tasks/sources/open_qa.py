"""Questions with the texts that answer them: HotpotQA and WebGLM-QA.

    hotpot_train_v1.1.json, hotpot_dev_distractor_v1.json
        [{"_id", "question", "answer", "supporting_facts": [["Title", 0], ...],
          "context": [["Title", ["sentence 0", " sentence 1"]], ...]}, ...]
    train.jsonl, validation.jsonl, test.jsonl (webglm-qa)
        {"question", "answer": "... [1], ... [2]", "references": ["passage 1", "passage 2", ...]}

HotpotQA stores pointers and texts separately, and some pointers of the training file are beyond the last
sentence of their paragraph.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_lines, one_line
from seqio_tasks.sources.json_stream import array_items
from seqio_tasks.sources.splits import check_split, group_key, select_official, select_three

NO_SENTENCE = "supporting fact points at no sentence"
NO_FACT = "question without a supporting fact"
EMPTY = "question, answer or references empty"


def supporting_facts(record: dict[str, Any], report: SourceReport | None = None) -> list[str]:
    """The gold sentences, one entry per paragraph with its title, in the order of the pointers.

    >>> supporting_facts({"supporting_facts": [["B", 1], ["A", 0], ["B", 0]],
    ...                   "context": [["A", ["a0.", " a1."]], ["B", ["b0.", " b1."]]]})
    ['B: b0. b1.', 'A: a0.']
    """
    sentences = dict(record["context"])
    wanted: dict[str, set[int]] = {}
    for title, index in record["supporting_facts"]:
        if 0 <= index < len(sentences.get(title, ())) and one_line(sentences[title][index]):
            wanted.setdefault(title, set()).add(index)
        elif report is not None:
            report[NO_SENTENCE] += 1
    return [
        f"{one_line(title)}: " + one_line(" ".join(sentences[title][index] for index in sorted(indices)))
        for title, indices in wanted.items()
    ]


def iterate_hotpot(path: Path, name: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, question, supporting_facts: list, answer, references}."""
    for number, record in enumerate(array_items(path)):
        try:
            facts = supporting_facts(record, report)
            question, answer = one_line(record["question"]), one_line(record["answer"])
            row: Row = {
                "example_id": f"hotpot_qa/{name}/{record['_id']}",
                "question": question,
                "supporting_facts": facts,
                "answer": answer,
                "references": [answer],
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"entry {number} is not of HotpotQA's form ({type(error).__name__}: {error})",
                path=path,
                todo="use the official training and dev (distractor) files",
            ) from None
        if facts and question and answer:
            yield row
        elif report is not None:
            report[EMPTY if facts else NO_FACT] += 1


def hotpot_qa(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """The official dev set (distractor setting) is the test set here: the official one is hidden."""
    check_split(split)
    names = ("hotpot_dev_distractor_v1.json", "hotpot_dev_distractor_v1*.json")
    dev = find_file(raw_dir, "hotpot_qa", names, "HotpotQA dev file")
    if split == "test":
        yield from iterate_hotpot(dev, "dev", report)
        return
    train = find_file(raw_dir, "hotpot_qa", ("hotpot_train_v1.1.json",), "HotpotQA training file")
    rows = list(iterate_hotpot(train, "train", report if split == "train" else None))
    tested = {group_key(row["question"]) for row in iterate_hotpot(dev, "dev")}
    yield from select_official(rows, [group_key(row["question"]) for row in rows], tested, split, report)


def iterate_webglm(path: Path, name: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, question, reference_passages: list, answer}; the answer keeps its marks [1], [2]."""
    for number, record in json_lines(path):
        question, answer, passages = (record.get(field) for field in ("question", "answer", "references"))
        if (
            not isinstance(question, str)
            or not isinstance(answer, str)
            or not isinstance(passages, list)
            or not all(isinstance(passage, str) for passage in passages)
        ):
            raise DataError(
                "question and answer expected as text, references as a list of texts",
                path=path,
                line=number,
                todo="use the official WebGLM-QA JSON lines",
            )
        # Numbers in the answer refer to passages, so an empty one in the middle must stay.
        texts = [one_line(passage) for passage in passages]
        if question.strip() and answer.strip() and texts and all(texts):
            yield {
                "example_id": f"webglm_qa/{name}/{number}",
                "question": one_line(question),
                "reference_passages": texts,
                "answer": one_line(answer),
            }
        elif report is not None:
            report[EMPTY] += 1


def webglm_qa(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Official training, validation and test files."""

    def read(name: str) -> tuple[list[Row], list[str]]:
        names = (f"{name}.jsonl", f"data/{name}.jsonl")
        path = find_file(raw_dir, "webglm_qa", names, f"WebGLM-QA {name} file")
        rows = list(iterate_webglm(path, name, report if name == split else None))
        return rows, [group_key(row["question"]) for row in rows]

    yield from select_three(read, split, report)
