"""TREC Web track topics 2009-2014: XML -> expansions, subtopics, kinds of queries.

    <webtrack2009>
      <topic number="1" type="faceted">
        <query>obama family tree</query>
        <description>Find information on ...</description>
        <subtopic number="1" type="nav">Find the TIME magazine photo essay ...</subtopic>
        <subtopic number="2" type="inf">Where did ... come from?</subtopic>
      </topic>

Irregularities of the six official files: topics of type "single" (2013, 2014), which have no subtopic and are
neither faceted nor ambiguous; an empty subtopic; an empty description; a description between </query> and
<description>; two misspelt subtopic types; from 2011 on, a first subtopic that repeats the description (kept:
the description is one of the needs).

The three tasks share topics, so the split is drawn over all topics before any is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import Row, SourceReport, one_line, xml_root
from seqio_tasks.sources.splits import group_key, select, stable_hash

FACETED, AMBIGUOUS = "faceted", "ambiguous"
REPEATED = "topic repeats one of another file word for word"
NO_DESCRIPTION = "topic without description"
NO_SUBTOPIC = "topic without subtopics"
SINGLE = "topic of type single, neither faceted nor ambiguous"
EMPTY_SUBTOPIC = "empty subtopic"
SAME_SUBTOPIC = "subtopic repeats another of its topic"

_TYPES = (FACETED, AMBIGUOUS, "single")
# "inv" (topic 102) asks for information, "inav" (topic 138) for a home page.
_SUBTOPIC_TYPES = {
    "inf": "informational",
    "nav": "navigational",
    "inv": "informational",
    "inav": "navigational",
}


@dataclass(frozen=True)
class WebTopic:
    """One topic; ``subtopics`` are (text, "informational" or "navigational"), empty ones left out."""

    number: str
    kind: str
    title: str
    description: str
    subtopics: tuple[tuple[str, str], ...]


def read_topics(path: Path, report: SourceReport | None = None) -> list[WebTopic]:
    """Topics of one file, in file order."""
    root = xml_root(path)
    topics = []
    for order, element in enumerate(root.iter("topic"), start=1):
        number, kind = element.get("number", ""), element.get("type", "")
        query = element.find("query")
        title = "" if query is None else one_line(query.text or "")
        if not number or kind not in _TYPES or query is None or not title:
            raise DataError(
                f"topic {number or order}: type {kind!r} and query {title!r}, expected a number, a query and "
                f"one of {', '.join(_TYPES)}",
                path=path,
                todo="use the official topic file",
            )
        # Topic 296: the description comes after </query>.
        description = one_line(element.findtext("description", "")) or one_line(query.tail or "")
        subtopics = _subtopics(element, number, path, report)
        topics.append(WebTopic(number, kind, title, description, subtopics))
    if not topics:
        raise DataError("no <topic> in this file", path=path, todo="use the official topic file")
    return topics


def _subtopics(
    topic: ElementTree.Element, number: str, path: Path, report: SourceReport | None
) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for element in topic.findall("subtopic"):
        text, kind = one_line(element.text or ""), element.get("type", "")
        if kind not in _SUBTOPIC_TYPES:
            raise DataError(
                f"topic {number}: subtopic type {kind!r} is none of {', '.join(_SUBTOPIC_TYPES)}",
                path=path,
                todo="use the official topic file",
            )
        reason = EMPTY_SUBTOPIC if not text else SAME_SUBTOPIC if group_key(text) in found else ""
        if not reason:
            found[group_key(text)] = (text, _SUBTOPIC_TYPES[kind])
        elif report is not None:
            report[reason] += 1
    return tuple(found.values())


def all_topics(raw_dir: Path, report: SourceReport | None = None) -> list[WebTopic]:
    """Topics of all files by number: the official names, in folders or not, or those of Anserini."""
    base = Path(raw_dir) / "trec_web"
    paths = sorted(path for path in base.rglob("*topics*") if path.suffix in (".xml", ".txt"))
    if not paths:
        raise MissingData(
            "no TREC Web topic file here (looked for *topics*.xml, *topics*.txt)",
            path=base,
            todo=f"put the official files into {base} (`python -m seqio_tasks.catalog` names them)",
        )
    topics: dict[str, WebTopic] = {}
    for path in paths:
        for topic in read_topics(path, report):
            if topics.setdefault(topic.number, topic) != topic:
                raise DataError(
                    f"topic {topic.number} differs from the one of the same number read before",
                    path=path,
                    todo="keep one of the two files",
                )
            if topics[topic.number] is not topic and report is not None:
                report[REPEATED] += 1
    return sorted(topics.values(), key=lambda topic: (len(topic.number), topic.number))


def expansion(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_expansion: rows {example_id, title, description}."""

    def reason(topic: WebTopic) -> str:
        return "" if topic.description else NO_DESCRIPTION

    for topic in _chosen(raw_dir, split, report, reason):
        yield {
            "example_id": f"trec_web/{topic.number}",
            "title": topic.title,
            "description": topic.description,
        }


def subtopic_generation(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_subtopic_generation: rows {example_id, title, description or "", subtopic_title: list}."""

    def reason(topic: WebTopic) -> str:
        return "" if topic.subtopics else NO_SUBTOPIC

    for topic in _chosen(raw_dir, split, report, reason):
        yield {
            "example_id": f"trec_web/{topic.number}",
            "title": topic.title,
            "description": topic.description,
            "subtopic_title": [text for text, _ in topic.subtopics],
        }


def intent(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_intent_classification: rows {example_id, title, description, query_type, subtopic,
    subtopic_type}.

    ``subtopic`` is one of the topic's, chosen by the topic number, for the template that asks whether a
    subtopic is informational or navigational; both are empty where a topic has none.
    """

    def reason(topic: WebTopic) -> str:
        return "" if topic.kind in (FACETED, AMBIGUOUS) else SINGLE

    for topic in _chosen(raw_dir, split, report, reason):
        subtopics = topic.subtopics or (("", ""),)
        subtopic, subtopic_type = subtopics[stable_hash(f"subtopic {topic.number}") % len(subtopics)]
        yield {
            "example_id": f"trec_web/{topic.number}",
            "title": topic.title,
            "description": topic.description,
            "query_type": topic.kind,
            "subtopic": subtopic,
            "subtopic_type": subtopic_type,
        }


def _chosen(
    raw_dir: Path, split: str, report: SourceReport | None, reason: Callable[[WebTopic], str]
) -> Iterator[WebTopic]:
    """Topics of a split, without those for which `reason` gives a reason."""
    topics = all_topics(raw_dir, report if split == "train" else None)
    numbered = {topic.number: topic for topic in topics}
    rows: list[Row] = [{"number": topic.number} for topic in topics]
    for row in select(rows, [group_key(topic.title) for topic in topics], split, report):
        topic = numbered[row["number"]]
        against = reason(topic)
        if not against:
            yield topic
        elif report is not None:
            report[against] += 1
