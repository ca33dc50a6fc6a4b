"""The mixtures of the experiments: how much of every task, more of one, without a part; and their listing."""

from __future__ import annotations

from pathlib import Path

import pytest
import seqio

import seqio_tasks
from seqio_tasks import catalog, mixtures, row_source, settings, tasks
from seqio_tasks.mixtures.__main__ import main
from seqio_tasks.variants import VOLUMES

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
MSRP = "inters_query_matching_msrp"


@pytest.fixture(autouse=True)
def sample():  # type: ignore[no-untyped-def]
    with settings.override(raw_dir=str(SAMPLE), tokenizer=str(SAMPLE / "tokenizer"), templates=()):
        yield


def ids(name: str, **changes: int) -> list[str]:
    with settings.override(**changes):
        return [e.example.example_id for e in tasks.task(name).encoded_examples("train")]


def test_a_volume_is_a_fixed_part_of_the_rows_in_their_order() -> None:
    parts = {percent: ids(f"{MSRP}_{percent}pct") for percent in VOLUMES} | {100: ids(MSRP)}
    whole = parts[100]
    for percent, part in parts.items():
        assert len(part) == round(len(whole) * percent / 100)
        assert len(part) == tasks.task(MSRP if percent == 100 else f"{MSRP}_{percent}pct").num_input_examples(
            "train"
        )
        assert part == [name for name in whole if name in set(part)]
        assert ids(f"{MSRP}_25pct", seed=percent) == parts[25]  # another seed draws other templates only
    assert set(parts[25]) < set(parts[50]) < set(parts[75]) < set(whole)


def test_the_part_follows_the_ids_alone() -> None:
    rows = [{"example_id": f"r{i}"} for i in range(1000)]
    part = {row["example_id"] for row in row_source.fixed_part(rows, 0.25)}
    assert part == {row["example_id"] for row in row_source.fixed_part(rows[::-1], 0.25)}
    assert len(part) == 250 and 90 < sum(int(name[1:]) < 500 for name in part) < 160  # no run of the file


def test_demonstrations_come_from_the_part_too() -> None:
    task = tasks.task(f"{MSRP}_25pct")
    part = row_source.fixed_part(row_source.load_rows(task.pair, "train").rows, 0.25)
    assert list(task.form.demonstrations(task.pair, "train", str(SAMPLE))) == list(part)
    outside = [row for row in row_source.load_rows(task.pair, "train").rows if row not in part]
    # Other rows may hold either sentence, but not both: a question shows the two of one row.
    questions = {
        piece for example in task.encoded_examples("train") for piece in example.example.inputs.split("\n\n")
    }
    assert not any(row["sentence1"] in text and row["sentence2"] in text
                   for row in outside for text in questions)  # fmt: skip


def test_rates_of_volumes_keep_the_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 1200}
    monkeypatch.setattr(row_source, "count", lambda pair, split, raw_dir=None: counts[split])
    found = {
        name: float(seqio.MixtureRegistry.get(name).get_rate(tasks.task(task)))
        for name, task in (
            ("inters", MSRP),
            ("inters_25pct", f"{MSRP}_25pct"),
            ("inters_75pct", f"{MSRP}_75pct"),
            ("inters_more_query_matching", MSRP),
            ("inters_more_retrieval", "inters_fact_retrieval_scifact"),
        )
    }
    # 1,200 rows have 7,200 renderings with 0 to 5 demonstrations, ranking questions half as many more.
    assert list(found.values()) == [5000, 1250, 3750, 7200, 10_000]
    more = seqio.MixtureRegistry.get("inters_more_retrieval")
    assert float(more.get_rate(tasks.task(MSRP))) == 5000
    counts["train"] = 80_000
    assert float(more.get_rate(tasks.task("inters_fact_retrieval_scifact"))) == 10_000
    members = mixtures.members("inters_more_query_matching").available
    assert {rate for name, rate in members if name == MSRP} == {10_000}
    assert {rate for name, rate in members if name != MSRP} == {5000}


