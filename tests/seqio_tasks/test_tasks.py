"""The registered tasks: what they read, in which order, when they draw again, and what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqio
import tensorflow as tf

import seqio_tasks
from seqio_tasks import catalog, first_stage, mixtures, pipeline, row_source, settings, tasks, templates
from seqio_tasks.base import MissingData
from seqio_tasks.metrics import evaluate_run
from seqio_tasks.sources import beir

SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
MSRP = "inters_query_matching_msrp"
SCIFACT = "inters_fact_retrieval_scifact"


@pytest.fixture(autouse=True)
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(pipeline, "BATCH", 16)
    with settings.override(
        raw_dir=str(SAMPLE),
        tokenizer=str(SAMPLE / "tokenizer"),
        cache_dir=str(tmp_path / "cache"),
        max_length=2048,
    ):
        yield


def dataset(name: str, **options: Any) -> list[dict[str, Any]]:
    return list(tasks.task(name).get_dataset(**options).as_numpy_iterator())


def fast(name: str, split: str, **options: Any) -> list[tuple[list[int], list[int]]]:
    encoded = tasks.task(name).encoded_examples(split, **options)
    return [(item.input_ids.tolist(), item.target_ids.tolist()) for item in encoded]


def pairs(examples: list[dict[str, Any]]) -> list[tuple[list[int], list[int]]]:
    return [(example["inputs"].tolist(), example["targets"].tolist()) for example in examples]


@pytest.mark.parametrize(
    "name", [MSRP, f"{MSRP}_choices", SCIFACT, "inters_reading_comprehension_squad_5shot"]
)
def test_the_dataset_and_the_fast_path_give_the_same_examples(name: str) -> None:
    assert pairs(dataset(name, split="validation", shuffle=False)) == fast(name, "validation")


def test_every_epoch_draws_anew_and_in_its_own_order() -> None:
    two = dataset(MSRP, split="validation", shuffle=False, num_epochs=2)
    first, second = two[: len(two) // 2], two[len(two) // 2 :]
    assert pairs(first) == fast(MSRP, "validation", epoch=0)
    assert pairs(second) == fast(MSRP, "validation", epoch=1)
    assert [e["template"] for e in first] != [e["template"] for e in second]
    shuffled = [e["example_id"] for e in dataset(MSRP, split="validation", seed=1, num_epochs=2)]
    half = len(shuffled) // 2
    assert sorted(shuffled[:half]) == sorted(shuffled[half:]) and shuffled[:half] != shuffled[half:]


def test_an_endless_dataset_goes_on() -> None:
    endless = tasks.task(MSRP).get_dataset(split="validation", shuffle=False, num_epochs=None)
    rows = tasks.task(MSRP).num_input_examples("validation")
    found = [example["example_id"] for example in endless.take(rows * 2 + 3).as_numpy_iterator()]
    assert found[:3] == found[rows : rows + 3] == found[2 * rows :]


def test_the_seed_orders_and_nothing_else() -> None:
    by_seed = {seed: dataset(MSRP, split="validation", seed=seed) for seed in (1, 2)}
    again = dataset(MSRP, split="validation", seed=1)
    assert pairs(by_seed[1]) == pairs(again) != pairs(by_seed[2])
    assert sorted(pairs(by_seed[1])) == sorted(pairs(by_seed[2]))
    with settings.override(seed=7):
        assert sorted(pairs(dataset(MSRP, split="validation", seed=1))) != sorted(pairs(again))


def test_a_dataset_keeps_the_settings_it_was_built_with(tmp_path: Path) -> None:
    built = tasks.task(MSRP).get_dataset(split="validation", shuffle=False)
    with settings.override(raw_dir=str(tmp_path), tokenizer=str(tmp_path)):
        assert len(list(built.as_numpy_iterator())) > 0


def test_iterators_can_be_checkpointed(tmp_path: Path) -> None:
    iterator = iter(tasks.task(MSRP).get_dataset(split="validation", seed=3, num_epochs=None))
    for _ in range(5):
        next(iterator)
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    path = checkpoint.write(str(tmp_path / "state"))
    expected = [next(iterator)["example_id"].numpy() for _ in range(30)]
    checkpoint.read(path)
    assert [next(iterator)["example_id"].numpy() for _ in range(30)] == expected


def test_forms() -> None:
    first: dict[str, Any] = {}
    for suffix in ("_0shot", "_5shot", "_no_description", "_no_template"):
        examples = dataset(MSRP + suffix, split="train", shuffle=False)
        first[suffix] = [example["inputs_pretokenized"].decode() for example in examples]
        shots = {int(example["shots"]) for example in examples}
        assert shots == ({0} if suffix == "_0shot" else {5} if suffix == "_5shot" else set(range(6)))
    description = first["_0shot"][0].split("\n\n")[0]
    assert all(text.startswith(description) for text in first["_5shot"])
    assert not any(description in text for text in first["_no_description"])
    assert all("sentence1: " in text for text in first["_no_template"])
    assert {example["shots"] for example in dataset(MSRP, split="validation")} == {0}


def test_choices_have_every_label_behind_the_same_prompt() -> None:
    name = "inters_fact_verification_climate_fever_choices"
    labels = catalog.pair(name.removesuffix("_choices")).labels
    examples = dataset(name, split="test", shuffle=False)
    for group in batched(examples, len(labels)):
        assert [row["targets_pretokenized"].decode() for row in group] == list(labels)
        assert [int(row["choice"]) for row in group] == list(range(len(labels)))
        assert len({row["inputs_pretokenized"] for row in group}) == 1
        assert len({(row["example_id"], row["gold"]) for row in group}) == 1
        assert group[0]["gold"].decode() in labels


def batched(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_reranking_rows_score_like_the_first_stage_when_the_model_repeats_it() -> None:
    """Scores that follow the first stage give the first stage's measures, computed here from the run
    itself.
    """
    task = tasks.task(f"{SCIFACT}_rerank")
    examples = dataset(task.name, split="test", shuffle=False)
    targets = [
        task.postprocess_fn(example["targets_pretokenized"], example=example, is_target=True)
        for example in examples
    ]
    assert [target["choice"] for target in targets[:2]] == ["Yes", "No"]
    sign = np.asarray([1.0 if target["choice"] == "Yes" else -1.0 for target in targets])
    scores = -sign * np.asarray([target["first_stage_rank"] for target in targets])
    found = task.score_metric_fns[0](targets, scores)
    folder = beir.beir_folder(SAMPLE, "scifact")
    qrels = beir.read_qrels(folder, "test")
    queries = {query: text for query, text in beir.read_queries(folder).items() if query in qrels}
    run = first_stage.bm25_run(beir.read_corpus(folder), queries, k=100)
    expected = evaluate_run(qrels, run, task.pair.metrics).means
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["documents"] == len(examples) / 2 and found["tied"] == 0
    # A model that answers the same everywhere leaves the first stage's order, and says that all was tied.
    constant = task.score_metric_fns[0](targets, np.where(sign > 0, 0.25, 0.5))
    assert {name: constant[name] for name in expected} == pytest.approx(expected)
    assert constant["tied"] > 0


def test_reports_count_rows_and_what_was_left_out() -> None:
    task = tasks.task(MSRP)
    examples = list(task.encoded_examples("validation", max_length=40))
    assert task.last_report["rows read"] == task.num_input_examples("validation")
    assert task.last_report["rows read"] == len(examples) + sum(
        count for name, count in task.last_report.items() if name.startswith("dropped: ")
    )


def test_missing_data_is_named_and_breaks_nothing_else(tmp_path: Path) -> None:
    with settings.override(raw_dir=str(tmp_path)):
        assert not seqio_tasks.available(MSRP) and not seqio_tasks.available(MSRP, "train")
        with pytest.raises(MissingData, match=f"{tmp_path.name}/msrp"):
            tasks.task(MSRP).get_dataset(split="train")
        with pytest.raises(MissingData, match=f"{tmp_path.name}/beir_scifact"):
            list(tasks.task(SCIFACT).encoded_examples("train"))
        members = seqio_tasks.members("inters")
        assert members.available == [] and len(members.missing) == len(catalog.PAIRS)
        with pytest.raises(
            MissingData, match=r"no task of mixture inters has data for split train:\n  inters_"
        ):
            seqio.get_mixture_or_task("inters").get_dataset({"inputs": 64, "targets": 64}, "train")
    assert seqio_tasks.available(MSRP, "train")


def test_a_partial_raw_directory_makes_a_partial_mixture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("msrp", "boolq"):
        shutil.copytree(SAMPLE / folder, tmp_path / folder)
    with settings.override(raw_dir=str(tmp_path)):
        members = seqio_tasks.members("inters")
        assert [name for name, _ in members.available] == [MSRP, "inters_reading_comprehension_boolq"]
        assert all(f"{tmp_path}/" in reason for _, reason in members.missing)
        mixture = seqio.get_mixture_or_task("inters")
        found = mixture.get_dataset({"inputs": 1024, "targets": 64}, "train", num_epochs=1, seed=0)
        assert len(list(found.take(8).as_numpy_iterator())) == 8
        assert (
            f"{len(catalog.PAIRS) - 2} of {len(catalog.PAIRS)} tasks have no data and are left out"
            in caplog.text
        )
        rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
        assert {name for name, rate in rates.items() if rate} == {name for name, _ in members.available}
        assert 6 * mixture.num_input_examples("train") == sum(rates.values())  # 0 to 5 demonstrations
        assert seqio_tasks.members(MSRP).available == [(MSRP, rates[MSRP])]
        missing = seqio_tasks.members("inters_reading_comprehension_squad").missing
        assert missing[0][0] == "inters_reading_comprehension_squad" and "squad" in missing[0][1]


def test_a_test_set_alone_can_be_evaluated_but_not_demonstrated(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "boolq", tmp_path / "boolq", ignore=shutil.ignore_patterns("train*"))
    name = "inters_reading_comprehension_boolq"
    with settings.override(raw_dir=str(tmp_path)):
        assert seqio_tasks.available(name) and seqio_tasks.available(name, "test")
        assert not seqio_tasks.available(name, "train") and not seqio_tasks.available(f"{name}_5shot", "test")
        assert len(dataset(name, split="test")) > 0
        with pytest.raises(MissingData, match="boolq: no BoolQ"):
            tasks.task(f"{name}_5shot").get_dataset(split="test")


def test_rates_are_capped_counts_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.task(MSRP)
    rows = len(row_source.load_rows(task.pair, "train").rows)
    assert mixtures.rate(task.name) == 6 * rows != 6 * task.pair.counts["train"]
    assert mixtures.rate(task.name, renderings=False) == mixtures.rate(task.name, rows=rows // 6) == rows
    assert mixtures.rate(task.name, cap=10) == 10
    monkeypatch.setattr(row_source, "has_official_files", lambda pair, raw_dir: True)
    monkeypatch.setattr(row_source, "_count", row_source._count.__wrapped__)  # without its cache
    assert mixtures.rate(task.name, renderings=False) == task.pair.counts["train"]


def test_official_files_are_known_by_their_sizes(tmp_path: Path) -> None:
    pair = catalog.pair(MSRP)
    folder = tmp_path / pair.folder
    folder.mkdir()
    for file in pair.files:
        with (folder / file.name).open("wb") as stream:
            stream.truncate(file.bytes)
    assert row_source.has_official_files(pair, tmp_path)
    assert row_source.count(pair, "train", raw_dir=str(tmp_path)) == pair.counts["train"]  # nothing was read
    with (folder / pair.files[0].name).open("ab") as stream:
        stream.write(b"x")
    assert not row_source.has_official_files(pair, tmp_path)
    assert not row_source.has_official_files(pair, SAMPLE)


def test_hold_out_mixtures_leave_out_exactly_their_part() -> None:
    names = {
        name: {task.name for task in seqio.MixtureRegistry.get(name).tasks} for name in mixtures.definitions()
    }
    assert names["inters"] == {pair.name for pair in catalog.PAIRS}
    for part in ("query_document", "fact_verification"):
        assert names[f"inters_without_{part}"] | names[f"inters_{part}"] == names["inters"]
        assert not names[f"inters_without_{part}"] & names[f"inters_{part}"]
    assert names["inters_in_domain"] | names["inters_out_of_domain"] == names["inters"]
    assert "inters_fact_verification_climate_fever" in names["inters_out_of_domain"]
    assert all(name.endswith("_no_template") for name in names["inters_no_template"])


@pytest.mark.slow
def test_importing_costs_little_and_opens_nothing() -> None:
    """Above `import seqio`: under a second of CPU (0.04 s measured), no data file, no tokenizer."""
    code = """
