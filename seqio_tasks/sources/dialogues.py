"""MANtIS: information-seeking dialogues whose utterances have one or more intents.

    merged_train_intents.json, merged_dev_intents.json, merged_test_intents.json
    {"17": {"category": "apple", "title": "...", "has_intent_labels": true,
            "utterances": [{"actor_type": "user", "utterance_pos": 1, "utterance": "...", "intent": ["OQ"]}]}}

The files have all 80,000 dialogues on one line; 1,356 of them are labelled, the others lack
``has_intent_labels`` and are not records of this task. They are read one by one, since a whole file as Python
objects takes gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources import json_stream
from seqio_tasks.sources.common import Row, SourceReport, find_file, one_line
from seqio_tasks.sources.splits import group_key, select_three

INTENTS = {
    "OQ": "original question",
    "FD": "further details",
    "FQ": "follow up question",
    "IR": "information request",
    "PA": "potential answer",
    "PF": "positive feedback",
    "NF": "negative feedback",
    "GG": "greetings / gratitude",
    "O": "other",
}
NO_LABEL = "utterance without a label in a labelled dialogue"
NO_TEXT = "labelled utterance without text"

_FILES = {"train": "train", "validation": "dev", "test": "test"}


def read_mantis(path: Path, name: str, report: SourceReport | None = None) -> tuple[list[Row], list[str]]:
    """Rows {example_id, title, turn_title, context: list, query_type}, and the key of each one's dialogue.

    query_type lists the intents, "potential answer, further details", in file order. context has the earlier
    utterances as "user: ..." and "agent: ..." lines; the first utterance has none. One official
    dialogue (10298 of train) has an utterance without labels, which is left out and counted.
    """
    rows: list[Row] = []
    keys: list[str] = []
    for number, dialogue in json_stream.members(path):
        try:
            if not dialogue.get("has_intent_labels"):
                continue
            title = one_line(dialogue["title"])
            said: list[str] = []
            for utterance in dialogue["utterances"]:
                speaker, text = utterance["actor_type"], one_line(utterance["utterance"])
                codes = [code.strip() for code in utterance.get("intent", ())]
                if unknown := sorted({code for code in codes if code} - set(INTENTS)):
                    raise ValueError(f"intent {unknown[0]!r} is none of {', '.join(INTENTS)}")
                intents = list(dict.fromkeys(INTENTS[code] for code in codes if code))
                if intents and text:
                    rows.append(
                        {
                            "example_id": f"mantis/{name}/{number}_{utterance['utterance_pos']}",
                            "title": title,
                            "turn_title": text,
                            "context": list(said),
                            "query_type": ", ".join(intents),
                        }
                    )
                    keys.append(group_key(title))
                elif report is not None:
                    report[NO_TEXT if intents else NO_LABEL] += 1
                said.append(f"{speaker}: {text}")
            if not title:
                raise ValueError("empty title")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"dialogue {number}: not a MANtIS dialogue ({type(error).__name__}: {error})",
                path=path,
                todo="use the official files of json_dataset_with_intents.7z",
            ) from None
    return rows, keys


def mantis(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """MANtIS: official train, dev and test files; dialogues with the same title are on one side."""

    def read(part: str) -> tuple[list[Row], list[str]]:
        file = f"merged_{_FILES[part]}_intents.json"
        path = find_file(raw_dir, "mantis", (file, f"**/{file}"), f"MANtIS {_FILES[part]} file")
        return read_mantis(path, _FILES[part], report if part == split else None)

    yield from select_three(read, split, report)
