"""Every registered task keeps the contract by which T5X (and SeqIO's own converters and Evaluator) read
tasks.

The numbers in the names are those of the contract in the project's notes. Checked on the packaged sample
collection: the task of every pair, and every further form of one pair of each kind (forms are generic over
pairs; two are taken of those that differ in a number). INTERS_TEST_EVERY_TASK=1 checks every form of every
pair.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqio
import tensorflow as tf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import seqio_tasks
from seqio_tasks import named_tasks, pipeline, settings
from seqio_tasks.released import InstructionForm
from seqio_tasks.tasks import InstructionTask
from seqio_tasks.variants import forms_of
from seqio_tasks.vocabularies import HuggingFaceVocabulary

NAMES = sorted(name for name in seqio.TaskRegistry.names() if name.startswith("inters_"))
MIXTURES = sorted(name for name in seqio.MixtureRegistry.names() if name.startswith("inters"))
SAMPLE = Path(seqio_tasks.__file__).parent / "sample"
TAKE = 3
EVERY_FORM_OF = (
    "inters_query_expansion_gov2",
    "inters_query_matching_msrp",
    "inters_query_intent_classification_mantis",
    "inters_fact_retrieval_scifact",
)
# Forms that differ in a number alone: two of each are looked at.
ANOTHER_NUMBER = re.compile(r"_([134]shot|template[234]|50pct|75pct|rerank_5shot)$")


@pytest.fixture(scope="module", autouse=True)
def sample(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    cache = tmp_path_factory.mktemp("cache")
    here = {"raw_dir": str(SAMPLE), "tokenizer": str(SAMPLE / "tokenizer"), "cache_dir": str(cache)}
    with pytest.MonkeyPatch.context() as patch, settings.override(**here, max_length=2048, seed=0):
        patch.setattr(pipeline, "BATCH", 4)  # only a few examples of each task are looked at
        yield


@pytest.fixture(scope="module")
def examples(sample: None) -> dict[str, list[dict[str, Any]]]:
    """The first examples of every task: of its training split, or of the test split where there is none."""
    return {name: first(name) for name in with_sample()}


@functools.cache
def with_sample() -> tuple[str, ...]:
    """The tasks that are looked at (see above); the sample has data for every pair of the catalog."""
    every = os.environ.get("INTERS_TEST_EVERY_TASK") == "1"
    chosen = tuple(
        name
        for name in NAMES
        if every
        or not task(name).form.suffix
        or (task(name).pair.name in EVERY_FORM_OF and not ANOTHER_NUMBER.search(name))
    )
    missing = {name for name in chosen if named_tasks.missing(name, split_of(name)) is not None}
    assert [name for name in missing if not name.startswith("inters_released")] == []
    return tuple(name for name in chosen if name not in missing)


def of_every_kind() -> list[str]:
    """A task of each kind, with and without choices: further differences do not concern the tokenizer."""
    return [
        name
        for name in with_sample()
        if task(name).pair.name in EVERY_FORM_OF
        and (not task(name).form.suffix or name.endswith(("_choices", "_rerank")))
    ]


def split_of(name: str) -> str:
    return "train" if "train" in task(name).splits else "test"


def separator(name: str) -> str:
    """What ends the prompts of a task; those of the authors are taken literally."""
    return "" if isinstance(task(name).form, InstructionForm) else settings.current().separator


def separator_of(name: str) -> str:
    """The authors' own prompts are taken as they are."""
    return "" if name.startswith("inters_released") else settings.current().separator


def key(example: dict[str, Any]) -> tuple[bytes, int]:
    return example["example_id"], int(example.get("choice", 0))


def task(name: str) -> InstructionTask:
    found = seqio.TaskRegistry.get(name)
    assert isinstance(found, InstructionTask)
    return found


def first(name: str, **options: Any) -> list[dict[str, Any]]:
    dataset = task(name).get_dataset(split=split_of(name), shuffle=False, **options)
    return list(dataset.take(TAKE).as_numpy_iterator())


def test_all_pairs_are_registered_in_all_forms() -> None:
    from seqio_tasks import catalog, released

    expected = {pair.name + form.suffix for pair in catalog.PAIRS for form in forms_of(pair)}
    expected |= {pair.name + form.suffix for pair, form in released.tasks()}
    expected |= {f"{pair.name}_rerank" for pair in catalog.EVALUATION_ONLY}
    assert set(NAMES) == expected
    assert {"inters", "inters_in_domain", "inters_out_of_domain", "inters_query_understanding"} <= set(
        MIXTURES
    )
    assert {"inters_without_query_document", "inters_without_fact_verification"} <= set(MIXTURES)
    assert {"inters_no_description", "inters_no_template", "inters_query_matching"} <= set(MIXTURES)


