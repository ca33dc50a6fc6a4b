"""Batches: aligned by hand, every example once an epoch, the same on any number of hosts."""

import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore

BOS, EOS = 1, 2


def random_store(folder, sizes=(40, 15), seed=0, longest=30, passes=2, bos=True, vocab_size=50):
    """Tasks of random sequences in which ids 0, 1 and 2 are ordinary text too."""
    random = np.random.default_rng(seed)

    def sequence():
        n = int(random.integers(2, longest - 1))
        body = random.integers(0, vocab_size, n).tolist()
        tokens = [BOS, *body] if bos else body
        return tokens, int(random.integers(1, len(tokens)))

    tasks = {
        f"task{t}": [[(*sequence(), f"{t}/{i}") for i in range(size)] for _ in range(passes)]
        for t, size in enumerate(sizes)
    }
    return TokenStore.create(
        folder, tasks, vocab_size=vocab_size, bos_id=BOS if bos else None, eos_id=EOS, max_length=longest
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("loader") / "store")


def batches_of(store, **changes):
    return PackedBatches(store, **({"batch_rows": 4, "max_length": 40, "seed": 0} | changes))


def test_weights_cover_exactly_the_targets(tmp_path):
    # [bos] p p p c c eos: the loss falls on c c eos.
    store = TokenStore.create(tmp_path / "s", {"t": [[([1, 11, 12, 13, 21, 22, 2], 4, "x")]]}, vocab_size=30)
    batch = batches_of(store, batch_rows=1, max_length=8).batch(0)
    assert batch["decoder_input_tokens"].tolist() == [[1, 11, 12, 13, 21, 22, 0, 0]]
    assert batch["decoder_target_tokens"].tolist() == [[11, 12, 13, 21, 22, 2, 0, 0]]
    assert batch["decoder_loss_weights"].tolist() == [[0, 0, 0, 1, 1, 1, 0, 0]]
    assert batch["decoder_segment_ids"].tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]
    assert batch["decoder_positions"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 0]]
    assert batch["decoder_loss_positions"].tolist() == [[3, 4, 5, 8, 8, 8, 8, 8]]


def test_without_bos_the_first_token_starts_the_inputs(tmp_path):
    store = TokenStore.create(tmp_path / "s", {"t": [[([11, 12, 21, 2], 2, "x")]]}, vocab_size=30)
    batch = batches_of(store, batch_rows=1, max_length=4).batch(0)
    assert batch["decoder_input_tokens"].tolist() == [[11, 12, 21, 0]]
    assert batch["decoder_target_tokens"].tolist() == [[12, 21, 2, 0]]
    assert batch["decoder_loss_weights"].tolist() == [[0, 1, 1, 0]]


def test_two_sequences_of_id_zero_share_a_row(tmp_path):
    # Every token is 0, the padding id of other pipelines: only lengths can tell what is real.
    examples = [([0, 0, 0, 0], 2, "long"), ([0, 0], 1, "short")]
    store = TokenStore.create(tmp_path / "s", {"t": [examples]}, vocab_size=30)
    batch = batches_of(store, batch_rows=1, max_length=6).batch(0)
    assert batch["decoder_segment_ids"].tolist() == [[1, 1, 1, 2, 0, 0]]
    assert batch["decoder_positions"].tolist() == [[0, 1, 2, 0, 0, 0]]
    assert batch["decoder_loss_weights"].tolist() == [[0, 1, 1, 1, 0, 0]]
    assert batch["decoder_loss_positions"].tolist() == [[1, 2, 3, 6, 6, 6]]


