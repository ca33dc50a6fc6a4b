"""prepare: a third-party SeqIO task or mixture -> a store; resumed, checked, refused when it is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tokenizers
from command_stand_ins import prepare

from inters_jax import prepare as prepare_module
from inters_jax.data import provenance
from inters_jax.data.loader import PackedBatches
from inters_jax.data.pass_files import PassWriter, StoreError
from inters_jax.data.token_store import TokenStore
from seqio_tasks import settings as task_settings
from seqio_tasks.vocabularies import HuggingFaceVocabulary

COLOURS = ("red", "green", "blue", "white", "black")


def make_tokenizer(folder, bos="<s>", size=300):
    """A byte-level BPE trained on a few words; BOS is named in the config or not there at all."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"The {colour} house number is what?" for colour in COLOURS], trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"eos_token": "</s>", "pad_token": "<pad>"} | ({"bos_token": bos} if bos else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return str(folder)


def add_task(name, vocabulary, rows, draw=False, sized=True):
    """A stock SeqIO task of questions and colours; with `draw`, its wording follows the seed."""

    def dataset(split, shuffle_files=False, seed=None):
        texts = {
            "inputs": [f"What is the colour of the old house number {i}?\n" for i in range(rows)],
            "targets": [COLOURS[i % 5] for i in range(rows)],
            "id": [f"house-{i}" for i in range(rows)],
        }
        return tf.data.Dataset.from_tensor_slices(texts)

    @seqio.map_over_dataset(num_seeds=1)
    def reword(example, seed):
        shout = tf.random.stateless_uniform([], seed) < 0.5
        asked = tf.where(shout, tf.strings.upper(example["inputs"]), example["inputs"])
        return example | {"inputs": asked}

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            dataset, splits=["train"], num_input_examples={"train": rows} if sized else None
        ),
        preprocessors=[
            *([reword] if draw else []),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos,
        ],
        output_features={
            "inputs": seqio.Feature(vocabulary, add_eos=False),
            "targets": seqio.Feature(vocabulary, add_eos=True),
        },
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "with_bos")


@pytest.fixture(scope="module")
def third_party(tokenizer):
    """Tasks and mixtures as another project would register them."""
    vocabulary = HuggingFaceVocabulary(tokenizer)
    add_task("third_party_plain", vocabulary, 30)
    add_task("third_party_worded", vocabulary, 12, draw=True)
    add_task("third_party_foreign", seqio.ByteVocabulary(), 5)
    seqio.MixtureRegistry.add(
        "third_party_by_size",
        ["third_party_plain", "third_party_worded"],
        default_rate=lambda task: min(20, task.num_input_examples("train")),
    )
    seqio.MixtureRegistry.add(
        "third_party_by_share", [("third_party_plain", 1.0), ("third_party_worded", 3.0)]
    )
    return tokenizer


@pytest.fixture
def ready(third_party, tmp_path):
    """The arguments of `prepare` for the third_party, into a new folder."""
    return {
        "store_dir": str(tmp_path / "store"),
        "tokenizer": third_party,
        "raw_dir": str(tmp_path),
        "max_length": 128,
        "modules": (),
    }


def encode(tokenizer, text):
    return tokenizers.Tokenizer.from_file(f"{tokenizer}/tokenizer.json").encode(text).ids


def test_a_stock_task_becomes_sequences(ready):
    store = prepare("third_party_plain", **ready)
    inputs = encode(ready["tokenizer"], "What is the colour of the old house number 7?\n")
    targets = encode(ready["tokenizer"], "blue")
    assert store.tokens("third_party_plain", 0, 7).tolist() == [1, *inputs, *targets, 2]
    assert store.target_start("third_party_plain", 0, 7) == 1 + len(inputs)
    assert store.example_id("third_party_plain", 0, 7) == "house-7"
    assert store.examples("third_party_plain", 0) == store.epoch_examples == 30
    facts = store.manifest["tokenizer"]
    assert (facts["bos_id"], facts["eos_id"], facts["vocab_size"]) == (1, 2, 295)
    assert store.manifest["dtype"] == "<u2"