def test_01_names_are_valid() -> None:
    assert all(re.fullmatch(r"[\w\d.:_#]+", name) for name in (*NAMES, *MIXTURES))


@pytest.mark.slow
def test_02_features_are_inputs_and_targets_int32_rank_1(examples: dict) -> None:
    for name in with_sample():
        assert set(task(name).output_features) == {"inputs", "targets"}
        assert len(examples[name]) == TAKE, name
        for example in examples[name]:
            for feature in ("inputs", "targets"):
                assert example[feature].dtype == np.int32 and example[feature].ndim == 1
                assert len(example[feature]) > 0
    for name in MIXTURES:
        seqio.MixtureRegistry.get(name)._check_compatible_features()


@pytest.mark.slow
def test_03_vocabulary_compares_pickles_and_decodes_the_targets(examples: dict) -> None:
    model_side = HuggingFaceVocabulary(SAMPLE / "tokenizer")
    for name in with_sample():
        vocabulary = task(name).output_features["targets"].vocabulary
        assert isinstance(vocabulary, seqio.Vocabulary) and vocabulary.pad_id == 0
        assert (vocabulary != model_side) is False  # T5X asks in this way
        assert pickle.loads(pickle.dumps(vocabulary)) == model_side
        for example in examples[name]:
            assert vocabulary.decode(example["targets"]) == example["targets_pretokenized"].decode()
            assert vocabulary.decode(example["inputs"]) == example["inputs_pretokenized"].decode()


@pytest.mark.slow
def test_04_id_zero_never_occurs_even_where_it_is_text(examples: dict, tmp_path: Path) -> None:
    for name in with_sample():
        for example in examples[name]:
            assert 0 not in example["inputs"] and 0 not in example["targets"], name
    with settings.override(tokenizer=str(zero_is_text(tmp_path / "tokenizer"))):
        vocabulary = HuggingFaceVocabulary()
        seen = set()
        for name in of_every_kind():
            for example in first(name):
                assert 0 not in example["inputs"] and 0 not in example["targets"], name
                assert vocabulary.decode(example["inputs"]) == example["inputs_pretokenized"].decode()
                seen |= set(vocabulary.to_hf(example["inputs"]).tolist())
        assert 0 in seen  # "!" really is somewhere in these prompts


