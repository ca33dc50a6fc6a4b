"""`python -m inters_jax.prepare`: a SeqIO task or mixture -> the token store that training reads.

    python -m inters_jax.prepare --gin.STORE_DIR=stores/inters --gin.TOKENIZER=mistralai/Mistral-7B-v0.1 \\
        --gin.RAW_DIR=/data/inters

Any registered name will do; tasks of another project are registered by naming its module:
``--gin.prepare.modules="['seqio_tasks', 'their_tasks']"``. A finished store is checked in well under a second
and left as it is; an interrupted run goes on with the next task.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import importlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.data import provenance
from inters_jax.data.token_store import (
    FORMAT,
    MANIFEST,
    PassWriter,
    StoreError,
    TokenStore,
    fingerprint,
    pass_folder,
    token_dtype,
    write_json,
)


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
    rebuild: bool = False,
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
      rebuild: replace a store that was made otherwise.
    """
    store = Path(store_dir)
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
    asked: dict[str, Any] = {
        "settings": settings,
        "tokenizer": tokenizer,
        "raw_dir": raw,
        "modules": tuple(modules),
    }
    if passes < 1:
        raise StoreError(f"passes is {passes}; a store needs at least one")
    store.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(store.with_name(f".{store.name}.lock")):
        if (store / MANIFEST).exists() and (found := _current(store, asked, rebuild)):
            return found
        if store.exists() and not (store / MANIFEST).exists() and any(store.iterdir()):
            raise StoreError(f"{store} exists and is no token store; name another store_dir or remove it")
        return _write(store, **asked)


def _current(store: Path, asked: Mapping[str, Any], rebuild: bool) -> TokenStore | None:
    """The existing store when it is what is asked for; None when it shall be made anew."""
    try:
        found = TokenStore.open(store)
        differences = provenance.differences(found.manifest, **asked)
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
        + "\nName another store_dir, or replace this one with --gin.prepare.rebuild=True."
    )


