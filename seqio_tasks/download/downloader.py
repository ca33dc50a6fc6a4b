"""Bring the official files of a dataset into its folder: download, verify, unpack, record what was unpacked.

Unfinished work lies in ``RAW_DIR/.download``, not in a dataset's folder, so that no reader meets half a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from seqio_tasks.base import DataError, UserError, locked, write_text
from seqio_tasks.catalog.files import OfficialFile, Source
from seqio_tasks.download import unpacking
from seqio_tasks.download.fetching import Fetcher
from seqio_tasks.download.files import mismatch
from seqio_tasks.download.hub_files import NeedsPerson
from seqio_tasks.download.report import (
    FAILED,
    FETCHED,
    MANUAL,
    PRESENT,
    Outcome,
    manual_step,
    unpack_command,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """
    replace: download again what does not match the published file, and overwrite files that differ.
    accept_changed: take files as they are, without verification.
    delete_archives: keep only what came out of archives.
    """

    replace: bool = False
    accept_changed: bool = False
    delete_archives: bool = False


class Downloader:
    """Brings official files into ``raw_dir/<folder>/``, one after the other."""

    def __init__(
        self, raw_dir: Path | str, options: Options | None = None, fetcher: Fetcher | None = None
    ) -> None:
        self.raw_dir = Path(raw_dir)
        self.options = options or Options()
        self.fetcher = fetcher or Fetcher()

    def source(self, source: Source) -> Iterator[Outcome]:
        """The outcome of every file of one source; a failure does not stop the others."""
        folder = self.raw_dir / source.folder
        for file in source.files:
            name = f"{source.folder}/{file.name}"
            try:
                unpacking.safe_path(file.name)
                status, detail, message = self._file(file, folder, work_folder(self.raw_dir, source.folder))
                yield Outcome(name, status, detail, message)
            except NeedsPerson as error:
                yield Outcome(name, MANUAL, "terms to accept", str(error))
            except UserError as error:
                yield Outcome(name, FAILED, "see below", str(error))
            except OSError as error:
                todo = "make room or choose another --raw_dir, and run the same command again"
                yield Outcome(name, FAILED, "see below", f"{folder / file.name}: {error}; {todo}")

    def _file(self, file: OfficialFile, folder: Path, work: Path) -> tuple[str, str, str]:
        """(status, detail, message) of one file."""
        target, packed = folder / file.name, unpacking.kind(file.name) if file.unpack else ""
        receipt, step = work / f"{file.name}.unpacked.json", manual_step(file)
        if packed and _unpacked_before(receipt, file, target.parent):
            return PRESENT, "unpacked", ""
        if packed and not target.is_file() and _unpacked_by_hand(file, folder, packed):
            return PRESENT, "unpacked by hand", ""
        published = file
        if self.options.accept_changed:
            published = dataclasses.replace(file, bytes=0, md5="", sha256="")
        problem = mismatch(target, published) if target.is_file() else "missing"
        if problem and target.is_file() and (step or not self.options.replace):
            again = "get it again by hand" if step else "fetch it again with --replace"
            raise DataError(problem, path=target, todo=f"{again}, or keep it with --accept_changed")
        by_hand = f"unpack it with: {unpack_command(target)}"
        if problem and step:
            then = {"": "", "foreign": f", and {by_hand}"}
            again = ", and run the same command again to unpack it"
            return MANUAL, "see below", f"{step}; put it at {target}{then.get(packed, again)}"
        if problem:
            with exclusively(work):
                self.fetcher.fetch(published, target, work)
        status, detail = FETCHED if problem else PRESENT, f"{target.stat().st_size:,} bytes"
        if packed == "foreign" and _unpacked_by_hand(file, folder, packed):
            return PRESENT, "unpacked by hand", ""
        if packed == "foreign":
            return MANUAL, "to be unpacked", f"{target} is there; {by_hand}"
        if packed:
            with exclusively(work):
                count = self._unpack(file, target, work / f"{file.name}.unpacking", receipt)
            detail += f", {count:,} file{'s' * (count != 1)} unpacked"
        return status, detail, ""

    def _unpack(self, file: OfficialFile, archive: Path, work: Path, receipt: Path) -> int:
        written = unpacking.unpack(archive, archive.parent, work, file.members, replace=self.options.replace)
        write_text(receipt, json.dumps({"published": _published(file), "files": written}))
        # Readers that take x and x.gz alike would read the same records twice; other archives are not read.
        if self.options.delete_archives or unpacking.kind(file.name) == "gz":
            archive.unlink()
        return len(written)


def work_folder(raw_dir: Path, name: str) -> Path:
    """Where unfinished work on a dataset's folder lies: beside it, behind links, on the same file system."""
    return (raw_dir / PurePosixPath(name).parts[0]).resolve().parent / ".download" / name


def exclusively(work: Path) -> contextlib.AbstractContextManager[None]:
    """One download per folder at a time."""
    return locked(work / ".lock", busy=f"{work}: another download is running here; wait until it is done")


def _unpacked_by_hand(file: OfficialFile, folder: Path, packed: str) -> bool:
    """Whether the folder holds everything that is needed of an archive."""
    patterns = file.members or ((PurePosixPath(file.name).stem,) if packed == "gz" else ())
    found = (any(path.is_file() for path in folder.rglob(pattern)) for pattern in patterns)
    return bool(patterns) and all(found)


def _published(file: OfficialFile) -> list[Any]:
    return [file.bytes, file.md5, file.sha256, list(file.members)]


def _unpacked_before(receipt: Path, file: OfficialFile, folder: Path) -> bool:
    """Whether this very archive was unpacked before and everything that came out of it is still there."""
    try:
        noted = json.loads(receipt.read_text("utf-8"))
        sizes = all((folder / name).stat().st_size == size for name, size in noted["files"])
        return sizes and noted["published"] == _published(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False