def zero_is_text(folder: Path) -> Path:
    """A byte-level BPE with "!" at id 0 and its control tokens at the end, as GPT-2 and Qwen have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["!"], trainer)
    # Byte "e" changes places with "!", so that id 0 is met in every prompt.
    description = json.loads(tokenizer.to_str())
    vocabulary = description["model"]["vocab"]
    vocabulary["e"], vocabulary["!"] = vocabulary["!"], vocabulary["e"]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    assert tokenizer.token_to_id("e") == 0
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": None, "eos_token": "<|end|>"}))
    return folder


@pytest.mark.slow
def test_05_targets_end_with_the_one_eos_and_inputs_have_neither_bos_nor_eos(examples: dict) -> None:
    for name in with_sample():
        features = task(name).output_features
        assert features["targets"].add_eos and not features["inputs"].add_eos
        vocabulary = features["targets"].vocabulary
        for example in examples[name]:
            assert example["targets"][-1] == vocabulary.eos_id
            assert np.sum(example["targets"] == vocabulary.eos_id) == 1
            assert not np.isin(example["inputs"], [vocabulary.eos_id, vocabulary.bos_id]).any()
            assert example["inputs_pretokenized"].decode().endswith(separator(name))


def test_06_nothing_before_the_cache_takes_a_sequence_length() -> None:
    for name in NAMES:
        steps = task(name).preprocessors
        places = [i for i, step in enumerate(steps) if isinstance(step, seqio.CacheDatasetPlaceholder)]
        assert len(places) == 1 and task(name).supports_caching and not task(name).requires_caching
        for step in steps[: places[0]]:
            assert not {"sequence_length", "seed", "seeds"} & set(inspect.signature(step).parameters)


@pytest.mark.slow
def test_07_short_lengths_never_cut_the_end_of_a_prompt_nor_the_answer(examples: dict) -> None:
    kept = 0
    for name in with_sample():
        full = {key(example): example for example in examples[name]}
        for example in first(name, sequence_length={"inputs": 160, "targets": 24}):
            kept += 1
            assert len(example["inputs"]) <= 160 and len(example["targets"]) <= 24
            assert example["inputs_pretokenized"].decode().endswith(separator(name))
            vocabulary = task(name).output_features["inputs"].vocabulary
            assert vocabulary.decode(example["inputs"]) == example["inputs_pretokenized"].decode()
            assert example["targets"][-1] == vocabulary.eos_id
            whole = full.get(key(example))
            if whole and task(name).pair.kind != "rank":  # (a shorter list of documents has another order)
                assert example["targets"].tolist() == whole["targets"].tolist()
    assert kept > len(with_sample())


def test_08_splits_shards_and_counts() -> None:
    for name in NAMES:
        splits = set(task(name).splits)
        assert splits <= {"train", "validation", "test"} and ("test" in splits or splits == {"train"})
    for name in (
        "inters_query_matching_msrp",
        "inters_query_matching_msrp_choices",
        "inters_fact_retrieval_scifact",
    ):
        whole = ids(task(name).get_dataset(split="validation", shuffle=False))
        for shuffle in (False, True):
            shards = [
                ids(
                    task(name).get_dataset(
                        split="validation", shuffle=shuffle, seed=3, shard_info=seqio.ShardInfo(i, 3)
                    )
                )
                for i in range(3)
            ]
            assert sorted(itertools.chain.from_iterable(shards)) == sorted(whole)
        rows = len(dict.fromkeys(whole))
        assert task(name).num_input_examples("validation") == rows


def ids(dataset: tf.data.Dataset) -> list[str]:
    return [example["example_id"].decode() for example in dataset.as_numpy_iterator()]


@pytest.mark.slow
def test_09_extra_fields_stay_in_tasks_and_leave_mixtures(examples: dict) -> None:
    for name in with_sample():
        for example in examples[name]:
            assert set(example) == {"inputs", "targets", *task(name).form.fields}
    dataset = seqio.get_mixture_or_task("inters_fact_verification").get_dataset(
        {"inputs": 512, "targets": 64}, "train", seed=0
    )
    assert set(dataset.element_spec) == {"inputs", "targets"}
    assert set(next(dataset.as_numpy_iterator())) == {"inputs", "targets"}


@pytest.mark.slow
def test_10_metric_functions_have_seqios_signatures(examples: dict) -> None:
    for name in with_sample():
        own = task(name)
        scored = own.form.choices
        assert bool(own.score_metric_fns) == scored and bool(own.predict_metric_fns) != scored
        assert len(own.metric_objs) == 1
        for example in examples[name]:
            text = example["targets_pretokenized"].decode()
            assert own.postprocess_fn(f" {text}\n", example=example, is_target=False) == text.strip()
            target = own.postprocess_fn(text, example=example, is_target=True)
            assert set(target) in (
                {"target", "references"},
                {"example_id", "choice", "gold"},
                {"split", "query_id", "doc_id", "first_stage_rank", "choice"},
            )


@pytest.mark.slow
def test_11_generated_forms_give_full_marks_to_their_targets(examples: dict) -> None:
    """The metric function of every task on its first examples, as the Evaluator calls it."""
    for name in with_sample():
        own = task(name)
        for function in own.predict_metric_fns:
            texts = [example["targets_pretokenized"].decode() for example in examples[name]]
            targets = [
                own.postprocess_fn(text, example=example, is_target=True)
                for text, example in zip(texts, examples[name], strict=True)
            ]
            found = function(targets, [own.postprocess_fn(text) for text in texts])
            found.pop("macro_f1", None)  # is over labels that three examples may lack
            assert_full_marks(name, found)


@pytest.mark.slow
def test_11_13_14_the_evaluator_gives_full_marks_to_an_oracle(tmp_path: Path) -> None:
    """One evaluation of every set of metrics and every scored form, lengths found by the Evaluator itself."""
    kinds = {}
    for name in with_sample():
        form, pair = task(name).form, task(name).pair
        if "test" in task(name).splits and (form.choices or not form.suffix):  # others are for training only
            kinds.setdefault((form.suffix, form.choices or pair.kind, pair.metrics, pair.multi_label), name)
    assert {task(name).pair.kind for name in kinds.values()} == {"generate", "classify", "rank"}
    for name in kinds.values():
        split = "validation" if "validation" in task(name).splits else "test"
        evaluator = seqio.Evaluator(
            name, seqio.DecoderFeatureConverter(pack=False), eval_split=split, log_dir=str(tmp_path)
        )
        rows = list(evaluator.cached_task_datasets[name].as_numpy_iterator())
        metrics, _ = evaluator.evaluate(
            compute_metrics=True,
            predict_fn=oracle_answers,
            score_fn=lambda dataset, rows=rows: oracle_scores(rows),
        )
        found = metrics.result()[name]
        assert all(isinstance(value, float) for value in found.values()), (name, found)
        assert_full_marks(name, found)


def assert_full_marks(name: str, found: dict[str, float]) -> None:
    assert found, name
    for metric, value in found.items():
        if metric in ("unparsed", "tied"):
            assert value == 0, (name, metric)
        elif metric in ("nDCG@10", "RR@10", "R@10", "R@100"):
            assert 0 < value <= 1, (name, metric)
        elif metric == "macro_f1":
            # The mean over all labels: one that no question of a small split has counts 0.
            assert 0 < value <= 100 and found["accuracy"] == 100.0, (name, metric, value)
        elif metric in ("turn_exact_match", "turn_f1", "quac_f1"):
            # One annotator at a time is left out: an answer that only one gives does not reach 100.
            assert 50 < value <= 100, (name, metric, value)
        elif metric not in (
            "examples", "queries", "queries_missing", "documents", "parts", "low_agreement",
        ):  # fmt: skip
            # BLEU-2 has nothing to count where every text is one word
            assert value == pytest.approx(100.0), (name, metric, value)


def oracle_answers(dataset: tf.data.Dataset) -> list[tuple[int, list[int]]]:
    """The targets themselves, as a model would generate them: padded to one length."""
    rows = [(int(index), example) for index, example in dataset.as_numpy_iterator()]
    answers = [
        example["decoder_target_tokens"][example["decoder_loss_weights"] > 0].tolist() for _, example in rows
    ]
    longest = max(map(len, answers))
    return [(index, ids + [0] * (longest - len(ids))) for (index, _), ids in zip(rows, answers, strict=True)]


def oracle_scores(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    scores = []
    for index, row in enumerate(rows):
        text = row["targets_pretokenized"]
        if "gold" in row:  # of several labels each one is right
            right = text in row["gold"].split(b", ")
        else:
            right = (text == b"Yes") == (row["relevance"] > 0)
        # The amount depends on grade, document and label, so that nothing ties.
        amount = 1.0 + float(row.get("relevance", 0)) - 1e-4 * float(row.get("first_stage_rank", 0))
        amount -= 1e-6 * float(row["choice"]) if "gold" in row else 0.0
        scores.append((index, amount if right else -amount))
    return scores


def test_12_cached_examples_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout that seqio_cache_tasks writes, written here without Beam."""
    for name in ("inters_query_matching_msrp_choices", "inters_reading_comprehension_squad"):
        own = task(name)
        folder = tmp_path / name
        folder.mkdir()
        dataset = own.preprocess_precache(own.source.get_dataset("validation", shuffle=False), seed=0)
        cached = list(dataset.as_numpy_iterator())
        with tf.io.TFRecordWriter(str(folder / "validation.tfrecord-00000-of-00001")) as writer:
            for example in cached:
                writer.write(seqio.utils.dict_to_tfexample(example).SerializeToString())
        info = {
            "num_shards": 1,
            "features": {
                key: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
                for key, spec in dataset.element_spec.items()
            },
            "seqio_version": seqio.__version__,
        }
        (folder / "info.validation.json").write_text(json.dumps(info))
        (folder / "stats.validation.json").write_text(json.dumps({"examples": len(cached)}))
        (folder / "COMPLETED").write_text("")
        monkeypatch.setattr(seqio.utils, "_GLOBAL_CACHE_DIRECTORIES", [str(tmp_path)])
        monkeypatch.setattr(own, "_cache_dir", None)
        read = list(own.get_dataset(split="validation", use_cached=True, shuffle=False).as_numpy_iterator())
        assert len(read) == len(cached)
        for ours, theirs in zip(read, cached, strict=True):
            assert {key: np.asarray(value).tolist() for key, value in ours.items()} == {
                key: np.asarray(value).tolist() for key, value in theirs.items()
            }
        short = own.get_dataset({"inputs": 100, "targets": 20}, "validation", use_cached=True, shuffle=False)
        ends = [example["inputs_pretokenized"].decode()[-1] for example in short.as_numpy_iterator()]
        assert len(ends) < len(cached) and set(ends) <= {"\n"}
        monkeypatch.setattr(own, "_cache_dir", None)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [False, True])
def test_decoder_feature_converter_puts_the_loss_on_the_targets_only(pack: bool) -> None:
    lengths = {"inputs": 1024, "targets": 256}
    name = "inters_fact_verification"
    options: dict[str, Any] = {"shuffle": False, "num_epochs": 1, "seed": 0}
    plain = seqio.get_mixture_or_task(name).get_dataset(lengths, "train", **options)
    examples = list(plain.take(40).as_numpy_iterator())
    dataset = seqio.get_dataset(
        name,
        lengths,
        dataset_split="train",
        feature_converter=seqio.DecoderFeatureConverter(pack=pack),
        **options,
    )
    wanted = [example["targets"].tolist() for example in examples]
    found: list[list[int]] = []
    for row in dataset.take(40).as_numpy_iterator():
        weights, tokens = row["decoder_loss_weights"], row["decoder_target_tokens"]
        segments = row.get("decoder_segment_ids", (tokens > 0).astype(int))
        for segment in range(1, int(segments.max()) + 1):
            found.append(tokens[(segments == segment) & (weights > 0)].tolist())
    assert len(found) >= 40
    assert found[:40] == wanted
