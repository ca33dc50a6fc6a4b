"""The bridge to seqio.Evaluator: order, padding, BOS, shifted ids, questions, and failures that stay
alone."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio
import tensorflow as tf
from flax import nnx
from tokenizers import Tokenizer, models, pre_tokenizers

from inters_jax.evaluation.judge import Judge
from inters_jax.evaluation.tasks import judge_task, judged_tasks
from inters_jax.inference.generate import GenerationCounts
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from seqio_tasks.base import UserError
from seqio_tasks.vocabularies import HuggingFaceVocabulary

WORDS = ["yes", "<s>", "</s>", "no", "is", "it", "red", "blue", "maybe", "very", "?"]
ROWS = [("is it red ?", "yes"), ("it ?", "no"), ("is it very very blue ?", "maybe")]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """Words as tokens; id 0 is the text "yes", so SeqIO ids are the model's plus one."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    found = HuggingFaceVocabulary(str(folder))
    assert found.id_offset == 1
    return found


@pytest.fixture(scope="module")
def loaded():
    config = DecoderConfig(
        vocab_size=16, hidden_size=16, intermediate_size=16, num_layers=1, num_heads=2, max_position=128
    )
    return SimpleNamespace(config=config, model=Decoder(config, rngs=nnx.Rngs(params=0)), eos_id=2, bos_id=1)


@pytest.fixture
def judge(loaded, vocabulary):
    return Judge(loaded, vocabulary, max_new_tokens=4)


class FakeGenerator:
    """Answers of different lengths, looked up by the prompt."""

    def __init__(self, answers):
        self.answers, self.prompts, self.counts = answers, [], GenerationCounts()

    def generate(self, prompts, progress=None):
        self.prompts += prompts
        self.counts.truncated += 1
        return [self.answers[len(prompt)] for prompt in prompts]


class FakeScorer:
    """Scores each answer by its number of tokens and its first token."""

    def __init__(self):
        self.items, self.labels = [], []

    def loglikelihood(self, items, progress=None):
        self.items += items
        return [[-len(answer) - answer[0] / 100 for answer in answers] for _, answers in items]

    def label_logits(self, prompts, labels, normalised=False, progress=None):
        assert normalised
        self.labels.append(list(labels))
        return np.asarray([[-1 - label / 100 for label in labels] for _ in prompts], np.float32)


@pytest.fixture
def register(vocabulary):
    """Registers a task over rows of text fields for the length of a test."""
    added = []

    def add(name, rows, metric_fns, postprocess_fn=None):
        def examples(split, shuffle_files=False, seed=None):
            columns = {key: [row[key] for row in rows] for key in rows[0]}
            return tf.data.Dataset.from_tensor_slices(columns)

        def tokenize(dataset):
            def encode(example):
                inputs, targets = (
                    vocabulary.encode_tf(example["inputs"]),
                    vocabulary.encode_tf(example["targets"]),
                )
                targets = tf.concat([targets, [vocabulary.eos_id]], 0)
                kept = {
                    f"{key}_pretokenized" if key in ("inputs", "targets") else key: example[key]
                    for key in example
                }
                return kept | {"inputs": inputs, "targets": targets}

            return dataset.map(encode)

        feature = seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32)
        source = seqio.FunctionDataSource(examples, splits=["test"], num_input_examples={"test": len(rows)})
        seqio.TaskRegistry.add(
            name,
            source=source,
            preprocessors=[tokenize],
            output_features={"inputs": feature, "targets": feature},
            metric_fns=metric_fns,
            postprocess_fn=postprocess_fn,
        )
        added.append(name)
        return name

    yield add
    for name in added:
        seqio.TaskRegistry.remove(name)


def generation_rows():
    return [{"inputs": question, "targets": answer} for question, answer in ROWS]


