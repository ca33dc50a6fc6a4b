"""The report of an evaluation: report.html, and its tables as results.md, results.csv and results.tex.

The page shows averages beside the paper's, a row per task with interval and change, movement per query, the
worst questions, truncated and unparsed answers, counts, and the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inters_jax.evaluation import averages, items
from inters_jax.evaluation.comparison import Comparison
from inters_jax.evaluation.records import PREDICTIONS, read
from inters_jax.evaluation.results import figure
from inters_jax.reports import charts, comparison_page
from inters_jax.reports.evaluation_tables import Result, average_table, group_table, size, task_table
from inters_jax.reports.page import (
    Block,
    Case,
    Details,
    Heading,
    Note,
    Picture,
    Section,
    Tile,
    excerpt,
    folded_json,
    report,
)
from inters_jax.reports.tables import Table, latex, markdown
from seqio_tasks.base import write_text
from seqio_tasks.metrics import protocols
from seqio_tasks.metrics.trec_files import read_qrels, read_run

WORST = 5  # questions shown for each task
TRUNCATED = 5  # truncated answers shown for each task


def write(
    folder: Path, result: Result, before: Result | None = None, tested: Comparison | None = None
) -> None:
    """Write report.html, results.md, results.csv and results.tex beside results.json.

    Args:
      folder: with results.json and the folders of the tasks.
      result: the content of results.json.
      before: another result, for the columns of change.
      tested: the comparison of the two, question by question.
    """
    questions = {name: own for name in result["metrics"] if (own := _questions(folder, name)) is not None}
    tasks = task_table(result, before, questions)
    found = group_table(result, before), average_table(result, before, questions)
    means = [table for table in found if table is not None]
    changes = [] if tested is None else comparison_page.differences(tested)
    shown = [*means, tasks, *changes]
    manifest = result["manifest"]
    head = f"Model: {manifest['model']}  \nData: {manifest['raw_data']}"
    remarks = [
        f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in _remarks(result)
    ]
    title = f"Evaluation on split {manifest['split']}"
    write_text(folder / "report.html", page(folder, result, before, questions, means, tasks, changes))
    write_text(folder / "results.md", markdown(title, [head, *shown, *remarks]))
    write_text(folder / "results.csv", tasks.csv())
    write_text(folder / "results.tex", latex(shown))


def page(
    folder: Path,
    result: Result,
    before: Result | None,
    questions: Mapping[str, items.Items],
    means: list[Table],
    tasks: Table,
    changes: list[Table],
) -> str:
    """report.html."""
    manifest = result["manifest"]
    ours = averages.in_domain_groups(result["metrics"])
    sizes = {a.name: a for a in averages.averages(result["metrics"], counts=result["counts"])}
    old = averages.in_domain_groups(before["metrics"]) if before is not None else {}
    count = sum(counts.get("items", 0) for counts in result["counts"].values())
    tiles = [Tile(str(len(result["metrics"])), "tasks judged", f"{len(result['skipped'])} without data")]
    tiles.append(Tile(f"{count:,}", "rows", "questions and their candidate answers"))
    for name, title in averages.GROUP_TITLES.items():
        if name in ours:
            was = f"before {old[name]:.1f}, " if name in old else "per cent, "
            was += f"{sizes[name].judged} pairs, n = {sizes[name].questions or 0:,}"
            tiles.append(Tile(f"{ours[name]:.1f}", title, was))
    sections = []
    if means:
        lead = "Means of one headline metric per pair, in per cent, over what was judged here."
        lead += "" if before is None else " Left before, right after."
        sections.append(Section("averages", "Averages", lead, [*_group_chart(ours, old), *means]))
    lead = "Every metric of every task, protocol “standard”."
    sections.append(Section("tasks", "Tasks", lead, [tasks.untitled()]))
    if changes:
        lead = "Before and after on the same questions: paired permutation test, Holm's correction over all."
        sections.append(Section("change", "Is the change more than chance", lead, changes))
    sections += _paper_section(result)
    sections += _movement_section(folder, result)
    sections += _worst_section(questions)
    sections += _truncated_section(folder, result)
    sections.append(_counts_section(result))
    return report(
        f"{manifest['model']}",
        f"Evaluation on split {manifest['split']}",
        {
            "data": manifest.get("raw_data"),
            "dtype": manifest.get("dtype"),
            "device": manifest.get("device"),
            "seed": manifest.get("seed"),
            "compared with": before["manifest"]["model"] if before is not None else None,
        },
        tiles,
        sections,
        "python -m inters_jax.evaluate",
    )


def _questions(folder: Path, name: str) -> items.Items | None:
    """Per-question figures of a task; None if it is too large, or not registered here.

    A ranking task that is too large has them from its run, without the records.
    """
    import seqio  # seconds; whoever evaluated has it, whoever only verifies a result does not need it

    file, judged = folder / name / PREDICTIONS, folder / name / "qrels.txt"
    known = seqio.TaskRegistry.names()
    if not file.is_file() or name not in known:
        return None
    qrels = read_qrels(judged) if judged.is_file() else None
    if _lines(file) <= items.MAX_ROWS:
        return items.items(seqio.get_mixture_or_task(name), read(file), qrels)
    if qrels is None:
        return None
    return items.items_of_run(name, read_run(folder / name / "run.trec"), qrels)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _group_chart(ours: Mapping[str, float], old: Mapping[str, float]) -> list[Block]:
    rows = []
    for name, title in averages.GROUP_TITLES.items():
        series = [("before", old[name])] if name in old else []
        series += [("this model", ours[name])] if name in ours else []
        if series:
            rows.append((title, series))
    return [Picture(charts.groups(rows))] if rows else []


def _paper_section(result: Result) -> list[Section]:
    """The protocol `paper` beside `standard`, where the result has both."""
    rows = [
        [task, name, size(result, task), figure(value), figure(result["metrics"].get(task, {}).get(name))]
        for task, metrics in (result.get("paper_metrics") or {}).items()
        for name, value in metrics.items()
    ]
    if not rows:
        return []
    table = Table("The two protocols", ["task", "metric", "n", "paper", "standard"], rows)
    lead = "“paper” is what the authors' released evaluation computes, errors included: docs/metrics.md."
    return [Section("protocols", "As the paper measures", lead, [table])]


def _movement_section(folder: Path, result: Result) -> list[Section]:
    """First stage against reranked, query by query."""
    blocks: list[Block] = []
    measure = "nDCG@10"
    for task in result["metrics"]:
        if not (folder / task / "run.trec").is_file():
            continue
        qrels = read_qrels(folder / task / "qrels.txt")
        start = items.first_stage(read(folder / task / PREDICTIONS))
        old = items.per_query(start, qrels, [measure])[measure]
        new = items.per_query(read_run(folder / task / "run.trec"), qrels, [measure])[measure]
        first, reranked = (sum(values.values()) / len(values) for values in (old, new))
        note = f"{measure}: first stage {first:.4f}, reranked {reranked:.4f}, over {len(new)} queries."
        blocks += [Heading(task), Note(note), Picture(charts.movement(old, new))]
    if not blocks:
        return []
    lead = "What reranking does to each query against the first stage; point at a bar to see its query."
    return [Section("queries", "Movement per query", lead, blocks)]


def _worst_section(questions: Mapping[str, items.Items]) -> list[Section]:
    blocks = []
    for task, own in questions.items():
        metric = _headline(task, own)
        if metric is None:
            continue
        worst = own.worst(metric, WORST)
        summary = f"{task}: {metric} of the {len(worst)} worst of {len(own.values[metric])}"
        blocks.append(Details(summary, [_case(own, metric, item) for item in worst]))
    return [Section("worst", "Worst questions", "Where to look first.", blocks)] if blocks else []


def _headline(task: str, questions: items.Items) -> str | None:
    """The metric that ranks questions: the task's headline, or the first metric of a third-party task."""
    if averages.form_of(task) is None:
        return next(iter(questions.values), None)
    metric = protocols.headline(task)
    return metric if metric in questions.values else None


