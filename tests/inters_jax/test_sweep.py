"""Lists of experiments with stand-ins for the commands: order, resuming, failures, launching, the tables."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from inters_jax import sweep as command
from inters_jax.evaluation.comparison import Options
from inters_jax.evaluation.results import read_result
from inters_jax.experiments import lists, main_comparison, orders, runs
from inters_jax.experiments.launch import launch, launch_words
from inters_jax.experiments.results import series
from inters_jax.experiments.routing import NO_ARGUMENTS, Arguments
from inters_jax.reports import sweep_page
from seqio_tasks.base import UserError, locked

LIST = """
seeds: [0, 1]
overrides: {TASKS: inters_query_matching_msrp_choices}
experiments:
  - name: main
    series: {rows: 100}
  - name: rows {p}
    for: {p: [25, 50]}
    overrides: {MIXTURE_OR_TASK_NAME: 'inters_{p}pct'}
    series: {rows: '{p}'}
  - name: shots
    model_of: main
"""
STAND_IN = r"""
import hashlib, json, sys
from pathlib import Path
given = dict(a[6:].split("=", 1) for a in sys.argv[2:] if a.startswith("--gin."))
name = sys.argv[1]
with (Path(__file__).parent / "calls.txt").open("a") as file:
    file.write(name + " " + given.get("OUTPUT_DIR", given["MODEL_DIR"]) + "\n")
if (Path(__file__).parent / "fail").exists() and (Path(__file__).parent / "fail").read_text() in str(given):
    sys.exit("told to fail")
if name == "evaluate":
    out = Path(given["OUTPUT_DIR"]); task = given["TASKS"]
    (out / task).mkdir(parents=True, exist_ok=True)
    right = 30 if "rows_25" in str(out) else 36
    lines = []
    for n in range(40):
        for choice in ("yes", "no"):
            score = 1.0 if (choice == "yes") == (n < right) else 0.0
            lines.append(json.dumps({"example_id": str(n), "gold": "yes",
                "choice": "yes no".split().index(choice),
                "targets_pretokenized": choice,
                "target": {"example_id": str(n), "choice": choice, "gold": "yes"}, "score": score}))
    file = out / task / "predictions.jsonl"
    file.write_text("\n".join(lines) + "\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    metrics = {task: {"accuracy": 100 * right / 40}}
    (out / "results.json").write_text(json.dumps({"manifest": {}, "metrics": metrics,
        "counts": {}, "files": {task: {"predictions.jsonl": digest}}, "failed": {}}))
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "list.yaml").write_text(LIST)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    return tmp_path


def made(place, **more):
    found = lists.read(place / "list.yaml")
    call = lambda name: (sys.executable, "-S", str(place / "stand_in.py"), name)  # noqa: E731
    return found, runs.runs_of(found, place / "sweep", more.get("seeds", found.seeds), NO_ARGUMENTS, call)


def do(place, every, jobs=4, stop=None):
    stop = stop or threading.Event()
    return runs.run_all(every, jobs, lambda _: None, lambda run: runs.perform(run, lambda _: None, stop))


def calls(place):
    file = place / "calls.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_a_list_is_expanded_and_checked(tmp_path):
    (tmp_path / "list.yaml").write_text(LIST)
    found = lists.read(tmp_path / "list.yaml")
    assert [one.name for one in found.experiments] == ["main", "rows 25", "rows 50", "shots"]
    assert found.experiment("rows 25").overrides["MIXTURE_OR_TASK_NAME"] == "inters_25pct"
    assert found.experiment("rows 25").series == {"rows": 25.0}
    assert found.experiment("shots").steps == ("evaluate",) and found.main == "main"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: []", "at least one"),
        ("experiments: [{name: a, step: [train]}]", "unknown key 'step'"),
        ("experiments: [{name: a, steps: [tune]}]", "no step 'tune'"),
        ("experiments: [{name: a, model_of: b}]", "needs 'b'"),
        ("experiments: [{name: a}, {name: a!}]", "same folder"),
        ("experiments: [{name: ..}]", r"'\.\.' has no letter or digit that could name its folder"),
        ("experiments: [{name: '%'}]", "'%' has no letter or digit"),
        ("main: b\nexperiments: [{name: a}]", "not an experiment of the list"),
        (
            "experiments: [{name: a}, {name: b, model_of: a, steps: [train]}]",
            "either trains, or has model_of",
        ),
        ("seeds: [x]\nexperiments: [{name: a}]", "whole numbers"),
        ("gin_files: tiny.gin\nexperiments: [{name: a}]", "gin_files must be a list, such as"),
        ("experiments: [{name: a, steps: train}]", "experiment 1: steps must be a list"),
        ("experiments: [{name: a, overrides: [TASKS]}]", "experiment 1: overrides must be a mapping"),
        ("experiments: [{name: 'a{p}', for: [p]}]", "experiment 1: for must be a mapping"),
        ("experiments: [{name: a, override: {}}]", "did you mean overrides"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, message):
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        lists.read(tmp_path / "list.yaml")


