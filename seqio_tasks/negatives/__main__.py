"""``python -m seqio_tasks.negatives DATASET --output FILE``: mine hard negatives, without false ones.

The candidates are those of a run, by default the collection's first stage (its runs/, else BM25). The file is
read by training in place of the first stage: as negatives/<split>.tsv in the folder of the collection, or as
`negatives: FILE` in the declaration of your own data. The counts of what was removed are printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seqio_tasks import catalog, own_data, settings
from seqio_tasks.base import UserError, nearest
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics.trec_files import RUN_FORMATS
from seqio_tasks.negatives.mining import QUERIES, Found, mine
from seqio_tasks.negatives.rules import KEPT, SAMPLING, Rules
from seqio_tasks.sources.mined import write_mined
from seqio_tasks.sources.retrieval_sets import RetrievalSet, collection
from seqio_tasks.sources.splits import SPLITS


def main(arguments: list[str] | None = None) -> int:
    """Mine, write the file, print the counts; the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    with one_line("negatives"):
        own_data.register(given.datasets)
        found = _mine(given)
        written = write_mined(given.output, found.negatives)
    print("\n".join(found.table()))
    kept = f"{found.candidates[KEPT]:,} negatives of {sum(map(bool, found.negatives.values())):,} queries"
    print(f"{kept} {'are now' if written else 'were already'} in {given.output}")
    return 0


def _mine(given: argparse.Namespace) -> Found:
    rules = _rules(given)
    if given.teacher and not rules.scored:
        raise UserError("--teacher is read by --max_share_of_positive, --margin or --max_score; give one")
    if given.run_format and not given.run:
        raise UserError("--run_format is read with --run")
    changes = {"raw_dir": given.raw_dir} if given.raw_dir else {}
    with settings.override(**changes):
        found = mine(
            _collection(given.dataset),
            settings.current().raw_dir,
            given.split,
            rules,
            run_file=given.run,
            run_format=given.run_format or "auto",
            teacher_file=given.teacher,
        )
    if not found.others[QUERIES]:
        raise UserError(f"{given.dataset} has no query with a relevant document in the split {given.split}")
    if not found.candidates[KEPT]:
        lines = "; ".join(" ".join(line.split()) for line in found.table())
        raise UserError(f"no negative is left, and nothing was written ({lines}); use other rules")
    return found


def _rules(given: argparse.Namespace) -> Rules:
    if given.sampling and given.per_query is None:
        raise UserError("--sampling is read with --per_query: without a number all are kept")
    if given.seed is not None and given.sampling != "random":
        raise UserError("--seed is read with --sampling random")
    return Rules(
        first_rank=given.first_rank,
        last_rank=given.last_rank,
        max_share=given.max_share_of_positive,
        margin=given.margin,
        max_score=given.max_score,
        per_query=given.per_query,
        sampling=given.sampling or "top",
        seed=given.seed or 0,
    )


def _collection(name: str) -> RetrievalSet:
    """The collection of a ranking dataset, by its name or that of its pair."""
    pairs = [pair for pair in catalog.known() if pair.kind == "rank"]
    known = {one: pair.dataset for pair in pairs for one in (pair.name, pair.dataset)}
    if name not in known:
        datasets = ", ".join(pair.dataset for pair in pairs)
        what = f"no ranking dataset is named {name!r}{nearest(name, known)}"
        raise UserError(f"{what}; known are {datasets}; your own: --datasets FILE")
    return collection(known[name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqio_tasks.negatives", description=__doc__)
    add = parser.add_argument
    add("dataset", help="a ranking dataset of the catalog, or of your own")
    add("--output", required=True, type=Path, help="the file to write; one with other negatives is refused")
    add("--split", choices=SPLITS, default="train", help="default: train")
    add("--raw_dir", help="default: INTERS_RAW_DIR, else the packaged sample")
    add("--run", type=Path, help="a run with the candidates; default: the collection's first stage")
    add("--run_format", choices=RUN_FORMATS, help="of three columns, as in rerank; default: auto")
    add(
        "--teacher", type=Path, help="a run with the scores that the rules compare; default: those of the run"
    )
    add("--first_rank", type=int, default=1, help="candidates before this rank are left out; default 1")
    add("--last_rank", type=int, default=100, help="candidates behind this rank are left out; default 100")
    add("--max_share_of_positive", type=float, help="at most this share of the positive's score, such as .95")
    add("--margin", type=float, help="at least this much below the positive's score")
    add("--max_score", type=float, help="at most this score")
    add("--per_query", type=int, help="the most negatives of a query; default: all that pass")
    add("--sampling", choices=SAMPLING, help="which ones with --per_query: the top (default) or random ones")
    add("--seed", type=int, help="of random sampling; default 0")
    own_data.add_argument(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
