"""Conversations whose questions were rewritten to stand alone: QReCC, CANARD, GECOR.

    qrecc_train.json           [{"Conversation_no": 1, "Turn_no": 2, "Question", "Rewrite", "Answer",
                                 "Context": [question 1 as rewritten, answer 1]}]
    train.json (CANARD)        [{"QuAC_dialog_id", "Question_no": 2, "Question", "Rewrite",
                                 "History": [article, section, question 1, answer 1]}]
    CamRest676_annotated.json  [{"dialogue_id": 0, "goal": {"text"}, "dial": [{"turn": 0,
                                 "usr": {"transcript", "transcript_complete"}, "sys": {"sent"}}]}]

The history is a list of "User: ..." and "System: ..." lines, oldest first. QReCC's own ``Context`` has the
earlier questions *as rewritten*, which no user typed: the history is built from the questions and answers of
the conversation instead. CANARD's ``History`` has them as asked. The history of a first turn is the text
NOTHING_BEFORE, not a list, so no prompt numbers it like a turn: every template can be filled and a model
learns not to change such questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_file, one_line
from seqio_tasks.sources.splits import check_split, group_key, select, select_official, select_three

NOTHING_BEFORE = "(nothing was said before)"
TURNS_MISSING = "turn whose earlier turns are not in the file"
NO_REWRITE = "question without a rewrite"

_TASK_NUMBER = re.compile(r"^Task \d+:\s*")
_CANARD_FILES = {"train": "train", "validation": "dev", "test": "test"}


class Keyed(NamedTuple):
    """Rows and, for each, the group key of its conversation."""

    rows: list[Row]
    keys: list[str]


def spoken(turns: list[tuple[str, str]]) -> list[str] | str:
    """(user, system) turns as lines, or NOTHING_BEFORE; an answer may be empty.

    >>> spoken([("Who was he?", "A painter."), ("And then?", "")])
    ['User: Who was he?', 'System: A painter.', 'User: And then?']
    >>> spoken([])
    '(nothing was said before)'
    """
    lines = [
        f"{speaker}: {text}"
        for user, system in turns
        for speaker, text in (("User", user), ("System", system))
        if text
    ]
    return lines or NOTHING_BEFORE


def read_qrecc(path: Path, name: str, report: SourceReport | None = None) -> Keyed:
    """Rows {example_id, context: list or text, title, reformulations}, conversation by conversation.

    Conversations are identified by their first question. A turn with a missing earlier turn is left out,
    because its history is unknown.
    """
    conversations: dict[str, dict[int, dict[str, str]]] = {}
    for where, record in _records(path, "a QReCC file"):
        try:
            number, turn_number = str(record["Conversation_no"]), int(record["Turn_no"])
            turn = {name: one_line(record[name]) for name in ("Question", "Rewrite", "Answer")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _wrong(where, "QReCC turn", error, path) from None
        turns = conversations.setdefault(number, {})
        if turn_number in turns:
            raise DataError(
                f"{where}: conversation {number} has two turns {turn_number}",
                path=path,
                todo="download the file again",
            )
        turns[turn_number] = turn
    found = Keyed([], [])
    for number, turns in conversations.items():
        order = sorted(turns)
        key = group_key(turns[order[0]]["Question"])
        said: list[tuple[str, str]] = []
        for place, turn_number in enumerate(order, start=1):
            turn = turns[turn_number]
            if place != turn_number or not turn["Rewrite"] or not turn["Question"]:
                if report is not None:
                    report[TURNS_MISSING if place != turn_number else NO_REWRITE] += 1
            else:
                row = {"context": spoken(said), "title": turn["Question"], "reformulations": turn["Rewrite"]}
                found.rows.append({"example_id": f"qrecc/{name}/{number}_{turn_number}", **row})
                found.keys.append(key)
            said.append((turn["Question"], turn["Answer"]))
    return found


def qrecc(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """QReCC: official test set; a conversation is entirely on one side."""
    check_split(split)
    test_path = _find(raw_dir, "qrecc", ("qrecc_test.json", "qrecc-test.json"), "QReCC test file")
    test = read_qrecc(test_path, "test", report if split == "test" else None)
    if split == "test":
        yield from test.rows
        return
    train_path = _find(raw_dir, "qrecc", ("qrecc_train.json", "qrecc-training.json"), "QReCC train file")
    train = read_qrecc(train_path, "train", report if split == "train" else None)
    yield from select_official(train.rows, train.keys, set(test.keys), split, report)


def read_canard(path: Path, name: str) -> Keyed:
    """Rows {example_id, context, history: list or text, title, reformulations}.

    The context is "article - section". Dialogues are identified by article and section; several may be about
    the same one.
    """
    found = Keyed([], [])
    for where, record in _records(path, "a CANARD file"):
        try:
            history = [one_line(text) for text in record["History"]]
            number = int(record["Question_no"])
            question, rewrite = one_line(record["Question"]), one_line(record["Rewrite"])
            dialogue = str(record["QuAC_dialog_id"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _wrong(where, "CANARD question", error, path) from None
        if len(history) != 2 * number or not question or not rewrite:
            raise DataError(
                f"{where}: question {number} of {dialogue} has {len(history)} history entries, expected "
                f"{2 * number} (article, section, then questions and answers), question and rewrite",
                path=path,
                todo="use the official release of CANARD",
            )
        article, section, *said = history
        found.rows.append(
            {
                "example_id": f"canard/{name}/{dialogue}_{number}",
                "context": f"{article} - {section}",
                "history": spoken(list(zip(said[::2], said[1::2], strict=True))),
                "title": question,
                "reformulations": rewrite,
            }
        )
        found.keys.append(group_key(article, section))
    return found


def canard(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """CANARD: official train, dev and test sets."""

    def read(name: str) -> Keyed:
        part = _CANARD_FILES[name]
        return read_canard(_find(raw_dir, "canard", (f"{part}.json",), f"CANARD {part} file"), part)

    yield from select_three(read, split, report)


def read_gecor(path: Path) -> Keyed:
    """Rows {example_id, goal, context: list or text, title, reformulations} of all user turns.

    Of 2,744 utterances, 1,539 are already complete; they are kept, because a model must recognise them.
    Dialogues are identified by their first utterance, as some have the same one.
    """
    found = Keyed([], [])
    for where, record in _records(path, "the annotated GECOR file"):
        try:
            number = record["dialogue_id"]
            goal = _TASK_NUMBER.sub("", one_line(record["goal"]["text"]))
            turns = [
                {
                    "number": turn["turn"],
                    "title": one_line(turn["usr"]["transcript"]),
                    "reformulations": one_line(turn["usr"]["transcript_complete"]),
                    "answer": one_line(turn["sys"]["sent"]),
                }
                for turn in record["dial"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise _wrong(where, "GECOR dialogue", error, path) from None
        said: list[tuple[str, str]] = []
        for turn in turns:
            if not turn["title"] or not turn["reformulations"]:
                raise DataError(
                    f"{where}: turn {turn['number']} of dialogue {number} has an empty utterance",
                    path=path,
                    todo="use the official CamRest676_annotated.json",
                )
            row = {"title": turn["title"], "reformulations": turn["reformulations"]}
            example_id = f"gecor/{number}_{turn['number']}"
            found.rows.append({"example_id": example_id, "goal": goal, "context": spoken(said), **row})
            found.keys.append(group_key(turns[0]["title"]))
            said.append((turn["title"], turn["answer"]))
    return found


def gecor(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """GECOR: restaurant dialogues, no official split."""
    rows, keys = read_gecor(_find(raw_dir, "gecor", ("CamRest676_annotated.json",), "annotated GECOR file"))
    yield from select(rows, keys, split, report)


def _find(raw_dir: Path, folder: str, names: tuple[str, ...], what: str) -> Path:
    """The file, in the dataset's folder or wherever the official archive puts it below."""
    return find_file(raw_dir, folder, (*names, *(f"**/{name}" for name in names)), what)


def _records(path: Path, what: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("record 3", object) of every element of a JSON array."""
    found = json_file(path)
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise DataError(f"not a JSON array of objects, as {what} is", path=path, todo="use the official file")
    for number, record in enumerate(found, start=1):
        yield f"record {number}", record


def _wrong(where: str, what: str, error: Exception, path: Path) -> DataError:
    return DataError(
        f"{where}: not a {what} ({type(error).__name__}: {error})", path=path, todo="use the official file"
    )
