"""Every method with a tiny random model, against one request at a time and a plain forward pass."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_stand_ins import TOKENIZER, tiny_loaded
from ranking_stand_ins import run_one

from inters_jax.inference.score import Scorer
from inters_jax.ranking import methods
from inters_jax.ranking.backend import ModelBackend, _finished
from inters_jax.ranking.engine import Engine
from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.one_query import ranking_of
from inters_jax.ranking.questions import Document, Labels, Permutation, Question
from inters_jax.settings.judging import MethodOptions
from seqio_tasks import catalog
from seqio_tasks.vocabularies import HuggingFaceVocabulary

pytestmark = pytest.mark.slow

PAIR = catalog.pair("inters_fact_retrieval_scifact")


def made(name, **options):
    return methods.make_method(name, MethodOptions(**options))


METHODS = [
    made("pointwise"),
    made("pointwise", whole=True),
    made("query_likelihood"),
    made("query_likelihood", per_token=True),
    made("pairwise", sort="allpairs"),
    made("pairwise", sort="heapsort", top_k=3),
    made("pairwise", sort="bubble", top_k=2, question="check"),
    made("setwise", sort="heapsort", top_k=3),
    made("setwise", sort="bubble", top_k=2, whole=True),
    made("listwise", window=4, top_k=3),
    made("first_token", window=4, top_k=3),
    made("self_consistency", window=4, top_k=2, shuffles=2),
]


@pytest.fixture(scope="module")
def loaded():
    return tiny_loaded(max_position=1024)


@pytest.fixture(scope="module")
def queries():
    words = ["salt", "water", "mill", "bridge", "stone", "river", "night", "market", "glass", "lamp", "field"]
    random = np.random.default_rng(0)

    def text(n):
        return " ".join(random.choice(words, n))

    return {
        f"q{n}": (text(4), [Document(text(1), text(random.integers(3, 40)), f"d{n}") for n in range(size)])
        for n, size in enumerate((7, 1, 5, 6))
    }


def backend(loaded, batch_tokens=2048, **options):
    options = {"max_length": 1024, "batch_tokens": batch_tokens, **options}
    return ModelBackend(loaded, HuggingFaceVocabulary(TOKENIZER), PAIR, **options)


@nnx.jit
def _forward(model, tokens):
    return model(tokens, jnp.ones_like(tokens), jnp.arange(tokens.shape[1])[None])


class Plain(ModelBackend):
    """Answers by whole forward passes over one sequence at a time, without caches, branches or packing."""

    def logits(self, tokens):
        padded = jnp.asarray([[*tokens, *[0] * (512 - len(tokens))]], jnp.int32)
        return np.asarray(_forward(self.loaded.model, padded))[0]

    def answer(self, prepared):
        return [
            _finished(request, self.one(request, prompt, asked), asked)
            for request, prompt, asked in zip(
                prepared.requests, prepared.prompts, prepared.asked, strict=True
            )
        ]

    def one(self, request, prompt, asked):
        if isinstance(request, Permutation):
            return self.order(prompt, asked)
        if isinstance(request, Labels) and not request.whole:
            return self.logits(prompt)[len(prompt) - 1, list(asked.first)]
        return [self.likelihood(prompt, continuation) for continuation in asked]

    def likelihood(self, prompt, continuation):
        logits = self.logits([*prompt, *continuation])[len(prompt) - 1 :][: len(continuation)]
        logits = logits.astype(np.float64)
        normal = np.log(np.exp(logits).sum(axis=1))
        return float((logits[np.arange(len(continuation)), list(continuation)] - normal).sum())

    def order(self, prompt, code):
        left, order, said = list(range(len(code.items))), [], list(prompt)
        while len(left) > 1:
            alive, at = left, 0
            while len(alive) > 1:
                logits = self.logits(said)[len(said) - 1]
                token = max({code.items[n][at] for n in alive}, key=lambda token: logits[token])
                said.append(token)
                alive = [n for n in alive if code.items[n][at] == token]
                at += 1
            order.append(alive[0])
            left = [n for n in left if n != alive[0]]
            said += [*code.items[alive[0]][at:], *code.separator]
        return order + left


def test_every_method_gives_the_ranking_of_plain_forward_passes(loaded, queries):
    plain = Plain(loaded, HuggingFaceVocabulary(TOKENIZER), PAIR, max_length=1024)
    one, other = backend(loaded, 4096), backend(loaded, 1024)
    for number, method in enumerate(METHODS):
        expected = {key: run_one(plain, method.rank(*query)) for key, query in queries.items()}
        engines = [Engine(one, batch=64, concurrent=4)]
        if number % 3 == 0:  # every way of asking once more with other batches of another size
            engines.append(Engine(other, batch=5, concurrent=2))
        for engine in engines:
            rankings = ((key, method.rank(*query)) for key, query in queries.items())
            for key, found, cost in engine.run(rankings):
                ranked, alone = expected[key]
                assert found.order == ranked.order, (method, key)
                np.testing.assert_allclose(found.scores, ranked.scores, atol=2e-4, rtol=1e-4)
                assert (cost.calls, cost.prompt_tokens) == (alone.calls, alone.prompt_tokens)
                assert cost.generated_tokens == alone.generated_tokens


def test_pointwise_prompts_share_the_beginning_that_candidates_of_a_query_have(loaded, queries):
    shared = backend(loaded)
    # In a model this narrow attention costs most, and longer rows are not worth what they save; here it
    # weighs as little as in a wide one.
    shared.scorer._even = 1e5
    rankings = ((key, made("pointwise").rank(*query)) for key, query in queries.items())
    seen = []
    shared.progress = seen.append
    costs = [cost for _, _, cost in Engine(shared).run(rankings)]
    assert sum(cost.calls for cost in costs) == sum(seen) == 19
    assert shared.scorer.real_tokens < 0.8 * sum(cost.prompt_tokens for cost in costs)
    assert all(cost.seconds > 0 and cost.latency >= cost.seconds for cost in costs)


def test_a_permutation_costs_what_is_written(loaded, queries):
    one = backend(loaded)
    query, documents = queries["q0"]
    method = made("listwise", window=4, window_passes=1)
    _, cost = run_one(one, method.rank(query, documents))
    vocabulary = HuggingFaceVocabulary(TOKENIZER)
    written = len(vocabulary.encode("[1] > [2] > [3] > [4]")) - len(
        one.identifiers.order(("[1]", "[2]")).common
    )
    assert cost.calls == 3 and cost.generated_tokens == 3 * written


def test_documents_that_do_not_fit_are_shortened_and_counted(loaded):
    small = backend(loaded, max_length=512)
    long = [Document("", "stone bridge " * 400, f"d{n}") for n in range(3)]
    _, cost = run_one(small, made("pointwise").rank("mill", long))
    assert cost.prompt_tokens <= 3 * 512 and sum(small.counts.values()) > 0
    with pytest.raises(RerankError, match=r"10 documents exceeds MAX_LENGTH=512.*show fewer documents"):
        run_one(small, made("listwise", window=10).rank("mill", long * 4))


def one_run(backend, method, query, documents):
    [(_, ranked, cost)] = Engine(backend, batch=4).run({"q": ranking_of(method, query, documents)})
    assert sorted(ranked.order) == list(range(len(documents)))
    return ranked, cost


@pytest.mark.parametrize("method", [METHODS[n] for n in (0, 2, 6, 7, 9)], ids=str)
def test_a_query_that_does_not_fit_is_cut_for_all_documents_alike(loaded, queries, method, caplog):
    small = backend(loaded, max_length=512)
    short = queries["q0"][1]
    long = [Document("", "stone bridge " * 400, "long"), *short[:4]]
    ranked, cost = one_run(small, method, "mill river " * 2000, long)
    assert ranked.reranked and cost.query_cut and not cost.unranked
    assert "is cut from 22000 to" in caplog.text
    cut = {query for query in small._queries.values() if len(query) < 22_000}
    kinds = {(key[0], key[2], key[3]) for key in small._queries}
    assert 1 <= len(cut) <= len(kinds)  # one length for each kind of question, whatever documents it shows


def test_a_cut_query_is_the_longest_that_fits_at_a_word(loaded):
    small = backend(loaded, max_length=512)
    request = Labels(Question("pointwise_judgment", "mill river " * 2000, (Document("", "x"),)))
    [kept] = {small._fitting(request).question.query for _ in range(2)}
    assert kept == ("mill river " * 2000)[: len(kept)] and kept.split()[-1] in ("mill", "river")
    documents = (Document("", "stone " * 500),)
    fitting = Labels(Question("pointwise_judgment", kept, documents))
    assert len(small.prepare([fitting]).prompts[0]) <= 512
    more = kept + (" river" if kept.endswith("mill") else " mill")
    longer = Labels(Question("pointwise_judgment", more, documents))
    assert small.usage(small.prepare([longer]))[0].query_cut
    one_word = Labels(Question("pointwise_judgment", "m" * 20_000, documents))
    assert 0 < len(small.prepare([one_word]).requests[0].question.query) < 20_000


@pytest.mark.parametrize("method", [made("listwise", window_passes=1), made("first_token", window_passes=1),
                                    made("setwise", num_child=15)], ids=str)  # fmt: skip
def test_windows_become_narrower_where_they_do_not_fit(loaded, method):
    small = backend(loaded, max_length=1024)
    long = [Document("", f"stone bridge {n} " * 200, f"d{n}") for n in range(20)]
    ranked, cost = one_run(small, method, "mill " * 20, long)
    assert ranked.reranked and cost.narrowed and not cost.query_cut and not cost.unranked
    # The others keep what they would have alone.
    plain = [Document("", f"stone {n}", f"d{n}") for n in range(6)]
    alone = one_run(small, method, "mill", plain)
    both = {key: (ranked, cost) for key, ranked, cost in Engine(small).run(
        {"long": ranking_of(method, "mill " * 20, long), "short": ranking_of(method, "mill", plain)}
    )}  # fmt: skip
    assert both["short"][0].order == alone[0].order and not both["short"][1].narrowed
    assert both["long"][0].order == ranked.order


def test_a_prompt_that_never_fits_keeps_the_first_stage(loaded, caplog):
    tiny = backend(loaded, max_length=64)
    long = [Document("", "stone bridge " * 200, f"d{n}") for n in range(5)]
    for name in ("pointwise", "pairwise", "listwise", "setwise", "query_likelihood"):
        ranked, cost = one_run(tiny, made(name), "mill", long[:1] + [d._replace(text=d.text + d.doc_id)
                                                                       for d in long[1:]])  # fmt: skip
        assert ranked.order == [0, 1, 2, 3, 4] and cost.unranked and not ranked.reranked
    assert "keeps its first-stage order: a question (pointwise_judgment)" in caplog.text


def test_identical_documents_keep_the_first_stage_and_are_asked_once(loaded, queries):
    query, documents = queries["q0"]
    mixed = [documents[0], documents[1], documents[0], documents[1], documents[0]]
    shared = backend(loaded)
    for method in METHODS:
        ranked, cost = one_run(shared, method, query, [documents[0]] * 7)
        assert ranked.order == list(range(7)) and len(set(ranked.scores.tolist())) == 1
        assert cost.calls <= 1
        ranked, _ = one_run(shared, method, query, mixed)
        assert ranked.order in ([0, 2, 4, 1, 3], [1, 3, 0, 2, 4])


def test_documents_that_are_equal_when_cut_are_asked_once(loaded, monkeypatch):
    small = backend(loaded, max_length=512)
    asked = []
    logits = small.scorer.label_logits
    monkeypatch.setattr(
        small.scorer, "label_logits", lambda p, labels, **more: asked.extend(p) or logits(p, labels, **more)
    )
    long = [Document("", "stone bridge " * 400 + str(n)) for n in range(5)]
    ranked, _ = run_one_batch(small, made("pointwise"), "mill", [*long, Document("", "river")])
    assert len(asked) == 2 and len(set(ranked.scores[:5].tolist())) == 1


def run_one_batch(backend, method, query, documents):
    [(_, ranked, cost)] = Engine(backend).run({"q": ranking_of(method, query, documents)})
    return ranked, cost


def test_the_scorer_is_asked_for_one_group_of_labels_at_a_time(loaded, queries, monkeypatch):
    asked = []
    original = Scorer.label_logits
    monkeypatch.setattr(
        Scorer,
        "label_logits",
        lambda self, prompts, ids, **more: asked.append(len(prompts)) or original(self, prompts, ids, **more),
    )
    rankings = ((key, made("pointwise").rank(*query)) for key, query in queries.items())
    list(Engine(backend(loaded)).run(rankings))
    assert asked == [19] or sum(asked) == 19
