"""TREC CAsT 2019-2022: conversations whose turns were rewritten by hand.

    2019   evaluation_topics_v1.0.json
           [{"number": 31, "title": ..., "description": ..., "turn": [{"number": 2, "raw_utterance": ...}]}]
           evaluation_topics_annotated_resolved_v1.0.tsv
           31_2<TAB>rewrite, without header, CRLF
    2020   2020_manual_evaluation_topics_v1.0.json
           turns with raw_utterance and manual_rewritten_utterance
    2021   2021_manual_evaluation_topics_v1.0.json
           as 2020, and the passage shown as answer
    2022   2022_evaluation_topics_tree_v1.0.json
           nodes with number "1-3", parent, participant; a User node has utterance and rewrite, a System
           node its response

Any subset of the years can be used. Topic 44 of 2019 has no description; from 2020 on, topics have neither
title nor description. The history of a turn of 2022 is the path from the root to it, so every user node of a
tree makes one row (the flattened file would repeat shared beginnings). The file
automatic_evaluation_topics_annotated_v1.1.json is another revision of 2020 and is not read.

Expansion and reformulation share topics, so the split is drawn over the topics of a year, before anything is
left out: a conversation and its title are entirely on one side, and adding another year changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_file, lines, one_line
from seqio_tasks.sources.splits import assign, check_split, group_key

FIRST_TURN = "first turn, which has no history to resolve"
NO_DESCRIPTION = "topic without description"

_TOPICS_2019 = "evaluation_topics_v1.0.json"
_REWRITES_2019 = "evaluation_topics_annotated_resolved_v1.0.tsv"
_LATER = (
    (2020, "2020_manual_evaluation_topics_v1.0.json"),
    (2021, "2021_manual_evaluation_topics_v1.0.json"),
    (2022, "2022_evaluation_topics_tree_v1.0.json"),
)


@dataclass(frozen=True)
class Turn:
    """One user turn: what was said before it, what the system last answered (2021, 2022), and its rewrite."""

    number: str
    utterance: str
    rewrite: str
    history: tuple[str, ...]
    response: str


@dataclass(frozen=True)
class Conversation:
    """One topic; title and description are empty from 2020 on."""

    year: int
    number: str
    title: str
    description: str
    turns: tuple[Turn, ...]

    @property
    def key(self) -> str:
        return group_key(self.title or f"cast {self.year} {self.number}")


def read_2019(topics: Path, rewrites: Path) -> list[Conversation]:
    """Topics of 2019 with the rewrites of their own file; every turn must have one, and every one a turn."""
    resolved: dict[str, str] = {}
    for number, text in lines(rewrites):
        turn_id, tab, rewrite = text.partition("\t")
        if not tab or not one_line(rewrite) or turn_id in resolved:
            raise DataError(
                f"{text!r} is not a new turn id and its rewrite, tab between",
                path=rewrites,
                line=number,
                todo="download the file again",
            )
        resolved[turn_id] = one_line(rewrite)
    unused = dict(resolved)

    def rewrite_of(topic: str, turn: Mapping[str, Any]) -> str:
        return unused.pop(f"{topic}_{turn['number']}")

    conversations = [_linear(topic, 2019, topics, rewrite_of) for topic in _topics(topics)]
    if unused:
        raise DataError(
            f"rewrite of turn {next(iter(unused))}, which the topics do not have",
            path=rewrites,
            todo=f"use the {_TOPICS_2019} of the same folder of the official repository",
        )
    return conversations


def read_later(path: Path, year: int) -> list[Conversation]:
    """Topics of 2020 and 2021, whose turns include their rewrites."""

    def rewrite_of(topic: str, turn: Mapping[str, Any]) -> str:
        return one_line(turn["manual_rewritten_utterance"])

    return [_linear(topic, year, path, rewrite_of) for topic in _topics(path)]


def _linear(
    topic: Mapping[str, Any],
    year: int,
    path: Path,
    rewrite_of: Callable[[str, Mapping[str, Any]], str],
) -> Conversation:
    """A topic whose turns follow each other."""
    with _Checked(topic, path):
        number = str(topic["number"])
        history: list[str] = []
        turns, response = [], ""
        for turn in topic["turn"]:
            utterance, rewrite = one_line(turn["raw_utterance"]), rewrite_of(number, turn)
            if not utterance or not rewrite:
                raise ValueError(f"turn {turn['number']} lacks its utterance or its rewrite")
            turns.append(Turn(str(turn["number"]), utterance, rewrite, tuple(history), response))
            history.append(utterance)
            response = one_line(turn.get("passage", ""))
        title, description = (one_line(topic.get(name, "")) for name in ("title", "description"))
        return Conversation(year, number, title, description, tuple(turns))


def read_tree(path: Path, year: int) -> list[Conversation]:
    """Topics of 2022, whose turns form a tree: a user node's history is that of its ancestors.

    1-1 User ── 1-2 System ── 1-3 User        history of 1-3: (1-1,)   response: that of 1-2
                          └── 2-1 User        history of 2-1: (1-1,)   response: that of 1-2
    """
    conversations = []
    for topic in _topics(path):
        with _Checked(topic, path):
            nodes: dict[str, Mapping[str, Any]] = {}
            turns = []
            for node in topic["turn"]:
                nodes[node["number"]] = node
                above, response = [], ""
                parent = node.get("parent")
                while parent is not None:
                    before = nodes[parent]  # a parent always comes before its children
                    if before["participant"] == "User":
                        above.append(one_line(before["utterance"]))
                    elif not above and not response:
                        response = one_line(before["response"])
                    parent = before.get("parent")
                if node["participant"] == "User":
                    said = one_line(node["utterance"]), one_line(node["manual_rewritten_utterance"])
                    if not all(said):
                        raise ValueError(f"node {node['number']} lacks its utterance or its rewrite")
                    turns.append(Turn(node["number"], *said, tuple(reversed(above)), response))
            conversations.append(Conversation(year, str(topic["number"]), "", "", tuple(turns)))
    return conversations


def all_conversations(raw_dir: Path) -> list[Conversation]:
    """The conversations of the years whose files are there, by year and file order."""
    base = Path(raw_dir) / "trec_cast"
    found = _year_2019(raw_dir) if (base / _TOPICS_2019).is_file() else []
    for year, name in _LATER:
        if (base / name).is_file():
            found += read_tree(base / name, year) if "tree" in name else read_later(base / name, year)
    if not found:
        names = ", ".join((_TOPICS_2019, *(name for _, name in _LATER)))
        raise MissingData(
            f"no CAsT topic file here (looked for {names})",
            path=base,
            todo=f"put the official files into {base} (`python -m seqio_tasks.catalog` names them)",
        )
    return found


def expansion(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_expansion: rows {example_id, title, description} of 2019, the only year with descriptions."""
    for topic in _chosen(_year_2019(raw_dir), split):
        if topic.description:
            yield {
                "example_id": f"trec_cast/{topic.number}",
                "title": topic.title,
                "description": topic.description,
            }
        elif report is not None:
            report[NO_DESCRIPTION] += 1


