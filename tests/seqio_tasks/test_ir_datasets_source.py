"""Ids of ir_datasets as BEIR folders: the real package with small local files, no network."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from seqio_tasks.base import DataError
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.download.command import main
from seqio_tasks.download.ir_datasets_source import checked_folder, convert, folder_name, split_name
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Document

DOCS = {"d1": "Kites are  birds.", "d2": "Ünit «tests» \u2028 help", "d3": "Tides follow the moon."}
TRAIN = ({"q1": "what are kites"}, {"q1": {"d1": 2, "d2": 0}})
TEST = ({"q2": "why tides", "q3": "not judged"}, {"q2": {"d3": 1}})
# Importing the package makes folders in its home, which must not be the user's.
HOME = tempfile.TemporaryDirectory()
os.environ.setdefault("IR_DATASETS_HOME", HOME.name)
ir_datasets: Any = pytest.importorskip("ir_datasets", reason="pip install 'inters-jax[irds]'")


class Registry:
    """Registers small collections for one test and removes them afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, [""]

    def add(self, name: str, queries: dict[str, str], qrels: beir.Qrels, docs: dict[str, str] = DOCS) -> None:
        files = {
            "docs_tsv": "".join(f"{key}\t{text}\n" for key, text in docs.items()),
            "queries_tsv": "".join(f"{key}\t{text}\n" for key, text in queries.items()),
            "qrels_trec": "".join(
                f"{q} 0 {d} {g}\n" for q, judged in qrels.items() for d, g in judged.items()
            ),
        }
        paths: dict[str, str] = {}
        for kind, content in files.items():
            path = self.folder / f"{name.replace('/', '_')}.{kind}"
            path.write_text(content, "utf-8")
            if content:
                paths[kind] = str(path)
        self.register(name, ir_datasets.create_dataset(**paths))

    def register(self, name: str, dataset: object) -> None:
        ir_datasets.registry.register(name, dataset)
        self.names.append(name)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "source").mkdir()
    made = Registry(tmp_path / "source")
    yield made
    for name in made.names:
        ir_datasets.registry._registered.pop(name, None)


