"""The runs of a list, one per experiment and seed: their commands, their state, and their execution.

A run has a folder <sweep>/<experiment>/seed<N> with

    state.json        per step: its command, whether it is finished, its exit code, seconds
    run.lock          locked while a process works on the run; released when that process ends or is killed
    train.log, ...    the output of each step
    model/            run folder of train;  evaluation/, rerank/  results

A step is finished if its command succeeded and, for judging commands, the files listed in its results.json
are unchanged. All other steps are started again: train resumes from its checkpoint, the judging commands from
their journals.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inters_jax.evaluation.results import read_result, write_json
from inters_jax.experiments import orders
from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.settings.commands import COMMANDS, settings_of_command
from inters_jax.settings.fields import settings_of
from seqio_tasks.base import AlreadyLocked, UserError, file_sha256, locked, nearest

RESULTS = {"evaluate": "evaluation", "rerank": "rerank"}
FINISHED, FAILED, LAUNCHED, ELSEWHERE, SKIPPED = "finished", "failed", "launched", "elsewhere", "skipped"
WAITING = "waiting"  # for a run that is in progress elsewhere


@dataclass(frozen=True)
class Arguments:
    """Gin files and settings for every run; a setting reaches the commands that read it."""

    files: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    search_paths: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """As they are typed."""
        folders = [f"--gin_search_paths={','.join(self.search_paths)}"] if self.search_paths else []
        files = [f"--gin_file={name}" for name in self.files]
        return [*folders, *files, *(f"--gin.{name}={value}" for name, value in self.values.items())]


NO_ARGUMENTS = Arguments()


@dataclass(frozen=True)
class Step:
    """A command of a run, and the folder of its results (None for train)."""

    name: str
    command: tuple[str, ...]
    results: Path | None


@dataclass(frozen=True)
class Run:
    """One experiment with one seed."""

    experiment: Experiment
    seed: int
    folder: Path
    steps: tuple[Step, ...]
    needs: tuple[str, ...]
    first_stage: Path | None = None

    @property
    def name(self) -> str:
        return run_name(self.experiment.name, self.seed)


def run_name(experiment: str, seed: int) -> str:
    """The name of the run of an experiment with a seed."""
    return f"{experiment}:{seed}"


def runs_of(
    experiments: ExperimentList,
    folder: Path,
    seeds: Sequence[int],
    extra: Arguments = NO_ARGUMENTS,
    module: Callable[[str], Sequence[str]] | None = None,
) -> list[Run]:
    """All runs of a list; a run comes after the runs that it needs.

    Args:
      experiments: the list.
      folder: of the sweep.
      seeds: one run per experiment and seed.
      extra: gin arguments of the sweep's own command line, which follow those of the experiment.
      module: command name -> the words that start it; None: train -> ["python", "-m", "inters_jax.train"].
    """
    call = module or (lambda name: (sys.executable, "-m", f"inters_jax.{name}"))
    check_names(experiments, extra)
    return [
        _run(experiments, one, seed, folder, extra, call) for one in experiments.experiments for seed in seeds
    ]


def check_names(experiments: ExperimentList, extra: Arguments) -> None:
    """Refuse a setting that no command of the list reads."""
    for one in experiments.experiments:
        for name in one.overrides:
            if not any(reads(step, name) for step in one.steps):
                known = {known for step in one.steps for known in settings_of_command(step)}
                raise UserError(
                    f"{one.name}: {' and '.join(one.steps)} do not read {name}{nearest(name, known)}"
                )
    steps = {step for one in experiments.experiments for step in one.steps}
    for name in extra.values:
        if not any(reads(step, name) for step in steps):
            known = {known for step in steps for known in settings_of_command(step)}
            raise UserError(f"--gin.{name}: no run of this list reads it{nearest(name, known)}")


def reads(command: str, name: str) -> bool:
    """Whether a setting on a command's line is one that it reads; fields of objects count for training.

    >>> reads("evaluate", "TASKS"), reads("evaluate", "BATCH_SIZE"), reads("train", "LoRA.rank")
    (True, False, True)
    """
    owner, _, argument = name.rpartition(".")
    if not owner:
        return name in settings_of_command(command)
    if owner in COMMANDS:
        return owner == command
    groups = {group.__name__: group for group in COMMANDS[command]}
    if owner in groups:
        return argument in {one.field for one in settings_of(groups[owner])}
    objects = {name for one in settings_of_command(command).values() for name in one.meaning.objects}
    return owner in objects


def _run(
    experiments: ExperimentList,
    one: Experiment,
    seed: int,
    root: Path,
    extra: Arguments,
    call: Callable[[str], Sequence[str]],
) -> Run:
    folder = root / one.folder / f"seed{seed}"
    owner = experiments.experiment(one.model_of) if one.model_of else one
    model = one.model or str(root / owner.folder / f"seed{seed}" / "model")
    common = [*(f"--gin_file={name}" for name in (*one.gin_files, *extra.files))]
    if extra.search_paths:
        common.insert(0, f"--gin_search_paths={','.join(extra.search_paths)}")
    values = {name: _text(value) for name, value in one.overrides.items()} | dict(extra.values)
    first_stage = None
    steps = []
    for name in one.steps:
        results = folder / RESULTS[name] if name in RESULTS else None
        given = [f"--gin.MODEL_DIR={model}"]
        if name == "train":
            given.append(f"--gin.SEED={seed}")
        if results is not None:
            given.append(f"--gin.OUTPUT_DIR={results}")
        if name == "rerank" and one.order_of:
            base = experiments.experiment(one.order_of)
            first_stage = root / base.folder / f"seed{seed}" / RESULTS["rerank"] / "first_stage.trec"
            given.append(f"--gin.RUN={folder / 'first_stage.trec'}")
        own = [f"--gin.{key}={value}" for key, value in values.items() if reads(name, key)]
        steps.append(Step(name, (*call(name), *common, *own, *given), results))
    needs = tuple(run_name(name, seed) for name in one.needs)
    return Run(one, seed, folder, tuple(steps), needs, first_stage)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def problem(results: Path) -> str | None:
    """Why a folder has no finished result; None if it has one."""
    path = results / "results.json"
    if not path.is_file():
        return f"{path} is missing"
    try:
        result = read_result(path)
    except (ValueError, OSError) as error:
        return str(error)
    if result.get("failed"):
        return f"{path}: failed: {', '.join(result['failed'])}"
    if not result.get("metrics"):
        return f"{path}: nothing was judged"
    for owner, files in (result.get("files") or {}).items():
        for name, digest in files.items():
            file = results / owner / name
            if not file.is_file() or file_sha256(file) != digest:
                return f"{file}: missing or changed since it was judged"
    return None


def state(run: Run) -> dict[str, Any]:
    """The recorded state of a run; {} if there is none or it cannot be read."""
    try:
        found = json.loads((run.folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def is_finished(run: Run) -> bool:
    """Whether every step of a run is finished."""
    known = state(run)
    return all(_done(step, known) for step in run.steps)


def _done(step: Step, known: Mapping[str, Any]) -> bool:
    own = known.get(step.name, {})
    same = own.get("finished") is True and own.get("command") == list(step.command[1:])
    return same and (step.results is None or problem(step.results) is None)


def perform(run: Run, say: Callable[[str], None], stop: threading.Event) -> tuple[str, str]:
    """Run the unfinished steps of a run in this process; (status, reason).

    Args:
      run: the run.
      say: prints a line of progress.
      stop: when set, the current command is ended and no other is started.
    """
    try:
        with locked(run.folder / "run.lock", busy="another sweep is working on it"):
            return _perform(run, say, stop)
    except AlreadyLocked as error:
        return ELSEWHERE, str(error)


def _perform(run: Run, say: Callable[[str], None], stop: threading.Event) -> tuple[str, str]:
    known = state(run)
    for step in run.steps:
        if _done(step, known):
            continue
        before = known.get(step.name, {}).get("command")
        if before is not None and before != list(step.command[1:]):
            return FAILED, (
                f"{step.name} was started with other arguments ({run.folder / 'state.json'} has them); "
                "remove the folder, or choose another SWEEP_DIR"
            )
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
    """Run a command with its output appended to a log; `stop` ends it. The exit code."""
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


def launch(run: Run, template: str, command: Sequence[str], again: bool) -> tuple[str, str]:
    """Start a run as a job, with a command template; (status, reason).

    Args:
      run: the run.
      template: the command that submits a job. {command} is `command` as one word, {name} and {folder} those
        of the run; a word {arguments} is replaced by the words of `command`.
      command: executes the run, wherever the job is.
      again: also launch a run that was launched before and is not finished.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    known = state(run)
    if "launched" in known and not again:
        return LAUNCHED, f"launched at {known['launched']} and not finished; RELAUNCH=True starts it again"
    words = launch_words(run, template, command)
    # Recorded before the job starts: from then on only the job writes this file.
    known["launched"] = time.strftime("%Y-%m-%d %H:%M:%S")
    write_json(run.folder / "state.json", known)
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        code, said = done.returncode, done.stdout + done.stderr
    except OSError as error:
        code, said = 127, f"{error}\n"
    with (run.folder / "launch.log").open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(words)}\n{said}")
    if code:
        known = state(run)
        known.pop("launched", None)
        write_json(run.folder / "state.json", known)
        return FAILED, f"the job could not be started; see {run.folder / 'launch.log'}"
    return LAUNCHED, ""


