"""The tasks of an evaluation: which ones, and one after another into its result.

Imports SeqIO: commands import this module when their settings have been checked.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seqio
from tqdm.auto import tqdm

from inters_jax.data import provenance
from inters_jax.evaluation import verify, written_runs
from inters_jax.evaluation.averages import questions_of
from inters_jax.evaluation.judge import Judge, TaskResult
from inters_jax.evaluation.records import PREDICTIONS
from inters_jax.evaluation.results import figure, headline_first, read_result, wrong_file
from inters_jax.shards import Shard
from seqio_tasks import catalog, named_tasks
from seqio_tasks import settings as task_settings
from seqio_tasks.base import UserError, file_sha256, nearest
from seqio_tasks.metrics.trec_files import write_run

log = logging.getLogger(__name__)

# In the manifest, but not part of an evaluation's identity: a step is identified by the model's fingerprint.
_NOT_IDENTITY = ("device", "step", "hub")


def split_names(names: str | Sequence[str] | None) -> list[str]:
    """Names from `a,b` or a list.

    >>> split_names("inters_a, inters_b"), split_names(None)
    (['inters_a', 'inters_b'], [])
    """
    if names is None:
        return []
    parts = names.split(",") if isinstance(names, str) else names
    return [part.strip() for part in parts if part.strip()]


def judged_tasks(names: Sequence[str]) -> list[str]:
    """The tasks to judge, each once.

    Args:
      names: a task stands for itself, a mixture for the judged form of each of its tasks: generation tasks
        as they are, classification by label scoring (`_choices`), ranking by pointwise reranking
        (`_rerank`). Empty: the judged form of every task of the catalog, and of those of your own.

    Raises:
      UserError: an unknown name, with the nearest ones.
    """
    kinds = {pair.name: pair.kind for pair in catalog.known()}

    def form(name: str) -> str:
        return name + {"classify": "_choices", "rank": "_rerank"}.get(kinds.get(name, ""), "")

    if not names:
        return [form(name) for name in kinds]
    found: list[str] = []
    for name in names:
        if name in seqio.TaskRegistry.names():
            found.append(name)
        elif name in seqio.MixtureRegistry.names():
            found += [form(task.name) for task in seqio.get_subtasks(seqio.get_mixture_or_task(name))]
        else:
            known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
            raise UserError(f"no task or mixture is called {name!r}{nearest(name, known)}")
    return list(dict.fromkeys(found))


def ranks_documents(name: str) -> bool:
    """Whether a registered task ranks the candidates of queries."""
    return bool(getattr(getattr(seqio.get_mixture_or_task(name), "form", None), "rerank", False))


def missing_data(name: str, split: str) -> str | None:
    """Why a task of ours cannot be read from the raw directory; None if it can, or is a third-party task."""
    return named_tasks.missing(name, split) if name in named_tasks.every() else None


def resume_result(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The unfinished result in `folder`, or an empty one.

    Raises:
      UserError: the folder holds the result of another model or of other settings.
    """
    empty: dict[str, Any] = {
        "manifest": manifest,
        "metrics": {},
        "paper_metrics": {},
        "counts": {},
        "files": {},
        "data": {},
        "skipped": {},
        "failed": {},
    }
    if not (folder / "results.json").is_file():
        return empty
    found = read_result(folder)
    for name in sorted({*found["manifest"], *manifest} - set(_NOT_IDENTITY)):
        there, here = found["manifest"].get(name), manifest.get(name)
        if there != here:
            raise UserError(
                f"{folder / 'results.json'} is of another evaluation: {name} is {_shown(there, here)} there "
                f"and {_shown(here, there)} here; set another OUTPUT_DIR, or remove the folder"
            )
    kept = ("metrics", "paper_metrics", "counts", "files", "data")
    return empty | {key: found[key] for key in kept if key in found}


