"""Template files of a user's own, in our form and in that of the INTERS authors (invented ones here)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import seqio_tasks
from seqio_tasks import catalog, row_source, settings, tasks, templates
from seqio_tasks.prompts import render
from seqio_tasks.prompts.filling import Rendered
from seqio_tasks.prompts.render import Variant
from seqio_tasks.templates import FAMILIES, TemplateError, own
from seqio_tasks.templates.__main__ import main

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
MSRP = "inters_query_matching_msrp"

RANKING = [
    ('Query "{query}", text "{document}": a match?', "{judgment}"),
    ("Text {document}; query {query}; fits?", "{judgment}"),
    ("Who asks for {document}?", "{query}"),
    ("A query for: {document}", "{query}"),
    ("{query}: which of {document}", "{identifier}"),
    ("Of {document}, which for {query}?", "{identifier}"),
    ("{query}: is {num} the better of {document}", "{judgment}"),
    ("Of {document}, is {num} better for {query}?", "{judgment}"),
    ("{query}: sort {document}", "{identifier}"),
    ("Sort {document} for {query}.", "{identifier}"),
    ("{query}: is {identifier} right for {document}", "{judgment}"),
    ("Of {document}, is {identifier} right for {query}?", "{judgment}"),
]
AUTHORS = f'''
"""A file in the authors' form."""
import os
os.environ["THIS_FILE_WAS_EXECUTED"] = "1"

