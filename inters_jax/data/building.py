"""Builds a token store: reads, writes and counts the tasks of a mixture one by one.

An interrupted build keeps its finished tasks in `<store>.partial`, each with a key of everything that shaped
it. The next build reuses a task if its key is unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from tqdm import tqdm

from inters_jax.data import answer_tokens, conversion, provenance
from inters_jax.data.pass_files import Document, PassWriter, StoreError, token_dtype
from inters_jax.data.token_store import (
    COUNTS,
    FORMAT,
    MANIFEST,
    check_removable,
    fingerprint,
    pass_folder,
    remove_store,
    write_json,
)
from seqio_tasks import settings as task_settings
from seqio_tasks.base import MissingData, nearest, some
from seqio_tasks.mixtures import recipes
from seqio_tasks.mixtures.registered import InstructionMixture
from seqio_tasks.vocabularies import HuggingFaceVocabulary

_OF_MIXTURE = ("name", "epoch_examples", "members")  # settings that shape no task by itself
_MANY = 10**9  # rows of a task whose rate is only bounded by its cap


def build(
    store: Path,
    *,
    settings: dict[str, Any],
    tokenizer: str,
    raw_dir: Path,
    modules: Sequence[str],
    templates: Sequence[str] = (),
    cache_dirs: Sequence[str] = (),
    chat_template: str = "none",
    group_size: int = task_settings.Settings.group_size,
    teacher: Sequence[str] = (),
) -> None:
    """Write the store of a task or mixture to a folder beside it, and rename that when it is complete.

    Args:
      store: the folder to create; an existing one is replaced at the very end.
      settings: name, split, max_length, seed, passes, max_shots, max_cut, epoch_examples (see `prepare`).
      tokenizer: a tokenizer.json, a folder with one, or a hub name.
      raw_dir: folder of the official files.
      modules: modules to import, which register the tasks.
      templates: additional template files, for our tasks.
      cache_dirs: folders of SeqIO's cache.
      chat_template: for our tasks, as in `seqio_tasks.settings`.
      group_size: documents of a query, likewise.
      teacher: files with scores of these documents, likewise.

    Raises:
      StoreError: no such task, a task of another tokenizer, or no data at all.
    """
    # Training, which may be waiting for this process, needs the accelerator.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    shaping = {name: settings[name] for name in ("max_length", "max_shots", "max_cut", "seed")}
    sources: dict[str, Any] = {"raw_dir": str(raw_dir), "tokenizer": tokenizer, "templates": tuple(templates)}
    sources |= {"chat_template": chat_template, "group_size": group_size, "teacher": tuple(teacher)}
    with task_settings.override(**sources, **shaping), _cached_in(cache_dirs):
        _build(store, settings, tokenizer, raw_dir, modules)


@contextlib.contextmanager
def _cached_in(folders: Sequence[str]) -> Iterator[None]:
    """Inside the block, SeqIO also looks for cached tasks in these folders."""
    before = list(seqio.get_global_cache_dirs())
    seqio.add_global_cache_dirs(list(folders))
    try:
        yield
    finally:
        seqio.set_global_cache_dirs(before)


def _build(
    store: Path, settings: dict[str, Any], tokenizer: str, raw_dir: Path, modules: Sequence[str]
) -> None:
    registry = _Registry(settings["name"], tokenizer, modules)
    vocabulary = registry.vocabulary

    identity = provenance.tokenizer_identity(tokenizer) or {"sha256": "", "special": {}}
    special = {
        name: None if value is None else int(conversion.plain_ids(vocabulary, [value])[0])
        for name, value in (("bos_id", vocabulary.bos_id), ("eos_id", vocabulary.eos_id))
    }
    description = {"name": tokenizer, "vocab_size": registry.vocab_size} | special | identity
    recorded = description | provenance.hub_revision(tokenizer)
    partial = store.with_name(store.name + ".partial")
    replaced = store.with_name(store.name + ".replaced")
    for folder, finished in ((store, True), (partial, False), (replaced, False)):
        check_removable(folder, finished=finished)  # before the work, and again before anything is removed
    partial.mkdir(exist_ok=True)
    tasks: dict[str, Any] = {}
    without_data: dict[str, str] = {}
    sources: dict[str, str] = {}
    scale = registry.scale(settings["epoch_examples"], settings["split"])
    digests = provenance.code_digests(modules)
    for number, task in enumerate(registry.tasks, 1):
        if settings["split"] not in task.splits:
            without_data[task.name] = f"no split {settings['split']!r} (it has {', '.join(task.splits)})"
            continue
        reader = conversion.reader(
            task,
            vocabulary,
            split=settings["split"],
            seed=settings["seed"],
            max_length=settings["max_length"],
        )
        code = provenance.code_sources(digests, [task.name])
        sources |= code | provenance.raw_sources(raw_dir, reader.folders)
        shape = {name: value for name, value in settings.items() if name not in _OF_MIXTURE}
        rate = functools.partial(registry.rate, task, settings["split"])

        def passes(kept: int, rate: Callable[[int], float] = rate) -> int:
            return registry.passes(scale * rate(kept), kept, settings["passes"])

        # Rates of another mixture would need another number of passes.
        shaped = {"settings": shape, "tokenizer": description, "sources": code, "rate": scale * rate(_MANY)}
        key = fingerprint(shaped)
        try:
            title = f"{task.name} ({number}/{len(registry.tasks)})"
            counts, opened = _write_task(
                partial, reader, key, raw_dir, passes, registry.vocab_size, title, registry.check_answer
            )
            sources |= opened
        except MissingData as error:
            without_data[task.name] = str(error)
            shutil.rmtree(partial / task.name, ignore_errors=True)
            continue
        if not counts:
            without_data[task.name] = f"none of its rows in split {settings['split']!r} could be used"
            continue
        tasks[task.name] = {"rate": rate(counts[0]["kept"]), "passes": counts}
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
        "tokenizer": recorded,
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
    if store.exists():
        check_removable(store, finished=True)
        remove_store(replaced, finished=False)
        store.rename(replaced)
        partial.rename(store)
        remove_store(replaced, finished=False)
    else:
        partial.rename(store)


def _write_task(
    partial: Path,
    reader: Any,
    key: str,
    raw_dir: Path,
    passes: Callable[[int], int],
    vocab_size: int,
    title: str,
    check_answer: Callable[..., None],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Write one task; the counts of its passes and the digests of the raw folders that it read.

    `passes` is their number by the examples of the first one. `check_answer` gets every sequence.
    A task that an interrupted build has written is reused if `key` and the raw folders are the same.
    """
    folder = partial / reader.name
    finished = folder / COUNTS
    if finished.is_file():
        done = json.loads(finished.read_text(encoding="utf-8"))
        folders = [name.removeprefix("raw:") for name in done["raw"]]
        if done["key"] == key and done["raw"] == provenance.raw_sources(raw_dir, folders):
            return done["passes"], done["raw"]
    shutil.rmtree(folder, ignore_errors=True)
    counts: list[dict[str, Any]] = []
    total = None if reader.rows is None else reader.rows * passes(reader.rows)
    progress = tqdm(total=total, desc=title, unit=" rows", disable=None, leave=False)
    with progress as bar, provenance.OpenedFolders(raw_dir, ignore=partial) as opened:
        for pass_ in itertools.count():
            if counts and pass_ >= passes(counts[0]["kept"]):
                break
            left_out: Counter[str] = Counter()
            writer = PassWriter(pass_folder(partial, reader.name, len(counts)), vocab_size)
            for converted in reader.read(pass_, left_out):
                before = writer.examples
                check_answer(*converted)
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


