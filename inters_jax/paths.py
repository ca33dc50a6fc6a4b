"""Folders in object stores: commands accept ``gs://bucket/run`` wherever they accept a folder.

Programs memory-map stores, append to metrics and rename finished files; object stores support none of these.
So a folder at a URL has a *mirror*, an ordinary local folder that the program works in:

    gs://bucket/runs/a         <cache>/mirrors/a-3f2c.../          read and written by the program
      model/config.json   <->    model/config.json
      metrics.jsonl       <->    metrics.jsonl
      checkpoints/...            (not mirrored: Orbax reads and writes them at the URL)

`local` opens a mirror and downloads new files from the URL; `push` uploads new local files, each as one whole
object (it appears when it is complete), manifests last. A file counts as unchanged if its size and
modification time are, and is then not transferred. `origin` returns the URL of a path in a mirror. All of
them do nothing for a path on this machine.

`run_command` applies this to every command through `mirrors`. URLs are opened by etils' epath: with
TensorFlow's file system for gs://, or with fsspec if EPATH_USE_TF=false (needs gcsfs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etils import epath

from seqio_tasks.base import UserError, locked, replacing, write_text

_URL = re.compile(r"(gs|s3|az)://[^/]")
# Checkpoints stay at the URL, event files are only written here, and the store of a run has its own mirror.
_NOT_FETCHED = ("checkpoints", "damaged_checkpoints", "tensorboard", "store")
_UNFINISHED = (".partial", ".lock", ".tmp")
_LAST = ("manifest.json",)  # its presence means that the files beside it are complete

log = logging.getLogger(__name__)


def is_url(path: object) -> bool:
    """Whether this is the URL of an object store.

    >>> is_url("gs://bucket/run"), is_url("runs/a"), is_url(None)
    (True, False, False)
    """
    return isinstance(path, str | os.PathLike) and _URL.match(os.fspath(path)) is not None


def cache_dir() -> Path:
    """The cache folder: INTERS_CACHE_DIR, or inters-jax in the user's cache folder."""
    if named := os.environ.get("INTERS_CACHE_DIR", "").strip():
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inters-jax"


def local(path: str | os.PathLike[str], *, fetch: bool = True) -> Path:
    """The folder on this machine: `path` itself, or the updated mirror of a URL.

    Args:
      path: a local folder or a URL, which need not exist yet.
      fetch: False does not look for new files at the URL.
    """
    if not is_url(path):
        return Path(path)
    url = os.fspath(path).rstrip("/")
    name = re.sub(r"[^\w.-]", "_", url.rpartition("/")[2])
    mirror = cache_dir() / "mirrors" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    mirror.mkdir(parents=True, exist_ok=True)
    if not _record_of(mirror).exists():
        with _locked(mirror):
            _write_record(mirror, {"url": url, "files": {}})
    if fetch:
        pull(mirror)
    return mirror


def origin(path: str | os.PathLike[str]) -> Any:
    """The real location of a path: an `epath.Path` at the URL for URLs and mirrors, else the path itself."""
    if is_url(path):
        return _remote(os.fspath(path))
    found = _mirror_of(Path(path))
    if found is None:
        return Path(path)
    root, below = found
    return _remote(_read_record(root)["url"]).joinpath(*below.parts)


def pull(path: str | os.PathLike[str]) -> None:
    """Download new files from the URL of a mirror, or of a folder in one; no-op for other paths.

    Checkpoints, event files and the store of a run are not downloaded.
    """
    found = _mirror_of(Path(path))
    if found is None:
        return
    root, below = found
    with _locked(root):
        record = _read_record(root)
        base = _remote(record["url"])
        names = list(_remote_files(base.joinpath(*below.parts), below.as_posix()))
        for name in sorted(names, key=_order):
            stat = base.joinpath(name).stat()
            there = [int(stat.length), int(stat.mtime)]
            known = record["files"].get(name)
            file = root / name
            if known and known["there"] == there and file.is_file():
                continue
            _copy(base.joinpath(name), file)
            record["files"][name] = {"here": _stamp(file), "there": there}
            _write_record(root, record)


def push(path: str | os.PathLike[str]) -> None:
    """Upload new files of a mirror, or of a folder in one; no-op for other paths. Deletes nothing."""
    found = _mirror_of(Path(path))
    if found is None:
        return
    root, below = found
    with _locked(root):
        record = _read_record(root)
        base = _remote(record["url"])
        for name in sorted(_local_files(root, below), key=_order):
            file = root / name
            with contextlib.suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
                stamp = _stamp(file)
                if record["files"].get(name, {}).get("here") == stamp:
                    continue
                target = base.joinpath(name)
                _copy(file, target)
                stat = target.stat()
                there = [int(stat.length), int(stat.mtime)]
                # A file that grew meanwhile has another stamp, so the next push uploads it again.
                record["files"][name] = {"here": stamp, "there": there}
                _write_record(root, record)