def test_predictions_of_different_lengths_reach_the_metric_in_order(judge, register):
    seen = {}

    def metric(targets, predictions):
        seen.update(targets=targets, predictions=predictions)
        return {"right": np.mean([t == p for t, p in zip(targets, predictions, strict=True)])}

    name = register("bridge_generation", generation_rows(), [metric])
    # Prompts have 5, 3 and 7 tokens with BOS; the answers are in the model's ids: yes = 0, no = 3, EOS = 2.
    judge.generator = FakeGenerator({5: [0, 2], 3: [9, 9, 3, 3], 7: [2]})
    result = judge.run(name, "test")
    assert judge.generator.prompts[1] == [1, 5, 10]  # <s> it ?
    assert seen["targets"] == ["yes", "no", "maybe"]
    assert seen["predictions"] == ["yes", "very very no no", ""]
    assert result.metrics == {"right": pytest.approx(1 / 3)}
    assert result.counts["items"] == 3
    assert result.counts["answers cut at the length limit"] == 1
    assert result.counts["empty answers"] == 1
    assert [row["prediction"] for row in result.examples] == ["yes", "very very no no", ""]
    assert next(iter(result.examples))["inputs_pretokenized"] == "is it red ?"


def test_answers_are_saved_before_the_last_one_is_given(judge, register, tmp_path):
    name = register("bridge_saved_early", generation_rows(), [lambda targets, predictions: {"n": 1.0}])
    judge.generator = FakeGenerator({5: [0, 2], 3: [3, 2], 7: [8, 2]})
    # Prompts of 4, 2 and 6 tokens with answers of 4: two calls of 7 tokens are full behind the second.
    judge.generation_tokens = 7
    generate, sizes = judge.generator.generate, []

    def dies(prompts, progress=None):
        sizes.append(len(prompts))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return generate(prompts)

    judge.generator.generate = dies
    with pytest.raises(KeyboardInterrupt):
        judge.run(name, "test", folder=tmp_path)
    result = judge.run(name, "test", folder=tmp_path)
    assert sizes == [2, 1, 1] and result.counts["rows resumed"] == 2
    assert [row["prediction"] for row in result.examples] == ["yes", "no", "maybe"]


