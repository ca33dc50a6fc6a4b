"""No test query is ever trained on: within a task, and between tasks that share a dataset."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqio_tasks.base import MissingData
from seqio_tasks.catalog import PAIRS, Pair, pairs
from seqio_tasks.sources import beir, retrieval_sets
from seqio_tasks.sources.common import Row
from seqio_tasks.sources.splits import SPLITS, group_key

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "seqio_tasks" / "sample"
RAW = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")

# What makes a question of a task: two rows that agree here ask the same.
QUESTION = {
    "query_description": ("title",),
    "query_expansion": ("title",),
    "query_matching": ("sentence1", "sentence2"),
    "query_intent_classification": ("title",),
    "query_clarification": ("query",),
    "reading_comprehension": ("question",),
    "fact_verification": ("claim",),
    "summarization": ("article",),
    "conversational_qa": ("context",),
    "query_reformulation": ("title", "context", "history", "turn_title"),
    "query_subtopic_generation": ("title",),
    "query_suggestion": ("history_queries",),
    # Pairs whose question is another than that of their task.
    "inters_query_expansion_query2doc": ("query",),
    "inters_query_reformulation_codec": ("title",),
    "inters_query_reformulation_qrecc": ("context", "title"),
    "inters_query_reformulation_canard": ("context", "history", "title"),
    "inters_query_reformulation_gecor": ("context", "title"),
    "inters_query_clarification_clariq_fkw": ("title",),
    "inters_query_clarification_raocq": ("title",),
    # SQuAD asks the same words about different paragraphs; there the paragraph makes the question.
    "inters_reading_comprehension_squad": ("context",),
}


def keys(entry: Pair, raw_dir: Path, split: str) -> set[str]:
    """Group keys of all rows of a split, computed from the rows alone."""
    if entry.kind == "rank":
        collection = retrieval_sets.collection(entry.dataset)
        queries = {
            part.prefix + query_id: text
            for part in collection.parts(raw_dir)
            for query_id, text in beir.read_queries(part.folder).items()
        }
        return {group_key(queries[query_id]) for query_id in collection.qrels(raw_dir, split)}
    asked = QUESTION.get(entry.name) or QUESTION[entry.task]
    fields = [field for field in asked if field in entry.fields]
    assert fields, entry.name
    # Sorted: a pair of sentences is the same pair the other way round.
    return {group_key(*sorted(str(row[field]) for field in fields)) for row in entry.rows(raw_dir, split)}


def collections() -> Iterator[object]:
    yield pytest.param(SAMPLE, id="sample")
    reason = f"no real data in {RAW}: set INTERS_REAL_DATA to run this test"
    yield pytest.param(RAW, id="real", marks=pytest.mark.skipif(not RAW.is_dir(), reason=reason))


@pytest.mark.parametrize("raw_dir", collections())
def test_no_query_is_on_two_sides(raw_dir: Path) -> None:
    tested: dict[str, set[str]] = defaultdict(set)
    trained: dict[str, set[str]] = defaultdict(set)
    compared = 0
    for entry in PAIRS:
        try:
            train, validation, test = (keys(entry, raw_dir, split) for split in SPLITS)
        except MissingData as error:
            assert raw_dir == RAW, f"the sample lacks a file: {error}"
            continue
        few = raw_dir == RAW and len(train | validation | test) < 10  # some records of a file: QReCC
        assert few or (train and validation and test), entry.name
        assert not train & test, (entry.name, sorted(train & test)[:3])
        assert not train & validation, (entry.name, sorted(train & validation)[:3])
        assert not validation & test, (entry.name, sorted(validation & test)[:3])
        # Tasks share a dataset when they share its name: topics twice, SciFact as claims and as queries.
        trained[entry.dataset] |= train
        tested[entry.dataset] |= test
        compared += not few
    assert compared >= (len(PAIRS) if raw_dir == SAMPLE else 10)
    for dataset, queries in tested.items():
        assert not queries & trained[dataset], (dataset, sorted(queries & trained[dataset])[:3])


def test_tasks_on_the_same_topics_agree_on_the_split() -> None:
    by_task: dict[str, dict[str, list[Row]]] = defaultdict(dict)
    for entry in pairs(task="query_description"):
        for task in ("query_description", "query_expansion"):
            (other,) = pairs(task=task, dataset=entry.dataset)
            by_task[entry.dataset][task] = list(other.rows(SAMPLE, "test"))
    assert len(by_task) == 4
    for tasks in by_task.values():
        description, expansion = tasks.values()
        assert [row["example_id"] for row in description] == [row["example_id"] for row in expansion]


@pytest.mark.parametrize("raw_dir", collections())
@pytest.mark.parametrize(("dataset", "tasks"), [("trec_web", 3), ("trec_cast", 2)])
def test_a_topic_is_on_one_side_in_all_tasks(raw_dir: Path, dataset: str, tasks: int) -> None:
    if not (raw_dir / dataset).is_dir():
        pytest.skip(f"no real data in {raw_dir / dataset}: set INTERS_REAL_DATA to run this test")
    sides: dict[str, set[str]] = defaultdict(set)
    for entry in pairs(dataset=dataset):
        for split in SPLITS:
            for row in entry.rows(raw_dir, split):
                sides[row["example_id"].partition("_")[2].partition("_")[0]].add(split)
    assert len(pairs(dataset=dataset)) == tasks
    assert all(len(found) == 1 for found in sides.values()), sides
