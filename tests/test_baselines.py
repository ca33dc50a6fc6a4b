"""scripts/baselines.py: what the baselines learn from, what they are judged on, and the tests."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inters_jax.data.token_store import TokenStore
from inters_jax.evaluation.significance import holm, permutation_test
from seqio_tasks import catalog, row_source
from seqio_tasks.base import file_sha256

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
script = importlib.import_module("baselines")
systems = importlib.import_module("baseline_systems")

MATCHING = catalog.pair("inters_query_matching_msrp")
INTENTS = catalog.pair("inters_query_intent_classification_orcas_i")
TOPICS = catalog.pair("inters_query_intent_classification_trec_web")
REWRITING = catalog.pair("inters_query_reformulation_gecor")
MANTIS = catalog.pair("inters_query_intent_classification_mantis")


@pytest.fixture(autouse=True)
def three_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PAIRS", (MATCHING, INTENTS, TOPICS))


def rows(texts: list[tuple[str, ...]], gold: list[list[str]]) -> Any:
    return systems.Rows(
        [str(n) for n in range(len(gold))], [list(column) for column in zip(*texts, strict=True)], gold
    )


def evaluation(folder: Path, right: Mapping[str, list[bool]], **manifest: Any) -> Path:
    """A folder as evaluate leaves it: the scored answers to the first questions of pairs, right or wrong."""
    metrics, files = {}, {}
    for name, outcomes in right.items():
        pair = catalog.pair(name)
        task = f"{name}_choices"
        lines = []
        for row, fine in zip(row_source.load_rows(pair, "test").rows, outcomes, strict=False):
            gold = row[pair.label_field]
            said = gold if fine else next(label for label in pair.labels if label != gold)
            for number, label in enumerate(pair.labels):
                record = {
                    "example_id": row["example_id"], "targets_pretokenized": label, "choice": number,
                    "gold": gold, "score": 0.0 if label == said else -1.0,
                }  # fmt: skip
                lines.append(json.dumps(record) + "\n")
        (folder / task).mkdir(parents=True)
        (folder / task / "predictions.jsonl").write_text("".join(lines))
        metrics[task] = {"accuracy": 100.0 * float(np.mean(outcomes)), "macro_f1": 12.5}
        files[task] = {"predictions.jsonl": file_sha256(folder / task / "predictions.jsonl")}
    result = {
        "manifest": {"command": "evaluate", "split": "test"} | manifest,
        "metrics": metrics,
        "files": files,
    }
    (folder / "results.json").write_text(json.dumps(result))
    return folder


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    script.main(["--output", str(folder), *arguments])
    found: dict[str, Any] = json.loads((folder / "baselines.json").read_text())
    return found


def test_the_same_word_in_another_field_is_another_feature() -> None:
    texts = [("wind", "rain"), ("rain", "wind")] * 10
    train = rows(texts, [["yes"], ["no"]] * 10)
    found = systems.baselines(MATCHING, train, rows(texts[:2], [["yes"], ["no"]]))
    assert found[systems.LINEAR].metrics["accuracy"] == 100.0
    assert found[systems.COMMONEST_LABEL].metrics["accuracy"] == 50.0
    assert found[systems.COMMONEST_LABEL].about["label"] == "yes"  # of equal ones the first


def test_pairs_of_words_are_features_and_empty_fields_are_none() -> None:
    texts = [("not good but bad", ""), ("not bad but good", " ?")] * 10
    train = rows(texts, [["no"], ["yes"]] * 10)
    found = systems.baselines(MATCHING, train, rows(texts[:2], [["no"], ["yes"]]))
    assert found[systems.LINEAR].values == {"0": 100.0, "1": 100.0}
    assert found[systems.LINEAR].about["features"] == 4 + 6  # words and pairs


def test_a_row_of_several_labels_is_right_with_any_of_them() -> None:
    first, second, third = MANTIS.labels[:3]
    texts = [("thanks", "", "hello"), ("thanks", "", "why"), ("thanks", "", "how")] * 4
    train = rows(texts, [[first], [second, third], [third]] * 4)
    found = systems.baselines(MANTIS, train, rows(texts[:3], [[first], [second], [second, third]]))
    assert found[systems.COMMONEST_LABEL].about["label"] == third
    assert found[systems.COMMONEST_LABEL].metrics == {"precision_at_1": pytest.approx(100 / 3)}
    assert found[systems.LINEAR].values["0"] == found[systems.LINEAR].values["2"] == 100.0


def test_training_rows_of_one_label_or_one_row_give_that_label() -> None:
    for count in (1, 3):
        train = rows([("wind", "rain")] * count, [["no"]] * count)
        found = systems.baselines(MATCHING, train, rows([("sun", "sun")], [["yes"]]))
        assert found[systems.LINEAR].about["predictions"] == {"0": "no"}


def test_texts_are_answered_by_the_commonest_answer_or_by_a_field() -> None:
    assert systems.shown_fields(REWRITING) == ["goal", "context", "title"]
    asked = rows([("", "x", "y z"), ("", "x", "u v")], [["y w", "y z"], ["x"]])
    train = rows([("", "a", "b c"), ("", "d", "e f"), ("", "g", "h i")], [["b c"], ["e f"], ["x"]])
    found = systems.baselines(REWRITING, train, asked)
    assert list(found) == [systems.COMMONEST, systems.COPIED]  # the better one on the training rows is last
    assert found[systems.COPIED].about == {"field": "title", "predictions": {"0": "y z", "1": "u v"}}
    assert found[systems.COPIED].values == {"0": 100.0, "1": 0.0}
    assert found[systems.COMMONEST].about["answer"] == "b c"
    train = rows([("", "a", "b c"), ("", "d", "e f"), ("", "g", "h i")], [["x y"], ["x"], ["x"]])
    found = systems.baselines(REWRITING, train, asked)
    assert list(found) == [systems.COPIED, systems.COMMONEST]
    assert found[systems.COMMONEST].values == {"0": 0.0, "1": 100.0}


def test_only_fields_that_prompts_show_are_used() -> None:
    assert systems.shown_fields(TOPICS) == ["title", "description"]  # not the kind of the subtopic
    assert systems.shown_fields(MATCHING) == ["sentence1", "sentence2"]


def test_the_first_rows_are_judged_and_missing_pairs_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "orcas_i").symlink_to(Path(row_source.settings.Settings().raw_dir) / "orcas_i")
    found = run(tmp_path / "out", f"--raw_dir={raw}", "--max_examples=5")
    expected = [row["example_id"] for row in row_source.load_rows(INTENTS, "test").rows[:5]]
    assert list(found["pairs"]) == [INTENTS.name]
    for system in found["pairs"][INTENTS.name]["systems"].values():
        assert list(system["values"]) == expected and set(system["metrics"]) == set(INTENTS.metrics)
    assert set(found["left_out"]) == {MATCHING.name, TOPICS.name}
    assert "msrp" in (tmp_path / "out" / "baselines.md").read_text()


def test_evaluations_are_tested_on_their_own_questions(tmp_path: Path) -> None:
    model = evaluation(tmp_path / "model", {INTENTS.name: [True] * 12, TOPICS.name: [False, True, True]})
    found = run(tmp_path / "out", f"--evaluation={model}")
    expected = []
    for pair in (INTENTS, TOPICS):
        judged = found["pairs"][pair.name]["systems"]
        assert list(judged[systems.LINEAR]["values"]) == list(judged["model"]["values"])
        one, other = (np.array(list(judged[name]["values"].values())) for name in (systems.LINEAR, "model"))
        assert found["tests"]["model"][pair.name]["difference"] == pytest.approx((other - one).mean())
        expected.append(float(permutation_test(other - one).p_values[0]))
    given = [found["tests"]["model"][pair.name] for pair in (INTENTS, TOPICS)]
    assert [test["p_value"] for test in given] == expected
    assert [test["p_adjusted"] for test in given] == holm(expected).tolist()
    assert found["left_out"] == {MATCHING.name: "in no evaluation"}
    assert "12.5" in (tmp_path / "out" / "baselines.md").read_text()  # the model's macro F1


def test_training_rows_are_those_of_the_store(tmp_path: Path) -> None:
    ids = [row["example_id"] for row in row_source.load_rows(INTENTS, "train").rows[::3]]
    store = tmp_path / "store"
    TokenStore.create(store, {f"{INTENTS.name}_50pct": [[([1, 5, 2], 1, one) for one in ids]]}, vocab_size=8)
    found = run(tmp_path / "out", f"--store={store}", "--max_examples=3")
    assert found["pairs"][INTENTS.name]["training rows"] == len(ids)
    assert found["left_out"][MATCHING.name].startswith("no example in the store")


def test_what_does_not_fit_together_is_refused_in_one_line(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one", {TOPICS.name: [True, True]})
    two = evaluation(tmp_path / "two", {TOPICS.name: [True, True, True]})
    with pytest.raises(SystemExit, match="one was judged on 2 questions and two on 3, 2 of them the same"):
        run(tmp_path / "out", f"--evaluation={one}", f"--evaluation={two}")
    other = evaluation(tmp_path / "other", {TOPICS.name: [True]}, split="validation")
    with pytest.raises(SystemExit, match="are of different splits"):
        run(tmp_path / "out", f"--evaluation={one}", f"--evaluation={other}")
    with pytest.raises(SystemExit, match=r"1 questions of .* are not in the split validation"):
        run(tmp_path / "out", f"--evaluation={other}")
    predictions = one / f"{TOPICS.name}_choices" / "predictions.jsonl"
    predictions.write_text(predictions.read_text() + "\n")
    with pytest.raises(SystemExit, match=r"predictions\.jsonl: changed.*evaluate this task again"):
        run(tmp_path / "out", f"--evaluation={one}")
    store = tmp_path / "store"
    TokenStore.create(store, {TOPICS.name: [[([1, 5, 2], 1, "elsewhere/1")]]}, vocab_size=8)
    with pytest.raises(SystemExit, match=r"1 of 1 examples of .* are not among the training rows"):
        run(tmp_path / "out", f"--store={store}", "--max_examples=1")