def test_without_bos_the_sequence_starts_with_the_inputs(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "no_bos", bos=None)
    add_task("third_party_no_bos", HuggingFaceVocabulary(tokenizer), 3)
    store = prepare(
        "third_party_no_bos",
        str(tmp_path / "store"),
        tokenizer=tokenizer,
        raw_dir=str(tmp_path),
        max_length=64,
        modules=(),
    )
    inputs = encode(tokenizer, "What is the colour of the old house number 0?\n")
    assert store.tokens("third_party_no_bos", 0, 0).tolist() == [*inputs, *encode(tokenizer, "red"), 2]
    assert store.manifest["tokenizer"]["bos_id"] is None


def test_further_passes_are_worded_anew_or_left_out(ready):
    store = prepare("third_party_by_size", passes=3, **ready)
    # This task draws no wording: one pass holds all it has.
    assert store.passes("third_party_plain") == 1
    assert store.passes("third_party_worded") == 3
    passes = [[store.tokens("third_party_worded", p, i).tolist() for i in range(12)] for p in range(3)]
    assert passes[0] != passes[1] != passes[2]


def test_rates_that_count_examples_make_the_epoch(ready):
    store = prepare("third_party_by_size", **ready)
    assert [store.rate(task) for task in ("third_party_plain", "third_party_worded")] == [20.0, 12.0]
    assert store.epoch_examples == 32


def test_rates_that_are_shares_leave_the_epoch_at_all_examples(ready):
    store = prepare("third_party_by_share", **ready)
    assert [store.rate(task) for task in ("third_party_plain", "third_party_worded")] == [1.0, 3.0]
    assert store.epoch_examples == 42


def test_too_long_examples_are_dropped_and_counted(ready, capsys):
    lengths = [
        2
        + len(encode(ready["tokenizer"], f"What is the colour of the old house number {i}?\n"))
        + len(encode(ready["tokenizer"], COLOURS[i % 5]))
        for i in range(30)
    ]
    limit = sorted(lengths)[10]
    kept = sum(length <= limit for length in lengths)
    assert 0 < kept < 30
    ready["max_length"] = limit
    store = prepare("third_party_plain", **ready)
    counts = store.manifest["tasks"]["third_party_plain"]["passes"][0]
    assert (counts["rows"], counts["kept"]) == (30, kept)
    assert counts["dropped"] == {"longer than max_length": 30 - kept}
    assert store.longest == limit
    printed = capsys.readouterr().out
    assert f"dropped, longer than max_length: third_party_plain: {30 - kept}" in printed


