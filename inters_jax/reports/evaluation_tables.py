"""Tables of an evaluation: tasks, averages, and group averages beside those of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from inters_jax.evaluation import averages, items
from inters_jax.evaluation.comparison import Comparison
from inters_jax.evaluation.results import figure, headline_first
from inters_jax.reports import charts
from inters_jax.reports.tables import NONE, Cell, Row, Table, p_text
from seqio_tasks.metrics import protocols
from seqio_tasks.metrics.measures import is_measure

Result = Mapping[str, Any]  # the content of results.json


def task_table(
    result: Result, before: Result | None, questions: Mapping[str, items.Items] | None = None
) -> Table:
    """One row per task and metric: value, n, 95 % interval where the metric is a mean, change."""
    header = ["task", "metric", "value", "n", "95 % interval"]
    header += ["before", "change"] if before is not None else []
    rows: list[Row] = []
    for task, metrics in result["metrics"].items():
        own = (questions or {}).get(task)
        for name in headline_first(metrics):
            value = metrics[name]
            interval = None
            if own is not None and own.is_mean(name, value):
                interval = items.interval(own.array(name))
            row: list[str | Cell] = [task, name, figure(value), size(result, task), _range(interval, 4)]
            old = None
            if before is not None:
                old = before["metrics"].get(task, {}).get(name)
                row += [figure(old), NONE if old is None else f"{value - old:+.4f}"]
            chart = charts.change(old, value, interval, largest=1.0 if is_measure(name) else 100.0)
            rows.append([*row, Cell(picture=chart)])
    notes = [
        "n: questions, or queries whose documents are ranked. Intervals: percentile bootstrap over them; a "
        "metric without one is not a mean over questions, or has only one."
    ]
    notes += _differences(before, result) if before is not None else []
    return Table("Tasks", [*header, ""], rows, notes, align="l" + "r" * (len(header) - 1) + "p")


def summary_table(result: Result, before: Result | None, tested: Comparison | None) -> Table:
    """One row per task: its headline metric, and with `before` the change and whether it is chance.

    Args:
      result: the content of results.json.
      before: another result.
      tested: the comparison of the two, question by question.
    """
    tests = {
        (table.title, test.measure): test
        for table in (tested.tables if tested else ())
        for test in table.tests
    }
    rows = []
    for task, metrics in result["metrics"].items():
        name = averages.headline_of(task, metrics) or headline_first(metrics)[0]
        row = [task, name, size(result, task)]
        if before is not None:
            row.append(figure(before["metrics"].get(task, {}).get(name)))
        row.append(figure(metrics.get(name)))
        if before is not None:
            test = tests.get((task, name))
            row += (
                [NONE] * 3
                if test is None
                else [
                    f"{test.difference:+.4f}",
                    f"{test.low:+.4f} to {test.high:+.4f}",
                    p_text(test.p_adjusted),
                ]
            )
        rows.append(row)
    header = ["task", "metric", "n"]
    header += ["value"] if before is None else ["before", "after", "change", "95 % interval", "p (Holm)"]
    return Table("", header, rows, align="ll" + "r" * (len(header) - 2))


def size(result: Result, task: str) -> str:
    """The n of a task's figures as tables show it."""
    found = averages.questions_of(result["counts"].get(task, {}))
    return NONE if found is None else f"{found:,}"


def headline_values(result: Result, questions: Mapping[str, items.Items]) -> dict[str, np.ndarray]:
    """Task -> its headline metric per question (per conversation for measures of turns), in per cent."""
    found = {}
    for task, own in questions.items():
        if averages.form_of(task) is None:
            continue
        main = protocols.headline(task)
        name = main if main in own.values else f"{main} per conversation"
        if own.values.get(name):
            found[task] = averages.per_cent(main, 1.0) * own.array(name)
    return found


