"""How fast are ranking measures computed, and are they the same: ours beside ir_measures and pytrec_eval.

    python scripts/bench_metrics.py [--queries 10000] [--documents 100] [--rounds 5] [--runs 2000]

One run of random scores, in no order, and judgments of about 15 documents a query, graded 0 to 2, of which
two thirds were retrieved. Every engine gets the same dictionaries and returns the values of every query; the
engines take turns within a round. The median time of each, its ratio to ours, and the greatest difference of
any value from ours are printed, for scores without ties and for scores that mostly tie.

pytrec_eval does not know RR@10 and Judged@10; it is timed without them. ir_measures computes these two in
Python and by another rule for ties (document id ascending): where scores tie they are timed, not compared.

At last, equality on small irregular runs: ties, ties in float32 only, queries without results, results of
unknown queries, negative grades. The references get 0 for a negative grade (pytrec_eval writes outside its
arrays on them), for bpref no judgment.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import ir_measures
import numpy as np
import pytrec_eval

from seqio_tasks.metrics.ranking import evaluate_run

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP", "P@10", "Bpref", "Success@10", "Judged@10")
TREC = {
    "nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map", "P@10": "P_10", "Bpref": "bpref",
    "Success@10": "success_10",
}  # fmt: skip
PARAMETERS = {"ndcg_cut.10", "recall.100", "map", "P.10", "bpref", "success.10"}

OTHER_TIES = ("RR@10", "Judged@10")  # of ir_measures
SMALL = {
    f"{ours}@{k}": f"{trec}_{k}"
    for k in (1, 3, 10)
    for ours, trec in (
        ("nDCG", "ndcg_cut"),
        ("P", "P"),
        ("R", "recall"),
        ("Success", "success"),
        ("AP", "map_cut"),
    )
}
SMALL |= {"nDCG": "ndcg", "AP": "map", "RR": "recip_rank", "Rprec": "Rprec", "NumRet": "num_ret"}  # fmt: skip

Values = dict[str, dict[str, float]]


def collection(queries: int, documents: int, *, ties: bool, seed: int = 0) -> tuple[dict, dict]:
    """(qrels, run) as dictionaries."""
    random = np.random.default_rng(seed)
    qrels, run = {}, {}
    for number in range(queries):
        ids = random.permutation(documents * 3 // 2)
        scores = random.integers(0, 5, documents) if ties else random.permutation(documents * 10)[:documents]
        found = zip(ids[:documents].tolist(), scores.tolist(), strict=True)
        run[f"q{number}"] = {f"doc{i}": float(score) for i, score in found}
        judged = random.choice(ids, min(15, len(ids)), replace=False).tolist()
        grades = random.integers(0, 3, len(judged)).tolist()
        qrels[f"q{number}"] = {f"doc{i}": grade for i, grade in zip(judged, grades, strict=True)}
    return qrels, run


def ours(qrels: dict, run: dict) -> Values:
    return evaluate_run(qrels, run, MEASURES).per_query


def theirs_ir_measures(qrels: dict, run: dict) -> Values:
    names = {ir_measures.parse_measure(name): name for name in MEASURES}
    values: Values = {name: {} for name in MEASURES}
    for value in ir_measures.iter_calc(list(names), qrels, run):
        values[names[value.measure]][value.query_id] = value.value
    return values


def theirs_pytrec_eval(qrels: dict, run: dict) -> Values:
    found = pytrec_eval.RelevanceEvaluator(qrels, PARAMETERS).evaluate(run)
    return {name: {query: row[trec] for query, row in found.items()} for name, trec in TREC.items()}


ENGINES: dict[str, Callable[[dict, dict], Values]] = {
    "inters-jax": ours, "ir_measures": theirs_ir_measures, "pytrec_eval": theirs_pytrec_eval,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    for ties in (False, True):
        qrels, run = collection(options.queries, options.documents, ties=ties)
        seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
        values: dict[str, Values] = {}
        for _ in range(options.rounds):
            for name, engine in ENGINES.items():
                begin = time.perf_counter()
                values[name] = engine(qrels, run)
                seconds[name].append(time.perf_counter() - begin)
        print(f"{options.queries} queries x {options.documents} documents, {'tied' if ties else 'no ties'}")
        own = float(np.median(seconds["inters-jax"]))
        for name in ENGINES:
            difference, count = compare(values["inters-jax"], values[name], OTHER_TIES if ties else ())
            median = float(np.median(seconds[name]))
            print(
                f"  {name:<12} {median:7.3f} s  {median / own:5.1f} x  "
                f"{count:>7} values compared, greatest difference {difference:.1e}"
            )
    difference, count = equality(options.runs)
    print(f"{options.runs} irregular runs: {count} values compared, greatest difference {difference:.1e}")


def compare(one: Values, other: Values, skip: Sequence[str]) -> tuple[float, int]:
    """(greatest absolute difference, values compared)."""
    differences = [
        abs(one[name][query] - value)
        for name, row in other.items()
        if name not in skip
        for query, value in row.items()
    ]
    return max(differences), len(differences)


def irregular(random: np.random.Generator) -> tuple[dict, dict]:
    """Judgments of 6 queries and a run of 6, of which 5 are among them."""
    ids = [f"d{i}" for i in range(15)] + ["D1", "é", "10", "9"]
    qrels, run = {}, {}
    for number in range(7):
        if number < 6:
            chosen = random.choice(ids, random.integers(1, 12), replace=False).tolist()
            grades = random.integers(-2, 4, len(chosen)).tolist()
            qrels[f"q{number}"] = dict(zip(chosen, grades, strict=True))
        if number > 0:
            chosen = random.choice(ids, random.integers(1, 18), replace=False).tolist()
            scores = random.integers(-2, 3, len(chosen)) + random.choice([0.0, 1e-9, 0.25], len(chosen))
            run[f"q{number}"] = dict(zip(chosen, scores.tolist(), strict=True))
    return qrels, run


def equality(runs: int) -> tuple[float, int]:
    """(greatest absolute difference from pytrec_eval, values compared) on irregular runs."""
    random = np.random.default_rng(0)
    parameters = {f"{name}.1,3,10" for name in ("ndcg_cut", "P", "recall", "success", "map_cut")}
    parameters |= {"ndcg", "map", "recip_rank", "Rprec", "num_ret"}
    greatest, count = 0.0, 0
    for _ in range(runs):
        qrels, run = irregular(random)
        found = evaluate_run(qrels, run, [*SMALL, "Bpref"]).per_query
        clipped = {query: {d: max(grade, 0) for d, grade in row.items()} for query, row in qrels.items()}
        reference = pytrec_eval.RelevanceEvaluator(clipped, parameters).evaluate(run)
        kept = {query: {d: grade for d, grade in row.items() if grade >= 0} for query, row in qrels.items()}
        bpref = pytrec_eval.RelevanceEvaluator(kept, {"bpref"}).evaluate(run)
        for query in qrels:
            for name, trec in SMALL.items():
                expected = reference[query][trec] if query in run else 0.0
                greatest = max(greatest, abs(found[name][query] - expected))
            expected = bpref[query]["bpref"] if query in run and kept[query] else 0.0
            greatest = max(greatest, abs(found["Bpref"][query] - expected))
            count += len(SMALL) + 1
    return greatest, count


if __name__ == "__main__":
    main()