def _case(questions: items.Items, metric: str, item: str) -> Case:
    record = questions.shown.get(item, {})  # a query without candidates, a whole conversation
    names = {
        "inputs_pretokenized": "prompt",
        "targets_pretokenized": "expected or scored",
        "prediction": "answer",
    }
    passages = [(title, excerpt(record[name])) for name, title in names.items() if name in record]
    return Case(f"{item} · {metric} {questions.values[metric][item]:.4f}", passages)


def _truncated_section(folder: Path, result: Result) -> list[Section]:
    """Answers that ended at the length limit, and answers that name no label."""
    blocks = []
    for task, counts in result["counts"].items():
        truncated, unparsed = counts.get("answers cut at the length limit", 0), counts.get("unparsed", 0)
        if not truncated and not unparsed:
            continue
        cases: list[Case] = []
        for record in read(folder / task / PREDICTIONS) if (folder / task / PREDICTIONS).is_file() else ():
            if record.get("truncated") and len(cases) < TRUNCATED:
                cases.append(Case("", [("cut at the limit", excerpt(record["prediction"]))]))
        summary = f"{task}: {truncated} cut at the length limit, {unparsed} name no label"
        blocks.append(Details(summary, cases))
    if not blocks:
        return []
    lead = "They count as they are; if there are many, the model does not know the form of the answer."
    return [Section("cut", "Cut and unparsed answers", lead, blocks)]


def _counts_section(result: Result) -> Section:
    rows = [
        [task, ", ".join(f"{name} {value}" for name, value in counts.items())]
        for task, counts in result["counts"].items()
    ]
    blocks: list[Block] = [Table("", ["task", "what was counted"], rows)]
    for title, lines in _remarks(result):
        blocks += [Note(title), *(Note(line) for line in lines)]
    lead = (
        "What was judged with what; `evaluate --verify` computes every figure again from the saved answers."
    )
    return Section(
        "manifest", "Counts and manifest", lead, [*blocks, folded_json("manifest", result["manifest"])]
    )


def _remarks(result: Result) -> list[tuple[str, list[str]]]:
    """(title, lines) of what was not available or failed."""
    titles = {"skipped": "Not available", "failed": "Failed"}
    return [
        (title, [f"{name}: {why}" for name, why in result[key].items()])
        for key, title in titles.items()
        if result[key]
    ]
