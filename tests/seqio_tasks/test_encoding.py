"""Encoding within the limit: what is cut first, what never, and what is counted."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from seqio_tasks import templates
from seqio_tasks.catalog import Pair, pair
from seqio_tasks.prompts import encoding
from seqio_tasks.prompts.encoding import common_level, encode_rows
from seqio_tasks.prompts.render import Variant
from seqio_tasks.settings import Settings

SQUAD = pair("inters_reading_comprehension_squad")
MSRP = pair("inters_query_matching_msrp")
RANK = pair("inters_fact_retrieval_scifact")
WORDS = [
    "mill",
    "river",
    "stone",
    "sacks",
    "of",
    "flour",
    "the",
    "a",
    "old",
    "wheel",
    "turns",
    "slowly",
    "in",
]


class SmallVocabulary:
    """A byte-level BPE trained on the templates, with the three methods that encoding asks for."""

    bos_id: int | None = 1
    eos_id: int | None = 2

    def __init__(self) -> None:
        self.tokenizer = Tokenizer(models.BPE())
        self.tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=2500,
            special_tokens=["<pad>", "<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        wording = [path.read_text(encoding="utf-8") for path in templates.FOLDER.glob("*.yaml")]
        self.tokenizer.train_from_iterator([*sorted(wording), *(text(60, i) for i in range(30))], trainer)
        self.tokenizer.encode_special_tokens = True  # "</s>" in data is text, not the control token

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids, encoded.offsets


def text(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


VOCABULARY = SmallVocabulary()


def passage(i: int, words: int = 50, **changes: Any) -> dict[str, Any]:
    row = {
        "title": "Mills",
        "context": text(words, i),
        "question": f"What turns in mill {i}?",
        "answer": "the wheel",
    }
    return {"example_id": f"squad/train/{i}", **row, **changes}


def ranked(i: int, words: int = 40) -> dict[str, Any]:
    def document(j: int, grade: int) -> dict[str, Any]:
        return {
            "doc_id": f"d{i}.{j}",
            "title": f"mill {i} {j}",
            "text": text(words, 100 * i + j),
            "grade": grade,
        }

    return {
        "example_id": f"rank/{i}",
        "query_id": str(i),
        "query": f"claim {i} on mills",
        "positives": [document(j, 2 - j % 2) for j in range(3)],
        "negatives": [document(j, 0) for j in range(3, 12)],
    }


def run(rows: Any, of: Pair, **options: Any) -> tuple[list[encoding.Encoded], Counter[str]]:
    report: Counter[str] = Counter()
    variant = Variant(**options.pop("variant", {}))
    names = {field.name for field in dataclasses.fields(Settings)} - {"max_length"}
    config = Settings(**{name: options.pop(name) for name in names & options.keys()})
    found = encode_rows(rows, of, VOCABULARY, config, variant=variant, report=report, **options)
    return list(found), report


def test_ids_are_the_two_texts_encoded_apart() -> None:
    found, report = run([passage(1)], SQUAD, variant={"shots": 0, "template": 3})
    (encoded,) = found
    assert encoded.input_ids.dtype == encoded.target_ids.dtype == np.int32
    assert encoded.input_ids.tolist() == VOCABULARY.encode_batch([encoded.example.inputs])[0]
    assert encoded.target_ids.tolist() == [*VOCABULARY.encode_batch(["the wheel"])[0], 2]
    assert encoded.example.inputs.endswith("\nanswer:\n")
    assert report == {encoding.ROWS: 1, encoding.EXAMPLES: 1}


def test_special_strings_in_data_survive_as_text() -> None:
    row = passage(1, context="A mill </s> <s> grinds <pad>.", answer="<s> </s>")
    (encoded,) = run([row], SQUAD, variant={"shots": 0, "template": 3})[0]
    assert not {0, 1, 2} & set(encoded.input_ids.tolist())
    assert encoded.target_ids.tolist()[-1] == 2 and 2 not in encoded.target_ids.tolist()[:-1]
    decoded = VOCABULARY.tokenizer.decode(encoded.input_ids.tolist(), skip_special_tokens=False)
    assert "A mill </s> <s> grinds <pad>." in decoded


def test_a_shortened_document_ends_at_a_word_with_an_ellipsis_and_the_rest_is_whole() -> None:
    variant = {"shots": 0, "template": 3}
    (whole,) = run([passage(1, 400)], SQUAD, variant=variant)[0]
    limit = len(whole.input_ids) + len(whole.target_ids) + 1 - 80
    (cut,), report = run([passage(1, 400)], SQUAD, variant=variant, max_length=limit)
    assert limit - 12 <= 1 + len(cut.input_ids) + len(cut.target_ids) <= limit
    before, after = (e.example.inputs.split("question:") for e in (whole, cut))
    assert after[1] == before[1]  # question, rule and cue are whole
    kept, _, rest = after[0].split("passage: ")[1].partition(encoding.ELLIPSIS)
    assert not rest.strip() and passage(1, 400)["context"].startswith(kept + " ")
    assert 80 <= cut.shortened <= 90
    assert report[encoding.SHORTENED] == 1 and report[encoding.TOKENS_CUT] == cut.shortened


def test_demonstrations_give_way_before_the_document_of_the_question() -> None:
    """With 0 to 5 demonstrations the same document is shown, whole: shots measure shots, not truncation."""
    pool = [passage(i, 100) for i in range(2, 12)]
    variant = {"template": 3}
    for shots in range(6):
        (encoded,), report = run(
            [passage(1, 250)],
            SQUAD,
            variant=variant | {"shots": shots},
            demonstrations=pool,
            max_length=640,
            split="test",
        )
        assert passage(1, 250)["context"] in encoded.example.inputs
        assert encoding.ELLIPSIS not in encoded.example.inputs
        assert encoded.example.shots == min(shots, 2)
        assert report[encoding.FEWER_SHOTS] == shots - encoded.example.shots
        assert report[encoding.SHORTENED] == 0


def test_a_training_example_that_would_lose_more_than_a_share_is_dropped_and_one_to_judge_is_kept() -> None:
    options: dict[str, Any] = {"variant": {"shots": 0, "template": 3}, "max_length": 300}
    found, report = run([passage(1, 400)], SQUAD, **options)
    assert not found and report[encoding.DROPPED_CUT] == 1 and report[encoding.SHORTENED] == 0
    found, report = run([passage(1, 400)], SQUAD, max_cut=0.9, **options)
    assert len(found) == 1 and report[encoding.SHORTENED] == 1
    found, report = run([passage(1, 400)], SQUAD, split="test", **options)
    assert len(found) == 1 and report[encoding.SHORTENED] == 1


def test_nothing_to_judge_is_dropped_while_its_question_fits() -> None:
    (whole,) = run([passage(1, 1)], SQUAD, variant={"shots": 0, "template": 3})[0]
    limit = len(whole.input_ids) + len(whole.target_ids) + 12
    options: dict[str, Any] = {"variant": {"shots": 0, "template": 3}, "max_length": limit, "split": "test"}
    (encoded,), report = run([passage(1, 400)], SQUAD, **options)
    assert encoded.example.inputs.count(encoding.ELLIPSIS) == 1 and report[encoding.TOO_LONG] == 0


def test_dropped_rows_are_counted_not_lost() -> None:
    rows = [passage(1), passage(2, question="why " * 400), passage(3, answer="flour " * 400), passage(4)]
    found, report = run(rows, SQUAD, variant={"shots": 0}, max_length=300)
    assert [e.example.example_id for e in found] == ["squad/train/1", "squad/train/4"]
    assert report[encoding.ROWS] == 4 and report[encoding.EXAMPLES] == 2 and report[encoding.TOO_LONG] == 2


def test_rows_without_documents_lose_demonstrations_only() -> None:
    def pair_of(i: int) -> dict[str, Any]:
        return {
            "example_id": f"m/{i}",
            "sentence1": text(20, i),
            "sentence2": text(20, -i - 1),
            "answer": "yes",
        }

    pool = [pair_of(i) for i in range(10, 20)]
    (encoded,), _ = run(
        [pair_of(1)], MSRP, variant={"shots": 5, "template": 7}, demonstrations=pool, max_length=300
    )
    assert 0 < encoded.example.shots < 5 and encoded.shortened == 0
    assert pair_of(1)["sentence1"] in encoded.example.inputs


def test_an_answer_in_the_part_cut_away_is_not_taught_and_counted_when_judged() -> None:
    row = passage(1, context=text(300) + " Zebra", answer="Zebra", references=["Zebra"])
    (whole,) = run([row], SQUAD, variant={"shots": 0, "template": 3})[0]
    limit = len(whole.input_ids) + len(whole.target_ids) + 1 - 20
    options: dict[str, Any] = {"variant": {"shots": 0, "template": 3}, "max_length": limit}
    found, report = run([row], SQUAD, **options)
    assert not found and report[encoding.DROPPED_ANSWER] == 1
    found, report = run([row], SQUAD, split="test", **options)
    assert len(found) == 1 and report[encoding.ANSWER_CUT] == 1
    twice = row | {"context": "Zebra " + row["context"]}  # it is still there
    found, report = run([twice], SQUAD, **options)
    assert len(found) == 1 and report[encoding.DROPPED_ANSWER] == 0


def test_choices_share_one_prompt() -> None:
    row = {"example_id": "m/1", "sentence1": "a mill", "sentence2": "the mill", "answer": "no"}
    found, _ = run([row], MSRP, choices=True, split="test")
    assert [e.example.targets for e in found] == ["yes", "no"]
    assert [e.example.extras["choice"] for e in found] == [0, 1]
    assert {e.example.extras["gold"] for e in found} == {"no"}
    assert found[0].input_ids is found[1].input_ids
    with pytest.raises(ValueError, match="no fixed set of answers"):
        run([passage(1)], SQUAD, choices=True)


@pytest.mark.parametrize("of", [SQUAD, RANK], ids=["reading", "ranking"])
def test_batches_and_order_change_nothing(of: Pair) -> None:
    rows = [passage(i, 30 + 9 * i) if of is SQUAD else ranked(i, 10 + 4 * i) for i in range(40)]
    options: dict[str, Any] = {"demonstrations": rows, "max_length": 500, "max_cut": 1.0}
    straight = {e.example.example_id: e.input_ids.tolist() for e in run(rows, of, **options)[0]}
    backwards = {
        e.example.example_id: e.input_ids.tolist() for e in run(rows[::-1], of, chunk=7, **options)[0]
    }
    assert straight == backwards and len(straight) == 40


def test_a_prompt_known_to_be_too_long_takes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [passage(i, 50 * i) for i in range(1, 12)]
    usual = [e.input_ids.tolist() for e in run(rows, SQUAD, max_length=400)[0]]
    monkeypatch.setattr(encoding, "LIKELY_CHARACTERS", 0)
    slow = [e.input_ids.tolist() for e in run(rows, SQUAD, max_length=400)[0]]
    assert usual == slow


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.integers(1, 260), min_size=1, max_size=6),
    limit=st.integers(150, 700),
    shots=st.integers(0, 5),
    template=st.integers(0, 11),
    odd=st.text(alphabet="aé漢\U0001f600 \n</s>{}", max_size=80),
)
def test_limit_holds_and_question_and_answer_stay(
    words: list[int], limit: int, shots: int, template: int, odd: str
) -> None:
    rows = [passage(i, n, answer=f"wheel {i}") for i, n in enumerate(words)]
    rows[0]["context"] = odd + " " + rows[0]["context"]
    found, report = run(
        rows,
        SQUAD,
        variant={"shots": shots, "template": template},
        demonstrations=rows,
        max_length=limit,
    )
    dropped = sum(count for name, count in report.items() if name.startswith("dropped: "))
    assert report[encoding.EXAMPLES] + dropped == len(rows) == report[encoding.ROWS]
    assert len(found) == report[encoding.EXAMPLES]
    for encoded in found:
        number = int(encoded.example.example_id.rsplit("/", 1)[1])
        assert 1 + len(encoded.input_ids) + len(encoded.target_ids) <= limit
        assert rows[number]["question"] in encoded.example.inputs
        assert encoded.example.targets == f"wheel {number}"
        assert encoded.target_ids[-1] == VOCABULARY.eos_id
        assert encoded.input_ids.tolist() == VOCABULARY.encode_batch([encoded.example.inputs])[0]
        assert encoded.example.shots <= min(shots, len(rows) - 1)


@given(lengths=st.lists(st.integers(0, 400), max_size=12), available=st.integers(-50, 3000))
def test_common_level_is_the_largest_that_fits(lengths: list[int], available: int) -> None:
    level = common_level(lengths, available)

    def used(limit: int) -> int:
        return sum(min(length, limit) for length in lengths)

    if level is None:
        assert used(encoding.DOCUMENT_FLOOR) > available
    else:
        assert used(level) <= available
        assert level >= max(lengths, default=0) or used(level + 1) > available
