"""Fewer templates in training, one template in judging, fewer tasks: the forms behind the experiments."""

from __future__ import annotations

import itertools

import pytest

from seqio_tasks import catalog, mixtures, templates
from seqio_tasks.prompts.render import Variant, render, some_of
from seqio_tasks.seeded import text_hash
from seqio_tasks.tasks import task
from seqio_tasks.variants import VARIETIES, forms_of

MSRP = catalog.pair("inters_query_matching_msrp")
ROWS = [
    {"example_id": str(n), "sentence1": f"left {n}", "sentence2": f"right {n}", "answer": "yes"}
    for n in range(60)
]


def shown(variant, rows=ROWS, **more):
    return {render(row, MSRP, variant=variant, seed=0, **more).template for row in rows}


@pytest.mark.parametrize("variety", VARIETIES)
def test_only_so_many_templates_are_drawn_and_all_of_them(variety):
    assert shown(Variant(variety=variety)) == set(some_of(12, variety))


def test_without_a_limit_every_template_is_drawn():
    assert shown(
        Variant(), [*ROWS, *({**row, "example_id": "b" + row["example_id"]} for row in ROWS)]
    ) == set(range(12))


def test_a_smaller_variety_lies_within_every_larger_one():
    for less, more in itertools.pairwise((1, 3, 6, 12)):
        assert set(some_of(12, less)) < set(some_of(12, more))


def test_demonstrations_bring_no_further_template_in():
    one = Variant(shots=2, variety=1)
    wording = templates.load(MSRP.task, ()).of(MSRP.dataset)[1].cue
    for row in ROWS:
        assert wording not in render(row, MSRP, variant=one, demonstrations=ROWS, seed=0).inputs()


def test_a_variety_of_none_at_all_is_refused():
    with pytest.raises(ValueError, match="must be at least 1"):
        some_of(12, 0)


def test_a_row_is_judged_with_the_preferred_template():
    assert shown(Variant(shots=0, preferred=3), split="test") == {3}


def test_a_row_that_lacks_a_field_of_the_preferred_template_is_asked_with_the_first_that_fits():
    mantis = task("inters_query_intent_classification_mantis_choices_template4")
    examples = list(mantis.encoded_examples("test"))
    found = {example.example.template for example in examples}
    assert 4 in found and len(found) == 2 and len(examples) > 100


def test_a_family_of_templates_is_the_only_one_in_training():
    scifact = task("inters_fact_retrieval_scifact_pairwise_choice")
    found = {e.example.template for e in itertools.islice(scifact.encoded_examples("train"), 30)}
    assert found == {4, 5}


def test_the_first_templates_ask_in_the_direction_of_the_task():
    for pair in catalog.PAIRS:
        options = templates.load(pair.task, ()).of(pair.dataset)
        assert not any(template.reverse for template in options[:5])


def test_what_is_judged_with_shots_has_so_many_demonstrations():
    found = {form.suffix: form.variant.shots for form in forms_of(MSRP) if form.suffix.endswith("shot")}
    assert {found.pop(f"_choices_{shots}shot") for shots in range(1, 6)} == {1, 2, 3, 4, 5}
    assert found == {"_0shot": 0, "_5shot": 5}


def test_fewer_tasks_are_of_all_groups_and_lie_within_more():
    five, ten = mixtures.some_tasks(5), mixtures.some_tasks(10)
    assert five == ten[:5] and len(set(mixtures.some_tasks(20))) == 20
    groups = {pair.task: pair.group for pair in catalog.PAIRS}
    assert {groups[name] for name in five} == set(catalog.GROUPS)
    first = [name for name in groups if groups[name] == catalog.GROUPS[0]]
    assert five[0] == min(first, key=text_hash)


def test_the_mixtures_of_the_grid_hold_a_part_of_the_rows_of_their_tasks():
    recipes = mixtures.recipes()
    assert recipes["inters_5tasks_25pct"].cap == 1250
    assert {name.removesuffix("_25pct") for name in recipes["inters_5tasks_25pct"].tasks} == set(
        recipes["inters_5tasks"].tasks
    )
