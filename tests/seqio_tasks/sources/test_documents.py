"""Readers of the document sets: real files where they are, hand-written ones for what the formats hide."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import pair
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.sources import conversations, fever, json_stream, ms_marco, open_qa, summaries, trivia_qa
from seqio_tasks.sources.common import SourceReport

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "seqio_tasks" / "sample"
RAW = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")


def real(path: str) -> Path:
    if not (RAW / path).exists():
        pytest.skip(f"no real data at {RAW / path}: set INTERS_REAL_DATA to run this test")
    return RAW / path


def write(path: Path, content: object) -> Path:
    """A list as JSON lines, a text as it is, anything else as one JSON text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "".join(json.dumps(record) + "\n" for record in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# JSON streams


def test_streamed_values_equal_loaded_ones_at_every_buffer_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [{"a": [1, 2.5, None]}, 1234567, -1.5e10, 'x\u00e9\n"y\\', [], {}, True, "\u2028"]
    path = write(tmp_path / "list.json", {"Other": [1, {"Data": 2}], "Data": data, "End": 0})
    for chunk in (1, 2, 3, 7, 1 << 20):
        monkeypatch.setattr(json_stream, "_CHUNK", chunk)
        assert list(json_stream.array_items(path, "Data")) == data
    table = {"query": {"0": "a", "1": "b"}, "answers": {"0": ["x"], "1": []}, "id": {}}
    (tmp_path / "table.json.gz").write_bytes(gzip.compress(json.dumps(table, indent=1).encode()))
    found = list(json_stream.columns(tmp_path / "table.json.gz", ("query", "answers")))
    assert found == [("query", "0", "a"), ("query", "1", "b"), ("answers", "0", ["x"]), ("answers", "1", [])]
    assert json_stream.is_columns(tmp_path / "table.json.gz")
    assert not json_stream.is_columns(write(tmp_path / "rows.json", [{"passages": [], "query": "a"}]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", r"list\.json:1: not JSON: '' where ',' or '\]' was expected \(character 5\)"),
        ('[1, {"a": }]', r"list\.json:1: not JSON: Expecting value \(character 10\); download the file"),
        ('{"a": 1}', r"list\.json:1: not JSON: '\{' where '\[' was expected"),
    ],
)
def test_streams_say_where_a_file_is_broken(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(json_stream.array_items(write(tmp_path / "list.json", text)))


# FEVER


def test_real_fever_claims() -> None:
    report = SourceReport()
    rows = fever.read_claims(real("fever/paper_dev.jsonl"), "validation", report)
    assert Counter(row["claim_label"] for row in rows) == {"support": 3333, "refute": 3333}
    assert report == {fever.NOT_ENOUGH: 3333}
    assert all(row["sets"] and all(row["sets"]) for row in rows)
    with pytest.raises(MissingData, match=r"wiki-pages\.zip"):
        list(pair("inters_fact_verification_fever").rows(RAW, "train"))


def fever_folder(folder: Path, *, zipped: bool) -> Path:
    def claim(number: int, text: str, *sets: list[tuple[str | None, int | None]]) -> dict[str, object]:
        evidence = [[[1, 2, page, index] for page, index in own] for own in sets]
        return {"id": number, "label": "SUPPORTS", "claim": text, "evidence": evidence}

    cafe = "Caf\u00e9_-LRB-bar-RRB-"
    write(folder / "fever" / "train.jsonl", [
        claim(1, "one", [("Nowhere", 0)], [(cafe, 1), (cafe, 1), ("B", 0)]),
        claim(2, "two", [("B", 9)]),
        claim(3, "Asked in the test", [("B", 0)]),
        {"id": 4, "label": "NOT ENOUGH INFO", "claim": "x", "evidence": [[[1, None, None, None]]]},
    ])  # fmt: skip
    write(folder / "fever" / "paper_dev.jsonl", [claim(5, "five", [("B", 0)])])
    write(folder / "fever" / "paper_test.jsonl", [claim(6, "asked in the TEST.", [("B", 0)])])
    # The pages are written with combining accents, the pointers without.
    pages = [
        {"id": "", "text": "", "lines": ""},
        {
            "id": "Cafe\u0301_-LRB-bar-RRB-",
            "text": "",
            "lines": "0\t\n1\tA -LRB- small -RRB- bar .\tlink\tLink\n",
        },
        {"id": "B", "text": "", "lines": "0\tB is .\nno number\n1\tMore ."},
    ]
    path = write(folder / "fever" / "wiki-pages" / "wiki-001.jsonl", pages)
    if zipped:
        with zipfile.ZipFile(folder / "fever" / "wiki-pages.zip", "w") as archive:
            archive.write(path, "wiki-pages/wiki-001.jsonl")
            archive.writestr("__MACOSX/wiki-pages/._wiki-001.jsonl", b"\x00\xff")
        path.unlink()
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_fever_takes_the_first_evidence_set_that_is_whole(tmp_path: Path, zipped: bool) -> None:
    report = SourceReport()
    rows = list(fever.fever(fever_folder(tmp_path, zipped=zipped), "train", report))
    assert rows == [
        {
            "example_id": "fever/train/1",
            "claim": "one",
            "claim_label": "support",
            "evidences": "Caf\u00e9 (bar): A (small) bar . B: B is .",
        }
    ]
    assert report == {
        fever.NOT_ENOUGH: 1,
        fever.NO_TEXT: 1,
        "query is also in the official test set": 1,
    }


def test_fever_symmetric_stands_in_for_validation_and_test(tmp_path: Path) -> None:
    first = {"id": "7", "claim": "A is B .", "evidence": "A -LRB- x -RRB- is B .", "gold_label": "SUPPORTS"}
    second = {"id": "8", "claim": "C is D .", "evidence_sentence": "C is E .", "label": "REFUTES"}
    write(tmp_path / "fever_symmetric" / "fever_symmetric_dev.jsonl", [first, second])
    write(tmp_path / "fever_symmetric" / "fever_symmetric_test.jsonl", [first])
    (row,) = fever.fever(tmp_path, "validation")
    assert row["claim_label"] == "refute" and row["example_id"] == "fever_symmetric/validation/2"
    (row,) = fever.fever(tmp_path, "test")
    assert row["evidences"] == "A (x) is B ."
    with pytest.raises(MissingData):
        list(fever.fever(tmp_path, "train"))


# Summaries


def test_real_stories_and_url_lists() -> None:
    folder = real("cnn_dm/cnn_stories")
    stories = {path.stem: summaries.read_story(path) for path in folder.glob("*.story")}
    assert len(stories) == 20
    assert all(article and "@highlight" not in article + text for article, text in stories.values())
    assert all(line.endswith(summaries._ENDS) for _, text in stories.values() for line in text.split("\n"))
    article, summary = stories["017d27d00eb43678c15cb4a8dd4723a035323219"]
    assert article.endswith('a brutal and repressive regime." E-mail to a friend.')
    assert summary.split("\n")[0] == "President Bush to address the Veterans of Foreign Wars on Wednesday."
    assert len(summary.split("\n")) == 3
    source = summaries._Stories(RAW)
    for split in ("train", "validation"):
        ids = source.ids(split)
        assert len(ids) == 10 and set(ids) <= set(stories)
        assert len(list(source.rows(split, None, None))) == 10 - sum(not stories[name][0] for name in ids)


def test_real_multi_news_in_the_longbench_layout() -> None:
    real("multi_news/multi_news.jsonl")
    report = SourceReport()
    rows = list(pair("inters_summarization_multi_news").rows(RAW, "test", report=report))
    assert len(rows) + report[summaries.EMPTY] == 200
    assert len(rows) == 200
    assert 2.8 < sum(len(row["article"]) for row in rows) / 200 < 2.9
    for row in rows:
        assert row["summary"] and all(row["article"])
        assert not any(mark in text for text in row["article"] for mark in ("NEWLINE_CHAR", "|||||", "\n"))
        assert not any(text.startswith("Passage ") for text in row["article"])


def test_a_missing_story_is_told_and_not_skipped(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write(tmp_path / "cnn_dm" / f"all_{name}.txt", f"http://a.example/{name}\n")
    with pytest.raises(MissingData, match=r"story [0-9a-f]{40} of the test list is in none of cnn/stories"):
        list(summaries.cnn_dm(tmp_path, "test"))


def test_articles_of_a_later_split_are_left_out_of_an_earlier_one(tmp_path: Path) -> None:
    def lines(*articles: str) -> list[dict[str, str]]:
        return [
            {"document": article, "summary": f"about\n\n{article} ", "id": str(i)}
            for i, article in enumerate(articles)
        ]

    write(tmp_path / "xsum" / "train.jsonl", lines("alpha", "beta!", "gamma", "delta", ""))
    write(tmp_path / "xsum" / "validation.jsonl", lines("Gamma", "epsilon"))
    write(tmp_path / "xsum" / "test.jsonl", lines("Beta", "epsilon", "zeta"))
    report = SourceReport()
    assert [row["article"] for row in summaries.xsum(tmp_path, "train", report)] == ["alpha", "delta"]
    assert report == {summaries.ARTICLE_HELD_OUT: 2, summaries.EMPTY: 1}
    assert [row["summary"] for row in summaries.xsum(tmp_path, "validation")] == ["about\nGamma"]
    assert len(list(summaries.xsum(tmp_path, "test"))) == 3


def test_training_documents_are_chosen_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "MOST_TRAINING_ROWS", 5)
    report = SourceReport()
    rows = list(summaries.wikisum(SAMPLE, "train", report))
    assert len(rows) == 5 and report == {summaries.BEYOND_CAP: 35}
    assert [row["example_id"] for row in rows] == [
        row["example_id"] for row in summaries.wikisum(SAMPLE, "train")
    ]


def test_xsum_sections_and_broken_files(tmp_path: Path) -> None:
    text = "[SN]URL[SN]\nu\n\n[SN]FIRST-SENTENCE[SN]\nIt  rains .\n\n[SN]RESTBODY[SN]\na\n\nb [SN]\n"
    path = write(tmp_path / "1.summary", text)
    assert summaries.read_bbc(path) == ("a b [SN]", "It rains .")
    with pytest.raises(DataError, match="no section RESTBODY"):
        summaries.read_bbc(write(path, text.partition("[SN]RESTBODY")[0]))


def test_multi_news_files_must_have_the_same_length(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write(tmp_path / "multi_news" / f"{name}.src.cleaned", "a ||||| b\nc\n")
        write(tmp_path / "multi_news" / f"{name}.tgt", "\u2013 s\n")
    with pytest.raises(DataError, match=r"test\.src\.cleaned: not as many lines as test\.tgt"):
        list(summaries.multi_news(tmp_path, "test"))
    assert summaries.cluster_summary("\u2013 It \u2013 again NEWLINE_CHAR more") == "It \u2013 again more"
    report = SourceReport()
    assert summaries.cluster(" ||||| a ||||| ", report) == ["a"] and report == {summaries.EMPTY_DOCUMENT: 1}


# Reading comprehension


def test_real_hotpot_facts_are_all_found() -> None:
    real("hotpot_qa")
    report = SourceReport()
    rows = list(pair("inters_reading_comprehension_hotpot_qa").rows(RAW, "test", report=report))
    assert len(rows) == 100 and not +report
    assert all(len(row["supporting_facts"]) >= 1 for row in rows)
    assert rows[0]["supporting_facts"][0].startswith("VIVA Media: VIVA Media")
    assert rows[0]["answer"] == "Gesellschaft mit beschr\u00e4nkter Haftung"


def test_real_ms_marco_line_in_a_file_that_is_not_gzipped() -> None:
    path = real("ms_marco_qa/hf_dummy/dummy_data/dev_v1.1.json.gz")
    (row,) = ms_marco.with_passages(path, ms_marco.read_questions(path, "dev"))
    assert len(row["context"]) == 10 or len(row["context"]) > 1
    assert row["answer"] and row["answer"] in row["references"]


def test_both_versions_of_ms_marco_give_the_same_rows(tmp_path: Path) -> None:
    records = [
        {"query": "q  a", "query_id": 1, "answers": ["x", "y"], "wellFormedAnswers": ["It is x."],
         "passages": [{"is_selected": 0, "passage_text": "p"}, {"is_selected": 1, "passage_text": "r"}]},
        {"query": "b", "query_id": 2, "answers": ["No Answer Present."], "wellFormedAnswers": "[]",
         "passages": [{"is_selected": 0, "passage_text": "p"}]},
        {"query": "c", "query_id": 3, "answers": ["z"], "wellFormedAnswers": "[]", "passages": []},
        {"query": "d", "query_id": 4, "answers": [], "wellFormedAnswers": "[]", "passages": []},
        {"query": "e", "query_id": 5, "answers": ["w"], "wellFormedAnswers": "[]",
         "passages": [{"is_selected": 0, "passage_text": "s"}]},
    ]  # fmt: skip
    names = ("answers", "passages", "query", "query_id", "wellFormedAnswers")
    table = {name: {str(i): record[name] for i, record in enumerate(records)} for name in names}
    found = []
    for path in (write(tmp_path / "v1.json", records), write(tmp_path / "v2.json", table)):
        report = SourceReport()
        rows = list(ms_marco.with_passages(path, ms_marco.read_questions(path, "dev", report), report))
        assert report == {ms_marco.NO_ANSWER: 2, ms_marco.NO_PASSAGE: 1}
        found.append(rows)
    assert found[0] == found[1]
    first, last = found[0]
    assert first == {
        "example_id": "ms_marco/dev/1",
        "question": "q a",
        "answer": "x",
        "references": ["x", "y", "It is x."],
        "context": ["p", "r"],
    }
    assert last["context"] == ["s"] and last["references"] == ["w"]


def test_real_triviaqa_with_documents(tmp_path: Path) -> None:
    with tarfile.open(real("trivia_qa/triviaqa-sample.tgz")) as archive:
        archive.extractall(tmp_path / "trivia_qa", filter="data")
    qa = tmp_path / "trivia_qa" / "qa"
    rows = {
        name: trivia_qa.read_questions([qa / f"wikipedia-{name}.json", qa / f"web-{name}.json"], name)
        for name in ("train", "dev")
    }
    single = [trivia_qa.read_questions([path], "x") for path in sorted(qa.glob("*-*.json"))]
    assert sum(map(len, single)) == 11 and sum(map(len, rows.values())) <= 11
    report = SourceReport()
    found = [
        trivia_qa.with_context(row, tmp_path / "trivia_qa" / "evidence", report)
        for row in (*rows["train"], *rows["dev"])
    ]
    assert sum(bool(row["context"]) for row in found) >= 6
    for row in found:
        assert row["answer"] == row["references"][0]
        context = row["context"].casefold()
        assert not context or any(text.casefold() in context for text in row["references"])


def test_real_dpr_questions_are_the_test_set_without_documents() -> None:
    real("trivia_qa/topics.dpr.trivia.test.txt")
    rows = list(pair("inters_reading_comprehension_trivia_qa").rows(RAW, "test"))
    assert len(rows) == 11_313
    assert all(row["question"] and row["references"] and not row["context"] for row in rows)
    assert rows[4143]["references"] == [
        'He had previously always said that each had been "The best Olympics ever"'
    ]
    assert rows[4143]["question"].startswith("What was unusual about the speech")
    assert '"Well done Atlanta"' in rows[4143]["question"]


def test_webglm_rows_with_an_empty_passage_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [
        {"question": "q", "answer": "a [2].", "references": ["x", " y\n"]},
        {"question": "q", "answer": "a [2].", "references": ["", "y"]},
    ])  # fmt: skip
    report = SourceReport()
    (row,) = open_qa.iterate_webglm(path, "test", report)
    assert row["reference_passages"] == ["x", "y"] and report == {open_qa.EMPTY: 1}


# Conversations


def test_real_coqa_answers_of_every_annotator() -> None:
    folder = real("coqa/hf_dummy/dummy_data")
    (dev,) = conversations.read_coqa(folder / "coqa-dev-v1.0.json", "dev")
    (train,) = conversations.read_coqa(folder / "coqa-train-v1.0.json", "train")
    assert len(dev["references"]) == 4
    turns = dev["history"].count("Q: ") + len(dev["questions"])
    assert turns == 12 and len(dev["questions"]) == len(dev["answers"])
    assert train["history"].count("Q: ") + len(train["questions"]) == 20
    assert dev["answers"][-1] == "no" and dev["references"][1].endswith(". no")


def test_coqa_turns_are_ordered_by_number(tmp_path: Path) -> None:
    def turns(*texts: str, reverse: bool = False) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [
            {"turn_id": i, "input_text": text} for i, text in enumerate(texts, 1)
        ]
        return entries[::-1] if reverse else entries

    def story(name: str, **changes: object) -> dict[str, object]:
        return {
            "id": name,
            "story": "A  b.",
            "questions": turns("q1", "q2", "q3", "q4", reverse=True),
            "answers": turns("a1", "a2", "a3", "a4"),
            "additional_answers": {"0": turns("b1", "b2", "", "b4")},
        } | changes

    names = [str(number) for number in range(8)]
    path = write(tmp_path / "coqa.json", {"data": [story(name) for name in names]})
    rows = conversations.read_coqa(path, "dev")
    whole = next(row for row in rows if not row["history"])
    assert whole["questions"] == ["q1", "q2", "q3", "q4"]
    assert whole["references"] == ["1. a1\n2. a2\n3. a3\n4. a4", "1. b1\n2. b2\n3. a3\n4. b4"]
    halved = next(row for row in rows if row["history"])
    assert halved["history"] == "Q: q1\nA: a1\nQ: q2\nA: a2"
    assert halved["answers"] == ["a3", "a4"] and halved["references"][1] == "1. a3\n2. b4"
    with pytest.raises(DataError, match="different turns"):
        conversations.read_coqa(write(path, {"data": [story("x", answers=turns("a1"))]}), "dev")


@pytest.mark.parametrize("name", ["inters_conversational_qa_coqa", "inters_conversational_qa_quac"])
def test_a_prompt_shows_the_history_where_there_is_one(name: str) -> None:
    entry = pair(name)
    rows = list(entry.rows(SAMPLE, "train"))
    drawn: dict[bool, set[int]] = {True: set(), False: set()}
    for row in rows:
        for epoch in range(8):
            found = render(row, entry, variant=Variant(), demonstrations=rows, seed=0, epoch=epoch)
            drawn[bool(row["history"])].add(found.template)
            assert row["history"] in found.item.text()
    assert not drawn[True] & drawn[False]
    assert len(drawn[True] | drawn[False]) == 12


def test_real_quac_history_and_answers() -> None:
    folder = real("quac/hf_dummy/dummy_data")
    train = conversations.read_quac(folder / "train_v0.2.json", "train")
    val = conversations.read_quac(folder / "val_v0.2.json", "val")
    assert (len(train), len(val)) == (39, 41)
    for row in (*train, *val):
        assert "CANNOTANSWER" not in "".join(
            (row["context"], row["answer"], row["history"], *row["references"])
        )
        assert row["history"].count("Q: ") == int(row["example_id"].rpartition("#")[2])
        assert row["answer"] == conversations.UNANSWERABLE or row["answer"] in row["context"]
    third = val[2]
    assert third["question"] == "did she have any other children?"
    assert third["answer"] == "unanswerable" and third["references"] == ["unanswerable"] * 4
    assert third["history"].startswith(
        "Q: what happened in 1983?\nA: In May 1983, she married Nikos Karvelas"
    )
    assert len(val[1]["references"]) == 4
    assert len(conversations.read_quac(real("quac/quac_sample.json"), "x")) == 12
