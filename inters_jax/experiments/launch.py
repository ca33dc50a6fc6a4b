"""Starting a run as a job of a scheduler."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence

from inters_jax.evaluation.results import write_json
from inters_jax.experiments import runs
from seqio_tasks.base import UserError


def launch(run: runs.Run, template: str, command: Sequence[str], again: bool) -> tuple[str, str]:
    """Start a run as a job.

    Args:
      run: the run.
      template: a command line. {command} in it stands for `command` as one word, {name} and {folder} for
        those of the run; the word {arguments} stands for the words of `command`.
      command: executes the run where the job is.
      again: also start a run that was launched before and is not finished.

    Returns:
      The state of the run, and why.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    known = runs.state(run)
    if "launched" in known and not again:
        return (
            runs.LAUNCHED,
            f"launched at {known['launched']} and not finished; RELAUNCH=True starts it again",
        )
    words = launch_words(run, template, command)
    # Recorded before the job starts: from then on the job writes this file.
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
        known = runs.state(run)
        known.pop("launched", None)
        write_json(run.folder / "state.json", known)
        return runs.FAILED, f"the job could not be started; see {run.folder / 'launch.log'}"
    return runs.LAUNCHED, ""


def launch_words(run: runs.Run, template: str, command: Sequence[str]) -> list[str]:
    """The words of a job's command line; see `launch`."""
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
        raise UserError(f"LAUNCH is {template!r}; it must hold {{command}} or {{arguments}}")
    return words
