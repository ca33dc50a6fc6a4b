"""Groups of documents: what is drawn, that it is asked in one wording, and what is left out and counted."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from seqio_tasks import document_groups, settings, teachers
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.named_tasks import find
from seqio_tasks.seeded import Draws
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.retrieval_sets import collection
from seqio_tasks.tokenizer import HuggingFaceTokenizer

NAME = "inters_fact_retrieval_scifact_documents"


def row_of(positives, negatives):
    grades = [*([2] * positives), *([0] * negatives)]
    documents = [
        {"doc_id": f"d{n}", "title": "", "text": f"text {n}", "grade": g} for n, g in enumerate(grades)
    ]
    return {
        "example_id": "t/train/q", "query_id": "q", "query": "a query",
        "positives": documents[:positives], "negatives": documents[positives:],
    }  # fmt: skip


def drawn(row, size, epochs=60, scores=None):
    return [
        document_groups.draw(row, size, Draws(0, epoch, row["example_id"], "documents"), scores)
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize(
    ("positives", "negatives", "size", "numbers", "relevant"),
    [
        (5, 20, 4, {4}, {1, 2}),
        (1, 20, 4, {4}, {1}),
        (5, 20, 2, {2}, {1}),
        (10, 20, 8, {8}, {1, 2, 3, 4}),
        (5, 2, 6, {6}, {4}),  # too few others: relevant ones fill the group
        (1, 1, 4, {2}, {1}),
    ],
)
def test_a_group_has_its_size_and_some_relevant_documents(positives, negatives, size, numbers, relevant):
    groups = drawn(row_of(positives, negatives), size)
    assert {len(group) for group in groups} == numbers
    assert {sum(one["grade"] > 0 for one in group) for group in groups} == relevant
    for group in groups:
        assert len({one["doc_id"] for one in group}) == len(group)
        assert [one["grade"] for one in group] == sorted((one["grade"] for one in group), reverse=True)


def test_hard_negatives_come_first_and_change_from_epoch_to_epoch():
    hard = {f"d{n}" for n in range(2, 12)}  # the first half of twenty negatives
    groups = drawn(row_of(2, 20), 4)
    shown = {one["doc_id"] for group in groups for one in group if not one["grade"]}
    assert shown == hard
    assert len({tuple(one["doc_id"] for one in group) for group in groups}) > 30
    assert groups == drawn(row_of(2, 20), 4)
    others = {one["doc_id"] for group in drawn(row_of(1, 4), 4) for one in group if not one["grade"]}
    assert others == {"d1", "d2", "d3", "d4"}  # two hard ones, then the rest


def test_with_a_teacher_only_scored_documents_are_drawn():
    scores = {"d1": 2.0, "d5": 1.0, "d20": 0.5, "elsewhere": 3.0}
    for group in drawn(row_of(2, 20), 4, scores=scores):
        assert {one["doc_id"] for one in group} == {"d1", "d5", "d20"}
    only_negatives = drawn(row_of(2, 20), 2, scores={"d5": 1.0, "d6": 2.0})
    assert all(sum(one["grade"] for one in group) == 0 for group in only_negatives)


def examples(max_length, report=None, **changes):
    pair, form = find(NAME)
    with settings.override(max_length=max_length, **changes) as config:
        rows = form.rows(pair, "train", config.raw_dir).rows[:12]
        found = form.encoded(
            rows, pair, HuggingFaceTokenizer(config.tokenizer), config, split="train",
            report=Counter() if report is None else report,
        )  # fmt: skip
        return list(found)


def test_documents_of_a_query_follow_each_other_in_one_wording_and_fit_a_row_together():
    report = Counter()
    found = examples(1024, report)
    groups = [list(own) for _, own in itertools.groupby(found, lambda one: one.example.extras["group_id"])]
    assert len(groups) == 12 == report["rows read"] and {len(own) for own in groups} == {4}
    for own in groups:
        assert len({one.example.template for one in own}) == 1
        assert {one.example.extras["family"] for one in own} == {"pointwise_judgment"}
        assert sum(len(one.input_ids) + len(one.target_ids) for one in own) <= 1024
        for one in own:
            assert one.example.targets == ("Yes" if one.example.extras["relevance"] > 0 else "No")
            assert one.example.shots == 0
    assert len({own[0].example.template for own in groups}) > 1  # drawn by query


def test_a_group_with_a_document_that_does_not_fit_is_left_out_whole_and_counted():
    report = Counter()
    found = examples(4 * 88, report)
    groups = Counter(one.example.extras["group_id"] for one in found)
    assert set(groups.values()) <= {4} and len(groups) < 12
    assert report[document_groups.INCOMPLETE] == 12 - len(groups)
    assert report["rows read"] == 12
    assert sum(count for name, count in report.items() if name.startswith("documents dropped: ")) > 0
    assert examples(4 * 120)  # shortened, as in reranking, however much


def test_documents_have_the_scores_of_the_teacher_and_queries_without_are_counted(tmp_path):
    pair, form = find(NAME)
    rows = form.rows(pair, "train", settings.current().raw_dir).rows[:12]
    run = tmp_path / "run.txt"
    lines = []
    for number, row in enumerate(rows[:9]):
        shown = [*row["positives"], *row["negatives"]][: 1 if number == 0 else 6]
        lines += [
            f"{row['query_id']} Q0 {one['doc_id']} {rank} {10 - rank / 4} teacher\n"
            for rank, one in enumerate(shown, 1)
        ]
    run.write_text("".join(lines))
    report = Counter()
    found = examples(1024, report, teacher=(str(run),))
    assert report[document_groups.UNSCORED] == 4  # three without any score, one with a single one
    assert len({one.example.extras["group_id"] for one in found}) == 8
    scores = teachers.read([str(run)])
    for one in found:
        extras = one.example.extras
        assert extras["teacher"] == scores.by_id[extras["query_id"]][extras["doc_id"]]
    unknown = sum(len(row["positives"]) + len(row["negatives"]) for row in rows[9:])
    assert report[document_groups.NOT_SHOWN] == unknown + len(rows[0]["negatives"])


def test_a_teacher_gives_the_documents_that_are_compared_not_only_their_scores(tmp_path):
    """It ranked others than the row would have: with the overlap alone most queries had no group."""
    pair, form = find(NAME)
    raw = settings.current().raw_dir
    rows = form.rows(pair, "train", raw).rows[:12]
    (part,) = collection("scifact").parts(raw)
    corpus = Corpus(part.folder)
    every = [corpus.at(position)[0] for position in range(len(corpus))]
    ranked = {}
    for row in rows:
        shown = {one["doc_id"] for one in (*row["positives"], *row["negatives"])}
        others = [name for name in every if name not in shown][:5]
        ranked[row["query_id"]] = [others[0], row["positives"][0]["doc_id"], *others[1:]]
    run = tmp_path / "run.txt"
    run.write_text("".join(
        f"{query} Q0 {name} {rank} {-rank} teacher\n"
        for query, names in ranked.items() for rank, name in enumerate(names, 1)
    ))  # fmt: skip
    report = Counter()
    found = examples(1024, report, teacher=(str(run),))
    groups = [list(own) for _, own in itertools.groupby(found, lambda one: one.example.extras["group_id"])]
    assert len(groups) == 12 and {len(own) for own in groups} == {4}
    assert not report[document_groups.UNSCORED] and not report[document_groups.NOT_SHOWN]
    for own in groups:
        assert {one.example.extras["doc_id"] for one in own} <= set(ranked[own[0].example.extras["query_id"]])
        assert sum(one.example.extras["relevance"] > 0 for one in own) == 1
    assert form.rows(pair, "train", raw).rows[:12] == rows  # the rows of other tasks are as they were


RECORDS = {
    '{"query_id": "3", "scores": {"a": 2.5, "b": -1}}': {"a": 2.5, "b": -1},
    '{"query_id": 3, "ranking": ["b", "a"]}': {"b": -1, "a": -2},
    '{"query": {"qid": 3, "text": "x"}, "candidates": [{"docid": "b"}, {"docid": "a"}]}': {"b": -1, "a": -2},
}


@pytest.mark.parametrize("record", RECORDS)
def test_json_lines_give_scores_or_orders_by_query_id(tmp_path, record):
    file = tmp_path / "teacher.jsonl"
    file.write_text(record + "\n")
    assert teachers.read([str(file)]).scores("3", "") == RECORDS[record]
    assert teachers.read([str(file)]).scores("4", "other") == {}


def test_passages_of_rankgpt_are_ordered_by_the_answers_in_a_second_file(tmp_path):
    passages, answers = tmp_path / "passages.jsonl", tmp_path / "answers.json"
    passages.write_text(
        '{"query": "What  is it", "retrieved_passages": [{"docid": 7}, {"docid": 8}, {"docid": 9}]}\n'
        '{"query": "another", "retrieved_passages": [{"docid": 1}, {"docid": 2}]}\n'
    )
    answers.write_text('["[3] > [1] > [3] > [12]", "[2] > [1]"]')
    found = teachers.read([str(passages), str(answers)])
    assert found.scores("unknown", "what is it") == {"9": -1, "7": -2, "8": -3}
    assert found.scores("unknown", "another") == {"2": -1, "1": -2}
    assert teachers.read([str(passages)]).scores("", "another") == {"1": -1, "2": -2}
    answers.write_text('["[2] > [1]"]')
    with pytest.raises(
        DataError, match=r"passages.jsonl:2: more queries than .*answers.json has answers \(1\)"
    ):
        teachers.read([str(passages), str(answers)])
    answers.write_text('["[1]", "[1]", "[1]"]')
    with pytest.raises(DataError, match="3 answers for 2 queries"):
        teachers.read([str(passages), str(answers)])
    with pytest.raises(DataError, match="an array of answers, without what they order"):
        teachers.read([str(answers)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"scores": {"a": 1}}', ":1: no scores of a query .*neither an id nor a text"),
        ('{"query_id": "1", "scores": {"a": "high"}}', ":1: no scores of a query .*must be numbers"),
        ('{"query_id": "1", "ranking": ["a", "a"]}', ":1: .*a document is listed twice"),
        ('{"query_id": "1"}', ':1: .*expected {"query_id", "scores"'),
        ('{"query_id": "1", "ranking": ["a"]}\n' * 2, ":2: query '1' has been ranked before"),
        ("1 Q0 d 1 high run", ":1: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    file = tmp_path / "teacher.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        teachers.read([str(file)])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingData, match=r"none.txt: no such file; TEACHER names"):
        teachers.read([str(tmp_path / "none.txt")])
