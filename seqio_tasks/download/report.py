"""What the download tells: the status of every file, the steps left to a person, the official files."""

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
# Pages with a button to press, not files.
_BY_BROWSER = ("drive.google.com", "docs.google.com", "www.dropbox.com", "1drv.ms")


@dataclass(frozen=True)
class Outcome:
    """How one official file ended; ``detail`` is a few words, ``message`` what the user should read."""

    name: str
    status: str
    detail: str = ""
    message: str = ""


def by_hand(file: OfficialFile) -> str:
    """What a person has to do to get the file; empty when it can simply be fetched."""
    if file.manual:
        return file.manual
    if urlsplit(file.url).netloc.lower() in _BY_BROWSER:
        return f"open {file.url} in a browser and download the file there"
    return "" if file.url else "no address is known: get the file from its publisher"


def where_to_put(file: OfficialFile, target: Path, packed: str) -> str:
    """Where a file got by hand belongs, and what comes after."""
    then = {"": "", "foreign": f", and unpack it with: {unpack_command(target)}"}
    return f"put it at {target}" + then.get(packed, ", and run the same command again to unpack it")


def unpack_command(archive: Path) -> str:
    """For formats that Python cannot open.

    >>> unpack_command(Path("raw/my set/data.7z"))
    "7z x '-oraw/my set' 'raw/my set/data.7z'"
    """
    return shlex.join(["7z", "x", f"-o{archive.parent}", str(archive)])


def table(outcomes: Sequence[Outcome]) -> str:
    """name | status | detail, then what the user should read, then the sums."""
    heads = ("name", "status", "")
    body = [(outcome.name, outcome.status, outcome.detail) for outcome in outcomes]
    lines = aligned([heads, *body])
    for status, title in ((FAILED, "Failed:"), (MANUAL, "To be done by hand:")):
        told = [outcome for outcome in outcomes if outcome.status == status]
        lines += (
            ["", title, *(f"  {outcome.name}\n    {outcome.message}" for outcome in told)] if told else []
        )
    sums = [
        sum(outcome.status == status for outcome in outcomes) for status in (PRESENT, FETCHED, FAILED, MANUAL)
    ]
    lines += ["", "{} present, {} fetched, {} failed, {} manual".format(*sums)]
    return "\n".join(lines)


def listing(chosen: Iterable[Source] | None = None) -> str:
    """Official files by dataset: size, how they come, licence; of all sources or of the chosen ones."""
    folders = None if chosen is None else {source.folder for source in chosen}
    shown = {key: source for key, source in SOURCES.items() if folders is None or source.folder in folders}
    lines = [("dataset", "folder/file", "bytes", "how", "licence")]
    for key, source in shown.items():
        for number, file in enumerate(source.files):
            how = "by hand" if by_hand(file) or unpacking.kind(file.name) == "foreign" else "fetched"
            size = f"{file.bytes:,}" if file.bytes else "?"
            first = number == 0
            lines.append((key * first, f"{source.folder}/{file.name}", size, how, source.licence * first))
    total = sum(file.bytes for source in shown.values() for file in source.files)
    return "\n".join(
        [*aligned(lines), "", f"{len(lines) - 1} files; known sizes sum up to {total / 1e9:.1f} GB"]
    )