def steps_of(tmp_path, text, extra=NO_ARGUMENTS):
    """(experiment, step) -> the settings of its command line."""
    (tmp_path / "list.yaml").write_text(text)
    every = runs.runs_of(lists.read(tmp_path / "list.yaml"), Path("s"), [0], extra)
    return {
        (run.experiment.name, step.name): dict(
            word.removeprefix("--gin.").split("=", 1) for word in step.command if word.startswith("--gin.")
        )
        for run in every
        for step in run.steps
    }


def test_a_setting_reaches_the_steps_whose_command_reads_it(tmp_path):
    text = (
        "overrides: {DEPTH: 50, evaluate.max_length: 64, MODULES: [seqio_tasks, flan]}\n"
        "experiments:\n  - {name: main, overrides: {TRAIN_STEPS: 5, TASKS: inters, LoRA.rank: 4}}\n"
        "  - {name: ranked, model_of: main, steps: [rerank], overrides: {DEPTH: 20}}\n"
    )
    extra = Arguments(values={"RAW_DIR": "data", "MAX_LENGTH": "512", "evaluate.seed": "3"})
    found = steps_of(tmp_path, text, extra)
    folder = "s/main/seed0"
    assert found["main", "train"] == {
        "TRAIN_STEPS": "5", "LoRA.rank": "4", "MODULES": "['seqio_tasks', 'flan']", "RAW_DIR": "data",
        "MAX_LENGTH": "512", "MODEL_DIR": f"{folder}/model", "SEED": "0"}  # fmt: skip
    assert found["main", "evaluate"] == {
        "TASKS": "inters", "evaluate.max_length": "64", "RAW_DIR": "data", "MAX_LENGTH": "512",
        "evaluate.seed": "3", "MODEL_DIR": f"{folder}/model",
        "OUTPUT_DIR": f"{folder}/evaluation"}  # fmt: skip
    assert found["ranked", "rerank"] == {
        "DEPTH": "20", "MAX_LENGTH": "512", "MODEL_DIR": f"{folder}/model",
        "OUTPUT_DIR": "s/ranked/seed0/rerank"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "typed", "message"),
    [
        ("experiments: [{name: a, overrides: {DEPTH: 5}}]", {},
         r"a: no step \(train, evaluate\) reads DEPTH"),
        ("experiments: [{name: a, overrides: {TASK: b}}]", {}, "reads TASK; did you mean TASKS"),
        ("overrides: {COLECTION: c}\nexperiments: [{name: a, steps: [rerank]}]", {},
         "overrides of the list: no step .* reads COLECTION; did you mean COLLECTION"),
        ("experiments: [{name: a}]", {"TRAIN_STEP": "5"}, "reads --gin.TRAIN_STEP; did you mean TRAIN_STEPS"),
        ("experiments: [{name: a}]", {"rerank.depth": "5"}, "reads --gin.rerank.depth"),
        ("experiments: [{name: a}]", {"StepSettings.batch_sise": "5"}, "reads --gin.StepSettings.batch_sise"),
        ("experiments: [{name: a}]", {"SEED": "5"}, r"--gin\.SEED is set by the sweep .*; set SEEDS"),
        ("experiments: [{name: a, overrides: {MODEL_DIR: r}}]", {}, "MODEL_DIR is set by the sweep"),
        ("experiments: [{name: a}]", {"evaluate.output_dir": "r"}, "set SWEEP_DIR"),
        ("experiments: [{name: a, overrides: {SPLIT: validation}}]", {},
         r"a: SPLIT would be what train learns from and what evaluate judges on.* write evaluate\.split"),
        ("overrides: {SPLIT: test}\nexperiments: [{name: a, steps: [train, rerank]}]", {},
         r"overrides of the list: SPLIT would be .* write rerank\.split"),
        ("experiments: [{name: a}]", {"SPLIT": "dev"}, r"--gin\.SPLIT would .* write --gin\.evaluate\.split"),
    ],
)  # fmt: skip
def test_a_setting_that_no_step_reads_is_refused(tmp_path, text, typed, message):
    with pytest.raises(UserError, match=message):
        steps_of(tmp_path, text, Arguments(values=typed))


