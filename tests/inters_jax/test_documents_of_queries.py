"""Queries with documents in the store and in batches: one example each, together in a row."""

from __future__ import annotations

import numpy as np
import pytest

from inters_jax.data.loader import PackedBatches
from inters_jax.data.pass_files import Document, PassWriter, StoreError
from inters_jax.data.token_store import TokenStore
from seqio_tasks.base import UserError

LENGTH = 40


def passes_of(seed=0, queries=30, teacher=True):
    """Queries of two to four documents; their tokens name the query and the document."""
    random = np.random.default_rng(seed)
    made = []
    for query in range(queries):
        for document in range(int(random.integers(2, 5))):
            prompt = [1, 10 + query, 50 + document, *random.integers(3, 9, random.integers(0, 6)).tolist()]
            score = float(random.normal()) if teacher else None
            about = Document(f"q{query}", float(document == 0), score)
            made.append(
                ([*prompt, 60 if document == 0 else 61, 2], len(prompt), f"q{query}/{document}", about)
            )
    return made


def plain(count=25):
    return [([1, 90, 91 + n % 3, 92, 2], 3, f"plain/{n}") for n in range(count)]


def create(folder, judgment_common=0, **tasks):
    judgment = {"common": judgment_common, "yes": 60, "no": 61}
    return TokenStore.create(folder, tasks, vocab_size=100, bos_id=1, eos_id=2, judgment=judgment)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents") / "store"
    return create(folder, ranked=[passes_of(0), passes_of(1)], plain=[plain()])


def batches_of(store, **changes):
    return PackedBatches(store, **({"batch_rows": 4, "max_length": LENGTH, "seed": 0, "epochs": 2} | changes))


def test_a_query_with_its_documents_is_one_example(store):
    written = passes_of(0)
    assert (store.examples("ranked", 0), store.sequences("ranked", 0)) == (30, len(written))
    assert (store.rate("ranked"), store.epoch_examples) == (30.0, 55)
    assert store.tasks_with_documents() == ["ranked"] and store.tasks_without_teacher() == []
    documents = store.documents("ranked", 0)
    assert store.documents("plain", 0) is None
    for index, (tokens, start, name, about) in enumerate(written):
        query = int(np.searchsorted(documents.starts, index, side="right")) - 1
        assert f"q{query}" == about.group and store.example_id("ranked", 0, index) == name
        assert store.tokens("ranked", 0, index).tolist() == tokens
        assert store.target_start("ranked", 0, index) == start
        assert documents.grades[index] == about.grade
        assert documents.teacher[index] == np.float32(about.teacher)


def test_documents_without_a_teacher_have_no_file_for_it(tmp_path):
    made = create(tmp_path / "store", ranked=[passes_of(teacher=False)])
    assert made.documents("ranked", 0).teacher is None and made.tasks_without_teacher() == ["ranked"]
    assert not list((tmp_path / "store").rglob("teacher.npy"))


def test_a_pass_of_examples_has_the_files_and_counts_that_it_had(tmp_path):
    made = TokenStore.create(tmp_path / "store", {"plain": [plain(3)]}, vocab_size=100)
    names = {path.name for path in (tmp_path / "store" / "plain" / "pass0").iterdir()}
    assert names == {"tokens.bin", "offsets.npy", "target_starts.npy", "ids.bin", "id_offsets.npy"}
    [counts] = made.manifest["tasks"]["plain"]["passes"]
    assert set(counts) == {"kept", "tokens", "target_tokens", "longest", "digest"}
    assert "judgment" not in made.manifest


def test_documents_and_other_examples_do_not_share_a_pass(tmp_path):
    for first, second in ((None, Document("q", 1.0)), (Document("q", 1.0), None)):
        writer = PassWriter(tmp_path / f"pass{first is None}", 100)
        writer.add(np.array([1, 2, 3]), 1, "one", first)
        with pytest.raises(ValueError, match="two: a pass has documents of queries only, or none"):
            writer.add(np.array([1, 2, 3]), 1, "two", second)


