"""Run a list of experiments with seeds:
`python -m inters_jax.sweep --gin.EXPERIMENTS=LIST.yaml --gin.SWEEP_DIR=...`

Every experiment of the list (`inters_jax.experiments.lists` says how one is written) is trained and judged
once per seed, by the ordinary commands. Gin files and values of the sweep's own command line that are not
its macros go to every run, after those of the experiment: `--gin_file=tiny.gin --gin.RAW_DIR=data/inters`.

The same command again continues: finished runs are left alone, the others go on where they stopped. A run
that fails is recorded and the others go on; the exit code is 1 then. SWEEP_DIR gets sweep.html, .md, .csv,
.tex and .json of all that is finished, in every case.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inters_jax import config
from inters_jax.experiments import lists, runs
from inters_jax.reports import sweep_page
from seqio_tasks.base import UserError


def sweep(
    experiments: str,
    sweep_dir: str,
    seeds: Sequence[int] | int | str | None = None,
    only: str | None = None,
    jobs: int = 1,
    launch: str | None = None,
    relaunch: bool = False,
    dry_run: bool = False,
    collect_only: bool = False,
) -> Mapping[str, tuple[str, str]]:
    """Run a list of experiments with seeds, and put their results together.

    Args:
      experiments: the list, a YAML file.
      sweep_dir: folder of the runs; a sweep that is in it already is continued.
      seeds: of training; None: those of the list. Judging has its own seed, the same for all.
      only: names of experiments or runs (main:0), separated by semicolons.
      jobs: runs at a time.
      launch: command template that starts a job for each run, with {command}, {arguments}, {name}, {folder}.
      relaunch: also launch what was launched before and is not finished.
      dry_run: print every command, run none.
      collect_only: make the tables of what is finished, run nothing.
    """
    file = config.find_file(experiments, config.search_paths())
    found = lists.read(file)
    if jobs < 1:
        raise UserError(f"JOBS is {jobs}; it is at least 1")
    root = Path(sweep_dir)
    own = handed_on(config.gin_arguments())
    every = runs.runs_of(found, root, chosen_seeds(seeds, found.seeds), own)
    chosen = select(every, only)
    if dry_run:
        for run in chosen:
            for step in run.steps:
                print(shlex.join(step.command), flush=True)
        return {}
    root.mkdir(parents=True, exist_ok=True)
    outcome: dict[str, tuple[str, str]] = {}
    stop = threading.Event()
    if not collect_only:
        job: list[str] = []
        if launch is not None:
            job = [sys.executable, "-m", "inters_jax.sweep", *own]
            job += [f"--gin.EXPERIMENTS={file.resolve()}", f"--gin.SWEEP_DIR={root.resolve()}"]

        def work(run: runs.Run) -> tuple[str, str]:
            if launch is not None:
                one = [*job, f"--gin.SEEDS=({run.seed},)", f"--gin.ONLY={run.name}"]
                return runs.launch(run, launch, one, relaunch)
            return runs.perform(run, _say, stop)

        others = [run for run in every if run not in chosen]
        with _stopping(stop):
            outcome = runs.run_all(chosen, jobs, _say, work, others)
    if only is None or collect_only:  # a job of a sweep leaves the tables to the sweep
        for run in every:
            outcome.setdefault(run.name, ("finished" if runs.is_finished(run) else "open", ""))
        sweep_page.write(found, every, root, outcome)
        print((root / "sweep.md").read_text(encoding="utf-8"), flush=True)
    failed = [name for name, (status, _) in outcome.items() if status in (runs.FAILED, runs.SKIPPED)]
    if failed and not collect_only:
        raise UserError(f"{len(failed)} of {len(chosen)} runs failed or were skipped: {'; '.join(failed)}")
    return outcome


def handed_on(arguments: Sequence[str]) -> list[str]:
    """The gin arguments that are not the sweep's own, one word each.

    >>> handed_on(["--gin_file", "tiny.gin", "--gin.JOBS=2", "--gin.RAW_DIR=data"])
    ['--gin_file=tiny.gin', '--gin.RAW_DIR=data']
    """
    table = config.macro_table(config.find_file("runs/sweep.gin", config.search_paths()))
    macros = {name for name, _, _ in table}
    words, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("--gin_file", "--gin_search_paths") and rest:
            word = f"{word}={rest.pop(0)}"
        name = word.partition("=")[0].removeprefix("--gin.")
        if name not in macros and not name.startswith("sweep."):
            words.append(word)
    return words


def chosen_seeds(seeds: Sequence[int] | int | str | None, default: Sequence[int]) -> list[int]:
    """Seeds from a number, a list, or text.

    >>> chosen_seeds(None, (0, 1)), chosen_seeds(3, ()), chosen_seeds("0,2", ())
    ([0, 1], [3], [0, 2])
    """
    if seeds is None:
        return list(default)
    try:
        parts = seeds.split(",") if isinstance(seeds, str) else [seeds] if isinstance(seeds, int) else seeds
        return [int(part) for part in parts]
    except ValueError:
        raise UserError(f"SEEDS is {seeds!r}; seeds are whole numbers between commas") from None


def select(every: Sequence[runs.Run], only: str | None) -> list[runs.Run]:
    """The runs that ONLY names, or all."""
    if only is None:
        return list(every)
    names = [name.strip() for name in only.split(";") if name.strip()]
    known = {name for run in every for name in (run.name, run.experiment.name)}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"ONLY names {unknown[0]!r}; the list has {'; '.join(sorted(known))}")
    return [run for run in every if run.name in names or run.experiment.name in names]


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the commands that run, which save what they have, and start no further ones."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(*_: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    config.run_command(sweep)
