"""Conversations about a text: CoQA and QuAC.

    coqa-train-v1.0.json   {"data": [{"id", "story", "questions": [{"turn_id": 1, "input_text"}],
                            "answers": [{"turn_id": 1, "input_text"}],
                            "additional_answers": {"0": [{"turn_id", "input_text"}], ...}}]}
    train_v0.2.json (QuAC) {"data": [{"title", "background", "section_title", "paragraphs": [{"id",
                            "context": "... CANNOTANSWER", "qas": [{"id": "..._q#0", "question",
                            "answers": [{"text"}], "orig_answer": {"text"}}]}]}]}

A question such as "And when?" needs the turns before it. They are sorted by their numbers, not used in file
order.

A CoQA story makes one row, a list of questions and the list of their answers; in one half of the stories (by
a hash of the id) the first half of the conversation is the `history` and only the rest is asked. The dev set
has three further answers to each question: each annotator's answers make one more reference list.

A QuAC question makes one row, with all turns before it as its history. A text without the answer is marked
CANNOTANSWER; here the answer is "unanswerable", as in SQuAD, and the word is removed from the text. All
questions of a section stay in one split.

References are the answers of all annotators, including repeated ones: the metrics of both sets leave out one
annotator at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError
from seqio_tasks.prompts.filling import numbered
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_file, one_line
from seqio_tasks.sources.splits import check_split, group_key, select_official, stable_hash

UNANSWERABLE = "unanswerable"
EMPTY_ANSWER = "turn with an empty answer (the conversation ends before it)"
_LEAST_TURNS = 4  # a shorter conversation is not cut into history and questions


def history_text(questions: Sequence[str], answers: Sequence[str]) -> str:
    """Earlier turns, two lines each.

    >>> history_text(["Who came?"], ["Ann"])
    'Q: Who came?\\nA: Ann'
    """
    return "\n".join(
        f"Q: {question}\nA: {answer}" for question, answer in zip(questions, answers, strict=True)
    )


def _load(path: Path) -> list[dict[str, Any]]:
    try:
        data = json_file(path)["data"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f'not JSON with a list "data" ({error})', path=path, todo="download it again"
        ) from None
    if not isinstance(data, list):
        raise DataError('"data" is no list', path=path, todo="download the file again")
    return data


def _turns(entries: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Turn number -> text, in the order of the numbers."""
    return dict(sorted((int(entry["turn_id"]), one_line(entry["input_text"])) for entry in entries))


def read_coqa(path: Path, name: str, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, context, history, questions: list, answers: list, references: numbered lists}."""
    rows: list[Row] = []
    for place, story in enumerate(_load(path)):
        try:
            asked, answers = _turns(story["questions"]), _turns(story["answers"])
            if list(asked) != list(answers):
                raise ValueError("questions and answers have different turns")
            others = [_turns(entries) for entries in (story.get("additional_answers") or {}).values()]
            context, story_id = one_line(story["story"]), story["id"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"story {place} ({story.get('id') if isinstance(story, dict) else story!r}) is not of CoQA's "
                f"form ({type(error).__name__}: {error})",
                path=path,
                todo="use the official training and dev files",
            ) from None
        numbers = list(asked)
        if empty := next((turn for turn in numbers if not (asked[turn] and answers[turn])), None):
            numbers = numbers[: numbers.index(empty)]
            if report is not None:
                report[EMPTY_ANSWER] += 1
        if not numbers:
            continue
        continued = len(numbers) >= _LEAST_TURNS and stable_hash(str(story_id)) % 2 == 1
        before = numbers[: len(numbers) // 2] if continued else []
        rest = numbers[len(before) :]
        # Where an annotator has not answered a turn, the first answer is used.
        lists = [[own.get(turn) or answers[turn] for turn in rest] for own in (answers, *others)]
        rows.append(
            {
                "example_id": f"coqa/{name}/{story_id}",
                "context": context,
                "history": history_text([asked[t] for t in before], [answers[t] for t in before]),
                "questions": [asked[turn] for turn in rest],
                "answers": lists[0],
                "references": list(map(numbered, lists)),
            }
        )
    return rows


def coqa(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """The official dev set is the test set here: the official one is hidden."""
    check_split(split)
    dev = find_file(raw_dir, "coqa", ("coqa-dev-v1.0.json",), "CoQA dev file")
    test = read_coqa(dev, "dev", report if split == "test" else None)
    if split == "test":
        yield from test
        return
    path = find_file(raw_dir, "coqa", ("coqa-train-v1.0.json",), "CoQA training file")
    train = read_coqa(path, "train", report if split == "train" else None)
    keys = [group_key(row["context"]) for row in train]
    yield from select_official(train, keys, {group_key(row["context"]) for row in test}, split, report)


def _without_mark(text: str) -> str:
    return one_line(text.removesuffix("CANNOTANSWER"))


def _answer(text: str) -> str:
    return UNANSWERABLE if text.strip() == "CANNOTANSWER" else one_line(text)


def read_quac(path: Path, name: str) -> list[Row]:
    """Rows {example_id, title, background, context, history, question, answer, references}."""
    rows: list[Row] = []
    for place, article in enumerate(_load(path)):
        try:
            common = {
                "title": one_line(article["title"]),
                "background": _without_mark(article.get("background", "")),
            }
            for paragraph in article["paragraphs"]:
                questions: list[str] = []
                answers: list[str] = []
                for qa in sorted(paragraph["qas"], key=lambda qa: int(qa["id"].rpartition("#")[2])):
                    answer = _answer(qa["orig_answer"]["text"])
                    references = [text for entry in qa["answers"] if (text := _answer(entry["text"]))]
                    rows.append(
                        {
                            "example_id": f"quac/{name}/{qa['id']}",
                            **common,
                            "context": _without_mark(paragraph["context"]),
                            "history": history_text(questions, answers),
                            "question": one_line(qa["question"]),
                            "answer": answer,
                            "references": references if answer in references else [answer, *references],
                        }
                    )
                    questions.append(rows[-1]["question"])
                    answers.append(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"entry {place} is not of QuAC's form ({type(error).__name__}: {error})",
                path=path,
                todo="use the official files train_v0.2.json and val_v0.2.json",
            ) from None
    return rows


def quac(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """The official validation set is the test set here: the official test set is hidden."""
    check_split(split)
    test = read_quac(find_file(raw_dir, "quac", ("val_v0.2.json",), "QuAC validation file"), "val")
    if split == "test":
        yield from test
        return
    train = read_quac(find_file(raw_dir, "quac", ("train_v0.2.json",), "QuAC training file"), "train")
    keys = [group_key(row["context"]) for row in train]
    yield from select_official(train, keys, {group_key(row["context"]) for row in test}, split, report)
