"""The journal of answers: it grows by chunks, survives a crash, and refuses what belongs elsewhere."""

import json

import pytest

from inters_jax.evaluation.records import JOURNAL, PREDICTIONS, Records, read
from seqio_tasks.base import UserError

ROWS = [{"inputs_pretokenized": f"question {n}", "score": -0.1 * n} for n in range(4)]


def test_an_interrupted_journal_goes_on_behind_its_last_whole_line(tmp_path):
    first = Records(tmp_path, {"model": "m"})
    first.append(ROWS[:2])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"inputs_pretokenized": "torn')  # killed while writing
    again = Records(tmp_path, {"model": "m"})
    assert len(again) == 2 and list(again) == ROWS[:2]
    again.append(ROWS[2:])
    again.finish()
    assert not (tmp_path / JOURNAL).exists()
    assert list(read(tmp_path / PREDICTIONS)) == ROWS == list(again)


def test_answers_of_another_model_are_refused_by_name(tmp_path):
    Records(tmp_path, {"model": "m", "seed": 0}).append(ROWS)
    with pytest.raises(UserError, match="model is 'm' there and 'other' here; set another OUTPUT_DIR"):
        Records(tmp_path, {"model": "other", "seed": 0})


def test_a_journal_killed_before_its_first_line_begins_anew(tmp_path):
    (tmp_path / JOURNAL).write_text('{"settings": ')
    records = Records(tmp_path, {"model": "m"})
    assert len(records) == 0
    assert json.loads((tmp_path / JOURNAL).read_text()) == {"settings": {"model": "m"}}


def test_a_broken_line_of_saved_predictions_is_named(tmp_path):
    (tmp_path / PREDICTIONS).write_text('{"score": 1}\n[]\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl:2: not a JSON object"):
        list(read(tmp_path / PREDICTIONS))


def test_without_a_folder_records_stay_in_memory():
    records = Records()
    records.append(ROWS)
    records.finish()
    assert list(records) == ROWS and len(records) == 4