def test_a_split_reaches_the_step_that_it_is_written_for(tmp_path):
    text = (
        "experiments:\n  - {name: a, overrides: {evaluate.split: validation}}\n"
        "  - {name: b, model_of: a, overrides: {SPLIT: validation}}\n"
    )
    found = steps_of(tmp_path, text, NO_ARGUMENTS)
    assert (
        "split" not in str(found["a", "train"]) and found["a", "evaluate"]["evaluate.split"] == "validation"
    )
    assert found["b", "evaluate"]["SPLIT"] == "validation"


def test_an_experiment_that_does_not_train_judges_the_model_of_its_recipe(tmp_path):
    text = (
        "gin_files: [smollm2.gin]\nexperiments:\n  - {name: main}\n  - {name: untuned, steps: [evaluate]}\n"
        "  - {name: other, steps: [evaluate], overrides: {MODEL: org/other}}\n"
    )
    judged = lambda extra: [  # noqa: E731
        steps_of(tmp_path, text, extra)[name, "evaluate"]["MODEL_DIR"] for name in ("untuned", "other")
    ]
    assert judged(NO_ARGUMENTS) == ["HuggingFaceTB/SmolLM2-135M-Instruct", "org/other"]
    assert judged(Arguments(files=("mistral.gin",))) == ["mistralai/Mistral-7B-v0.1", "org/other"]
    assert judged(Arguments(values={"MODEL": "models/mine"})) == ["models/mine"] * 2
    found = steps_of(tmp_path, text, Arguments(values={"MODEL": "models/mine"}))
    assert found["main", "train"]["MODEL"] == "models/mine" and "MODEL" not in found["untuned", "evaluate"]


def test_an_untuned_model_without_weights_fails_alone(tmp_path):
    text = "experiments: [{name: main}, {name: untuned, steps: [evaluate]}]"
    (tmp_path / "list.yaml").write_text(text)
    found = lists.read(tmp_path / "list.yaml")
    for files, message in (
        (("tiny.gin",), r"tiny\.gin:\d+ sets MODEL=@DecoderConfig"),
        ((), "no gin file sets MODEL"),
    ):
        main, untuned = runs.runs_of(found, tmp_path / "s", [0], Arguments(files=files))
        assert main.refused is None and not runs.is_finished(untuned)
        state, why = runs.perform(untuned, print, threading.Event())
        assert state == runs.FAILED and re.search(message, why)


def test_names_of_gin_files_of_ones_own_can_be_set(tmp_path):
    (tmp_path / "mine.gin").write_text("DecoderConfig.hidden_size = %WIDTH\n")
    text = "experiments: [{name: a, gin_files: [mine.gin], overrides: {WIDTH: 64}}, {name: b, model_of: a}]"
    paths = (str(tmp_path),)
    found = steps_of(tmp_path, text, Arguments(values={"TheirAdam.b1": "0.5"}, search_paths=paths))
    assert found["a", "train"]["WIDTH"] == found["a", "evaluate"]["WIDTH"] == "64"
    assert found["a", "train"]["TheirAdam.b1"] == "0.5" and "TheirAdam.b1" not in found["a", "evaluate"]
    assert "WIDTH" not in found["b", "evaluate"]
    with pytest.raises(UserError, match=r"no step .* reads WIDTH"):
        steps_of(tmp_path, text.replace("mine", "tiny"), Arguments(search_paths=paths))


