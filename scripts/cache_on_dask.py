"""SeqIO's cache of many tasks, written by the workers of a Dask cluster, a task at a time each.

    python scripts/cache_on_dask.py --cache-dir /data/cache --address tcp://host:8786 \\
        --tasks 'inters_fact_verification_(fever|scifact)'

Beam's own runner on Dask cannot run SeqIO's pipeline (docs/reuse.md says why). Here a worker runs the whole
pipeline of a task with Beam's runner in its own process, and Dask gives the tasks of a lost worker to the
others. A task appears in the cache when it is complete; those that are there are kept, so the same command
resumes. Without `--address` a cluster of `--workers` processes is started on this machine.

The settings of this process (INTERS_RAW_DIR, INTERS_TOKENIZER, ...) are sent to the workers, so a worker
cannot read other data by mistake; the paths in them and the cache folder must be there on every machine.
Workers need this package with the extra [beam], `dask` and `distributed`, and one thread (`--nthreads 1`).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqio_tasks import named_tasks, settings
from seqio_tasks.base import UserError, locked, nearest, some
from seqio_tasks.expected_errors import one_line

COMPLETED = "COMPLETED"  # with which SeqIO knows that a cached task is whole


def chosen(patterns: Sequence[str]) -> list[str]:
    """The tasks that patterns name: regular expressions of whole names.

    Raises:
      UserError: a pattern that names no task, or is no regular expression.
    """
    names = list(named_tasks.every())
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            matched = [name for name in names if re.fullmatch(pattern, name)]
        except re.error as error:
            raise UserError(f"--tasks {pattern}: no regular expression ({error})") from None
        if not matched:
            raise UserError(f"--tasks {pattern}: no such task{nearest(pattern, names)}")
        found |= dict.fromkeys(matched)
    return list(found)


def cache(name: str, folder: str, config: dict[str, Any], shards: int) -> str:
    """Cache one task, in the process of a worker; why it has no data, or "".

    Args:
      name: the task.
      folder: of the cache.
      config: fields of `seqio_tasks.settings`.
      shards: the fewest files of a split.
    """
    import apache_beam
    from absl import flags, logging
    from seqio.scripts import cache_tasks_main

    whole = Path(folder) / name / COMPLETED
    if whole.exists():  # Dask asks again when the worker that knew the result is lost
        return ""
    settings.configure(**config)
    pair, form = named_tasks.every()[name]
    missing = [form.missing(pair, split, config["raw_dir"]) for split in form.splits]
    if reasons := [reason for reason in missing if reason]:
        return reasons[0]
    flags.FLAGS(["cache_on_dask", f"--min_shards={shards}"])
    logging.set_verbosity(logging.ERROR)  # it prints examples
    # A folder of its own: a worker that was only thought dead may still be writing the same task.
    partial = Path(folder) / f".{name}.{uuid.uuid4().hex}"
    with apache_beam.Pipeline(runner="FnApiRunner") as pipeline:
        cache_tasks_main.run_pipeline(
            pipeline, [name], str(partial), modules_to_import=["seqio_tasks"], ignore_other_caches=True
        )
    try:
        (partial / name).rename(Path(folder) / name)
    except OSError:
        if not whole.exists():  # else another worker was faster
            raise
    shutil.rmtree(partial)
    return ""


def _by_workers(names: Sequence[str], folder: Path, options: argparse.Namespace) -> list[str]:
    """Cache tasks on a cluster; those that have no data.

    Raises:
      UserError: a task that no worker survives.
    """
    from dask.distributed import Client, KilledWorker, LocalCluster, as_completed

    config = dict(vars(settings.current()))
    local: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": None}
    without_data = []
    with contextlib.ExitStack() as ending:
        address = options.address
        if address is None:
            address = ending.enter_context(LocalCluster(n_workers=options.workers, **local))
        client = ending.enter_context(Client(address))
        jobs = {client.submit(cache, name, str(folder), config, options.min_shards): name for name in names}
        for job in as_completed(jobs):
            name = jobs[job]
            try:
                reason = job.result()
            except KilledWorker:
                raise UserError(
                    f"{name}: every worker that was given it has died, perhaps because memory was short; the "
                    "same command keeps what is finished"
                ) from None
            print(f"{name}: {reason or 'cached'}", flush=True)
            if reason:
                without_data.append(name)
    return without_data


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", required=True, action="append", help="regular expression; may be repeated")
    parser.add_argument("--cache-dir", required=True, type=Path, help="the folder of the cache")
    parser.add_argument("--address", help="of Dask's scheduler; default: a cluster on this machine")
    parser.add_argument("--workers", type=int, default=2, help="processes of that cluster")
    parser.add_argument("--min-shards", type=int, default=64, help="the fewest files of a split")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    names = chosen(options.tasks)
    if importlib.util.find_spec("distributed") is None:
        raise UserError('Dask is not installed: pip install "apache-beam[dask]"')
    folder: Path = options.cache_dir.absolute()
    with locked(folder / ".cache_on_dask.lock", busy=f"{folder}: another cache_on_dask writes to it"):
        waiting = [name for name in names if not (folder / name / COMPLETED).exists()]
        for name in waiting:
            if (folder / name).exists():
                raise UserError(f"{folder / name}: a cache that is not complete; remove it")
        print(f"{len(names) - len(waiting)} of {len(names)} tasks are in {folder}", flush=True)
        without_data = _by_workers(waiting, folder, options) if waiting else []
        for name in names:  # what workers left behind that were killed
            for partial in folder.glob(f".{name}.{'[0-9a-f]' * 32}"):
                shutil.rmtree(partial)
    if without_data:
        print(f"without data: {some(without_data)}")
    return 0


if __name__ == "__main__":
    with one_line("cache_on_dask"):
        sys.exit(main())
