"""The catalog: names, labels, files; and that every loader gives the fields it promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from seqio_tasks.base import DataError, MissingData, text_hash
from seqio_tasks.catalog import EVALUATION_ONLY, GROUPS, KINDS, PAIRS, TASKS, Pair, page, pair, pairs, table
from seqio_tasks.catalog.__main__ import main as command
from seqio_tasks.catalog.files import SOURCES
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.sources.splits import SPLITS

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "seqio_tasks" / "sample"


def test_names_are_unique_and_the_first_slice_is_complete() -> None:
    assert len(PAIRS) == len({entry.name for entry in PAIRS})
    first = PAIRS[:17]
    assert Counter(entry.group for entry in first) == dict(zip(GROUPS, (11, 4, 2), strict=True))
    assert {entry.dataset for entry in first if not entry.in_domain} == {"trec_robust", "climate_fever"}
    assert {entry.task for entry in PAIRS} <= set(TASKS)


def test_lookups() -> None:
    entry = pair("inters_fact_verification_scifact")
    assert (entry.task, entry.dataset, entry.kind) == ("fact_verification", "scifact", "classify")
    assert pairs(task="fact_verification", dataset="scifact") == (entry,)
    assert pairs(group="query_document", dataset="nfcorpus") == (
        pair("inters_biomedical_retrieval_nfcorpus"),
    )
    assert pairs() == PAIRS
    with pytest.raises(
        DataError, match="no pair is named 'inters_x'; use one of inters_query_description_gov2"
    ):
        pair("inters_x")


@pytest.mark.parametrize("entry", PAIRS, ids=lambda entry: entry.name)
def test_declarations_are_consistent(entry: Pair) -> None:
    assert entry.group in GROUPS and entry.kind in KINDS
    assert {*entry.document_fields, *entry.optional_fields} <= set(entry.fields)
    assert (entry.answer in entry.fields) == (entry.kind != "rank")
    assert entry.answer not in entry.optional_fields
    assert bool(entry.labels) == bool(entry.label_field) == (entry.kind == "classify")
    assert not entry.label_field or entry.label_field in entry.fields
    assert entry.metrics and set(entry.counts) <= set(SPLITS)
    assert entry.files and entry.licence and entry.folder
    for file in entry.files:
        assert file.url.startswith(("https://", "http://", "hf://")) or file.manual
        assert len(file.md5) in (0, 32) and len(file.sha256) in (0, 64)


@pytest.mark.parametrize(
    "entry", [entry for entry in PAIRS if entry.kind != "rank"], ids=lambda entry: entry.name
)
@pytest.mark.parametrize("split", SPLITS)
def test_sample_rows_have_the_declared_fields(entry: Pair, split: str) -> None:
    rows = list(entry.rows(SAMPLE, split))
    assert len({row["example_id"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert set(entry.fields) <= set(row)
        for field in entry.fields:
            values = row[field] if isinstance(row[field], list) else [row[field]]
            if field in entry.optional_fields and not any(values):
                continue
            assert values and all(isinstance(value, str) and value.strip() for value in values), (row, field)
    if entry.labels:
        gold = [row[entry.label_field] for row in rows]
        stated = {label for text in gold for label in (split_labels(text) if entry.multi_label else [text])}
        assert stated == set(entry.labels) if split == "train" else stated <= set(entry.labels)
    assert rows == list(entry.rows(SAMPLE, split))


@pytest.mark.parametrize("entry", PAIRS, ids=lambda entry: entry.name)
def test_missing_data_is_said_before_the_first_row(entry: Pair, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"; .*into|unpack"):
        next(iter(entry.rows(tmp_path, "test")))


def test_table_lists_every_pair_and_folder() -> None:
    text = table()
    assert all(entry.name in text for entry in (*PAIRS, *EVALUATION_ONLY))
    assert all(f"{source.folder}/" in text for source in SOURCES.values())


def test_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command([]) == 0 and capsys.readouterr().out == table() + "\n"


def test_the_rows_that_are_there_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "msrp"
    raw.mkdir()
    heads = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    (raw / "msr_paraphrase_test.txt").write_text(heads + "1\t1\t2\tred kite\ta red kite\n0\t3\t4\ta\tb\n")
    assert command(["--rows", "--raw_dir", str(tmp_path), "msrp", "inters_ood_touche"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["inters_query_matching_msrp", "test", "2", "1,725"]
    assert shown[3].startswith(
        "not counted: inters_query_matching_msrp train, inters_query_matching_msrp valid"
    )
    assert shown[4].startswith("not counted: inters_ood_touche test: ") and len(shown) == 5
    assert command(["--rows", "inters_query_matching_mrsp"]) == 2
    assert "did you mean inters_query_matching_msrp" in capsys.readouterr().err


def test_a_trained_collection_is_counted_by_its_own_splits(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--rows", "beir_arguana", "--raw_dir", str(SAMPLE)]) == 0
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[1:]]
    trained, whole = "inters_argument_retrieval_arguana", "inters_ood_arguana"
    splits = [[trained, "train", "30"], [trained, "validation", "3"], [trained, "test", "3"]]
    assert rows == [*splits, [whole, "test", "36"]]


def test_the_page_of_the_documentation_is_that_of_the_catalog() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.markdown(), (
        "run `python -m seqio_tasks.catalog.page`"
    )


def test_the_catalog_holds_all_of_inters() -> None:
    assert len(PAIRS) == 56
    assert len({entry.task for entry in PAIRS}) == 20
    assert len({entry.dataset for entry in PAIRS}) == 43
    assert [sum(entry.group == group for entry in PAIRS) for group in GROUPS] == [26, 15, 15]


def test_the_order_of_the_pairs_never_changes() -> None:
    # Mixtures and stores follow it: with another order the same seed gives other data.
    names = "\n".join(entry.name for entry in PAIRS)
    assert names.startswith("inters_query_description_gov2\ninters_query_description_trec_robust\n")
    assert text_hash(names) == 1753982204108071080
