"""Collections that a file declares are opened by their names, with their own splits, grades and words."""

from pathlib import Path

import pytest
from own_data_stand_ins import HELPDESK, WORDS, helpdesk, registrations_end, write

from inters_jax.ranking.candidates import candidates_of
from inters_jax.ranking.collection import open_collection
from inters_jax.ranking.pairs import pair_of, ranking_pair, wording_of
from seqio_tasks import own_data, settings
from seqio_tasks.base import DataError
from seqio_tasks.sources.retrieval_sets import collection

DECLARED = f"""
datasets:
  desk:{HELPDESK}    metrics: [AP]
  folder:
    task: fact_retrieval
    folder: set
    grades: {{1: 0, 2: 1}}
    splits: {{train: 0.5, test: 0.5}}
"""


@pytest.fixture
def folder(tmp_path: Path):
    helpdesk(tmp_path)
    base = tmp_path / "set"
    write(base / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": w} for n, w in enumerate(WORDS)])
    write(base / "queries.jsonl", [{"_id": f"q{n}", "text": w} for n, w in enumerate(WORDS)])
    judged = [f"q{n}\td{n}\t{1 + n % 2}" for n in range(len(WORDS))]
    write(base / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    (tmp_path / "mine.yaml").write_text(DECLARED)
    with registrations_end(), settings.override(cache_dir=str(tmp_path / "cache")):
        own_data.register([tmp_path / "mine.yaml"])
        yield tmp_path


def test_a_collection_is_opened_by_its_name(folder: Path) -> None:
    data = open_collection("desk", split="train")
    assert data.qrels == collection("desk").qrels("", "train") and data.name == data.dataset == "desk"
    pair = pair_of(data, None)
    assert pair is ranking_pair("desk") is ranking_pair("inters_general_retrieval_desk")
    assert pair.metrics == ("AP",) and wording_of(pair) is pair
    found = candidates_of(data, None, 3).documents
    assert all(any(data.qrels[query].get(document) for document in own) for query, own in found.items())
    with pytest.raises(DataError, match=r"unknown split 'dev'; use one of train, validation, test"):
        open_collection("desk", split="dev")


def test_the_folder_of_a_collection_is_the_collection(folder: Path) -> None:
    by_name, by_folder = open_collection("folder"), open_collection(folder / "set")
    assert by_name.qrels == by_folder.qrels and by_folder.dataset == "folder"
    assert 0 < len(by_name.qrels) < len(WORDS)  # the test split of the declaration, not all of test.tsv
    whole = open_collection("folder", split=None)
    assert len(whole.wanted) == len(WORDS) and whole.qrels is None


def test_grades_are_mapped_once_and_those_of_another_judgment_file_too(folder: Path) -> None:
    assert {grade for own in open_collection("folder").qrels.values() for grade in own.values()} == {0, 1}
    write(folder / "other.qrels", ["q1 0 d1 2", "q2 0 d2 1"])
    given = open_collection("folder", qrels=folder / "other.qrels")
    assert given.qrels == {"q1": {"d1": 1}, "q2": {"d2": 0}}
