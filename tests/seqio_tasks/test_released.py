"""The authors' released files as tasks: literal prompts, several answers, labels, candidates, faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import seqio_tasks
from seqio_tasks import catalog, named_tasks, released, settings, tasks
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.released import EMPTY, TWICE, Candidates, Instructions
from seqio_tasks.tasks import metric_of
from seqio_tasks.vocabularies import HuggingFaceVocabulary

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
FOLDER = SAMPLE / released.FOLDER


@pytest.fixture(autouse=True)
def sample():  # type: ignore[no-untyped-def]
    with settings.override(raw_dir=str(SAMPLE), tokenizer=str(SAMPLE / "tokenizer"), templates=()):
        yield


def write(path: Path, *lines: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_task_for_every_pair_of_the_catalog_besides_the_training_task() -> None:
    names = [pair.name + form.suffix for pair, form in released.tasks()]
    assert names[0] == "inters_released" and len(set(names)) == len(names)
    for pair in catalog.PAIRS:
        name = pair.name.replace("inters_", "inters_released_", 1)
        assert name + ("_rerank" if pair.kind == "rank" else "") in names
        assert (name + "_choices" in names) == (pair.kind == "classify")


def test_file_names_are_the_authors() -> None:
    task = tasks.task("inters_released_summarization_cnn_dm")
    assert task.form.paths["test"] == "test-qu-du-zero-shot/summarization_cnndm.zero_shot.test.jsonl"  # type: ignore[attr-defined]
    files = tasks.task("inters_released_general_retrieval_ms_marco_rerank").form.files  # type: ignore[attr-defined]
    assert files == (("test-qdu/msmarco.bm25.100.jsonl", ""),)
    forums = tasks.task("inters_released_duplicate_question_retrieval_cqadupstack_rerank").form.files  # type: ignore[attr-defined]
    assert len(forums) == 12
    assert ("test-qdu/cqadupstack/unix/test.pt.key.do-not-overwrite.json", "unix/") in forums


def test_training_prompts_are_taken_literally() -> None:
    task = tasks.task("inters_released")
    assert list(task.splits) == ["train"]
    lines = [json.loads(line) for line in (FOLDER / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    vocabulary = HuggingFaceVocabulary(SAMPLE / "tokenizer")
    found = list(task.get_dataset(split="train", shuffle=False).as_numpy_iterator())
    assert len(found) == len(lines) == task.num_input_examples("train")
    for example, line in zip(found, lines, strict=True):
        assert example["inputs_pretokenized"].decode() == line["prompt"]  # nothing before, nothing behind
        assert example["targets_pretokenized"].decode() == line["completion"]
        assert example["source"].decode() == line["source"]
        assert example["inputs"].tolist() == vocabulary.encode(line["prompt"])
        assert example["targets"].tolist() == [*vocabulary.encode(line["completion"]), vocabulary.eos_id]
    encoded = list(task.encoded_examples("train"))
    assert [e.input_ids.tolist() for e in encoded] == [e["inputs"].tolist() for e in found]


def test_a_prompt_that_is_too_long_is_left_out_and_counted() -> None:
    task = tasks.task("inters_released")
    lengths = [len(e.input_ids) + len(e.target_ids) + 1 for e in task.encoded_examples("train")]
    limit = sorted(lengths)[len(lengths) // 2]
    kept = list(task.encoded_examples("train", max_length=limit))
    dropped = sum(length > limit for length in lengths)
    assert dropped > 0 and len(kept) == len(lengths) - dropped
    assert sum(n for name, n in task.last_report.items() if name.startswith("dropped")) == dropped


def test_several_answers_are_references_or_a_list(tmp_path: Path) -> None:
    lines = [{"prompt": "Q?", "completion": "the Lisk <=SEP=> Lisk", "source": "s"}]
    stems = ("reading_comprehension_squad", "query_clarification_mimics", "query_description_gov2")
    for stem in stems:
        write(tmp_path / released.FOLDER / f"test-qu-du-zero-shot/{stem}.zero_shot.test.jsonl", *lines)
    with settings.override(raw_dir=str(tmp_path)):
        squad, mimics, gov2 = (
            next(
                tasks.task(f"inters_released_{stem}")
                .get_dataset(split="test", shuffle=False)
                .as_numpy_iterator()
            )
            for stem in stems
        )
    assert squad["targets_pretokenized"] == b"the Lisk"
    assert squad["references"].tolist() == [b"the Lisk", b"Lisk"]
    assert mimics["targets_pretokenized"] == b"1. the Lisk\n2. Lisk"
    assert gov2["targets_pretokenized"] == b"the Lisk <=SEP=> Lisk"  # of one answer it is part of the text


def test_labels_are_scored_behind_the_literal_prompt(tmp_path: Path) -> None:
    name = "reading_comprehension_boolq"
    path = tmp_path / released.FOLDER / f"dev-qu-du-zero-shot/{name}.zero_shot.dev.jsonl"
    write(path, {"prompt": "Is it?", "completion": "True", "source": name})
    with settings.override(raw_dir=str(tmp_path)):
        task = tasks.task(f"inters_released_{name}_choices")
        rows = list(task.get_dataset(split="validation", shuffle=False).as_numpy_iterator())
    assert [row["targets_pretokenized"] for row in rows] == [b"true", b"false"]
    assert [row["gold"] for row in rows] == [b"true"] * 2 and rows[0]["inputs_pretokenized"] == b"Is it?"
    write(path, {"prompt": "Is it?", "completion": "perhaps", "source": name})
    with (
        settings.override(raw_dir=str(tmp_path)),
        pytest.raises(DataError, match=r"'perhaps' is not a label"),
    ):
        list(task.encoded_examples("validation"))


def test_candidates_are_ranked_as_in_the_file_and_judged_by_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"query": "a?", "pos": ["A"], "pos_index": [7], "pos_score": [2], "query_id": 0,
         "key": ["B", "A", "B", ""], "key_index": [5, 7, 5, -1]},
        {"query": "b?", "pos": ["C"], "pos_index": [9], "key": ["A", "B"], "key_index": [7, 5]},
    )  # fmt: skip
    report = SourceReport()
    rows = Candidates([(path, "f/")], 10, report)
    assert [(r["query_id"], r["doc_id"], r["rank"], r["relevance"], r["document"]["text"]) for r in rows] == [
        ("f/0", "f/5", 1, 0, "B"),
        ("f/0", "f/7", 2, 2, "A"),
        ("f/1", "f/7", 1, 0, "A"),
        ("f/1", "f/5", 2, 0, "B"),
    ]
    assert rows.qrels == {"f/0": {"f/7": 2}, "f/1": {"f/9": 1}}  # the document BM25 missed counts as well
    assert report == {TWICE: 1}
    assert [r["doc_id"] for r in Candidates([(path, "")], 1, SourceReport())] == ["5", "7"]
    assert rows[-1] == rows[3] and rows[1:3][0] == rows[1]


@pytest.mark.parametrize("name", ["fact_retrieval_scifact", "duplicate_question_retrieval_cqadupstack"])
def test_reranking_asks_the_question_of_our_templates_and_scores_it(name: str) -> None:
    task = tasks.task(f"inters_released_{name}_rerank")
    rows = list(task.get_dataset(split="test", shuffle=False).as_numpy_iterator())
    assert [row["targets_pretokenized"] for row in rows[:2]] == [b"Yes", b"No"]
    assert {row["first_stage_rank"] for row in rows} >= {1, 2, 3}
    targets = [task.postprocess_fn("Yes" if i % 2 == 0 else "No", example=row, is_target=True)
               for i, row in enumerate(rows)]  # fmt: skip
    relevant = [float(row["relevance"]) for row in rows]
    scores = [value if i % 2 == 0 else 0.0 for i, value in enumerate(relevant)]
    found = metric_of(task.pair, task.form)(targets, scores)
    worst = metric_of(task.pair, task.form)(targets, [-value for value in scores])
    assert 0.5 < found["nDCG@10"] <= 1.0 and worst["nDCG@10"] < found["nDCG@10"]


def test_faults_are_told_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"prompt": "a", "completion": "b"}, {"prompt": "a"})
    with pytest.raises(DataError, match=r"t\.jsonl:2: no text under 'completion'"):
        Instructions(path, SourceReport())
    path.write_text('{"prompt": "a", "completion": "b"}\n\n{"prompt"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.jsonl:3: not JSON"):
        Instructions(path, SourceReport())
    report = SourceReport()
    write(path, {"prompt": "a", "completion": " "}, {"prompt": "c", "completion": "d"})
    rows = Instructions(path, report)
    assert [row["example_id"] for row in rows] == ["t/2"] and report == {EMPTY: 1}
    query = {"query": "q", "pos_index": [1], "key": ["x"], "key_index": [1], "query_id": 3}
    for fault, what in (
        ({"key_index": [1, 2]}, r":1: 1 texts under 'key', 2 numbers"),
        ({"pos_score": [1, 2]}, r":1: 1 judged documents"),
        ({"pos_score": [0.5]}, r":1: grades that are not whole numbers"),
        ({"query": None}, r":1: needs a text under 'query'"),
    ):
        write(path, query | fault)
        with pytest.raises(DataError, match=what):
            Candidates([(path, "")], 10, SourceReport())
    write(path, query, query)
    with pytest.raises(DataError, match=r":2: query 3 occurs twice"):
        Candidates([(path, "")], 10, SourceReport())


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with settings.override(raw_dir=str(tmp_path)):
        assert "hf download" in str(named_tasks.missing("inters_released", "train"))
        with pytest.raises(MissingData, match="test-qdu"):
            tasks.task("inters_released_fact_retrieval_fever_rerank").get_dataset(split="test")


def test_mixtures_of_the_released_files() -> None:
    found = seqio_tasks.members("inters_released_query_document", "test")
    assert {name for name, _ in found.available} == {
        "inters_released_fact_retrieval_scifact_rerank",
        "inters_released_duplicate_question_retrieval_cqadupstack_rerank",
    }
