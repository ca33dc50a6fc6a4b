"""The step with a loss over documents: what it adds, and that microbatches change nothing.

Meshes of eight devices: `test_mesh_equality.py`, whose batches have documents too.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from training_stand_ins import LOGICAL_AXES, TINY, VOCABULARY, TinyDecoder, random_batch, with_documents

from inters_jax import mesh as meshes
from inters_jax.models.decoder import Decoder
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.optimizer import build_optimizer
from inters_jax.training.ranking_losses import RankNet
from inters_jax.training.ranking_step import Ranking

YES, NO, WEIGHT, SLOTS = 7, 8, 0.5, 6
LOSS = RankNet(labels="teacher")


def step_of(microbatches=1, ranking=None):
    mesh = meshes.make_mesh()
    structure, params = steps.Structure.split(TinyDecoder(nnx.Rngs(0)))
    optimizer, _ = build_optimizer(OptimizerSettings(learning_rate=0.01), 10, LOGICAL_AXES)
    shardings = steps.state_shardings(mesh, LOGICAL_AXES, params, optimizer)
    step = steps.make_train_step(
        structure,
        optimizer,
        mesh,
        shardings,
        vocabulary=VOCABULARY,
        microbatches=microbatches,
        ranking=ranking,
    )
    return mesh, structure, steps.init_state(params, optimizer, shardings), step


@pytest.fixture(scope="module")
def ranked():
    """Microbatches -> (the loss metrics of a step, the parameters after it)."""
    results = {}
    for microbatches in (1, 4):
        mesh, _, state, step = step_of(microbatches, Ranking(LOSS, WEIGHT, (YES, NO), SLOTS))
        batch = with_documents(random_batch(0), 1, SLOTS)
        state, metrics = step(state, meshes.to_devices(mesh, batch, 8))
        results[microbatches] = jax.device_get((metrics, state.params))
    return results


def by_hand():
    """Sum and number of RankNet's pairs of every row, by the teacher's order and from all logits."""
    _, structure, state, _ = step_of()
    batch = with_documents(random_batch(0), 1, SLOTS)
    model = structure.bind(state.params)
    logits = np.asarray(model.logits(model.hidden(*(batch[f"decoder_{name}"] for name in (
        "input_tokens", "segment_ids", "positions"
    )))), np.float64)  # fmt: skip
    sums, pairs = np.zeros(8), 0
    for row in range(8):
        groups, labels = batch["decoder_document_groups"][row], batch["decoder_document_teacher"][row]
        at = np.minimum(batch["decoder_document_positions"][row], 31)
        scores = logits[row, at, YES] - logits[row, at, NO]
        for i in range(SLOTS):
            for j in range(SLOTS):
                if groups[i] == groups[j] > 0 and labels[i] > labels[j]:
                    sums[row] += np.log1p(np.exp(scores[j] - scores[i]))
                    pairs += 1
    return sums, pairs


def test_the_ranking_loss_is_that_of_the_yes_no_margins_of_the_documents(ranked):
    metrics, _ = ranked[1]
    sums, pairs = by_hand()
    np.testing.assert_allclose(metrics.ranking, [sums.sum() / pairs, pairs], rtol=1e-5)
    np.testing.assert_allclose(
        metrics.row_losses, metrics.token_losses.sum(axis=1) + WEIGHT * sums, rtol=1e-5, atol=1e-6
    )


def test_the_language_model_loss_stays_what_it_was_and_the_gradient_gets_another_part(ranked):
    mesh, _, state, step = step_of()
    state, plain = step(state, meshes.to_devices(mesh, random_batch(0), 8))
    metrics, params = ranked[1]
    assert plain.ranking is None
    np.testing.assert_allclose(metrics.loss, plain.loss, rtol=1e-6)
    assert metrics.target_tokens == plain.target_tokens
    assert abs(metrics.grad_norm - float(plain.grad_norm)) > 1e-3
    assert np.abs(params["head"] - np.asarray(state.params["head"])).max() > 1e-4


def test_microbatches_change_nothing(ranked):
    # Rows have different numbers of documents, so averaging the means of the microbatches would differ.
    (whole, params), (parts, other) = ranked[1], ranked[4]
    for name in ("loss", "grad_norm", "ranking", "row_losses"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5, err_msg=name)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, atol=2e-5), params, other)


def test_a_batch_without_documents_has_no_ranking_loss_and_stays_finite():
    ranking = Ranking(LOSS, WEIGHT, (YES, NO), SLOTS)
    batch = with_documents(random_batch(0), 1, SLOTS)
    batch["decoder_document_groups"][:] = 0
    batch["decoder_document_positions"][:] = 32
    assert float(ranking.terms(batch)) == 0.0
    model = TinyDecoder(nnx.Rngs(0))
    hidden = np.random.default_rng(0).normal(size=(8, 32, 16)).astype(np.float32)
    assert np.asarray(ranking.row_sums(model, hidden, batch)).tolist() == [0.0] * 8


@pytest.mark.parametrize(
    "changes", [{"tie_embeddings": True, "logit_softcap": 0.5}, {"tie_embeddings": False, "head_bias": True}]
)
def test_logits_of_some_tokens_are_those_of_all(changes):
    model = Decoder(dataclasses.replace(TINY, num_layers=1, **changes), rngs=nnx.Rngs(params=0))
    if model.head is not None:
        model.head.bias[...] = jax.numpy.arange(64.0)
    hidden = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
    whole = np.asarray(model.logits(hidden))
    np.testing.assert_allclose(model.logits(hidden, (9, 2)), whole[..., [9, 2]], rtol=1e-5)
