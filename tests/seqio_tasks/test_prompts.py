"""Prompts, checked by hand for each kind of pair; demonstrations; determinism."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import pytest

from seqio_tasks import templates
from seqio_tasks.base import DataError
from seqio_tasks.catalog import Pair, pair
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.sources.rewrites import NOTHING_BEFORE

GOV2 = pair("inters_query_description_gov2")
MSRP = pair("inters_query_matching_msrp")
SQUAD = pair("inters_reading_comprehension_squad")
BOOLQ = pair("inters_reading_comprehension_boolq")
ORCAS = pair("inters_query_intent_classification_orcas_i")
MIMICS = pair("inters_query_clarification_mimics")
RANK = pair("inters_fact_retrieval_scifact")
CAST = pair("inters_query_reformulation_trec_cast")


def topic(i: int) -> dict[str, Any]:
    return {
        "example_id": f"gov2/train/{i}",
        "title": f"mill {i}",
        "description": f"Find mill {i}.",
        "narrative": f"Relevant pages tell where mill {i} stands.",
    }


def query(i: int) -> dict[str, Any]:
    def document(kind: str, grade: int) -> dict[str, Any]:
        return {"doc_id": f"{kind}{i}", "title": f"On {kind}", "text": f"Text {kind} {i}.", "grade": grade}

    return {
        "example_id": f"rank/train/{i}",
        "query_id": str(i),
        "query": f"claim {i}",
        "positives": [document("best", 2), document("good", 1)],
        "negatives": [document(kind, 0) for kind in ("bad", "worse", "wrong", "off")],
    }


def show(
    row: dict[str, Any], of: Pair, pool: Any = (), epoch: int = 0, split: str = "train", **variant: Any
) -> Any:
    return render(row, of, variant=Variant(**variant), demonstrations=pool, seed=0, epoch=epoch, split=split)


def test_generation_prompt_by_hand() -> None:
    rendered = show(topic(1), GOV2, shots=0, template=4)
    description = templates.load("query_description").description
    assert rendered.inputs() == (
        f"{description}\n\nkeywords: mill 1\ncollection: public sector web pages\n"
        "wanted: a narrative of the information need\nnarrative:\n"
    )
    assert rendered.targets == "Relevant pages tell where mill 1 stands."
    assert rendered.choices == () and rendered.example().shots == 0


def test_reversed_prompt_by_hand() -> None:
    rendered = show(topic(1), GOV2, shots=0, template=11, description=False)
    assert rendered.inputs() == (
        "Narrative: Relevant pages tell where mill 1 stands.\n\n"
        "Condense the narrative into a handful of keywords.\nKeywords:\n"
    )
    assert rendered.targets == "mill 1"


def test_classification_prompt_by_hand() -> None:
    row = {
        "example_id": "msrp/train/1",
        "sentence1": "It rains.",
        "sentence2": "Rain falls.",
        "answer": "yes",
    }
    rendered = show(row, MSRP, shots=0, template=7, description=False)
    options = "yes, no" if "yes, no" in rendered.inputs() else "no, yes"
    assert rendered.inputs() == (
        "sentence1: It rains.\nsentence2: Rain falls.\ntask: tell whether the sentences match in meaning\n"
        f"labels: {options}\nlabel:\n"
    )
    assert rendered.targets == "yes"
    assert rendered.choices == ("yes", "no") == rendered.extras["labels"]


def test_reading_prompt_by_hand_with_one_demonstration() -> None:
    def passage(i: int) -> dict[str, Any]:
        return {
            "example_id": f"squad/train/{i}",
            "title": "Mills",
            "context": f"Mill {i} grinds {i} sacks.\n\nIt is old.",
            "question": f"What grinds mill {i}?",
            "answer": f"{i} sacks",
            "references": [f"{i} sacks"],
        }

    rendered = show(passage(1), SQUAD, [passage(1), passage(2)], shots=1, template=3, description=False)
    rule = "rule: quote from the passage, or unanswerable\nanswer:\n"
    own = f"passage: Mill 1 grinds 1 sacks.\nIt is old.\nquestion: What grinds mill 1?\n{rule}"
    same = f"passage: Mill 2 grinds 2 sacks.\nIt is old.\nquestion: What grinds mill 2?\n{rule}2 sacks"
    assert rendered.inputs() in (
        f"{same}\n\n{own}",
        # the neighbouring template may demonstrate, too (a coin)
        "Question: What grinds mill 2?\nText: Mill 2 grinds 2 sacks.\nIt is old.\n"
        "Find the answer in the text. The word unanswerable stands for an answer that is not there.\n"
        f"Found:\n2 sacks\n\n{own}",
    )
    assert rendered.inputs(0) == own
    assert rendered.extras["references"] == ["1 sacks"]
    assert rendered.documents() == [
        "Mill 2 grinds 2 sacks.\nIt is old.",
        "Mill 1 grinds 1 sacks.\nIt is old.",
    ]
    assert rendered.inputs(0, ["cut"]) == own.replace("Mill 1 grinds 1 sacks.\nIt is old.", "cut")


def test_list_target_is_numbered() -> None:
    row = {"example_id": "mimics/train/1", "query": "jam", "clarification": ["plum jam", "traffic jam"]}
    assert show(row, MIMICS, shots=0).targets == "1. plum jam\n2. traffic jam"


def test_ranking_prompts_by_hand() -> None:
    row = query(1)
    one = {**row, "document": row["positives"][0], "relevance": 2, "doc_id": "best1"}
    rendered = show(one, RANK, split="test", template=0, description=False)
    assert rendered.inputs() == (
        "Claim: claim 1\nDocument: title: On best\ncontent: Text best 1.\n"
        "Is the document a source for checking the claim? Answer Yes or No.\nAnswer:\n"
    )
    assert (rendered.targets, rendered.choices) == ("Yes", ("Yes", "No"))
    assert rendered.extras["relevance"] == 2 and rendered.extras["doc_id"] == "best1"
    assert show({**one, "relevance": 0}, RANK, split="test", template=0).targets == "No"

    written = show(row, RANK, shots=0, template=3, description=False)
    assert written.targets == "claim 1" and "claim 1" not in written.inputs()


def test_keyword_only_prompt_has_no_wording() -> None:
    row = {
        "example_id": "boolq/train/1",
        "context": "Mills grind.",
        "question": "do mills grind",
        "answer": "true",
    }
    rendered = show(row, BOOLQ, shots=0, template=0, description=False, keyword_only=True)
    assert rendered.inputs() in (
        "context: Mills grind.\nquestion: do mills grind\noptions: true or false\nanswer:\n",
        "context: Mills grind.\nquestion: do mills grind\noptions: false or true\nanswer:\n",
    )
    ranked = show(query(1), RANK, shots=0, template=8, description=False, keyword_only=True)
    assert ranked.inputs().startswith("query: claim 1\ndocuments:\n") and ranked.inputs().endswith(
        "\norder:\n"
    )


def test_braces_and_markup_in_data_are_plain_text() -> None:
    row = topic(1) | {"title": "{narrative} {a, b} </s> {}"}
    rendered = show(row, GOV2, shots=0, template=1, description=False)
    assert rendered.inputs().startswith("Query: {narrative} {a, b} </s> {}\nWhich pages")


def test_options_are_the_labels_in_drawn_order() -> None:
    firsts = Counter()
    for i in range(200):
        row = {"example_id": f"orcas/{i}", "title": "mill", "query_type": "factual"}
        text = show(row, ORCAS, shots=0, template=5, description=False).inputs()
        listed = text.split("classes: ")[1].split("\n")[0].replace(" or ", ", ").split(", ")
        assert sorted(listed) == sorted(ORCAS.labels)
        firsts[listed[0]] += 1
    assert len(firsts) == 5 and min(firsts.values()) > 15


def test_result_does_not_depend_on_order_or_shard() -> None:
    pool = [topic(i) for i in range(50)]
    straight = {row["example_id"]: show(row, GOV2, pool).inputs() for row in pool}
    shuffled = random.Random(1).sample(pool, len(pool))
    shards = [shuffled[i::4] for i in range(4)]
    sharded = {row["example_id"]: show(row, GOV2, pool).inputs() for shard in shards for row in shard}
    assert straight == sharded
    again = {row["example_id"]: show(row, GOV2, pool, epoch=1).inputs() for row in pool}
    assert sum(straight[key] != again[key] for key in straight) > 40


def test_templates_and_shots_are_drawn_evenly_in_training_only() -> None:
    pool = [topic(i) for i in range(30)]
    train = [show(topic(i), GOV2, pool) for i in range(1200)]
    assert set(Counter(r.template for r in train)) == set(range(12))
    shots = Counter(r.shots for r in train)
    assert set(shots) == set(range(6)) and min(shots.values()) > 140
    test = [show(topic(i), GOV2, pool, split="test") for i in range(300)]
    assert {r.shots for r in test} == {0}
    assert {r.template for r in test} == set(range(10))  # the reversed ones ask for something else
    assert show(topic(1), GOV2, pool, split="test", shots=5).shots == 5


@pytest.mark.parametrize("kind", ["topics", "queries"])
def test_a_row_never_demonstrates_itself(kind: str) -> None:
    make, of = (topic, GOV2) if kind == "topics" else (query, RANK)
    pool = [make(i) for i in range(6)]
    # the same question under another id must not give the answer away either
    pool.append(make(0) | {"example_id": "copy of 0"})
    for epoch in range(200):
        rendered = show(make(0), of, pool, epoch=epoch, shots=5, description=False)
        shown = rendered.inputs().removesuffix(rendered.inputs(0))
        assert "mill 0" not in shown and "claim 0" not in shown
        assert rendered.shots == 5
        assert len({block.text() for block in rendered.demonstrations}) == 5


def test_demonstrations_share_direction_family_and_labels() -> None:
    pool = [query(i) for i in range(8)]
    for epoch in range(300):
        rendered = show(query(99), RANK, pool, epoch=epoch, shots=3)
        family = rendered.extras["family"]
        cues = {t.cue for t in templates.load("fact_retrieval").of("scifact") if t.family == family}
        assert {block.cue for block in rendered.demonstrations} <= cues
    topics = [topic(i) for i in range(8)]
    for epoch in range(100):
        rendered = show(topic(99), GOV2, topics, epoch=epoch, shots=3, template=10)
        assert {block.target[:5] for block in rendered.demonstrations} == {"mill "}


def test_small_pool_gives_fewer_demonstrations() -> None:
    assert show(topic(0), GOV2, [topic(0), topic(1)], shots=5).shots == 1
    assert show(topic(0), GOV2, [], split="train").shots == 0


def test_demonstrations_may_come_from_a_function() -> None:
    rendered = show(topic(0), GOV2, lambda row, draws: (topic(i) for i in (0, 7, 8, 9)), shots=2, template=0)
    assert [block.target for block in rendered.demonstrations] == [
        topic(7)["narrative"],
        topic(8)["narrative"],
    ]


def test_missing_field_draws_another_template_or_says_so() -> None:
    row = {"example_id": "s/1", "title": "", "context": "Mills.", "question": "What?", "answer": "Mills"}
    used = {show(row | {"example_id": f"s/{i}"}, SQUAD, shots=0).template for i in range(300)}
    assert used == set(range(1, 12))  # template 0 names the title
    with pytest.raises(DataError, match="no template can be filled"):
        show(row, SQUAD, shots=0, template=0)


def test_a_cast_turn_shows_the_response_that_its_rewrite_needs() -> None:
    row = {
        "example_id": "trec_cast/1",
        "history": ["What is lobular carcinoma?"],
        "response": "One kind is lobular carcinoma in situ.",
        "turn_title": "How deadly is it?",
        "reformulations": "How deadly is lobular carcinoma in situ?",
    }
    for epoch in range(60):
        assert "One kind is lobular carcinoma in situ." in show(row, CAST, epoch=epoch, shots=0).inputs()
    with pytest.raises(DataError, match="no template can be filled"):
        show(row, CAST, shots=0, template=0)
    without = {show(row | {"response": ""}, CAST, epoch=epoch, shots=0).template for epoch in range(60)}
    assert len(without) == 4


@pytest.mark.parametrize(
    ("name", "field"), [("gecor", "context"), ("qrecc", "context"), ("canard", "history")]
)
def test_that_nothing_was_said_before_is_no_numbered_turn(name: str, field: str) -> None:
    of = pair(f"inters_query_reformulation_{name}")
    row = {"context": "Kites - Age", "goal": "Eat.", "title": "Soup?", "reformulations": "Soup?"}
    for slot in range(12):
        text = show({"example_id": "a", **row, field: NOTHING_BEFORE}, of, shots=0, template=slot).inputs()
        assert NOTHING_BEFORE in text and f"1. {NOTHING_BEFORE}" not in text
        later = show({"example_id": "a", **row, field: ["User: Hi"]}, of, shots=0, template=slot).inputs()
        assert "1. User: Hi" in later


def test_unknown_label_is_refused() -> None:
    row = {"example_id": "m/1", "sentence1": "a", "sentence2": "b", "answer": "maybe"}
    with pytest.raises(DataError, match="'maybe' is not in the label set"):
        show(row, MSRP, shots=0)


def test_family_can_be_asked_for() -> None:
    for epoch in range(40):
        assert show(query(1), RANK, epoch=epoch, family="listwise_order").extras["family"] == "listwise_order"
    with pytest.raises(ValueError, match="not of family"):
        show(query(1), RANK, template=0, family="listwise_order")


def test_example_carries_what_was_drawn() -> None:
    rendered = show(topic(1), GOV2, [topic(2)], shots=1, template=2)
    example = rendered.example()
    assert dataclasses.asdict(example) == {
        "inputs": rendered.inputs(),
        "targets": rendered.targets,
        "example_id": "gov2/train/1",
        "template": 2,
        "shots": 1,
        "extras": {},
    }
    assert rendered.example(0).shots == 0
