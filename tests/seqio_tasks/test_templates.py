"""The packaged templates are sound, and the linter finds each kind of fault it promises to find."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from seqio_tasks import templates
from seqio_tasks.catalog import PAIRS, pair, pairs
from seqio_tasks.templates import FAMILIES, Template, TemplateError
from seqio_tasks.templates.__main__ import main
from seqio_tasks.templates.linter import check_all, template_faults


def test_packaged_templates_have_no_fault() -> None:
    assert check_all() == []


def test_every_pair_has_twelve_different_templates() -> None:
    for entry in PAIRS:
        assert len(set(templates.load(entry.task).of(entry.dataset))) == 12


def test_placeholders_are_found_once_and_braces_stay() -> None:
    template = Template("A {b} {c, d} {e}?", "{f}", "Cue:")
    assert template.input_parts == (("A ", "b"), (" {c, d} ", "e"), ("?", None))
    assert template.input_fields == ("b", "e") and template.output_field == "f"


def _write(folder: Path, task: str, dataset: str, slot: int, **changes: object) -> list[str]:
    """Faults after one change to a packaged file that has this dataset only."""
    data = yaml.safe_load((templates.FOLDER / f"{task}.yaml").read_text(encoding="utf-8"))
    data["datasets"] = {dataset: data["datasets"][dataset]}
    data["datasets"][dataset][slot] |= changes
    (folder / f"{task}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return check_all(folder, pairs(task=task, dataset=dataset))


MSRP = ("query_matching", "msrp")
GOV2 = ("query_description", "gov2")
RANK = ("fact_retrieval", "scifact")
LONG = "Well, " + "very " * 95 + 'much so: "{title}".'


@pytest.mark.parametrize(
    ("of", "slot", "changes", "fault"),
    [
        (GOV2, 1, {"input": "Explain {titel}."}, "field: .*did you mean title"),
        (GOV2, 1, {"output": "{narative}"}, "field: .*did you mean narrative"),
        (GOV2, 1, {"output": "Text: {narrative}"}, "output: .*one placeholder"),
        (GOV2, 1, {"input": "Explain {title} by {narrative}."}, "output: .*gives the answer away"),
        (GOV2, 1, {"input": "Explain {title} {as, if}."}, "braces: "),
        (GOV2, 1, {"reverse": True}, "reverse: "),
        (GOV2, 10, {"reverse": False}, "reverse: "),
        (
            MSRP,
            1,
            {"input": 'Compare "{sentence1}" with "{sentence2}" and say yes.'},
            "options: .*does not offer no",
        ),
        (MSRP, 1, {"input": '"{sentence1}" or "{sentence2}"? Options: yes, no'}, "options: .*literal list"),
        (MSRP, 1, {"input": '"{sentence1}", "{sentence2}": same or different?'}, "options: .*yes, no"),
        (MSRP, 1, {"family": "pairwise_check"}, "family: .*only ranking"),
        (RANK, 0, {"family": "query_generation"}, "family: .*slot 0"),
        (RANK, 0, {"input": "Claim: {query}"}, "family: .*takes document, query"),
        (RANK, 0, {"input": "Here: {document}. Relevant to {query}?"}, "family: .*query first"),
        (GOV2, 1, {"cue": "Answer"}, "cue: "),
        (GOV2, 1, {"cue": ""}, "cue: "),
        (GOV2, 1, {"input": "Explain  {title}."}, "spacing: .*double space"),
        (GOV2, 1, {"input": "Explain {title}. "}, "spacing: .*beginning or end"),
        (GOV2, 1, {"input": "Explain{title}."}, "spacing: .*attached to a word"),
        (GOV2, 1, {"input": LONG}, "length: "),
    ],
)
def test_linter_finds(tmp_path: Path, of: tuple[str, str], slot: int, changes: dict, fault: str) -> None:
    faults = _write(tmp_path, *of, slot, **changes)
    assert any(re.match(fault, line) and f"{of[0]}.yaml" in line for line in faults), faults


def _wording(name: str, template: Template) -> list[str]:
    """The checks that object to the wording of a template of this pair."""
    return [check for check, _ in template_faults(template, pair(name))]


def _judged(text: str, cue: str = "Answer:") -> Template:
    return Template(f"Query: {{query}}\nText: {{document}}\n{text}", "{judgment}", cue, family=FAMILIES[0])


def _ordered(text: str) -> Template:
    return Template(f"{text}\n{{query}}\n{{documents}}", "{order}", "Order:", family=FAMILIES[4])


def _generated(text: str, output: str) -> Template:
    return Template(text, output, "Output:")


MIMICS = "inters_query_clarification_mimics"
CANARD = "inters_query_reformulation_canard"
XSUM = "inters_summarization_xsum"
COQA = "inters_conversational_qa_coqa"
BOOLQ = "inters_reading_comprehension_boolq"
INTENT = "inters_query_intent_classification_orcas_i"
SCIFACT = "inters_fact_retrieval_scifact"


@pytest.mark.parametrize(
    ("name", "output", "refused", "accepted", "check"),
    [
        (MIMICS, "{clarification}", "Refine {query}.", "Refine {query}. Number the ideas.", "numbering"),
        (COQA, "{answers}", "Answer {questions} from {context}.",
         "Give {questions} numbered answers: {context}", "numbering"),
        (XSUM, "{summary}", "Sum it up as a numbered list: {article}",
         "Sum up the numbered reports: {article}", "numbering"),
        (BOOLQ, "{answer}", "Decide between {options}. {context} {question}",
         "Decide between {options_and}. {context} {question}", "joined"),
        (BOOLQ, "{answer}", "{context}\nReply to {question}\nLabels: {options}",
         "{context}\nReply to {question}\nLabels: {options_comma}", "joined"),
        (BOOLQ, "{answer}", "Is the answer either {options_and}? {context} {question}",
         "Is the answer either {options}? {context} {question}", "joined"),
        (INTENT, "{query_type}", "Answer with one of {options} for {title}.",
         "Answer with one of {options_comma} for {title}.", "joined"),
        (INTENT, "{query_type}", "Is {title} {options_comma} or {options_and}?", "Is {title} {options}?",
         "joined"),
        (XSUM, "{summary}", "Sum up in two sentences: {article}",
         "Sum up in one sentence: {article}", "stated"),
        (XSUM, "{summary}", "Sum up in at most three words: {article}",
         "Sum up in no more than 40 words: {article}", "stated"),
        (XSUM, "{summary}", "Here are three words:\n{article}\nSum them up.",
         "Here are three texts:\n{article}\nSum them up.", "stated"),
        (MIMICS, "{clarification}", "List six numbered ideas for {query}.",
         "List up to five numbered ideas for {query}.", "stated"),
        (CANARD, "{reformulations}", "context: {context}\n{history}\nquery: {title}",
         "context: {context}\n{history}\nquery: {title}\ntask: complete the query", "instruction"),
    ],
)  # fmt: skip
def test_linter_reads_the_wording(name: str, output: str, refused: str, accepted: str, check: str) -> None:
    assert _wording(name, _generated(refused, output)) == [check]
    assert _wording(name, _generated(accepted, output)) == []


@pytest.mark.parametrize(
    ("refused", "accepted"),
    [
        ("Is the text not relevant?", "Is the text relevant? Yes or No."),
        ("Is the text irrelevant? Yes or No.", "Irrelevant texts are common. Is this one relevant?"),
        ("Any objection to it? Write No or Yes.", "Do you agree to it? Write Yes or No."),
        ("Would it be a mistake to show it?", "Would it be right to show it?"),
        ("Doesn't it help?", "Does it help? Say Yes if it does, No if it does not."),
        (
            "Judge it. Write Yes if it is off topic, else No.",
            "Judge it. Yes if it helps more than one that does not.",
        ),
    ],
)
def test_yes_means_relevant(refused: str, accepted: str) -> None:
    assert _wording(SCIFACT, _judged(refused)) == ["polarity"]
    assert _wording(SCIFACT, _judged(accepted)) == []
    assert _wording(SCIFACT, _judged("Is it relevant?", "Irrelevant:")) == ["polarity"]


@pytest.mark.parametrize(
    "rule",
    [
        "Equally good ones keep their order.",
        "Leave ties in the order shown.",
        "Relevant ones go first, and the list is otherwise unchanged.",
        "Within a level, follow the order above.",
    ],
)
def test_a_ranking_says_what_becomes_of_ties(rule: str) -> None:
    assert _wording(SCIFACT, _ordered("Rank the texts shown below, best first.")) == ["ties"]
    assert _wording(SCIFACT, _ordered(f"Rank the texts shown below. {rule}")) == []


def test_linter_finds_duplicates_missing_and_surplus(tmp_path: Path) -> None:
    path = tmp_path / "query_matching.yaml"
    original = yaml.safe_load((templates.FOLDER / path.name).read_text(encoding="utf-8"))

    def faults(change: Callable[[dict], object]) -> str:
        data = yaml.safe_load(yaml.safe_dump(original))
        change(data)
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return "\n".join(check_all(tmp_path, pairs(task="query_matching")))

    def double(data: dict) -> None:
        entries = data["datasets"]["msrp"]
        entries[5]["input"] = (
            entries[4]["input"].upper().replace("SENTENCE", "sentence").replace("OPTIONS", "options")
        )

    def same_cue(data: dict) -> None:
        for entry in data["datasets"]["msrp"]:
            entry["cue"] = "Answer:"

    def same_word(data: dict) -> None:
        for entry in data["datasets"]["msrp"][:7]:
            entry["input"] = "Please, " + entry["input"]

    assert faults(lambda data: None) == ""
    assert "duplicate: query_matching.yaml: msrp[5]: the same input as" in faults(double)
    assert "count: query_matching.yaml: msrp: 11 templates" in faults(
        lambda data: data["datasets"]["msrp"].pop()
    )
    assert "variety: query_matching.yaml: msrp: fewer than four" in faults(same_cue)
    assert "variety: query_matching.yaml: msrp: 7 templates begin with 'please,'" in faults(same_word)
    assert "no templates for dataset 'msrp'" in faults(lambda data: data["datasets"].clear())
    renamed = faults(lambda data: data["datasets"].update({"mspr": data["datasets"]["msrp"]}))
    assert "mspr: no such pair in the catalog; did you mean msrp?" in renamed
    assert "coverage: query_matching.yaml: is for task 'other'" in faults(
        lambda data: data.update(task="other")
    )
    assert "form: " in faults(lambda data: data["datasets"]["msrp"][3].update(cues="Answer:"))
    assert "form: " in faults(lambda data: data["datasets"]["msrp"][3].pop("cue"))
    assert "description is too short" in faults(lambda data: data.update(description="Match."))


def test_command_reports_and_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert f"{12 * len(PAIRS)} templates" in capsys.readouterr().out
    (tmp_path / "bad.yaml").write_text("task: [", encoding="utf-8")
    assert main([str(tmp_path), "--check"]) == 1
    assert "bad.yaml:1: not valid YAML" in capsys.readouterr().out


def test_unknown_names_are_explained() -> None:
    with pytest.raises(TemplateError, match="no template file for task 'query_matchng'"):
        templates.load("query_matchng")
    with pytest.raises(TemplateError, match="no templates for 'gov3'"):
        templates.load("query_description").of("gov3")


REVERSED = {
    "query_description": [10, 11],
    "query_expansion": [10, 11],
    **{f"inters_summarization_{name}": [10, 11] for name in ("xsum", "cnn_dm", "wikisum")},
    "inters_query_intent_classification_trec_web": [5],  # asks for the type of a subtopic
}


def test_reversed_slots() -> None:
    for entry in PAIRS:
        found = [i for i, t in enumerate(templates.load(entry.task).of(entry.dataset)) if t.reverse]
        assert found == REVERSED.get(entry.name, REVERSED.get(entry.task, [])), entry.name


def test_options_stand_for_the_scored_labels() -> None:
    boolq = pair("inters_reading_comprehension_boolq")
    changed = dataclasses.replace(boolq, labels=("yes", "no"))
    # template 6 says true and false in words: with other labels the linter would object
    assert check_all(pairs=[p for p in PAIRS if p is not boolq] + [changed]) == [
        "options: reading_comprehension.yaml: boolq[6]: does not offer yes, no; add {options}"
    ]
