"""Oracle, constant and random scorers on collections: the proofs that scripts/oracle_ranking.py prints."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from inters_jax.ranking import methods
from inters_jax.ranking.candidates import Candidates
from inters_jax.ranking.collection import Collection

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("oracle_ranking", ROOT / "scripts" / "oracle_ranking.py")
oracle_ranking = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle_ranking)


@pytest.fixture(scope="module")
def synthetic():
    """Six queries with 3 to 23 candidates, graded, and one relevant document out of reach of each."""
    random = np.random.default_rng(4)
    qrels, found = {}, {}
    for number, size in enumerate((3, 9, 14, 15, 22, 23)):
        names = [f"d{n:02}" for n in range(size)]
        grades = random.choice([-1, 0, 0, 1, 3], size + 1).tolist()
        qrels[f"q{number}"] = {**dict(zip(names, grades, strict=False)), "missed": 2}
        found[f"q{number}"] = tuple(names)
    scores = {query: [-float(n) for n in range(len(names))] for query, names in found.items()}
    data = Collection("synthetic", "memory", {q: q for q in qrels}, {}, qrels, tuple(qrels))
    return data, Candidates(found, scores, 100, "memory", "")


@pytest.mark.parametrize("name", list(oracle_ranking.METHODS))
def test_oracle_and_constant_on_graded_judgments(synthetic, name):
    data, candidates = synthetic
    method = oracle_ranking.METHODS[name]
    orders, calls = oracle_ranking.ranked(
        data, candidates, method, lambda q, d: data.qrels[q].get(d.doc_id, 0)
    )
    best = oracle_ranking.ideal(data, candidates)
    assert oracle_ranking.measured(data, orders) == pytest.approx(best, abs=1e-12)
    assert best < 1 and calls > 0  # the missed document costs every method alike
    orders, _ = oracle_ranking.ranked(data, candidates, method, lambda q, d: 0.0)
    assert orders == {query: list(documents) for query, documents in candidates.documents.items()}


@pytest.mark.parametrize("name", list(oracle_ranking.METHODS))
def test_random_scores_meet_the_expectation_of_a_random_order(synthetic, name):
    data, candidates = synthetic
    expected = oracle_ranking.expected_at_random(data, candidates)
    values = [
        oracle_ranking.measured(
            data,
            oracle_ranking.ranked(
                data, candidates, oracle_ranking.METHODS[name], oracle_ranking.chance(seed)
            )[0],
        )
        for seed in range(25)
    ]
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 3 * error < 0.1


def test_the_expectation_is_the_mean_over_all_orders():
    import itertools

    qrels = {"q": {"a": 2, "b": 0, "c": 1, "d": 1}}
    data = Collection("x", "memory", {"q": "q"}, {}, qrels, ("q",))
    candidates = Candidates({"q": tuple("abc")}, {"q": (3.0, 2.0, 1.0)}, 10, "memory", "")
    values = [oracle_ranking.measured(data, {"q": list(o)}) for o in itertools.permutations("abc")]
    assert oracle_ranking.expected_at_random(data, candidates) == pytest.approx(np.mean(values))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), [("DL19", 0.5058), ("SciFact", None), ("NFCorpus", None)])
def test_real_collections(name, first):
    try:
        raw = oracle_ranking.data_folder()
    except SystemExit as reason:
        pytest.skip(str(reason))
    data = dict(oracle_ranking.collections(raw, None if name == "DL19" else 40))[name]
    candidates = oracle_ranking.candidates_of(data, None, 100)
    if first is not None:
        orders = {query: list(documents) for query, documents in candidates.documents.items()}
        assert oracle_ranking.measured(data, orders) == pytest.approx(first, abs=5e-5)
    best = oracle_ranking.ideal(data, candidates)
    for method in (*oracle_ranking.METHODS.values(), methods.Listwise(9, 4), methods.Setwise(7, "bubble")):
        if isinstance(method, methods.Pairwise) and method.sort == "allpairs":
            continue  # proven on synthetic lists; 9,900 questions per query are the script's
        orders, _ = oracle_ranking.ranked(
            data, candidates, method, lambda q, d: data.qrels[q].get(d.doc_id, 0)
        )
        assert oracle_ranking.measured(data, orders) == pytest.approx(best, abs=1e-12)
        orders, _ = oracle_ranking.ranked(data, candidates, method, lambda q, d: 0.0)
        assert orders == {query: list(documents) for query, documents in candidates.documents.items()}
