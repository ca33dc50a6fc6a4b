"""Ranking rows and what is shown of them: balance, orders, markers, negatives that are negative."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqio_tasks import ranking_rows, tasks
from seqio_tasks.base import DataError
from seqio_tasks.catalog import pair
from seqio_tasks.prompts.ranking import Style, document_text, question, values_for
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.seeded import Draws
from seqio_tasks.sources.beir import Document
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.retrieval_sets import RetrievalSet

PAIR = pair("inters_fact_retrieval_scifact")
COLLECTION = RetrievalSet("x", "x")  # the folder beir_x
GRADES = {"a": 2, "b": 1, "c": 1, "d": 0, "e": 0, "f": 0, "g": 0}


def row(i: int) -> dict[str, Any]:
    documents = [{"doc_id": d, "title": "", "text": f"text {d}", "grade": g} for d, g in GRADES.items()]
    positives, negatives = documents[:3], documents[3:]
    return {"example_id": f"r/{i}", "query_id": str(i), "query": f"query {i}"} | {
        "positives": positives,
        "negatives": negatives,
    }


def shown(i: int, family: str) -> Any:
    variant = Variant(shots=0, family=family, description=False)
    return render(row(i), PAIR, variant=variant, seed=0, epoch=0)


@pytest.mark.parametrize("family", ["pointwise_judgment", "pairwise_check", "listwise_check"])
def test_yes_and_no_are_balanced_and_true(family: str) -> None:
    counts: Counter[str] = Counter()
    for i in range(1000):
        rendered = shown(i, family)
        counts[rendered.targets] += 1
        grades = [GRADES[d] for d in rendered.extras["document_ids"]]
        text = rendered.inputs()
        if family == "pointwise_judgment":
            right = grades[0] > 0
        elif family == "pairwise_check":
            (number,) = re.findall(r"(?:document|that document) [\[(]?(\d)", text)
            right = grades[int(number) - 1] == max(grades)
        else:
            (claim,) = re.findall(r"(?:ranked them|Proposed order:) ([\d\[\]() >,]+\d[\])]?)", text)
            order = [int(n) for n in re.findall(r"\d+", claim)]
            assert sorted(order) == list(range(1, len(grades) + 1))
            right = all(grades[x - 1] >= grades[y - 1] for x, y in itertools.pairwise(order))
        assert rendered.targets == ("Yes" if right else "No"), text
    assert 420 < counts["Yes"] < 580  # 5 sigma


def test_the_better_document_is_named_and_stands_on_either_side() -> None:
    counts: Counter[str] = Counter()
    for i in range(600):
        rendered = shown(i, "pairwise_choice")
        grades = [GRADES[d] for d in rendered.extras["document_ids"]]
        (number,) = re.findall(r"\d", rendered.targets)
        assert grades[int(number) - 1] > 0 == min(grades)
        assert f"{rendered.targets}" in rendered.inputs()  # written as in the list: 1., [1] or (1)
        counts[rendered.targets] += 1
    assert set(counts) == {"1", "2", "[1]", "[2]", "(1)", "(2)"} and min(counts.values()) > 60


def test_listwise_order_follows_the_grades_with_ties_as_shown() -> None:
    sizes, joiners = Counter(), Counter()
    for i in range(500):
        rendered = shown(i, "listwise_order")
        grades = [GRADES[d] for d in rendered.extras["document_ids"]]
        order = [int(n) for n in re.findall(r"\d+", rendered.targets)]
        assert order == sorted(range(1, len(grades) + 1), key=lambda n: (-grades[n - 1], n))
        assert max(grades) > 0 == min(grades)
        sizes[len(order)] += 1
        joiners[" > " in rendered.targets] += 1
    assert set(sizes) == {3, 4, 5, 6, 7} and min(joiners.values()) > 180


def test_list_size_has_a_limit() -> None:
    for i in range(50):
        draws = Draws(0, 0, str(i), "values")
        _, documents = values_for(row(i), "listwise_order", draws, Style(), largest_list=4)
        assert 3 <= len(documents) <= 4


def test_documents_are_numbered_in_one_style() -> None:
    prompt = shown(3, "listwise_order").inputs()
    styles = [
        s for s in (r"^\d\. text", r"^\[\d\] text", r"^\(\d\) text") if re.search(s, prompt, re.MULTILINE)
    ]
    assert len(styles) == 1
    assert document_text({"title": "T", "text": " C\n\nD "}) == "title: T\ncontent: C\nD"


def test_a_question_about_one_document_has_the_trained_form() -> None:
    document = Document("Mills", "They grind.")
    for template in (0, 1):
        fixed = question(PAIR, "pointwise_judgment", "query 1", [document], wording=template)
        trained = {
            **row(1),
            "positives": [{"doc_id": "x", "title": "Mills", "text": "They grind.", "grade": 1}],
            "negatives": [{"doc_id": "y", "title": "Mills", "text": "They grind.", "grade": 0}],
        }
        rendered = render(trained, PAIR, variant=Variant(shots=0, template=template), seed=5)
        assert fixed.inputs() == rendered.inputs()
        assert fixed.choices == ("Yes", "No") and rendered.targets in fixed.choices
    bare = question(
        PAIR, "pointwise_judgment", "q", [{"title": "", "text": "They grind."}], description=False
    )
    assert bare.inputs().startswith("Claim: q\nDocument: They grind.\n")
    with pytest.raises(ValueError, match="no template 2 of the family pointwise_judgment"):
        question(PAIR, "pointwise_judgment", "q", [document], wording=2)
    with pytest.raises(ValueError, match="template 4 is not of family pointwise_judgment"):
        render(row(1), PAIR, variant=Variant(shots=0, template=4, family="pointwise_judgment"), seed=0)


def _overlap(
    corpus: Mapping[str, Document], queries: Mapping[str, str], depth: int
) -> dict[str, dict[str, float]]:
    """A stand-in for BM25: the number of common words."""
    run = {}
    for query_id, query in queries.items():
        words = set(query.split())
        scores = {d: float(len(words & set(doc.text.split()))) for d, doc in corpus.items()}
        best = sorted((d for d in scores if scores[d]), key=lambda d: -scores[d])[:depth]
        run[query_id] = {d: scores[d] for d in best}
    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ranking_rows, "_bm25", _overlap)
    topics = ["mill", "river", "bread", "stone"]
    documents = [{"_id": f"d{i}", "title": "", "text": f"{topics[i % 4]} number {i}"} for i in range(40)]
    queries = [{"_id": f"q{i}", "text": f"{topics[i % 4]} question {i}"} for i in range(12)]
    folder = tmp_path / "beir_x"
    (folder / "qrels").mkdir(parents=True)
    for name, lines in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    head = "query-id\tcorpus-id\tscore\r\n"
    train = [f"q{i}\td{i}\t2\r\nq{i}\td{i + 4}\t1\r\nq{i}\td{i + 8}\t0\r\n" for i in range(8)]
    test = [f"q{i}\td{i}\t1\r\nq{i}\td{i + 4}\t-1\r\n" for i in range(8, 12)]
    (folder / "qrels" / "train.tsv").write_text(head + "".join(train) + "q0\tgone\t2\r\n", newline="")
    (folder / "qrels" / "dev.tsv").write_text(head, newline="")
    (folder / "qrels" / "test.tsv").write_text(head + "".join(test), newline="")
    return folder


def rows_of(folder: Path, prefix: str = "x", **options: Any) -> list[dict[str, Any]]:
    return list(ranking_rows.set_rows(COLLECTION, prefix, folder.parent, "train", **options))


def test_rows_hold_graded_positives_and_true_negatives(folder: Path) -> None:
    found = rows_of(folder, "sci", candidates=8)
    assert [r["example_id"] for r in found] == [f"sci/train/q{i}" for i in range(8)]
    for i, r in enumerate(found):
        assert [(d["doc_id"], d["grade"]) for d in r["positives"]] == [(f"d{i}", 2), (f"d{i + 4}", 1)]
        negatives = [d["doc_id"] for d in r["negatives"]]
        assert len(set(negatives)) == 8 and not {f"d{i}", f"d{i + 4}"} & set(negatives)
        assert negatives[0] == f"d{i + 8}"  # judged and not relevant: the hardest there is
        assert sum(int(d[1:]) % 4 == i % 4 for d in negatives[:4]) == 4  # the hard half shares the topic
    assert found == rows_of(folder, "sci", candidates=8)
    assert found != rows_of(folder, "sci", candidates=8, seed=1)


def test_queries_that_cannot_be_used_are_counted(folder: Path) -> None:
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tgone\t1\nq1\td1\t1\n")
    report = SourceReport()
    assert [r["query_id"] for r in rows_of(folder, report=report)] == ["q1"]
    assert report[ranking_rows.NO_POSITIVE] == 1


def write_run(folder: Path, scores: list[tuple[str, str, float]]) -> None:
    """The run of a folder; queries without a line are left to the first stage."""
    (folder / "runs").mkdir(exist_ok=True)
    lines = [f"{query} Q0 {doc} {rank} {score} t\n" for rank, (query, doc, score) in enumerate(scores, 1)]
    (folder / "runs" / "a.trec").write_text("".join(lines))


def test_rerank_rows_follow_the_run_and_keep_every_query(folder: Path) -> None:
    full = list(ranking_rows.set_rerank_rows(COLLECTION, folder.parent, "test"))
    assert {r["query_id"] for r in full} == {"q8", "q9", "q10", "q11"}
    assert min(r["relevance"] for r in full) == -1
    run = [("q8", "d8", 1), ("q8", "d1", 3), ("q8", "d2", 3), ("q8", "d12", 0.5), ("q9", "d9", 1)]
    write_run(folder, run)
    found = list(ranking_rows.set_rerank_rows(COLLECTION, folder.parent, "test", depth=3))
    assert {r["query_id"] for r in found} == {"q8", "q9", "q10", "q11"}
    found = [r for r in found if r["query_id"] in ("q8", "q9")]
    assert [(r["query_id"], r["doc_id"], r["relevance"], r["rank"]) for r in found] == [
        ("q8", "d2", 0, 1),  # equal scores: the higher id first, as trec_eval has it
        ("q8", "d1", 0, 2),
        ("q8", "d8", 1, 3),
        ("q9", "d9", 1, 1),
    ]
    assert found[0]["document"] == {"doc_id": "d2", "title": "", "text": "bread number 2"}
    judged = render(full[0], PAIR, variant=Variant(shots=0), seed=0, split="test")
    assert judged.extras["family"] == "pointwise_judgment"
    with pytest.raises(DataError, match="'d99' for query 'q9'"):
        write_run(folder, [("q9", "d99", 1)])
        list(ranking_rows.set_rerank_rows(COLLECTION, folder.parent, "test"))


def test_all_candidates_of_a_query_are_judged_behind_the_same_demonstrations() -> None:
    found: dict[str, set[str]] = {}
    task = tasks.task("inters_fact_retrieval_scifact_rerank_2shot")
    for one in itertools.islice(task.encoded_examples("test"), 0, 450):
        example = one.example
        assert example.shots == 2 and example.template == 0
        demonstrations = "\n\n".join(example.inputs.split("\n\n")[1:3])
        found.setdefault(example.example_id.partition("/")[0], set()).add(demonstrations)
    assert len(found) > 2 and {len(texts) for texts in found.values()} == {1}
    assert len({text for texts in found.values() for text in texts}) == len(found)  # others for other queries