@pytest.mark.parametrize("name", ["group_starts.npy", "grades.npy", "teacher.npy"])
def test_a_damaged_file_of_documents_is_named(tmp_path, name):
    create(tmp_path / "store", ranked=[passes_of()])
    file = tmp_path / "store" / "ranked" / "pass0" / name
    values = np.load(file)
    np.save(file, values[:-1])
    with pytest.raises(StoreError, match=f"{name}.*the store is damaged"):
        TokenStore.open(tmp_path / "store").verify()
    np.save(file, values + 1)
    with pytest.raises(StoreError, match="the store is damaged"):
        TokenStore.open(tmp_path / "store").verify(whole=True)


def test_documents_of_a_query_lie_in_one_row_and_are_named_by_it(store):
    batches = batches_of(store)
    seen = []
    for step in range(batches.total_steps):
        batch, names = batches.batch(step), batches.example_ids(step)
        for row in range(4):
            positions = batch["decoder_document_positions"][row]
            groups = batch["decoder_document_groups"][row]
            free = positions == LENGTH
            assert (groups[free] == 0).all() and (groups[~free] > 0).all()
            assert batch["decoder_loss_weights"][row][positions[~free]].sum() == 0
            found = {}
            for position, group, grade in zip(
                positions, groups, batch["decoder_document_grades"][row], strict=True
            ):
                if group == 0:
                    continue
                answer = batch["decoder_target_tokens"][row][position]
                assert answer == (60 if grade else 61)  # the position predicts Yes or No
                segment = batch["decoder_segment_ids"][row] == batch["decoder_segment_ids"][row][position]
                query, document = batch["decoder_input_tokens"][row][segment][1:3]
                found.setdefault(int(group), []).append((int(query) - 10, int(document) - 50))
            for members in found.values():
                assert len({query for query, _ in members}) == 1
                assert [document for _, document in members] == list(range(len(members)))
            mine = [name for name in names[row] if name.startswith("ranked:")]
            assert mine == [
                f"ranked:q{query}/{document}" for own in found.values() for query, document in own
            ]
            seen += [own[0][0] for own in found.values()]
    assert sorted(seen) == sorted([*range(30), *range(30)])  # every query once an epoch


def test_answers_of_documents_carry_no_language_model_loss(store):
    batches = batches_of(store)
    total = sum(batches.batch(step)["decoder_loss_weights"].sum() for step in range(batches.total_steps))
    assert total == 2 * 25 * 2  # epochs, plain examples, targets
    assert sum(batches.statistics(step)["target_tokens"] for step in range(batches.total_steps)) == total
    assert sum(batches.statistics(step)["examples"] for step in range(batches.total_steps)) == 2 * 55


def test_hosts_build_their_rows_of_the_same_batch(store):
    whole = batches_of(store).batch(1)
    parts = [batches_of(store, host_rows=rows).batch(1) for rows in ([0, 1], [2, 3])]
    for name, array in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), array), name


def test_tokens_that_both_answers_start_with_move_the_position(tmp_path):
    made = create(tmp_path / "store", judgment_common=1, ranked=[passes_of()])
    moved = batches_of(made).batch(0)
    positions = moved["decoder_document_positions"]
    row, slot = np.argwhere(positions < LENGTH)[0]
    assert moved["decoder_input_tokens"][row, positions[row, slot]] in (60, 61)


def test_a_row_never_has_more_documents_than_slots(tmp_path):
    made = create(tmp_path / "store", ranked=[passes_of()])
    batches = batches_of(made, max_segments=4)
    assert batches.document_slots == 4
    counts = [
        (batches.batch(step)["decoder_document_groups"] > 0).sum(axis=1)
        for step in range(batches.total_steps)
    ]
    assert np.concatenate(counts).max() <= 4


def test_a_query_that_fits_no_row_is_named(tmp_path):
    made = create(tmp_path / "store", ranked=[passes_of()])
    with pytest.raises(UserError, match=r"do not fit a row together: those of q\d+/0 .* of 16 positions"):
        batches_of(made, max_length=16).batch(0)
