"""Identifiers in the tokens of different tokenizers, and the wording of questions."""

import re

import numpy as np
import pytest

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.identifiers import Identifiers
from seqio_tasks import catalog
from seqio_tasks.prompts import ranking as ranking_prompts
from seqio_tasks.prompts.ranking import Style
from seqio_tasks.prompts.render import Variant, render
from seqio_tasks.sources.beir import Document

PAIR = catalog.pair("inters_fact_retrieval_scifact")


class Pieces:
    """A tokenizer by a regular expression; ids in the order of appearance."""

    id_offset = 0

    def __init__(self, pattern):
        self.pattern, self.known = re.compile(pattern, re.DOTALL), {}

    def encode(self, text):
        return [self.known.setdefault(piece, len(self.known)) for piece in self.pattern.findall(text)]

    def to_hf(self, ids):
        return np.asarray(ids, np.int32)

    def text(self, ids):
        names = {number: piece for piece, number in self.known.items()}
        return "".join(names[token] for token in ids)


def characters():
    return Pieces(".")


def words():
    """As byte-level BPE splits: signs and words with the blank before them, whole numbers."""
    return Pieces(r" ?[^\w\s]+| ?\w+|\s")


def test_a_digit_tokenizer_gets_letters_where_numbers_begin_alike():
    short, long = (Identifiers(characters()).names(n, by_first_token=True) for n in (9, 10))
    assert short[0] == "[1]" and long[0] == "[A]" and long[9] == "[J]"
    assert Identifiers(characters()).names(10, by_first_token=False)[9] == "[10]"
    assert Identifiers(words()).names(12, by_first_token=True)[11] == "[12]"
    with pytest.raises(RerankError, match="do not differ in their first token"):
        numbers = Identifiers(characters(), kind="numbers")
        numbers.choices(numbers.names(10, by_first_token=True))
    with pytest.raises(RerankError, match="letters name at most 26 documents, the window has 27"):
        Identifiers(characters()).names(27, by_first_token=True)


def test_choices_are_the_first_tokens_behind_what_all_share():
    vocabulary = characters()
    found = Identifiers(vocabulary).choices(["[1]", "[2]", "[3]"])
    assert vocabulary.text(found.common) == "[" and vocabulary.text(found.first) == "123"
    found = Identifiers(vocabulary).choices(["Yes", "No"])
    assert found.common == () and vocabulary.text(found.first) == "YN"


@pytest.mark.parametrize("make", [characters, words])
@pytest.mark.parametrize(("marker", "joiner"), [("[1]", " > "), ("(1)", ", "), ("1.", ", ")])
def test_orders_put_together_are_what_training_saw(make, marker, joiner):
    vocabulary = make()
    identifiers = Identifiers(vocabulary, marker=marker, joiner=joiner)
    n = 9 if marker == "1." else 12
    names = identifiers.names(n, by_first_token=False)
    code = identifiers.order(names)
    # Where signs stick together (`),`) or numbers take their blank (` 1`) no cut gives the very same tokens.
    assert code.exact is (make is characters or marker == "[1]")
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(n).tolist()
        tokens = list(code.common)
        for place, number in enumerate(order):
            tokens += [*(code.separator if place else ()), *code.items[number]]
        text = joiner.join(names[number] for number in order)
        assert vocabulary.text(tokens) == text
        if code.exact:
            assert tokens == vocabulary.encode(text)


def test_identifiers_that_cannot_be_told_apart_are_refused():
    with pytest.raises(RerankError, match=r"is a prefix of another; set MARKER to \[1\]"):
        Identifiers(characters(), marker="1.").order([str(n) for n in range(1, 12)])
    with pytest.raises(RerankError, match="must contain the digit 1 once"):
        Identifiers(characters(), marker="a)")


def test_questions_are_worded_as_in_training():
    document = Document("Mills", "They grind.")
    for wording in (0, 1):
        ours = ranking_prompts.question(PAIR, "pointwise_judgment", "q 1", [document], wording=wording)
        row = {"example_id": "", "query": "q 1", "relevance": 0}
        row["document"] = {"title": document.title, "text": document.text}
        variant = Variant(shots=0, template=wording, family="pointwise_judgment")
        assert ours.inputs() == render(row, PAIR, variant=variant, seed=0, split="test").inputs()
        assert ours.choices == ("Yes", "No")
    texts = {f"d{n}": {"doc_id": f"d{n}", "title": "", "text": f"text {n}", "grade": n % 3} for n in range(9)}
    row = {
        "example_id": "x", "query_id": "1", "query": "why\n\nso",
        "positives": [d for d in texts.values() if d["grade"]],
        "negatives": [d for d in texts.values() if not d["grade"]],
    }  # fmt: skip
    slots = {"query_generation": 2, "pairwise_choice": 4, "pairwise_check": 6, "listwise_order": 8}
    for family, slot in slots.items():
        for wording in (0, 1):
            for seed in range(4):
                variant = Variant(shots=0, template=slot + wording)
                trained = render(row, PAIR, variant=variant, seed=seed, split="test")
                shown = [texts[doc_id] for doc_id in trained.extras["document_ids"]]
                forms = {
                    ranking_prompts.question(
                        PAIR, family, row["query"], shown, wording=wording, style=Style(marker), number=number
                    ).inputs()
                    for marker in ("[1]", "(1)", "1.")
                    for number in (1, 2)
                }
                assert trained.inputs() in forms


def test_a_question_that_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="a pairwise_choice template cannot show 3 documents"):
        ranking_prompts.question(PAIR, "pairwise_choice", "q", [Document("", "t")] * 3)
    with pytest.raises(ValueError, match="no template 2 of the family listwise_order; there are 2"):
        ranking_prompts.question(PAIR, "listwise_order", "q", [Document("", "t")] * 3, wording=2)
    with pytest.raises(ValueError, match="pairwise_check needs number=1 or 2, got None"):
        ranking_prompts.question(PAIR, "pairwise_check", "q", [Document("", "t")] * 2)
