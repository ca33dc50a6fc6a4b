"""The corpus on disk is the corpus in memory: same documents, same order, same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources import beir, corpus_index
from seqio_tasks.sources.corpus_index import Corpus

SAMPLE = Path(__file__).parents[3] / "seqio_tasks" / "sample"


def write(folder: Path, text: str, name: str = "corpus.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode("utf-8"))
    return folder


def agree(folder: Path) -> None:
    plain, lazy = beir.read_corpus(folder), Corpus(folder)
    assert list(lazy.items()) == list(plain.items())
    assert list(lazy) == list(plain) and list(lazy.values()) == list(plain.values())
    assert len(lazy) == len(plain) and dict(lazy) == plain == lazy
    assert [lazy.at(position) for position in range(len(lazy))] == list(plain.items())
    assert all(doc_id in lazy and lazy[doc_id] == plain[doc_id] for doc_id in plain)
    assert lazy.get("nothing") is None and "" not in lazy


def test_every_sample_collection_is_read_alike() -> None:
    folders = sorted(path.parent for path in SAMPLE.rglob("corpus.jsonl") if "beir_" in str(path))
    assert len(folders) == 26  # twelve of them forums
    for folder in folders:
        agree(folder)


def test_byte_order_mark_blank_lines_line_ends_and_a_missing_last_one(tmp_path: Path) -> None:
    first = '\ufeff{"_id": 7, "title": " A\\n b", "text": "\u00fc\u2028x"}\r\n\n'
    agree(write(tmp_path / "a", first + '{"_id": "q", "text": ""}'))
    agree(write(tmp_path / "empty", ""))


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.tuples(st.text(max_size=8), st.text(max_size=20))))
@hypothesis_settings(max_examples=30, deadline=None)
def test_any_corpus(documents: dict[str, tuple[str, str]]) -> None:
    import tempfile

    lines = [json.dumps({"_id": i, "title": title, "text": text}) for i, (title, text) in documents.items()]
    with tempfile.TemporaryDirectory() as folder:
        agree(write(Path(folder), "".join(f"{line}\n" for line in lines)))


def test_the_same_hash_for_two_ids_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_index, "stable_hash", lambda key: len(key))
    agree(write(tmp_path, "".join(f'{{"_id": "{i}", "text": "text {i}"}}\n' for i in range(30))))


def test_refusals_name_the_line(tmp_path: Path) -> None:
    line = '{"_id": "a", "text": "x"}\n'
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: document 'a' appears twice; keep one"):
        Corpus(write(tmp_path / "twice", line + line))
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: not JSON"):
        Corpus(write(tmp_path / "broken", line + "{\n"))
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: field 'text' is None"):
        Corpus(write(tmp_path / "field", line + '{"_id": "b"}\n'))
    with pytest.raises(DataError, match=r"collection\.tsv:1: expected pid<TAB>text"):
        Corpus(write(tmp_path / "tsv", "17 no tab\n", "collection.tsv"))
    with pytest.raises(MissingData, match=r"corpus\.jsonl: no such file; unpack"):
        Corpus(tmp_path)


def test_the_original_collection_of_ms_marco(tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path, '0\tThe "first\tpassage.\n1\tSecond  one.\n', "collection.tsv"))
    assert dict(corpus) == {
        "0": beir.Document("", 'The "first passage.'),
        "1": beir.Document("", "Second one."),
    }


def test_large_indexes_are_kept_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_index, "KEEP_FROM", 1)
    folder = write(tmp_path / "c", '{"_id": "a", "text": "x"}\n{"_id": "b", "text": "y"}\n')
    with settings.override(cache_dir=str(tmp_path / "cache")):
        agree(folder)
        (kept,) = (tmp_path / "cache" / "corpora").iterdir()
        with np.load(kept) as stored:
            assert stored["offsets"].tolist() == [0, 26]
        with monkeypatch.context() as patched:
            patched.setattr(Corpus, "_build", lambda _: pytest.fail("the index was built again"))
            agree(folder)
        write(folder, '{"_id": "a", "text": "x"}\n{"_id": "b", "text": "yy"}\n{"_id": "c", "text": "z"}\n')
        agree(folder)
