"""BM25: the formula by hand, deterministic ties, the disk cache, and a real collection when it is there."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from seqio_tasks import settings
from seqio_tasks.first_stage import Analyzer, bm25_run
from seqio_tasks.metrics import evaluate_run
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Document

CORPUS = {
    "d1": Document("Storks", "storks nest on chimneys"),
    "d2": Document("", "chimneys need sweeping, sweeping and sweeping"),
    "d3": Document("", "the a of"),
    "d4": Document("", "storks nesting"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path):  # type: ignore[no-untyped-def]
    with settings.override(cache_dir=str(tmp_path / "cache")):
        yield tmp_path / "cache"


def by_hand(frequency: int, length: int, document_frequency: int, k1: float = 0.9, b: float = 0.4) -> float:
    average = (4 + 6 - 1 + 0 + 2) / 4  # terms after stop words: d1 4, d2 5, d3 0, d4 2
    idf = math.log(1 + (4 - document_frequency + 0.5) / (document_frequency + 0.5))
    return idf * frequency / (frequency + k1 * (1 - b + b * length / average))


def test_scores_follow_lucenes_formula() -> None:
    run = bm25_run(CORPUS, {"q": "Storks!", "sweep": "the sweep"}, k=10)
    assert run["q"] == pytest.approx({"d1": by_hand(2, 4, 2), "d4": by_hand(1, 2, 2)}, rel=1e-5)
    assert list(run["q"]) == ["d1", "d4"]
    assert run["sweep"] == pytest.approx({"d2": by_hand(3, 5, 1)}, rel=1e-5)


def test_queries_without_a_known_term_find_nothing() -> None:
    assert bm25_run(CORPUS, {"q": "the", "r": "", "s": "zeppelin"}, k=3) == {"q": {}, "r": {}, "s": {}}


def test_equal_scores_at_the_cut_keep_the_greater_ids() -> None:
    corpus = {f"d{i}": Document("", "one word") for i in (3, 1, 2, 10)}
    assert list(bm25_run(corpus, {"q": "word"}, k=2)["q"]) == ["d3", "d2"]
    assert list(bm25_run(corpus, {"q": "word"}, k=9)["q"]) == ["d3", "d2", "d10", "d1"]


def test_the_run_is_kept_on_disk_and_comes_back_equal(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = {"q": "storks and chimneys", "r": "nothing"}
    first = bm25_run(CORPUS, queries, k=3)
    assert len(list((cache / "bm25").iterdir())) == 1
    monkeypatch.setattr("seqio_tasks.first_stage._search", None)  # a second search would fail
    assert bm25_run(CORPUS, queries, k=3) == first
    with pytest.raises(TypeError):
        bm25_run(CORPUS | {"d1": Document("", "changed")}, queries, k=3)
    with pytest.raises(TypeError):
        bm25_run(CORPUS, queries, k=3, b=0.5)


def test_an_unwritable_cache_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with settings.override(cache_dir=str(blocker)):
        assert bm25_run(CORPUS, {"q": "storks"}, k=1)["q"]
    assert "could not be kept" in caplog.text


def test_unknown_stemmers_are_refused_and_none_keeps_words() -> None:
    with pytest.raises(ValueError, match="unknown stemmer 'snowbal'"):
        Analyzer("snowbal")
    assert Analyzer(None)("Nests and nesting") == ["nests", "nesting"]


@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("scifact", 0.66), ("nfcorpus", 0.31)])
def test_real_collections_reach_the_published_level(name: str, least: float) -> None:
    """Published BM25 nDCG@10: SciFact 0.665-0.691, NFCorpus 0.325-0.343."""
    root = Path(os.environ.get("INTERS_REAL_DATA") or Path(__file__).parents[2] / ".." / "shared" / "raw")
    try:
        folder = beir.beir_folder(root, name)
    except ValueError:
        pytest.skip(f"no BEIR folder of {name} under {root}; set INTERS_REAL_DATA")
    qrels = beir.read_qrels(folder, "test")
    queries = {query: text for query, text in beir.read_queries(folder).items() if query in qrels}
    run = bm25_run(beir.read_corpus(folder), queries, k=100)
    assert evaluate_run(qrels, run, ["nDCG@10"]).means["nDCG@10"] > least
