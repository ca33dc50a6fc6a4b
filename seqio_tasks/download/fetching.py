"""Fetching one official file: attempts, waits, checks, and the move into place in one step.

A cut connection, a timeout or a busy server is waited out and the transfer continued
(`transfers`); Hugging Face files go through `hub_files`. Only when size and checksum
fit does a file get its name.
"""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from seqio_tasks.base import DataError
from seqio_tasks.catalog.files import OfficialFile
from seqio_tasks.download import hub_files
from seqio_tasks.download.transfers import OnlyWeb, Temporary, Transfer, changed, progress_bar


@dataclass(frozen=True)
class Patience:
    """How long to insist: ``attempts`` without any progress, waits doubling from ``wait`` to ``longest``."""

    attempts: int = 6
    wait: float = 1.0
    longest: float = 60.0
    timeout: float = 30.0


def mismatch(path: Path, file: OfficialFile) -> str:
    """Why the file is not the published one; empty when it is, or when nothing is published to compare."""
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return f"{size:,} bytes, published are {file.bytes:,}"
    wanted = [(name, value) for name, value in (("md5", file.md5), ("sha256", file.sha256)) if value]
    hashes = [hashlib.new(name, usedforsecurity=False) for name, _ in wanted]
    if not hashes:
        return ""
    with path.open("rb") as stream, progress_bar(f"checking {path.name}", size, delay=2.0) as bar:
        while block := stream.read(1 << 20):
            for digest in hashes:
                digest.update(block)
            bar.update(len(block))
    for (name, value), digest in zip(wanted, hashes, strict=True):
        if digest.hexdigest() != value.lower():
            return f"{name} is {digest.hexdigest()}, published is {value}"
    return ""


def put_in_place(source: Path, target: Path) -> None:
    """Move a finished file to its place in one step, also from another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.arriving")
        shutil.copyfile(source, beside)
        beside.replace(target)
        source.unlink()


class Fetcher:
    """Fetches files one after the other and remembers which hosts do not answer at all."""

    def __init__(self, patience: Patience | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.patience = patience or Patience()
        self._sleep = sleep
        self._silent: set[str] = set()
        self._opener = urllib.request.build_opener(OnlyWeb)

    def fetch(self, file: OfficialFile, target: Path, work: Path) -> None:
        """Bring ``file`` to ``target``; ``work`` keeps the unfinished part between runs."""
        work.mkdir(parents=True, exist_ok=True)
        place = hub_files.parse(file.url)
        scheme = urlsplit(file.url).scheme
        if place is None and scheme not in ("http", "https"):
            raise DataError(
                f"cannot fetch from {file.url!r}",
                path=target,
                todo="put the file there by hand, or correct the url",
            )
        if place is None:
            transfer = Transfer(file, target, work / f"{file.name}.part", self._opener, self.patience.timeout)
            self._complete(transfer)
            put_in_place(transfer.part, target)
            transfer.forget_state()
            return
        hub, folder = place, work / f"{file.name}.hub"
        finished = self.insist(file.url, target, lambda: hub_files.fetch(hub, target, folder))
        if problem := mismatch(finished, file):
            finished.unlink()
            raise changed(problem, file, target)
        put_in_place(finished, target)
        shutil.rmtree(folder, ignore_errors=True)

    def insist(
        self, url: str, target: Path, attempt: Callable[[], Path], reached: Callable[[], int] = lambda: 0
    ) -> Path:
        """Repeat ``attempt`` while it fails for now; attempts count from the last gain in ``reached()``.

        A host that never answered gets one attempt per further file, so that a machine without network is not
        kept waiting for every one of them.
        """
        host = urlsplit(url).netloc
        failures, furthest = 0, reached()
        while True:
            try:
                result = attempt()
                self._silent.discard(host)
                return result
            except Temporary as error:
                if reached() > furthest:
                    failures, furthest = 0, reached()
                failures += 1
                allowed = 1 if host in self._silent else self.patience.attempts
                if failures >= allowed:
                    if not error.answered:
                        self._silent.add(host)
                    kept = f" (it goes on from byte {reached():,})" if reached() else ""
                    raise DataError(
                        f"{url}: {error}, {failures} attempt{'s' * (failures > 1)} in a row",
                        path=target,
                        todo=f"run the same command again later{kept}",
                    ) from None
                # Jitter keeps several machines that failed together from coming back together.
                wait = self.patience.wait * 2 ** (failures - 1) * random.uniform(0.75, 1.25)
                self._sleep(min(max(wait, error.after), self.patience.longest))

    def _complete(self, transfer: Transfer) -> None:
        """The whole, right file as ``transfer.part``."""
        file, target = transfer.file, transfer.target
        transfer.part.parent.mkdir(parents=True, exist_ok=True)
        for last in (False, True):
            self.insist(file.url, target, transfer.attempt, transfer.reached)
            problem = mismatch(transfer.part, file)
            if not problem:
                return
            transfer.discard()
            # Pieces of two versions may have met in a continued file: only then once more, from the start.
            if last or not transfer.continued:
                raise changed(problem, file, target)
