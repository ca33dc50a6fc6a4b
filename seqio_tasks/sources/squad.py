"""SQuAD 1.1 and 2.0: {"version", "data": [{"title", "paragraphs": [{"context", "qas": [...]}]}]}.

Version 2.0 adds questions without an answer; their target is the word that prompts ask for, "unanswerable".
XQuAD's English file has the same schema and 1,190 questions of the 1.1 dev set: it is read as a test set if
there is no dev file, and never as training data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_file, one_line
from seqio_tasks.sources.splits import check_split, group_key, select_official

UNANSWERABLE = "unanswerable"
NO_ANSWER_GIVEN = "answerable question without an answer in the file"
_FOLDERS = ("squad_v2", "squad_v1")


def read_squad(path: Path, name: str, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, title, context, question, answer, references}.

    answer: the first answer; references: all distinct ones, for the metrics; both "unanswerable" for an
    impossible question. Texts and answers are put on one line.
    """
    rows: list[Row] = []
    for article, paragraph, question in _questions(path):
        where = f"question {question.get('id')!r}"
        try:
            texts = [one_line(answer["text"]) for answer in question.get("answers", [])]
            if question.get("is_impossible", False):
                texts = [UNANSWERABLE]
            row: Row = {
                "example_id": f"squad/{name}/{question['id']}",
                "title": one_line(article["title"].replace("_", " ")) if "title" in article else "",
                "context": one_line(paragraph["context"]),
                "question": one_line(question["question"]),
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where} is not in SQuAD format ({type(error).__name__}: {error})",
                path=path,
                todo="use the official file",
            ) from None
        references = list(dict.fromkeys(text for text in texts if text))
        if references:
            rows.append(row | {"answer": references[0], "references": references})
        elif report is not None:
            report[NO_ANSWER_GIVEN] += 1
    return rows


def squad(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """The official dev set is the test set here (the official test set is hidden).

    Validation is taken from the training file by paragraph, so questions on one paragraph stay together.
    """
    check_split(split)
    if split == "test":
        path = _find(raw_dir, ("dev-v2.0.json", "dev-v1.1.json", "xquad.en.json"), "dev file")
        yield from read_squad(path, "dev", report)
        return
    rows = read_squad(_find(raw_dir, ("train-v2.0.json", "train-v1.1.json"), "train file"), "train", report)
    dev = read_squad(_find(raw_dir, ("dev-v2.0.json", "dev-v1.1.json", "xquad.en.json"), "dev file"), "dev")
    # A paragraph of the dev set must not be trained on, even with other questions.
    keys = [group_key(row["context"]) for row in rows]
    yield from select_official(rows, keys, {group_key(row["context"]) for row in dev}, split, report)


def _find(raw_dir: Path, names: tuple[str, ...], what: str) -> Path:
    """The preferred name first, then the preferred folder."""
    for name in names:
        for folder in _FOLDERS:
            if (Path(raw_dir) / folder / name).is_file():
                return Path(raw_dir) / folder / name
    return find_file(raw_dir, _FOLDERS[-1], names, f"SQuAD {what}")


def _questions(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(article, paragraph, question) in file order."""
    document = json_file(path)
    try:
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield article, paragraph, question
    except (KeyError, TypeError):
        raise DataError(
            "not in the format data > paragraphs > qas", path=path, todo="use the official SQuAD file"
        ) from None
