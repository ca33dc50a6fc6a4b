"""docs/paper.md against the code: its table, its numbers, its lists."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from seqio_tasks import catalog, mixtures, named_tasks
from seqio_tasks.mixtures.__main__ import main
from seqio_tasks.settings import Settings
from seqio_tasks.sources.retrieval_sets import SETS
from seqio_tasks.sources.splits import MOST_TRAINING_ROWS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")


def table(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([name, "--published"]) == 0
    return capsys.readouterr().out


def test_the_table_of_the_mixture_is_what_the_code_prints(capsys: pytest.CaptureFixture[str]) -> None:
    start = PAGE.index("| pair | rows |")
    assert PAGE[start : PAGE.index("\n\n", start)] + "\n" == table("inters", capsys)


def test_the_table_has_the_arithmetic_of_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table("inters", capsys).splitlines()
    ]
    by_pair = {row[0]: row[1:] for row in rows}
    # 800 rows with 0 to 5 demonstrations; 61 queries, half of whose templates have both answers.
    assert by_pair["query_intent_classification_orcas_i"][:3] == ["800", "6", "4,800"]
    assert by_pair["entity_retrieval_dbpedia"][:3] == ["61", "9", "549"]
    assert by_pair["query_intent_classification_mantis"][:3] == ["?", "6", "5,000"]  # unknown: the cap
    pairs = [row for name, row in by_pair.items() if f"inters_{name}" in mixtures.recipes()["inters"].tasks]
    assert len(pairs) == 56
    total = sum(int(row[2].replace(",", "")) for row in pairs)
    assert rows[-1][3] == f"{total:,}" and "200,000" in rows[-1][0]
    assert by_pair["entity_retrieval_dbpedia"][3] == f"{549 / total:.2%}"
    assert all(f"about {share}%" in by_pair[group][4] for group, share in (
        ("query understanding", 32), ("document understanding", 35), ("query document", 32)
    ))  # fmt: skip


def test_other_mixtures_have_a_table_without_the_paper_and_tests_have_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = table("inters_more_retrieval", capsys)
    assert "| fact_retrieval_fever | 10,000 | 9 | 10,000 |" in more and "about" not in more
    assert "| query_matching_msrp | 3,867 | 1 | 3,867 |" in table("inters_raw_rows", capsys)
    assert main(["inters_5shot", "--published"]) == 2
    assert "is for evaluation" in capsys.readouterr().err


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    def examples_of_ranking(name: str) -> int:
        recipe = mixtures.recipes()[name]
        rates = {task: recipe.published_rate(task) for task in recipe.tasks}
        ranking = sum(rate for task, rate in rates.items() if named_tasks.find(task)[0].kind == "rank")
        return round(recipe.epoch() * ranking / sum(rates.values()))

    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    pair_tests = [(pair.kind == "rank", pair.counts.get("test", 0)) for pair in catalog.PAIRS]
    expected = (
        f"{examples_of_ranking('inters'):,} become {examples_of_ranking('inters_more_retrieval'):,}",
        f"`MAX_LENGTH = {fields['max_length']}`",
        f"`MAX_CUT = {fields['max_cut']}`",
        f"| at most {MOST_TRAINING_ROWS:,} | same |",
        f"| {mixtures.CAP:,} | same; `inters_raw_rows`",
        f"an epoch has {mixtures.EPOCH:,}",
        ", ".join(catalog.OUT_OF_DOMAIN),
        f"{sum(count for ranked, count in pair_tests if not ranked):,} answers",
        f"{sum(count for ranked, count in pair_tests if ranked) / 10_000:.2f} million scored candidates",
    )
    for text in expected:
        assert text in PAGE


def test_the_page_names_the_collections_whose_official_test_set_is_divided() -> None:
    divided = {name for name, entry in SETS.items() if not entry.files.train}
    sentence = PAGE[PAGE.index("BEIR publishes only test queries of ") :].partition(".")[0]
    words = sentence.lower().replace("-", "_").replace("é", "e").replace("natural questions", "nq")
    assert all(name in words for name in divided) and len(divided) == sentence.count(",") + 2
    whole = {pair.dataset: pair for pair in catalog.EVALUATION_ONLY if pair.dataset in divided}
    assert whole.keys() == divided
    ours = next(pair for pair in catalog.PAIRS if pair.dataset == "arguana")
    assert f"{whole['arguana'].queries:,} test queries, of which {ours.counts['test']} remain" in PAGE
