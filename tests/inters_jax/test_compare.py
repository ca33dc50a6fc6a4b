"""Comparisons of runs and evaluations, in Python and from the command line, by values worked out by hand."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import gin
import numpy as np
import pytest

from inters_jax import compare as command
from inters_jax.compare import main, plain_arguments
from inters_jax.evaluation.comparison import CompareError, Options, Values, compare_runs, compare_values
from inters_jax.evaluation.comparison_files import compare_run_files, named_paths
from inters_jax.evaluation.verify import main as verify
from inters_jax.reports import comparison_page
from seqio_tasks.base import file_sha256
from seqio_tasks.metrics import evaluate_run, write_run
from seqio_tasks.metrics.measures import split_measures

QRELS = {f"q{i}": {"a": 1} for i in range(4)}
# RR of the three runs: 1/2 1/2 1/2 1/2; 1 1 1 1/2; 1 1/3 1 1.
ONE = {query: {"b": 2.0, "a": 1.0} for query in QRELS}
TWO = {query: {"b": 1.0 + 2.0 * (query == "q3"), "a": 2.0} for query in QRELS}
THREE = {q: {"a": 3.0, "b": 2.0, "c": 1.0} for q in QRELS} | {"q1": {"a": 1.0, "b": 2.0, "c": 3.0}}


@pytest.fixture(autouse=True)
def clean_gin() -> Any:
    gin.clear_config()
    yield
    gin.clear_config()


def test_runs_by_hand() -> None:
    found = compare_runs({"one": ONE, "two": TWO, "three": THREE}, QRELS, ["RR@10"])
    (table,) = found.tables
    assert (table.items, table.systems, table.measures) == (
        ("q0", "q1", "q2", "q3"),
        found.systems,
        ("RR@10",),
    )
    assert table.means["RR@10"].tolist() == pytest.approx([0.5, 0.875, 5 / 6])
    np.testing.assert_allclose(table.values["RR@10"][2], [1.0, 1 / 3, 1.0, 1.0])
    first, second, third = found.tests
    assert (first.one, first.other, first.wins, first.ties, first.losses) == ("one", "two", 3, 1, 0)
    assert first.difference == pytest.approx(0.375) and first.p_value == 2 / 8  # all three signs alike
    assert (second.one, second.other, second.wins, second.losses) == ("one", "three", 3, 1)
    # Of 1/2, -1/6, 1/2, 1/2 with 16 signs: at least |4/3| have all alike, or only the small one turned.
    assert second.p_value == 4 / 16
    assert (third.one, third.other) == ("two", "three") and (third.wins, third.ties, third.losses) == (
        1,
        2,
        1,
    )
    assert third.p_value == 1.0  # of -2/3 and 1/2 the sum is the smallest there is
    assert [test.p_adjusted for test in found.tests] == [0.75, 0.75, 1.0]  # 3, 2 and 1 times
    assert table.exact and table.intervals["RR@10"][0].tolist() == [0.5, 0.5]
    assert first.low <= first.difference <= first.high
    text = comparison_page.markdown(found)
    assert "one → two" in text and "3 / 1 / 0" in text and "0.8750" in text


def test_runs_over_different_queries_are_refused_with_their_number() -> None:
    short = {query: TWO[query] for query in ("q0", "q1")}
    with pytest.raises(CompareError, match=r"two has no results for 2 of 4 judged queries \(q2, q3\)"):
        compare_runs({"one": ONE, "two": short}, QRELS, ["RR@10"])
    found = compare_runs({"one": ONE, "two": short}, QRELS, ["RR@10"], missing="zero")
    assert found.tables[0].means["RR@10"].tolist() == [0.5, 0.5]
    assert "two has no results for 2 of 4 judged queries (q2, q3): they count 0." in found.tables[0].notes
    with pytest.raises(CompareError, match="none of its 1 queries is judged"):
        compare_runs({"one": ONE, "two": {"z": {"a": 1.0}}}, QRELS, ["RR@10"])
    with pytest.raises(CompareError, match="'refuse' or 'zero'"):
        compare_runs({"one": ONE, "two": TWO}, QRELS, ["RR@10"], missing="skip")


def test_queries_without_judgments_or_without_results_are_said() -> None:
    more = QRELS | {"q9": {"a": 1}}
    found = compare_runs({"one": ONE | {"z": {"a": 1.0}}, "two": TWO}, more, ["RR@10", "nDCG@10"])
    notes = found.tables[0].notes
    assert "one: 1 of its queries are not judged and left out." in notes
    assert "1 of 5 judged queries are in no run: they count 0 for all." in notes
    assert found.tables[0].means["RR@10"][1] == pytest.approx(3.5 / 5)
    assert len(found.tests) == 2 and len(found.tables[0].items) == 5


def test_a_score_that_is_no_number_is_refused_with_its_run() -> None:
    bad = TWO | {"q1": {"a": float("nan")}}
    with pytest.raises(CompareError, match="two: query 'q1', document 'a'"):
        compare_runs({"one": ONE, "two": bad}, QRELS, ["RR@10"])


def test_systems_with_other_items_are_refused() -> None:
    values = {"f1": {"a": {"1": 1.0, "2": 0.0}, "b": {"1": 1.0, "3": 0.0}}}
    with pytest.raises(CompareError, match="task, f1: a has 2 items, b 2; 1 are the same"):
        compare_values([Values("task", values)])
    with pytest.raises(CompareError, match="nothing to compare"):
        compare_values([])


def run_files(folder: Path) -> list[str]:
    for name, run in (("one", ONE), ("two", TWO)):
        write_run(folder / f"{name}.trec", run, name)
    lines = [
        f"{query} 0 {document} {grade}\n" for query, row in QRELS.items() for document, grade in row.items()
    ]
    (folder / "qrels.txt").write_text("".join(lines))
    return [str(folder / "one.trec"), str(folder / "two.trec"), "--qrels", str(folder / "qrels.txt")]


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = run_files(tmp_path)
    out = tmp_path / "out"
    found = main([*arguments, "--measures=RR@10,recall_5", f"--output_dir={out}", "--gin.INTERVAL=bca"])
    assert found.options == Options(interval="bca") and found.systems == ("one", "two")
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == (out / "compare.md").read_text().rstrip("\n")
    written = json.loads((out / "compare.json").read_text())
    assert written["inputs"]["one"]["path"] == arguments[0] and len(written["inputs"]["two"]["sha256"]) == 64
    (table,) = written["tables"]
    expected = evaluate_run(QRELS, TWO, ["RR@10", "R@5"])
    for measure in ("RR@10", "R@5"):
        own = dict(zip(table["items"], table["values"][measure][1], strict=True))
        assert own == expected.per_query[measure]
        assert table["means"][measure][1] == expected.means[measure]
    assert {test["measure"] for test in table["tests"]} == {"RR@10", "R@5"}


@pytest.mark.parametrize(
    "change, message",
    [
        (["--measures", "nDGC@10"], "compare: unknown ranking measure 'nDGC@10'"),
        (["--gin.LEVLE=1"], "did you mean LEVEL"),
        (["--gin.SAMPLES=0"], "SAMPLES=0 must be a whole number of at least 1"),
        (["--gin.INTERVAL=normal"], "compare: INTERVAL='normal' must be 'percentile', 'bca'"),
        (["nowhere.trec"], "compare: nowhere.trec: no such file or folder"),
        (["--missing"], "compare: --missing needs a value"),
    ],
)
def test_what_cannot_be_meant_ends_with_one_line(tmp_path: Path, change: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main([*run_files(tmp_path), *change])


def test_a_run_of_scores_in_three_columns_compares_as_its_trec_form(tmp_path: Path) -> None:
    arguments = run_files(tmp_path)
    rows = [f"{q}\t{d}\t{s + 0.25}" for q, scores in ONE.items() for d, s in scores.items()]
    (tmp_path / "three.tsv").write_text("\n".join(rows))
    paths = {"one": tmp_path / "one.trec", "three": tmp_path / "three.tsv"}
    (table,) = compare_run_files(paths, tmp_path / "qrels.txt", ["RR@10"]).tables
    assert table.means["RR@10"].tolist() == [0.5, 0.5]
    assert plain_arguments([*arguments, "--run_format", "scores"])[-2] == "--gin.RUN_FORMAT='scores'"


def test_run_files_need_judgments(tmp_path: Path) -> None:
    one, two, _, qrels = run_files(tmp_path)
    with pytest.raises(SystemExit, match="run files need their judgments"):
        main([one, two])
    with pytest.raises(SystemExit, match="different runs are needed"):
        main([one, one, "--qrels", qrels])
    with pytest.raises(SystemExit, match="is an evaluation and others are run files"):
        main([one, str(tmp_path), "--qrels", qrels])


def test_a_single_run_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, _, _, qrels = run_files(tmp_path)
    folder = tmp_path / "out"
    found = main([one, "--qrels", qrels, "--measures", "RR@10, P@1", "--output_dir", str(folder)])
    assert found.tests == () and found.tables[0].means["RR@10"].tolist() == [0.5]
    printed = capsys.readouterr().out
    assert printed == (folder / "compare.md").read_text() and "Measures of one" in printed
    assert "differences" not in printed and "0.5000 [" in printed
    assert (folder / "compare.csv").read_text().splitlines()[0].startswith("items,system,RR@10")
    page = (folder / "compare.html").read_text()
    assert "0.5000" in page and "Movement per item" not in page
    with pytest.raises(SystemExit, match="is one evaluation, whose report has its figures: name another"):
        main([str(tmp_path)])


def test_arguments_and_lists() -> None:
    assert plain_arguments(["--gin_file", "x.gin", "a", "--output-dir=o"]) == [
        "--gin_file", "x.gin", "--gin.OUTPUT_DIR='o'", "--gin.RUNS=['a']",
    ]  # fmt: skip
    assert split_measures("a b,c") == ["a", "b", "c"] == split_measures(["a", "b", "c"])


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "run.trec", tmp_path / "y" / "run.trec", tmp_path / "z" / "results.json"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    assert list(named_paths([str(path) for path in paths[:2]])) == ["x/run", "y/run"]
    assert list(named_paths([str(paths[0]), str(paths[2])])) == ["run", "z"]


SQUAD, LABELS = "inters_reading_comprehension_squad_0shot", "inters_query_matching_msrp_choices"
RANKS = "inters_fact_retrieval_scifact_rerank"


def state_files(folder: Path, result: dict[str, Any]) -> None:
    """Write results.json with the digests of the files of its tasks as they are now."""
    result["files"] = {
        task: {path.name: file_sha256(path) for path in (folder / task).iterdir()}
        for task in result["metrics"]
    }
    (folder / "results.json").write_text(json.dumps(result))


def evaluation(folder: Path, answers: list[str], scores: list[float], **manifest: Any) -> Path:
    """A folder as evaluate leaves it, with three tasks."""
    records: dict[str, list[dict[str, Any]]] = {
        SQUAD: [
            {"example_id": f"s{i}", "targets_pretokenized": "red kite", "references": ["red kite"],
             "prediction": answer}
            for i, answer in enumerate(answers)
        ],
        LABELS: [
            {"example_id": f"m{i // 2}", "targets_pretokenized": ("yes", "no")[i % 2], "choice": i % 2,
             "gold": "yes", "score": score}
            for i, score in enumerate(scores)
        ],
        RANKS: [
            {"query_id": "q", "doc_id": f"d{i // 2}", "first_stage_rank": 1 + i // 2, "choice": i % 2,
             "score": score}
            for i, score in enumerate(scores)
        ],
    }  # fmt: skip
    for task, rows in records.items():
        (folder / task).mkdir(parents=True)
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / task / "predictions.jsonl").write_text("".join(lines))
    (folder / RANKS / "qrels.txt").write_text("q 0 d1 1\n")
    result = {
        "manifest": {"command": "evaluate", "split": "test"} | manifest,
        "metrics": {task: {"f1": 0.0} for task in records},
    }
    state_files(folder, result)
    return folder


def test_evaluations_are_compared_item_by_item(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one", ["red kite", "blue", "red"], [-1.0, -2.0, -1.0, -2.0])
    two = evaluation(tmp_path / "two", ["red kite", "red", "a red kite"], [-2.0, -1.0, -1.0, -2.0], seed=1)
    found = main([str(one), str(two / "results.json"), "--gin.BOOTSTRAP=200"])
    tables = {table.title: table for table in found.tables}
    assert list(tables) == [SQUAD, LABELS, RANKS] and found.systems == ("one", "two")
    squad = tables[SQUAD]
    np.testing.assert_allclose(squad.values["f1"], [[100, 0, 200 / 3], [100, 200 / 3, 100]])
    np.testing.assert_allclose(squad.values["exact_match"], [[100, 0, 0], [100, 0, 100]])
    assert tables[LABELS].items == ("m0", "m1")
    np.testing.assert_allclose(tables[LABELS].values["accuracy"], [[100, 100], [0, 100]])
    np.testing.assert_allclose(tables[RANKS].values["RR@10"], [[0.5], [1.0]])  # a tie stays as first found
    assert len(found.tests) == 2 + 2 + len(tables[RANKS].measures)
    assert found.notes == ("Not the same seed: one None, two 1.",)
    assert [t.title for t in main([str(one), str(two), "--tasks", SQUAD]).tables] == [SQUAD]


def test_evaluations_over_different_items_are_refused(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one", ["a", "b"], [0.0, 0.0])
    two = evaluation(tmp_path / "two", ["a"], [0.0, 0.0])
    with pytest.raises(
        SystemExit, match=f"{SQUAD}: the evaluations are over different items: one has 2, two 1, 1"
    ):
        main([str(one), str(two)])
    assert len(main([str(one), str(two), "--tasks", f"{LABELS},{RANKS}"]).tables) == 2
    with pytest.raises(
        SystemExit, match="task inters_other is not in every evaluation, but in none; all have"
    ):
        main([str(one), str(two), "--tasks=inters_other"])
    (two / SQUAD / "predictions.jsonl").write_text("{}\n{\n")
    state_files(two, json.loads((two / "results.json").read_text()))
    with pytest.raises(SystemExit, match=r"predictions\.jsonl:2: not JSON"):
        main([str(one), str(two)])
    reranked = evaluation(tmp_path / "three", ["a"], [0.0, 0.0], command="rerank")
    with pytest.raises(SystemExit, match=r"compare its reranked\.trec"):
        main([str(one), str(reranked)])
    with pytest.raises(SystemExit, match="evaluations bring their judgments"):
        main([str(one), str(two), "--qrels=x"])


def test_predictions_that_verify_rejects_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (
        evaluation(tmp_path / name, ["red kite"], [-1.0, -2.0, -1.0, -2.0]) for name in ("one", "two")
    )
    predictions = two / SQUAD / "predictions.jsonl"
    predictions.write_text(predictions.read_text().replace('"prediction": "red kite"', '"prediction": "no"'))
    for change in (lambda: None, predictions.unlink):
        change()
        assert verify([str(two)]) == 1
        said = capsys.readouterr().out.removeprefix("verify: ").strip()
        assert str(predictions) in said
        with pytest.raises(SystemExit, match=re.escape(said)):
            main([str(one), str(two), "--tasks", SQUAD])
    assert len(main([str(one), str(two), "--tasks", LABELS]).tables) == 1  # whose files are unchanged


def test_the_command_starts_in_two_seconds_without_jax_and_tensorflow(tmp_path: Path) -> None:
    arguments = [*run_files(tmp_path), f"--output_dir={tmp_path / 'out'}", "--gin.BOOTSTRAP=100"]
    program = (
        "import sys\nfrom inters_jax.compare import main\n"
        f"main({arguments!r})\n"
        "print({'jax', 'tensorflow', 'seqio', 'transformers', 'torch'} & set(sys.modules))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()" and done.stderr == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    assert (tmp_path / "out" / "compare.html").is_file()


def test_help_names_the_macros(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) is None
    printed = capsys.readouterr().out
    assert "QRELS" in printed and "BOOTSTRAP" in printed
    assert command.compare.__doc__ and command.compare.__doc__.splitlines()[0] in printed
