"""Text, answer, label and list metrics against sacrebleu, rouge-score, scikit-learn and values by hand."""

from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sklearn.metrics import accuracy_score, f1_score

from seqio_tasks.metrics import answers, labels, lists, text

_sentences = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "near", "rivers", "flowing", "3.5", "km", ","]),
    max_size=9,
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_sentences, _sentences), min_size=1, max_size=6), st.sampled_from([1, 2, 4]))
def test_bleu_with_one_reference_equals_sacrebleu(pairs: list, order: int) -> None:
    references, predictions = [r for r, _ in pairs], [p for _, p in pairs]
    expected = sacrebleu.corpus_bleu(predictions, [references], force=True) if order == 4 else None
    ours = text.bleu([[r] for r in references], predictions, max_order=order)
    if expected is not None:
        assert ours == pytest.approx(expected.score, abs=1e-9)
    else:
        metric = sacrebleu.BLEU(max_ngram_order=order)
        assert ours == pytest.approx(metric.corpus_score(predictions, [references]).score, abs=1e-9)


def test_bleu_with_several_references_is_transposed_rightly() -> None:
    references = [
        ["the cat sat on the mat"],
        ["two dogs ran very far", "a pair of dogs ran away"],
        ["x y z w v"],
    ]
    predictions = ["the cat sat on the mat", "a pair of dogs ran away", "x y z w v"]
    assert text.bleu(references, predictions) == pytest.approx(100.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_sentences, _sentences), min_size=1, max_size=4))
def test_rouge_equals_rouge_score(pairs: list) -> None:
    scorer = rouge_scorer.RougeScorer(list(text.ROUGE_TYPES), use_stemmer=True)
    ours = text.rouge([[r] for r, _ in pairs], [p for _, p in pairs], text.ROUGE_TYPES)
    for kind in text.ROUGE_TYPES:
        expected = sum(scorer.score(r, p)[kind].fmeasure for r, p in pairs) / len(pairs)
        assert ours[kind] == pytest.approx(100 * expected, abs=1e-9)


def test_rouge_takes_the_best_reference() -> None:
    assert text.rouge([["red fox", "grey wolf"]], ["grey wolves"], ["rougeL"])["rougeL"] == pytest.approx(
        50.0
    )


@pytest.mark.parametrize(
    "references, prediction, exact, overlap",
    [
        (["The Eiffel Tower"], "eiffel tower.", 1.0, 1.0),
        (["Denver Broncos"], "the Broncos of Denver", 0.0, 0.8),
        (["a b c"], "c d", 0.0, 0.5),  # "a" is an article: {b, c} against {c, d}
        (["x", "y z"], "y", 0.0, 2 / 3),
        (["word word"], "word", 0.0, 2 / 3),
        (["unanswerable"], "Unanswerable.", 1.0, 1.0),
        (["unanswerable"], "it is unanswerable", 0.0, 0.0),
        (["Paris"], "unanswerable", 0.0, 0.0),
        (["Paris"], "", 0.0, 0.0),
        (["the"], "an", 1.0, 1.0),
        # SQuAD v2: a reference without words does not stand beside one with words ...
        (["interventionism", "."], "unanswerable", 0.0, 0.0),
        (["interventionism", "."], "Interventionism!", 1.0, 1.0),
        (["interventionism", "the"], "", 0.0, 0.0),
        # ... but where no reference has words, the empty answer is right.
        ([".", "the"], "unanswerable", 1.0, 1.0),
        (["."], "nothing", 0.0, 0.0),
    ],
)
def test_answers_by_hand(references: list, prediction: str, exact: float, overlap: float) -> None:
    assert answers.exact_match(references, prediction) == exact
    assert answers.f1(references, prediction) == pytest.approx(overlap)


def test_answers_are_averaged_over_items() -> None:
    assert answers.squad([["a cat"], ["dogs"]], ["cat", "two dogs"]) == {
        "exact_match": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    "references, prediction, exact, overlap",
    [
        (["Jean-Luc Picard"], "jean luc picard", 1.0, 1.0),  # punctuation parts words
        (["The Dog's Dinner"], "dog_s dinner", 1.0, 1.0),
        (["\u2018Quoted\u2019 name"], "quoted name", 1.0, 1.0),
        (["Sunset Boulevard", "Sunset Blvd"], "sunset blvd.", 1.0, 1.0),
        (["Sunset Boulevard"], "Sunset", 0.0, 2 / 3),
        (["The"], "a", 1.0, 0.0),  # equal without words, but F1 needs a word in common
        (["Unanswerable"], "", 0.0, 0.0),
    ],
)
def test_trivia_qa_by_hand(references: list, prediction: str, exact: float, overlap: float) -> None:
    found = answers.trivia([references], [prediction])
    assert found == pytest.approx({"trivia_exact_match": 100 * exact, "trivia_f1": 100 * overlap})


def bag_f1(one: str, other: str) -> float:
    a, b = answers.words(one).split(), answers.words(other).split()
    if not a or not b:
        return float(a == b)
    common = sum(min(a.count(word), b.count(word)) for word in set(a))
    return 0.0 if common == 0 else 2 / (len(a) / common + len(b) / common)


def without(items: list, index: int) -> list:
    return items[:index] + items[index + 1 :]


_answers = st.lists(st.sampled_from(["red", "kite", "the", "on", "May", "4."]), max_size=3).map(" ".join)


