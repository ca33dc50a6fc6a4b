"""The packaged sample: reproducible, small, clean to read, and its tokenizer knows every byte."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seqio_tasks.catalog import PAIRS, Pair
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.sources import beir
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.splits import SPLITS

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "seqio_tasks" / "sample"
TOKENIZER = Tokenizer.from_file(str(SAMPLE / "tokenizer" / "tokenizer.json"))


def test_the_script_writes_exactly_these_files() -> None:
    """Keeps the size limit too. After a change of sample texts or templates, run `make_sample.py` again."""
    command = [sys.executable, str(ROOT / "scripts" / "make_sample.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_size_and_folders() -> None:
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert files and max(path.stat().st_size for path in files) < 300_000
    assert {entry.folder for entry in PAIRS} <= {path.name for path in SAMPLE.iterdir()}
    assert "ynthetic" in (SAMPLE / "README.md").read_text(encoding="utf-8")


def test_only_expected_records_are_left_out() -> None:
    reasons: set[str] = set()
    for entry in PAIRS[:17]:
        for split in SPLITS:
            report = SourceReport()
            if entry.kind == "rank":
                beir.read_qrels(beir.beir_folder(SAMPLE, entry.dataset), split, report)
            else:
                list(entry.rows(SAMPLE, split, report=report))
            reasons |= set(+report)
    assert reasons == {
        "claim without evidence",
        "no clarification option is labelled good",
        "topic repeats one of the same number word for word",
    }


Labelled = list[tuple[set[str], list[str]]]  # the words and two-word phrases of a row, and its labels


def _labelled(entry: Pair, split: str) -> Labelled:
    rows: Labelled = []
    for row in entry.rows(SAMPLE, split):
        phrases: set[str] = set()
        for name in entry.fields:
            if name == entry.label_field:
                continue
            value = row[name] if isinstance(row[name], list) else [row[name]]
            # Who speaks in a dialogue is its form, not a word of it.
            words = re.findall(r"\w+", re.sub(r"(?m)^(user|agent): ", "", "\n".join(value).lower()))
            phrases |= {*words, *map(" ".join, itertools.pairwise(words))}
        label = row[entry.label_field]
        rows.append((phrases, split_labels(label) if entry.multi_label else [label]))
    return rows


def _balanced_accuracy(rows: Labelled, phrase: str, label: str) -> float:
    """Of the rule "this label where the phrase stands" or its opposite, whichever is better."""
    with_label = [phrase in phrases for phrases, labels in rows if label in labels]
    others = [phrase in phrases for phrases, labels in rows if label not in labels]
    return 0.5 + abs(sum(with_label) / len(with_label) - sum(others) / len(others)) / 2


@pytest.mark.parametrize(
    "entry", [entry for entry in PAIRS if entry.kind == "classify"], ids=lambda entry: entry.name
)
def test_no_phrase_alone_tells_the_label(entry: Pair) -> None:
    """The best word or two-word phrase of the training rows is right for at most 80 % of the held-out rows of
    a label (and of the others): labels follow from comparing texts, or from several words together."""
    train = _labelled(entry, "train")
    held_out = _labelled(entry, "validation") + _labelled(entry, "test")
    frequent = Counter(phrase for phrases, _ in train for phrase in phrases)
    for label in entry.labels:
        if sum(label in labels for _, labels in train) < 10:
            continue  # of a few rows, some phrase is always typical
        rules = {phrase: _balanced_accuracy(train, phrase, label) for phrase, n in frequent.items() if n > 2}
        best = max(rules, key=rules.__getitem__)
        assert rules[best] <= 0.8, (label, best)
        assert _balanced_accuracy(held_out, best, label) <= 0.8, (label, best)


@pytest.mark.parametrize("name", ["scifact", "nfcorpus"])
def test_rankings_are_complete(name: str) -> None:
    folder = beir.beir_folder(SAMPLE, name)
    corpus, queries = beir.read_corpus(folder), beir.read_queries(folder)
    assert 140 <= len(corpus) <= 300
    for split in SPLITS:
        for query_id, judged in beir.read_qrels(folder, split).items():
            assert queries[query_id]
            assert set(judged) <= set(corpus)
            assert any(judged.values())


def test_pages_without_content_are_never_relevant() -> None:
    """Announcements and newsletters share the query's words: what a reranker must see through."""
    for name, mark in (("scifact", "announcement"), ("nfcorpus", "newsletter")):
        folder = beir.beir_folder(SAMPLE, name)
        empty = {
            doc_id for doc_id, document in beir.read_corpus(folder).items() if mark in document.title.lower()
        }
        assert len(empty) > 20
        for split in SPLITS:
            assert not any(set(judged) & empty for judged in beir.read_qrels(folder, split).values())


def test_quac_answers_are_copied_from_the_text() -> None:
    entry = next(entry for entry in PAIRS if entry.dataset == "quac")
    rows = [row for split in SPLITS for row in entry.rows(SAMPLE, split)]
    answers = [(row["context"], text) for row in rows for text in row["references"] if text != "unanswerable"]
    assert len(answers) > 80
    assert [answer for context, answer in answers if answer not in context] == []


def test_entities_of_grade_1_name_one_that_is_asked_for() -> None:
    folder = beir.beir_folder(SAMPLE, "dbpedia")
    corpus = beir.read_corpus(folder)
    for name in ("dev", "test"):
        for grades in beir.read_judgments(folder, name).values():
            wanted = [corpus[doc_id].title.lower() for doc_id, grade in grades.items() if grade == 2]
            related = [corpus[doc_id].text.lower() for doc_id, grade in grades.items() if grade == 1]
            assert related
            assert all(any(title in text for title in wanted) for text in related)


def test_special_tokens_and_no_post_processing() -> None:
    assert [TOKENIZER.id_to_token(number) for number in range(3)] == ["<pad>", "<s>", "</s>"]
    assert TOKENIZER.encode("fair", add_special_tokens=True).ids == TOKENIZER.encode("fair").ids
    assert TOKENIZER.encode("").ids == []
    assert TOKENIZER.get_vocab_size() <= 4096
    config = json.loads((SAMPLE / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["bos_token"], config["eos_token"], config["pad_token"]) == ("<s>", "</s>", "<pad>")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert None not in ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


def test_every_byte_has_a_token() -> None:
    everything = "".join(chr(number) for number in [*range(0x100), 0x7FF, 0xFFFF - 2, 0x1F600, 0x10FFFF])
    ids = TOKENIZER.encode(everything, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == everything
