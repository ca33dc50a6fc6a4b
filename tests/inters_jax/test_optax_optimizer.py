"""Any optimiser of optax: its schedule and decay, what is refused, and whole runs."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_stand_ins import TINY, make_store, run_train

from inters_jax.models.decoder import abstract_model
from inters_jax.run_folder import CheckpointError, restore_params, run_record
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.metrics import read_metrics
from inters_jax.training.optax_optimizer import Optax
from inters_jax.training.optimizer import build_optimizer, optimizer_of
from seqio_tasks.base import UserError

AXES = {"stack": ("layers", "embed", "mlp"), "norm": ("layers", "norm")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data") / "store").folder


def trees(count=5):
    keys = jax.random.split(jax.random.key(0), count + 1)
    made = [
        {
            "stack": jax.random.normal(key, (2, 4, 3)),
            "norm": jax.random.normal(jax.random.fold_in(key, 1), (2, 4)),
        }
        for key in keys
    ]
    return made[0], made[1:]


def run(transformation, params, gradients):
    state = transformation.init(params)
    for gradient in gradients:
        updates, state = jax.jit(transformation.update)(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), one, other)


def test_the_schedule_and_its_own_decay_are_handed_over():
    params, gradients = trees()
    settings = OptimizerSettings(
        optimizer=Optax("adan", {"b1": 0.95}),
        learning_rate=0.1,
        weight_decay=0.3,
        warmup=2,
        clip=None,
        decay_norms=False,
    )
    transformation, schedule = build_optimizer(settings, 5, AXES)
    reference = optax.adan(schedule, b1=0.95, weight_decay=0.3, mask={"stack": True, "norm": False})
    assert_close(run(transformation, params, gradients)[0], run(reference, params, gradients)[0])


def test_decoupled_decay_is_added_where_there_is_none():
    params, gradients = trees()
    settings = OptimizerSettings(
        optimizer=Optax("adam", {"b2": 0.95}),
        learning_rate=0.1,
        weight_decay=0.3,
        warmup=2,
        decay_norms=False,
    )
    ours = OptimizerSettings(learning_rate=0.1, weight_decay=0.3, warmup=2, decay_norms=False)
    expected, _ = run(build_optimizer(ours, 5, AXES)[0], params, gradients)
    assert_close(run(build_optimizer(settings, 5, AXES)[0], params, gradients)[0], expected)


def test_gradients_are_clipped_by_their_global_norm():
    params, gradients = trees(1)
    settings = OptimizerSettings(
        optimizer=Optax("sgd"), learning_rate=1.0, weight_decay=0.0, warmup=0, schedule="constant", clip=0.5
    )
    done, _ = run(build_optimizer(settings, 2, AXES)[0], params, gradients)
    moved = jax.tree.map(jnp.subtract, params, done)
    assert float(optax.global_norm(moved)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(("name", "moments"), [("adabelief", 2.0), ("sgd", 0.0), ("ademamix", 3.0)])
def test_moments_are_counted_and_stored_in_their_type(name, moments):
    settings = OptimizerSettings(
        optimizer=Optax(name, {"b2": 0.9} if moments else {}), moment_dtype="float32"
    )
    chosen = optimizer_of(settings)
    assert chosen.moments == moments and chosen.kind == f"optax.{name}"
    if name == "ademamix":  # its slow moment would never decay
        with pytest.raises(UserError, match=r"optax\.ademamix\.b3=0\.9999 needs finer moments"):
            build_optimizer(dataclasses.replace(settings, moment_dtype="bfloat16"), 3, AXES)
        return
    params, gradients = trees(2)
    transformation, _ = build_optimizer(dataclasses.replace(settings, moment_dtype="bfloat16"), 3, AXES)
    done, state = run(transformation, params, gradients)
    kept = [leaf.dtype for leaf in jax.tree.leaves(state) if leaf.shape == (2, 4, 3)]
    assert kept == [jnp.dtype("bfloat16")] * int(moments) and done["stack"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adabelif", {}, r"optax has no optimiser 'adabelif'; did you mean adabelief"),
        ("scale_by_adam", {}, "optax has no optimiser 'scale_by_adam'"),
        ("adabelief", {"b_1": 0.9}, r"optax\.adabelief has no argument 'b_1'; did you mean b1"),
        ("adamw", {"weight_decay": 0.1}, "weight_decay is set for all optimisers with WEIGHT_DECAY"),
        ("adamw", {"learning_rate": 0.1}, "learning_rate is set for all optimisers with LEARNING_RATE"),
        ("adamw", {"mu_dtype": jnp.bfloat16}, "arguments must be plain values"),
        ("muon", {}, r"use OPTIMIZER=@Muon\(\)"),
        ("schedule_free_adamw", {}, "have to be averaged"),
    ],
)
def test_invalid_names_and_arguments_are_refused_at_once(name, arguments, message):
    with pytest.raises(UserError, match=message):
        Optax(name, arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lbfgs", "cannot be used with a schedule, gradients and parameters alone"),
        ("momo", "cannot be used with a schedule, gradients and parameters alone"),
        ("dpsgd", "cannot be used with a schedule, gradients and parameters alone"),
        ("novograd", r"cannot spare norms \(decay_norms=False\)"),
    ],
)
def test_optimisers_that_need_more_are_refused_before_a_run(name, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(OptimizerSettings(optimizer=Optax(name), decay_norms=False), 3, AXES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [Optax("adabelief", {"b2": 0.99}), Optax("adan"), Optax("ademamix")],
    ids=lambda one: one.kind,
)
def test_a_run_learns_resumes_to_the_bit_and_keeps_its_identity(tmp_path, store, monkeypatch, optimizer):
    settings = {
        "optimizer": optimizer,
        "learning_rate": 0.01,
        "train_steps": 8,
        "log_every": 2,
    }
    run_train(tmp_path / "whole", store, **settings)
    losses = [record["loss"] for record in read_metrics(tmp_path / "whole")]
    assert losses[-1] < losses[0]
    received = "inters_jax.training.signals.StopSignals.received"
    with monkeypatch.context() as patch:
        patch.setattr(received, lambda self, step: "SIGTERM" if step == 3 else None)
        assert run_train(tmp_path / "parts", store, **settings)["step"] == 3
    assert run_train(tmp_path / "parts", store, **settings)["step"] == 8
    records = [run_record(tmp_path / name, 8) for name in ("whole", "parts")]
    assert records[0]["optimizer_kind"] == optimizer.kind
    assert records[0]["optimizer"]["optimizer"] == {
        "name": optimizer.name,
        "arguments": dict(optimizer.arguments),
    }
    assert json.dumps(records[0]["optimizer"]) == json.dumps(records[1]["optimizer"])
    shapes = abstract_model(TINY)[1]
    one, other = (restore_params(tmp_path / name, 8, shapes) for name in ("whole", "parts"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(CheckpointError, match="another optimiser"):
        run_train(tmp_path / "parts", store, **(settings | {"optimizer": None}))
