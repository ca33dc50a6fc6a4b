"""Builds a token store: its tasks are read, written and counted (`task_writing`), then it is put in place.

An interrupted build keeps its finished tasks in `<store>.partial`, each with a key of everything that shaped
it. The next build reuses a task if its key is unchanged.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seqio

from inters_jax.data import conversion, provenance, workers
from inters_jax.data.pass_files import StoreError, token_dtype
from inters_jax.data.registry import Registry
from inters_jax.data.task_writing import Job, TaskWriter, Written, in_force, writing
from inters_jax.data.token_store import (
    FORMAT,
    MANIFEST,
    check_removable,
    fingerprint,
    remove_store,
    write_json,
)
from seqio_tasks import settings as task_settings
from seqio_tasks.base import some


def build(
    store: Path,
    *,
    settings: dict[str, Any],
    tokenizer: str,
    raw_dir: Path,
    modules: Sequence[str],
    datasets: Sequence[str] = (),
    templates: Sequence[str] = (),
    cache_dirs: Sequence[str] = (),
    chat_template: str = "none",
    group_size: int = task_settings.Settings.group_size,
    teacher: Sequence[str] = (),
    processes: int = 1,
) -> None:
    """Write the store of a task or mixture to a folder beside it, and rename that when it is complete.

    Args:
      store: the folder to create; an existing one is replaced at the very end.
      settings: name, split, max_length, seed, passes, max_shots, max_cut, epoch_examples (see `prepare`).
      tokenizer: a tokenizer.json, a folder with one, or a hub name.
      raw_dir: folder of the official files.
      modules: modules to import, which register the tasks.
      datasets: files that declare data of one's own.
      templates: additional template files, for our tasks.
      cache_dirs: folders of SeqIO's cache.
      chat_template: for our tasks, as in `seqio_tasks.settings`.
      group_size: documents of a query, likewise.
      teacher: files with scores of these documents, likewise.
      processes: that write tasks; 1: this one. The store is the same.

    Raises:
      StoreError: no such task, a task of another tokenizer, or no data at all.
      UserError: a process that wrote tasks was killed.
    """
    shaping = {name: settings[name] for name in ("max_length", "max_shots", "max_cut", "seed")}
    shaping |= {"raw_dir": str(raw_dir), "tokenizer": tokenizer, "templates": tuple(templates)}
    shaping |= {"chat_template": chat_template, "group_size": group_size, "teacher": tuple(teacher)}
    with in_force(shaping, tuple(cache_dirs), tuple(datasets)):
        registry = Registry(settings["name"], tokenizer, modules)
        partial = _partial(store)
        description = _described(tokenizer, registry)
        job = Job(
            partial,
            settings,
            tokenizer,
            raw_dir,
            tuple(modules),
            tuple(datasets),
            tuple(seqio.get_global_cache_dirs()),
            dict(vars(task_settings.current())),
            description,
            registry.scale(settings["epoch_examples"], settings["split"]),
        )
        names = [task.name for task in registry.tasks]
        if processes > 1:
            found = workers.answers(functools.partial(writing, job), names, processes, title="prepare")
        else:
            writer = TaskWriter(job, registry, bars=True)
            found = {name: writer.write(name) for name in names}
        _finish(job, registry, found)
    _put_in_place(partial, store)


def _partial(store: Path) -> Path:
    """The folder that is written, once it is known that the store may be replaced at the end."""
    partial = store.with_name(store.name + ".partial")
    for folder, finished in ((store, True), (partial, False), (_replaced(store), False)):
        check_removable(folder, finished=finished)  # before the work, and again before anything is removed
    partial.mkdir(exist_ok=True)
    return partial


def _replaced(store: Path) -> Path:
    """Where the store that is replaced waits for its end."""
    return store.with_name(store.name + ".replaced")


def _described(tokenizer: str, registry: Registry) -> dict[str, Any]:
    """What a store says of its tokenizer; it belongs to the keys of its tasks."""
    identity = provenance.tokenizer_identity(tokenizer) or {"sha256": "", "special": {}}
    vocabulary = registry.vocabulary
    special = {
        name: None if value is None else int(conversion.plain_ids(vocabulary, [value])[0])
        for name, value in (("bos_id", vocabulary.bos_id), ("eos_id", vocabulary.eos_id))
    }
    return {"name": tokenizer, "vocab_size": registry.vocab_size} | special | identity


def _finish(job: Job, registry: Registry, found: dict[str, Written]) -> None:
    """Write the manifest of the tasks, and remove what another build has left in their folder.

    Raises:
      StoreError: no task has data.
    """
    settings, partial = job.settings, job.partial
    tasks: dict[str, Any] = {
        name: {"rate": one.rate, "passes": one.passes} for name, one in found.items() if not one.reason
    }
    without_data = {name: one.reason for name, one in found.items() if one.reason}
    sources: dict[str, str] = {}
    for one in found.values():
        sources |= one.sources
    if not tasks:
        reasons = [f"{name}: {reason}" for name, reason in without_data.items()]
        raise StoreError(f"{settings['name']} has no data: {some(reasons, '; ')}")
    # Tasks that an interrupted build of another mixture left behind.
    for leftover in partial.iterdir():
        if leftover.name not in tasks:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    rows = sum(entry["passes"][0]["kept"] for entry in tasks.values())
    by_rates = registry.epoch(sum(entry["rate"] for entry in tasks.values()), rows, settings["split"])
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "settings": settings,
        "tokenizer": {**job.description, **provenance.hub_revision(job.tokenizer)},
        "sources": dict(sorted(sources.items())),
        "dtype": token_dtype(registry.vocab_size).str,
        "epoch_examples": settings["epoch_examples"] or max(by_rates, len(tasks)),
        "tasks": tasks,
        "without_data": without_data,
    }
    if any("sequences" in counts for entry in tasks.values() for counts in entry["passes"]):
        manifest["judgment"] = registry.judgment
    manifest["fingerprint"] = fingerprint(manifest)
    write_json(partial / MANIFEST, manifest)


def _put_in_place(partial: Path, store: Path) -> None:
    """Give the finished folder the name of the store; an existing store is removed after that."""
    if not store.exists():
        partial.rename(store)
        return
    check_removable(store, finished=True)
    remove_store(_replaced(store), finished=False)
    store.rename(_replaced(store))
    partial.rename(store)
    remove_store(_replaced(store), finished=False)