_uploads: dict[Path, Future[None]] = {}
_uploader = ThreadPoolExecutor(1, thread_name_prefix="uploads")


def push_soon(path: str | os.PathLike[str]) -> None:
    """`push` in the background; at most one upload per mirror is queued.

    A failure is only logged: the next push uploads the same files.
    """
    found = _mirror_of(Path(path))
    if found is None:
        return
    root = found[0]
    waiting = _uploads.get(root)
    if waiting is None or waiting.running() or waiting.done():
        _uploads[root] = _uploader.submit(_push_or_log, root)


def _push_or_log(root: Path) -> None:
    try:
        push(root)
    except (OSError, UserError) as error:
        log.warning("%s; the next upload will try again", error)


def localized(value: Any) -> Any:
    """The mirror of a URL as a string; any other value unchanged."""
    return str(local(value)) if is_url(value) else value


def join(folder: str | os.PathLike[str], *names: str) -> str:
    """`folder`/`names` for paths and URLs alike.

    >>> join("gs://bucket/run", "store"), join("runs/a", "store")
    ('gs://bucket/run/store', 'runs/a/store')
    """
    return os.fspath(folder).rstrip("/") + "".join(f"/{name}" for name in names)


@contextlib.contextmanager
def mirrors() -> Iterator[Callable[[Any], Any]]:
    """A function that replaces URLs by their mirrors, which are pushed when the block ends.

    URLs in lists and tuples are replaced as well; other values are returned as they are. After an error the
    files written so far are still uploaded, so that the command can be resumed on another machine.
    """
    opened: list[Path] = []

    def mirrored(value: Any) -> Any:
        if is_url(value):
            opened.append(local(value))
            return str(opened[-1])
        if isinstance(value, list | tuple) and any(map(is_url, value)):
            return type(value)(map(mirrored, value))
        return value

    try:
        yield mirrored
    except BaseException:
        for folder in opened:
            _push_or_log(folder)
        raise
    for folder in opened:
        push(folder)


def _remote(url: str) -> Any:
    return epath.Path(url)


def _mirror_of(path: Path) -> tuple[Path, Path] | None:
    """(the mirror, the path below it) of a path in a mirror; None for other paths."""
    path = path.absolute()
    mirrors = (cache_dir() / "mirrors").absolute()
    if mirrors not in path.parents:
        return None
    below = path.relative_to(mirrors)
    return mirrors / below.parts[0], Path(*below.parts[1:])


def _remote_files(folder: Any, below: str) -> Iterator[str]:
    """Names of the objects below a folder, relative to the root of the mirror, that are downloaded."""
    try:
        children = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for child in children:
        name = child.name if below == "." else f"{below}/{child.name}"
        if not child.is_dir():
            yield name
        elif child.name not in _NOT_FETCHED:
            yield from _remote_files(child, name)


def _local_files(root: Path, below: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root / below):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and not name.endswith(_UNFINISHED):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _order(name: str) -> tuple[bool, str]:
    return Path(name).name in _LAST, name


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _copy(source: Any, target: Any) -> None:
    """Copy one file: to a temporary file that is renamed, or to an object in one upload."""
    try:
        if is_url(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            epath.Path(source).copy(target, overwrite=True)
            return
        with replacing(target) as partial:
            source.copy(partial, overwrite=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # object store clients raise exceptions of their own
        raise UserError(f"{source} could not be copied to {target}: {error}") from error


@contextlib.contextmanager
def _locked(mirror: Path) -> Iterator[None]:
    """One process or thread at a time transfers files of a mirror."""
    with locked(mirror.with_name(f".{mirror.name}.mirror.lock")):
        yield


def _record_of(mirror: Path) -> Path:
    """Beside the mirror: the mirror itself has only the files of the URL."""
    return mirror.with_name(f"{mirror.name}.json")


def _read_record(mirror: Path) -> dict[str, Any]:
    try:
        return json.loads(_record_of(mirror).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{mirror} is not a mirror of a URL ({error}); delete the folder") from error


def _write_record(mirror: Path, record: dict[str, Any]) -> None:
    write_text(_record_of(mirror), json.dumps(record))
