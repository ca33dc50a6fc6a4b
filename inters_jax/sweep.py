"""Run a list of experiments with seeds:
`python -m inters_jax.sweep --gin.EXPERIMENTS=experiments/ablations.yaml --gin.SWEEP_DIR=...`

Every experiment of the list (`inters_jax.experiments.lists` documents the format) is trained and judged once
per seed, by the ordinary commands. A list is found by name as gin files are. Gin files and settings of the
sweep's own command line go to every run, after those of the experiment: `--gin_file=tiny.gin
--gin.RAW_DIR=data/inters`.

The same command again resumes the sweep: finished runs are left alone, the others resume where they stopped.
A run that fails is recorded and the others continue; the exit code is 1 then. In every case SWEEP_DIR gets
sweep.html, .md, .csv, .tex and .json of all that is finished.
"""

from __future__ import annotations

import functools
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inters_jax.command_line import parse_arguments, run_command
from inters_jax.experiments import lists, runs
from inters_jax.experiments.launch import launch
from inters_jax.experiments.routing import NO_ARGUMENTS, Arguments
from inters_jax.gin_files import find_file, search_paths
from inters_jax.reports import sweep_page
from inters_jax.settings.commands import settings_of_command
from inters_jax.settings.tools import SweepSettings
from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import one_line


def sweep(settings: SweepSettings, arguments: Arguments = NO_ARGUMENTS) -> Mapping[str, tuple[str, str]]:
    """Run a list of experiments with seeds, and collect their results.

    Args:
      settings: of the sweep.
      arguments: gin files and settings of the command line that go to the runs.

    Returns:
      Run name -> (state, why).

    Raises:
      UserError: a list or setting that is wrong, or runs that failed or were skipped.
    """
    file = find_file(settings.experiments, search_paths(arguments.search_paths))
    found = lists.read(file)
    root = Path(settings.sweep_dir)
    if settings.prepare_only and settings.launch is not None:
        raise UserError(
            "PREPARE_ONLY prepares the stores here; leave out LAUNCH, and launch the sweep afterwards"
        )
    seeds = chosen_seeds(settings.seeds, found.seeds)
    every = runs.runs_of(found, root, seeds, arguments, prepare_only=settings.prepare_only)
    chosen = select(every, settings.only)
    if settings.dry_run:
        for run in chosen:
            for step in run.steps:
                print(shlex.join(step.command), flush=True)
        return {}
    root.mkdir(parents=True, exist_ok=True)
    outcome: dict[str, tuple[str, str]] = {}
    stop = threading.Event()
    if not settings.collect_only:
        job: list[str] = []
        if settings.launch is not None:
            job = [sys.executable, "-m", "inters_jax.sweep", *arguments.words()]
            job += [f"--gin.EXPERIMENTS={file.resolve()}", f"--gin.SWEEP_DIR={root.resolve()}"]

        def work(run: runs.Run) -> tuple[str, str]:
            if settings.launch is not None:
                one = [*job, f"--gin.SEEDS=({run.seed},)", f"--gin.ONLY={run.name}"]
                return launch(run, settings.launch, one, settings.relaunch)
            return runs.perform(run, _say, stop)

        others = [run for run in every if run not in chosen]
        with _stopping(stop):
            outcome = runs.run_all(chosen, settings.jobs, _say, work, others)
    if settings.collect_only or (
        settings.only is None and not settings.prepare_only
    ):  # a job does one run; the sweep makes the tables
        for run in every:
            outcome.setdefault(run.name, ("finished" if runs.is_finished(run) else "open", ""))
        sweep_page.write(found, every, root, outcome)
        print((root / "sweep.md").read_text(encoding="utf-8"), flush=True)
    failed = [name for name, (status, _) in outcome.items() if status in (runs.FAILED, runs.SKIPPED)]
    if failed and not settings.collect_only:
        raise UserError(f"{len(failed)} of {len(chosen)} runs failed or were skipped: {'; '.join(failed)}")
    return outcome


def divided(argv: Sequence[str]) -> tuple[list[str], Arguments]:
    """Divide a command line into the sweep's own arguments and those of its runs.

    >>> own, others = divided(["--gin_file", "tiny.gin", "--gin.JOBS=2", "--gin.RAW_DIR=data"])
    >>> own, others.words()
    (['--gin.JOBS=2'], ['--gin_file=tiny.gin', '--gin.RAW_DIR=data'])
    """
    line = parse_arguments(argv)
    mine = settings_of_command("sweep")
    own = [word for word, name, _ in line.overrides if name in mine or name.startswith("sweep.")]
    own += ["--help"] if line.help else []
    values = {name: value for word, name, value in line.overrides if word not in own}
    folders = [f"--gin_search_paths={','.join(line.search_paths)}"] if line.search_paths else []
    return [*own, *folders], Arguments(line.files, values, line.search_paths)


def chosen_seeds(seeds: Sequence[int] | int | None, default: Sequence[int]) -> list[int]:
    """Seeds from a number or a list.

    >>> chosen_seeds(None, (0, 1)), chosen_seeds(3, ()), chosen_seeds((0, 2), ())
    ([0, 1], [3], [0, 2])
    """
    if seeds is None:
        return list(default)
    found = [seeds] if isinstance(seeds, int) else list(seeds)
    if wrong := [seed for seed in found if not isinstance(seed, int)]:
        raise UserError(f"SEEDS holds {wrong[0]!r}; seeds are whole numbers")
    return found


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
    """SIGTERM and Ctrl-C stop the running commands, which save their progress; no further ones start."""
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


def main(argv: Sequence[str]) -> Any:
    """Run the command: its own settings, everything else for the runs."""
    with one_line("sweep"):
        own, others = divided(argv)
    return run_command(functools.update_wrapper(functools.partial(sweep, arguments=others), sweep), own)


if __name__ == "__main__":
    main(sys.argv[1:])
