"""The journal of interrupted work: whole lines, a cut last line, other damage, other settings."""

import json
import logging

import pytest

from inters_jax.journal import Journal, read_objects
from seqio_tasks.base import UserError

SETTINGS = {"model": "m", "seed": 0}
ENTRIES = [{"query": "q1", "score": 0.1}, {"query": "Größe \u2028 \ud83d", "score": -2.5}, {"query": "q3"}]


def opened(tmp_path, settings=SETTINGS):
    return Journal(tmp_path / "new" / "work.jsonl", settings, todo="delete the file")


def test_a_journal_resumes_behind_its_last_entry(tmp_path):
    first = opened(tmp_path)
    assert len(first) == 0 and list(first) == []
    first.append(ENTRIES[:1])
    first.append(ENTRIES[1:2])
    again = opened(tmp_path)
    assert len(again) == 2 and list(again) == ENTRIES[:2]
    again.append(ENTRIES[2:])
    assert list(again) == list(opened(tmp_path)) == ENTRIES
    assert [number for number, _ in again.numbered()] == [2, 3, 4]


def test_the_file_is_json_lines_with_the_settings_first(tmp_path):
    journal = opened(tmp_path)
    journal.append(ENTRIES)
    lines = journal.path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [{"settings": SETTINGS}, *ENTRIES] and lines[-1] == ""
    assert "Größe" in lines[2] and r"\ud83d" in lines[2]  # readable, and UTF-8 whatever the text
    with (tmp_path / "copy.jsonl").open("wb") as file:
        journal.copy_entries(file)
    assert [entry for _, entry in read_objects(tmp_path / "copy.jsonl", todo="")] == ENTRIES


@pytest.mark.parametrize("cut", ['{"query": "q2", "sco', '{"query": "q2"}', "\x00\x00", "Gr\udcc3"])
def test_a_cut_last_line_is_removed_and_reported(tmp_path, caplog, cut):
    opened(tmp_path).append(ENTRIES[:1])
    path = tmp_path / "new" / "work.jsonl"
    before = path.read_bytes()
    damage = cut.encode("utf-8", "surrogateescape")
    path.write_bytes(before + damage)
    with caplog.at_level(logging.WARNING):
        again = opened(tmp_path)
    assert f"removed line 3, which was cut off after {len(damage)} bytes" in caplog.text
    assert path.read_bytes() == before and list(again) == ENTRIES[:1]
    again.append(ENTRIES[2:])
    assert list(opened(tmp_path)) == [ENTRIES[0], ENTRIES[2]]


def test_nothing_is_reported_about_a_whole_journal(tmp_path, caplog):
    opened(tmp_path).append(ENTRIES)
    with caplog.at_level(logging.WARNING):
        opened(tmp_path)
    assert not caplog.records


@pytest.mark.parametrize("start", ["", '{"settings": {"mod'])
def test_a_journal_cut_in_its_first_line_starts_over(tmp_path, start):
    path = tmp_path / "new" / "work.jsonl"
    path.parent.mkdir()
    path.write_text(start)
    assert len(opened(tmp_path)) == 0
    assert json.loads(path.read_text()) == {"settings": SETTINGS}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"work\.jsonl:3: not JSON \(.+\); delete the file"),
        ("", r"work\.jsonl:3: not JSON"),
        ("[1]", r"work\.jsonl:3: not a JSON object; delete the file"),
        ("\udcff", r"work\.jsonl:3: not JSON"),
    ],
)
def test_damage_before_the_last_line_is_refused_with_its_line(tmp_path, line, message):
    journal = opened(tmp_path)
    journal.append(ENTRIES)
    lines = journal.path.read_bytes().split(b"\n")
    lines[2] = line.encode("utf-8", "surrogateescape")
    journal.path.write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=message):
        list(opened(tmp_path))


@pytest.mark.parametrize("header", ['{"query": "q1"}', '{"settings": 3}', '{"settings": {}, "query": 1}'])
def test_another_file_is_not_taken_for_a_journal(tmp_path, header):
    path = tmp_path / "new" / "work.jsonl"
    path.parent.mkdir()
    path.write_text(header + "\n")
    with pytest.raises(UserError, match=r"work\.jsonl:1: expected settings, .*; delete the file"):
        opened(tmp_path)
    assert path.read_text() == header + "\n"


def test_other_settings_are_refused_by_name_and_change_nothing(tmp_path):
    opened(tmp_path).append(ENTRIES)
    path = tmp_path / "new" / "work.jsonl"
    before = path.read_bytes()
    other = {"model": "n", "seed": 0, "method": "setwise"}
    with pytest.raises(UserError, match="method was None and is now 'setwise'; model was 'm' and"):
        opened(tmp_path, other)
    with pytest.raises(UserError, match="seed was 0 and is now None"):
        opened(tmp_path, {"model": "m"})
    assert path.read_bytes() == before
    assert len(opened(tmp_path, {"seed": 0, "model": "m"})) == 3
