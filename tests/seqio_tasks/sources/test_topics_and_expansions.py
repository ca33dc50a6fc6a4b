"""Query2Doc, CODEC, TREC CAsT and TREC Web topics: hand-written traps, and the counts of the real files."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import pair
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.sources import cast, codec, query2doc, web_topics
from seqio_tasks.sources.common import Row, SourceReport
from seqio_tasks.sources.splits import BEYOND_CAP, IN_OFFICIAL_TEST, SPLITS, group_key

RAW = Path(os.environ.get("INTERS_REAL_DATA") or Path(__file__).parents[4] / "shared" / "raw")


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def real_rows(name: str, report: SourceReport | None = None) -> list[list[Row]]:
    entry = pair(name)
    if not (RAW / entry.folder).is_dir():
        pytest.skip(f"no real data in {RAW / entry.folder}: set INTERS_REAL_DATA to run this test")
    return [list(entry.rows(RAW, split, report=report)) for split in SPLITS]


# TREC Web

WEB = """<?xml version="1.0"?>
<!DOCTYPE webtrack2009 [<!ATTLIST topic type (ambiguous|faceted|other) "ambiguous">]>
<webtrack2009>
<topic number="3" type="faceted">
  <query> kite
     shops</query>
  <description>Where are R&amp;D kites sold?
  </description>
  <subtopic number="1" type="inf">
    Where are R&amp;D kites sold?
  </subtopic>
  <subtopic number="2" type="inf">
  </subtopic>
  <subtopic number="3" type="inav"> Find the home page of a kite shop. </subtopic>
  <subtopic number="4" type="inv">Which kites fly best?</subtopic>
  <subtopic number="5" type="nav">find the home page of a kite shop</subtopic>
</topic>
<topic number="4">
  <query>kite</query>
  Which kites are birds?
  <description>
  </description>
  <subtopic number="1" type="nav">Open the kite game.</subtopic>
