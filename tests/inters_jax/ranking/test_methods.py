"""Every ranking method with scorers whose result is known: an oracle, a constant, a random one."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_stand_ins import run_one

from inters_jax.ranking import methods
from inters_jax.ranking.backend import FunctionBackend
from inters_jax.ranking.engine import Engine
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.methods.aggregation import balanced_shuffles, kemeny, preferences
from inters_jax.ranking.methods.listwise import windows
from inters_jax.ranking.questions import Document, Permutation
from inters_jax.settings.judging import MethodOptions

# Fields of methods whose settings have other names.
SETTINGS = {"passes": "window_passes", "seed": "shuffle_seed"}


def made(name, **options):
    given = {SETTINGS.get(option, option): value for option, value in options.items()}
    return methods.make_method(name, MethodOptions(**given))


EXACT = [
    made("pointwise"),
    made("query_likelihood"),
    made("pairwise", sort="allpairs"),
    made("pairwise", sort="allpairs", question="check"),
    made("pairwise", sort="heapsort"),
    made("pairwise", sort="bubble"),
    made("setwise", sort="heapsort"),
    made("setwise", sort="bubble"),
    made("listwise"),
    made("first_token"),
    made("self_consistency", shuffles=3),
    made("first_token", shuffles=4, aggregate="borda"),
]
NAMES = [repr(method) for method in EXACT]


def documents(grades):
    return [Document("", f"text {n}", str(n)) for n in range(len(grades))]


def ranked(method, grades, backend=None):
    backend = backend or FunctionBackend(lambda query, document: grades[int(document.doc_id)])
    result, cost = run_one(backend, method.rank("query", documents(grades)))
    assert sorted(result.order) == list(range(len(grades))), "a document is lost"
    assert result.scores.dtype == np.float32 and result.scores.shape == (len(grades),)
    assert (np.diff(result.scores[result.order]) <= 0).all(), "scores rise along the order"
    return result.order, cost


def ideal(grades):
    return sorted(range(len(grades)), key=lambda n: -grades[n])


def assert_best(order, grades, k=10):
    assert [grades[n] for n in order[:k]] == sorted(grades, reverse=True)[:k]


@pytest.mark.parametrize("method", EXACT, ids=NAMES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 11, 19, 20, 21, 37, 98, 100])
def test_an_oracle_finds_the_best_order(method, n):
    grades = np.random.default_rng(n).integers(0, 4, n).tolist()
    assert_best(ranked(method, grades)[0], grades)


@pytest.mark.parametrize("method", EXACT, ids=NAMES)
@pytest.mark.parametrize("n", [1, 2, 9, 20, 33, 100])
def test_a_constant_scorer_keeps_the_first_stage(method, n):
    assert ranked(method, [0] * n)[0] == list(range(n))


@pytest.mark.parametrize("method", EXACT, ids=NAMES)
def test_distinct_scores_give_one_and_the_same_top_ten(method):
    grades = np.random.default_rng(5).permutation(43).tolist()
    assert ranked(method, grades)[0][:10] == ideal(grades)[:10]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_windows_of_any_size_skip_nothing_and_place_the_best(data):
    n = data.draw(st.integers(1, 60), "n")
    window = data.draw(st.integers(2, 25), "window")
    stride = data.draw(st.integers(1, window - 1), "stride")
    top_k = data.draw(st.integers(1, 30), "k")
    grades = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n), "grades")
    for answers in ("generated", "first_token"):
        method = methods.Listwise(window, stride, top_k=top_k, answers=answers)
        assert_best(ranked(method, grades)[0], grades, top_k)
    spans = list(windows(n, window, stride))
    assert set().union(*(range(*span) for span in spans)) == set(range(n))
    assert spans[-1][0] == 0 and all(end - first == min(n, window) for first, end in spans)
    for (later, _), (_, end) in itertools.pairwise(spans):
        assert end - later >= min(window - stride, n)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_sorting_of_any_size_places_the_best(data):
    n = data.draw(st.integers(1, 40), "n")
    top_k = data.draw(st.integers(1, 45), "k")
    grades = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n), "grades")
    sort = data.draw(st.sampled_from(["heapsort", "bubble"]))
    child = data.draw(st.integers(1, 9), "children")
    # Stable: equal documents keep their first-stage order among the top k.
    assert ranked(methods.Setwise(child, sort, top_k), grades)[0][:top_k] == ideal(grades)[:top_k]
    assert ranked(methods.Pairwise(sort, top_k), grades)[0][:top_k] == ideal(grades)[:top_k]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 1000), window=st.integers(2, 12), passes=st.integers(1, 3))
def test_a_contradictory_scorer_still_gives_a_permutation(n, seed, window, passes):
    class Fickle(FunctionBackend):
        """Prefers by a hash of all documents shown: no order agrees with it."""

        def __init__(self):
            super().__init__(lambda query, document: 0.0)

        def _answer(self, request):
            self.relevance = lambda query, document: hash(
                (seed, document, *request.question.documents, request.question.number)
            )
            return super()._answer(request)

    for method in (*EXACT, methods.Listwise(window, window, passes), methods.Setwise(window)):
        ranked(method, [0] * n, Fickle())


def test_calls_are_those_of_the_literature():
    """n = 100: pointwise 100, all pairs 9,900, 9 windows of 20 with stride 10 (Setwise paper, table 2)."""
    grades = np.random.default_rng(1).permutation(100).tolist()
    calls = {name: ranked(method, grades)[1].calls for name, method in zip(NAMES, EXACT, strict=True)}
    assert calls[NAMES[0]] == calls[NAMES[1]] == 100
    assert calls[NAMES[2]] == 9900
    assert calls[NAMES[8]] == calls[NAMES[9]] == 9
    assert calls[NAMES[10]] == 27
    assert 2 * 99 < calls[NAMES[4]] < 560 and 80 < calls[NAMES[6]] < 140
    assert ranked(methods.Listwise(20, 10, passes=3), grades)[1].calls <= 27
    # Once everything lies in one window a further pass has nothing to ask.
    assert ranked(methods.Listwise(20, 10, top_k=50), grades[:15])[1].calls == 1
    # A sorted list: bubbles meet every group once in all passes.
    assert ranked(methods.Pairwise("bubble", 10), list(range(30))[::-1])[1].calls == 2 * 29


def test_windows_that_would_skip_documents_are_refused():
    with pytest.raises(RerankError, match="STRIDE 5 is larger than WINDOW 4: documents between"):
        made("listwise", window=4, stride=5)
    with pytest.raises(RerankError, match="STRIDE = WINDOW = 4"):
        made("listwise", window=4, stride=4)


def test_unknown_methods_options_and_values_are_refused():
    with pytest.raises(RerankError, match="METHOD 'setwize' is unknown; choose one of pointwise"):
        made("setwize")
    with pytest.raises(RerankError, match=r"no option WINDOW; it has NUM_CHILD, SORT, TOP_K, WHOLE$"):
        made("setwise", window=4)
    with pytest.raises(
        RerankError, match=r"METHOD query_likelihood has no option SHUFFLE_SEED; it has PER_TOKEN$"
    ):
        made("query_likelihood", seed=0)
    with pytest.raises(RerankError, match="SORT 'quick' is unknown"):
        made("pairwise", sort="quick")


def test_every_option_of_a_method_can_be_set_by_name():
    """`answers` is what first_token means; everything else is an option."""
    fields = {name: field for field, name in SETTINGS.items()}
    options = [fields.get(entry.name, entry.name) for entry in dataclasses.fields(MethodOptions)]
    kinds = {kind for kind, _ in methods.METHODS.values()}
    assert {entry.name for kind in kinds for entry in dataclasses.fields(kind)} == {*options, "answers"}
    for name, (kind, preset) in methods.METHODS.items():
        assert methods.make_method(name) == made(name) == kind(**preset)
        for option in {entry.name for entry in dataclasses.fields(kind)} & set(options):
            others = {"sort": "bubble", "question": "check", "aggregate": "borda"}
            value = True if option in ("whole", "per_token") else others.get(option, 2)
            assert getattr(made(name, **{option: value}), option) == value
    assert made("first_token", shuffles=4).answers == "first_token"
    assert made("self_consistency", shuffles=0).shuffles == 0  # set, though it is no truth value


def test_a_preference_for_the_first_place_is_a_tie():
    class First(FunctionBackend):
        def _answer(self, request):
            return np.arange(len(request.question.documents), 0, -1).astype(np.float32)

    for sort in ("allpairs", "heapsort", "bubble"):
        order, _ = ranked(methods.Pairwise(sort), [3, 1, 2], First(None))
        assert order == [0, 1, 2]


def test_a_repeater_of_orders_has_no_say_in_self_consistency():
    class Repeats(FunctionBackend):
        def _answer(self, request):
            return list(range(len(request.question.documents)))

    for shuffles in (2, 3, 8):
        method = made("self_consistency", shuffles=shuffles, window=6)
        assert ranked(method, [0] * 17, Repeats(None))[0] == list(range(17))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 5), seed=st.integers(0, 10_000), count=st.integers(1, 6))
def test_kemeny_is_the_least_disagreement_of_small_lists(n, seed, count):
    random = np.random.default_rng(seed)
    orders = np.asarray([random.permutation(n) for _ in range(count)])
    wins = preferences(orders)

    def disagreement(order):
        return sum(int(wins[b, a]) for a, b in itertools.combinations(order, 2))

    found = kemeny(orders)
    assert sorted(found) == list(range(n))
    best = min(map(disagreement, itertools.permutations(range(n))))
    # An optimum of single moves: for so few documents at most one vote from the true one.
    assert disagreement(found) <= best + 1


def test_shuffles_are_seeded_and_balanced():
    assert balanced_shuffles(9, 6, 1) == balanced_shuffles(9, 6, 1) != balanced_shuffles(9, 6, 2)
    shuffles = balanced_shuffles(9, 6, 3)
    for one, other in zip(shuffles[::2], shuffles[1::2], strict=True):
        assert one == other[::-1]


def test_the_engine_gives_the_rankings_of_one_query_at_a_time():
    random = np.random.default_rng(0)
    queries = {f"q{n}": random.integers(0, 5, random.integers(1, 30)).tolist() for n in range(9)}
    backend = FunctionBackend(lambda query, document: queries[query][int(document.doc_id)])
    for method in EXACT:
        alone = {q: run_one(backend, method.rank(q, documents(g))) for q, g in queries.items()}
        for batch, concurrent in ((5, 1), (7, 3), (1024, 64)):
            seen = []
            engine = Engine(backend, batch=batch, concurrent=concurrent)
            rankings = ((q, method.rank(q, documents(g))) for q, g in queries.items())
            together = {q: (r, c) for q, r, c in engine.run(rankings, progress=seen.append)}
            assert together.keys() == queries.keys()
            for query, (result, cost) in together.items():
                assert result.order == alone[query][0].order
                np.testing.assert_array_equal(result.scores, alone[query][0].scores)
                assert cost.calls == alone[query][1].calls
            assert sum(seen) == sum(cost.calls for _, cost in together.values())


def test_the_engine_holds_few_queries_and_fills_its_batches():
    begun, sizes = [], []

    class Counting(FunctionBackend):
        def answer(self, prepared):
            sizes.append(len(prepared))
            return super().answer(prepared)

    def rankings():
        for number in range(40):
            begun.append(number)
            yield str(number), methods.Pairwise("heapsort").rank("q", documents([0] * 20))

    engine = Engine(Counting(lambda query, document: 0.0), batch=64, concurrent=8)
    running = engine.run(rankings())
    next(running)
    assert len(begun) <= 16
    assert len(list(running)) == 39 and max(sizes) <= 64
    # Eight queries that ask two things each, in two halves.
    assert np.mean(sizes) > 6
    with pytest.raises(RerankError, match="ranked twice"):
        list(Engine(Counting(lambda q, d: 0.0)).run([("a", EXACT[0].rank("q", documents([1])))] * 2))


def test_an_answer_that_is_no_number_names_query_and_document():
    backend = FunctionBackend(lambda query, document: math.nan if document.doc_id == "4" else 1.0)
    for method, name in ((EXACT[0], "document '4'"), (EXACT[9], "document '4'"), (EXACT[1], "document '4'")):
        with pytest.raises(RerankError, match=rf"query 'q7', {name}: the model answers nan"):
            list(Engine(backend).run({"q7": method.rank("q", documents([0] * 6))}))


def test_a_permutation_is_asked_once_per_window():
    requests = next(made("listwise", window=4).rank("q", documents([0] * 7)))
    assert [type(request) for request in requests] == [Permutation]
    assert [d.doc_id for d in requests[0].question.documents] == ["3", "4", "5", "6"]