TASK_DESCRIPTIONS = {{
    "query_matching": "Two sentences, "
                      "one question.",
    "retrieval": "Rank things.",
}}
HAS_REVERSE = {{"query-matching-msrp": []}}
PATTERNS = {{
    "query-matching-msrp": [
        ("One of {{yes, no}}: {{sentence1}} = {{sentence2}}?", "{{answer}}"),
        ("{{sentence1}} or {{sentence2}}", "{{answer}}"),
        ("{{ }} {{sentence2}} {{}} {{sentence1}}", "{{answer}}"),
    ],
    "query-description-gov2": [("Why {{title}}?", "{{narrative}}"), ("Name {{narrative}}", "{{title}}")],
    "query-intent-classification-trec-web": [("{{title}} ({{descrisption}})", "{{query_type}}")],
    "qury-suggestion-aol": [("After {{history_queries}}?", "{{target_query}}")],
    "query-reformulation-cast19": [("{{history}} {{turn_title}}", "{{reformulations}}")],
    "query-reformulation-cast2x": [("{{turn_title}} after {{history}}", "{{reformulations}}")],
    "fact-retrieval-scifact": {RANKING!r},
}}
PATTERNS_FOR_FEW_SHOT_DEMONSTRATIONS = {{
    "query-matching-msrp": [
        ("One of {{yes, no}}: {{sentence1}} = {{sentence2}}?\\nAnswer: ", "{{answer}}"),
        ("{{sentence1}} or rather {{sentence2}}. Result: ", "{{answer}}"),
        ("{{ }} {{sentence2}} {{}} {{sentence1}}", "{{answer}}"),
    ],
}}
'''
MINE = """
task: query_matching
datasets:
  msrp:
    - input: 'Compare: {sentence1} | {sentence2}'
      output: '{answer}'
      cue: 'Alike:'
    - input: '{sentence2} / {sentence1} ({options})'
      output: '{answer}'
"""


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    path = tmp_path / "instruct_templates.py"
    path.write_text(AUTHORS, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def sample():  # type: ignore[no-untyped-def]
    with settings.override(raw_dir=str(SAMPLE), tokenizer=str(SAMPLE / "tokenizer"), templates=()):
        yield


def prompt(name: str, slot: int, **options: Any) -> Rendered:
    pair = catalog.pair(name)
    row = row_source.load_rows(pair, "train").rows[0]
    return render.render(row, pair, variant=Variant(shots=0, template=slot), seed=0, **options)


def test_our_form_replaces_the_datasets_it_names_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    row = row_source.load_rows(catalog.pair(MSRP), "train").rows[0]
    description = templates.load("query_matching").description
    packaged = prompt("inters_query_description_gov2", 3).inputs()
    with settings.override(templates=path):
        first, second = prompt(MSRP, 0), prompt(MSRP, 1)
        assert first.inputs() == (
            f"{description}\n\nCompare: {row['sentence1']} | {row['sentence2']}\nAlike:\n"
        )
        assert second.inputs().endswith(("(yes or no)\n", "(no or yes)\n"))  # no cue, no line of its own
        assert prompt("inters_query_description_gov2", 3).inputs() == packaged
        slots = {e.example.template for e in tasks.task(MSRP).encoded_examples("train")}
        assert slots == {0, 1}
    assert len(templates.load("query_matching").of("msrp")) == 12


def test_a_dataset_keeps_the_templates_it_was_built_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    with settings.override(templates=[path]):
        built = tasks.task(MSRP + "_no_description").get_dataset(split="validation", shuffle=False)
    texts = [example["inputs_pretokenized"].decode() for example in built.take(8).as_numpy_iterator()]
    assert all(" | " in text or " / " in text for text in texts)


def test_the_authors_form_is_parsed_and_not_executed(authors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THIS_FILE_WAS_EXECUTED", raising=False)
    found = {task.task: task for task in own.read(authors)}
    import os

    assert "THIS_FILE_WAS_EXECUTED" not in os.environ
    msrp = found["query_matching"].of("msrp")
    assert found["query_matching"].description == "Two sentences, one question."
    assert [template.cue for template in msrp] == ["Answer:", "Result:", ""]
    assert found["fact_retrieval"].description == "Rank things." and not found["query_suggestion"].description
    assert len(found["query_reformulation"].of("trec_cast")) == 2
    assert found["query_suggestion"].of("aol")[0].input == "After {history_queries}?"
    assert "{description}" in found["query_intent_classification"].of("trec_web")[0].input
    assert [t.reverse for t in found["query_description"].of("gov2")] == [False, True]


def test_braces_that_are_no_placeholder_stay(authors: Path) -> None:
    with settings.override(templates=str(authors)):
        row = row_source.load_rows(catalog.pair(MSRP), "train").rows[0]
        assert prompt(MSRP, 0).inputs() == (
            "Two sentences, one question.\n\nOne of {yes, no}: "
            f"{row['sentence1']} = {row['sentence2']}?\nAnswer:\n"
        )
        assert (
            prompt(MSRP, 2, separator=" ")
            .inputs()
            .endswith(f"{{ }} {row['sentence2']} {{}} {row['sentence1']} ")
        )


def test_ranking_templates_of_the_authors_have_our_families(authors: Path) -> None:
    with settings.override(templates=str(authors)):
        loaded = templates.load("fact_retrieval").of("scifact")
        assert [template.family for template in loaded] == [f for f in FAMILIES for _ in range(2)]
        assert loaded[6].input_fields == ("query", "number", "documents")
        assert loaded[8].output_field == loaded[10].input_fields[1] == "order"
        for slot in range(12):
            text = prompt("inters_fact_retrieval_scifact", slot).inputs()
            assert text.startswith("Rank things.\n\n") and "{" not in text


def test_later_files_win_and_folders_are_read(authors: Path, tmp_path: Path) -> None:
    second = tmp_path / "more" / "mine.yml"
    second.parent.mkdir()
    second.write_text(MINE, encoding="utf-8")
    assert len(templates.load("query_matching", [str(authors), str(second.parent)]).of("msrp")) == 2
    assert len(templates.load("query_matching", [str(second), str(authors)]).of("msrp")) == 3


def test_the_environment_names_files(authors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERS_TEMPLATES", f"{authors}:other.yaml")
    assert settings.from_environment().templates == (str(authors), "other.yaml")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.py", "PATTERNS = {'query-matching-msrp': [open('x')]}", r"a\.py:1: PATTERNS must be written out"),
        ("a.py", "x = 1", "no PATTERNS"),
        ("a.py", "PATTERNS = {'query-matching-msrp'", r"a\.py:1: not valid Python"),
        ("a.py", "PATTERNS = {'query-matching-mspr': [('{a}', '{b}')]}", "mean query_matching_msrp"),
        ("a.py", "PATTERNS = {'query-matching-msrp': [('{sentence3}', '{answer}')]}",
         r"msrp\[0\]: .* no field 'sentence3'; did you mean sentence"),
        ("a.py", "PATTERNS = {'query-matching-msrp': ['{sentence1}']}", r"\[0\]: must be two texts"),
        ("a.py", "PATTERNS = {'query-matching-msrp': [('{sentence1}', 'A {answer}')]}", "one placeholder"),
        ("a.py", "PATTERNS = {'query-matching-msrp': [('{answer}', '{answer}')]}", "is also in"),
        ("a.py", "PATTERNS = {'fact-retrieval-scifact': [('{query} {document}', '{judgment}')]}",
         "1 templates; a ranking dataset has 12"),
        ("a.py", "PATTERNS = {}\nPATTERNS_FOR_FEW_SHOT_DEMONSTRATIONS = {'a': []}", "a.py:2: 'a' is no"),
        ("b.yaml", "task: query_matching", "the top level must have"),
        ("b.yaml", MINE.replace("{sentence2}'", "{sentense2}'"), "did you mean sentence2"),
        ("b.yaml", MINE.replace("msrp", "gov2"), "no such task and dataset"),
        ("c.txt", "", r"ends in \.yaml or \.py"),
    ],
)  # fmt: skip
def test_faults_are_told_with_their_place(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError, match=fault):
        templates.load("query_matching", [str(tmp_path / name)])


def test_a_file_is_checked_on_the_command_line(
    authors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", str(authors)]) == 0
    assert "21 templates can be used" in capsys.readouterr().out
    (tmp_path / "b.yaml").write_text(MINE.replace("{sentence2}'", "{sentense2}'"), encoding="utf-8")
    assert main(["--check", str(tmp_path / "b.yaml")]) == 1
    assert "did you mean sentence2" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with settings.override(templates=tmp_path / "none.yaml"), pytest.raises(TemplateError, match="no such"):
        prompt(MSRP, 0)
    with pytest.raises(TemplateError, match="no template file"):
        own.read(tmp_path)
