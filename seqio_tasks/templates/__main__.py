"""`python -m seqio_tasks.templates --check [folder]`: check the template files; `--list`: count them.

Given a file instead of a folder: report whether it can replace packaged templates, and what it has.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seqio_tasks import own_data
from seqio_tasks.expected_errors import one_line
from seqio_tasks.templates import FOLDER, TemplateError, load_file, own
from seqio_tasks.templates.linter import check_all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m seqio_tasks.templates", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: the packaged files")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="report every fault")
    action.add_argument("--list", action="store_true", help="print the datasets and numbers of templates")
    own_data.add_argument(parser)
    options = parser.parse_args(arguments)
    with one_line("templates"):
        own_data.register(options.datasets)
    if options.folder.is_file():
        return _own_file(options.folder)
    if options.list:
        for path in sorted(options.folder.glob("*.yaml")):
            for dataset, entries in load_file(path).datasets.items():
                print(f"{path.stem:32} {dataset:16} {len(entries)}")
        return 0
    faults = check_all(options.folder)
    for fault in faults:
        print(fault)
    files = sorted(options.folder.glob("*.yaml"))
    count = 0 if faults else sum(len(entries) for f in files for entries in load_file(f).datasets.values())
    print(f"{len(faults)} faults" if faults else f"{count} templates in {len(files)} files: no fault")
    return 1 if faults else 0


def _own_file(path: Path) -> int:
    try:
        found = own.read(path)
    except TemplateError as error:
        print(error)
        return 1
    for task in found:
        for dataset, entries in task.datasets.items():
            described = "" if task.description else "  (the packaged description)"
            print(f"{task.task:32} {dataset:16} {len(entries)}{described}")
    print(
        f"{sum(len(entries) for task in found for entries in task.datasets.values())} templates can be used"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