def unpack(batch):
    """(inputs, targets, weights) of every segment of a batch, after checking segments and positions."""
    found = []
    for row in range(len(batch["decoder_input_tokens"])):
        segments = batch["decoder_segment_ids"][row]
        used = np.flatnonzero(segments)
        assert used.tolist() == list(range(len(used)))  # no hole
        assert np.all(np.diff(segments[: len(used)]) >= 0)
        assert set(segments[: len(used)].tolist()) == set(range(1, segments.max(initial=0) + 1))
        for number in range(1, int(segments.max(initial=0)) + 1):
            here = segments == number
            assert batch["decoder_positions"][row][here].tolist() == list(range(here.sum()))
            found.append(
                tuple(
                    tuple(batch[f"decoder_{key}"][row][here].tolist())
                    for key in ("input_tokens", "target_tokens", "loss_weights")
                )
            )
        rest = segments == 0
        for key in ("input_tokens", "target_tokens", "loss_weights", "positions"):
            assert not batch[f"decoder_{key}"][row][rest].any()
    return found


@pytest.mark.parametrize("bos", [True, False])
def test_an_epoch_holds_every_example_once(tmp_path, bos):
    store = random_store(tmp_path / "store", bos=bos)
    batches = batches_of(store)
    found = Counter(
        segment for step in range(batches.steps_per_epoch(0)) for segment in unpack(batches.batch(step))
    )
    expected: Counter = Counter()
    for task in store.tasks:
        for i in range(store.examples(task, 0)):
            tokens, start = store.tokens(task, 0, i).tolist(), store.target_start(task, 0, i)
            weights = [0.0] * (start - 1) + [1.0] * (len(tokens) - start)
            expected[tuple(tokens[:-1]), tuple(tokens[1:]), tuple(weights)] += 1
    assert found == expected


@given(
    seed=st.integers(0, 5),
    rows=st.integers(1, 5),
    length=st.integers(29, 70),
    size=st.integers(1, 20),
    window=st.integers(1, 30),
)
@settings(max_examples=25, deadline=None)
def test_loss_positions_name_every_target(tmp_path_factory, seed, rows, length, size, window):
    store = random_store(tmp_path_factory.mktemp("loss") / "store", sizes=(size,), seed=seed)
    batches = PackedBatches(
        store, batch_rows=rows, max_length=length, seed=seed, epochs=2, epoch_examples=size, window=window
    )
    for step in range(batches.total_steps):
        batch = batches.batch(step)
        positions = batch["decoder_loss_positions"]
        assert positions.shape[1] in (32, 64, length)
        for row in range(rows):
            weighted = np.flatnonzero(batch["decoder_loss_weights"][row]).tolist()
            padding = positions.shape[1] - len(weighted)
            assert positions[row].tolist() == weighted + [length] * padding


@given(
    hosts=st.sampled_from([1, 2, 3, 6]),
    step=st.integers(0, 30),
)
@settings(max_examples=25, deadline=None)
def test_hosts_hold_parts_of_one_batch(store, hosts, step):
    whole = batches_of(store, batch_rows=6).batch(step)
    for host in range(hosts):
        rows = list(range(host, 6, hosts))  # rows of a host need not lie side by side
        part = batches_of(store, batch_rows=6, host_rows=rows).batch(step)
        for key, value in whole.items():
            assert np.array_equal(part[key], value[rows]), key
            assert part[key].dtype == value.dtype


def test_a_step_depends_on_nothing_before_it(store):
    straight = batches_of(store)
    for step in range(25):
        straight.batch(step)
    fresh = batches_of(store)
    for step in (24, 3, 11):
        assert all(
            np.array_equal(value, straight.batch(step)[key]) for key, value in fresh.batch(step).items()
        )
    other = batches_of(store, seed=1).batch(3)
    assert not np.array_equal(other["decoder_input_tokens"], fresh.batch(3)["decoder_input_tokens"])


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_iterating_gives_the_batches_from_any_step(store, prefetch):
    batches = batches_of(store, epochs=2)
    total = batches.total_steps
    assert total == batches.steps_per_epoch(0) + batches.steps_per_epoch(1)
    for start in (0, total - 2, total):
        got = list(batches_of(store, epochs=2).iterate(start, prefetch=prefetch))
        assert len(got) == total - start
        for step, batch in enumerate(got, start):
            assert all(np.array_equal(value, batch[key]) for key, value in batches.batch(step).items())


def test_a_run_in_steps_ends_after_them(store):
    assert len(list(batches_of(store, steps=7).iterate(2))) == 5