def test_rates_and_epochs_are_those_of_the_authors() -> None:
    """Their shares, and the sizes that follow from the steps of their checkpoints."""
    recipes = mixtures.recipes()
    full = recipes["inters"]
    whole = sum(map(full.published_rate, full.tasks))
    assert full.epoch() == 200_000 < whole

    def share(name: str) -> float:
        return round(100 * full.published_rate(name) / whole, 2)

    assert share("inters_query_intent_classification_orcas_i") == 2.3
    assert share("inters_entity_retrieval_dbpedia") == 0.26
    groups = {
        group: sum(full.published_rate(pair.name) for pair in catalog.PAIRS if pair.group == group) / whole
        for group in catalog.GROUPS
    }
    assert [round(part, 2) for part in groups.values()] == [0.35, 0.36, 0.29]  # theirs: about .32, .35, .32
    ranking = [pair.name for pair in catalog.PAIRS if pair.kind == "rank"]
    more = recipes["inters_more_retrieval"]
    sizes = [sum(map(recipe.published_rate, ranking)) for recipe in (full, more)]
    assert [round(size / 1000) for size in sizes] == [61, 115]
    assert more.epoch() == round(200_000 * (whole + sizes[1] - sizes[0]) / whole)
    left = recipes["inters_without_query_understanding"].epoch()
    assert left == round(200_000 * (1 - groups["query_understanding"]))
    raw = recipes["inters_raw_rows"]
    assert raw.epoch() == sum(map(raw.published_rate, raw.tasks)) == 146_252


@pytest.mark.parametrize(
    ("suffix", "pair", "expected"),
    [
        ("", MSRP, 6),
        ("_0shot", MSRP, 1),
        ("", "inters_fact_retrieval_scifact", 9),
        ("_1template", "inters_fact_retrieval_scifact", 12),  # pointwise judgment: both answers
        ("_3templates", "inters_fact_retrieval_scifact", 8),  # one judgment, one choice, one order
        ("_query_generation", "inters_fact_retrieval_scifact", 6),
        ("_pairwise_check", "inters_fact_retrieval_scifact", 12),
    ],
)
def test_renderings_are_numbers_of_demonstrations_times_answers(
    suffix: str, pair: str, expected: float
) -> None:
    task = tasks.task(pair + suffix)
    assert task.form.renderings(task.pair, "train") == pytest.approx(expected)
    assert task.form.renderings(task.pair, "test") == 1
    with settings.override(max_shots=1):
        ones = 1 if suffix == "_0shot" else expected / 3
        assert task.form.renderings(task.pair, "train") == pytest.approx(ones)


def test_hold_outs_of_datasets() -> None:
    names = mixtures.definitions()
    pairs = {pair.name: pair for pair in catalog.PAIRS}
    held_out = {pairs[name].dataset for name in names["inters_out_of_domain"]}
    assert held_out == set(catalog.OUT_OF_DOMAIN) and len(names["inters_out_of_domain"]) == 9
    for dataset in held_out:
        left_out = set(names["inters"]) - set(names[f"inters_without_{dataset}"])
        assert {pairs[name].dataset for name in left_out} == {dataset}


def test_every_mixture_is_registered_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    ours = [name for name in seqio.MixtureRegistry.names() if name.startswith("inters")]
    assert sorted(listed) == sorted(ours) and len(set(listed)) == len(listed)
    assert main(["inters_query_matching"]) == 0
    out = capsys.readouterr().out
    assert MSRP in out and "1 tasks" in out and "missing" not in out
    assert main(["inters_query_matchin"]) == 2
    assert "did you mean inters_query_matching?" in capsys.readouterr().err


def test_the_listing_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inters_query_matching", "--raw_dir", str(tmp_path)]) == 0
    assert f"missing: {MSRP}: " in capsys.readouterr().out
