"""Averages per task, group and hold-out, as the paper reports them, and the paper's own figures.

Every pair of the catalog has one headline metric. On a scale of 0 to 100 they are averaged:

    all        over all pairs
    group      query understanding, document understanding, query-document. Of a model trained on all pairs,
               this is the paper's in-domain evaluation
    task       over the pairs of one of the 20 tasks
    hold-out   over the seven datasets of the paper's out-of-domain evaluation, and over the others. For the
               former, the paper has a model of its own, trained without them (mixture `inters_in_domain`)

The plain average weights every pair alike, a test set of four queries as much as one of thousands. The
average by question weights pairs by their number of questions. Pairs that were not judged are left out and
counted. Averages over different sets of pairs are not comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inters_jax.evaluation.significance import Floats, resampled_means
from seqio_tasks import catalog
from seqio_tasks.metrics import protocols
from seqio_tasks.metrics.measures import is_measure

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
    "enters them is not published, and its reading-comprehension F1 counts characters. They are of models "
    "trained on all pairs, over all pairs. Compare the size of the change from before to after, over all "
    "pairs and with the protocol `paper`, not the absolute values."
)


LEVELS = ("all", "group", "task", "hold-out")
_SAMPLES = 2000  # bootstrap samples of an interval


@dataclass(frozen=True)
class Average:
    """A mean of headline metrics in per cent.

    Attributes:
      setting: "zero-shot", or the suffix of the judged form, such as "5shot".
      level: one of LEVELS.
      name: of the task, group or hold-out.
      value: per cent; every pair has the same weight.
      judged: pairs that enter it.
      pairs: pairs it has in the catalog.
      questions: of the judged pairs together; None if some result does not say.
      by_question: per cent; every question has the same weight. None without `questions`.
      interval, by_question_interval: 95 %, the questions of every pair resampled. None where a pair has no
        values per question, or only one.
    """

    setting: str
    level: str
    name: str
    value: float
    judged: int
    pairs: int
    questions: int | None = None
    by_question: float | None = None
    interval: tuple[float, float] | None = None
    by_question_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Judged:
    """The headline of one pair: per cent, its number of questions, and bootstrap means, float64 [samples]."""

    value: float
    questions: int | None
    resampled: Floats | None


def questions_of(counts: Mapping[str, float]) -> int | None:
    """The n of a task's figures: queries where documents are ranked, else questions; None if not counted.

    >>> questions_of({"items": 400, "questions": 200, "queries": 2}), questions_of({"questions": 7})
    (2, 7)
    """
    found = counts.get("queries", counts.get("questions"))
    return None if found is None else int(found)


def per_cent(metric: str, value: float) -> float:
    """A metric in per cent: ranking measures are stored as 0..1, all others as 0..100.

    >>> per_cent("nDCG@10", 0.5), per_cent("AP", 0.5), per_cent("f1", 50.0)
    (50.0, 50.0, 50.0)
    """
    return 100.0 * value if is_measure(metric) else value


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


def averages(
    metrics: Mapping[str, Mapping[str, float]],
    protocol: str = "standard",
    *,
    counts: Mapping[str, Mapping[str, float]] | None = None,
    values: Mapping[str, Floats] | None = None,
) -> list[Average]:
    """Averages over the judged tasks of the catalog.

    Args:
      metrics: task -> metric -> value, as in results.json. If a pair was judged in several forms in one
        setting (label scoring and generation, say), the form made for judging counts, else the first.
      protocol: of these metrics, "standard" or "paper".
      counts: task -> what was counted, as in results.json: for the numbers of questions.
      values: task -> its headline metric per question, in per cent: for the intervals.
    """
    found: dict[str, dict[str, _Judged]] = {}
    for number, task in enumerate(
        sorted(metrics, key=lambda name: not name.endswith(("_choices", "_rerank")))
    ):
        form = form_of(task)
        if form is None:
            continue
        (pair, setting), main = form, protocols.headline(task, protocol)
        if main not in metrics[task] or pair.name in found.get(setting, {}):
            continue
        value, resampled = per_cent(main, metrics[task][main]), None
        own = (values or {}).get(task)
        if own is not None and len(own) > 1:
            # Seeds differ: pairs with as many questions must not draw the same ones. A figure that is not the
            # mean of its values (of turns in conversations, of forums) is the centre all the same.
            drawn = resampled_means(own, samples=_SAMPLES, seed=number)[:, 0]
            resampled = drawn + (value - own.mean())
        questions = questions_of((counts or {}).get(task, {}))
        found.setdefault(setting, {})[pair.name] = _Judged(value, questions, resampled)
    return [
        _mean(setting, level, name, [own[pair] for pair in members if pair in own], len(members))
        for setting, own in found.items()
        for level, name, members in parts()
        if any(pair in own for pair in members)
    ]


def parts() -> list[tuple[str, str, list[str]]]:
    """(level, name, names of its pairs) of every average."""
    keys: dict[str, Callable[[catalog.Pair], str]] = {
        "all": lambda pair: "all pairs",
        "group": lambda pair: pair.group,
        "task": lambda pair: pair.task,
        "hold-out": lambda pair: "other datasets" if pair.in_domain else "the seven held-out datasets",
    }
    return [
        (level, name, [pair.name for pair in catalog.PAIRS if key(pair) == name])
        for level, key in keys.items()
        for name in dict.fromkeys(key(pair) for pair in catalog.PAIRS)
    ]


def _mean(setting: str, level: str, name: str, judged: Sequence[_Judged], pairs: int) -> Average:
    values = np.array([one.value for one in judged])
    numbers = [one.questions for one in judged if one.questions is not None]
    total = sum(numbers) if len(numbers) == len(judged) else 0
    resampled = [one.resampled for one in judged if one.resampled is not None]
    means = np.stack(resampled) if len(resampled) == len(judged) else None
    shares = np.array(numbers) / total if total else None
    return Average(
        setting,
        level,
        name,
        float(values.mean()),
        len(judged),
        pairs,
        total or None,
        None if shares is None else float(values @ shares),
        None if means is None else _interval(means.mean(axis=0)),
        None if means is None or shares is None else _interval(shares @ means),
    )


def _interval(means: Floats) -> tuple[float, float]:
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def in_domain_groups(
    metrics: Mapping[str, Mapping[str, float]], protocol: str = "standard"
) -> dict[str, float]:
    """Zero-shot group averages over all judged pairs, as in the paper's chart of in-domain results.

    In-domain means that the model was trained on all datasets: those that the paper holds out in another
    training belong to the averages.
    """
    return {
        row.name: row.value
        for row in averages(metrics, protocol)
        if row.level == "group" and row.setting == "zero-shot"
    }
