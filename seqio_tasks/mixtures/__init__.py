"""Mixtures of the training tasks, each with the rate min(its rows x renderings, 5,000).

The authors render every row with 0 to 5 demonstrations, and a Yes/No question about documents once for each
answer; of these renderings they take at most 5,000 per dataset, and 200,000 in all (`Recipe.epoch`). A row of
a small dataset comes round several times in an epoch, each time in other words.

    inters                                  everything
    inters_raw_rows                         everything, with the rate min(its rows, 5,000)
    inters_<group>, inters_<task>           a part
    inters_without_<group>, .._<task>       everything but a part (hold-out experiments)
    inters_in_domain, inters_out_of_domain  without, and only, the seven held-out datasets
    inters_without_<dataset>                everything but one of the seven
    inters_no_description, inters_no_template   everything, in an ablated form
    inters_judged_no_description, .._no_template   what is evaluated, in that form
    inters_25pct, _50pct, _75pct            a fixed part of the training rows of every task
    inters_more_<task>, inters_more_retrieval   everything, one task (all ranking tasks) up to 10,000
    inters_1template, _3templates, _6templates  everything, with this number of the twelve templates
    inters_<family>                         everything, ranking pairs in one family of templates only
    inters_documents                        everything, ranking pairs as documents of a query (a ranking loss)
    inters_5tasks, _10tasks, _5tasks_25pct, ..  fewer tasks, all or a part of their rows
    inters_1shot to _5shot                  what is generated or labelled, with this number of demonstrations
    inters_rerank_1shot to _5shot           what is reranked, likewise
    inters_template0 to _template4          what is evaluated, with one template of every pair
    inters_quickstart                       a few pairs of every group, for a first run in minutes
    inters_released_<group>                 the authors' own evaluation files (see `released`)

`python -m seqio_tasks.mixtures` lists them, `python -m seqio_tasks.mixtures NAME` one with its tasks.

Rarely are all datasets at hand. A mixture consists of the tasks whose files are in the raw directory; the
others are named in a warning, and only a mixture without any data is an error. `members` lists both.

This module needs no SeqIO; `registered` adds the mixtures to SeqIO's registry.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from seqio_tasks import catalog, named_tasks, released, row_source, settings
from seqio_tasks.base import UserError, nearest, text_hash
from seqio_tasks.templates import FAMILIES
from seqio_tasks.variants import SHOTS, TEST_TEMPLATES, VARIETIES, VOLUMES

CAP = 5000
EPOCH = 200_000  # examples of an epoch of `inters` with all data
QUICKSTART = (
    "inters_query_expansion_gov2",
    "inters_query_matching_msrp",
    "inters_query_intent_classification_orcas_i",
    "inters_query_clarification_mimics",
    "inters_reading_comprehension_boolq",
    "inters_fact_verification_climate_fever",
    "inters_fact_verification_scifact",
    "inters_fact_retrieval_scifact",
)
DIVERSITIES = (5, 10)  # numbers of tasks, besides all twenty
MORE = 10_000  # the cap of the one task with more renderings


class Members(NamedTuple):
    """available: (task name, rate); missing: (task name, reason, naming the folder expected)."""

    available: list[tuple[str, float]]
    missing: list[tuple[str, str]]


@dataclass(frozen=True)
class Recipe:
    """What a mixture is made of.

    tasks: their names; about: one line; cap: the most renderings that count, for all tasks but those in
    `caps`; split: the one that the mixture is meant for; renderings: False counts rows instead.
    """

    tasks: tuple[str, ...]
    about: str
    cap: float = CAP
    caps: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    split: str = "train"
    renderings: bool = True

    def cap_of(self, task: str) -> float:
        """The most renderings of a task that count."""
        return self.caps.get(task, self.cap)

    def rate(self, task: str, split: str = "train", rows: int | None = None) -> float:
        """The rate of a task in this mixture; see `rate`."""
        return rate(task, split, self.cap_of(task), renderings=self.renderings, rows=rows)

    def rate_of(self, task: str) -> Callable[..., float]:
        """The rate of a task in this mixture, as a function of the split."""
        return functools.partial(self.rate, task)

    def epoch(self) -> int:
        """The most examples of an epoch: those that are left of the 200,000 of `inters` with all data.

        Leaving tasks out leaves out their examples, and more renderings of a task add examples.
        """
        whole = recipes()["inters"] if self.renderings else recipes()["inters_raw_rows"]
        published, all_published = (sum(map(r.published_rate, r.tasks)) for r in (self, whole))
        return round(min(EPOCH, all_published) * published / all_published)

    def published_rate(self, task: str) -> float:
        """The rate of a training task by the numbers of rows in the catalog; its cap where there is none."""
        pair, form = named_tasks.find(task)
        rows = pair.counts.get("train")
        cap = self.cap_of(task)
        if rows is None:
            return cap
        rows = row_source.part_size(rows, form.fraction)
        return min(rows * (form.renderings(pair, "train") if self.renderings else 1.0), cap)


def rate(
    task: str,
    split: str = "train",
    cap: float = CAP,
    *,
    renderings: bool = True,
    rows: int | None = None,
) -> float:
    """min(rows x renderings, cap), so that large datasets do not drown small ones; 0 for a task without data.

    Args:
      task: name of the task.
      split: the split that is read; only training rows have several renderings.
      cap: the most examples that count.
      renderings: False counts every row once.
      rows: how many there are; None: as in the catalog when the official files are there, counted otherwise.
    """
    pair, form = named_tasks.find(task)
    if rows is None:
        if named_tasks.missing(task, split) is not None:
            return 0.0
        rows = form.count(pair, split, settings.current().raw_dir)
    return float(min(rows * (form.renderings(pair, split) if renderings else 1.0), cap))


def members(name: str, split: str = "train") -> Members:
    """The tasks of a mixture (or one task) that have data, with their rates, and those that have none.

    Raises:
      UserError: there is no such mixture or task.
    """
    if name in named_tasks.every():
        return members_of({name: functools.partial(rate, name)}, split)
    if name not in recipes():
        raise UserError(f"no mixture of seqio_tasks is named {name!r}{nearest(name, recipes())}")
    recipe = recipes()[name]
    ordered = sorted(recipe.tasks)  # as SeqIO orders them
    return members_of({task: recipe.rate_of(task) for task in ordered}, split)


def members_of(rates: Mapping[str, Callable[..., float]], split: str) -> Members:
    """The tasks that have data, with their rates, and those that have none.

    Args:
      rates: task name -> its rate, called with `split`.
      split: the split that is read.
    """
    found = Members([], [])
    for task, own_rate in rates.items():
        reason = named_tasks.missing(task, split)
        if reason is None:
            found.available.append((task, own_rate(split=split)))
        else:
            found.missing.append((task, reason))
    return found


def recipes() -> Mapping[str, Recipe]:
    """Mixture name -> what it is made of."""
    return MappingProxyType(_recipes())


def add(name: str, recipe: Recipe) -> None:
    """Add a mixture of your own, for this process; `own_data` adds those that a file declares."""
    _recipes()[name] = recipe


@functools.cache
def _recipes() -> dict[str, Recipe]:
    pairs = catalog.PAIRS
    everything = tuple(pair.name for pair in pairs)
    found = {
        "inters": Recipe(everything, "everything"),
        "inters_raw_rows": Recipe(everything, "everything, rates by rows", renderings=False),
    }

    def part(name: str, names: Iterable[str], about: str, **more: Any) -> None:
        found[f"inters_{name}"] = Recipe(tuple(names), about, **more)

    kinds = [("group", group) for group in catalog.GROUPS] + [("task", task) for task in catalog.TASKS]
    for kind, name in kinds:
        inside = [pair.name for pair in pairs if getattr(pair, kind) == name]
        if inside:
            part(name, inside, f"the {kind} {name}")
            part(f"without_{name}", (n for n in everything if n not in inside), f"without the {kind} {name}")
    in_domain = [pair.name for pair in pairs if pair.in_domain]
    part("in_domain", in_domain, "without the seven held-out datasets")
    part("out_of_domain", (n for n in everything if n not in in_domain), "the seven held-out datasets")
    for dataset in catalog.OUT_OF_DOMAIN:
        names = [pair.name for pair in pairs if pair.dataset != dataset]
        if len(names) < len(pairs):
            part(f"without_{dataset}", names, f"without the dataset {dataset}")
    part("quickstart", QUICKSTART, "a few pairs of every group, for a first run in minutes")
    part("no_description", (f"{n}_no_description" for n in everything), "without task descriptions")
    part("no_template", (f"{n}_no_template" for n in everything), "keywords instead of templates")
    for form in ("no_description", "no_template"):
        names = [name_of_judged(pair, form) for pair in pairs]
        part(f"judged_{form}", names, f"evaluated as inters_{form} is trained", split="test")
    for percent in VOLUMES:
        names = [f"{name}_{percent}pct" for name in everything]
        part(f"{percent}pct", names, f"{percent} % of the training rows", cap=CAP * percent / 100)
    for number in VARIETIES:
        form = f"{number}template{'s' * (number > 1)}"
        part(form, (f"{name}_{form}" for name in everything), f"{number} of the twelve templates of a pair")
    ranked = {pair.name for pair in pairs if pair.kind == "rank"}
    for family in FAMILIES:
        names = [f"{name}_{family}" if name in ranked else name for name in everything]
        part(family, names, f"everything, ranking pairs as {family} only")
    names = [f"{name}_documents" if name in ranked else name for name in everything]
    part("documents", names, "everything, ranking pairs as the documents of a query, for a ranking loss")
    for number in DIVERSITIES:
        few = some_tasks(number)
        names = [pair.name for pair in pairs if pair.task in few]
        part(f"{number}tasks", names, f"{number} tasks")
        for percent in VOLUMES:
            own = [f"{name}_{percent}pct" for name in names]
            about = f"{number} tasks, {percent} % of their training rows"
            part(f"{number}tasks_{percent}pct", own, about, cap=CAP * percent / 100)
    for shots in (*SHOTS, 5):
        names = [name_of_judged(pair, f"{shots}shot") for pair in pairs if pair.kind != "rank"]
        part(f"{shots}shot", names, f"evaluated with {shots} demonstrations", split="test")
        names = [name_of_judged(pair, f"{shots}shot") for pair in pairs if pair.kind == "rank"]
        part(f"rerank_{shots}shot", names, f"reranked with {shots} demonstrations", split="test")
    for template in range(TEST_TEMPLATES):
        asked = [pair for pair in pairs if pair.kind != "rank" or template == 1]
        names = [name_of_judged(pair, f"template{template}") for pair in asked]
        if template == 0:
            names += [f"{pair.name}_rerank" for pair in pairs if pair.kind == "rank"]
        part(f"template{template}", names, f"evaluated with template {template} of every pair", split="test")
    for task in catalog.TASKS:
        more = {pair.name: float(MORE) for pair in pairs if pair.task == task}
        if more:
            part(f"more_{task}", everything, f"everything, {task} up to {MORE:,} renderings", caps=more)
    ranking = {pair.name: float(MORE) for pair in pairs if pair.kind == "rank"}
    about = f"everything, ranking tasks up to {MORE:,} renderings"
    part("more_retrieval", everything, about, caps=ranking)
    for group in catalog.GROUPS:
        names = [pair.name + form.suffix for pair, form in released.evaluation_tasks(group)]
        part(f"released_{group}", names, f"the authors' files of {group}", split="test")
    return {name: recipe for name, recipe in found.items() if recipe.tasks}


def some_tasks(number: int) -> tuple[str, ...]:
    """A number of tasks, taken from every group in turn; a smaller number is a subset of a larger one.

    Their order follows a hash of their names, not how useful they are.
    """
    groups = []
    for group in catalog.GROUPS:
        own = dict.fromkeys(pair.task for pair in catalog.PAIRS if pair.group == group)
        groups.append(sorted(own, key=text_hash))
    turns = itertools.zip_longest(*groups)
    return tuple(task for turn in turns for task in turn if task is not None)[:number]


def name_of_judged(pair: catalog.Pair, form: str) -> str:
    """The task of a pair in an evaluated form, such as "no_template": scored where evaluation scores."""
    kind = {"classify": "_choices", "rank": "_rerank"}.get(pair.kind, "")
    return f"{pair.name}{kind}_{form}"


def definitions() -> dict[str, list[str]]:
    """Mixture name -> names of its tasks."""
    return {name: list(recipe.tasks) for name, recipe in recipes().items()}