def average_table(
    result: Result, before: Result | None, questions: Mapping[str, items.Items] | None = None
) -> Table | None:
    """Means of the headline metrics over pairs and over questions, in per cent; None without any."""
    rows = []
    old = {(a.setting, a.level, a.name): a for a in averages.averages(before["metrics"])} if before else {}
    values = headline_values(result, questions or {})
    for one in averages.averages(result["metrics"], counts=result["counts"], values=values):
        row = [
            one.name.replace("_", " "),
            one.level,
            one.setting,
            f"{one.value:.2f}",
            _range(one.interval, 2),
            f"{one.judged} of {one.pairs}",
            NONE if one.questions is None else f"{one.questions:,}",
            NONE if one.by_question is None else f"{one.by_question:.2f}",
            _range(one.by_question_interval, 2),
        ]
        if before is not None:
            was = old.get((one.setting, one.level, one.name))
            row += [NONE, NONE] if was is None else [f"{was.value:.2f}", f"{one.value - was.value:+.2f}"]
        rows.append(row)
    if not rows:
        return None
    header = ["average", "over", "prompts", "per cent", "95 % interval", "pairs", "n"]
    header += ["by question", "interval by question"]
    header += ["before", "change"] if before is not None else []
    notes = [
        "The mean of one metric per pair: nDCG@10 of rankings, accuracy of labels, F1 of answers and lists, "
        "ROUGE-L of other texts. Per cent: every pair counts alike, whether it has four questions or "
        "thousands. By question: every one of the n questions counts alike.",
        "Intervals: percentile bootstrap over the questions of every pair; the pairs themselves are fixed.",
        "Held-out datasets are unseen only by a model trained without them (mixture inters_in_domain).",
    ]
    return Table("Averages", header, rows, notes, align="lll" + "r" * (len(header) - 3))


def group_table(result: Result, before: Result | None) -> Table | None:
    """Group averages over all pairs by both protocols, beside those of the paper; None without any."""
    rows = []
    for protocol, key in (("standard", "metrics"), ("paper", "paper_metrics")):
        ours = averages.in_domain_groups(result.get(key, {}), protocol)
        old = averages.in_domain_groups(before.get(key, {}), protocol) if before is not None else {}
        if ours:
            rows.append([f"this model, protocol {protocol}", *_before_after(old, ours)])
    if not rows:
        return None
    found = averages.averages(result["metrics"], counts=result["counts"])
    sizes = {
        one.name: f"{one.judged} of {one.pairs} pairs, n = {one.questions or 0:,}"
        for one in found
        if one.level == "group" and one.setting == "zero-shot"
    }
    rows.append(["this model, judged", *(sizes.get(name, NONE) for name in averages.GROUP_TITLES)])
    for model, figures in averages.PUBLISHED.items():
        rows.append([f"{model} (paper)", *(f"{a:.2f} → {b:.2f}" for a, b in figures)])
    header = ["in-domain average", *averages.GROUP_TITLES.values()]
    return Table("Beside the paper", header, rows, [averages.COMPARABLE])


def _range(interval: tuple[float, float] | None, digits: int) -> str:
    return NONE if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _before_after(old: Mapping[str, float], ours: Mapping[str, float]) -> Iterator[str]:
    for name in averages.GROUP_TITLES:
        new = f"{ours[name]:.2f}" if name in ours else NONE
        yield f"{old[name]:.2f} → {new}" if name in old else new


def _differences(before: Result, after: Result) -> list[str]:
    """Sentences about settings and items in which two results differ."""
    notes = []
    for key in ("split", "max_examples", "max_queries", "seed", "max_length", "raw_data", "max_new_tokens"):
        one, other = before["manifest"].get(key), after["manifest"].get(key)
        if one != other:
            notes.append(f"Not the same {key}: before {one}, after {other}.")
    for task in sorted(before.get("counts", {}).keys() & after.get("counts", {}).keys()):
        one, other = before["counts"][task].get("items"), after["counts"][task].get("items")
        if one != other:
            notes.append(f"Not the same items in {task}: before {one}, after {other}.")
    return notes