def _shown(value: Any, other: Any) -> str:
    """A value of a manifest in a message; of versions, those that differ from another manifest's."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        value = {key: value[key] for key in value if value[key] != other.get(key)}
    return f"{value!r:.120}"


def identify_data(names: Sequence[str], split: str, seed: int, folder: Path, result: dict[str, Any]) -> None:
    """Record in `result` which questions and references each task has.

    Args:
      names: the tasks.
      split: to judge on.
      seed: of the datasets of third-party tasks.
      folder: of the evaluation.
      result: see `resume_result`; its "data" is changed in place.

    Raises:
      UserError: a task was judged before on other questions, references or templates.
    """
    # Several tasks share a dataset, and its files can be gigabytes: each folder is read once.
    of_folder = functools.cache(functools.partial(provenance.digest_raw, whole=True))
    code = provenance.code_digests(["seqio_tasks"])
    own = named_tasks.every()
    now = {
        name: sources_digest(name, code, of_folder) if name in own else examples_digest(name, split, seed)
        for name in names
    }
    for name in names:
        if name in result["metrics"] and result["data"].get(name) != now[name]:
            raise UserError(
                f"{folder / 'results.json'}: the data or templates of {name} have changed since it was "
                "judged; set another OUTPUT_DIR, or remove the folder"
            )
    result["data"] |= now


def sources_digest(name: str, code: Mapping[str, str], of_folder: Callable[[Path], str]) -> str:
    """Digest of the files of a task's dataset, its templates and the code that reads them.

    Args:
      name: of a task of ours.
      code: `provenance.code_digests` of our package.
      of_folder: the digest of a folder of raw files, or of one file.
    """
    pair, _ = named_tasks.find(name)
    sources = provenance.code_sources(code, [name])
    raw_dir = Path(task_settings.current().raw_dir)
    sources["raw"] = " ".join(of_folder(raw_dir / name) for name in pair.inputs)
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:32]


def examples_digest(name: str, split: str, seed: int) -> str:
    """Digest of the examples of a third-party task, whose files are unknown.

    Empty if they cannot be read, which judging the task reports.
    """
    digest = hashlib.sha256()
    try:
        dataset = seqio.get_mixture_or_task(name).get_dataset(
            sequence_length=None, split=split, shuffle=False, seed=seed, num_epochs=1
        )
        for example in dataset.as_numpy_iterator():
            for field, value in sorted(example.items()):
                digest.update(f"{field}\0{np.asarray(value).tolist()!r}\0".encode())
    except Exception as error:  # a third-party task may raise anything
        log.warning("the questions of %s cannot be identified: %s", name, error)
        return ""
    return digest.hexdigest()[:32]


def judge_task(
    judge: Judge,
    name: str,
    split: str,
    folder: Path,
    result: dict[str, Any],
    questions: int | None,
    seed: int,
    skip: bool,
    shard: Shard | None = None,
) -> None:
    """Judge one task and add it to `result`.

    A failure is recorded in `result`, so that the other tasks still count. A finished task whose files are
    unchanged is not judged again.

    Args:
      judge: answers for the model.
      name: of the task.
      split: to judge on.
      folder: of the evaluation; the task writes into a folder of its own in it.
      result: see `resume_result`; changed in place.
      questions: limit on questions (queries where documents are ranked); None: all.
      seed: of the task's dataset.
      skip: skip the task if its data is missing, instead of failing.
      shard: only answer this share of the questions; `result` gets failures alone.
    """
    if name in result["metrics"] and wrong_file(folder, result, name) is None:
        print(f"{name}: judged before", flush=True)
        return
    reason = missing_data(name, split)
    if reason is not None and skip:
        result["skipped"][name] = reason
        print(f"{name}: not available: {reason}", flush=True)
        return
    manifest = result.get("manifest", {})
    settings = {key: value for key, value in manifest.items() if key not in _NOT_IDENTITY}
    settings["data"] = result.get("data", {}).get(name)
    started = time.perf_counter()
    try:
        with tqdm(desc=name, unit="question", mininterval=1.0) as bar:
            judge.progress = bar.update
            found = judge.run(
                name,
                split,
                questions=questions,
                seed=seed,
                folder=folder / name,
                settings=settings,
                shard=shard,
            )
    except Exception as error:
        result["failed"][name] = f"{type(error).__name__}: {error}"
        print(f"{name}: failed: {error}", flush=True)
        return
    if found is None:
        return
    found.counts["seconds"] = round(time.perf_counter() - started, 2)
    result["metrics"][name] = found.metrics
    result["counts"][name] = found.counts
    if found.paper_metrics:
        result.setdefault("paper_metrics", {})[name] = found.paper_metrics
    result.setdefault("files", {})[name] = write_task(folder / name, found)
    shown = ", ".join(f"{m} {figure(found.metrics[m])}" for m in headline_first(found.metrics)[:4])
    print(f"{name}: {shown} (n = {questions_of(found.counts)}, {found.counts['seconds']} s)", flush=True)


def write_task(folder: Path, found: TaskResult) -> dict[str, str]:
    """Write the TREC run and judgments of a ranking task.

    Returns:
      file name -> sha256, of every file of the task.
    """
    names = [PREDICTIONS]
    if found.run is not None and found.qrels is not None:
        write_run(folder / verify.RUN, found.run, "inters-jax", ties="given")
        written_runs.write_qrels(folder, found.qrels)
        names += [verify.RUN, written_runs.QRELS]
    return {name: file_sha256(folder / name) for name in names}
