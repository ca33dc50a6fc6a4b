"""``python -m seqio_tasks.download [names ...] --raw_dir DIR``: official files, fetched, checked, unpacked.

A name is a dataset of the catalog ("squad"), its folder ("squad_v1"), a pair
("inters_query_matching_msrp"), a task, a group, or "all"; or "irds:" and an id of ir_datasets
("irds:beir/scifact/test"), which becomes a BEIR folder (`ir_datasets_source`). Every file ends as
one of

    present   it is there and fits what is published; nothing is done
    fetched   it came, fitted and was unpacked
    failed    the reason is told; what came so far is kept, and the next run goes on from there
    manual    only a person may or can fetch it; what to do and where to put it is told

The exit status is 1 when a file failed. Work in progress lies in ``DIR/.download``, never in a dataset's
folder, so that no reader meets half a file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from seqio_tasks import settings
from seqio_tasks.base import AlreadyLocked, DataError, locked, replacing
from seqio_tasks.catalog import PAIRS
from seqio_tasks.catalog.files import SOURCES, OfficialFile, Source
from seqio_tasks.download import ir_datasets_source, unpacking
from seqio_tasks.download.fetching import Fetcher, Patience, mismatch
from seqio_tasks.download.hub_files import NeedsPerson
from seqio_tasks.download.report import (
    FAILED,
    FETCHED,
    MANUAL,
    PRESENT,
    Outcome,
    by_hand,
    listing,
    table,
    unpack_command,
    where_to_put,
)

_SAMPLE = Path(__file__).resolve().parents[1] / "sample"


@dataclasses.dataclass(frozen=True)
class Options:
    """``replace``: fetch again what does not fit; ``accept_changed``: take files as they are;
    ``delete_archives``: keep only what came out of them."""

    replace: bool = False
    accept_changed: bool = False
    delete_archives: bool = False


def find_sources(names: Sequence[str]) -> list[Source]:
    """The sources that names mean, in the order of the table, each once.

    >>> [source.folder for source in find_sources(["squad", "msrp", "squad_v1"])]
    ['msrp', 'squad_v1']
    """
    folders: dict[str, set[str]] = {"all": {source.folder for source in SOURCES.values()}}
    for pair in PAIRS:
        for name in (pair.name, pair.task, pair.group):
            folders.setdefault(name, set()).add(pair.folder)
    for key, source in SOURCES.items():
        # The name of a dataset means its own folder, also where a task or a pair is called the same.
        folders[key] = {source.folder}
    for source in SOURCES.values():
        folders.setdefault(source.folder, {source.folder})
    chosen: set[str] = set()
    for name in names:
        if name not in folders:
            near = difflib.get_close_matches(name, folders, n=3)
            todo = f"did you mean {' or '.join(near)}?" if near else "use a name that --list prints"
            raise DataError(f"nothing is named {name!r}", todo=todo)
        chosen |= folders[name]
    return [source for source in SOURCES.values() if source.folder in chosen]


class Downloader:
    """Brings official files into ``raw_dir/<folder>/``, one after the other."""

    def __init__(
        self, raw_dir: Path | str, options: Options | None = None, fetcher: Fetcher | None = None
    ) -> None:
        self.raw_dir = Path(raw_dir)
        self.options = options or Options()
        self.fetcher = fetcher or Fetcher()

    def source(self, source: Source) -> Iterator[Outcome]:
        """All files of one source; what goes wrong with one does not keep the others back."""
        folder = self.raw_dir / source.folder
        # Beside the folder, behind links: moves within one file system are made in one step.
        work = folder.resolve().parent / ".download" / source.folder
        for file in source.files:
            name = f"{source.folder}/{file.name}"
            try:
                if unpacking.safe_path(file.name).parts == ():
                    raise DataError("an official file without a name", todo="correct the catalog")
                yield self._file(file, folder, work, name)
            except NeedsPerson as error:
                yield Outcome(name, MANUAL, "terms to accept", str(error))
            except (DataError, AlreadyLocked) as error:
                yield Outcome(name, FAILED, "see below", str(error))
            except unpacking.Refused as error:
                yield Outcome(name, FAILED, "see below", f"{name}: {error}; correct the catalog")
            except OSError as error:
                todo = "make room or choose another --raw_dir, and run the same command again"
                yield Outcome(name, FAILED, "see below", f"{folder / file.name}: {error}; {todo}")

    def _file(self, file: OfficialFile, folder: Path, work: Path, name: str) -> Outcome:
        target, packed = folder / file.name, unpacking.kind(file.name) if file.unpack else ""
        receipt = work / f"{file.name}.unpacked.json"
        if packed and _receipt_holds(receipt, file, folder):
            return Outcome(name, PRESENT, "unpacked")
        official = file
        if self.options.accept_changed:
            file = dataclasses.replace(file, bytes=0, md5="", sha256="")
        status, detail = PRESENT, ""
        if target.is_file() and (problem := mismatch(target, file)):
            if not self.options.replace or by_hand(file):
                again = "get it again by hand" if by_hand(file) else "fetch it again with --replace"
                todo = f"{again}, or keep it with --accept_changed"
                raise DataError(problem, path=target, todo=todo)
            status = FETCHED
        elif not target.is_file():
            if packed and _unpacked_by_hand(file, folder, packed):
                return Outcome(name, PRESENT, "unpacked by hand")
            status = FETCHED
        if status == FETCHED and (step := by_hand(file)):
            return Outcome(name, MANUAL, "see below", f"{step}; {where_to_put(file, target, packed)}")
        if status == FETCHED:
            with _exclusively(work):
                self.fetcher.fetch(file, target, work)
            detail = f"{target.stat().st_size:,} bytes"
        if packed == "foreign":
            if _unpacked_by_hand(file, folder, packed):
                return Outcome(name, PRESENT, "unpacked by hand")
            message = f"{target} is there; unpack it with: {unpack_command(target)}"
            return Outcome(name, MANUAL, "to be unpacked", message)
        if packed:
            with _exclusively(work):
                detail = self._unpack(official, folder, work, receipt)
        return Outcome(name, status, detail or f"{target.stat().st_size:,} bytes")

    def _unpack(self, file: OfficialFile, folder: Path, work: Path, receipt: Path) -> str:
        archive = folder / file.name
        size = archive.stat().st_size
        written = unpacking.unpack(
            archive,
            archive.parent,
            work / f"{file.name}.unpacking",
            file.members,
            replace=self.options.replace,
        )
        _write_receipt(receipt, file, written)
        # Readers that take x and x.gz alike would meet the same records twice; archives are not read.
        if self.options.delete_archives or unpacking.kind(file.name) == "gz":
            archive.unlink()
        return f"{size:,} bytes, {len(written):,} file{'s' * (len(written) != 1)} unpacked"


def _unpacked_by_hand(file: OfficialFile, folder: Path, packed: str) -> bool:
    """Whether all that is needed of an archive lies in the folder although we did not unpack it."""
    patterns = file.members or ((PurePosixPath(file.name).stem,) if packed == "gz" else ())
    return bool(patterns) and all(
        any(path.is_file() for path in folder.rglob(pattern)) for pattern in patterns
    )


def _published(file: OfficialFile) -> list[Any]:
    return [file.bytes, file.md5, file.sha256, list(file.members)]


def _write_receipt(receipt: Path, file: OfficialFile, written: list[tuple[str, int]]) -> None:
    with replacing(receipt) as draft:
        draft.write_text(json.dumps({"published": _published(file), "files": written}), "utf-8")


def _receipt_holds(receipt: Path, file: OfficialFile, folder: Path) -> bool:
    """Whether this very archive was unpacked before and everything that came out is still there."""
    base = (folder / file.name).parent
    try:
        noted = json.loads(receipt.read_text("utf-8"))
        same = noted["published"] == _published(file)
        return same and all((base / name).stat().st_size == size for name, size in noted["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _exclusively(work: Path) -> contextlib.AbstractContextManager[None]:
    """One download per folder at a time."""
    return locked(work / ".lock", busy=f"{work}: another download is at work here; wait until it is done")


def _from_ir_datasets(dataset_id: str, raw_dir: Path, folder: str) -> Iterator[Outcome]:
    try:
        name = ir_datasets_source.checked_folder(folder or ir_datasets_source.folder_name(dataset_id))
        with _exclusively(ir_datasets_source.work_folder(raw_dir, name)):
            yield from ir_datasets_source.bring(dataset_id, raw_dir, name)
    except (DataError, AlreadyLocked) as error:
        yield Outcome(ir_datasets_source.PREFIX + dataset_id, FAILED, "see below", str(error))


def main(arguments: Sequence[str] | None = None, fetcher: Fetcher | None = None) -> int:
    """The command; 0 when nothing failed, 1 when a file did, 2 when it was called wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m seqio_tasks.download", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="datasets, folders, pairs, tasks, groups, all, or irds:ID")
    parser.add_argument("--raw_dir", help="where the folders are (default: the environment's INTERS_RAW_DIR)")
    parser.add_argument("--folder", default="", help="the folder for irds: ids (default: named after them)")
    parser.add_argument("--list", action="store_true", help="print the official files and stop")
    parser.add_argument(
        "--replace", action="store_true", help="fetch again what does not fit what is published"
    )
    parser.add_argument("--accept_changed", action="store_true", help="take files as they are, unchecked")
    parser.add_argument("--delete_archives", action="store_true", help="keep only what came out of archives")
    parser.add_argument("--attempts", type=int, default=6, help="attempts without progress (default 6)")
    given = parser.parse_args(arguments)
    prefix = ir_datasets_source.PREFIX
    ids = [name.removeprefix(prefix) for name in given.names if name.startswith(prefix)]
    if (given.folder and not ids) or (given.list and ids) or "" in ids:
        parser.error("--folder is for irds:ID, as in irds:beir/scifact/test; --list does not know such ids")
    try:
        sources = find_sources([name for name in given.names if not name.startswith(prefix)])
    except (DataError, AlreadyLocked) as error:
        parser.error(str(error))
    if given.list:
        print(listing(sources or None))
        return 0
    raw_dir = Path(given.raw_dir or settings.current().raw_dir)
    if not given.names:
        parser.error(
            "name datasets, folders, pairs, tasks or groups, or say all (--list prints what there is)"
        )
    if raw_dir.resolve() == _SAMPLE:
        parser.error("say where to put the files: --raw_dir DIR, or INTERS_RAW_DIR in the environment")
    options = Options(given.replace, given.accept_changed, given.delete_archives)
    downloader = Downloader(raw_dir, options, fetcher or Fetcher(Patience(attempts=max(1, given.attempts))))
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for source in sources:
            print(f"{source.folder}: {source.licence}", file=sys.stderr)
            outcomes += downloader.source(source)
        for dataset_id in dict.fromkeys(ids):
            outcomes += _from_ir_datasets(dataset_id, raw_dir, given.folder)
    except KeyboardInterrupt:
        interrupted = True
    if outcomes:
        print(table(outcomes))
    if interrupted:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    return int(any(outcome.status == FAILED for outcome in outcomes))
