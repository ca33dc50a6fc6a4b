"""``python -m seqio_tasks.download [names ...] --raw_dir DIR``: download, verify and unpack official files.

A name is a dataset of the catalog ("squad"), its folder ("squad_v1"), a pair ("inters_query_matching_msrp"),
a task, a group, or "all"; or "irds:" and an id of ir_datasets ("irds:beir/scifact/test"), which becomes a
BEIR folder (`ir_datasets_source`). Every file ends as one of

    present   it exists and matches the published file; nothing is done
    fetched   it was downloaded, verified and unpacked
    failed    the reason is printed; the next run resumes
    manual    only a person may or can get it; the step and where to put the file are printed

The exit status is 1 when a file failed, 2 after wrong usage, 130 after an interrupt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqio_tasks import settings
from seqio_tasks.base import DataError, UserError, nearest
from seqio_tasks.catalog import PAIRS
from seqio_tasks.catalog.files import SOURCES, Source
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.download.downloader import Downloader, Options, exclusively, work_folder
from seqio_tasks.download.fetching import Fetcher
from seqio_tasks.download.report import FAILED, Outcome, listing, table

_SAMPLE = Path(__file__).resolve().parents[1] / "sample"


def find_sources(names: Sequence[str]) -> list[Source]:
    """The sources that names stand for, in the order of the table, each once.

    Raises:
      DataError: a name is unknown.

    >>> [source.folder for source in find_sources(["squad", "msrp", "squad_v1"])]
    ['msrp', 'squad_v1']
    """
    folders: dict[str, set[str]] = {"all": {source.folder for source in SOURCES.values()}}
    for pair in PAIRS:
        for name in (pair.name, pair.task, pair.group):
            folders.setdefault(name, set()).add(pair.folder)
    # The name of a dataset means its own folder, even where a task or a pair has the same name.
    folders |= {key: {source.folder} for key, source in SOURCES.items()}
    for source in SOURCES.values():
        folders.setdefault(source.folder, {source.folder})
    for name in names:
        if name not in folders:
            hint = nearest(name, folders) or "; use a name that --list prints"
            raise DataError(f"nothing is named {name!r}{hint}")
    chosen = set().union(*(folders[name] for name in names))
    return [source for source in SOURCES.values() if source.folder in chosen]


def _from_ir_datasets(dataset_id: str, raw_dir: Path, folder: str) -> Iterator[Outcome]:
    try:
        name = ir_datasets_source.checked_folder(folder or ir_datasets_source.folder_name(dataset_id))
        with exclusively(work_folder(raw_dir, name)):
            yield from ir_datasets_source.convert(dataset_id, raw_dir, name)
    except UserError as error:
        yield Outcome(ir_datasets_source.PREFIX + dataset_id, FAILED, "see below", str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seqio_tasks.download", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("names", nargs="*", help="datasets, folders, pairs, tasks, groups, all, or irds:ID")
    add("--raw_dir", help="the folder of the datasets' folders (default: INTERS_RAW_DIR of the environment)")
    add("--folder", default="", help="the folder for irds: ids (default: named after them)")
    add("--list", action="store_true", help="print the official files and stop")
    add("--replace", action="store_true", help="download again what does not match the published file")
    add("--accept_changed", action="store_true", help="take files as they are, unverified")
    add("--delete_archives", action="store_true", help="keep only what came out of archives")
    add("--attempts", type=int, default=6, help="attempts without progress (default 6)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      0 when nothing failed, 1 when a file did, 130 after an interrupt; wrong usage exits with 2.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    prefix = ir_datasets_source.PREFIX
    ids = [name.removeprefix(prefix) for name in given.names if name.startswith(prefix)]
    if (given.folder and not ids) or (given.list and ids) or "" in ids:
        parser.error("--folder is for irds:ID, as in irds:beir/scifact/test; --list does not know such ids")
    try:
        sources = find_sources([name for name in given.names if not name.startswith(prefix)])
    except DataError as error:
        parser.error(str(error))
    if given.list:
        print(listing(sources))
        return 0
    raw_dir = Path(given.raw_dir or settings.current().raw_dir)
    if not given.names:
        parser.error("name datasets, folders, pairs, tasks or groups, or all (--list prints them)")
    if raw_dir.resolve() == _SAMPLE:
        parser.error("say where to put the files: --raw_dir DIR, or INTERS_RAW_DIR in the environment")
    options = Options(given.replace, given.accept_changed, given.delete_archives)
    downloader = Downloader(raw_dir, options, Fetcher(max(1, given.attempts)))
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
        print("Interrupted; run the same command again to resume.", file=sys.stderr)
        return 130
    return int(any(outcome.status == FAILED for outcome in outcomes))