def _write(
    store: Path, *, settings: dict[str, Any], tokenizer: str, raw_dir: Path, modules: Sequence[str]
) -> TokenStore:
    begin = time.monotonic()
    registry = _Registry(settings, tokenizer, raw_dir, modules)
    vocabulary = registry.vocabulary
    from inters_jax.data import conversion

    identity = provenance.tokenizer_identity(tokenizer) or {"sha256": "", "special": {}}
    special = {
        name: None if value is None else int(conversion.plain_ids(vocabulary, [value])[0])
        for name, value in (("bos_id", vocabulary.bos_id), ("eos_id", vocabulary.eos_id))
    }
    description = {"name": tokenizer, "vocab_size": registry.vocab_size} | special | identity
    partial = store.with_name(store.name + ".partial")
    partial.mkdir(exist_ok=True)
    tasks: dict[str, Any] = {}
    without_data: dict[str, str] = {}
    sources: dict[str, str] = {}
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
        code = provenance.code_sources(modules, [task.name])
        sources |= code | provenance.raw_sources(raw_dir, reader.folders)
        shape = {name: value for name, value in settings.items() if name not in ("name", "epoch_examples")}
        key = fingerprint({"settings": shape, "tokenizer": description, "sources": code})
        try:
            title = f"{task.name} ({number}/{len(registry.tasks)})"
            counts, opened = _write_task(
                partial, reader, key, raw_dir, settings["passes"], registry.vocab_size, title
            )
            sources |= opened
        except registry.missing_data as error:
            without_data[task.name] = str(error)
            shutil.rmtree(partial / task.name, ignore_errors=True)
            continue
        if not counts:
            without_data[task.name] = f"none of its rows in split {settings['split']!r} could be used"
            continue
        rate = registry.rate(task, counts[0]["kept"])
        tasks[task.name] = {"rate": rate, "passes": counts}
    if not tasks:
        reasons = "\n  - ".join(f"{name}: {reason}" for name, reason in without_data.items())
        raise StoreError(f"{settings['name']} has no data:\n  - {reasons}")
    # What an earlier, interrupted run of another mixture left behind does not belong here.
    for leftover in partial.iterdir():
        if leftover.name not in tasks:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    rows = sum(entry["passes"][0]["kept"] for entry in tasks.values())
    by_rates = round(sum(entry["rate"] for entry in tasks.values())) if registry.sized else rows
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "settings": settings,
        "tokenizer": description,
        "sources": dict(sorted(sources.items())),
        "dtype": token_dtype(registry.vocab_size).str,
        "epoch_examples": settings["epoch_examples"] or max(by_rates, len(tasks)),
        "tasks": tasks,
        "without_data": without_data,
    }
    manifest["fingerprint"] = fingerprint(manifest)
    write_json(partial / MANIFEST, manifest)
    if store.exists():
        replaced = store.with_name(store.name + ".replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        store.rename(replaced)
        partial.rename(store)
        shutil.rmtree(replaced)
    else:
        partial.rename(store)
    print(report(manifest))
    print(f"{store}: written in {time.monotonic() - begin:.0f} s")
    return TokenStore.open(store)


def _write_task(
    partial: Path, reader: Any, key: str, raw_dir: Path, passes: int, vocab_size: int, title: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Counts of the passes of a task and digests of the raw folders that it read.

    A task that an interrupted run has written is taken over when `key` and the raw folders are the same.
    """
    from tqdm import tqdm

    folder = partial / reader.name
    finished = folder / "counts.json"
    if finished.is_file():
        done = json.loads(finished.read_text(encoding="utf-8"))
        folders = [name.removeprefix("raw:") for name in done["raw"]]
        if done["key"] == key and done["raw"] == provenance.raw_sources(raw_dir, folders):
            return done["passes"], done["raw"]
    shutil.rmtree(folder, ignore_errors=True)
    counts: list[dict[str, Any]] = []
    total = None if reader.rows is None else reader.rows * passes
    progress = tqdm(total=total, desc=title, unit=" rows", disable=None, leave=False)
    with progress as bar, provenance.OpenedFolders(raw_dir) as opened:
        for pass_ in range(passes):
            left_out: Counter[str] = Counter()
            writer = PassWriter(pass_folder(partial, reader.name, len(counts)), vocab_size)
            for tokens, target_start, example_id in reader.read(pass_, left_out):
                writer.add(tokens, target_start, example_id)
                bar.update()
            written = writer.finish() | _named(left_out)
            written["rows"] = left_out["rows"] or written["kept"] + sum(written["dropped"].values())
            same = bool(counts) and written["digest"] == counts[0]["digest"]
            if same or not written["kept"]:
                # A task without templates to draw looks alike in every pass: one is enough.
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
    """The counts of a reader: dropped by reason, shortened, and whatever else it noted."""
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
    """The tasks behind a name, their rates, and the model's vocabulary. Imports SeqIO, hence TensorFlow."""

    def __init__(
        self, settings: Mapping[str, Any], tokenizer: str, raw_dir: Path, modules: Sequence[str]
    ) -> None:
        import seqio
        import tensorflow as tf

        from seqio_tasks import settings as task_settings
        from seqio_tasks.errors import MissingData
        from seqio_tasks.vocabularies import HuggingFaceVocabulary

        # The accelerator belongs to training, which may be waiting for this process.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        task_settings.configure(
            raw_dir=str(raw_dir),
            tokenizer=tokenizer,
            max_length=settings["max_length"],
            max_shots=settings["max_shots"],
            seed=settings["seed"],
        )
        for module in modules:
            importlib.import_module(module)
        name = settings["name"]
        names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise StoreError(
                f"no task or mixture {name!r} is registered by {', '.join(modules)}{hint} "
                "(other modules: --gin.prepare.modules)"
            )
        self.missing_data = MissingData
        self.vocabulary = HuggingFaceVocabulary(tokenizer)
        self.vocab_size = self.vocabulary.hf_vocab_size
        self._mixture = seqio.get_mixture_or_task(name)
        self.tasks = [self._mixture]
        #: Whether every rate is a number of examples (a function of the task) and not a plain proportion.
        self.sized = True
        if isinstance(self._mixture, seqio.Mixture):
            self.tasks = list(self._mixture.tasks)
            rates = self._mixture.rate_per_task_name
            self.sized = all(task.name in rates and callable(rates[task.name]) for task in self.tasks)

    def rate(self, task: Any, kept: int) -> float:
        """The mixing rate; a rate that counts examples counts no more than were kept."""
        if task is self._mixture:
            return float(kept)
        try:
            rate = float(self._mixture.get_rate(task))
        except TypeError as error:
            raise StoreError(
                f"the mixing rate of {task.name} cannot be computed ({error}); its source must know "
                "num_input_examples, or the mixture must state a number"
            ) from error
        return min(rate, float(kept)) if self.sized else rate


def report(manifest: Mapping[str, Any]) -> str:
    """What the passes of a store hold and what was left out, as a table."""
    header: tuple[str, ...] = (
        "task",
        "rate",
        "passes",
        "rows",
        "kept",
        "dropped",
        "shortened",
        "tokens",
        "targets",
    )
    lines: list[tuple[str, ...]] = [header]
    totals = [0.0] * 7
    reasons: Counter[str] = Counter()
    for task, entry in manifest["tasks"].items():
        done = entry["passes"]
        numbers = [
            sum(p["rows"] for p in done),
            sum(p["kept"] for p in done),
            sum(sum(p["dropped"].values()) for p in done),
            sum(p["shortened"] for p in done),
            sum(p["tokens"] for p in done),
            sum(p["target_tokens"] for p in done),
        ]
        for counts in done:
            for reason, n in counts["dropped"].items():
                reasons[f"dropped, {reason}: {task}"] += n
            for note, n in counts["notes"].items():
                reasons[f"{note}: {task}"] += n
        totals = [a + b for a, b in zip(totals, [entry["rate"], *numbers], strict=True)]
        lines.append((task, f"{entry['rate']:,.5g}", str(len(done)), *(f"{n:,}" for n in numbers)))
    lines.append(("all", f"{totals[0]:,.5g}", "", *(f"{int(n):,}" for n in totals[1:])))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    text += [f"{reason}: {n:,}" for reason, n in sorted(reasons.items())]
    text += [f"without data: {task}: {reason}" for task, reason in manifest["without_data"].items()]
    text.append(f"an epoch has {manifest['epoch_examples']:,} examples")
    return "\n".join(text)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Waits while another process prepares the same store; the lock ends with its holder, killed or not."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    from inters_jax.config import run_command

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_command(prepare)