def test_leaving_an_iteration_stops_its_thread(store):
    iteration = batches_of(store).iterate()
    next(iteration)
    iteration.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "packed-batches"]


def test_an_error_while_building_reaches_the_consumer(store, monkeypatch):
    batches = batches_of(store)
    monkeypatch.setattr(batches, "batch", lambda step: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        next(batches.iterate())


def test_last_batch_of_an_epoch_is_filled_with_empty_rows(tmp_path):
    examples = [([1, 5, 6, 7, 2], 2, f"{i}") for i in range(3)]
    store = TokenStore.create(tmp_path / "s", {"t": [examples]}, vocab_size=30)
    batches = batches_of(store, batch_rows=2, max_length=4)
    assert batches.steps_per_epoch(0) == 2
    last = batches.batch(1)
    assert last["decoder_segment_ids"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert last["decoder_loss_positions"][1].tolist() == [4, 4, 4, 4]
    assert batches.statistics(1)["examples"] == 1
    assert batches.statistics(1)["density"] == 0.5
    assert [batches.epoch_of(step) for step in range(5)] == [0, 0, 1, 1, 2]


def test_statistics_match_the_arrays(store):
    batches = batches_of(store)
    for step in range(8):
        batch, numbers = batches.batch(step), batches.statistics(step)
        assert numbers["examples"] == len(unpack(batch))
        assert numbers["real_tokens"] == (batch["decoder_segment_ids"] > 0).sum()
        assert numbers["target_tokens"] == batch["decoder_loss_weights"].sum()
        assert numbers["loss_positions"] == batch["decoder_loss_positions"].shape[1]
        assert sum(numbers["task_tokens"].values()) == pytest.approx(1.0)
        names = batches.example_ids(step)
        assert [len(row) for row in names] == batch["decoder_segment_ids"].max(axis=1).tolist()


def test_example_ids_name_the_sequences_of_a_row(store):
    batches = batches_of(store)
    row, batch = batches.example_ids(0)[0], batches.batch(0)
    task, example_id = row[0].split(":")
    index = [store.example_id(task, 0, i) for i in range(store.examples(task, 0))].index(example_id)
    first = batch["decoder_input_tokens"][0][batch["decoder_segment_ids"][0] == 1]
    assert first.tolist() == store.tokens(task, 0, index)[:-1].tolist()


def test_starting_plans_no_more_epochs_than_needed(store, monkeypatch):
    planned = []
    plan = PackedBatches._plan
    monkeypatch.setattr(PackedBatches, "_plan", lambda self, n: planned.append(n) or plan(self, n))
    batches = batches_of(store, steps=10_000)
    batches.batch(0)
    assert batches.total_steps == 10_000
    assert planned == [0]
    batches.epoch_of(batches.steps_per_epoch(0))
    assert planned == [0, 1]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 1, "steps": 1}, "epochs or steps, not both"),
        ({"batch_rows": 0}, "at least 1 row, got 0"),
        ({"host_rows": [0, 99]}, "not rows of a batch"),
        ({"max_length": 10}, "prepare it with this MAX_LENGTH"),
    ],
)
def test_impossible_arrangements_are_refused(store, changes, named):
    with pytest.raises(ValueError, match=named):
        batches_of(store, **changes)


def test_a_step_after_the_run_is_refused(store):
    batches = batches_of(store, epochs=1)
    with pytest.raises(ValueError, match="after the last step of 1 epochs"):
        batches.batch(batches.total_steps)
    with pytest.raises(ValueError, match="negative"):
        batches.batch(-1)


def test_the_feed_imports_no_framework():
    """And of seqio_tasks nothing beyond its base module, and the settings that the package itself loads."""
    program = (
        "import sys, inters_jax.data.loader, inters_jax.data.token_store;"
        "print(*[m for m in ('tensorflow', 'seqio', 'jax') if m in sys.modules],"
        "*sorted(m for m in sys.modules if m.startswith('seqio_tasks.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["seqio_tasks.base", "seqio_tasks.seeded", "seqio_tasks.settings"]
