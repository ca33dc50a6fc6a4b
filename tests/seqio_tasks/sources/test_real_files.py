"""Every reader on the real official files, with the counts known from them. Skipped where they are absent.

The files are not part of the repository: set INTERS_REAL_DATA to a folder that holds gov2/, msrp/ and so on.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from seqio_tasks.base import MissingData
from seqio_tasks.catalog import pair
from seqio_tasks.sources import beir, boolq, claims, squad, tables, trec_topics
from seqio_tasks.sources.common import Row, SourceReport
from seqio_tasks.sources.splits import IN_OFFICIAL_TEST, SPLITS

RAW = Path(os.environ.get("INTERS_REAL_DATA") or Path(__file__).parents[4] / "shared" / "raw")


def real(folder: str) -> Path:
    if not (RAW / folder).is_dir():
        pytest.skip(f"no real data in {RAW / folder}: set INTERS_REAL_DATA to run this test")
    return RAW / folder


def rows_by_split(name: str, report: SourceReport | None = None) -> list[list[Row]]:
    return [list(pair(name).rows(RAW, split, report=report)) for split in SPLITS]


@pytest.mark.parametrize(
    ("folder", "dataset", "topics", "repeated"),
    [
        ("gov2", "gov2", 150, 0),
        ("trec_robust04", "trec_robust", 250, 50),
        ("trec_covid", "trec_covid", 50, 0),
        ("fire", "fire", 50, 0),
    ],
)
def test_topic_sets_are_read_completely(folder: str, dataset: str, topics: int, repeated: int) -> None:
    real(folder)
    report = SourceReport()
    splits = rows_by_split(f"inters_query_description_{dataset}", report)
    tenth = topics // 10
    assert [len(rows) for rows in splits] == [topics - 2 * tenth, tenth, tenth]
    assert +report == ({trec_topics.REPEATED: repeated} if repeated else {})
    assert len({row["example_id"] for rows in splits for row in rows}) == topics
    for row in (row for rows in splits for row in rows):
        assert all(row[field] for field in ("title", "description", "narrative")), row
        text = " ".join(row.values())
        assert not any(mark in text for mark in ("<", "Narrative:", "Description:", "\n", "\r", "  ")), row


def test_difficult_topics() -> None:
    robust = {
        topic.number: topic for topic in trec_topics.read_sgml(real("trec_robust04") / "topics.robust04.txt")
    }
    assert robust["651"].title == "U.S. ethnic population"  # stands below its tag
    assert robust["672"].description.startswith("Find documents that")  # neither label
    assert robust["672"].narrative.startswith("Relevant documents provide")
    assert robust["673"].narrative.startswith("Documents must provide")  # after a blank line
    assert robust["391"].title == "R&D drug prices"
    assert robust["337"].narrative.endswith("on control of the disease.")  # several paragraphs
    assert robust["352"].narrative.endswith("schedule changes, price drops, etc.)")
    assert robust["353"].narrative.endswith("experiment is identified.")
    gov2 = {
        topic.number: topic for topic in trec_topics.read_sgml(real("gov2") / "topics.terabyte04.701-750.txt")
    }
    assert gov2["705"].narrative.startswith("Documents noting this subject")  # on the line of the tag
    assert gov2["705"].narrative.endswith("is irrelevant.")


def test_msrp_keeps_every_row_despite_its_quotes() -> None:
    folder = real("msrp")
    train = tables.read_msrp(folder / "msr_paraphrase_train.txt", "train")
    test = tables.read_msrp(folder / "msr_paraphrase_test.txt", "test")
    assert (len(train), len(test)) == (4076, 1725)
    assert Counter(row["answer"] for row in train) == {"yes": 2753, "no": 1323}
    assert Counter(row["answer"] for row in test) == {"yes": 1147, "no": 578}
    assert train[0]["sentence1"].startswith("Amrozi accused his brother, whom he called")
    assert not any("\r" in row["sentence2"] or "\t" in row["sentence2"] for row in train + test)
    report = SourceReport()
    assert [len(rows) for rows in rows_by_split("inters_query_matching_msrp", report)] == [3867, 200, 1725]
    assert +report == {IN_OFFICIAL_TEST: 9}


def test_orcas_i() -> None:
    real("orcas_i")
    splits = rows_by_split("inters_query_intent_classification_orcas_i")
    assert [len(rows) for rows in splits] == [800, 100, 100]
    assert Counter(row["query_type"] for rows in splits for row in rows) == {
        "abstain": 364,
        "factual": 363,
        "navigational": 171,
        "instrumental": 59,
        "transactional": 43,
    }


def test_mimics_keeps_panes_with_a_good_option() -> None:
    folder = real("mimics")
    report = SourceReport()
    rows = tables.read_mimics(folder / "MIMICS-Manual.tsv", report)
    assert len(rows) == 2789
    assert report[tables.NO_GOOD_OPTION] == 2832 - 2789
    assert Counter(len(row["clarification"]) for row in rows) == {1: 117, 2: 1050, 3: 847, 4: 424, 5: 351}
    assert rows[0] == {
        "example_id": "mimics/1",
        "query": "caesars atlantic city",
        "clarification": [
            "caesars atlantic city events",
            "caesars atlantic city jobs",
            "caesars atlantic city parking",
        ],
    }


def test_boolq_in_the_superglue_form() -> None:
    folder = real("boolq")
    dev = boolq.read_boolq(folder / "val.jsonl", "dev")
    assert len(dev) == 3270
    assert Counter(row["answer"] for row in dev) == {"true": 2033, "false": 1237}
    assert (dev[0]["title"], dev[0]["context"][:24]) == ("Ethanol fuel", "All biomass goes through")
    assert all(row["title"] and not row["context"].startswith(row["title"] + " --") for row in dev)
    assert len(boolq.read_boolq(folder / "train.jsonl", "train")) == 32


def test_squad_reads_xquad_and_never_trains_on_it() -> None:
    folder = real("squad_v1")
    rows = squad.read_squad(folder / "xquad.en.json", "dev")
    assert len(rows) == 1190
    assert len({row["context"] for row in rows}) == 240
    assert all(row["answer"] in row["context"] for row in rows)
    entry = pair("inters_reading_comprehension_squad")
    assert len(list(entry.rows(RAW, "test"))) == 1190
    if not list(folder.glob("train-v*.json")):
        with pytest.raises(MissingData, match=r"train-v2\.0\.json"):
            list(entry.rows(RAW, "train"))


def test_climate_fever() -> None:
    rows = claims.read_climate_fever(real("climate_fever") / "climate-fever.jsonl")
    assert len(rows) == 1535
    assert Counter(row["claim_label"] for row in rows) == {
        "support": 654,
        "not enough information": 474,
        "refute": 253,
        "disputed": 154,
    }
    splits = rows_by_split("inters_fact_verification_climate_fever")
    assert [len(part) for part in splits] == [1229, 153, 153]


def test_scifact_claims() -> None:
    folder = real("scifact")
    train = claims.read_scifact_claims(folder / "claims_train.csv")
    dev = claims.read_scifact_claims(folder / "claims_validation.csv")
    labelled = [[item for item in part if item.label] for part in (train, dev)]
    assert [len(part) for part in (train, dev)] == [1261, 450]
    assert [len({item.claim_id for item in part}) for part in (train, dev)] == [809, 300]
    assert Counter(item.label for item in labelled[0]) == {"support": 616, "refute": 341}
    assert Counter(item.label for item in labelled[1]) == {"support": 216, "refute": 122}
    assert not any(item.label for item in claims.read_scifact_claims(folder / "claims_test.csv"))


def test_scifact_with_whole_abstracts_counts_every_rationale() -> None:
    real("scifact")
    real("beir_scifact")
    if list((RAW / "scifact").glob("corpus*")):
        pytest.skip("the sentence-split corpus is here, so whole abstracts are not used")
    report = SourceReport()
    rows = list(pair("inters_fact_verification_scifact").rows(RAW, "test", report=report))
    assert len(rows) + report[claims.SAME_ABSTRACT] == 338
    assert all(len(row["evidence"]) > 50 for row in rows)


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judged", "judgments"),
    [("scifact", 5183, 1109, 300, 339), ("nfcorpus", 3633, 3237, 323, 12_334)],
)
def test_beir_folders(name: str, documents: int, queries: int, judged: int, judgments: int) -> None:
    real(f"beir_{name}")
    folder = beir.beir_folder(RAW, name)
    corpus, texts = beir.read_corpus(folder), beir.read_queries(folder)
    assert (len(corpus), len(texts)) == (documents, queries)
    qrels = beir.read_qrels(folder, "test")
    assert (len(qrels), sum(map(len, qrels.values()))) == (judged, judgments)
    assert all(doc_id in corpus for found in qrels.values() for doc_id in found)
    assert all(query_id in texts for query_id in qrels)


def test_beir_training_files() -> None:
    scifact = beir.read_qrels_file(real("beir_scifact") / "qrels" / "train.tsv")
    assert (len(scifact), sum(map(len, scifact.values()))) == (809, 919)
    real("beir_nfcorpus")
    qrels = beir.beir_folder(RAW, "nfcorpus") / "qrels"
    counts = {name: beir.read_qrels_file(qrels / f"{name}.tsv") for name in ("train", "dev")}
    assert [len(part) for part in counts.values()] == [2590, 324]
    assert [sum(map(len, part.values())) for part in counts.values()] == [110_575, 11_385]
    test = beir.read_qrels_file(qrels / "test.tsv")
    assert Counter(grade for judged in test.values() for grade in judged.values()) == {1: 11_758, 2: 576}
