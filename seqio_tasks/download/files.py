"""What fetching and unpacking share: verification, atomic moves, progress bars."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seqio_tasks.base import replacing
from seqio_tasks.catalog.files import OfficialFile


def mismatch(path: Path, file: OfficialFile) -> str:
    """How `path` differs from the published file; "" when it does not, or when nothing is published."""
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return f"{size:,} bytes, published are {file.bytes:,}"
    for name, published in (("md5", file.md5), ("sha256", file.sha256)):
        if not published:
            continue
        digest = hashlib.new(name, usedforsecurity=False)
        with path.open("rb") as stream, progress_bar(f"checking {path.name}", size, delay=2.0) as bar:
            while block := stream.read(1 << 20):
                digest.update(block)
                bar.update(len(block))
        if digest.hexdigest() != published.lower():
            return f"{name} is {digest.hexdigest()}, published is {published}"
    return ""


def put_in_place(source: Path, target: Path) -> None:
    """Move a finished file to its place atomically, also from another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with replacing(target) as partial:
            shutil.copyfile(source, partial)
        source.unlink()


def progress_bar(what: str, total: int | None, initial: int = 0, delay: float = 0.0) -> tqdm[Any]:
    """Bytes, rate and time left on standard error; silent where that is no terminal."""
    return tqdm(
        desc=what,
        total=total,
        initial=initial,
        delay=delay,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    )
