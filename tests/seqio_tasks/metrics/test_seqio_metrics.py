"""Metric functions on what SeqIO's Evaluator hands over, by hand values."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from seqio_tasks.metrics.seqio_metrics import GENERATION, choice_metric, generation_metric, rerank_metric


def target(text: str, *references: str) -> dict:
    return {"target": text, "references": list(references or (text,))}


def test_generation_metrics_come_by_name_and_in_order() -> None:
    metric = generation_metric(("f1", "exact_match", "bleu_1", "rouge_l"))
    found = metric(
        [target("red kite"), target("Paris", "Paris", "Paris, France")], ["the red kite", "paris france"]
    )
    assert list(found) == ["f1", "exact_match", "bleu_1", "rouge_l"]
    assert found["exact_match"] == 100.0 and found["f1"] == 100.0
    assert all(isinstance(value, float) for value in found.values())


def test_labels_are_parsed_and_unparsed_answers_counted() -> None:
    metric = generation_metric(("accuracy", "macro_f1"), ("yes", "no"))
    found = metric([target("yes"), target("no"), target("no")], ["Yes.", "no", "I think so"])
    assert found["accuracy"] == pytest.approx(200 / 3)
    assert found["macro_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found["unparsed"] == 1.0


def test_lists_are_compared_as_sets() -> None:
    metric = generation_metric(("set_precision", "set_recall", "set_f1"))
    assert metric([target("1. red\n2. blue")], ["1. Blue\n2. green"]) == {
        "set_precision": 50.0, "set_recall": 50.0, "set_f1": 50.0,
    }  # fmt: skip


def test_every_generation_metric_gives_full_marks_to_the_target() -> None:
    metric = generation_metric(GENERATION, ("a long answer in six words",))
    answer = "a long answer in six words"
    found = metric([target(answer)], [answer])
    assert {name: found[name] for name in GENERATION} == pytest.approx(dict.fromkeys(GENERATION, 100.0))


def test_answers_of_a_conversation_are_compared_turn_by_turn() -> None:
    metric = generation_metric(("turn_exact_match", "turn_f1"))
    references = ["1. in May\n2. 40\n3. unanswerable", "1. May\n2. forty\n3. no"]
    targets = [
        {"target": references[0], "references": references},
        {"target": "1. a", "references": ["1. b c"]},
    ]
    # Of four turns: right by the second annotator, right by the first, missing, half right. An answer that
    # one of two annotators gives is right once of two times.
    found = metric(targets, ["1. May\n2. 40.", "1. b d"])
    assert found == pytest.approx({"turn_exact_match": 25.0, "turn_f1": 100 * (5 / 6 + 1 / 2 + 1 / 2) / 4})
    assert metric(targets, ["1.\n2. 40\n3.", ""]) == {"turn_exact_match": 12.5, "turn_f1": 12.5}
    # The right answers in other places are wrong.
    assert metric(targets, ["1. 40\n2. May\n3. unanswerable", "b c"])["turn_exact_match"] == 37.5


def test_the_metrics_of_trivia_qa_and_quac_come_by_name() -> None:
    metric = generation_metric(("trivia_exact_match", "trivia_f1", "exact_match"))
    assert metric([target("Jean-Luc", "Jean-Luc")], ["jean luc"]) == {
        "trivia_exact_match": 100.0, "trivia_f1": 100.0, "exact_match": 0.0,
    }  # fmt: skip
    metric = generation_metric(("quac_f1", "quac_heq_q"))
    targets = [target("in May", "in May", "May"), target("red", "red", "blue")]
    assert metric(targets, ["May", "red"]) == pytest.approx(
        {"quac_f1": 100 * (1 + 2 / 3) / 2, "quac_heq_q": 100.0, "low_agreement": 1.0}
    )


def test_unknown_metrics_are_refused_when_the_task_is_made() -> None:
    with pytest.raises(ValueError, match="unknown metric 'blue'"):
        generation_metric(("blue",))
    with pytest.raises(ValueError, match="needs the label set"):
        generation_metric(("accuracy",))
    with pytest.raises(ValueError, match="'precision_at_1' needs the label set"):
        generation_metric(("precision_at_1",))
    with pytest.raises(ValueError, match="unknown ranking measure"):
        rerank_metric(("nDGC@10",), lambda split: {})


def choice(example: str, label: str, gold: str) -> dict:
    return {"example_id": example, "choice": label, "gold": gold}


def test_the_label_with_the_greatest_score_is_the_prediction() -> None:
    metric = choice_metric(("yes", "no"))
    rows = [
        choice("1", "yes", "no"),
        choice("1", "no", "no"),
        choice("2", "no", "yes"),
        choice("2", "yes", "yes"),
    ]
    assert metric(rows, [-1.1, -1.0, -2.0, -2.0]) == {
        "accuracy": 100.0, "macro_f1": 100.0, "weighted_f1": 100.0, "accuracy_norm": 50.0, "examples": 2.0,
        "tied": 1.0,
    }  # fmt: skip
    # Per byte of the label: -1.1 / 3 against -1.0 / 2, yes is wrong; -2.0 / 3 against -2.0 / 2, yes is right.
    assert metric(rows, (np.asarray([0.0, -1.0, 0.0, -1.0]), {"aux": 1}))["accuracy"] == 0.0


def test_one_of_several_right_labels_is_enough() -> None:
    metric = choice_metric(("ask", "thank", "other"), multi_label=True)
    rows = [choice(f"{i}", label, "ask, thank") for i in range(2) for label in ("ask", "thank", "other")]
    assert metric(rows, [-2.0, -1.0, -3.0, -2.0, -2.0, -1.0]) == {
        "precision_at_1": 50.0, "precision_at_1_norm": 50.0, "examples": 2.0, "tied": 0.0,
    }  # fmt: skip
    generated = generation_metric(("precision_at_1",), ("ask", "thank", "other"))
    targets = [target("ask, thank"), target("ask, thank"), target("other"), target("other")]
    found = generated(targets, ["Thank.", "other, ask", "other, ask", "I would say other"])
    assert found == {"precision_at_1": 50.0, "unparsed": 1.0}
    with pytest.raises(ValueError, match=r"item 0: gold labels .'ask', 'greet'. are not among"):
        generated([target("ask, greet")], ["ask"])


def test_incomplete_doubled_and_undefined_scores_are_refused() -> None:
    metric = choice_metric(("yes", "no"))
    with pytest.raises(ValueError, match="1: no score for the label 'no'"):
        metric([choice("1", "yes", "no")], [0.0])
    with pytest.raises(ValueError, match="scored twice"):
        metric([choice("1", "yes", "no"), choice("1", "yes", "no")], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"row 0 .* which is not finite"):
        metric([choice("1", "yes", "no")], [float("nan")])
    with pytest.raises(ValueError, match="1 rows, but scores of shape"):
        metric([choice("1", "yes", "no")], [0.0, 1.0])


def candidate(query: str, document: str, rank: int, answer: str, split: str = "test") -> dict:
    return {"split": split, "query_id": query, "doc_id": document, "first_stage_rank": rank, "choice": answer}


def test_reranking_orders_by_the_difference_and_breaks_ties_by_the_first_stage() -> None:
    metric = rerank_metric(("RR@10", "R@10"), lambda split: {"q": {"b": 1, "unfound": 1}, "lost": {"x": 1}})
    rows = [
        candidate("q", doc, rank, answer) for rank, doc in enumerate("zab", 1) for answer in ("Yes", "No")
    ]
    found = metric(rows, [-1.0, -1.0, -3.0, -1.0, -0.5, -0.5])  # differences: z 0, a -2, b 0
    assert found["RR@10"] == pytest.approx(0.5 / 2)  # z, b, a; the lost query counts 0
    assert found["R@10"] == pytest.approx(0.5 / 2)
    assert (found["queries"], found["queries_missing"], found["documents"], found["tied"]) == (
        2.0,
        1.0,
        3.0,
        1.0,
    )
    with pytest.raises(ValueError, match="scored are"):
        metric(rows[:1], [0.0])
    with pytest.raises(ValueError, match="several splits"):
        metric([candidate("q", "z", 1, "Yes"), candidate("q", "z", 1, "No", "train")], [0.0, 0.0])


def test_forums_weigh_alike_however_many_queries_they_have() -> None:
    qrels = {"a/1": {"a/x": 1}, "a/2": {"a/x": 1}, "a/3": {"a/x": 1}, "b/1": {"b/x": 1}}
    rows = [
        candidate(query, document, 1, answer)
        for query, document in (("a/1", "a/x"), ("a/2", "a/y"), ("a/3", "a/y"), ("b/1", "b/x"))
        for answer in ("Yes", "No")
    ]
    scores = [-1.0] * len(rows)
    whole = rerank_metric(("RR@10",), lambda split: qrels)(rows, scores)
    parts = rerank_metric(("RR@10",), lambda split: qrels, prefixes=("a/", "b/", "c/"))(rows, scores)
    assert whole["RR@10"] == pytest.approx(2 / 4) and "parts" not in whole
    assert parts["RR@10"] == pytest.approx((1 / 3 + 1) / 2)  # c has no query in this split
    assert (parts["parts"], parts["queries"], parts["documents"]) == (2.0, 4.0, whole["documents"])


def test_signatures_are_those_that_seqio_tells_apart() -> None:
    def positional(function) -> list[str]:  # type: ignore[no-untyped-def]
        return [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind == parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
        ]

    assert positional(generation_metric(("f1",))) == ["targets", "predictions"]
    assert positional(choice_metric(("a",))) == ["targets", "scores"]
    assert positional(rerank_metric(("RR",), lambda split: {})) == ["targets", "scores"]
