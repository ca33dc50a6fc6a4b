"""What each experiment file promises of its training data, as checks of the store that it trains on.

A check is called with the store, the raw directory it was made from, and a function that gives the store of
another file.
"""

from __future__ import annotations

import numpy as np
import pytest
import seqio
from experiment_stand_ins import SAMPLE
from tokenizers import Tokenizer

import seqio_tasks
from inters_jax.inspection.rendering import render
from inters_jax.inspection.sampling import Pick
from seqio_tasks import catalog, tasks, templates

TOKENIZER = Tokenizer.from_file(str(SAMPLE / "tokenizer" / "tokenizer.json"))
HELD_OUT = ("trec_robust", "qrecc", "mimics_duo", "climate_fever", "xsum", "quora", "nq")


def with_data(raw):
    return [pair for pair in catalog.PAIRS if (raw / pair.folder).is_dir()]


def renderings(store, raw, each=6):
    """How some examples of each task of a store came about, by task."""
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
    """A store has the tasks of the pairs that are kept, in a form, and of no other one."""
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
                # A row that none of them fits, such as the first turn of a dialogue, is asked otherwise.
                assert one.template in kept or (pair.kind != "rank" and not fits), (task, name)

    return check


def some_rows(percent):
    def check(store, raw, stores):
        holds(store, raw, suffix=lambda pair: f"_{percent}pct")
        larger = {25: "volume_050.gin", 50: "volume_075.gin", 75: "volume_100.gin"}[percent]
        form = "" if percent == 75 else f"_{percent + 25}pct"
        for pair in with_data(raw):
            own = ids(store, f"{pair.name}_{percent}pct")
            everything = stores("volume_100.gin").examples(pair.name, 0)
            assert abs(len(own) - everything * percent / 100) < 1
            assert set(own) < set(ids(stores(larger), pair.name + form))

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
    """Of how many examples the task's description is a part, and of how many not."""
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
    assert described(stores("volume_100.gin"), "")[1] == 0


def bare_fields(store, raw, stores):
    """Every item begins with the name of a field, and asks by the name of another one."""

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
        worded += [not bare(text, pair) for text in texts(stores("volume_100.gin"), pair.name)]
    assert np.mean(worded) > 0.8


def without(**left_out):
    [(kind, names)] = left_out.items()

    def check(store, raw, stores):
        holds(store, raw, keep=lambda pair: getattr(pair, kind) not in names)
        lost = {getattr(pair, kind) for pair in with_data(raw)} & set(names)
        assert lost == set(names)  # the part of the sample has all of them

    return check


def more_rows(mixture, has_more):
    """The sample has no task of 5,000 rows; were there more, so many of them would count."""

    def check(store, raw, stores):
        holds(store, raw)
        with pytest.MonkeyPatch.context() as patch, seqio_tasks.settings.override(raw_dir=str(raw)):
            patch.setattr(tasks.InstructionTask, "num_input_examples", lambda self, split: 20_000)
            rates = seqio.MixtureRegistry.get(mixture).rate_per_task_name
            for pair in with_data(raw):
                expected = 10_000 if has_more(pair) else 5_000
                assert rates[pair.name](seqio.TaskRegistry.get(pair.name)) == expected, pair.name

    return check


def another_collection(store, raw, stores):
    assert set(store.tasks) == {"flan_sums", "flan_products"}
    assert store.manifest["epoch_examples"] == 200_000
    assert "<s>What is 3 plus one?\n4</s>" in set(texts(store, "flan_sums"))


PROMISES = {
    **{f"family_{family}.gin": one_family(family) for family in templates.FAMILIES},
    "flan_control.gin": another_collection,
    "more_of_one_task.gin": more_rows("inters_more_summarization", lambda pair: pair.task == "summarization"),
    "more_retrieval.gin": more_rows("inters_more_retrieval", lambda pair: pair.kind == "rank"),
    "no_description.gin": no_descriptions,
    "no_template.gin": bare_fields,
    "shots_mixed.gin": all_twelve_templates,
    "templates_01.gin": some_templates(1),
    "templates_03.gin": some_templates(3),
    "templates_06.gin": some_templates(6),
    "templates_12.gin": all_twelve_templates,
    "volume_025.gin": some_rows(25),
    "volume_050.gin": some_rows(50),
    "volume_075.gin": some_rows(75),
    "volume_100.gin": all_twelve_templates,
    **{
        f"without_{group}.gin": without(group=(group,))
        for group in ("query_understanding", "document_understanding", "query_document")
    },
    "without_one_task.gin": without(task=("query_intent_classification",)),
    "without_seven_datasets.gin": without(dataset=HELD_OUT),
    "zero_shot_only.gin": no_shots,
}