@pytest.fixture
def raw_dir(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def failure(dataset_id: str, raw_dir: Path, folder: str = "") -> str:
    """The message of the only failure."""
    (outcome,) = [outcome for outcome in convert(dataset_id, raw_dir, folder) if outcome.message]
    assert (outcome.name, outcome.status) == (f"irds:{dataset_id}", "failed")
    return outcome.message


def test_the_folder_reads_as_what_ir_datasets_gives(registry: Registry, raw_dir: Path) -> None:
    registry.add("mine/test", *TEST)
    outcomes = list(convert("mine/test", raw_dir))
    assert [(outcome.name, outcome.status, outcome.detail) for outcome in outcomes] == [
        ("mine_test/queries.jsonl", "fetched", "2 queries"),
        ("mine_test/qrels/test.tsv", "fetched", "1 judgments of 1 queries"),
        ("mine_test/corpus.jsonl", "fetched", "3 documents"),
    ]
    folder, dataset = raw_dir / "mine_test", ir_datasets.load("mine/test")
    expected = {doc.doc_id: Document("", " ".join(doc.text.split())) for doc in dataset.docs_iter()}
    assert beir.read_corpus(folder) == expected and len(expected) == 3
    assert beir.read_queries(folder) == {query.query_id: query.text for query in dataset.queries_iter()}
    assert beir.read_qrels_file(folder / "qrels/test.tsv") == dataset.qrels_dict() == {"q2": {"d3": 1}}
    assert (folder / "qrels/test.tsv").read_bytes() == b"query-id\tcorpus-id\tscore\nq2\td3\t1\n"


def test_several_ids_share_one_corpus_and_a_second_run_changes_nothing(
    registry: Registry, raw_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.add("mine/train", *TRAIN)
    registry.add("mine/dev/small", {"q4": "kite"}, {"q4": {"d1": 1}})
    registry.add("mine/test", *TEST)
    command = ["irds:mine/train", "irds:mine/dev/small", "irds:mine/test", "--folder", "beir_mine"]
    assert main([*command, "--raw_dir", str(raw_dir)]) == 0
    assert "2 present, 7 fetched, 0 failed" in capsys.readouterr().out
    folder = raw_dir / "beir_mine"
    assert list(beir.read_queries(folder)) == ["q1", "q4", "q2", "q3"]
    read = {split: beir.read_qrels(folder, split) for split in ("train", "validation", "test")}
    assert read == {"train": TRAIN[1], "validation": {"q4": {"d1": 1}}, "test": TEST[1]}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main([*command, "--raw_dir", str(raw_dir)]) == 0
    assert "9 present, 0 fetched, 0 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


class Page(NamedTuple):
    doc_id: str
    text: str
    title: str


class Article(NamedTuple):
    doc_id: str
    title: str
    abstract: str

    def default_text(self) -> str:
        return f"{self.title} {self.abstract}"


class Topic(NamedTuple):
    query_id: str
    title: str
    query: str


class Mixed(ir_datasets.formats.BaseDocs, ir_datasets.formats.BaseQueries, ir_datasets.formats.BaseQrels):
    """Documents and queries without the usual fields."""

    def docs_iter(self) -> Iterator[NamedTuple]:
        yield Page("d1", "Text.", "Title")
        yield Article("d2", "Head", "and body")

    def docs_count(self) -> None:
        return None

    def queries_iter(self) -> Iterator[NamedTuple]:
        yield Topic("q1", "short", "the long form")

    def qrels_iter(self) -> Iterator[NamedTuple]:
        yield ir_datasets.formats.TrecQrel("q1", "d2", -1, "0")


def test_titles_default_texts_and_the_fields_that_queries_are_divided_by(
    registry: Registry, raw_dir: Path
) -> None:
    registry.register("mine", ir_datasets.Dataset(Mixed()))
    assert {outcome.status for outcome in convert("mine", raw_dir)} == {"fetched"}
    assert {outcome.status for outcome in convert("mine", raw_dir)} == {"present"}  # without docs_count
    assert beir.read_corpus(raw_dir / "mine") == {
        "d1": Document("Title", "Text."),
        "d2": Document("", "Head and body"),
    }
    assert (raw_dir / "mine/queries.jsonl").read_text("utf-8") == (
        '{"_id": "q1", "text": "short", "metadata": {"title": "short", "query": "the long form"}}\n'
    )
    assert beir.read_qrels_file(raw_dir / "mine/qrels/test.tsv") == {"q1": {"d2": -1}}


def test_contradictions_are_reported_before_anything_changes(registry: Registry, raw_dir: Path) -> None:
    registry.add("mine/test", *TEST)
    registry.add("other/size", {"q9": "new"}, {"q9": {"d1": 1}}, {"d1": "alone"})
    registry.add("other/text", {"q2": "why moons"}, {"q2": {"d3": 1}})
    registry.add("other/grade", {"q2": "why tides"}, {"q2": {"d3": 2}})
    list(convert("mine/test", raw_dir, "one"))
    before = {path: path.read_bytes() for path in (raw_dir / "one").rglob("*.*")}
    assert "corpus.jsonl: 3 documents here, 1 in other/size" in failure("other/size", raw_dir, "one")
    assert "query 'q2' is 'why tides' here and 'why moons'" in failure("other/text", raw_dir, "one")
    assert "query q2 and document d3: grades 1 and 2" in failure("other/grade", raw_dir, "one")
    assert {path: path.read_bytes() for path in (raw_dir / "one").rglob("*.*")} == before


def test_unknown_ids_and_ids_without_judgments(
    registry: Registry, raw_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "ir_datasets knows no 'beir/scifacts/test'; did you mean beir/scifact/test" in failure(
        "beir/scifacts/test", raw_dir
    )
    registry.add("mine/bare", {"q1": "kites"}, {})
    assert "mine/bare has no qrels" in failure("mine/bare", raw_dir)
    assert "use one of beir/scifact/test, beir/scifact/train" in failure("beir/scifact", raw_dir)
    assert main(["irds:mine/bare", "irds:..", "--raw_dir", str(raw_dir)]) == 1
    assert "2 failed" in capsys.readouterr().out
    assert not list(raw_dir.glob("[!.]*"))


def test_an_interrupted_write_leaves_no_corpus_and_the_next_run_completes_it(
    registry: Registry, raw_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("mine/test", *TEST)
    whole = ir_datasets_source._documents

    def cut(*given: Any) -> Iterator[dict[str, Any]]:
        yield next(whole(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(ir_datasets_source, "_documents", cut)
    assert main(["irds:mine/test", "--raw_dir", str(raw_dir)]) == 130
    assert not (raw_dir / "mine_test/corpus.jsonl").exists()
    assert not list(raw_dir.rglob("*.partial"))
    monkeypatch.setattr(ir_datasets_source, "_documents", whole)
    assert main(["irds:mine/test", "--raw_dir", str(raw_dir)]) == 0
    assert list(beir.read_corpus(raw_dir / "mine_test")) == list(DOCS)


def test_an_unpacked_zip_is_added_to_and_the_original_form_of_ms_marco_is_left_alone(
    registry: Registry, raw_dir: Path
) -> None:
    registry.add("mine/test", *TEST)
    list(convert("mine/test", raw_dir, "beir_scifact/scifact"))
    registry.add("mine/train", *TRAIN)
    outcomes = list(convert("mine/train", raw_dir, "beir_scifact"))
    assert outcomes[-1].name == "beir_scifact/scifact/corpus.jsonl" and outcomes[-1].status == "present"
    (raw_dir / "beir_ms_marco").mkdir()
    (raw_dir / "beir_ms_marco/collection.tsv").write_text("0\ttext\n")
    assert "original form" in failure("mine/train", raw_dir, "beir_ms_marco")


def test_without_the_package_the_extra_is_named(raw_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    assert "pip install 'inters-jax[irds]'" in failure("beir/scifact/test", raw_dir)


def test_what_ir_datasets_raises_is_a_failure_with_a_reason(registry: Registry, raw_dir: Path) -> None:
    registry.add("mine/test", *TEST)
    (registry.folder / "mine_test.docs_tsv").write_text("no tab\n")
    assert "RuntimeError: expected 2 fields, got 1" in failure("mine/test", raw_dir)
    assert not (raw_dir / "mine_test/corpus.jsonl").exists()


@pytest.mark.parametrize(
    ("dataset_id", "folder", "split"),
    [
        ("beir/hotpotqa/dev", "beir_hotpot_qa", "dev"),
        ("beir/webis-touche2020/v2", "beir_touche", "test"),
        ("beir/cqadupstack/android", "beir_cqadupstack/android", "test"),
        ("msmarco-passage/train/judged", "beir_ms_marco", "train"),
        ("msmarco-passage-v2/dev1", "msmarco-passage-v2_dev1", "test"),
    ],
)
def test_folder_and_split_by_the_id(dataset_id: str, folder: str, split: str) -> None:
    assert (folder_name(dataset_id), split_name(dataset_id)) == (folder, split)


def test_folders_of_the_table_belong_to_ids_that_exist() -> None:
    known = list(ir_datasets.registry)
    assert all(
        any(f"{name}/".startswith(f"{start}/") for name in known) for start in ir_datasets_source.DATASETS
    )


@pytest.mark.parametrize("name", ["../up", "/abs", "", ".download/x"])
def test_a_folder_outside_the_raw_directory_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="below the raw directory"):
        checked_folder(name)


@pytest.mark.parametrize("wrong", [["squad", "--folder", "x"], ["irds:"], ["--list", "irds:beir/nq"]])
def test_wrong_calls(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
    assert "irds:beir/scifact/test" in capsys.readouterr().err
