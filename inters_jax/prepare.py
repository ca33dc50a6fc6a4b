"""`python -m inters_jax.prepare`: a SeqIO task or mixture -> the token store that training reads.

    python -m inters_jax.prepare --gin.STORE_DIR=stores/inters --gin.TOKENIZER=mistralai/Mistral-7B-v0.1 \\
        --gin.RAW_DIR=/data/inters

Any registered name will do; tasks of another project are registered by naming its module:
``--gin.prepare.modules="['seqio_tasks', 'their_tasks']"``. A finished store is checked in well under a second
and left as it is; an interrupted run goes on with the next task.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax import paths
from inters_jax.data import provenance
from inters_jax.data.token_store import MANIFEST, StoreError, TokenStore
from inters_jax.reports import store_report
from seqio_tasks.base import locked


def prepare(
    mixture_or_task_name: str,
    store_dir: str,
    tokenizer: str | None = None,
    raw_dir: str | None = None,
    max_length: int = 2048,
    seed: int = 0,
    passes: int = 1,
    split: str = "train",
    max_shots: int = 5,
    epoch_examples: int | None = None,
    modules: Sequence[str] = ("seqio_tasks",),
    templates: str | Sequence[str] = (),
    cache_dirs: str | Sequence[str] = (),
    rebuild: bool = False,
    check_sources: bool = True,
    chat_template: str | None = None,
) -> TokenStore:
    """Write the token store of a SeqIO task or mixture, or return at once when it is already there.

    Args:
      mixture_or_task_name: a registered name, of this project or another (see `modules`).
      store_dir: the folder to write; a store made otherwise is refused with what differs.
      tokenizer: tokenizer.json, a folder with one, or a hub name; None: the packaged sample's.
      raw_dir: the folder of official files; None: the packaged sample.
      max_length: the longest sequence in tokens, BOS and EOS included; longer ones are dropped and counted.
      seed: draws templates, demonstrations and options.
      passes: renderings of every row; each further one has fresh templates and demonstrations.
      split: of the tasks.
      max_shots: our training prompts carry 0 to this many demonstrations.
      epoch_examples: size of an epoch; None: the sum of the rates where a rate is a number of examples
        (such as seqio.mixing_rate_num_examples), else all examples.
      modules: imported to register the tasks.
      templates: own template files for our tasks (see `seqio_tasks.templates.own`); (): INTERS_TEMPLATES.
      cache_dirs: where SeqIO's caching wrote (`seqio_cache_tasks`): tasks that are found there are read from
        there, as they were made; all passes are alike then.
      rebuild: replace a store that was made otherwise.
      check_sources: False accepts an existing store although code, templates or raw files have changed since,
        to finish a run on the data it began with.
      chat_template: None or "none" writes plain prompts, as the paper does; "tokenizer" wraps them in the
        tokenizer's own chat template, a path in the one of that file (see `seqio_tasks.prompts.chat`);
        only our own tasks know it.
    """
    store = paths.local(store_dir)
    tokenizer = provenance.tokenizer_source(tokenizer)
    raw = provenance.raw_folder(raw_dir)
    settings = {
        "name": mixture_or_task_name,
        "split": split,
        "max_length": max_length,
        "seed": seed,
        "passes": passes,
        "max_shots": max_shots,
        "epoch_examples": epoch_examples,
    }
    named = [templates] if isinstance(templates, str) else list(templates)
    named = named or [path for path in os.environ.get("INTERS_TEMPLATES", "").split(os.pathsep) if path]
    caches = [cache_dirs] if isinstance(cache_dirs, str) else list(cache_dirs)
    if named:
        settings["templates"] = provenance.digests(named)
    if caches:
        settings["cache_dirs"] = provenance.digests(caches)
    chat = provenance.chat_template_asked(chat_template)
    if chat != provenance.PLAIN:
        settings["chat_template"] = provenance.chat_template_identity(chat, tokenizer)
    asked: dict[str, Any] = {
        "settings": settings,
        "tokenizer": tokenizer,
        "raw_dir": raw,
        "modules": tuple(modules),
    }
    if passes < 1:
        raise StoreError(f"passes is {passes}; a store needs at least one")
    store.parent.mkdir(parents=True, exist_ok=True)
    with locked(store.with_name(f".{store.name}.lock")):
        if (store / MANIFEST).exists() and (found := _current(store, asked, rebuild, check_sources)):
            return found
        if store.exists() and not (store / MANIFEST).exists() and any(store.iterdir()):
            raise StoreError(f"{store} exists and is no token store; name another store_dir or remove it")
        from inters_jax.data.building import build  # needs SeqIO, hence TensorFlow: seconds to import

        begin = time.monotonic()
        build(store, **asked, templates=named, cache_dirs=caches, chat_template=chat)
        found = TokenStore.open(store)
        paths.push(store)
        print(store_report.text(found.manifest))
        print(f"{store}: written in {time.monotonic() - begin:.0f} s")
        return found


def _current(store: Path, asked: Mapping[str, Any], rebuild: bool, check_sources: bool) -> TokenStore | None:
    """The existing store when it is what is asked for; None when it shall be made anew."""
    try:
        found = TokenStore.open(store)
        differences = provenance.differences(found.manifest, **asked, check_sources=check_sources)
    except StoreError as error:
        if rebuild:
            return None
        raise StoreError(f"{error} (--gin.prepare.rebuild=True replaces it)") from error
    if not differences:
        examples = sum(found.examples(task, p) for task in found.tasks for p in range(found.passes(task)))
        print(f"{store} is current: {len(found.tasks)} tasks, {examples:,} examples; nothing to do")
        return found
    if rebuild:
        return None
    raise StoreError(
        f"{store} was made otherwise:\n  - "
        + "\n  - ".join(differences)
        + "\nName another store_dir, or replace this one with --gin.prepare.rebuild=True (when only "
        "sources have changed, --gin.prepare.check_sources=False goes on with it)."
    )


if __name__ == "__main__":
    from inters_jax.config import run_command

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_command(prepare)