@settings(max_examples=120, deadline=None)
@given(st.lists(_answers, min_size=1, max_size=5), _answers)
def test_coqa_leaves_one_annotator_out(references: list, prediction: str) -> None:
    """The loop of the official definition: for each annotator the best of the others, then the mean."""
    count = len(references)
    parts = [without(references, i) for i in range(count)] if count > 1 else [references]
    exact, overlap = answers.coqa_turn(references, prediction)
    same = [max(answers.words(r) == answers.words(prediction) for r in part) for part in parts]
    assert exact == pytest.approx(sum(same) / count)
    assert overlap == pytest.approx(sum(max(bag_f1(r, prediction) for r in part) for part in parts) / count)


_spans = st.one_of(st.just("unanswerable"), _answers.filter(lambda text: answers.words(text) != ""))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.lists(_spans, min_size=1, max_size=5), _spans), min_size=1, max_size=4))
def test_quac_by_the_loop_of_its_definition(items: list) -> None:
    scores, reached, dialogues = [], [], {}
    for index, (references, prediction) in enumerate(items):
        empty = references.count("unanswerable")
        spans = [text for text in references if text != "unanswerable"]
        kept = ["unanswerable"] if empty >= len(spans) else spans
        parts = [without(kept, i) for i in range(len(kept))] if len(kept) > 1 else [kept]
        human = 1.0
        if len(kept) > 1:
            human = sum(max(bag_f1(kept[i], r) for r in parts[i]) for i in range(len(kept))) / len(kept)
        dialogues.setdefault(index // 2, True)
        if human < 0.4:
            continue
        scores.append(sum(max(bag_f1(prediction, r) for r in part) for part in parts) / len(kept))
        reached.append(scores[-1] >= human)
        dialogues[index // 2] &= reached[-1]
    found = answers.quac(
        [r for r, _ in items], [p for _, p in items], [str(i // 2) for i in range(len(items))]
    )
    assert found["low_agreement"] == len(items) - len(scores)
    assert found["quac_f1"] == pytest.approx(100 * sum(scores) / max(len(scores), 1))
    assert found["quac_heq_d"] == pytest.approx(100 * sum(dialogues.values()) / len(dialogues))
    # Equal sums in another order may differ in the last bit, which decides `at least as good`.
    assert found["quac_heq_q"] == pytest.approx(100 * sum(reached) / max(len(reached), 1))


def test_quac_by_hand() -> None:
    """Two of four annotators find no answer: then that is right. Nobody agrees on the second question."""
    references = [["unanswerable", "unanswerable", "a kite", "red"], ["a b", "c d"]]
    assert answers.quac(references, ["Unanswerable.", "b"]) == {
        "quac_f1": 100.0, "quac_heq_q": 100.0, "low_agreement": 1.0,
    }  # fmt: skip
    assert answers.quac(references, ["a kite", "b"])["quac_f1"] == 0.0
    assert answers.quac([["kite", "kite", "unanswerable"]], ["unanswerable"])["quac_f1"] == 0.0
    assert answers.quac([["a b", "c d"]], ["b"])["low_agreement"] == 1.0


_names = ("yes", "no", "maybe")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(_names), st.sampled_from([*_names, labels.UNPARSED])),
        min_size=1,
        max_size=30,
    )
)
def test_labels_equal_scikit_learn(pairs: list) -> None:
    gold, given_ = [g for g, _ in pairs], [p for _, p in pairs]
    ours = labels.classification(gold, given_, _names)
    options = {"labels": list(_names), "zero_division": 0}
    assert ours["accuracy"] == pytest.approx(100 * accuracy_score(gold, given_))
    assert ours["macro_f1"] == pytest.approx(100 * f1_score(gold, given_, average="macro", **options))
    assert ours["weighted_f1"] == pytest.approx(100 * f1_score(gold, given_, average="weighted", **options))
    assert ours["unparsed"] == given_.count(labels.UNPARSED)


def test_stated_labels_are_read_from_the_first_line() -> None:
    names = ["support", "not enough information"]
    assert labels.parse_label(" Support.\nbecause", names) == "support"
    assert labels.parse_label('"Not Enough Information"', names) == "not enough information"
    assert labels.parse_label("supported", names) == labels.UNPARSED
    assert labels.parse_label("", names) == labels.UNPARSED


def test_a_gold_label_outside_the_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="item 1: gold label 'c'"):
        labels.classification(["a", "c"], ["a", "a"], ["a", "b"])


@pytest.mark.parametrize(
    "written, items",
    [
        ("1. red\n2. blue", ["red", "blue"]),
        ("1. red 2. blue 3. green", ["red", "blue", "green"]),
        ("(1) red (2) blue", ["red", "blue"]),
        ("1) red\n2) blue", ["red", "blue"]),
        ("\n".join(f"{i}. item {i}" for i in range(1, 13)), [f"item {i}" for i in range(1, 13)]),
        ("1. python 3.5 notes\n2. part 2. of it", ["python 3.5 notes", "part 2. of it"]),
        ("1. long\nitem\n2. other", ["long\nitem", "other"]),
        ("red", ["red"]),
        ("", []),
        ("1. ", []),
    ],
)
def test_lists_are_parsed(written: str, items: list) -> None:
    assert lists.parse_list(written) == items


def test_set_scores_by_hand() -> None:
    ours = lists.set_scores([["a", "b"], ["x"], []], [["A.", "c"], [], []])
    assert ours == {"set_precision": 50.0, "set_recall": 50.0, "set_f1": 50.0}


@pytest.mark.parametrize("function", [text.bleu, text.rouge, answers.squad])
def test_references_must_be_lists(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="item 0: references must be a list"):
        function(["a text"], ["a text"])
    with pytest.raises(ValueError, match="1 items have references but 2"):
        function([["a"]], ["a", "b"])
