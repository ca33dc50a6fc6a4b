"""Writes the tasks of a store, each with all its passes into a folder of its own.

What a task becomes depends on a `Job` and its name only, not on the process that writes it or on the tasks
that this process has written before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import seqio
import tensorflow as tf
from tqdm import tqdm

from inters_jax.data import conversion, provenance
from inters_jax.data.pass_files import PassWriter
from inters_jax.data.registry import Registry
from inters_jax.data.token_store import COUNTS, fingerprint, pass_folder, write_json
from seqio_tasks import own_data
from seqio_tasks import settings as task_settings
from seqio_tasks.base import MissingData

_OF_MIXTURE = ("name", "epoch_examples", "members")  # settings that shape no task by itself
_MANY = 10**9  # rows of a task whose rate is only bounded by its cap


@dataclasses.dataclass(frozen=True)
class Job:
    """What a store is made of, as another process can be told.

    partial: the folder in which every task gets one. settings, tokenizer, raw_dir, modules, datasets: see
    `building.build`. cache_dirs: all folders of SeqIO's cache. shaping: all of `seqio_tasks.settings`.
    description: of the tokenizer, as it belongs to the key of a task. scale: what rates are multiplied by.
    """

    partial: Path
    settings: Mapping[str, Any]
    tokenizer: str
    raw_dir: Path
    modules: tuple[str, ...]
    datasets: tuple[str, ...]
    cache_dirs: tuple[str, ...]
    shaping: Mapping[str, Any]
    description: Mapping[str, Any]
    scale: float


@dataclasses.dataclass(frozen=True)
class Written:
    """What has become of one task.

    passes: the counts of each, the first one at least, unless there is a reason why the task has no data.
    sources: digests of the code and the raw folders that it depends on.
    """

    sources: Mapping[str, str]
    passes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rate: float = 0.0
    reason: str = ""


@contextlib.contextmanager
def in_force(
    shaping: Mapping[str, Any], cache_dirs: tuple[str, ...], datasets: tuple[str, ...]
) -> Iterator[None]:
    """Inside the block this process reads tasks as a `Job` with these values says, and uses no GPU."""
    # Training, which may be waiting for this process, needs the accelerator.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    own_data.register(datasets)
    before = list(seqio.get_global_cache_dirs())
    with task_settings.override(**shaping):
        seqio.add_global_cache_dirs(list(cache_dirs))
        try:
            yield
        finally:
            seqio.set_global_cache_dirs(before)


@contextlib.contextmanager
def writing(job: Job) -> Iterator[Callable[[str], Written]]:
    """Inside the block, writes tasks of a job by their names, in a process that does nothing else."""
    with in_force(job.shaping, job.cache_dirs, job.datasets):
        registry = Registry(job.settings["name"], job.tokenizer, job.modules)
        yield TaskWriter(job, registry, bars=False).write


class TaskWriter:
    """Writes tasks of a job in this process, inside `in_force`.

    Args:
      job: the job.
      registry: of its name, tokenizer and modules.
      bars: whether the rows of a task are shown on a terminal as they are written.
    """

    def __init__(self, job: Job, registry: Registry, *, bars: bool) -> None:
        self._job = job
        self._registry = registry
        self._bars = bars
        self._digests = provenance.code_digests(job.modules)
        self._numbers = {task.name: number for number, task in enumerate(registry.tasks, 1)}

    def write(self, name: str) -> Written:
        """Write one task, or take it over from an interrupted build of the same job.

        Raises:
          StoreError: the task is of another tokenizer, or its rate cannot be computed.
          DataError: a file is broken.
        """
        job, registry = self._job, self._registry
        settings, split = job.settings, job.settings["split"]
        task = registry.tasks[self._numbers[name] - 1]
        if split not in task.splits:
            return Written({}, reason=f"no split {split!r} (it has {', '.join(task.splits)})")
        reader = conversion.reader(
            task,
            registry.vocabulary,
            split=split,
            seed=settings["seed"],
            max_length=settings["max_length"],
        )
        code = provenance.code_sources(self._digests, [name])
        sources = code | provenance.raw_sources(job.raw_dir, reader.folders)
        shape = {key: value for key, value in settings.items() if key not in _OF_MIXTURE}
        rate = functools.partial(registry.rate, task, split)

        def passes(kept: int) -> int:
            return registry.passes(job.scale * rate(kept), kept, settings["passes"])

        # Rates of another mixture would need another number of passes.
        shaped = {
            "settings": shape, "tokenizer": job.description, "sources": code, "rate": job.scale * rate(_MANY)
        }  # fmt: skip
        try:
            counts, opened = self._write(reader, fingerprint(shaped), passes)
        except MissingData as error:
            shutil.rmtree(job.partial / name, ignore_errors=True)
            return Written(sources, reason=str(error))
        if not counts:
            reason = f"none of its rows in split {split!r} could be used"
            return Written(sources | opened, reason=reason)
        return Written(sources | opened, counts, rate(counts[0]["kept"]))

    def _write(
        self, reader: conversion.Reader, key: str, passes: Callable[[int], int]
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Write one task; the counts of its passes and the digests of the raw folders that it read.

        `passes` is their number by the examples of the first one. A task that an interrupted build has
        written is reused if `key` and the raw folders are the same.
        """
        partial, raw_dir, vocab_size = self._job.partial, self._job.raw_dir, self._registry.vocab_size
        folder = partial / reader.name
        finished = folder / COUNTS
        if finished.is_file():
            done = json.loads(finished.read_text(encoding="utf-8"))
            folders = [name.removeprefix("raw:") for name in done["raw"]]
            if done["key"] == key and done["raw"] == provenance.raw_sources(raw_dir, folders):
                return done["passes"], done["raw"]
        shutil.rmtree(folder, ignore_errors=True)
        counts: list[dict[str, Any]] = []
        with self._bar(reader, passes) as bar, provenance.OpenedFolders(raw_dir, ignore=partial) as opened:
            for pass_ in itertools.count():
                if counts and pass_ >= passes(counts[0]["kept"]):
                    break
                left_out: Counter[str] = Counter()
                writer = PassWriter(pass_folder(partial, reader.name, len(counts)), vocab_size)
                for converted in reader.read(pass_, left_out):
                    before = writer.examples
                    self._registry.check_answer(*converted)
                    writer.add(*converted)
                    bar.update(writer.examples - before)
                written = writer.finish() | _named(left_out)
                written["rows"] = left_out["rows"] or written["kept"] + sum(written["dropped"].values())
                same = bool(counts) and written["digest"] == counts[0]["digest"]
                if same or not written["kept"]:
                    # Without templates to choose from, every pass of a task is the same: one is enough.
                    shutil.rmtree(writer.folder)
                    break
                counts.append(written)
        raw = provenance.raw_sources(raw_dir, {*reader.folders, *opened.folders})
        if counts:
            write_json(finished, {"key": key, "raw": raw, "passes": counts})
        else:
            shutil.rmtree(folder)
        return counts, raw

    def _bar(self, reader: conversion.Reader, passes: Callable[[int], int]) -> tqdm:
        total = None if reader.rows is None else reader.rows * passes(reader.rows)
        title = f"{reader.name} ({self._numbers[reader.name]}/{len(self._numbers)})"
        hidden = None if self._bars else True  # None: shown on a terminal
        return tqdm(total=total, desc=title, unit=" rows", disable=hidden, leave=False)


def _named(left_out: Counter[str]) -> dict[str, Any]:
    """The counts of a reader: dropped rows by reason, shortened rows, and further notes."""
    prefix = "dropped: "
    return {
        "dropped": {
            name.removeprefix(prefix): n for name, n in left_out.items() if name.startswith(prefix) and n
        },
        "shortened": left_out["shortened"],
        "notes": {
            name: n
            for name, n in left_out.items()
            if n and not name.startswith(prefix) and name not in ("rows", "shortened")
        },
    }