def test_the_loss_of_targets_is_that_of_a_plain_forward_pass(loaded, vocabulary, register):
    def metric(targets, predictions):
        return {"right": 0.0}

    name = register("bridge_losses", generation_rows(), [metric])
    result = Judge(loaded, vocabulary, max_new_tokens=4, target_loss=True).run(name, "test")
    # In the model's ids, <s> in front and </s> behind.
    rows = [([1, 4, 5, 6, 10], [0, 2]), ([1, 5, 10], [3, 2]), ([1, 4, 5, 9, 9, 7, 10], [8, 2])]
    losses, bits, size = [], 0.0, 0
    for (prompt, target), (_, text) in zip(rows, ROWS, strict=True):
        tokens = jnp.asarray([prompt + target], jnp.int32)
        places = jnp.arange(tokens.shape[1])[None]
        logits = loaded.model(tokens, jnp.ones_like(tokens), places)[0]
        logp = np.asarray(jax.nn.log_softmax(logits, axis=-1), np.float64)
        score = sum(logp[len(prompt) - 1 + n, token] for n, token in enumerate(target))
        losses.append(-score / len(target))
        bits -= score / np.log(2)
        size += len(text)
    assert result.metrics["target_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.metrics["target_bits_per_byte"] == pytest.approx(bits / size, rel=1e-5)
    found = [record["target_score"] / -record["target_tokens"] for record in result.examples]
    np.testing.assert_allclose(found, losses, rtol=1e-5)


def test_the_loss_of_labels_is_that_of_the_right_ones(judge, register):
    rows = choice_rows(["yes", "no"])
    for row in rows[2:4]:
        row["gold"] = "no, yes"  # several are right: the mean
    name = register("bridge_label_losses", rows, [scores_metric])
    judge.scorer, judge.target_loss = FakeScorer(), True
    result = judge.run(name, "test")
    # Scores are -1 (yes) and -1.03 (no); the gold of the last question, "maybe", is no label: it has no loss.
    assert result.metrics["target_loss"] == pytest.approx((1 + 1.015) / 2)
    judge.target_loss = False
    assert "target_loss" not in judge.run(name, "test").metrics


def choice_rows(labels):
    return [
        {"inputs": question, "targets": label, "example_id": str(number), "gold": gold}
        for number, (question, gold) in enumerate(ROWS)
        for label in labels
    ]


def scores_metric(targets, scores):
    return {"sum": float(np.sum(scores)), "rows": len(scores)}


def test_one_token_labels_take_the_fast_way_without_eos(judge, register):
    name = register("bridge_labels", choice_rows(["yes", "no"]), [scores_metric])
    judge.scorer = FakeScorer()
    result = judge.run(name, "test")
    assert judge.scorer.labels == [[0, 3]] and not judge.scorer.items
    assert result.counts["items"] == 6 and result.counts["questions"] == 3
    np.testing.assert_allclose([row["score"] for row in result.examples], [-1, -1.03] * 3, rtol=1e-6)


def test_labels_of_several_tokens_share_one_prompt_and_keep_eos_only_when_it_decides(judge, register):
    name = register("bridge_long_labels", choice_rows(["very red", "very", "no"]), [scores_metric])
    judge.scorer = FakeScorer()
    judge.run(name, "test")
    assert len(judge.scorer.items) == 3
    prompt, answers = judge.scorer.items[0]
    assert prompt == [1, 4, 5, 6, 10]
    assert answers == [[9, 6, 2], [9, 2], [3, 2]]  # "very" begins "very red": the EOS tells them apart
    other = register("bridge_distinct_labels", choice_rows(["very red", "no"]), [scores_metric])
    judge.run(other, "test")
    assert judge.scorer.items[-1][1] == [[9, 6], [3]]


def test_a_limit_never_cuts_a_question_off_from_its_answers(judge, register):
    name = register("bridge_limit", choice_rows(["yes", "no"]), [scores_metric])
    judge.scorer = FakeScorer()
    result = judge.run(name, "test", questions=2)
    assert result.counts["items"] == 4 and result.metrics["rows"] == 4


def test_rows_of_one_question_need_not_be_neighbours(judge, register):
    rows = choice_rows(["very red", "no"])
    name = register("bridge_shuffled", rows[::2] + rows[1::2], [scores_metric])
    judge.scorer = FakeScorer()
    result = judge.run(name, "test")
    assert len(judge.scorer.items) == 3
    expected = [-2.09] * 3 + [-1.03] * 3
    np.testing.assert_allclose([row["score"] for row in result.examples], expected)


def test_a_failing_metric_fails_its_own_task_only(judge, register, tmp_path):
    def broken(targets, predictions):
        raise ZeroDivisionError("no metric today")

    def fine(targets, predictions):
        return {"ok": 1.0}

    bad = register("bridge_broken", generation_rows(), [broken])
    good = register("bridge_fine", generation_rows(), [fine])
    judge.generator = FakeGenerator({5: [0, 2], 3: [3, 2], 7: [8, 2]})
    result = {"metrics": {}, "counts": {}, "skipped": {}, "failed": {}}
    for name in (bad, good):
        judge_task(judge, name, "test", tmp_path, result, None, 0, skip=False)
    assert "no metric today" in result["failed"][bad]
    assert result["metrics"] == {good: {"ok": 1.0}}
    lines = (tmp_path / good / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == ["yes", "no", "maybe"]


def test_a_model_without_numbers_is_refused(judge, register):
    name = register("bridge_nan", choice_rows(["yes", "no"]), [scores_metric])
    judge.scorer = FakeScorer()
    judge.scorer.label_logits = lambda prompts, labels, **_: np.full((len(prompts), 2), np.nan, np.float32)
    with pytest.raises(UserError, match="an answer to 'is it red \\?' has the score nan"):
        judge.run(name, "test")


def test_what_cannot_be_judged_is_said(judge, register):
    name = register("bridge_plain", generation_rows(), [])
    with pytest.raises(UserError, match="has no metrics"):
        judge.run(name, "test")
    with pytest.raises(UserError, match=r"no split 'validation'; it has test"):
        judge.run(name, "validation")


def test_a_mixture_stands_for_the_judged_forms_of_its_tasks():
    assert judged_tasks(["inters_entity_retrieval"]) == ["inters_entity_retrieval_dbpedia_rerank"]
    assert judged_tasks(["inters_query_matching"]) == ["inters_query_matching_msrp_choices"]
    assert judged_tasks(["inters_query_matching_msrp"]) == ["inters_query_matching_msrp"]
    with pytest.raises(UserError, match="did you mean inters_query_matching"):
        judged_tasks(["inters_query_maching"])