</topic>
<topic number="5" type="single"><query>kite string</query><description/></topic>
</webtrack2009>
"""


def test_web_topics_with_their_known_faults(tmp_path: Path) -> None:
    report = SourceReport()
    first, second, third = web_topics.read_topics(write(tmp_path / "topics.xml", WEB), report)
    assert (first.number, first.kind, first.title) == ("3", "faceted", "kite shops")
    assert first.description == "Where are R&D kites sold?"
    assert first.subtopics == (
        ("Where are R&D kites sold?", "informational"),
        ("Find the home page of a kite shop.", "navigational"),
        ("Which kites fly best?", "informational"),
    )
    assert +report == {web_topics.EMPTY_SUBTOPIC: 1, web_topics.SAME_SUBTOPIC: 1}
    assert (second.kind, second.description) == ("ambiguous", "Which kites are birds?")  # default of the DTD
    assert (third.kind, third.description, third.subtopics) == ("single", "", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a><topic></a>", r"topics\.xml:1: not XML"),
        ("<a></a>", "no <topic>"),
        ('<a><topic number="1" type="odd"><query>x</query></topic></a>', "topic 1: type 'odd'"),
        ('<a><topic number="1" type="faceted"><query> </query></topic></a>', "topic 1: .* query ''"),
        (WEB.replace('"nav"', '"na"'), "topic 3: subtopic type 'na' is none of inf, nav"),
    ],
)
def test_web_errors_name_the_topic(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        web_topics.read_topics(write(tmp_path / "topics.xml", text))


def test_web_files_in_folders_of_years_and_twice(tmp_path: Path) -> None:
    write(tmp_path / "trec_web/11/full-topics.xml", WEB)
    write(tmp_path / "trec_web/12/full-topics.xml", WEB.replace('number="3" type="f', 'number="13" type="f'))
    write(tmp_path / "trec_web/SOURCE.txt", "no topics here")
    report = SourceReport()
    topics = web_topics.all_topics(tmp_path, report)
    assert [topic.number for topic in topics] == ["3", "4", "5", "13"]
    assert report[web_topics.REPEATED] == 2
    write(tmp_path / "trec_web/topics.web.txt", WEB.replace("birds", "toys"))
    with pytest.raises(DataError, match=r"topics\.web\.txt: topic 4 differs"):
        web_topics.all_topics(tmp_path)


def test_web_real_files() -> None:
    report = SourceReport()
    expansion = real_rows("inters_query_expansion_trec_web", report)
    assert [len(rows) for rows in expansion] == [239, 30, 30]
    assert report[web_topics.NO_DESCRIPTION] == 1
    described = {row["example_id"]: row["description"] for rows in expansion for row in rows}
    assert described["trec_web/296"] == "Where can I recycle lead acid batteries?"
    assert "trec_web/269" not in described

    report = SourceReport()
    generation = real_rows("inters_query_subtopic_generation_trec_web", report)
    assert [len(rows) for rows in generation] == [197, 28, 26]
    assert report == {web_topics.NO_SUBTOPIC: 49, web_topics.EMPTY_SUBTOPIC: 1}
    assert sum(len(row["subtopic_title"]) for rows in generation for row in rows) == 1089

    report = SourceReport()
    intent = real_rows("inters_query_intent_classification_trec_web", report)
    assert [len(rows) for rows in intent] == [197, 28, 26]
    assert report[web_topics.SINGLE] == 49
    assert Counter(row["query_type"] for rows in intent for row in rows) == {"faceted": 189, "ambiguous": 62}
    types = {row["subtopic_type"] for rows in intent for row in rows}
    assert types == {"informational", "navigational"}


def test_web_subtopic_types_are_asked_for_without_the_options_of_the_query() -> None:
    entry = pair("inters_query_intent_classification_trec_web")
    rows = list(entry.rows(Path(settings.Settings().raw_dir), "train"))
    for keyword_only in (False, True):
        typed = Variant(shots=2, template=5, description=False, keyword_only=keyword_only)
        rendered = render(rows[0], entry, variant=typed, demonstrations=rows, seed=0)
        assert rendered.targets in ("informational", "navigational") and not rendered.choices
        assert not any(label in rendered.inputs() for label in entry.labels)
    asked = render(rows[0], entry, variant=Variant(shots=0), split="test", seed=0)
    assert asked.choices == ("faceted", "ambiguous")


# TREC CAsT

TOPICS_2019 = [
    {
        "number": 31,
        "title": "kites",
        "description": "About kites.",
        "turn": [
            {"number": 1, "raw_utterance": "What is a kite?"},
            {"number": 2, "raw_utterance": "Is it  safe? "},
        ],
    },
    {"number": 32, "title": "geese", "turn": [{"number": 1, "raw_utterance": "Tell me about geese."}]},
]
REWRITES_2019 = "31_1\tWhat is a kite?\r\n31_2\tIs a kite safe?\r\n32_1\tTell me about geese.\r\n"


def write_2019(folder: Path, rewrites: str = REWRITES_2019) -> tuple[Path, Path]:
    return (
        write(folder / "trec_cast/evaluation_topics_v1.0.json", json.dumps(TOPICS_2019)),
        write(folder / "trec_cast/evaluation_topics_annotated_resolved_v1.0.tsv", rewrites),
    )


def test_cast_2019_joins_the_file_of_rewrites(tmp_path: Path) -> None:
    kites, geese = cast.read_2019(*write_2019(tmp_path))
    assert (kites.title, kites.description, geese.description) == ("kites", "About kites.", "")
    first, second = kites.turns
    assert (first.history, first.rewrite) == ((), "What is a kite?")
    assert (second.utterance, second.rewrite) == ("Is it safe?", "Is a kite safe?")  # neither CR nor blanks
    assert second.history == ("What is a kite?",)


@pytest.mark.parametrize(
    ("rewrites", "message"),
    [
        (REWRITES_2019.replace("31_2", "31_3"), r"topics_v1\.0\.json: topic 31: .*KeyError: '31_2'"),
        (REWRITES_2019 + "33_1\tWhat?\r\n", "rewrite of turn 33_1, which the topics do not have"),
        (REWRITES_2019 + "32_1\tAgain\r\n", r"resolved_v1\.0\.tsv:4: .* not a new turn id"),
        (REWRITES_2019.replace("\tTell", " Tell"), r"resolved_v1\.0\.tsv:3: "),
    ],
)
def test_cast_2019_refuses_what_does_not_fit(tmp_path: Path, rewrites: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cast.read_2019(*write_2019(tmp_path, rewrites))


def node(number: str, parent: str | None, said: str, rewrite: str = "") -> dict[str, str]:
    above = {} if parent is None else {"parent": parent}
    if not rewrite:
        return {"number": number, "participant": "System", "response": said, **above}
    user = {"participant": "User", "utterance": said, "manual_rewritten_utterance": rewrite}
    return {"number": number, **user, **above}


def test_cast_2022_follows_the_branch_to_the_root(tmp_path: Path) -> None:
    turns = [
        node("1-1", None, "Who flies kites?", "Who flies kites?"),
        node("1-2", "1-1", "Sailors do."),
        node("1-3", "1-2", "Why do they?", "Why do sailors fly kites?"),
        node("1-4", "1-3", "For the wind."),
        node("2-1", "1-2", "Since when?", "Since when do sailors fly kites?"),
        node("3-1", "1-4", "Which one?", "Which wind?"),
    ]
    path = write(tmp_path / "tree.json", json.dumps([{"number": 132, "turn": turns}]))
    (topic,) = cast.read_tree(path, 2022)
    found = {turn.number: (turn.history, turn.response) for turn in topic.turns}
    assert found == {
        "1-1": ((), ""),
        "1-3": (("Who flies kites?",), "Sailors do."),
        "2-1": (("Who flies kites?",), "Sailors do."),
        "3-1": (("Who flies kites?", "Why do they?"), "For the wind."),
    }
    write(path, json.dumps([{"number": 132, "turn": turns[:1] + turns[2:]}]))
    with pytest.raises(DataError, match=r"tree\.json: topic 132: .*1-2"):
        cast.read_tree(path, 2022)


def test_cast_a_year_may_be_absent_and_changes_no_other(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="no CAsT topic file"):
        cast.all_conversations(tmp_path)
    write_2019(tmp_path)
    alone = list(cast.reformulation(tmp_path, "train"))
    assert [row["example_id"] for row in alone] == ["trec_cast/31_2"]
    later = [
        {
            "number": 106 + i,
            "turn": [
                {"number": 1, "raw_utterance": f"a{i}", "manual_rewritten_utterance": "a", "passage": "p q"},
                {"number": 2, "raw_utterance": f"b{i}", "manual_rewritten_utterance": "b", "passage": "r"},
            ],
        }
        for i in range(10)
    ]
    write(tmp_path / "trec_cast/2021_manual_evaluation_topics_v1.0.json", json.dumps(later))
    together = list(cast.reformulation(tmp_path, "train"))
    assert together[:1] == alone and len(together) == 9
    assert together[1]["response"] == "p q"  # the answer before this turn, not the one after it
    with pytest.raises(MissingData, match="CAsT 2019 topic file"):
        list(cast.expansion(tmp_path / "other", "train"))


def test_cast_real_files() -> None:
    report = SourceReport()
    rows = real_rows("inters_query_reformulation_trec_cast", report)
    assert [len(part) for part in rows] == [854, 78, 88]
    assert report == {cast.FIRST_TURN: 50 + 25 + 26 + 18}
    turns: dict[int, list[cast.Turn]] = {}
    for topic in cast.all_conversations(RAW):
        turns.setdefault(topic.year, []).extend(topic.turns)
    assert {year: len(found) for year, found in turns.items()} == {2019: 479, 2020: 216, 2021: 239, 2022: 205}
    same = {year: sum(turn.utterance == turn.rewrite for turn in found) for year, found in turns.items()}
    # In the file of 2021 two more rewrites differ from the utterance by a blank only.
    assert (same[2020], same[2021]) == (29, 36 + 2)
    resolved = {row["example_id"]: row for part in rows for row in part}
    assert resolved["trec_cast/31_2"]["reformulations"] == "Is throat cancer treatable?"
    assert resolved["trec_cast/31_2"]["history"] == ["What is throat cancer?"]
    assert [len(part) for part in real_rows("inters_query_expansion_trec_cast")] == [39, 5, 5]


# CODEC

CODEC_TOPICS = {
    "economics-1": {"Domain": "finance", "Query": "Why kites?", "Guidelines": "Wind.\n\nAnd “rope”."},
    "history-2": {"Domain": "history", "Query": "Who flew?", "Guidelines": "Sailors."},
}


def test_codec_leaves_out_the_question_itself(tmp_path: Path) -> None:
    topics = write(tmp_path / "topics.json", json.dumps(CODEC_TOPICS))
    queries = write(
        tmp_path / "q.txt",
        "economics-1\tkite prices\nhistory-2\t- sailors\neconomics-1\twhy kites\neconomics-1\tKite prices\n",
    )
    report = SourceReport()
    first, second = codec.read_codec(topics, queries, report)
    assert first["guidelines"] == "Wind. And “rope”."
    assert (first["reformulations"], second["reformulations"]) == (["kite prices"], ["sailors"])
    assert report == {codec.SAME_AS_QUERY: 1, codec.REPEATED: 1}
    write(queries, "economics-1\ta\npolitics-3\tb\n")
    with pytest.raises(DataError, match=r"q\.txt:2: 'politics-3\\tb' is not a topic id"):
        codec.read_codec(topics, queries)
    write(topics, json.dumps({"economics-1": {"Query": "x", "Domain": "y"}}))
    with pytest.raises(DataError, match="topic economics-1 lacks Query, Domain or Guidelines"):
        codec.read_codec(topics, queries)


def test_codec_real_files() -> None:
    report = SourceReport()
    splits = real_rows("inters_query_reformulation_codec", report)
    assert [len(rows) for rows in splits] == [34, 4, 4]
    rows = [row for part in splits for row in part]
    assert sum(len(row["reformulations"]) for row in rows) == 386 - 42
    assert +report == {codec.SAME_AS_QUERY: 42}
    assert Counter(row["domain"] for row in rows) == {"finance": 14, "history": 14, "politics": 14}


# Query2Doc


def lines_of(*queries: str) -> str:
    return "".join(
        json.dumps({"query_id": str(i), "query": query, "pseudo_doc": f"About\n{query}." if query else ""})
        + "\n"
        for i, query in enumerate(queries)
    )


def test_query2doc_keeps_test_queries_out_of_training(tmp_path: Path) -> None:
    write(tmp_path / "query2doc/test.jsonl", lines_of("kite shops", ""))
    train = [f"query {i}" for i in range(40)]
    write(tmp_path / "query2doc/train.jsonl", lines_of(*train, "Kite  shops?", "query 7"))
    report = SourceReport()
    found = {name: list(query2doc.query2doc(tmp_path, name, report)) for name in SPLITS}
    assert [row["query"] for row in found["test"]] == ["kite shops"]
    assert found["test"][0]["pseudo_doc"] == "About kite shops."
    assert len(found["validation"]) in (4, 5) and len(found["train"]) + len(found["validation"]) == 41
    sides = {name: {group_key(row["query"]) for row in rows} for name, rows in found.items()}
    assert not sides["train"] & sides["validation"] and not sides["train"] & sides["test"]
    assert +report == {IN_OFFICIAL_TEST: 1, query2doc.EMPTY: 1}


def test_query2doc_caps_training(tmp_path: Path) -> None:
    write(tmp_path / "query2doc/test.jsonl", lines_of("kite shops"))
    write(tmp_path / "query2doc/train.jsonl", lines_of(*(f"query {i}" for i in range(10_500))))
    report = SourceReport()
    assert len(list(query2doc.query2doc(tmp_path, "train", report))) == 10_000
    assert len(list(query2doc.query2doc(tmp_path, "validation"))) == 200
    assert +report == {BEYOND_CAP: 300}


def test_query2doc_errors_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", lines_of("a") + '{"query_id": "1", "query": "b"}\n')
    with pytest.raises(DataError, match=r"train\.jsonl:2: .*pseudo_doc"):
        list(query2doc.iterate(path, "train"))