class _Registry:
    """The tasks behind a name, their rates, and the model's vocabulary."""

    def __init__(self, name: str, tokenizer: str, modules: Sequence[str]) -> None:
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise StoreError(
                    f"MODULES: {module} cannot be imported ({error}); install it, or correct the name"
                ) from error
        names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
        if name not in names:
            raise StoreError(
                f"no task or mixture {name!r} is registered by {', '.join(modules)}{nearest(name, names)} "
                "(other modules: --gin.MODULES)"
            )
        self.vocabulary = HuggingFaceVocabulary(tokenizer)
        self.vocab_size = self.vocabulary.hf_vocab_size
        self._mixture = seqio.get_mixture_or_task(name)
        self.tasks = [self._mixture]
        # Whether every rate is a number of examples (a function of the task), not a plain proportion.
        self.sized = True
        if isinstance(self._mixture, seqio.Mixture):
            self.tasks = list(self._mixture.tasks)
            rates = self._mixture.rate_per_task_name
            self.sized = all(task.name in rates and callable(rates[task.name]) for task in self.tasks)

    @functools.cached_property
    def judgment(self) -> dict[str, int]:
        """The answer tokens of documents, see `answer_tokens.judgment`."""
        return answer_tokens.judgment(self.vocabulary)

    def check_answer(
        self, tokens: np.ndarray, target_start: int, example_id: str, document: Document | None = None
    ) -> None:
        """Check that a document's completion begins with the tokens whose logits a ranking loss compares."""
        if document is None:
            return
        place = target_start + self.judgment["common"]
        expected = self.judgment["yes" if document.grade > 0 else "no"]
        if place >= len(tokens) or tokens[place] != expected:
            raise StoreError(
                f"{example_id}: its answer has token {tokens[place : place + 1].tolist()}, not {expected}; a "
                "ranking loss needs templates whose answers are Yes and No (TEMPLATES)"
            )

    def rate(self, task: Any, split: str, kept: int) -> float:
        """The mixing rate; a rate in examples is at most the number of examples that were kept."""
        if task is self._mixture:
            return float(kept)
        if isinstance(self._mixture, InstructionMixture):
            own: float = self._mixture.rate_per_task_name[task.name](task, split, rows=kept)
            return own
        try:
            rate = float(self._mixture.get_rate(task))
        except TypeError as error:
            raise StoreError(
                f"the mixing rate of {task.name} cannot be computed ({error}); its source must know "
                "num_input_examples, or the mixture must state a number"
            ) from error
        return min(rate, float(kept)) if self.sized else rate

    def scale(self, epoch_examples: int | None, split: str) -> float:
        """What rates are multiplied by in an epoch of a given size; 1 in the usual one."""
        if epoch_examples is None or not self.sized or self.tasks == [self._mixture]:
            return 1.0
        if isinstance(self._mixture, InstructionMixture):
            rates = [rate for _, rate in self._mixture.available(split).available]
        else:
            rates = [float(self._mixture.get_rate(task)) for task in self.tasks]
        return epoch_examples / max(sum(rates), 1.0)

    def passes(self, share: float, kept: int, passes: int) -> int:
        """Passes over a task so that no row has the same wording twice within `passes` epochs.

        A rate that is not a number of examples says nothing about the epoch: every row has `passes` wordings.

        Args:
          share: examples of the task in an epoch.
          kept: examples of a pass.
          passes: epochs of fresh wording.
        """
        return max(1, math.ceil(passes * share / kept)) if self.sized and kept else passes

    def epoch(self, rates: float, rows: int, split: str) -> int:
        """Examples of an epoch, unless a setting names them."""
        if isinstance(self._mixture, InstructionMixture) and split == "train":
            return min(round(rates), recipes()[self._mixture.name].epoch())
        return round(rates) if self.sized else rows
