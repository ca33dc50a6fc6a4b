"""What the download command prints: the status of every file, manual steps, the list of official files."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from seqio_tasks.base import aligned
from seqio_tasks.catalog.files import SOURCES, OfficialFile, Source
from seqio_tasks.download import unpacking

PRESENT, FETCHED, FAILED, MANUAL = "present", "fetched", "failed", "manual"
# Their URLs lead to a page with a button, not to a file.
_BY_BROWSER = ("drive.google.com", "docs.google.com", "www.dropbox.com", "1drv.ms")


@dataclass(frozen=True)
class Outcome:
    """The result for one official file: `detail` is a few words, `message` what the user should read."""

    name: str
    status: str
    detail: str = ""
    message: str = ""


def manual_step(file: OfficialFile) -> str:
    """What a person has to do to get the file; "" when it can be downloaded."""
    if file.manual:
        return file.manual
    if urlsplit(file.url).netloc.lower() in _BY_BROWSER:
        return f"open {file.url} in a browser and download the file there"
    return "" if file.url else "no URL is known: get the file from its publisher"


def unpack_command(archive: Path) -> str:
    """The command that unpacks a format Python cannot open.

    >>> unpack_command(Path("raw/my set/data.7z"))
    "7z x '-oraw/my set' 'raw/my set/data.7z'"
    """
    return shlex.join(["7z", "x", f"-o{archive.parent}", str(archive)])


def table(outcomes: Sequence[Outcome]) -> str:
    """name | status | detail of every file, then the messages, then the totals."""
    lines = aligned([("name", "status", ""), *((one.name, one.status, one.detail) for one in outcomes)])
    for status, title in ((FAILED, "Failed:"), (MANUAL, "To be done by hand:")):
        shown = [f"  {one.name}\n    {one.message}" for one in outcomes if one.status == status]
        lines += ["", title, *shown] if shown else []
    counts = [
        f"{sum(one.status == status for one in outcomes)} {status}"
        for status in (PRESENT, FETCHED, FAILED, MANUAL)
    ]
    return "\n".join([*lines, "", ", ".join(counts)])


def listing(chosen: Iterable[Source] = ()) -> str:
    """The official files of the chosen sources, or of all: size, how to get them, licence."""
    folders = {source.folder for source in chosen or SOURCES.values()}
    rows, total = [("dataset", "folder/file", "bytes", "how", "licence")], 0
    for key, source in SOURCES.items():
        labels = (key, source.licence)
        for file in source.files if source.folder in folders else ():
            by_hand = manual_step(file) or unpacking.kind(file.name) == "foreign"
            size = f"{file.bytes:,}" if file.bytes else "?"
            path, how = f"{source.folder}/{file.name}", "by hand" if by_hand else "fetched"
            rows.append((labels[0], path, size, how, labels[1]))
            labels, total = ("", ""), total + file.bytes
    summary = f"{len(rows) - 1} files; the known sizes add up to {total / 1e9:.1f} GB"
    return "\n".join([*aligned(rows), "", summary])