def reformulation(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_reformulation: rows {example_id, history: list, turn_title, reformulations, title, description,
    response}; the last three are empty where a year has none.
    """
    for topic in _chosen(all_conversations(raw_dir), split):
        for turn in topic.turns:
            if turn.history:
                yield {
                    "example_id": f"trec_cast/{topic.number}_{turn.number}",
                    "history": list(turn.history),
                    "turn_title": turn.utterance,
                    "reformulations": turn.rewrite,
                    "title": topic.title,
                    "description": topic.description,
                    "response": turn.response,
                }
            elif report is not None:
                report[FIRST_TURN] += 1


def _year_2019(raw_dir: Path) -> list[Conversation]:
    topics = find_file(raw_dir, "trec_cast", (_TOPICS_2019,), "CAsT 2019 topic file")
    return read_2019(topics, find_file(raw_dir, "trec_cast", (_REWRITES_2019,), "CAsT 2019 rewrite file"))


def _chosen(conversations: list[Conversation], split: str) -> list[Conversation]:
    check_split(split)
    chosen = []
    for _, topics in itertools.groupby(conversations, key=lambda topic: topic.year):
        year = list(topics)
        places = assign([topic.key for topic in year])
        chosen += [topic for topic, place in zip(year, places, strict=True) if place == split]
    return chosen


def _topics(path: Path) -> list[Mapping[str, Any]]:
    topics = json_file(path)
    if not isinstance(topics, list) or not topics or not all(isinstance(topic, dict) for topic in topics):
        raise DataError("no list of topics", path=path, todo="use the official topic file")
    return topics


class _Checked:
    """Reports any fault inside a topic with file and topic."""

    def __init__(self, topic: Mapping[str, Any], path: Path) -> None:
        self.number, self.path = topic.get("number", "without number"), path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            raise DataError(
                f"topic {self.number}: not as expected ({type(error).__name__}: {error})",
                path=self.path,
                todo="use the official topic file, and the rewrites that belong to it",
            ) from error
