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
from inters_jax.ranking.questions import Document, Labels, Permutation
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
    costs = [cost for _, _, cost in Engine(shared).run(rankings)]
    assert sum(cost.calls for cost in costs) == 19
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


def test_the_scorer_is_asked_for_one_group_of_labels_at_a_time(loaded, queries, monkeypatch):
    asked = []
    original = Scorer.label_logits
    monkeypatch.setattr(
        Scorer,
        "label_logits",
        lambda self, prompts, ids: asked.append(len(prompts)) or original(self, prompts, ids),
    )
    rankings = ((key, made("pointwise").rank(*query)) for key, query in queries.items())
    list(Engine(backend(loaded)).run(rankings))
    assert asked == [19] or sum(asked) == 19
