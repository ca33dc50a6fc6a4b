"""What each experiment promises of its training data, as checks of the store that it trains on.

A check is called with the store, the raw directory it was made from, and a function that gives the store of
another experiment (LIST/NAME). Of experiments that differ from others in a task or a number alone no store is
made: `Members` stands for it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import seqio
from experiment_stand_ins import SAMPLE
from tokenizers import Tokenizer

import seqio_tasks
from inters_jax.inspection.rendering import render
from inters_jax.inspection.sampling import Pick
from seqio_tasks import catalog, templates
from seqio_tasks.variants import Form

TOKENIZER = Tokenizer.from_file(str(SAMPLE / "tokenizer" / "tokenizer.json"))
HELD_OUT = ("trec_robust", "qrecc", "mimics_duo", "climate_fever", "xsum", "quora", "nq")


MAIN = "ablations/main"


def with_data(raw):
    """The pairs whose files are in a raw directory."""
    return [pair for pair in catalog.PAIRS if (raw / pair.folder).is_dir()]


@dataclasses.dataclass
class Members:
    """In place of a store: the tasks that one of a mixture would have."""

    tasks: list[str]
    manifest: dict[str, Any]

    @classmethod
    def of(cls, mixture, raw):
        data = {pair.name for pair in with_data(raw)}
        found = seqio.get_subtasks(seqio.get_mixture_or_task(mixture))
        names = {task.name: task.pair.name in data for task in found}
        without = dict.fromkeys((name for name, there in names.items() if not there), "no files")
        return cls([name for name, there in names.items() if there], {"without_data": without})


def renderings(store, raw, each=6):
    """How some examples of each task of a store were made, by task."""
    picks = [Pick(task, 0, n) for task in store.tasks for n in range(min(each, store.examples(task, 0)))]
    found, unknown = render(store, picks, raw_dir=raw, tokenizer=SAMPLE / "tokenizer")
    assert not unknown and len(found) == len(picks)
    return {task: [found[pick] for pick in picks if pick.task == task] for task in store.tasks}


def texts(store, task):
    rows = [store.tokens(task, 0, n).tolist() for n in range(store.examples(task, 0))]
    return TOKENIZER.decode_batch(rows, skip_special_tokens=False)


def ids(store, task):
    return [store.example_id(task, 0, n) for n in range(store.examples(task, 0))]


def holds(store, raw, *, suffix=lambda pair: "", keep=lambda pair: True):
    """A store has exactly the tasks of the pairs that are kept, in a form."""
    kept, every = ({pair.name + suffix(pair) for pair in with_data(raw) if f(pair)} for f in (keep, bool))
    assert set(store.tasks) == kept
    assert {name.split(":")[0] for name in store.manifest["without_data"]}.isdisjoint(every)


def all_twelve_templates(store, raw, stores):
    holds(store, raw)
    found = renderings(store, raw, each=40)["inters_query_matching_msrp"]
    assert len({one.template for one in found}) > 8 and {one.shots for one in found} == set(range(6))


def no_shots(store, raw, stores):
    holds(store, raw)
    assert {one.shots for own in renderings(store, raw).values() for one in own} == {0}


def some_templates(number):
    kept = set(range(0, 12, 12 // number))

    def check(store, raw, stores):
        suffix = f"_{number}template{'s' * (number > 1)}"
        holds(store, raw, suffix=lambda pair: suffix)
        for task, own in renderings(store, raw, each=20).items():
            pair = next(pair for pair in catalog.PAIRS if pair.name == task.removesuffix(suffix))
            options = templates.load(pair.task).of(pair.dataset)
            rows = {row["example_id"]: row for row in pair.rows(str(raw), "train")}
            for name, one in zip(ids(store, task), own, strict=False):
                fits = [
                    kept_one for kept_one in kept if all(map(rows[name].get, options[kept_one].input_fields))
                ]
                # A row that none of them fits, such as the first turn of a dialogue, has another one.
                assert one.template in kept or (pair.kind != "rank" and not fits), (task, name)

    return check


def some_rows(percent, keep=lambda pair: True):
    """A percentage of the rows of every pair; a smaller part lies within every larger one."""

    def check(store, raw, stores):
        holds(store, raw, suffix=lambda pair: f"_{percent}pct", keep=keep)
        if isinstance(store, Members):
            return  # the rows of these tasks are looked at in volume/volume_*
        larger = stores(MAIN if percent == 75 else f"volume/volume_{percent + 25}")
        form = "" if percent == 75 else f"_{percent + 25}pct"
        for pair in filter(keep, with_data(raw)):
            own = ids(store, f"{pair.name}_{percent}pct")
            everything = stores(MAIN).examples(pair.name, 0)
            assert abs(len(own) - everything * percent / 100) < 1
            assert set(own) < set(ids(larger, pair.name + form))

    return check


def some_tasks(number, percent=100):
    """Some of the twenty tasks, of all three groups, with a percentage of their rows; five are among ten."""

    def tasks_of(store):
        names = {name.removesuffix(f"_{percent}pct") for name in store.tasks}
        return {pair.task for pair in catalog.PAIRS if pair.name in names}

    def check(store, raw, stores):
        chosen = tasks_of(store)
        groups = [
            pair.group for pair in {pair.task: pair for pair in catalog.PAIRS}.values() if pair.task in chosen
        ]
        counts = [groups.count(group) for group in catalog.GROUPS]
        assert len(chosen) == number and max(counts) - min(counts) <= 1
        if number == 5:
            of_rows = f"{percent} %"
            assert chosen < tasks_of(stores(f"volume_against_diversity/10 tasks, {of_rows}"))
        if percent == 100:
            holds(store, raw, keep=lambda pair: pair.task in chosen)
        else:
            some_rows(percent, keep=lambda pair: pair.task in chosen)(store, raw, stores)

    return check


def one_family(family):
    def check(store, raw, stores):
        holds(store, raw, suffix=lambda pair: f"_{family}" if pair.kind == "rank" else "")
        ranking = {pair.name for pair in with_data(raw) if pair.kind == "rank"}
        for task, own in renderings(store, raw).items():
            ranks = task.removesuffix(f"_{family}") in ranking
            assert {one.family for one in own} == {family if ranks else None}, task

    return check


def described(store, suffix):
    """The number of examples with the description of their task, and of those without."""
    with_it = without = 0
    for pair in catalog.PAIRS:
        if (task := pair.name + suffix) in store.tasks:
            description = templates.load(pair.task).description
            found = [description in text for text in texts(store, task)]
            with_it, without = with_it + sum(found), without + len(found) - sum(found)
    return with_it, without


def no_descriptions(store, raw, stores):
    holds(store, raw, suffix=lambda pair: "_no_description")
    assert described(store, "_no_description")[0] == 0
    assert described(stores(MAIN), "")[1] == 0


def bare_fields(store, raw, stores):
    """Every item begins with the name of a field and asks with the name of another one."""

    def bare(text, pair):
        block = text.removeprefix("<s>").removeprefix(templates.load(pair.task).description).lstrip("\n")
        name = block.partition(":")[0]
        return name.replace(" ", "_") in {
            field
            for template in templates.load(pair.task).of(pair.dataset)
            for field in template.input_fields
        }

    holds(store, raw, suffix=lambda pair: "_no_template")
    worded = []
    for pair in with_data(raw):
        assert all(bare(text, pair) for text in texts(store, f"{pair.name}_no_template"))
        worded += [not bare(text, pair) for text in texts(stores(MAIN), pair.name)]
    assert np.mean(worded) > 0.8


def without(**left_out):
    [(kind, names)] = left_out.items()

    def check(store, raw, stores):
        holds(store, raw, keep=lambda pair: getattr(pair, kind) not in names)
        lost = {getattr(pair, kind) for pair in with_data(raw)} & set(names)
        assert lost == set(names)  # the part of the sample has all of them

    return check


def more_rows(mixture, has_more):
    """The sample has no task of 5,000 rows; with 20,000 of each, this many would count."""

    def check(store, raw, stores):
        holds(store, raw)
        members = seqio.get_subtasks(seqio.get_mixture_or_task(mixture))
        assert {task.name for task in members} == {pair.name for pair in catalog.PAIRS}
        with pytest.MonkeyPatch.context() as patch, seqio_tasks.settings.override(raw_dir=str(raw)):
            patch.setattr(Form, "count", lambda self, pair, split, raw_dir: 20_000)
            rates = seqio.MixtureRegistry.get(mixture).rate_per_task_name
            for pair in with_data(raw):
                expected = 10_000 if has_more(pair) else 5_000
                assert rates[pair.name](seqio.TaskRegistry.get(pair.name)) == expected, pair.name

    return check


def more_of(task):
    return more_rows(f"inters_more_{task}", lambda pair: pair.task == task)


def another_collection(store, raw, stores):
    assert set(store.tasks) == {"flan_sums", "flan_products"}
    assert store.manifest["epoch_examples"] == 200_000
    assert "<s>What is 3 plus one?\n4</s>" in set(texts(store, "flan_sums"))


PROMISES = {
    MAIN: all_twelve_templates,
    "ablations/no_description": no_descriptions,
    "ablations/no_template": bare_fields,
    "ablations/zero_shot_only": no_shots,
    "ablations/more_retrieval": more_rows("inters_more_retrieval", lambda pair: pair.kind == "rank"),
    "ablations/without_seven_datasets": without(dataset=HELD_OUT),
    **{f"ablations/without_{group}": without(group=(group,)) for group in catalog.GROUPS},
    "few_shot/zero_shot_only": no_shots,
    "flan_control/flan_control": another_collection,
    **{f"leave_one_task_out/without {task}": without(task=(task,)) for task in catalog.TASKS},
    **{f"more_of_one_task/more {task}": more_of(task) for task in catalog.TASKS},
    **{f"template_families/only {family}": one_family(family) for family in templates.FAMILIES},
    **{f"template_variety/templates_{number}": some_templates(number) for number in (1, 3, 6)},
    **{f"volume/volume_{percent}": some_rows(percent) for percent in (25, 50, 75)},
    **{f"volume_against_diversity/20 tasks, {percent} %": some_rows(percent) for percent in (25, 50, 75)},
    **{
        f"volume_against_diversity/{number} tasks, {percent} %": some_tasks(number, percent)
        for number in (5, 10)
        for percent in (25, 50, 75, 100)
    },
}
