"""Rewrites, clarifications, sessions and dialogues: hand-written traps, and the counts of the real files."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import PAIRS, pair
from seqio_tasks.prompts.encoding import encode_rows
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.settings import Settings
from seqio_tasks.sources import clarifications, dialogues, rewrites, sessions
from seqio_tasks.sources.common import Row, SourceReport
from seqio_tasks.sources.splits import IN_OFFICIAL_TEST, SPLITS, group_key

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "seqio_tasks" / "sample"
RAW = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def real(path: str) -> Path:
    if not (RAW / path).is_file():
        pytest.skip(f"no real file {RAW / path}: set INTERS_REAL_DATA to run this test")
    return RAW / path


def by_split(name: str, report: SourceReport | None = None, raw_dir: Path = RAW) -> list[list[Row]]:
    return [list(pair(name).rows(raw_dir, split, report=report)) for split in SPLITS]


# QReCC


def turn(conversation: int, number: int, question: str, rewrite: str, answer: str) -> dict[str, Any]:
    return {
        "Context": ["as rewritten", "x"] * (number - 1), "Question": question, "Rewrite": rewrite,
        "Answer": answer, "Answer_URL": "", "Conversation_no": conversation, "Turn_no": number,
        "Conversation_source": "nq",
    }  # fmt: skip


def test_qrecc_history_is_what_was_asked_not_what_was_rewritten(tmp_path: Path) -> None:
    records = [
        turn(1, 3, "And why?", "Why are kites red?", "Nobody knows."),  # out of order
        turn(1, 1, "What are kites?", "What are kites?", "Things  that\nfly."),
        turn(2, 1, "What is rope?", "What is rope?", "String."),
        turn(1, 2, "Are they red?", "Are kites red?", ""),
    ]
    rows, keys = rewrites.read_qrecc(write(tmp_path / "q.json", json.dumps(records)), "train")
    assert [row["example_id"] for row in rows] == [f"qrecc/train/{n}" for n in ("1_1", "1_2", "1_3", "2_1")]
    assert rows[0]["context"] == rewrites.NOTHING_BEFORE
    assert rows[2]["context"] == ["User: What are kites?", "System: Things that fly.", "User: Are they red?"]
    assert (rows[2]["title"], rows[2]["reformulations"]) == ("And why?", "Why are kites red?")
    assert keys == [group_key("What are kites?")] * 3 + [group_key("What is rope?")]
    assert "as rewritten" not in str(rows)


def test_qrecc_counts_turns_without_history_or_rewrite_and_refuses_doubled_ones(tmp_path: Path) -> None:
    records = [turn(1, 1, "A?", "A?", "a"), turn(1, 3, "C?", "C?", "c"), turn(2, 1, "D?", "", "d")]
    report = SourceReport()
    path = write(tmp_path / "q.json", json.dumps(records))
    assert [row["title"] for row in rewrites.read_qrecc(path, "train", report).rows] == ["A?"]
    assert report == {rewrites.TURNS_MISSING: 1, rewrites.NO_REWRITE: 1}
    write(path, json.dumps([*records, turn(2, 1, "D?", "D?", "d")]))
    with pytest.raises(DataError, match=r"q\.json: record 4: conversation 2 has two turns 1"):
        rewrites.read_qrecc(path, "train")
    write(path, json.dumps([{"Question": "A?"}]))
    with pytest.raises(DataError, match=r"record 1: not a QReCC turn \(KeyError: 'Conversation_no'\)"):
        rewrites.read_qrecc(path, "train")
    write(path, '{"a": 1}')
    with pytest.raises(DataError, match="not a JSON array of objects, as a QReCC file is"):
        rewrites.read_qrecc(path, "train")


def test_qrecc_conversations_that_begin_like_a_test_one_are_not_trained_on(tmp_path: Path) -> None:
    train = [turn(n, k, f"Begin {n}" if k == 1 else "And?", "r", "a") for n in range(9) for k in (1, 2)]
    write(tmp_path / "qrecc" / "qrecc_train.json", json.dumps(train))
    write(tmp_path / "qrecc" / "qrecc_test.json", json.dumps([turn(1, 1, "begin 4?", "r", "a")]))
    report = SourceReport()
    parts = by_split("inters_query_reformulation_qrecc", report, tmp_path)
    assert [len(part) for part in parts] == [14, 2, 1]
    assert report == {IN_OFFICIAL_TEST: 2}


# CANARD and GECOR


def test_canard_begins_with_article_and_section(tmp_path: Path) -> None:
    record = {"QuAC_dialog_id": "C_1", "Question": "And then?", "Rewrite": "What came after kites?"}
    records = [
        record | {"History": ["Toys", "Age of kites"], "Question_no": 1},
        record | {"History": ["Toys", "Age of kites", "When?", "Long ago."], "Question_no": 2},
    ]
    path = write(tmp_path / "dev.json", json.dumps(records))
    (first, second), keys = rewrites.read_canard(path, "dev")
    assert (first["context"], first["history"]) == ("Toys - Age of kites", rewrites.NOTHING_BEFORE)
    assert second["history"] == ["User: When?", "System: Long ago."]
    assert second["example_id"] == "canard/dev/C_1_2" and len(set(keys)) == 1
    write(path, json.dumps([records[1] | {"Question_no": 3}]))
    with pytest.raises(DataError, match="question 3 of C_1 has 4 history entries, expected 6"):
        rewrites.read_canard(path, "dev")


def test_gecor_task_number_is_no_part_of_the_goal(tmp_path: Path) -> None:
    def said(number: int, text: str, complete: str, answer: str) -> dict[str, Any]:
        user = {"transcript": text, "transcript_complete": complete, "transcript_with_ellipsis": ""}
        return {"turn": number, "usr": user, "sys": {"sent": answer}}

    dialogue = {
        "dialogue_id": 3,
        "goal": {"text": "Task 00042: You want soup."},
        "dial": [
            said(0, "Soup? ", "Soup?", "Hot soup."),
            said(1, "How much is it?", "How much is soup?", ""),
        ],
    }
    path = write(tmp_path / "c.json", json.dumps([dialogue]))
    (first, second), _ = rewrites.read_gecor(path)
    assert first == {
        "example_id": "gecor/3_0", "goal": "You want soup.", "context": rewrites.NOTHING_BEFORE,
        "title": "Soup?", "reformulations": "Soup?",
    }  # fmt: skip
    assert second["context"] == ["User: Soup?", "System: Hot soup."]
    dialogue["dial"][1]["usr"]["transcript_complete"] = " "  # type: ignore[index]
    write(path, json.dumps([dialogue]))
    with pytest.raises(DataError, match="record 1: turn 1 of dialogue 3 has an empty utterance"):
        rewrites.read_gecor(path)


# MIMICS-Duo, ClariQ-FKw, RaoCQ

DUO = ["query", "question", *(f"option_{i}" for i in range(1, 6)),
       *(f"Quality_Option{i}" for i in range(1, 6)), "OverallClarificationPaneQuality"]  # fmt: skip


def test_mimics_duo_with_and_without_its_empty_columns(tmp_path: Path) -> None:
    panes = [
        ["kites", "Which?", "glass", "paper", "silk", "", "", "4", "3", "5", "", "", "4"] + [""] * 8,
        ["ropes", "Which?", "a", "b", "c", "d", "e", "5", "5", "4", "4", "1", "5"],  # 13 columns
        ["tides", "Which?", "low", "", "", "", "", "3", "", "", "", "", "2"] + [""] * 8,
    ]
    path = write(tmp_path / "d.tsv", "\n".join("\t".join(row) for row in [DUO + [""] * 8, *panes]))
    report = SourceReport()
    rows = clarifications.read_mimics_duo(path, report)
    assert [row["clarification"] for row in rows] == [["glass", "silk"], ["a", "b", "c", "d"]]
    assert report == {clarifications.NO_GOOD_OPTION: 1}
    panes[2][7] = "7"
    write(path, "\n".join("\t".join(row) for row in [DUO, *panes]))
    with pytest.raises(DataError, match=r"d\.tsv:4: option 1 is 'low' with quality '7'"):
        clarifications.read_mimics_duo(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("junk", "1 columns, header has 13"),
        ("kites\tWhich?\tglass\tpaper\tsilk", "5 columns, header has 13"),
        ("kites\tWhich?\tglass\tpaper\tsilk\t\t\t4\t3\t5\t\t", "12 columns, header has 13"),
        ("kites\tWhich?" + "\t" * 11, "empty query or option 1"),
    ],
)
def test_cut_and_junk_lines_of_mimics_duo_are_refused(tmp_path: Path, line: str, message: str) -> None:
    pane = ["kites", "Which?", "glass", "paper", "silk", "", "", "4", "3", "5", "", "", "4"]
    text = "\n".join(["\t".join(DUO + [""] * 8), "\t".join(pane), line])
    with pytest.raises(DataError, match=rf"d\.tsv:3: {message}"):
        clarifications.read_mimics_duo(write(tmp_path / "d.tsv", text))


def test_all_questions_of_a_request_are_references(tmp_path: Path) -> None:
    header = "\ttopic_id\tinitial_request\tfacet_desc\tquestion"
    body = ["0\t1\tTell me about rope.\tuse\tdo you need uses", "4\t2\tkites\tx\twhich kites",
            "5\t1\tTell me about rope.\tage\thow old"]  # fmt: skip
    path = write(tmp_path / "ClariQ-FKw.tsv.dev", "\n".join([header, *body]))
    rows = clarifications.read_clariq_fkw(path, "dev")
    assert [row["references"] for row in rows] == [["do you need uses", "how old"], ["which kites"],
                                                   ["do you need uses", "how old"]]  # fmt: skip
    assert [row["clarification"] for row in rows] == ["do you need uses", "which kites", "how old"]


def test_the_surer_annotator_chooses_and_the_first_of_equals(tmp_path: Path) -> None:
    text = (
        "a_unix_setno_1,7,5,0 5,1\tb_unix_setno_1,7,3,3,2\na_unix_setno_1,8,2,2,1\tb_unix_setno_1,8,0,0 1,1\n"
    )
    path = write(tmp_path / "human_annotations", text)
    chosen = clarifications.read_annotations(path)
    assert {name: entry.best for name, entry in chosen.items()} == {"unix_7": 3, "unix_8": 2}
    write(path, text + "a_unix_setno_1,9,12,0,1\tb_unix_setno_1,9,0,0 1,1\n")
    with pytest.raises(DataError, match=r"human_annotations:3: not an annotation \(best question 12 of 10\)"):
        clarifications.read_annotations(path)
    write(path, "a_unix_setno_1,9,1,0,1\tb_unix_setno_1,10,0,0 1,1\n")
    with pytest.raises(DataError, match="human_annotations:1: the annotators judge different posts"):
        clarifications.read_annotations(path)


def test_raocq_joins_three_files_of_any_site(tmp_path: Path) -> None:
    site = tmp_path / "raocq" / "data" / "unix.stackexchange.com"
    columns = ["postid", *(f"q{i}" for i in range(1, 11)), *(f"a{i}" for i in range(1, 11))]
    posts = "".join(f'unix_{n}\ttitle {n}\tsay `x` "y {n}\n' for n in range(20))
    questions = "".join(
        "\t".join([f"unix_{n}"] + [f"q {n} {i} ?" for i in range(20)]) + "\n" for n in range(20)
    )
    write(site / "post_data.tsv", "postid\ttitle\tpost\n" + posts)
    write(site / "qa_data.tsv", "\t".join(columns) + "\n" + questions)
    write(
        site / "human_annotations",
        "".join(f"a_unix_setno_1,{n},4,4,2\tb_unix_setno_1,{n},0,0,1\n" for n in range(10, 21)),
    )
    report = SourceReport()
    parts = by_split("inters_query_clarification_raocq", report, tmp_path)
    assert [len(part) for part in parts] == [8, 1, 1]
    assert report == {clarifications.NO_POST: 1}  # post 20 is annotated and nowhere to be found
    row = next(row for part in parts for row in part if row["example_id"] == "raocq/unix_13")
    assert (row["title"], row["description"]) == ("title 13", 'say `x` "y 13')
    assert row["clarification"] == "q 13 4 ?"


# Sessions


def log(*rows: tuple[int, str, str] | tuple[int, str, str, str]) -> str:
    """(user, time of day, query[, clicked address])"""
    lines = ["AnonID\tQuery\tQueryTime\tItemRank\tClickURL"]
    for user, time, query, *click in rows:
        lines.append(f"{user}\t{query}\t2006-03-01 {time}\t{'1' if click else ''}\t{''.join(click)}")
    return "\n".join(lines) + "\n"


def found_sessions(path: Path) -> tuple[list[sessions.Session], Counter[str]]:
    report: Counter[str] = Counter()
    return list(sessions.sessions(sessions.read_log(path), report)), report


def test_a_session_ends_with_the_user_or_a_pause_of_more_than_half_an_hour(tmp_path: Path) -> None:
    text = log(
        (1, "08:00:00", "kites"),
        (1, "08:05:00", "glass kites", "http://a.example.org"),
        (1, "08:06:00", "glass kites", "http://b.example.org"),
        (1, "08:36:00", "kite  shop"),  # exactly thirty minutes
        (1, "09:06:01", "ropes"),
        (2, "09:07:00", "ropes"),
        (2, "09:08:00", "rope knots"),
    )
    found, report = found_sessions(write(tmp_path / "log.txt", text))
    assert [session.queries for session in found] == [
        ("kites", "glass kites", "kite shop"), ("ropes", "rope knots"),
    ]  # fmt: skip
    assert found[0].clicks == ((), ("http://a.example.org", "http://b.example.org"), ())
    assert report == {sessions.SHORT: 1}
    assert sessions.row_of(found[0], "aol/1") == {
        "example_id": "aol/1",
        "history_queries": ["kites", "glass kites"],
        "history_docs": ["http://a.example.org", "http://b.example.org"],
        "context": [
            "searched: kites", "searched: glass kites", "opened: http://a.example.org",
            "opened: http://b.example.org",
        ],
        "target_query": "kite shop",
    }  # fmt: skip


def test_sessions_with_personal_marks_or_repeated_ends_are_left_out(tmp_path: Path) -> None:
    text = log(
        (1, "08:00:00", "someone@example.org"), (1, "08:01:00", "letters"),
        (2, "08:00:00", "ring 555 0100 22"), (2, "08:01:00", "call"),
        (3, "08:00:00", "kites"), (3, "08:01:00", "ropes"), (3, "08:02:00", "kites"),
        (4, "08:00:00", "-"), (4, "08:01:00", "area 51 2006"), (4, "08:02:00", "area 51 map"),
    )  # fmt: skip
    found, report = found_sessions(write(tmp_path / "log.txt", text))
    assert [session.queries for session in found] == [("area 51 2006", "area 51 map")]
    assert report == {sessions.PERSONAL: 2, sessions.REPEATED: 1, sessions.PLACEHOLDER: 1}


def test_long_sessions_keep_the_last_queries() -> None:
    searches = [
        sessions.Search("1", f"q{n}", datetime(2006, 3, 1, 8, n), "", n)
        for n in range(sessions.LONGEST_HISTORY + 5)
    ]
    (session,) = sessions.sessions(iter(searches), Counter())
    assert len(session.queries) == len(session.clicks) == sessions.LONGEST_HISTORY + 1
    assert session.queries[-1] == "q14" and session.queries[0] == "q4"


def test_broken_log_lines_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "l.txt", log((1, "08:00:00", "kites"), (1, "25:00:00", "ropes")))
    with pytest.raises(DataError, match=r"l\.txt:3: not a line of the log"):
        list(sessions.read_log(path))
    with pytest.raises(DataError, match=r"l\.txt:1: not a line of the log \(header"):
        list(sessions.read_log(write(path, "1\tkites\t2006-03-01 08:00:00\t\t\n")))


def test_the_log_may_be_packed_and_user_numbers_stay_out_of_the_rows(tmp_path: Path) -> None:
    user = 987654
    text = log(*((user + n, f"08:{k:02d}:00", f"{'word ' * k}{n}") for n in range(40) for k in range(3)))
    name = "user-ct-test-collection-07.txt"
    write(tmp_path / "plain" / "aol" / name, text)
    write(tmp_path / "packed" / "aol" / "AOL" / f"{name}.gz", gzip.compress(text.encode()))
    parts = [by_split("inters_query_suggestion_aol", None, tmp_path / form) for form in ("plain", "packed")]
    assert parts[0] == parts[1] and [len(part) for part in parts[0]] == [32, 4, 4]
    assert "9876" not in str(parts)


def test_common_beginnings_are_capped_and_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ENOUGH", 50)
    rows = [
        (n, f"08:0{k}:00", f"begin {n % 300}" if k == 0 else f"end {n}") for n in range(1500) for k in (0, 1)
    ]
    write(tmp_path / "aol" / "user-ct-test-collection-01.txt", log(*rows))
    report = SourceReport()
    parts = by_split("inters_query_suggestion_aol", report, tmp_path)
    kept = [row for part in parts for row in part]
    assert 50 - sessions.MOST_PER_QUERY <= len(kept) <= 100
    assert len(kept) + report[sessions.COMMON] + report[sessions.NOT_NEEDED] == 1500
    starts = Counter(row["history_queries"][0] for row in kept)
    # The groups kept whole are those of the smallest hashes, whichever order they came in.
    assert set(starts.values()) == {sessions.MOST_PER_QUERY}
    order = sorted({f"begin {n}" for n in range(300)}, key=lambda text: sessions.stable_hash(group_key(text)))
    assert set(starts) == set(order[: len(starts)])


# MANtIS


def dialogue(title: str, *said: tuple[str, str, list[str] | None], labelled: bool = True) -> dict[str, Any]:
    utterances = []
    for place, (actor, text, codes) in enumerate(said, start=1):
        entry: dict[str, Any] = {"actor_type": actor, "utterance_pos": place, "utterance": text}
        utterances.append(entry if codes is None else entry | {"intent": codes})
    found: dict[str, Any] = {"category": "diy", "title": title, "utterances": utterances}
    return found | {"has_intent_labels": True} if labelled else found


def test_mantis_utterances_with_several_intents(tmp_path: Path) -> None:
    talk = dialogue(
        "Kite  falls", ("user", "It falls.\nWhy?", ["OQ"]), ("agent", "Hm", None),
        ("agent", "Wind? Hi.", ["IR", "GG", "IR"]), ("user", "", ["FD"]),
    )  # fmt: skip
    content = json.dumps({"1": dialogue("x", ("user", "y", ["OQ"]), labelled=False), "2": talk})
    path = write(tmp_path / "m.json", content)
    report = SourceReport()
    rows, keys = dialogues.read_mantis(path, "train", report)
    assert [row["query_type"] for row in rows] == [
        "original question", "information request, greetings / gratitude",
    ]  # fmt: skip
    assert rows[0]["context"] == [] and rows[0]["turn_title"] == "It falls. Why?"
    assert rows[1]["context"] == ["user: It falls. Why?", "agent: Hm"]
    assert rows[1]["example_id"] == "mantis/train/2_3" and keys == [group_key("kite falls")] * 2
    assert report == {dialogues.NO_LABEL: 1, dialogues.NO_TEXT: 1}
    write(path, content.replace('"FD"', '"FX"'))
    with pytest.raises(DataError, match=r"dialogue 2: .*intent 'FX' is none of OQ, FD"):
        dialogues.read_mantis(path, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"title": "x"}]', r"m\.json:1: .*"),
        ('{\n"1": {"title": "x"},\n"2" {}}', r"m\.json:3: .*"),
        ('{\n"1": {"title": "x"},\n"2": {"title": }}', r"m\.json:3: not JSON"),
        ('{"1": {"title": "x"}', r"m\.json:1: .*"),
    ],
)
def test_broken_dialogue_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dialogues.read_mantis(write(tmp_path / "m.json", text), "train")


def test_an_empty_dialogue_file_has_no_rows(tmp_path: Path) -> None:
    assert dialogues.read_mantis(write(tmp_path / "m.json", " { } \n"), "test") == ([], [])


class _Characters:
    """A vocabulary of characters, to look at prompts and answers as text."""

    eos_id, bos_id = None, None

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return [ord(letter) for letter in text], [(i, i + 1) for i in range(len(text))]


def test_several_labels_are_one_answer_in_training_and_single_ones_when_scored() -> None:
    entry = pair("inters_query_intent_classification_mantis")
    rows = list(entry.rows(SAMPLE, "train"))
    several = next(row for row in rows if "," in row["query_type"])
    rendered = render(several, entry, variant=Variant(shots=2), demonstrations=rows, seed=0)
    assert rendered.targets == several["query_type"] and rendered.choices == entry.labels
    encoded = list(
        encode_rows(
            [several], entry, _Characters(), Settings(), variant=Variant(shots=0), choices=True, split="test"
        )
    )
    assert [item.example.targets for item in encoded] == list(entry.labels)
    assert {item.example.extras["gold"] for item in encoded} == {several["query_type"]}
    with pytest.raises(DataError, match="label 'thanks, other' is not in the label set"):
        render(several | {"query_type": "thanks, other"}, entry, variant=Variant(shots=0), seed=0)


# The sample, and all readers


def test_the_sample_log_is_invented() -> None:
    rows = [row for part in by_split("inters_query_suggestion_aol", None, SAMPLE) for row in part]
    assert len(rows) > 60 and "@" not in str(rows)
    assert all(url.endswith(".example.org") for row in rows for url in row["history_docs"])


def test_a_folder_without_the_files_is_said(tmp_path: Path) -> None:
    own = [entry for entry in PAIRS if entry.loader.rpartition(".")[2].split(":")[0] in
           ("rewrites", "clarifications", "sessions", "dialogues")]  # fmt: skip
    assert len(own) == 8
    for entry in own:
        (tmp_path / entry.folder).mkdir()
        for split in SPLITS:
            with pytest.raises(MissingData, match=f"{entry.folder}"):
                list(entry.rows(tmp_path, split))


# Real files


def test_real_gecor_is_read_completely() -> None:
    real("gecor/CamRest676_annotated.json")
    parts = by_split("inters_query_reformulation_gecor")
    rows = [row for part in parts for row in part]
    assert [len(part) for part in parts] == [2340, 202, 202] and len(rows) == 2744
    assert sum(row["title"] == row["reformulations"] for row in rows) == 1539
    assert len({row["example_id"].split("_")[0] for row in rows}) == 676
    assert not any(row["goal"].startswith("Task") for row in rows)
    dialogues_of = [{row["example_id"].split("_")[0] for row in part} for part in parts]
    assert not dialogues_of[0] & dialogues_of[2] and not dialogues_of[0] & dialogues_of[1]
    row = next(row for row in rows if row["example_id"] == "gecor/0_2")
    assert row["reformulations"] == "What is the address of Chiquito Restaurant Bar?"
    assert len(row["context"]) == 4


def test_real_clariq_fkw() -> None:
    real("clariq_fkw/ClariQ-FKw.tsv.train")
    report = SourceReport()
    parts = by_split("inters_query_clarification_clariq_fkw", report)
    assert [len(part) for part in parts] == [1580, 176, 425] and not +report
    assert len({row["title"] for row in parts[2]}) == 50
    assert len({row["title"] for part in parts[:2] for row in part}) == 187
    assert all(row["clarification"] in row["references"] for part in parts for row in part)


def test_real_qrecc_records() -> None:
    rows = rewrites.read_qrecc(real("qrecc/qrecc_train.json"), "train").rows
    assert [row["example_id"] for row in rows] == ["qrecc/train/1_1", "qrecc/train/1_2", "qrecc/train/1_3"]
    assert (
        rows[2]["context"][2] == "User: Did Gary sing well?"
    )  # "Did Gary Cherone ..." in the file's Context
    assert rows[1]["reformulations"] == "Did Gary Cherone sing well?"
    report = SourceReport()
    assert rewrites.read_qrecc(real("qrecc/qrecc_test.json"), "test", report).rows == []
    assert report == {rewrites.TURNS_MISSING: 1}  # the one record at hand is a third turn


def test_real_raocq_annotations_fit_the_questions() -> None:
    path = real("raocq/human_annotations")
    chosen = clarifications.read_annotations(path)
    assert len(chosen) == 500
    assert Counter(entry.site for entry in chosen.values()) == {
        "superuser": 250,
        "askubuntu": 160,
        "unix": 90,
    }
    assert Counter(entry.best for entry in chosen.values())[0] > 200
    ids = {line.strip() for line in (path.parent / "test_ids").read_text(encoding="utf-8").splitlines()}
    assert set(chosen) <= ids
    with pytest.raises(MissingData, match=r"no post_data\.tsv"):
        next(iter(pair("inters_query_clarification_raocq").rows(RAW, "train")))


def test_real_mantis_utterances_survive(tmp_path: Path) -> None:
    """The labelled files are not at hand; real utterances without labels are, and get invented ones here."""
    blocks = real("mantis/labels.txt").read_text(encoding="utf-8").split("==================\n")
    content: dict[str, Any] = {}
    for block in blocks:
        number, *turns = block.strip().split("\n\n") if block.strip() else [""]
        head, _, first = number.partition("\n")
        said = [turn.partition("\n") for turn in (first, *turns) if turn.startswith(("user\n", "agent\n"))]
        content[head] = dialogue(f"thread {head}", *((who, text, ["FD", "PA"]) for who, _, text in said))
    path = write(tmp_path / "merged_train_intents.json", json.dumps(content))
    rows, _ = dialogues.read_mantis(path, "train")
    assert len(content) > 90 and len(rows) > 400
    assert all(row["turn_title"] and row["query_type"] == "further details, potential answer" for row in rows)


def test_real_canard_dev() -> None:
    rows, keys = rewrites.read_canard(real("canard/dev.json"), "dev")
    assert (len(rows), len(set(keys))) == (3430, 471)
    assert sum(row["title"] == row["reformulations"] for row in rows) == 200


def test_real_mimics_duo() -> None:
    real("mimics_duo/Task2-QualityLabelling.tsv")
    report = SourceReport()
    parts = by_split("inters_query_clarification_mimics_duo", report)
    assert [len(part) for part in parts] == [727, 94, 93]
    assert report == {clarifications.NO_GOOD_OPTION: 120}
