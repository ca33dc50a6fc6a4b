"""Averages per task, group and domain, as the paper reports them, and the paper's own figures.

Every pair of the catalog has one headline metric. On a scale of 0 to 100 they are averaged:

    task      over its pairs                      (20 tasks)
    group     over all its pairs                  query understanding, document understanding, query-document
    domain    over the pairs trained on, and over the seven datasets that the paper holds out

Pairs that were not judged are left out and counted. Averages over different sets of pairs are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqio_tasks import catalog
from seqio_tasks.metrics import protocols

GROUP_TITLES = {
    "query_understanding": "Query understanding",
    "document_understanding": "Document understanding",
    "query_document": "Query-document relationship",
}

# Group averages of arXiv 2401.06532, read off a bar chart of the authors' repository
# (img/in-domain-google.png): model -> (before, after) for query understanding, document understanding,
# query-document.
PUBLISHED: Mapping[str, tuple[tuple[float, float], ...]] = {
    "Falcon-RW-1B": ((4.24, 33.95), (15.57, 33.83), (9.39, 6.83)),
    "MiniMA-2-3B": ((6.23, 42.47), (16.07, 49.13), (8.76, 43.51)),
    "Mistral-7B": ((10.11, 42.78), (19.58, 48.18), (7.95, 41.79)),
    "LLaMA-2-7B": ((8.83, 44.40), (19.85, 49.89), (9.27, 45.86)),
    "LLaMA-2-7B-Chat": ((10.68, 44.06), (20.87, 51.30), (10.30, 46.77)),
}

COMPARABLE = (
    "The paper's figures are group averages in per cent, read off a chart; which metric of each dataset "
    "enters them is not published, and its reading-comprehension F1 counts characters. Compare the size of "
    "the change from before to after, on full in-domain test sets with the protocol `paper`, not the "
    "absolute values."
)


@dataclass(frozen=True)
class Average:
    """A mean of headline metrics in per cent.

    Attributes:
      setting: "zero-shot", or the suffix of the judged form, such as "5shot".
      level: "task", "group" or "domain".
      name: of the task, group or domain.
      value: per cent.
      judged: pairs that enter it.
      pairs: pairs it has in the catalog.
    """

    setting: str
    level: str
    name: str
    value: float
    judged: int
    pairs: int


def per_cent(metric: str, value: float) -> float:
    """A metric in per cent: ranking measures are stored as 0..1, all others as 0..100.

    >>> per_cent("nDCG@10", 0.5), per_cent("f1", 50.0)
    (50.0, 50.0)
    """
    return 100.0 * value if "@" in metric else value


def form_of(task: str) -> tuple[catalog.Pair, str] | None:
    """The pair of the catalog that a task is a form of, and how it was prompted; None for a third-party task.

    >>> pair, setting = form_of("inters_query_matching_msrp_5shot")
    >>> pair.dataset, setting, form_of("inters_query_matching_msrp_choices")[1], form_of("glue_mrpc")
    ('msrp', '5shot', 'zero-shot', None)
    >>> form_of("inters_query_matching_msrp_choices_no_template")[1]
    'no_template'
    """
    try:
        pair = protocols.pair_of(task)
    except ValueError:
        return None
    suffix = task.removeprefix(pair.name).removeprefix("_")
    for judged in ("choices", "rerank"):
        suffix = suffix.removeprefix(judged).removeprefix("_")
    return pair, "zero-shot" if suffix in ("", "0shot") else suffix


def headline_of(task: str, metrics: Mapping[str, float]) -> str | None:
    """The headline metric of a task; None for a third-party task, or when it was not measured."""
    if form_of(task) is None:
        return None
    main = protocols.headline(task)
    return main if main in metrics else None


def averages(metrics: Mapping[str, Mapping[str, float]], protocol: str = "standard") -> list[Average]:
    """Averages over the judged tasks of the catalog.

    Args:
      metrics: task -> metric -> value, as in results.json. If a pair was judged in several forms in one
        setting (label scoring and generation, say), the form made for judging counts, else the first.
      protocol: of these metrics, "standard" or "paper".
    """
    values: dict[str, dict[str, float]] = {}
    for task in sorted(metrics, key=lambda name: not name.endswith(("_choices", "_rerank"))):
        found = form_of(task)
        if found is None:
            continue
        (pair, setting), main = found, protocols.headline(task, protocol)
        if main not in metrics[task]:
            continue
        values.setdefault(setting, {}).setdefault(pair.name, per_cent(main, metrics[task][main]))
    means: list[Average] = []
    for setting, own in values.items():
        for level, key in (
            ("task", lambda pair: pair.task),
            ("group", lambda pair: pair.group),
            ("domain", lambda pair: "in domain" if pair.in_domain else "out of domain"),
        ):
            for name in dict.fromkeys(key(pair) for pair in catalog.PAIRS):
                members = [pair.name for pair in catalog.PAIRS if key(pair) == name]
                judged = [own[pair] for pair in members if pair in own]
                if judged:
                    mean = sum(judged) / len(judged)
                    means.append(Average(setting, level, name, mean, len(judged), len(members)))
    return means


def in_domain_groups(
    metrics: Mapping[str, Mapping[str, float]], protocol: str = "standard"
) -> dict[str, float]:
    """Group averages over the in-domain pairs only, as in the paper's chart."""
    found = ((task, form_of(task)) for task in metrics)
    inside = {task: metrics[task] for task, form in found if form is not None and form[0].in_domain}
    return {
        row.name: row.value
        for row in averages(inside, protocol)
        if row.level == "group" and row.setting == "zero-shot"
    }
