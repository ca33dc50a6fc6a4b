"""``python -m seqio_tasks.catalog``: the pairs and the official files as text.

``--rows`` reads the raw files instead and counts the rows that are there, per split.
"""

from __future__ import annotations

import argparse
import sys

from seqio_tasks import own_data, row_counts
from seqio_tasks.base import UserError
from seqio_tasks.catalog import table


def main(arguments: list[str] | None = None) -> int:
    """Print the table that is asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m seqio_tasks.catalog", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help="with --rows: pairs, folders, datasets of your own; default: all"
    )
    parser.add_argument("--rows", action="store_true", help="count the rows of the raw files")
    parser.add_argument("--raw_dir", help="default: INTERS_RAW_DIR, else the packaged sample")
    own_data.add_argument(parser)
    options = parser.parse_args(arguments)
    if not options.rows and (options.names or options.raw_dir):
        parser.error("names and --raw_dir need --rows")
    try:
        own_data.register(options.datasets)
        if not options.rows:
            print(table())
            return 0
        for line in row_counts.table(options.names, options.raw_dir):
            print(line, flush=True)
    except UserError as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
