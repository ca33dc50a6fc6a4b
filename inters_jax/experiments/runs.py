"""The runs of a list, one per experiment and seed: their commands, their state, and executing them.

A run has a folder <sweep>/<experiment>/seed<N> with

    state.json        per step: its command, whether it is finished, its exit code, seconds
    run.lock          held while it is worked on; the kernel releases it when its holder is killed
    train.log, ...    the output of each step; prepare.log if the store was prepared beforehand
    model/            run folder of train;  evaluation/, rerank/  results

A step is finished when it exited with 0 and, if it judges, the files of its results.json exist unchanged. All
other steps are started again: train resumes from its checkpoint, the judging commands from their journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inters_jax.evaluation.results import read_result, write_json, wrong_file
from inters_jax.experiments import orders, routing
from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.experiments.routing import NO_ARGUMENTS, Arguments
from seqio_tasks.base import AlreadyLocked, UserError, locked, read_json

RESULTS = {"evaluate": "evaluation", "rerank": "rerank"}
FINISHED, FAILED, LAUNCHED, ELSEWHERE, SKIPPED = "finished", "failed", "launched", "elsewhere", "skipped"
WAITING = "waiting"  # for a run that is in progress elsewhere


@dataclass(frozen=True)
class Step:
    """A command of a run. results: the folder of its results; None: train."""

    name: str
    command: tuple[str, ...]
    results: Path | None

    def made(self, folder: Path) -> Path:
        """What the step makes in the folder of its run."""
        return self.results or folder / "model"


@dataclass(frozen=True)
class Run:
    """One experiment with one seed. refused: why it cannot be run; it has no steps then."""

    experiment: Experiment
    seed: int
    folder: Path
    steps: tuple[Step, ...]
    needs: tuple[str, ...]
    first_stage: Path | None = None
    refused: str | None = None

    @property
    def name(self) -> str:
        return run_name(self.experiment.name, self.seed)


def run_name(experiment: str, seed: int) -> str:
    """The name of a run in ONLY and in reports."""
    return f"{experiment}:{seed}"


def runs_of(
    experiments: ExperimentList,
    folder: Path,
    seeds: Sequence[int],
    extra: Arguments = NO_ARGUMENTS,
    module: Callable[[str], Sequence[str]] | None = None,
    prepare_only: bool = False,
) -> list[Run]:
    """All runs; a run comes after those that it needs.

    Args:
      experiments: the list.
      folder: of the sweep.
      seeds: one run each of every experiment.
      extra: gin files and settings of the sweep's command line; they come after those of the experiment.
      module: how a command is called: train -> ["python", "-m", "inters_jax.train"].
      prepare_only: only the runs that train, and only the token stores of them; not those with `teacher_of`,
        whose stores hold the scores of a model.

    Raises:
      UserError: a setting that no step reads, or that the sweep sets itself.
    """
    call = module or (lambda name: (sys.executable, "-m", f"inters_jax.{name}"))
    routing.check(experiments, extra)
    every = [
        _run(experiments, one, seed, folder, extra, call) for one in experiments.experiments for seed in seeds
    ]
    return [preparing for run in every if (preparing := _preparing(run))] if prepare_only else every


def _run(
    experiments: ExperimentList,
    one: Experiment,
    seed: int,
    root: Path,
    extra: Arguments,
    call: Callable[[str], Sequence[str]],
) -> Run:
    def folder_of(name: str) -> Path:
        return root / experiments.experiment(name).folder / f"seed{seed}"

    def reranking(name: str) -> Path:
        return folder_of(name) / RESULTS["rerank"]

    folder = folder_of(one.name)
    trained = folder_of(one.model_of or one.name) / "model"
    needs = tuple(run_name(name, seed) for name in one.needs)
    try:
        model = routing.model_of_recipe(one, extra) if one.untuned else str(trained)
    except UserError as error:  # the other runs of the list are not concerned
        return Run(one, seed, folder, (), needs, refused=str(error))
    files = extra.file_words(before=one.gin_files)
    first_stage = None
    steps = []
    for name in one.steps:
        results = folder / RESULTS[name] if name in RESULTS else None
        given = [f"--gin.MODEL_DIR={model}"]
        if name == "train":
            given.append(f"--gin.SEED={seed}")
        if name == "train" and one.teacher_of:
            given.append(f"--gin.TEACHER={reranking(one.teacher_of) / 'reranked.trec'}")
        if results is not None:
            given.append(f"--gin.OUTPUT_DIR={results}")
        if name == "rerank" and one.order_of:
            first_stage = reranking(one.order_of) / "first_stage.trec"
            given.append(f"--gin.RUN={folder / 'first_stage.trec'}")
        own = [f"--gin.{key}={value}" for key, value in routing.values_for(name, one, extra).items()]
        steps.append(Step(name, (*call(name), *files, *own, *given), results))
    return Run(one, seed, folder, tuple(steps), needs, first_stage)


def _preparing(run: Run) -> Run | None:
    """A run that ends when its token store is there; None: it needs no store, or a teacher first."""
    if run.experiment.teacher_of:
        return None
    for step in run.steps:
        if step.name == "train":
            command = (*step.command, "--gin.PREPARE_ONLY=True")
            return dataclasses.replace(run, steps=(Step("prepare", command, None),), needs=())
    return None


def problem(results: Path) -> str | None:
    """Why a folder holds no finished result; None if it does."""
    path = results / "results.json"
    if not path.is_file():
        return f"{path} does not exist"
    try:
        result = read_result(path)
    except (ValueError, OSError) as error:
        return str(error)
    if result.get("failed"):
        return f"{path}: failed: {', '.join(result['failed'])}"
    if not result.get("metrics"):
        return f"{path}: nothing was judged"
    wrong = (wrong_file(results, result, owner) for owner in result.get("files") or {})
    return next(filter(None, wrong), None)


def state(run: Run) -> dict[str, Any]:
    """The recorded state of a run; an unreadable state counts as none."""
    try:
        found = read_json(run.folder / "state.json")
    except (OSError, UserError):
        return {}
    return found if isinstance(found, dict) else {}


def is_finished(run: Run) -> bool:
    """Whether all steps of a run are finished, with the arguments that it has now."""
    known = state(run)
    return run.refused is None and all(_done(step, known) for step in run.steps)


def _done(step: Step, known: Mapping[str, Any]) -> bool:
    own = known.get(step.name, {})
    same = own.get("finished") is True and own.get("command") == list(step.command[1:])
    return same and (step.results is None or problem(step.results) is None)


def perform(run: Run, say: Callable[[str], None], stop: threading.Event) -> tuple[str, str]:
    """Execute the unfinished steps of a run here; returns its state and why."""
    if run.refused is not None:
        return FAILED, run.refused
    try:
        with locked(run.folder / "run.lock", busy="another sweep is working on it"):
            return _perform(run, say, stop)
    except AlreadyLocked as error:
        return ELSEWHERE, str(error)


def _perform(run: Run, say: Callable[[str], None], stop: threading.Event) -> tuple[str, str]:
    known = state(run)
    for number, step in enumerate(run.steps):
        if _done(step, known):
            continue
        before = known.get(step.name, {}).get("command")
        if before is not None and before != list(step.command[1:]):
            made = [str(one.made(run.folder)) for one in run.steps[number:] if one.made(run.folder).exists()]
            if made:
                return FAILED, (
                    f"{step.name} was started with other arguments ({run.folder / 'state.json'} has them); "
                    f"to do it again, remove {' and '.join(made)}, or choose another SWEEP_DIR"
                )
            for one in run.steps[number:]:
                known.pop(one.name, None)
        if stop.is_set():
            return SKIPPED, "the sweep was stopped"
        if step.name == "rerank" and run.first_stage is not None:
            orders.write(run.first_stage, str(run.experiment.order), run.folder / "first_stage.trec")
        _note(run, known, step, finished=False)
        say(f"{run.name}: {step.name} starts; log: {run.folder / step.name}.log")
        begin = time.monotonic()
        code = _call(step, run.folder / f"{step.name}.log", stop)
        seconds = round(time.monotonic() - begin, 1)
        why = f"{step.name} ended with exit code {code}" if code else None
        if why is None and step.results is not None:
            why = problem(step.results)
        _note(run, known, step, finished=why is None, code=code, seconds=seconds)
        if why is not None:
            return FAILED, f"{why}; its log: {run.folder / step.name}.log"
        say(f"{run.name}: {step.name} finished in {seconds} s")
    return FINISHED, ""


def _note(run: Run, known: dict[str, Any], step: Step, **more: Any) -> None:
    known[step.name] = {"command": list(step.command[1:]), **more}
    write_json(run.folder / "state.json", known)


def _call(step: Step, log: Path, stop: threading.Event) -> int:
    """Run a command with its output in a log (appended to); a stopped sweep ends its commands."""
    environment = {**os.environ, "INTERS_STOPPED_EXIT": "143"}  # a stopped training is not finished
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(step.command)}\n")
        file.flush()
        try:
            process = subprocess.Popen(
                step.command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            file.write(f"{error}\n")
            return 127
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(timeout=120)
                    process.kill()


def run_all(
    runs: Sequence[Run],
    jobs: int,
    say: Callable[[str], None],
    work: Callable[[Run], tuple[str, str]],
    others: Sequence[Run] = (),
) -> dict[str, tuple[str, str]]:
    """Execute all unfinished runs, `jobs` at a time.

    Args:
      runs: a run comes after those that it needs.
      jobs: runs at a time.
      say: prints a line of progress.
      work: executes or launches a run; returns its state and why.
      others: further runs of the list; they are not executed, but `runs` may need them.

    Returns:
      Run name -> (state, why), of `runs`.
    """
    outcome: dict[str, tuple[str, str]] = {run.name: (FINISHED, "") for run in runs if is_finished(run)}
    pending = [run for run in runs if run.name not in outcome]
    say(f"{len(runs)} runs, {len(outcome)} finished before")
    for run in others:
        outcome[run.name] = (FINISHED, "") if is_finished(run) else (SKIPPED, "not asked for")
    working: dict[Future[tuple[str, str]], Run] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        while pending or working:
            for run in list(pending):
                lost = [name for name in run.needs if name in outcome and outcome[name][0] != FINISHED]
                if lost:
                    found = outcome[lost[0]][0]
                    status = WAITING if found in (LAUNCHED, ELSEWHERE, WAITING) else SKIPPED
                    outcome[run.name] = (status, f"it needs {lost[0]}, which is {found}")
                    pending.remove(run)
                    say(f"{run.name}: {status}: {outcome[run.name][1]}")
                elif len(working) < jobs and all(name in outcome for name in run.needs):
                    working[pool.submit(work, run)] = run
                    pending.remove(run)
            if not working:
                continue  # a skipped run may cause others to be skipped
            for done in wait(working, return_when=FIRST_COMPLETED).done:
                run = working.pop(done)
                try:
                    outcome[run.name] = done.result()
                except Exception as error:  # of one run; the others continue
                    outcome[run.name] = (FAILED, f"{type(error).__name__}: {error}")
                status, why = outcome[run.name]
                say(f"{run.name}: {status}{f': {why}' if why else ''}")
    return {run.name: outcome[run.name] for run in runs}
