"""The token store: what goes in comes out, any token id, and a damaged or foreign store is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inters_jax.data.pass_files import PassWriter, StoreError, token_dtype
from inters_jax.data.token_store import TokenStore, fingerprint


def small_store(folder, **changes):
    arguments = {"vocab_size": 100, "bos_id": 1, "eos_id": 2} | changes
    return TokenStore.create(
        folder,
        {
            "a": [[([1, 5, 6, 2], 2, "a/0"), ([1, 0, 0, 7, 2], 3, "a/é\n1")], [([1, 9, 2], 1, "a/0")]],
            "b": [[([1, 3, 2], 1, "b/0")]],
        },
        **arguments,
    )


def test_sequences_come_back(tmp_path):
    store = small_store(tmp_path / "store")
    assert store.tasks == ("a", "b")
    assert store.tokens("a", 0, 1).tolist() == [1, 0, 0, 7, 2]
    assert store.tokens(0, 1, 0).tolist() == [1, 9, 2]
    assert store.tokens("b", 0, 0).dtype == np.int32
    assert store.target_start("a", 0, 1) == 3
    assert store.lengths("a", 0).tolist() == [4, 5]
    assert store.target_starts("a", 0).tolist() == [2, 3]
    assert store.example_id("a", 0, 1) == "a/é\n1"
    assert (store.passes("a"), store.passes("b"), store.examples("a", 0)) == (2, 1, 2)
    assert (store.longest, store.epoch_examples, store.rate("a")) == (5, 3, 2.0)
    counts = store.manifest["tasks"]["a"]["passes"][0]
    assert (counts["kept"], counts["tokens"], counts["target_tokens"]) == (2, 9, 4)


@given(
    sequences=st.lists(st.lists(st.integers(0, 65_535), min_size=2, max_size=9), max_size=6),
    vocab_size=st.sampled_from([65_536, 65_537, 200_000]),
)
@settings(max_examples=40, deadline=None)
def test_any_token_ids_round_trip(tmp_path_factory, sequences, vocab_size):
    folder = tmp_path_factory.mktemp("any") / "store"
    examples = [(tokens, 1 + i % (len(tokens) - 1), f"{i}") for i, tokens in enumerate(sequences)]
    store = TokenStore.create(folder, {"t": [examples]}, vocab_size=vocab_size, epoch_examples=1)
    for i, (tokens, start, example_id) in enumerate(examples):
        assert store.tokens("t", 0, i).tolist() == tokens
        assert store.target_start("t", 0, i) == start
        assert store.example_id("t", 0, i) == example_id


def test_two_bytes_a_token_while_they_hold_the_vocabulary(tmp_path):
    assert token_dtype(65_536).itemsize == 2
    assert token_dtype(65_537).itemsize == 4
    small_store(tmp_path / "store")
    assert (tmp_path / "store/a/pass0/tokens.bin").stat().st_size == 2 * 9


@pytest.mark.parametrize(
    ("tokens", "start", "named"),
    [
        ([1, 2, 100], 1, "outside the vocabulary of 100"),
        ([-1, 2, 3], 1, "outside the vocabulary"),
        ([1, 2, 3], 0, "first token is never predicted"),
        ([1, 2, 3], 3, "at least one target"),
    ],
)
def test_sequences_that_cannot_be_learnt_are_refused(tmp_path, tokens, start, named):
    writer = PassWriter(tmp_path / "pass", 100)
    with pytest.raises(ValueError, match=named):
        writer.add(np.array(tokens), start, "x")


def test_equal_passes_have_equal_digests(tmp_path):
    digests = []
    for name, sequences in {"p": [[1, 2, 3]], "q": [[1, 2, 3]], "r": [[1, 2, 4]]}.items():
        writer = PassWriter(tmp_path / name, 10)
        for tokens in sequences:
            writer.add(np.array(tokens), 1, "x")
        digests.append(writer.finish()["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_missing_store_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match=r"not a finished store. Run `python -m inters_jax.prepare`"):
        TokenStore.open(tmp_path)


def test_incomplete_copy_is_refused(tmp_path):
    small_store(tmp_path / "store")
    tokens = tmp_path / "store/a/pass0/tokens.bin"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(StoreError, match="16 bytes, but the manifest says 18: an incomplete copy"):
        TokenStore.open(tmp_path / "store")


def test_changed_manifest_is_refused(tmp_path):
    small_store(tmp_path / "store")
    path = tmp_path / "store/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tasks"]["a"]["rate"] = 9.0
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="was changed after it was written"):
        TokenStore.open(tmp_path / "store")


def test_store_of_another_format_is_refused(tmp_path):
    small_store(tmp_path / "store")
    path = tmp_path / "store/manifest.json"
    manifest = json.loads(path.read_text()) | {"format": 99}
    manifest["fingerprint"] = fingerprint(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="has format 99"):
        TokenStore.open(tmp_path / "store")


def test_fingerprint_follows_the_content(tmp_path):
    first = small_store(tmp_path / "1/store").fingerprint
    assert small_store(tmp_path / "2/store").fingerprint == first
    assert small_store(tmp_path / "3/store", eos_id=3).fingerprint != first


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def change(file, edit):
    """Change an array file, or tokens, in place, without changing its size."""
    if file.suffix == ".npy":
        np.save(file, edit(np.load(file)))
    else:
        tokens = np.fromfile(file, np.uint16)
        edit(tokens).astype(np.uint16).tofile(file)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("offsets.npy", lambda a: a + 1, "not those of the sequences"),
        ("offsets.npy", lambda a: a * 0, "not those of the sequences"),
        ("offsets.npy", lambda a: np.array([0, 2, 9]), "longest sequence has 7"),
        ("offsets.npy", lambda a: a[:-1], r"int64\[2\], expected int64\[3\]"),
        ("target_starts.npy", lambda a: a * 0, "starts outside its sequence"),
        ("target_starts.npy", lambda a: -a, "starts outside its sequence"),
        ("target_starts.npy", lambda a: a + 9, "starts outside its sequence"),
        ("target_starts.npy", lambda a: a - 1, "6 target tokens, the manifest says 4"),
        ("target_starts.npy", lambda a: a.astype(np.int64), "expected int32"),
        ("tokens.bin", lambda a: a ^ (np.arange(len(a)) == 3), "tokens are not those that were written"),
        ("tokens.bin", lambda a: a[::-1], "tokens are not those that were written"),
    ],
)
def test_a_damaged_store_is_refused_by_file(tmp_path, cache, name, edit, message):
    store = small_store(tmp_path / "store")
    change(store.folder / "a" / "pass0" / name, edit)
    with pytest.raises(StoreError, match=rf"a/pass0/{name}: .*{message}"):
        TokenStore.open(store.folder).verify()


@pytest.mark.parametrize("name", ["offsets.npy", "target_starts.npy"])
@pytest.mark.parametrize("size", [0, 5, 130])
def test_a_cut_array_file_is_named(tmp_path, cache, name, size):
    store = small_store(tmp_path / "store")
    file = store.folder / "b" / "pass0" / name
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(StoreError, match=rf"b/pass0/{name}: cannot be read .*Copy it again"):
        TokenStore.open(store.folder).verify()
    with pytest.raises(StoreError, match=name):  # also without a check of the whole store
        TokenStore.open(store.folder).target_starts("b", 0)


def test_ids_of_another_length_are_refused(tmp_path):
    store = small_store(tmp_path / "store")
    change(store.folder / "a" / "pass0" / "id_offsets.npy", lambda a: a + 1)
    with pytest.raises(StoreError, match=r"id_offsets\.npy: its offsets are not those of ids\.bin"):
        TokenStore.open(store.folder).example_id("a", 0, 0)


def test_tokens_are_checked_once_on_a_machine_and_after_every_change(tmp_path, cache):
    store = small_store(tmp_path / "store")
    assert "checked the tokens of the store" in TokenStore.open(store.folder).verify()
    assert TokenStore.open(store.folder).verify() == ""
    assert "checked" in TokenStore.open(store.folder).verify(whole=True)
    change(store.folder / "a" / "pass0" / "tokens.bin", lambda a: a)  # another time of modification
    assert "checked" in TokenStore.open(store.folder).verify()
    change(store.folder / "a" / "pass0" / "tokens.bin", lambda a: a + 1)
    with pytest.raises(StoreError, match="tokens are not those"):
        TokenStore.open(store.folder).verify()
    with pytest.raises(StoreError, match="tokens are not those"):  # it was not noted as checked
        TokenStore.open(store.folder).verify()


def test_without_a_cache_folder_a_store_is_checked_every_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERS_CACHE_DIR", str(tmp_path / "file"))
    store = small_store(tmp_path / "store")
    assert "checked" in store.verify() and "checked" in store.verify()
