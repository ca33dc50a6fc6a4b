"""CODEC: essay-like questions with guidelines, and the queries that experts wrote for them.

    topics.json                {"economics-1": {"Domain": "finance", "Query": ..., "Guidelines": ...}, ...}
    query_reformulations.txt   economics-1<TAB>query, no header, topics in any order

Every topic of the official file lists its own question among the reformulations; it is left out, because a
repeated question is not a reformulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_file, lines, one_line
from seqio_tasks.sources.splits import group_key, select

SAME_AS_QUERY = "reformulation is the question itself"
REPEATED = "reformulation repeats another of its topic"
NO_REFORMULATION = "topic without reformulations"


def read_codec(topics: Path, reformulations: Path, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, title, domain, guidelines, reformulations: list} in the order of the topics."""
    content = json_file(topics)
    if not isinstance(content, dict) or not all(isinstance(topic, dict) for topic in content.values()):
        raise DataError("not a JSON object of topics", path=topics, todo="use the official topics.json")
    rows: dict[str, Row] = {}
    for topic_id, topic in content.items():
        texts = [topic.get(name) for name in ("Query", "Domain", "Guidelines")]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise DataError(
                f"topic {topic_id} lacks Query, Domain or Guidelines",
                path=topics,
                todo="use the official topics.json",
            )
        title, domain, guidelines = map(one_line, texts)
        rows[topic_id] = {
            "example_id": f"codec/{topic_id}",
            "title": title,
            "domain": domain,
            "guidelines": guidelines,
            "reformulations": [],
        }
    seen = {topic_id: {group_key(row["title"]): SAME_AS_QUERY} for topic_id, row in rows.items()}
    for number, text in lines(reformulations):
        topic_id, _, query = text.partition("\t")
        query = query.removeprefix("- ")  # a copied bullet, in two lines of the official file
        if topic_id not in rows or not one_line(query):
            raise DataError(
                f"{text!r} is not a topic id of {topics.name} and a query, tab between",
                path=reformulations,
                line=number,
                todo="use the two files of the same release",
            )
        reason = seen[topic_id].get(group_key(query))
        if reason is None:
            seen[topic_id][group_key(query)] = REPEATED
            rows[topic_id]["reformulations"].append(one_line(query))
        elif report is not None:
            report[reason] += 1
    return list(rows.values())


def codec(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """query_reformulation: a question, its domain and guidelines -> other queries for the same need."""
    topics = find_file(raw_dir, "codec", ("topics.json",), "CODEC topic file")
    queries = find_file(raw_dir, "codec", ("query_reformulations.txt",), "CODEC reformulations")
    rows = read_codec(topics, queries, report if split == "train" else None)
    for row in select(rows, [group_key(row["title"]) for row in rows], split, report):
        if row["reformulations"]:
            yield row
        elif report is not None:
            report[NO_REFORMULATION] += 1