import sys, time
import seqio
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
begin = time.process_time()
import seqio_tasks
cost = time.process_time() - begin
data = [name for name in opened if "sample" in name or name.endswith((".json", ".yaml", ".jsonl", ".tsv"))]
assert not data, data
from seqio_tasks.tokenizer_files import load
assert load.cache_info().misses == 0 and "bm25s" not in sys.modules and "inters_jax" not in sys.modules
assert cost < 1.0, cost
print("fine")
"""
    environment = {"PYTHONPATH": str(Path(seqio_tasks.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "fine", result.stderr[-2000:]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("inters_query_matching_msrp", "_choices"), ("inters_fact_retrieval_scifact", "_rerank")],
)
def test_ablated_prompts_are_judged_as_the_others_are(name, kind):
    """Same rows, same answers to be scored; only the prompt lacks its description, or its wording."""

    def rows(suffix):
        task = seqio.get_mixture_or_task(name + kind + suffix)
        return list(task.get_dataset(split="test", shuffle=False).take(4).as_numpy_iterator())

    description = templates.load(catalog.pair(name).task).description
    full, bare, plain = rows(""), rows("_no_description"), rows("_no_template")
    for one, without, fields in zip(full, bare, plain, strict=True):
        texts = [row["inputs_pretokenized"].decode() for row in (one, without, fields)]
        assert texts[0] == f"{description}\n\n{texts[1]}"
        assert texts[2].startswith(description) and texts[2] != texts[0]
        for row in (without, fields):
            assert row["example_id"] == one["example_id"] and row["choice"] == one["choice"]
            assert row["targets_pretokenized"] == one["targets_pretokenized"]
