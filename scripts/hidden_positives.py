"""Which relevant document should mined negatives be compared with? A test with hidden judgments, no model.

    python scripts/hidden_positives.py --raw_dir data/inters [--datasets scifact,nfcorpus] [--share 0.95]

Half of the relevant documents of each query with several (those with the smaller hashes) are hidden, as if
nobody had judged them, and looked for among the negatives that `seqio_tasks.negatives` would mine from BM25's
first 100: false negatives by construction. A good rule removes them and keeps the rest. A rule removes what
scores more than --share of the highest, the mean or the lowest of the visible relevant documents; the command
has `lowest`.

    hidden kept    share of the hidden documents within the ranks that a rule keeps
    others kept    share of all other candidates that it keeps
    false          share of hidden documents among what is kept
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from inters_jax.reports.tables import Table
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics.ranking import ranking_order
from seqio_tasks.negatives.mining import SCORED_DEPTH
from seqio_tasks.ranking_rows import first_stage, judged_queries
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.retrieval_sets import collection
from seqio_tasks.sources.splits import stable_hash

LAST_RANK = 100
POSITIVES: dict[str, Callable[[Sequence[float]], float]] = {"highest": max, "mean": mean, "lowest": min}


def counts_of(name: str, raw_dir: Path, share: float) -> tuple[int, dict[str, Counter[str]]]:
    """The number of queries, and for each rule the candidates: hidden or other, kept or all."""
    found, queries = collection(name), 0
    counts: dict[str, Counter[str]] = {rule: Counter() for rule in ("no rule", *POSITIVES)}
    qrels = found.qrels(raw_dir, "train")
    for part in found.parts(raw_dir):
        corpus, own = Corpus(part.folder), part.own(qrels)
        ranked = first_stage(part.folder, corpus, judged_queries(part.folder, own), SCORED_DEPTH)
        for query, judged in own.items():
            relevant = [doc for doc, grade in judged.items() if grade > 0 and doc in corpus]
            relevant.sort(key=lambda doc: stable_hash(f"{query}\0{doc}"))
            hidden, visible = set(relevant[: len(relevant) // 2]), relevant[len(relevant) // 2 :]
            if not hidden:
                continue
            queries += 1
            scores = ranked.get(query, {})
            known = [scores[doc] for doc in visible if doc in scores]
            limits = {rule: share * limit(known) for rule, limit in POSITIVES.items()} if known else {}
            for doc in ranking_order(scores)[:LAST_RANK]:
                if doc in judged and doc not in hidden:
                    continue
                kind = "hidden" if doc in hidden else "other"
                for rule, count in counts.items():
                    count[kind] += 1
                    kept = rule == "no rule" or (rule in limits and scores[doc] <= limits[rule])
                    count[f"{kind} kept"] += kept
    return queries, counts


def main() -> None:
    """Print a table per dataset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw_dir", type=Path, required=True)
    parser.add_argument("--datasets", default="scifact,nfcorpus")
    parser.add_argument("--share", type=float, default=0.95)
    options = parser.parse_args()
    with one_line(Path(sys.argv[0]).name):
        for name in options.datasets.split(","):
            queries, counts = counts_of(name, options.raw_dir, options.share)
            rows = []
            for rule, count in counts.items():
                hidden, other = count["hidden kept"], count["other kept"]
                shares = (hidden / count["hidden"], other / count["other"], hidden / max(1, hidden + other))
                rows.append([rule, *(f"{100 * share:.2f} %" for share in shares)])
            table = Table(
                f"{name}: {queries:,} queries", ["positive", "hidden kept", "others kept", "false"], rows
            )
            print(table.text(), flush=True)


if __name__ == "__main__":
    main()
