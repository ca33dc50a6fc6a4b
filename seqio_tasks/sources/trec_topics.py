"""TREC, FIRE and TREC-COVID topic files -> rows {example_id, title, description, narrative}.

    <top>                                       <top lang='en'>
    <num> Number: 701                           <num>176</num>
    <title> U.S. oil industry history           <title>YSR Reddy death</title>
    <desc> Description:                         <desc>Death of ...</desc>
    Describe the history of ...                 <narr>Relevant documents ...</narr>
    <narr> Narrative:                           </top>
    Relevant documents will include ...
    </top>

Such SGML is neither XML (a bare ``&`` occurs) nor line-structured: fields are not closed in TREC files but
closed in FIRE files; the text starts on the line of the tag or below it; 44 Robust topics lack the labels
"Description:" and "Narrative:"; narratives have blank lines. So a field is the text between its tag and the
next tag, without one leading label.

Description and expansion share these loaders, so a topic is in the same split of both.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import (
    Row,
    SourceReport,
    find_file,
    find_files,
    one_line,
    reading_gzip,
    xml_root,
)
from seqio_tasks.sources.splits import group_key, select

REPEATED = "topic repeats one of the same number word for word"

_BLOCK = re.compile(r"<top\b[^>]*>(.*?)(?=</top\s*>|<top\b|\Z)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(
    r"<(num|title|desc|narr)\b[^>]*>(.*?)(?=</(?:num|title|desc|narr)\s*>|<(?:num|title|desc|narr)\b|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_LABEL = re.compile(r"^\s*(?:Number|Topic|Description|Narrative)\s*:", re.IGNORECASE)
_TAG = re.compile(r"<(/?top|num|title|desc|narr)(?=[\s>])", re.IGNORECASE)
_NAMES = {"title": "title", "desc": "description", "narr": "narrative"}


@dataclass(frozen=True)
class Topic:
    """One topic, each field on one line; ``line`` is where it starts in its file."""

    number: str
    title: str
    description: str
    narrative: str
    line: int


def parse_sgml(text: str, path: Path | str = "topics") -> list[Topic]:
    """Topics of an SGML topic file, in file order.

    >>> parse_sgml('''<top>
    ... <num> Number: 1
    ... <title>
    ... pearl farming
    ... <desc> Description:
    ... How are pearls
    ... farmed?
    ... <narr>
    ... Relevant are farms.
    ...
    ... Shops are not.
    ... </top>''')[0].narrative
    'Relevant are farms. Shops are not.'
    """
    _check_closed(text, path)
    topics = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        found: dict[str, str] = {}
        for field in _FIELD.finditer(block.group(1)):
            name, body = field.group(1).lower(), one_line(_LABEL.sub("", field.group(2), count=1))
            if name in found and body:
                raise DataError(
                    f"two <{name}> in one topic", path=path, line=line, todo="close the topic with </top>"
                )
            found[name] = body
        if not found.get("num"):
            raise DataError("topic without <num>", path=path, line=line, todo="check the topic file")
        fields = {name: found.get(tag, "") for tag, name in _NAMES.items()}
        topics.append(Topic(number=found["num"], line=line, **fields))
    if not topics:
        raise DataError("no <top> ... </top> in this file", path=path, todo="use the official topic file")
    return topics


def _check_closed(text: str, path: Path | str) -> None:
    """Every topic is between <top> and </top>; a file that closes none is accepted if it has several topics.

    Raises:
      DataError: a <top> or </top> is missing, or the end of the file is.
    """

    def error(what: str, at: int, todo: str) -> DataError:
        return DataError(what, path=path, line=text.count("\n", 0, at) + 1, todo=todo)

    tags = [(tag.group(1).lower(), tag.start()) for tag in _TAG.finditer(text)]
    starts = [at for name, at in tags if name == "top"]
    if not starts:
        return  # the caller says so
    cut = "the file may be cut: download it again, or add the tag"
    if not any(name == "/top" for name, _ in tags):
        if len(starts) == 1:
            raise error("topic without </top>", starts[0], cut)
        return
    opened: int | None = None
    for name, at in tags:
        if name == "top" and opened is None:
            opened = at
        elif name == "top" and opened is not None:
            raise error("topic without </top>", opened, cut)
        elif opened is None:
            raise error(f"<{name}> outside a topic", at, "add the missing <top>, or download the file again")
        elif name == "/top":
            opened = None
    if opened is not None:
        raise error("topic without </top>", opened, cut)
    if re.search(r"<topics\b", text) and not re.search(r"</topics\s*>", text):
        raise error("the file has <topics> but no </topics>", len(text.rstrip()), cut)


def read_sgml(path: Path) -> list[Topic]:
    """Topics of an SGML file, gzipped or not."""
    with reading_gzip(path):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError("not UTF-8", path=path, line=line, todo="convert the file to UTF-8") from None
    return parse_sgml(text, path)


def read_covid(path: Path) -> list[Topic]:
    """Topics of a TREC-COVID XML file: query -> title, question -> description, narrative -> narrative."""
    root = xml_root(path)
    topics = []
    for order, topic in enumerate(root.iter("topic"), start=1):
        number = topic.get("number", "")
        if not number:
            raise DataError(
                f"topic {order} has no number", path=path, todo="use the official topics-rnd5.xml"
            )
        text = {name: one_line(topic.findtext(name, "")) for name in ("query", "question", "narrative")}
        topics.append(Topic(number, text["query"], text["question"], text["narrative"], 0))
    if not topics:
        raise DataError("no <topic> in this file", path=path, todo="use the official topics-rnd5.xml")
    return topics


def merge(files: list[tuple[Path, list[Topic]]], report: SourceReport | None = None) -> list[Topic]:
    """Topics of several files, each number once: Robust 2005 repeats 50 topics of 2004 word for word."""
    merged: dict[str, Topic] = {}
    for path, topics in files:
        for topic in topics:
            known = merged.get(topic.number)
            if known is None:
                merged[topic.number] = topic
                continue
            if (known.title, known.description, known.narrative) != (
                topic.title,
                topic.description,
                topic.narrative,
            ):
                raise DataError(
                    f"topic {topic.number} differs from the one of the same number read before",
                    path=path,
                    line=topic.line or None,
                    todo="keep one of the two",
                )
            if report is not None:
                report[REPEATED] += 1
    return list(merged.values())


def gov2(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """TREC Terabyte 2004-2006, topics 701-850."""
    return _sgml_rows("gov2", "gov2", raw_dir, split, report)


def trec_robust(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """TREC Robust 2004, topics 301-450 and 601-700 (the topics of 2005 are among them)."""
    return _sgml_rows("trec_robust", "trec_robust04", raw_dir, split, report)


def fire(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """FIRE English ad hoc 2008, 2010, 2011, 2012, topics 26-225; any subset of the four files."""
    return _sgml_rows("fire", "fire", raw_dir, split, report)


def trec_covid(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """TREC-COVID round 5, which has the topics of all rounds."""
    path = find_file(raw_dir, "trec_covid", ("*rnd5*.xml", "*round5*.xml"), "TREC-COVID round 5 topic file")
    topics = merge([(path, read_covid(path))], report if split == "train" else None)
    yield from _rows("trec_covid", topics, split, report)


def _sgml_rows(
    dataset: str, folder: str, raw_dir: Path, split: str, report: SourceReport | None
) -> Iterator[Row]:
    # NIST calls the Robust 2004 topics "04.testset(.gz)"; all other names include "topics".
    base = Path(raw_dir) / folder
    named = sorted(path for path in base.glob("*") if "topics" in path.name or "testset" in path.name)
    paths = named or find_files(raw_dir, folder, ("*topics*", "*testset*"), "topic file")
    files = [(path, read_sgml(path)) for path in paths]
    yield from _rows(dataset, merge(files, report if split == "train" else None), split, report)


def _rows(dataset: str, topics: list[Topic], split: str, report: SourceReport | None) -> list[Row]:
    # The split is drawn over all topics, before any is left out, so tasks that need other fields share it.
    rows: list[Row] = [
        {
            "example_id": f"{dataset}/{topic.number}",
            "title": topic.title,
            "description": topic.description,
            "narrative": topic.narrative,
        }
        for topic in topics
    ]
    kept = []
    for row in select(rows, [group_key(topic.title) for topic in topics], split, report):
        missing = [name for name in _NAMES.values() if not row[name]]
        if not missing:
            kept.append(row)
        elif report is not None:
            report[f"topic without {missing[0]}"] += 1
    return kept