def test_a_list_is_found_as_gin_files_are(place, capsys, monkeypatch):
    dry = ["--gin.DRY_RUN=True", f"--gin.SWEEP_DIR={place / 'dry'}", "--gin.SEEDS=0"]
    command.main([*dry, "--gin.EXPERIMENTS=experiments/ablations.yaml", "--gin.ONLY=no_template:0"])
    train, judge = capsys.readouterr().out.splitlines()
    assert "--gin_file=llama2_chat.gin --gin.MIXTURE_OR_TASK_NAME=inters_no_template" in train
    assert "inters_jax.evaluate" in judge and "MIXTURE_OR_TASK_NAME" not in judge
    command.main([*dry, "--gin.EXPERIMENTS=list.yaml", f"--gin_search_paths={place}"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(f"--gin_search_paths={place}" in line for line in lines)
    with pytest.raises(
        SystemExit, match=r"experiments/ablation\.yaml.*did you mean experiments/ablations\.yaml"
    ):
        command.main([*dry, "--gin.EXPERIMENTS=experiments/ablation.yaml"])


def test_finished_runs_are_left_alone_and_changed_results_are_made_again(place):
    _, every = made(place)
    outcome = do(place, every)
    assert {status for status, _ in outcome.values()} == {runs.FINISHED} and len(calls(place)) == 14
    assert "$ " in (place / "sweep/main/seed0/train.log").read_text()
    do(place, every)
    assert calls(place) == []
    file = place / "sweep/rows_25/seed1/evaluation/inters_query_matching_msrp_choices/predictions.jsonl"
    file.write_text(file.read_text() + "{}\n")
    assert "changed" in runs.problem(place / "sweep/rows_25/seed1/evaluation")
    do(place, every)
    assert calls(place) == [f"evaluate {place}/sweep/rows_25/seed1/evaluation"]


def test_the_stores_of_a_sweep_are_prepared_first_and_elsewhere(place):
    found, every = made(place, seeds=[0])
    call = lambda name: (sys.executable, "-S", str(place / "stand_in.py"), name)  # noqa: E731
    stores = runs.runs_of(found, place / "sweep", [0], NO_ARGUMENTS, call, prepare_only=True)
    assert [run.name for run in stores] == ["main:0", "rows 25:0", "rows 50:0"]  # `shots` trains nothing
    assert {status for status, _ in do(place, stores).values()} == {runs.FINISHED}
    assert (
        len(calls(place)) == 3
        and "--gin.PREPARE_ONLY=True" in (place / "sweep/main/seed0/prepare.log").read_text()
    )
    assert not any(map(runs.is_finished, every))
    do(place, every)
    assert len(calls(place)) == 7  # three trainings and four evaluations
    with pytest.raises(SystemExit, match="leave out LAUNCH"):
        command.main([f"--gin.EXPERIMENTS={place / 'list.yaml'}", f"--gin.SWEEP_DIR={place / 's'}",
                      "--gin.PREPARE_ONLY=True", "--gin.LAUNCH=sbatch {command}"])  # fmt: skip


def test_a_failed_run_stops_only_those_that_need_it_and_is_taken_up_again(place):
    _, every = made(place)
    (place / "fail").write_text("main/seed1/model")
    outcome = do(place, every)
    assert outcome["main:1"][0] == runs.FAILED and "exit code 1" in outcome["main:1"][1]
    assert outcome["shots:1"] == (runs.SKIPPED, "it needs main:1, which is failed")
    assert sum(status == runs.FINISHED for status, _ in outcome.values()) == 6
    (place / "fail").unlink()
    calls(place)
    assert {status for status, _ in do(place, every).values()} == {runs.FINISHED}
    assert len(calls(place)) == 3  # train and evaluate of main:1, evaluate of shots:1


def test_a_killed_sweep_continues_behind_the_finished_steps(place):
    _, every = made(place, seeds=[0])
    run = every[0]
    run.folder.mkdir(parents=True)
    train, judge = (list(step.command[1:]) for step in run.steps)
    known = {"train": {"command": train, "finished": True}, "evaluate": {"command": judge, "finished": False}}
    (run.folder / "state.json").write_text(json.dumps(known))
    do(place, every[:1])
    assert [line.split()[0] for line in calls(place)] == ["evaluate"]


def test_a_run_that_another_sweep_works_on_is_left_to_it(place):
    _, every = made(place, seeds=[0])
    every[0].folder.mkdir(parents=True)
    with locked(every[0].folder / "run.lock"):
        assert do(place, every[:1])["main:0"][0] == runs.ELSEWHERE
    assert calls(place) == []


def test_a_step_with_other_arguments_is_done_again_when_its_results_are_removed(place):
    _, every = made(place, seeds=[0])
    do(place, every[:1])
    (place / "list.yaml").write_text(LIST.replace("msrp_choices", "msrp"))
    _, changed = made(place, seeds=[0])
    results = changed[0].folder / "evaluation"
    status, why = do(place, changed[:1])["main:0"]
    assert status == runs.FAILED and "other arguments" in why and f"remove {results}, or" in why
    shutil.rmtree(results)
    calls(place)
    assert do(place, changed[:1])["main:0"][0] == runs.FINISHED
    assert [line.split()[0] for line in calls(place)] == ["evaluate"]


def test_a_training_with_other_arguments_takes_its_evaluation_along(place):
    _, every = made(place, seeds=[0])
    do(place, every[:1])
    (place / "list.yaml").write_text(LIST.replace("{TASKS:", "{EPOCHS: 2, TASKS:"))
    _, changed = made(place, seeds=[0])
    folder = changed[0].folder
    (folder / "model").mkdir(exist_ok=True)
    assert f"remove {folder / 'model'} and {folder / 'evaluation'}," in do(place, changed[:1])["main:0"][1]
    for name in ("model", "evaluation"):
        shutil.rmtree(folder / name)
    calls(place)
    assert do(place, changed[:1])["main:0"][0] == runs.FINISHED
    assert [line.split()[0] for line in calls(place)] == ["train", "evaluate"]


def test_a_stopped_sweep_starts_nothing(place):
    _, every = made(place)
    stop = threading.Event()
    stop.set()
    assert {status for status, _ in do(place, every, stop=stop).values()} == {runs.SKIPPED}
    assert calls(place) == []


def test_the_words_of_a_launched_job(place):
    _, every = made(place, seeds=[3])
    words = launch_words(every[1], "sbatch --job-name={name} --wrap={command}", ["python", "a b"])
    assert words == ["sbatch", "--job-name=rows_25-3", "--wrap=python 'a b'"]
    assert launch_words(every[1], "run -- {arguments}", ["python", "a b"]) == [
        "run",
        "--",
        "python",
        "a b",
    ]
    with pytest.raises(UserError, match="must hold"):
        launch_words(every[1], "sbatch", ["python"])


def test_a_job_is_launched_once(place):
    _, every = made(place, seeds=[0])
    job = [sys.executable, "-S", str(place / "stand_in.py"), "train", "--gin.MODEL_DIR=launched"]
    for again in (False, False, True):
        assert launch(every[0], "{arguments}", job, again)[0] == runs.LAUNCHED
    assert len(calls(place)) == 2


def test_a_job_that_cannot_be_started_is_no_launched_one(place):
    _, every = made(place, seeds=[0])
    for template in ("no-such-scheduler {command}", "false {command}"):
        status, why = launch(every[0], template, ["python"], False)
        assert status == runs.FAILED and "launch.log" in why and runs.state(every[0]) == {}
    assert "no-such-scheduler" in (every[0].folder / "launch.log").read_text()


def test_a_run_that_needs_a_launched_one_waits_for_it(place):
    _, every = made(place, seeds=[0])
    job = [sys.executable, "-S", "-c", ""]
    outcome = runs.run_all(every, 1, lambda _: None, lambda run: launch(run, "{arguments}", job, again=False))
    *launched, waiting = (status for status, _ in outcome.values())
    assert set(launched) == {runs.LAUNCHED} and waiting == runs.WAITING
    assert outcome["shots:0"][1] == "it needs main:0, which is launched"


SBATCH = """#!/bin/sh
# A scheduler: takes the job, says so, and starts it when it is let, in the background.
here=$(dirname "$0")
for word; do
  case $word in --wrap=*) job=${word#--wrap=} ;; --job-name=*) name=${word#--job-name=} ;; esac
done
echo "Submitted batch job $name"
echo "$name" >> "$here/jobs.txt"
[ -e "$here/lose" ] && exit 0
(until [ -e "$here/go" ]; do sleep 0.1; done; PYTHONPATH="$here:$PYTHONPATH" exec sh -c "$job") \
    > "$here/$name.log" 2>&1 &
"""
# In a job the commands of a run are those of the stand-in: python -m inters_jax.train -> stand_in.py train
PYTHON = """#!/bin/sh
name=${2#inters_jax.}
shift 2
exec "%s" -S "$(dirname "$0")/stand_in.py" "$name" "$@"
"""


@pytest.fixture
def scheduler(place, monkeypatch):
    """A folder with a stand-in for `sbatch` that comes first on PATH."""
    for name, text in (("sbatch", SBATCH), ("stand_in_python", PYTHON % sys.executable)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    (place / "sitecustomize.py").write_text(
        f"import sys; sys.executable = {str(place / 'stand_in_python')!r}\n"
    )
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(command.__file__).parents[1]), prepend=os.pathsep)
    return place


@pytest.mark.slow
def test_a_scheduler_does_the_runs_and_the_same_command_collects_them(scheduler):
    arguments = [f"--gin.EXPERIMENTS={scheduler / 'list.yaml'}", f"--gin.SWEEP_DIR={scheduler / 'sweep'}",
                 "--gin.SEEDS=0", "--gin.ONLY=main; shots"]  # fmt: skip
    launching = [*arguments, "--gin.LAUNCH=sbatch --job-name={name} --wrap={command}"]

    def states(*more):
        return {name: status for name, (status, _) in command.main([*launching, *more]).items()}

    def jobs():
        return (scheduler / "jobs.txt").read_text().split()

    def finished(name):
        every = runs.runs_of(lists.read(scheduler / "list.yaml"), scheduler / "sweep", [0])
        [run] = [run for run in every if run.name == name]
        deadline = time.monotonic() + 120
        while not runs.is_finished(run):
            log = scheduler / f"{run.experiment.folder}-0.log"
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return True

    (scheduler / "lose").touch()
    assert states() == {"main:0": runs.LAUNCHED, "shots:0": runs.WAITING} and jobs() == ["main-0"]
    assert "Submitted batch job main-0" in (scheduler / "sweep/main/seed0/launch.log").read_text()
    (scheduler / "lose").unlink()  # that job is lost: nothing comes of it
    assert states() == {"main:0": runs.LAUNCHED, "shots:0": runs.WAITING} and jobs() == ["main-0"]
    assert states("--gin.RELAUNCH=True")["main:0"] == runs.LAUNCHED and jobs() == ["main-0"] * 2
    (scheduler / "go").touch()
    assert finished("main:0")
    assert states() == {"main:0": runs.FINISHED, "shots:0": runs.LAUNCHED}
    assert jobs() == ["main-0", "main-0", "shots-0"] and finished("shots:0")
    assert states() == {"main:0": runs.FINISHED, "shots:0": runs.FINISHED} and len(jobs()) == 3
    assert calls(scheduler) == [
        f"{name} {scheduler}/sweep/{folder}"
        for name, folder in (("train", "main/seed0/model"), ("evaluate", "main/seed0/evaluation"),
                             ("evaluate", "shots/seed0/evaluation"))
    ]  # fmt: skip
    command.main([*arguments[:3], "--gin.COLLECT_ONLY=True"])
    saved = json.loads((scheduler / "sweep/sweep.json").read_text())
    assert set(saved["values"]) == {"main", "shots"} and saved["runs"]["rows 25:0"]["state"] == "open"


def test_the_tables_hold_means_spread_and_a_test_against_the_main_run(place):
    found, every = made(place)
    outcome = do(place, every)
    gathered = sweep_page.write(found, every, place / "sweep", outcome)
    pair = "inters_query_matching_msrp"
    assert gathered["rows 25"].values == {pair: {0: 75.0, 1: 75.0}}
    tested = main_comparison.tests(gathered, "main", Options(samples=10_000, bootstrap=100))
    test = tested["rows 25", pair]
    # 6 of 40 items differ, all to one side: two-sided exact p is 2 / 2**6.
    assert test.losses == 6 and test.p_value == pytest.approx(2 / 64, abs=0.006)
    assert tested["rows 50", pair].difference == 0.0
    assert series(gathered)["rows"] == [(25.0, 75.0), (50.0, 90.0), (100.0, 90.0)]
    # Both seeds are alike, so its interval is that of 40 items, 6 of which differ by 100.
    interval = main_comparison.intervals(gathered, "main", {"rows 25": [pair]})["rows 25"]
    half = 1.96 * 100 * (0.15 * 0.85 / 40) ** 0.5
    assert interval.difference == -15.0
    assert (interval.low, interval.high) == (
        pytest.approx(-15 - half, abs=2.6),
        pytest.approx(-15 + half, abs=2.6),
    )
    text = (place / "sweep/sweep.md").read_text()
    assert "75.00 ± 0.00" in text and "-15.00" in text and "Not finished" not in text
    page = (place / "sweep/sweep.html").read_text()
    assert "<svg" in page and "://" not in page and "<script" not in page
    saved = json.loads((place / "sweep/sweep.json").read_text())
    assert saved["values"]["main"][pair] == {"0": 90.0, "1": 90.0}
    for name in ("sweep.csv", "sweep.tex"):
        assert "rows 25" in (place / "sweep" / name).read_text()


def test_losses_of_the_right_answers_have_their_own_tables_where_less_is_better(place):
    found, every = made(place)
    task = "inters_query_matching_msrp_choices"
    outcome = do(place, every)
    for run in every:
        folder = run.folder / "evaluation"
        rows = [json.loads(line) for line in (folder / task / "predictions.jsonl").read_text().splitlines()]
        less = 0.5 if run.experiment.name == "rows 25" else 0.0
        for row in rows:  # of the right label; 40 questions, all better by 0.5
            row |= {"score": less - 1.0 - int(row["example_id"]) % 4, "answer_tokens": 1}
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / task / "predictions.jsonl").write_text(text)
        result = json.loads((folder / "results.json").read_text())
        result["metrics"][task]["target_loss"] = 2.5 - less
        result["files"][task]["predictions.jsonl"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "results.json").write_text(json.dumps(result))
    sweep_page.write(found, every, place / "sweep", outcome)
    text = (place / "sweep/sweep.md").read_text().split("Losses of the right answers: experiments")[1]
    row = next(line for line in text.splitlines() if line.startswith("| rows 25"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        "2", "1", "2.00 ± 0.00", "1", "-0.50", "-0.50 to -0.50", "1 / 0 of 1"]  # fmt: skip
    saved = json.loads((place / "sweep/sweep.json").read_text())
    assert saved["losses"]["main"] == {"inters_query_matching_msrp": {"0": 2.5, "1": 2.5}}
    assert saved["loss_tests"][0]["difference"] == -0.5


def test_what_is_not_finished_is_named_in_the_tables(place):
    found, every = made(place)
    (place / "fail").write_text("rows_25/seed1/model")
    sweep_page.write(found, every, place / "sweep", do(place, every))
    assert "rows 25:1" in (place / "sweep/sweep.md").read_text().split("Not finished")[1]


def test_a_dry_run_prints_every_command_and_makes_nothing(place, capsys):
    arguments = [f"--gin.EXPERIMENTS={place / 'list.yaml'}", f"--gin.SWEEP_DIR={place / 'dry'}"]
    command.main([*arguments, "--gin_file=tiny.gin", "--gin.SEEDS=4", "--gin.DRY_RUN=True"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all("--gin_file=tiny.gin" in line for line in lines)
    assert "--gin.SEED=4" in lines[0] and "DRY_RUN" not in lines[0] and not (place / "dry").exists()


def test_only_names_experiments_or_runs(place):
    _, every = made(place)
    assert [run.name for run in command.select(every, "rows 25; main:1")] == [
        "main:1",
        "rows 25:0",
        "rows 25:1",
    ]
    with pytest.raises(UserError, match="'rows 2'"):
        command.select(every, "rows 2")


@pytest.mark.slow
def test_a_list_is_trained_judged_and_put_together(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "seeds: [1]\ngin_files: [tiny.gin]\n"
        "overrides: {TRAIN_STEPS: 1, MAX_EXAMPLES: 4, MIXTURE_OR_TASK_NAME: inters_query_matching_msrp,\n"
        "  TASKS: inters_query_matching_msrp_choices}\n"
        "experiments: [{name: main}, {name: one shot, model_of: main,\n"
        "  overrides: {TASKS: inters_query_matching_msrp_choices_1shot}}]\n"
    )
    arguments = [f"--gin.EXPERIMENTS={tmp_path / 'list.yaml'}", f"--gin.SWEEP_DIR={tmp_path / 'sweep'}"]
    outcome = command.main(arguments)
    assert {status for status, _ in outcome.values()} == {runs.FINISHED} and len(outcome) == 2
    result = read_result(tmp_path / "sweep/main/seed1/evaluation")
    assert set(result["metrics"]) == {"inters_query_matching_msrp_choices"}
    assert {"main", "one shot"} == set(json.loads((tmp_path / "sweep/sweep.json").read_text())["values"])
    before = Path(tmp_path / "sweep/main/seed1/train.log").stat().st_mtime_ns
    command.main(arguments)
    assert Path(tmp_path / "sweep/main/seed1/train.log").stat().st_mtime_ns == before


def test_candidates_are_written_in_another_order(tmp_path):
    source = tmp_path / "first_stage.trec"
    source.write_text("".join(f"q Q0 d{n} {n + 1} {9 - n} bm25\n" for n in range(9)))
    orders.write(source, "reversed", tmp_path / "reversed.trec")
    first = (tmp_path / "reversed.trec").read_text().splitlines()[0]
    assert first == "q Q0 d8 1 9 reversed"
    shuffles = []
    for name in ("shuffled-0", "shuffled-1"):
        orders.write(source, name, tmp_path / name)
        shuffles.append([line.split()[2] for line in (tmp_path / name).read_text().splitlines()])
    assert shuffles[0] != shuffles[1] and sorted(shuffles[0]) == sorted(shuffles[1])
    source.write_text("q d 1\n")
    with pytest.raises(UserError, match="trec:1: a line of a TREC run has six columns"):
        orders.write(source, "reversed", tmp_path / "x")


def test_a_reranking_of_other_candidates_waits_for_the_first_one(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "experiments:\n  - name: main\n  - {name: pointwise, model_of: main, steps: [rerank]}\n"
        "  - {name: other, model_of: main, steps: [rerank], order_of: pointwise, order: reversed,\n"
        "     series: {by order: reversed}}\n"
    )
    found = lists.read(tmp_path / "list.yaml")
    run = runs.runs_of(found, tmp_path, [0])[2]
    assert run.needs == ("main:0", "pointwise:0") and found.experiment("other").series == {"by order": -1.0}
    assert run.first_stage == tmp_path / "pointwise/seed0/rerank/first_stage.trec"
    assert f"--gin.RUN={tmp_path}/other/seed0/first_stage.trec" in run.steps[0].command


def test_a_training_waits_for_its_teacher_and_reads_the_ranking_of_the_same_seed(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "experiments:\n  - {name: main, steps: [train, rerank]}\n"
        "  - {name: distilled, teacher_of: main, overrides: {LOSS: '@Distillation()'}}\n"
    )
    found = lists.read(tmp_path / "list.yaml")
    run = runs.runs_of(found, tmp_path, [0, 1])[3]
    assert run.name == "distilled:1" and run.needs == ("main:1",)
    train, evaluate = run.steps
    assert f"--gin.TEACHER={tmp_path}/main/seed1/rerank/reranked.trec" in train.command
    assert not any("TEACHER" in word for word in evaluate.command)
    prepared = runs.runs_of(found, tmp_path, [0], prepare_only=True)
    assert [run.name for run in prepared] == ["main:0"]  # the other store holds scores that are not there yet


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("teacher_of: nobody", "needs 'nobody', which is not an earlier experiment"),
        ("teacher_of: main", "main reranks nothing"),
        ("teacher_of: ranks, model_of: main, steps: [rerank]", "for an experiment that trains"),
        ("teacher_of: ranks, overrides: {TEACHER: run.trec}", "in place of TEACHER"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(line, said, tmp_path):
    (tmp_path / "list.yaml").write_text(
        "experiments:\n  - name: main\n  - {name: ranks, model_of: main, steps: [rerank]}\n"
        f"  - {{name: distilled, {line}}}\n"
    )
    with pytest.raises(UserError, match=said):
        lists.read(tmp_path / "list.yaml")
