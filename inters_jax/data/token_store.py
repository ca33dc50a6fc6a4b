r"""The token store, written by `prepare` and read by `train`: memory-mapped files, one folder per task.

    store/
      manifest.json                    the contents of the store and everything that shaped them
      <task>/pass0/
        tokens.bin                     concatenated sequences, uint16 (vocabulary <= 65,536) or uint32
        offsets.npy                    int64 [examples + 1], the start of each sequence
        target_starts.npy              int32 [examples], the start of the completion within its sequence
        ids.bin, id_offsets.npy        concatenated example ids, UTF-8
        group_starts.npy               int64 [queries + 1], only where sequences are the documents of queries:
                                       the first sequence of each; all of a query are one example
        grades.npy                     float32 [sequences], their grades
        teacher.npy                    float32 [sequences], their scores by a teacher, if there is one

A sequence is ``[bos] + inputs + targets``; `bos` only if the tokenizer has one. A second pass has the same
rows with other templates and demonstrations, and possibly a few more or fewer: other prompts fit the length.

    tokens          <s>  How  many  ?  \n  two  </s>
    position          0    1     2  3   4    5     6
    target_start                             5            the loss covers: two </s>

The manifest is a JSON object:

    format           version of this layout
    settings         name, split, seed, passes, max_length, ... (compared when the store is reused)
    tokenizer        {"name", "sha256", "vocab_size", "bos_id" | null, "eos_id"}
    sources          {file: digest} of code, templates and data read
    dtype            of tokens.bin
    epoch_examples   examples in an epoch, unless the run sets it
    tasks            {task: {"rate", "passes": [counts of one pass, ...]}}
    without_data     {task: reason}, tasks of the mixture without any example
    judgment         {"common", "yes", "no"}, only with documents of queries: see `answer_tokens.judgment`
    fingerprint      SHA-256 of all of the above
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax import paths
from inters_jax.data.pass_files import Documents, PassFiles, PassWriter, StoreError, damaged, token_dtype
from seqio_tasks.base import parse_json, write_text

FORMAT = 1
MANIFEST = "manifest.json"
COUNTS = "counts.json"  # in the folder of a finished task, while a store is built

# Every file of a store, finished or not, as task/pass0/file. Names starting with a dot are of atomic writes.
_OWN_FILES = re.compile(
    r"manifest\.json|[^/]+/counts\.json|(?:[^/]+/)?\.(?:manifest|counts)\.json\.[^/]+\.partial"
    r"|[^/]+/pass\d+/(?:tokens\.bin|offsets\.npy|target_starts\.npy|ids\.bin|id_offsets\.npy"
    r"|group_starts\.npy|grades\.npy|teacher\.npy)"
)


def pass_folder(store: Path, task: str, pass_: int) -> Path:
    """The folder of one pass of a task."""
    return store / task / f"pass{pass_}"


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of everything in a manifest except the fingerprint itself."""
    content = {key: value for key, value in manifest.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_removable(folder: Path, *, finished: bool) -> None:
    """Refuse to remove or replace a folder that holds anything but a token store of ours.

    Args:
      folder: need not exist.
      finished: whether it must have the manifest of a store; an unfinished one has none yet.

    Raises:
      StoreError: names what is in the way.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    foreign: Path | None = None
    if folder.is_symlink() or not folder.is_dir():
        foreign = folder
    else:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or (not path.is_dir() and not _OWN_FILES.fullmatch(inside)):
                foreign = path
                break
        if foreign is None and finished and any(folder.iterdir()) and not _has_manifest(folder):
            foreign = folder / MANIFEST
    if foreign is not None:
        raise StoreError(
            f"{folder} is no token store of inters_jax, or holds other files too ({foreign}); nothing was "
            "removed. Name another STORE_DIR, or move these files"
        )


def _has_manifest(folder: Path) -> bool:
    """Whether the manifest is one that we have written, of whatever version."""
    try:
        manifest = parse_json((folder / MANIFEST).read_bytes())
        return isinstance(manifest["format"], int) and len(bytes.fromhex(manifest["fingerprint"])) == 32
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_store(folder: Path, *, finished: bool) -> None:
    """Remove a token store, finished or not; no-op if there is none.

    Raises:
      StoreError: it is no store, or holds other files too.
    """
    check_removable(folder, finished=finished)
    if folder.exists():
        shutil.rmtree(folder)


class TokenStore:
    """Random access to prepared sequences. Tasks are given by name or by number (their index in `tasks`)."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tasks: tuple[str, ...] = tuple(manifest["tasks"])
        self._passes: dict[tuple[str, int], PassFiles] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> TokenStore:
        """Open a finished store and check the sizes of its files against the manifest.

        A store at a URL is first copied to this machine, except for files that are already here.

        Raises:
          StoreError: no store, another format, a changed manifest, or an incomplete file.
        """
        path = paths.local(folder)
        if not (path / MANIFEST).is_file():
            raise StoreError(
                f"{path} has no {MANIFEST}: not a finished store. Run `python -m inters_jax.prepare`."
            )
        try:
            manifest = parse_json((path / MANIFEST).read_bytes())
            version, stated = manifest["format"], manifest["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path / MANIFEST} is damaged ({error}). Prepare the store again.") from error
        if version != FORMAT:
            raise StoreError(
                f"{path} has format {version}, this program reads {FORMAT}. Prepare the store again."
            )
        if fingerprint(manifest) != stated:
            raise StoreError(f"{path / MANIFEST} was changed after it was written. Prepare the store again.")
        store = cls(path, manifest)
        size = np.dtype(manifest["dtype"]).itemsize
        for task in store.tasks:
            for pass_, counts in enumerate(manifest["tasks"][task]["passes"]):
                tokens = pass_folder(path, task, pass_) / "tokens.bin"
                found = tokens.stat().st_size if tokens.is_file() else None
                if found != counts["tokens"] * size:
                    raise StoreError(
                        f"{tokens} has {found} bytes, but the manifest says {counts['tokens'] * size}: an "
                        "incomplete copy. Copy it again or prepare the store again."
                    )
        return store

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        tasks: Mapping[str, Sequence[Iterable[tuple[Any, ...]]]],
        *,
        vocab_size: int,
        rates: Mapping[str, float] | None = None,
        bos_id: int | None = None,
        eos_id: int = 0,
        max_length: int = 2048,
        epoch_examples: int | None = None,
        judgment: Mapping[str, int] | None = None,
    ) -> TokenStore:
        """Write a store from sequences in memory, for tests and small experiments.

        Args:
          folder: must not exist.
          tasks: task -> its passes, each an iterable of (tokens, target_start, example_id), with a `Document`
            if it is one.
          vocab_size: size of the vocabulary.
          rates: mixing rates; None: the number of examples in the first pass.
          bos_id, eos_id, max_length: recorded in the manifest.
          epoch_examples: examples in an epoch; None: all of the first passes.
          judgment: recorded in the manifest, where there are documents.
        """
        path = Path(folder)
        partial = path.with_name(path.name + ".partial")
        remove_store(partial, finished=False)
        entries: dict[str, Any] = {}
        for task, passes in tasks.items():
            counts = []
            for number, examples in enumerate(passes):
                writer = PassWriter(pass_folder(partial, task, number), vocab_size)
                for tokens, *more in examples:
                    writer.add(np.asarray(tokens, np.int64), *more)
                counts.append(writer.finish())
            entries[task] = {"rate": float(rates[task] if rates else counts[0]["kept"]), "passes": counts}
        size = epoch_examples or sum(entry["passes"][0]["kept"] for entry in entries.values())
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "settings": {"name": path.name, "max_length": max_length},
            "tokenizer": {
                "name": "",
                "sha256": "",
                "vocab_size": vocab_size,
                "bos_id": bos_id,
                "eos_id": eos_id,
            },
            "sources": {},
            "dtype": token_dtype(vocab_size).str,
            "epoch_examples": size,
            "tasks": entries,
            "without_data": {},
            **({} if judgment is None else {"judgment": dict(judgment)}),
        }
        manifest["fingerprint"] = fingerprint(manifest)
        write_json(partial / MANIFEST, manifest)
        partial.rename(path)
        return cls.open(path)

    def verify(self, *, whole: bool = False) -> str:
        """Check offsets and target starts of every pass, and every token when the store is new here.

        New means that files of this size and time were not checked at this place yet; the cache folder
        (`inters_jax.paths.cache_dir`) keeps a note of it.

        Args:
          whole: check every token again.

        Returns:
          A line about the check of the tokens; "" without one.

        Raises:
          StoreError: names the file that is damaged.
        """
        passes = [self._pass(task, number) for task in self.tasks for number in range(self.passes(task))]
        for one in passes:
            _ = one.target_starts, one.documents  # checks the offsets too
        note = paths.cache_dir() / "checked_stores" / self._state()
        if note.exists() and not whole:
            return ""
        begin, size = time.monotonic(), 0
        for (task, number), one in self._passes.items():
            if one.digest() != self.manifest["tasks"][task]["passes"][number]["digest"]:
                raise damaged(one.folder / "tokens.bin", "its tokens are not those that were written")
            size += (one.folder / "tokens.bin").stat().st_size
        with contextlib.suppress(OSError):  # without a note they are checked again next time
            write_text(note, f"{self.folder.resolve()}\n")
        return f"checked the tokens of the store: {size / 1e6:,.1f} MB in {time.monotonic() - begin:.1f} s"

    def _state(self) -> str:
        """Identifies the files of the passes at this place: their sizes and times of modification."""
        digest = hashlib.sha256(f"{self.folder.resolve()} {self.fingerprint}".encode())
        for one in self._passes.values():
            names = ["tokens.bin", "offsets.npy", "target_starts.npy"]
            if one.documents is not None:
                names += ["group_starts.npy", "grades.npy"]
                names += [] if one.documents.teacher is None else ["teacher.npy"]
            for name in names:
                stat = (one.folder / name).stat()
                digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} ".encode())
        return digest.hexdigest()[:32]

    @property
    def fingerprint(self) -> str:
        """Changes whenever anything that shaped the store changes."""
        return self.manifest["fingerprint"]

    @property
    def epoch_examples(self) -> int:
        """Examples in an epoch, unless the run sets it."""
        return self.manifest["epoch_examples"]

    @cached_property
    def longest(self) -> int:
        """Length of the longest sequence in tokens."""
        entries = self.manifest["tasks"].values()
        return max((counts["longest"] for entry in entries for counts in entry["passes"]), default=0)

    def rate(self, task: str | int) -> float:
        """The mixing rate of a task."""
        return self.manifest["tasks"][self._name(task)]["rate"]

    def passes(self, task: str | int) -> int:
        """Number of passes of the task; one if every pass would have the same sequences."""
        return len(self.manifest["tasks"][self._name(task)]["passes"])

    def examples(self, task: str | int, pass_: int) -> int:
        """Number of examples in a pass; a query with its documents is one."""
        return self.manifest["tasks"][self._name(task)]["passes"][pass_]["kept"]

    def sequences(self, task: str | int, pass_: int) -> int:
        """Number of sequences in a pass: its examples, or the documents of its queries."""
        counts = self.manifest["tasks"][self._name(task)]["passes"][pass_]
        return counts.get("sequences", counts["kept"])

    def documents(self, task: str | int, pass_: int) -> Documents | None:
        """The documents of the queries of a pass; None where sequences are examples by themselves."""
        return self._pass(task, pass_).documents

    def tasks_with_documents(self) -> list[str]:
        """The tasks whose examples are queries with documents, for a ranking loss."""
        tasks = self.manifest["tasks"].items()
        return [task for task, entry in tasks if "sequences" in entry["passes"][0]]

    def tasks_without_teacher(self) -> list[str]:
        """Those of `tasks_with_documents` that have no scores of a teacher."""
        return [
            task
            for task in self.tasks_with_documents()
            if not all(counts["teacher"] for counts in self.manifest["tasks"][task]["passes"])
        ]

    def lengths(self, task: str | int, pass_: int) -> np.ndarray:
        """Length of every sequence in tokens, int32 [examples]."""
        return self._pass(task, pass_).lengths

    def target_starts(self, task: str | int, pass_: int) -> np.ndarray:
        """Start of the completion in every sequence, int32 [examples]."""
        return self._pass(task, pass_).target_starts

    def target_start(self, task: str | int, pass_: int, index: int) -> int:
        """Start of the completion in one sequence."""
        return int(self._pass(task, pass_).target_starts[index])

    def tokens(self, task: str | int, pass_: int, index: int) -> np.ndarray:
        """One sequence, int32 [n]."""
        data = self._pass(task, pass_)
        return data.tokens[data.offsets[index] : data.offsets[index + 1]].astype(np.int32)

    def example_id(self, task: str | int, pass_: int, index: int) -> str:
        """The id of one sequence."""
        data = self._pass(task, pass_)
        return bytes(data.ids[data.id_offsets[index] : data.id_offsets[index + 1]]).decode()

    def _name(self, task: str | int) -> str:
        return task if isinstance(task, str) else self.tasks[task]

    def _pass(self, task: str | int, pass_: int) -> PassFiles:
        key = (self._name(task), pass_)
        if key not in self._passes:
            counts = self.manifest["tasks"][key[0]]["passes"][pass_]
            self._passes[key] = PassFiles(
                pass_folder(self.folder, *key), np.dtype(self.manifest["dtype"]), counts
            )
        return self._passes[key]
