"""The report of a reranking: report.html, and its tables as results.md, results.csv and results.tex.

The page compares the first stage, the reranked order and, where there is one, their interpolation (intervals,
paired tests, movement per query), and shows cost, counts and the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.evaluation.comparison import Comparison, compare_runs
from inters_jax.evaluation.results import figure
from inters_jax.evaluation.written_runs import QRELS, read_runs
from inters_jax.reports import comparison_page
from inters_jax.reports.page import Block, Note, Section, Tile, folded_json, report
from inters_jax.reports.tables import NONE, Table, latex, markdown
from seqio_tasks.base import write_text
from seqio_tasks.metrics.trec_files import read_qrels

Result = Mapping[str, Any]


def write(folder: Path, result: Result) -> None:
    """Write report.html, results.md, results.csv and results.tex from the files of a finished reranking."""
    manifest = result["manifest"]
    title = f"{manifest['collection']}, split {manifest['split']}, by {manifest['method']}"
    compared = _compare(folder, result)
    figures, cost = figure_table(result), cost_table(result)
    measured = [figures] if figures is not None else []
    measured += comparison_page.tables(compared) if compared is not None else []
    weights = weight_table(result)
    measured += [weights] if weights is not None else []
    head = (
        f"Model: {manifest.get('model')}  \nFirst stage: {manifest['first_stage']}, depth {manifest['depth']}"
    )
    unmeasured = "" if measured else "No judgments: nothing was measured."
    text = markdown(f"Reranking of {title}", [head, interpolation_text(result), unmeasured, *measured, cost])
    write_text(folder / "results.md", text)
    write_text(folder / "results.csv", (figures or cost).csv())
    write_text(folder / "results.tex", latex([*measured, cost]))
    write_text(folder / "report.html", page(title, result, compared, figures, cost))


def figure_table(result: Result) -> Table | None:
    """The runs by both protocols; None without judgments."""
    queries = result["counts"].get("queries")
    n = NONE if queries is None else f"{queries:,}"
    rows = [
        [run, protocol, measure, n, figure(value)]
        for protocol, key in (("standard", "metrics"), ("paper", "paper_metrics"))
        for run, measures in result.get(key, {}).items()
        for measure, value in measures.items()
    ]
    if not rows:
        return None
    note = (
        "n: judged queries; one without candidates counts 0. “paper” is what the authors' released "
        "evaluation computes, errors included (it leaves such queries out): docs/metrics.md."
    )
    return Table("Figures", ["run", "protocol", "measure", "n", "value"], rows, [note])


def interpolation_text(result: Result) -> str:
    """How the interpolated run was made, in one paragraph; "" if there is none."""
    found = result.get("interpolation")
    if found is None:
        return ""
    if "halves" in found:
        weights = " and ".join(f"{half['weight']:g}" for half in found["halves"])
        tried = len(found["halves"][0]["measure there"])
        return (
            f"Interpolated: w · model + (1 - w) · first stage ({found['of']}, over the candidates of a "
            f"query). w is {weights} for the two halves of the queries, each the best of {tried} by "
            f"{found['measure']} on the other half (two-fold cross-validation)."
        )
    weight, chosen = found["weight"], found["chosen_on"]
    text = (
        f"Interpolated: {weight:g} · model + {1 - weight:.4g} · first stage ({found['of']}, over the "
        "candidates of a query). "
    )
    if chosen is None:
        return text + "The weight was given."
    where = f"{chosen['collection']}, split {chosen['split']} ({chosen['folder']})"
    return text + (
        f"The weight is the best of {len(chosen['weights'])} by {chosen['measure']} on the "
        f"{chosen['queries']} judged queries of {where}."
    )


def weight_table(result: Result) -> Table | None:
    """The measure of every weight on the queries that the weight was chosen on; None if it was not chosen."""
    chosen = (result.get("interpolation") or {}).get("chosen_on")
    if chosen is None:
        return None
    rows = [[weight, figure(value)] for weight, value in chosen["weights"].items()]
    title = f"Weights on {chosen['collection']}, split {chosen['split']}"
    return Table(title, ["weight of the model", chosen["measure"]], rows)


def cost_table(result: Result) -> Table:
    """Model calls, tokens, seconds and counts."""
    rows = []
    for name, value in result["cost"].items():
        if isinstance(value, Mapping):
            rows += [[f"{name}, {key}", f"{number:g}"] for key, number in value.items()]
        else:
            rows.append([name, f"{value:,}"])
    rows.append(["documents per second", str(result["documents per second"])])
    rows += [[name, str(value)] for name, value in result["counts"].items()]
    return Table("Cost and counts", ["what", "value"], rows)


def page(title: str, result: Result, compared: Comparison | None, figures: Table | None, cost: Table) -> str:
    """report.html."""
    manifest = result["manifest"]
    facts = {
        "model": manifest.get("model"),
        "first stage": manifest["first_stage"],
        "depth": manifest["depth"],
        "dtype": manifest.get("dtype"),
        "device": manifest.get("device"),
    }
    more = [
        Section("cost", "Cost", "Summed over all queries; seconds are shares of the model's time.", [cost]),
        Section(
            "manifest",
            "Manifest",
            "What was reranked with what; `evaluate --verify` computes every figure again.",
            [folded_json("manifest", manifest)],
        ),
    ]
    if figures is not None:
        lead = "The runs, by the protocols “standard” and “paper”."
        more.insert(0, Section("protocols", "Both protocols", lead, [figures.untitled()]))
    if text := interpolation_text(result):
        weights = weight_table(result)
        blocks: list[Block] = [Note(text), *([] if weights is None else [weights])]
        more.insert(
            0, Section("interpolation", "Interpolation", "Reranked and first stage together.", blocks)
        )
    calls = result["cost"].get("model calls per query")
    tiles = [] if calls is None else [Tile(f"{calls:g}", "model calls per query", str(manifest["method"]))]
    made_by = "python -m inters_jax.rerank"
    if compared is None:
        return report(title, "Reranking", facts, tiles, more, made_by)
    return comparison_page.page(
        compared, title=title, eyebrow="Reranking", facts=facts, made_by=made_by, more=more, tiles=tiles
    )


def _compare(folder: Path, result: Result) -> Comparison | None:
    """The runs against each other; None with fewer than two judged queries, where nothing can be tested."""
    if not result["metrics"]:
        return None
    qrels = read_qrels(folder / QRELS)
    runs = read_runs(folder)
    judged = [query for query in qrels if query in runs["reranked"]]
    if len(judged) < 2:
        return None
    measures = list(result["metrics"]["reranked"])
    return compare_runs(runs, qrels, measures, title=str(result["manifest"]["collection"]))
