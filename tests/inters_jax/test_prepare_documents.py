"""prepare: documents of queries are stored together, with their grades and the scores of a teacher."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import seqio
from command_stand_ins import inspect_data, prepare

from inters_jax.data import provenance
from inters_jax.data.pass_files import StoreError
from inters_jax.ranking.identifiers import Identifiers
from seqio_tasks import settings as task_settings
from seqio_tasks.tokenizer import HuggingFaceTokenizer

TASK = "inters_fact_retrieval_scifact_documents"
SAMPLE = provenance.raw_folder(None)


@pytest.fixture
def ready(tmp_path):
    return {"store_dir": str(tmp_path / "store"), "max_length": 600}


def examples(**options):
    with task_settings.override(**options):
        return list(seqio.TaskRegistry.get(TASK).encoded_examples("train", seed=0, max_length=600))


def test_queries_are_stored_with_all_their_documents_as_they_are_encoded(ready, capsys):
    store = prepare(TASK, group_size=3, **ready)
    documents, expected = store.documents(TASK, 0), examples(group_size=3)
    assert store.sequences(TASK, 0) == len(expected) == 3 * store.examples(TASK, 0)
    assert store.rate(TASK) == store.examples(TASK, 0)  # a query with its documents is one example
    groups = [list(own) for _, own in itertools.groupby(expected, lambda one: one.example.extras["group_id"])]
    assert np.diff(documents.starts).tolist() == [len(own) for own in groups]
    assert documents.teacher is None
    for index, one in enumerate(expected):
        assert store.tokens(TASK, 0, index).tolist() == [1, *one.input_ids, *one.target_ids]
        assert store.example_id(TASK, 0, index) == one.example.example_id
        assert documents.grades[index] == one.example.extras["relevance"]
    # Reranking and training find the tokens of Yes and No in one way.
    choices = Identifiers(HuggingFaceTokenizer(str(SAMPLE / "tokenizer"))).choices(["Yes", "No"])
    yes, no = choices.first
    assert store.manifest["judgment"] == {"common": len(choices.common), "yes": yes, "no": no}
    assert store.manifest["settings"]["group_size"] == 3
    assert f"documents: {TASK}" not in capsys.readouterr().out
    with pytest.raises(StoreError, match=r"group_size is 3 in the store, None now"):
        prepare(TASK, **ready)


def test_documents_are_shown_on_a_page_without_their_template(ready, tmp_path):
    store = prepare(TASK, **ready)
    page = inspect_data(str(store.folder), str(tmp_path / "page.html"), examples=8)
    assert "one example per document of a query, whose template is not stored" in page.read_text("utf-8")


def test_scores_of_a_teacher_are_stored_and_a_changed_file_makes_the_store_stale(ready, tmp_path, capsys):
    found = examples()
    teacher = tmp_path / "teacher.txt"
    known = found[: len(found) // 2]
    teacher.write_text(
        "".join(
            f"{one.example.extras['query_id']} Q0 {one.example.extras['doc_id']} 1 {number / 7} teacher\n"
            for number, one in enumerate(known)
        )
    )
    store = prepare(TASK, teacher=[str(teacher)], **ready)
    documents = store.documents(TASK, 0)
    scores = {one.example.example_id: np.float32(number / 7) for number, one in enumerate(known)}
    stored = {store.example_id(TASK, 0, i): documents.teacher[i] for i in range(len(documents.teacher))}
    assert stored == scores
    assert store.tasks_without_teacher() == []
    printed = capsys.readouterr().out
    unscored = len({one.example.extras["group_id"] for one in found}) - store.examples(TASK, 0)
    assert (
        f"dropped, the teacher has scored fewer than two documents of the query: {TASK}: {unscored}"
        in printed
    )
    assert f"documents without a score of the teacher, not shown: {TASK}: " in printed
    [counts] = store.manifest["tasks"][TASK]["passes"]
    assert counts["rows"] == counts["kept"] + sum(counts["dropped"].values())
    teacher.write_text(teacher.read_text().replace(" teacher", " other"))
    with pytest.raises(StoreError, match=r"teacher is .* in the store"):
        prepare(TASK, teacher=[str(teacher)], **ready)


def test_a_store_of_other_tasks_is_what_it_was(ready):
    store = prepare("inters_reading_comprehension_boolq", **ready)
    assert "judgment" not in store.manifest
    assert not {"group_size", "teacher"} & set(store.manifest["settings"])
    folder = next((store.folder / store.tasks[0]).glob("pass*"))
    assert {path.name for path in folder.iterdir()} == {
        "tokens.bin", "offsets.npy", "target_starts.npy", "ids.bin", "id_offsets.npy"
    }  # fmt: skip


def test_a_seqio_dataset_has_the_same_documents():
    with task_settings.override(group_size=3, max_length=600):
        expected = examples(group_size=3)[:6]
        dataset = seqio.TaskRegistry.get(TASK).get_dataset(
            {"inputs": 2048, "targets": 5}, "train", shuffle=False, seed=0
        )
        for one, example in zip(expected, dataset.as_numpy_iterator(), strict=False):
            assert example["example_id"].decode() == one.example.example_id
            assert example["group"].decode() == one.example.extras["group_id"]
            assert example["relevance"] == one.example.extras["relevance"]
            assert example["targets"].tolist() == one.target_ids.tolist()
