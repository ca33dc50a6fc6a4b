"""The answers of a task: they grow by chunks, survive a crash, and are not mixed with other answers."""

import json

import pytest

from inters_jax.evaluation.records import JOURNAL, PREDICTIONS, Records, read
from seqio_tasks.base import UserError

ROWS = [{"inputs_pretokenized": f"question {n}", "score": -0.1 * n} for n in range(4)]


def test_interrupted_answers_resume_behind_the_last_whole_line(tmp_path):
    first = Records(tmp_path, {"model": "m"})
    first.append(ROWS[:2])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"inputs_pretokenized": "cut')  # killed while writing
    again = Records(tmp_path, {"model": "m"})
    assert len(again) == 2 and list(again) == ROWS[:2]
    again.append(ROWS[2:])
    again.finish()
    assert not (tmp_path / JOURNAL).exists()
    assert list(read(tmp_path / PREDICTIONS)) == ROWS == list(again) and len(again) == 4


def test_answers_of_another_model_are_refused_by_name(tmp_path):
    Records(tmp_path, {"model": "m", "seed": 0}).append(ROWS)
    with pytest.raises(UserError, match="model was 'm' and is now 'other'; set another OUTPUT_DIR"):
        Records(tmp_path, {"model": "other", "seed": 0})


def test_answers_killed_before_their_first_line_start_over(tmp_path):
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