def launch_words(run: Run, template: str, command: Sequence[str]) -> list[str]:
    """The words of a launch command, see `launch`."""
    words: list[str] = []
    for word in shlex.split(template):
        if word == "{arguments}":
            words += command
            continue
        values = {"command": shlex.join(command), "name": f"{run.experiment.folder}-{run.seed}"}
        for name, value in (values | {"folder": str(run.folder)}).items():
            word = word.replace(f"{{{name}}}", value)
        words.append(word)
    if "{arguments}" not in template and "{command}" not in template:
        raise UserError(f"LAUNCH must contain {{command}} or {{arguments}}, got {template!r}")
    return words


def run_all(
    runs: Sequence[Run],
    jobs: int,
    say: Callable[[str], None],
    work: Callable[[Run], tuple[str, str]],
    others: Sequence[Run] = (),
) -> dict[str, tuple[str, str]]:
    """Execute all unfinished runs; run name -> (status, reason).

    Args:
      runs: the runs to execute.
      jobs: most runs at a time.
      say: prints a line of progress.
      work: executes or launches one run; (status, reason).
      others: further runs of the list. They may be needed by `runs`, but are not executed.
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
                continue  # runs that were skipped may decide about others
            for done in wait(working, return_when=FIRST_COMPLETED).done:
                run = working.pop(done)
                try:
                    outcome[run.name] = done.result()
                except Exception as error:  # one run failed; the others continue
                    outcome[run.name] = (FAILED, f"{type(error).__name__}: {error}")
                status, why = outcome[run.name]
                say(f"{run.name}: {status}{f': {why}' if why else ''}")
    return {run.name: outcome[run.name] for run in runs}
