"""gs:// as a folder of this machine, with the manners of an object store.

There are no folders, only names of objects: making one does nothing, and one without objects does not exist.
An object is there when its writer closes it. Nothing can be appended to and no folder renamed at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils.epath import backend, gpath


class Buckets(backend.Backend):
    """The backend of epath for gs://; `log` has (operation, url) of every object read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[tuple[str, str]] = []

    def file(self, path: Any) -> Path:
        url = os.fspath(path)
        return self.root / url.removeprefix("gs://") if url.startswith("gs://") else Path(url)

    def names(self) -> list[str]:
        """All objects, as bucket/name."""
        found = (Path(folder) / file for folder, _, files in os.walk(self.root) for file in files)
        return sorted(p.relative_to(self.root).as_posix() for p in found)

    @contextlib.contextmanager
    def open(self, path: Any, mode: str) -> Iterator[Any]:
        assert "a" not in mode, f"append to {path}"
        file = self.file(path)
        if "r" in mode:
            self.log.append(("read", os.fspath(path)))
            with file.open(mode) as stream:
                yield stream
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".uploading")
        with partial.open(mode) as stream:
            yield stream
        partial.replace(file)
        self.log.append(("write", os.fspath(path)))

    def exists(self, path: Any) -> bool:
        return self.file(path).is_file() or self.isdir(path)

    def isdir(self, path: Any) -> bool:
        # Orbax removes in threads: os.walk passes over folders that vanish meanwhile, rglob fails on them.
        return any(files for _, _, files in os.walk(self.file(path)))

    def listdir(self, path: Any) -> list[str]:
        if not self.isdir(path):
            raise FileNotFoundError(path)
        return [p.name for p in self.file(path).iterdir() if p.is_file() or self.isdir(p)]

    def glob(self, path: Any) -> list[str]:
        pattern = os.fspath(path).removeprefix("gs://")
        return [f"gs://{p.relative_to(self.root).as_posix()}" for p in self.root.glob(pattern)]

    def walk(self, top: Any, *, top_down: bool = True, on_error: Any = None) -> Iterator[Any]:
        for folder, folders, files in os.walk(self.file(top), topdown=top_down):
            yield f"gs://{Path(folder).relative_to(self.root).as_posix()}", folders, files

    def makedirs(self, path: Any, *, exist_ok: bool = False, mode: int | None = None) -> None:
        pass

    def mkdir(self, path: Any, *, exist_ok: bool = False, mode: int | None = None) -> None:
        pass

    def rmtree(self, path: Any) -> None:
        if not self.exists(path):
            raise FileNotFoundError(path)
        shutil.rmtree(self.file(path))

    def remove(self, path: Any) -> None:
        self.file(path).unlink()

    def rename(self, path: Any, dst: Any) -> None:
        """Object by object, as the clients do it for a folder."""
        source, target = self.file(path), self.file(dst)
        for file in [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]:
            new = target / file.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            file.replace(new)

    replace = rename

    def copy(self, path: Any, dst: Any, overwrite: bool) -> None:
        if os.fspath(dst).startswith("gs://"):
            with Path(path).open("rb") as source, self.open(dst, "wb") as target:
                shutil.copyfileobj(source, target)
        else:
            self.log.append(("read", os.fspath(path)))
            shutil.copyfile(self.file(path), dst)

    def stat(self, path: Any) -> Any:
        return backend.os_backend.stat(self.file(path))


def install(root: Path, monkeypatch: Any) -> Buckets:
    """gs:// means a folder below `root`, for epath and for Orbax and its array files."""
    from orbax.checkpoint._src.path import gcs_utils

    buckets = Buckets(root)
    monkeypatch.setenv("EPATH_USE_TF", "false")
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", buckets)
    # It looks once per process whether TensorFlow is there, before EPATH_USE_TF could tell it otherwise.
    monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
    monkeypatch.setattr(gpath, "_GCS_BACKENDS", frozenset({*gpath._GCS_BACKENDS, buckets}))
    # Asked of Google's own client: whether a bucket has real folders.
    monkeypatch.setattr(gcs_utils, "get_bucket", lambda name: object())

    def arrays_at(path: str) -> dict[str, Any]:
        return {"driver": "file", "path": str(buckets.file(path))}

    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", arrays_at)
    return buckets
