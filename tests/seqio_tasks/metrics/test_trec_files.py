"""Run and judgment files: forms are sniffed, faults are named with file and line, written runs rank alike
anywhere.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqio_tasks.base import DataError
from seqio_tasks.metrics.ranking import evaluate_run, ranking_order
from seqio_tasks.metrics.trec_files import read_qrels, read_run, read_runs, write_run


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_trec_run_is_read_by_score_not_by_rank(tmp_path: Path) -> None:
    path = write(tmp_path / "run.txt", "q1 Q0 d2 1 0.5 tag\nq1\tQ0\td1\t2\t1e1\ttag\r\n\nq2 Q0 d1 1 -3 tag\n")
    assert read_run(path) == {"q1": {"d2": 0.5, "d1": 10.0}, "q2": {"d1": -3.0}}


def test_ms_marco_run_is_read_by_rank(tmp_path: Path) -> None:
    assert read_run(write(tmp_path / "run.tsv", "1\t7\t1\n1\t8\t2\n")) == {"1": {"7": -1.0, "8": -2.0}}


@pytest.mark.parametrize(
    "text, message",
    [
        ("q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 0.4\n", "run.txt:2: 5 fields"),
        ("q1 Q0 d1 1 0.5 tag\nq1 Q0 d1 2 0.4 tag\n", "run.txt:2: document 'd1' appears twice"),
        ("q1 Q0 d1 1 nan tag\n", "run.txt:1: 'nan' is not a finite number"),
        ("q1 Q0 d1 1 high tag\n", "run.txt:1: 'high' is not a finite number"),
        ("\n\n", "run.txt: the run file is empty"),
        ("q1 Q0 d one 1 0.5 tag\n", "run.txt:1: 7 fields"),
    ],
)
def test_faulty_runs_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_run(write(tmp_path / "run.txt", text))


def test_judgments_in_trec_and_beir_form(tmp_path: Path) -> None:
    expected = {"q1": {"d1": 1, "d2": -1}, "q2": {"d1": 2}}
    trec = "q1 0 d1 1\nq1 0 d2 -1\nq2\t0\td1\t2\n"
    beir = "query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\nq1\td2\t-1\r\nq2\td1\t2\r\n"
    assert read_qrels(write(tmp_path / "a", trec)) == expected
    assert read_qrels(write(tmp_path / "b", beir)) == expected
    with gzip.open(tmp_path / "c.gz", "wt") as file:
        file.write(trec)
    assert read_qrels(tmp_path / "c.gz") == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("q1 0 d1 1\nq1 0 d1 0\n", "qrels:2: document 'd1' of query 'q1' is judged 1 and 0"),
        ("q1 0 d1 x\n", "qrels:1: grade 'x' is not a whole number"),
        ("q1 0 d1 1 9\n", "qrels:1: 5 fields"),
        ("query-id\tcorpus-id\tscore\n", "qrels: the judgment file is empty"),
    ],
)
def test_faulty_judgments_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_qrels(write(tmp_path / "qrels", text))


_float32 = st.floats(-(2.0**100), 2.0**100, width=32)
_run = st.dictionaries(
    st.sampled_from(["q1", "q2"]),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "e", "10", "9"]),
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1e-45]), _float32),
        min_size=1,
    ),
    min_size=1,
)


@settings(max_examples=100, deadline=None)
@given(_run)
def test_written_scores_fall_strictly_and_keep_the_order(
    tmp_path_factory: pytest.TempPathFactory, run: dict
) -> None:
    path = tmp_path_factory.mktemp("runs") / "run.txt"
    write_run(path, run, "tag")
    back = read_run(path)
    for query, scores in run.items():
        written = np.asarray(list(back[query].values()), np.float32)
        assert (np.diff(written) < 0).all()
        assert list(back[query]) == ranking_order(scores)
    qrels = {query: {"a": 1, "9": 2} for query in run}
    ours = evaluate_run(qrels, run, ["nDCG@10", "RR@10"]).means
    measures = [ir_measures.parse_measure(name) for name in ours]
    theirs = ir_measures.calc_aggregate(measures, qrels, ir_measures.read_trec_run(str(path)))
    assert ours == pytest.approx({str(measure): value for measure, value in theirs.items()}, abs=1e-6)


def test_ties_may_keep_the_given_order(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"q": {"b": 1.0, "a": 1.0, "c": 2.0}}, "tag", ties="given")
    assert list(read_run(tmp_path / "run")["q"]) == ["c", "b", "a"]
    assert (tmp_path / "run").read_text().splitlines()[0] == "q Q0 c 1 2 tag"


def test_depth_cuts_the_run(tmp_path: Path) -> None:
    assert write_run(tmp_path / "run", {"q": {"b": 1.0, "a": 1.0, "c": 2.0}}, "tag", depth=2) == 2
    assert list(read_run(tmp_path / "run")["q"]) == ["c", "b"]


def test_ids_with_spaces_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has spaces"):
        write_run(tmp_path / "run", {"q": {"d 1": 1.0}}, "tag")
    with pytest.raises(DataError, match="one word"):
        write_run(tmp_path / "run", {"q": {"d1": 1.0}}, "my tag")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "numbers, reading, scores",
    [
        ("0.93 0.51 0.10", "scores", [0.93, 0.51, 0.10]),
        ("12 9 4", "scores", [12, 9, 4]),
        ("3 3 1", "scores", [3, 3, 1]),
        ("-1 -2 -3", "scores", [-1, -2, -3]),
        ("1 2 3", "ranks", [-1, -2, -3]),
        ("0 1 2", "ranks", [0, -1, -2]),
        ("2 3 1", "ranks", [-2, -3, -1]),
    ],
)
def test_three_columns_are_ranks_or_scores_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, numbers: str, reading: str, scores: list[float]
) -> None:
    lines = [f"q1\td{place}\t{number}\n" for place, number in enumerate(numbers.split())]
    path = write(tmp_path / "run.tsv", "".join(lines))
    assert list(read_run(path)["q1"].values()) == scores
    assert f"run.tsv: the third column is read as {reading}" in caplog.text and "RUN_FORMAT" in caplog.text
    sign = 1 if reading == "scores" else -1
    assert list(read_run(path, "scores")["q1"].values()) == [sign * score for score in scores]
    assert list(read_run(path, "ranks")["q1"].values()) == [-sign * score for score in scores]


@pytest.mark.parametrize("numbers, why", [("3 2 1", "fall from line to line"), ("1 3 4", "with gaps")])
def test_numbers_that_may_be_ranks_or_scores_are_refused(tmp_path: Path, numbers: str, why: str) -> None:
    lines = [f"q1\td{place}\t{number}\n" for place, number in enumerate(numbers.split())]
    path = write(tmp_path / "run.tsv", "".join(lines))
    with pytest.raises(DataError, match=rf"run\.tsv: .*ranks or scores.*{why}.*set RUN_FORMAT"):
        read_run(path)
    assert read_run(path, "ranks") and read_run(path, "scores")


def test_runs_are_joined_only_if_no_query_is_in_two(tmp_path: Path) -> None:
    one = write(tmp_path / "a.txt", "q1 Q0 d1 1 2 t\n")
    two = write(tmp_path / "b.txt", "q2 Q0 d1 1 2 t\n")
    assert read_runs([one, two]) == {"q1": {"d1": 2.0}, "q2": {"d1": 2.0}}
    write(two, "q1 Q0 d2 1 2 t\n")
    with pytest.raises(DataError, match=r"b\.txt: query 'q1' has results here and in a\.txt.*set RUN"):
        read_runs([one, two])


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        read_run(tmp_path / "none.txt")
