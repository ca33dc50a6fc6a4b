"""`python -m inters_jax.prepare`: a SeqIO task or mixture -> the token store that training reads.

    python -m inters_jax.prepare --gin.STORE_DIR=stores/inters --gin.TOKENIZER=mistralai/Mistral-7B-v0.1 \\
        --gin.RAW_DIR=/data/inters

Any registered name will do; tasks of another project are registered by naming its module:
``--gin.MODULES=seqio_tasks,their_tasks``. A finished store is checked in well under a second
and left as it is; an interrupted run goes on with the next task.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax import paths
from inters_jax.command_line import run_command
from inters_jax.data import provenance
from inters_jax.data.pass_files import StoreError
from inters_jax.data.token_store import MANIFEST, TokenStore
from inters_jax.gin_files import ConfigError
from inters_jax.reports import store_report
from inters_jax.settings.training import DataSettings, LengthSettings, StoreSettings
from seqio_tasks import own_data
from seqio_tasks import settings as task_settings
from seqio_tasks.base import locked, some
from seqio_tasks.expected_errors import is_disk_full, no_space


def prepare(data: DataSettings, length: LengthSettings, existing: StoreSettings) -> TokenStore:
    """Write the token store of a SeqIO task or mixture, or return at once when it is already there.

    Raises:
      StoreError: a store made with other settings is there, or a folder that is no store.
    """
    if data.store_dir is None:
        raise ConfigError("STORE_DIR has no value; set it with --gin.STORE_DIR=... or in a --gin_file")
    own_data.register(data.datasets)
    store = paths.local(data.store_dir)
    tokenizer = provenance.tokenizer_source(data.tokenizer)
    raw = provenance.raw_folder(data.raw_dir)
    settings = {
        "name": data.mixture_or_task_name,
        "split": data.split,
        "max_length": length.max_length,
        "seed": data.seed,
        "passes": data.passes,
        "max_shots": data.max_shots,
        "max_cut": data.max_cut,
        "epoch_examples": data.epoch_examples,
    }
    named = list(data.templates) or [
        path for path in os.environ.get("INTERS_TEMPLATES", "").split(os.pathsep) if path
    ]
    teacher = list(task_settings.resolve("teacher", data.teacher))
    caches = list(data.cache_dirs)
    if named:
        settings["templates"] = provenance.digests(named)
    if caches:
        settings["cache_dirs"] = provenance.digests(caches)
    # Recorded where they are given, so that stores of other tasks stay what they were.
    if teacher:
        settings["teacher"] = provenance.digests(teacher)
    if data.group_size != task_settings.Settings.group_size:
        settings["group_size"] = data.group_size
    if (members := own_data.members(data.mixture_or_task_name)) is not None:
        settings["members"] = members
    chat = provenance.chat_template_asked(data.chat_template)
    if chat != provenance.PLAIN:
        settings["chat_template"] = provenance.chat_template_identity(chat, tokenizer)
    asked: dict[str, Any] = {
        "settings": settings,
        "tokenizer": tokenizer,
        "raw_dir": raw,
        "modules": data.modules,
    }
    # First without the lock: a store appears whole, and a finished one may be on a read-only file system.
    if found := _current(store, asked, existing.rebuild, data.check_sources):
        return found
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(locked(store.with_name(f".{store.name}.lock")))
        except OSError as error:
            raise StoreError(
                f"{store} has to be written, but {store.parent} cannot be ({error.strerror or error}); name "
                "another STORE_DIR"
            ) from error
        if found := _current(store, asked, existing.rebuild, data.check_sources):
            return found  # another process has made it
        if store.exists() and not (store / MANIFEST).exists() and any(store.iterdir()):
            raise StoreError(f"{store} exists and is no token store; name another store_dir or remove it")
        from inters_jax.data.building import build  # needs SeqIO, hence TensorFlow: seconds to import

        begin = time.monotonic()
        try:
            build(
                store,
                **asked,
                datasets=data.datasets,
                templates=named,
                cache_dirs=caches,
                chat_template=chat,
                group_size=data.group_size,
                teacher=teacher,
                processes=data.workers,
            )
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise StoreError(
                f"{store}: {no_space(store.parent)}; free some, then start the same command again: it keeps "
                "the tasks that are finished"
            ) from error
        found = TokenStore.open(store)
        paths.push(store)
        print(store_report.text(found.manifest))
        print(f"{store}: written in {time.monotonic() - begin:.0f} s")
        return found


def _current(store: Path, asked: Mapping[str, Any], rebuild: bool, check_sources: bool) -> TokenStore | None:
    """The existing store when it is what is asked for; None when it is missing or has to be replaced."""
    if not (store / MANIFEST).exists():
        return None
    try:
        found = TokenStore.open(store)
        differences = provenance.differences(found.manifest, **asked, check_sources=check_sources)
    except StoreError as error:
        if rebuild:
            return None
        raise StoreError(f"{error} (--gin.REBUILD=True replaces it)") from error
    if not differences:
        examples = sum(found.examples(task, p) for task in found.tasks for p in range(found.passes(task)))
        print(f"{store} is current: {len(found.tasks)} tasks, {examples:,} examples; nothing to do")
        return found
    if rebuild:
        return None
    raise StoreError(
        f"{store} was made otherwise: {some(differences, '; ')}. Name another STORE_DIR, or replace this one "
        "with --gin.REBUILD=True (when only sources have changed, --gin.CHECK_SOURCES=False uses it as it is)"
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_command(prepare)
