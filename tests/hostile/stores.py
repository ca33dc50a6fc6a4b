"""Hostile token stores."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hostile.cases import DEEP, NOT_TEXT, Act, Case, Content, Place, changed, on_a_full_disk, spoil, spoiled

from inters_jax.data.token_store import TokenStore


def _shown(file: str, content: Content) -> Act:
    """`inspect_data` of the store with other content in one file."""

    def act(place: Place) -> Any:
        store = spoil(place, place.store, file, content)
        page = place.folder / "p.html"
        return place.command(
            "inspect_data", STORE_DIR=store, OUTPUT=page, TOKENIZER=place.model, RENDER=False
        )

    return act


def _verified(file: str, content: Content) -> Act:
    """The check that `train` makes of a store."""
    return lambda place: TokenStore.open(spoil(place, place.store, file, content)).verify(whole=True)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _shifted(old: bytes) -> bytes:
    array = np.load(io.BytesIO(old))
    array[1] += 1
    return _npy(array)


MANIFEST = "manifest.json"
OFFSETS, STARTS, TOKENS = "copy/pass0/offsets.npy", "copy/pass0/target_starts.npy", "copy/pass0/tokens.bin"
STORES = [
    (
        "store is missing",
        lambda p: p.command("inspect_data", STORE_DIR=p.folder),
        r"has no manifest\.json: not a finished store",
    ),
    ("store has a cut manifest", _shown(MANIFEST, lambda old: old[:99]), r"manifest\.json is damaged"),
    ("store has a manifest of a list", _shown(MANIFEST, "[]"), r"manifest\.json is damaged"),
    ("store has a manifest that is not UTF-8", _shown(MANIFEST, NOT_TEXT), r"manifest\.json is damaged"),
    ("store has a manifest that is nested too deeply", _shown(MANIFEST, DEEP), r"manifest\.json is damaged"),
    ("store has a manifest of null", _shown(MANIFEST, "null"), r"manifest\.json is damaged"),
    (
        "store has a manifest of another program",
        _shown(MANIFEST, '{"name": "shop"}'),
        r"manifest\.json is damaged",
    ),
    (
        "store has another format",
        _shown(MANIFEST, changed(format=99)),
        r"store has format 99, this program reads",
    ),
    (
        "store has a changed manifest",
        _shown(MANIFEST, changed(epoch_examples=3)),
        r"manifest\.json was changed after",
    ),
    (
        "store has cut tokens",
        _shown(TOKENS, lambda old: old[:-2]),
        r"tokens\.bin has \d+ bytes, but the manifest says",
    ),
    ("store has no tokens", _shown(TOKENS, None), r"tokens\.bin has None bytes"),
    ("store has cut offsets", _shown(OFFSETS, lambda old: old[:-9]), r"offsets\.npy: cannot be read"),
    ("store has empty offsets", _shown(OFFSETS, b""), r"offsets\.npy: cannot be read"),
    ("store has offsets of text", _shown(OFFSETS, "hello"), r"offsets\.npy: cannot be read"),
    (
        "store has pickled offsets",
        _shown(OFFSETS, _npy(np.array([{}], object))),
        r"offsets\.npy: cannot be read",
    ),
    (
        "store has offsets with a broken header",
        _shown(OFFSETS, lambda old: old[:10] + b"{" * 50 + old[60:]),
        r"offsets\.npy: cannot be read",
    ),
    (
        "store has offsets of other numbers",
        _shown(OFFSETS, _npy(np.zeros(3, "f4"))),
        r"offsets\.npy: float32\[3\], expected",
    ),
    ("store has no offsets", _shown(OFFSETS, None), r"offsets\.npy: cannot be read"),
    (
        "store has shifted offsets",
        _verified(OFFSETS, _shifted),
        r"offsets\.npy|target_starts\.npy|tokens\.bin",
    ),
    (
        "store has negative starts",
        _shown(STARTS, lambda old: _npy(-np.load(io.BytesIO(old)))),
        r"target_starts\.npy: a completion starts outside",
    ),
    ("store has shifted starts", _verified(STARTS, _shifted), r"target_starts\.npy: "),
    (
        "store has flipped tokens",
        _verified(TOKENS, lambda old: spoiled(old, 40)),
        r"tokens\.bin: its tokens are not those",
    ),
    ("store is sound", lambda p: TokenStore.open(p.store).tasks, None),
    (
        "page is written on a full disk",
        on_a_full_disk(
            lambda p: p.command(
                "inspect_data", STORE_DIR=p.store, TOKENIZER=p.model, RENDER=False, OUTPUT=p.folder / "a.html"
            )
        ),
        r"inspect_data: .*/a\.html: no disk space is left",
    ),
    (
        "page is written below a file",
        lambda p: p.command(
            "inspect_data",
            STORE_DIR=p.store,
            TOKENIZER=p.model,
            RENDER=False,
            OUTPUT=p.write("o", "") / "a.html",
        ),
        r"/o: File exists|/o.*: Not a directory",
    ),
    (
        "page has no tokenizer",
        lambda p: p.command("inspect_data", STORE_DIR=p.store, OUTPUT=p.folder / "a.html", RENDER=False),
        r"does not say which tokenizer",
    ),
    (
        "prepare is given another folder",
        lambda p: p.command("prepare", STORE_DIR=p.write("s/customers.csv", "x").parent),
        r"s exists and is no token store",
    ),
    ("prepare is given a file", lambda p: p.command("prepare", STORE_DIR=p.write("s", "x")), r"s"),
    (
        "prepare is given a store made otherwise",
        lambda p: p.command("prepare", STORE_DIR=p.copy(p.store)),
        r"store was made otherwise",
    ),
    (
        "prepare is given a damaged store",
        lambda p: p.command("prepare", STORE_DIR=spoil(p, p.store, MANIFEST, "[]")),
        r"manifest\.json is damaged .*REBUILD=True",
    ),
    (
        "prepare writes on a full disk",
        on_a_full_disk(
            lambda p: p.command(
                "prepare",
                STORE_DIR=p.folder / "s",
                MIXTURE_OR_TASK_NAME="inters_query_matching_msrp",
                MAX_LENGTH=512,
            )
        ),
        r"prepare: .*/s: no disk space is left in .* GiB free\)",
    ),
]

CASES = [Case(name, act, error) for name, act, error in STORES]