def test_a_current_store_is_returned_at_once_and_without_frameworks(ready, tokenizer):
    prepare("third_party_plain", **ready)
    program = (
        "import sys\nfrom inters_jax.config import call\nfrom inters_jax.prepare import prepare\n"
        f"call(prepare, mixture_or_task_name='third_party_plain', **{ready!r})\n"
        "print([m for m in ('tensorflow', 'seqio', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "is current: 1 tasks, 30 examples; nothing to do" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_a_stale_store_is_refused_with_what_differs_and_rebuilt_on_demand(ready):
    before = prepare("third_party_plain", **ready).fingerprint
    changed = ready | {"max_length": 64}
    with pytest.raises(StoreError, match=r"max_length is 128 in the store, 64 now"):
        prepare("third_party_plain", seed=0, **changed)
    with pytest.raises(
        StoreError, match=r"name is 'third_party_plain' in the store, 'third_party_worded' now"
    ):
        prepare("third_party_worded", **ready)
    assert TokenStore.open(ready["store_dir"]).fingerprint == before
    assert prepare("third_party_plain", rebuild=True, **changed).fingerprint != before


def test_another_tokenizer_makes_the_store_stale(ready, tmp_path):
    prepare("third_party_plain", **ready)
    other = make_tokenizer(tmp_path / "other", size=280)
    with pytest.raises(StoreError, match="has another tokenizer"):
        prepare("third_party_plain", **(ready | {"tokenizer": other}))


def test_the_same_arguments_give_the_same_store(ready, tmp_path):
    first = prepare("third_party_by_size", passes=2, **ready)
    again = prepare("third_party_by_size", passes=2, **(ready | {"store_dir": str(tmp_path / "again")}))
    assert first.fingerprint == again.fingerprint


def test_an_interrupted_run_goes_on_with_the_next_task(ready, monkeypatch):
    written = []
    finish = PassWriter.finish

    def interrupted(writer):
        written.append(writer.folder.parent.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        return finish(writer)

    monkeypatch.setattr(PassWriter, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("third_party_by_size", **ready)
    with pytest.raises(StoreError, match="not a finished store"):
        TokenStore.open(ready["store_dir"])
    store = prepare("third_party_by_size", **ready)
    # The finished task is not written a second time, the interrupted one is.
    assert len(written) == 3
    assert written[1] == written[2] != written[0]
    assert store.examples("third_party_plain", 0) == 30
    assert store.examples("third_party_worded", 0) == 12


def test_what_another_run_left_behind_is_not_taken_over(ready):
    prepare("third_party_by_size", **ready).folder.rename(ready["store_dir"] + ".partial")
    store = prepare("third_party_plain", **(ready | {"max_length": 100}))
    assert store.tasks == ("third_party_plain",)
    assert sorted(path.name for path in store.folder.iterdir()) == ["manifest.json", "third_party_plain"]


def test_a_task_of_another_vocabulary_is_refused(ready):
    with pytest.raises(StoreError, match="is not the model's tokenizer"):
        prepare("third_party_foreign", **ready)


def test_an_unknown_name_is_answered_with_the_nearest(ready):
    with pytest.raises(StoreError, match="did you mean third_party_plain"):
        prepare("third_party_plan", **ready)


def test_a_folder_that_is_no_store_is_left_alone(ready, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="is no token store"):
        prepare("third_party_plain", rebuild=True, **ready)
    assert (tmp_path / "store" / "thesis.tex").read_text() == "precious"


def test_a_finished_store_needs_no_right_to_write(ready, monkeypatch):
    before = prepare("third_party_plain", **ready).fingerprint

    def refuse(path, **_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(prepare_module, "locked", refuse)
    assert prepare("third_party_plain", **ready).fingerprint == before
    with pytest.raises(StoreError, match=r"has to be written, but .* cannot be \(Read-only file system\)"):
        prepare("third_party_plain", rebuild=True, **(ready | {"max_length": 64}))


def test_a_split_that_is_not_there_is_named(ready):
    with pytest.raises(StoreError, match=r"third_party_plain: no split 'test' \(it has train\)"):
        prepare("third_party_plain", split="test", **ready)


def test_prepared_tasks_train(ready):
    store = prepare("third_party_by_size", passes=2, **ready)
    batches = PackedBatches(store, batch_rows=2, max_length=128, seed=0, epochs=2)
    seen = sum(batches.statistics(step)["examples"] for step in range(batches.total_steps))
    assert seen == 2 * 32
    assert np.all(batches.batch(0)["decoder_input_tokens"] < 295)


def test_segments_equal_those_of_seqios_own_converter(ready):
    store = prepare("third_party_plain", **ready)
    batches = PackedBatches(store, batch_rows=8, max_length=128, seed=0, epochs=1)
    ours = set()
    for batch in batches.iterate():
        for row, segments in enumerate(batch["decoder_segment_ids"]):
            for number in range(1, segments.max(initial=0) + 1):
                here = segments == number
                ours.add(
                    tuple(
                        tuple(batch[f"decoder_{name}"][row][here].tolist())
                        for name in ("input_tokens", "target_tokens", "loss_weights")
                    )
                )
    converter = seqio.DecoderFeatureConverter(pack=False, loss_on_targets_only=True, bos_id=1)
    lengths = {"inputs": 100, "targets": 28}
    dataset = seqio.get_mixture_or_task("third_party_plain").get_dataset(lengths, "train", shuffle=False)
    theirs = set()
    for example in converter(dataset, lengths).as_numpy_iterator():
        real = np.flatnonzero(example["decoder_target_tokens"]).max() + 1  # no id is 0 in these texts
        theirs.add(
            tuple(
                tuple(example[f"decoder_{name}"][:real].tolist())
                for name in ("input_tokens", "target_tokens", "loss_weights")
            )
        )
    assert len(ours) == 30
    assert ours == theirs


@pytest.fixture
def part_of_the_sample(tmp_path):
    """The topics of four sets of the packaged sample: everything else is missing."""
    sample = provenance.raw_folder(None)
    raw = tmp_path / "raw"
    for folder in ("gov2", "trec_covid", "trec_robust04", "boolq"):
        shutil.copytree(sample / folder, raw / folder)
    return {
        "store_dir": str(tmp_path / "store"),
        "tokenizer": str(sample / "tokenizer"),
        "raw_dir": str(raw),
        "max_length": 512,
    }


def test_tasks_without_data_are_reported_by_name(part_of_the_sample, capsys):
    store = prepare("inters_query_description", passes=2, **part_of_the_sample)
    assert store.tasks == tuple(
        f"inters_query_description_{name}" for name in ("gov2", "trec_covid", "trec_robust")
    )
    (task,) = store.manifest["without_data"]
    assert task == "inters_query_description_fire"
    assert "without data: inters_query_description_fire: " in capsys.readouterr().out
    assert {key for key in store.manifest["sources"] if key.startswith("raw:")} == {
        "raw:fire", "raw:gov2", "raw:trec_covid", "raw:trec_robust04"
    }  # fmt: skip
    rates = [store.rate(task) for task in store.tasks]
    # Six renderings of every row make an epoch, and in two epochs no row has the same wording twice.
    assert rates == [6 * store.examples(task, 0) for task in store.tasks]
    assert store.epoch_examples == sum(rates)
    assert [store.passes(task) for task in store.tasks] == [12, 12, 12]


def test_several_processes_write_the_same_bytes(part_of_the_sample, tmp_path):
    """A task that is finished, three to write and one without data, in whatever process."""
    name, by_one, by_two = "inters_query_description", tmp_path / "store", tmp_path / "two"
    prepare(name, passes=2, **part_of_the_sample)
    shutil.copytree(by_one / f"{name}_gov2", tmp_path / "two.partial" / f"{name}_gov2")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two.partial").rglob("*.bin")}
    prepare(name, passes=2, workers=2, **(part_of_the_sample | {"store_dir": str(by_two)}))
    names = sorted(path.relative_to(by_one) for path in by_one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(by_two) for path in by_two.rglob("*") if path.is_file())
    assert [path for path in names if (by_one / path).read_bytes() != (by_two / path).read_bytes()] == []
    for path, written in before.items():  # taken over, not written again
        assert (by_two / path.relative_to(tmp_path / "two.partial")).stat().st_mtime_ns == written


@pytest.mark.parametrize(("examples", "passes"), [(200, 1), (480, 2), (1440, 6), (2880, 12)])
def test_an_epoch_of_a_given_size_has_as_many_passes_as_it_needs(part_of_the_sample, examples, passes):
    store = prepare("inters_query_description", epoch_examples=examples, **part_of_the_sample)
    assert [store.passes(task) for task in store.tasks] == [passes] * 3  # 240 rows in three tasks
    assert store.epoch_examples == examples


def test_a_mixture_of_test_sets_is_mixed_by_their_rows(part_of_the_sample):
    store = prepare("inters_query_description", split="test", **part_of_the_sample)
    rates = [store.rate(task) for task in store.tasks]
    assert rates == [store.examples(task, 0) for task in store.tasks] and min(rates) > 0
    assert [store.passes(task) for task in store.tasks] == [1, 1, 1]
    assert store.epoch_examples == sum(rates)


def test_a_task_without_data_is_refused(part_of_the_sample):
    with pytest.raises(StoreError, match="inters_query_matching_msrp has no data"):
        prepare("inters_query_matching_msrp", **part_of_the_sample)


def test_our_tasks_are_stored_as_they_are_encoded(part_of_the_sample):
    name = "inters_reading_comprehension_boolq"
    store = prepare(name, passes=2, **part_of_the_sample)
    given = {key: part_of_the_sample[key] for key in ("raw_dir", "tokenizer", "max_length")}
    with task_settings.override(**given):
        task = seqio.TaskRegistry.get(name)
        for pass_ in range(2):
            encoded = list(task.encoded_examples("train", seed=0, epoch=pass_, max_length=512))
            assert len(encoded) == store.examples(name, pass_)
            for index in (0, 7, len(encoded) - 1):
                expected = encoded[index]
                tokens = [1, *expected.input_ids.tolist(), *expected.target_ids.tolist()]
                assert store.tokens(name, pass_, index).tolist() == tokens
                assert store.target_start(name, pass_, index) == 1 + len(expected.input_ids)
                assert store.example_id(name, pass_, index) == expected.example.example_id
                assert tokens[-1] == 2  # the answer ends


def test_a_changed_official_file_makes_the_store_stale(part_of_the_sample):
    prepare("inters_reading_comprehension_boolq", **part_of_the_sample)
    (file,) = sorted((Path(part_of_the_sample["raw_dir"]) / "boolq").glob("*train*"))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(StoreError, match="the files in boolq changed since"):
        prepare("inters_reading_comprehension_boolq", **part_of_the_sample)
