"""Conversion: [bos] + inputs + targets in the model's own ids; what cannot be learnt is dropped, counted."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from inters_jax.data.conversion import check_vocabulary, reader
from inters_jax.data.pass_files import StoreError


class Letters:
    """One id a character; SeqIO ids are shifted by `offset`, as for tokenizers whose id 0 is text."""

    def __init__(self, bos=1, eos=2, offset=0, first=3):
        self.offset, self.first = offset, first
        self.bos_id = None if bos is None else bos + offset
        self.eos_id = None if eos is None else eos + offset

    def encode(self, text):
        return [self.offset + self.first + ord(c) % 200 for c in text]

    def to_hf(self, ids):
        return [i - self.offset for i in ids]


class OwnTask:
    """Offers the fast path: (inputs, targets) as given, in SeqIO ids, with the pass in every id."""

    name = "inters_x_y"
    pair = SimpleNamespace(inputs=("y",))

    def __init__(self, examples, report=None):
        self.examples = examples
        self.last_report = Counter(report or {})

    def num_input_examples(self, split):
        return len(self.examples)

    def encoded_examples(self, split, *, seed, epoch, max_length, vocabulary=None):
        for number, (inputs, targets) in enumerate(self.examples):
            yield SimpleNamespace(
                input_ids=np.array(inputs, np.int32) + epoch,
                target_ids=np.array(targets, np.int32),
                example=SimpleNamespace(example_id=f"{split}/{number}", extras={}),
            )


def converted(task, vocabulary, max_length=100, pass_=0):
    report = Counter()
    made = reader(task, vocabulary, split="train", seed=0, max_length=max_length)
    examples = [(t.tolist(), s, i) for t, s, i in made.read(pass_, report)]
    return examples, report


def test_bos_goes_before_the_inputs():
    examples, _ = converted(OwnTask([([5, 6], [7, 2])]), Letters())
    assert examples == [([1, 5, 6, 7, 2], 3, "train/0")]


def test_without_bos_nothing_is_added():
    examples, _ = converted(OwnTask([([5, 6], [7, 2])]), Letters(bos=None))
    assert examples == [([5, 6, 7, 2], 2, "train/0")]


def test_shifted_ids_become_the_models_own():
    # SeqIO ids 1.. stand for the model's ids 0..: text may be id 0.
    examples, _ = converted(OwnTask([([1, 6], [7, 3])]), Letters(offset=1))
    assert examples == [([1, 0, 5, 6, 2], 3, "train/0")]


def test_the_pass_is_the_epoch_of_the_draws():
    examples, _ = converted(OwnTask([([5, 6], [7, 2])]), Letters(), pass_=3)
    assert examples[0][0] == [1, 8, 9, 7, 2]


def test_what_cannot_be_learnt_is_dropped_and_counted():
    task = OwnTask([([5] * 6, [7, 2]), ([5], []), ([5], [7, 2])])
    examples, report = converted(task, Letters(), max_length=8)
    assert [i for _, _, i in examples] == ["train/2"]
    assert report == {"dropped: longer than max_length": 1, "dropped: empty target": 1}


def test_a_sequence_of_exactly_max_length_is_kept():
    examples, report = converted(OwnTask([([5] * 5, [7, 2])]), Letters(), max_length=8)
    assert len(examples[0][0]) == 8
    assert not report


def test_without_bos_and_inputs_the_first_token_is_given():
    examples, report = converted(OwnTask([([], [7, 8, 2]), ([], [2])]), Letters(bos=None))
    assert examples == [([7, 8, 2], 1, "train/0")]
    assert report == {"dropped: a single token, nothing to predict it from": 1}


def test_the_report_of_our_tasks_is_taken_over():
    report = {
        "rows read": 9,
        "examples written": 7,
        "dropped: longer than the limit": 2,
        "examples with shortened documents": 3,
        "demonstrations left out for length": 1,
    }
    _, counted = converted(OwnTask([], report), Letters())
    assert counted == {
        "rows": 9,
        "dropped: longer than the limit": 2,
        "shortened": 3,
        "demonstrations left out for length": 1,
    }


def test_the_raw_folder_is_that_of_the_pair():
    made = reader(OwnTask([([5], [7])]), Letters(), split="train", seed=0, max_length=9)
    assert (made.folders, made.rows) == (("y",), 1)


def test_equal_encodings_are_accepted():
    check_vocabulary("t", "inputs", Letters(), Letters())
    check_vocabulary("t", "inputs", Letters(offset=1), Letters())


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        (Letters(first=4), "it encodes 'Answer: yes' as"),
        (Letters(eos=9), "ends with id 9, the tokenizer with 2"),
    ],
)
def test_another_vocabulary_is_refused(theirs, named):
    with pytest.raises(StoreError, match=named):
        check_vocabulary("t", "inputs", theirs, Letters())


def test_a_task_without_targets_is_refused():
    task = SimpleNamespace(name="odd", output_features={"text": None})
    with pytest.raises(StoreError, match="odd has the features text"):
        reader(task, Letters(), split="train", seed=0, max_length=9)


def test_documents_of_queries_are_not_read_from_a_cache():
    task = OwnTask([([5], [7])])
    task.form, task.cache_dir = SimpleNamespace(documents=True), "caches/inters_x_y"
    with pytest.raises(StoreError, match="does not keep the documents of a query together; move its cache"):
        reader(task, Letters(), split="train", seed=0, max_length=9)
