"""The report of an evaluation: one page and its tables in three more writings.

report.html    averages beside the paper's, a row per task with interval and change, movement per query,
               the worst questions, cut and unparsed answers, counts, manifest
results.md     the same tables; results.csv and results.tex for a spreadsheet and for a paper
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from inters_jax.evaluation import averages, report
from inters_jax.evaluation import items as questions
from inters_jax.evaluation.comparison import Comparison
from inters_jax.evaluation.records import PREDICTIONS, read
from inters_jax.reports import charts, comparison_page
from inters_jax.reports.document import Section, details, document, passage
from inters_jax.reports.tables import Table

WORST = 5  # questions shown for each task
CUT = 5  # cut or unparsed answers shown for each task

Result = Mapping[str, Any]


def write(
    folder: Path, result: Result, before: Result | None = None, tested: Comparison | None = None
) -> None:
    """Writes report.html, results.md, results.csv and results.tex beside results.json.

    Args:
      folder: with results.json and the folders of the tasks.
      result: the content of results.json.
      before: another result, for the columns of change.
      tested: the two results held against each other question by question.
    """
    taken = {name: found for name in result["metrics"] if (found := _questions(folder, name)) is not None}
    tasks = task_table(result, before, taken)
    groups = group_table(result, before)
    own = [table for table in (groups, average_table(result, before), tasks) if table is not None]
    changes = [] if tested is None else comparison_page.tables(tested)[1::2]
    report.write_text(folder / "report.html", page(folder, result, before, taken, own, changes))
    head = f"# Evaluation on split {result['manifest']['split']}\n\nModel: {result['manifest']['model']}  \n"
    head += f"Data: {result['manifest']['raw_data']}\n\n"
    text = "\n".join([head, *[table.markdown() for table in (*own, *changes)], *_remarks(result)])
    report.write_text(folder / "results.md", text)
    report.write_text(folder / "results.csv", tasks.csv())
    report.write_text(folder / "results.tex", "\n".join(table.latex() for table in (*own, *changes)))


def task_table(
    result: Result, before: Result | None, taken: Mapping[str, questions.Items] | None = None
) -> Table:
    """One row per task and metric: value, 95 % interval where the metric is a mean, change."""
    header = ["task", "metric", "value", "95 % interval", "items"]
    header += ["before", "change"] if before is not None else []
    rows, pictures = [], []
    for task, metrics in result["metrics"].items():
        found = (taken or {}).get(task)
        for name in report.headline_first(metrics):
            value = metrics[name]
            interval = None
            if found is not None and found.is_mean(name, value):
                interval = questions.interval(found.array(name))
            row = [task, name, report.number(value), _range(interval)]
            row.append(report.number(result["counts"].get(task, {}).get("items")))
            old = None
            if before is not None:
                old = before["metrics"].get(task, {}).get(name)
                row += [report.number(old), "-" if old is None else f"{value - old:+.4f}"]
            rows.append(row)
            largest = 1.0 if "@" in name else 100.0
            pictures.append(charts.change(old, value, interval, largest))
    notes = [
        "Intervals: percentile bootstrap over questions; a metric without one is not a mean over questions."
    ]
    notes += _differences(before, result) if before is not None else []
    return Table("Tasks", header, rows, notes, pictures)


def average_table(result: Result, before: Result | None) -> Table | None:
    """Means of the headline metrics per task, group and domain, in per cent."""
    rows = []
    old = {(a.setting, a.level, a.name): a for a in averages.averages(before["metrics"])} if before else {}
    for one in averages.averages(result["metrics"]):
        row = [
            one.name.replace("_", " "),
            one.level,
            one.setting,
            f"{one.value:.2f}",
            f"{one.judged} of {one.pairs}",
        ]
        if before is not None:
            was = old.get((one.setting, one.level, one.name))
            row += ["-", "-"] if was is None else [f"{was.value:.2f}", f"{one.value - was.value:+.2f}"]
        rows.append(row)
    if not rows:
        return None
    header = ["average", "over", "prompts", "per cent", "datasets"]
    header += ["before", "change"] if before is not None else []
    notes = [
        "The mean of one metric per dataset: nDCG@10 of rankings, accuracy of labels, F1 of answers and "
        "lists, ROUGE-L of other texts."
    ]
    return Table("Averages", header, rows, notes)


def group_table(result: Result, before: Result | None) -> Table | None:
    """Our in-domain group averages, by both protocols, beside those of the paper."""
    rows = []
    for protocol, key in (("standard", "metrics"), ("paper", "paper_metrics")):
        ours = averages.in_domain_groups(result.get(key, {}), protocol)
        old = averages.in_domain_groups(before.get(key, {}), protocol) if before is not None else {}
        if ours:
            rows.append([f"this model, protocol {protocol}", *_before_after(old, ours)])
    if not rows:
        return None
    for model, figures in averages.PUBLISHED.items():
        rows.append([f"{model} (paper)", *(f"{a:.2f} → {b:.2f}" for a, b in figures)])
    header = ["in-domain average", *averages.GROUP_TITLES.values()]
    return Table("Beside the paper", header, rows, [averages.COMPARABLE])


def page(
    folder: Path,
    result: Result,
    before: Result | None,
    taken: Mapping[str, questions.Items],
    tables: list[Table],
    changes: list[Table],
) -> str:
    """report.html."""
    manifest = result["manifest"]
    ours = averages.in_domain_groups(result["metrics"])
    old = averages.in_domain_groups(before["metrics"]) if before is not None else {}
    items = sum(counts.get("items", 0) for counts in result["counts"].values())
    tiles = [(str(len(result["metrics"])), "tasks judged", f"{len(result['skipped'])} without data")]
    tiles += [(f"{items:,}", "rows", "questions and their candidate answers")]
    for name, title in averages.GROUP_TITLES.items():
        if name in ours:
            was = f"before {old[name]:.1f}" if name in old else "in-domain average, per cent"
            tiles.append((f"{ours[name]:.1f}", title, was))
    sections = [Section("averages", "Averages", _averages_lead(before), _group_chart(ours, old))]
    if len(tables) > 1:
        body = "".join(table.html() for table in tables[:-1])
        sections[0] = Section("averages", "Averages", _averages_lead(before), _group_chart(ours, old) + body)
    else:
        sections = []
    sections.append(
        Section(
            "tasks",
            "Tasks",
            "Every metric of every task, protocol “standard”.",
            tables[-1].html(titled=False),
        )
    )
    if changes:
        lead = "Before and after on the same questions: paired permutation test, Holm's correction over all."
        body = "".join(table.html() for table in changes)
        sections.append(Section("change", "Is the change more than chance", lead, body))
    sections += _paper_section(result)
    sections += _movement_section(folder, result)
    sections += _worst_section(result, taken)
    sections += _cut_section(folder, result)
    sections.append(_counts_section(result))
    return document(
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


def _questions(folder: Path, name: str) -> questions.Items | None:
    """Per-question figures of a task, unless it is too large to be taken apart or is not registered here."""
    import seqio

    from seqio_tasks.metrics.trec_files import read_qrels

    file = folder / name / PREDICTIONS
    known = seqio.TaskRegistry.names()
    if not file.is_file() or name not in known or _lines(file) > questions.MAX_ROWS:
        return None
    judged = folder / name / "qrels.txt"
    qrels = read_qrels(judged) if judged.is_file() else None
    return questions.items(seqio.get_mixture_or_task(name), read(file), qrels)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _before_after(old: Mapping[str, float], ours: Mapping[str, float]) -> Iterator[str]:
    for name in averages.GROUP_TITLES:
        new = f"{ours[name]:.2f}" if name in ours else "-"
        yield f"{old[name]:.2f} → {new}" if name in old else new


def _averages_lead(before: Result | None) -> str:
    lead = "Means of one headline metric per dataset, in per cent, over what was judged here."
    return lead if before is None else lead + " Left before, right after."


def _group_chart(ours: Mapping[str, float], old: Mapping[str, float]) -> str:
    rows = []
    for name, title in averages.GROUP_TITLES.items():
        series = [("before", old[name])] if name in old else []
        series += [("this model", ours[name])] if name in ours else []
        if series:
            rows.append((title, series))
    return charts.groups(rows) if rows else ""


def _differences(before: Result, after: Result) -> list[str]:
    """What makes two results hard to compare, in sentences."""
    notes = []
    for key in ("split", "max_examples", "seed", "max_length", "raw_data", "max_new_tokens"):
        one, other = before["manifest"].get(key), after["manifest"].get(key)
        if one != other:
            notes.append(f"Not the same {key}: before {one}, after {other}.")
    for task in sorted(before.get("counts", {}).keys() & after.get("counts", {}).keys()):
        one, other = before["counts"][task].get("items"), after["counts"][task].get("items")
        if one != other:
            notes.append(f"Not the same items in {task}: before {one}, after {other}.")
    return notes


def _paper_section(result: Result) -> list[Section]:
    """The protocol `paper` beside `standard`, where the result has both."""
    paper = result.get("paper_metrics") or {}
    rows = [
        [task, name, report.number(value), report.number(result["metrics"].get(task, {}).get(name))]
        for task, metrics in paper.items()
        for name, value in metrics.items()
    ]
    if not rows:
        return []
    table = Table("The two protocols", ["task", "metric", "paper", "standard"], rows)
    lead = "“paper” is what the authors' released evaluation computes, errors included: docs/metrics.md."
    return [Section("protocols", "As the paper measures", lead, table.html())]


def _movement_section(folder: Path, result: Result) -> list[Section]:
    """First stage against reranked, query by query."""
    from seqio_tasks.metrics.trec_files import read_qrels, read_run

    body = []
    for task in result["metrics"]:
        if not (folder / task / "run.trec").is_file():
            continue
        qrels = read_qrels(folder / task / "qrels.txt")
        measure = "nDCG@10"
        start = questions.first_stage(read(folder / task / PREDICTIONS))
        run = read_run(folder / task / "run.trec")
        old = questions.per_query(start, qrels, [measure])[measure]
        new = questions.per_query(run, qrels, [measure])[measure]
        means = [sum(values.values()) / len(values) for values in (old, new)]
        body.append(
            f"<h3>{escape(task)}</h3><p class='note'>{measure}: first stage {means[0]:.4f}, reranked "
            f"{means[1]:.4f}, over {len(new)} queries.</p>{charts.movement(old, new)}"
        )
    if not body:
        return []
    lead = "What reranking does to each query against the first stage; hold the pointer over a bar."
    return [Section("queries", "Movement per query", lead, "".join(body))]


def _worst_section(result: Result, taken: Mapping[str, questions.Items]) -> list[Section]:
    body = []
    for task, found in taken.items():
        main = _headline(task, found)
        if main is None:
            continue
        worst = found.worst(main, WORST)
        cases = "".join(_case(found, main, item) for item in worst)
        body.append(details(f"{task}: {main} of the {len(worst)} worst of {len(found.values[main])}", cases))
    if not body:
        return []
    return [Section("worst", "Worst questions", "Where to look first.", "".join(body))]


def _headline(task: str, found: questions.Items) -> str | None:
    """The metric by which questions are the worst: the task's headline, or a stranger's first metric."""
    from seqio_tasks.metrics import protocols

    if averages.form_of(task) is None:
        return next(iter(found.values), None)
    main = protocols.headline(task)
    return main if main in found.values else None


def _case(found: questions.Items, metric: str, item: str) -> str:
    record = found.shown.get(item, {})  # a query without candidates, a whole conversation
    texts = f"<p>{escape(item)} · {escape(metric)} {found.values[metric][item]:.4f}</p>"
    for name, title in (("inputs_pretokenized", "prompt"), ("targets_pretokenized", "expected or scored")):
        if name in record:
            texts += f"<p>{title}</p>{passage(record[name])}"
    if "prediction" in record:
        texts += f"<p>answer</p>{passage(record['prediction'])}"
    return f'<div class="case">{texts}</div>'


def _cut_section(folder: Path, result: Result) -> list[Section]:
    """Answers that ended at the length limit, and answers that name no label."""
    body = []
    for task, counts in result["counts"].items():
        cut, unparsed = counts.get("answers cut at the length limit", 0), counts.get("unparsed", 0)
        if not cut and not unparsed:
            continue
        shown: list[str] = []
        for record in read(folder / task / PREDICTIONS) if (folder / task / PREDICTIONS).is_file() else ():
            if record.get("truncated") and len(shown) < CUT:
                shown.append(f"<p>cut at the limit</p>{passage(record['prediction'])}")
        texts = "".join(f'<div class="case">{one}</div>' for one in shown)
        body.append(details(f"{task}: {cut} cut at the length limit, {unparsed} name no label", texts))
    if not body:
        return []
    lead = "They count as they are; many of them mean that the model does not know the form of the answer."
    return [Section("cut", "Cut and unparsed answers", lead, "".join(body))]


def _counts_section(result: Result) -> Section:
    remarks = "".join(f"<p class='note'>{escape(line.lstrip('# '))}</p>" for line in _remarks(result))
    rows = [
        [task, ", ".join(f"{name} {value}" for name, value in counts.items())]
        for task, counts in result["counts"].items()
    ]
    table = Table("Counts", ["task", "what was counted"], rows).html(titled=False)
    manifest = escape(json.dumps(result["manifest"], indent=1, ensure_ascii=False, default=str))
    return Section(
        "manifest",
        "Counts and manifest",
        "What was judged with what; `evaluate --verify` computes every figure again from the saved answers.",
        table + remarks + details("manifest", f'<div class="text">{manifest}</div>'),
    )


def _remarks(result: Result) -> list[str]:
    """What was not available or failed, for the end of the page."""
    lines = []
    for title, key in (("Not available", "skipped"), ("Failed", "failed")):
        if result[key]:
            lines += [f"## {title}", "", *(f"- {name}: {why}" for name, why in result[key].items()), ""]
    return lines
