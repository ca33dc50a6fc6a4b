"""AdamW of the recipe against the textbook update in numpy, what optimisers share, and the schedule."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.optimizer import build_optimizer, identity_of, optimizer_of
from inters_jax.training.optimizers import AdamW
from inters_jax.training.schedule import learning_rate_schedule
from seqio_tasks.base import UserError


def test_update_is_clipped_adamw():
    optimizer, rate = build_optimizer(
        OptimizerSettings(learning_rate=0.1, warmup=0, schedule="constant"), total_steps=3
    )
    param = np.array([1.0, -2.0, 3.0])
    params = {"w": jnp.asarray(param, jnp.float32)}
    state = optimizer.init(params)
    mean, square = np.zeros(3), np.zeros(3)
    for step, gradient in enumerate([np.array([3.0, 0.0, 4.0]), np.array([0.1, 0.2, 0.2])], start=1):
        updates, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        clipped = gradient / max(1.0, np.linalg.norm(gradient))
        mean = 0.9 * mean + 0.1 * clipped
        square = 0.95 * square + 0.05 * clipped**2
        direction = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.95**step)) + 1e-8)
        param = param - 0.1 * (direction + 0.1 * param)
        np.testing.assert_allclose(params["w"], param, rtol=1e-5)
    assert float(rate(0)) == pytest.approx(0.1)


def test_recipe_schedule_of_a_hundred_steps():
    rate = learning_rate_schedule(1e-5, 100)
    values = [float(rate(step)) for step in range(100)]
    np.testing.assert_allclose(values[:3], [1e-5 / 3, 2e-5 / 3, 1e-5], rtol=1e-5)  # 3 % of 100 steps
    assert values[99] == pytest.approx(1e-6)
    assert values == sorted(values[:3]) + sorted(values[3:], reverse=True)
    middle = 2 + 97 / 2  # half way down the cosine
    assert (values[int(middle)] + values[int(middle) + 1]) / 2 == pytest.approx(5.5e-6, rel=1e-4)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_very_short_runs_have_a_schedule(total):
    rate = learning_rate_schedule(1.0, total)
    assert all(0 < float(rate(step)) <= 1 for step in range(total))


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(UserError, match="WARMUP=100 steps, but the whole run has 99"):
        learning_rate_schedule(1.0, 99, warmup=100)
    assert learning_rate_schedule(1.0, 100, warmup=100)(99) == 1.0


def test_norms_can_be_spared_from_decay():
    axes = {"norm": ("layers", "norm"), "bias": ("mlp",), "w": ("layers", "embed", "mlp")}
    params = {"norm": jnp.ones((2, 3)), "bias": jnp.ones(3), "w": jnp.ones((2, 3, 3))}
    settings = OptimizerSettings(learning_rate=1.0, warmup=0, schedule="constant", decay_norms=False)
    optimizer, _ = build_optimizer(settings, 2, axes)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert float(jnp.abs(updates["norm"]).max()) == 0 and float(jnp.abs(updates["bias"]).max()) == 0
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)


def test_moments_in_bfloat16_take_half_the_memory_and_nearly_the_same_steps():
    gradients = {"w": jnp.linspace(-1.0, 1.0, 64)}
    ways = {}
    for dtype in ("float32", "bfloat16"):
        settings = OptimizerSettings(learning_rate=0.1, warmup=0, schedule="constant", moment_dtype=dtype)
        optimizer, _ = build_optimizer(settings, 20)
        params = {"w": jnp.ones(64)}
        state = optimizer.init(params)
        for _ in range(20):
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (64,)]
        assert len(moments) == 2 and {moment.dtype for moment in moments} == {jnp.dtype(dtype)}
        assert params["w"].dtype == jnp.float32
        ways[dtype] = params["w"] - 1.0
    np.testing.assert_allclose(ways["bfloat16"], ways["float32"], rtol=0.02, atol=0.02)


def test_moments_that_could_not_decay_are_refused():
    with pytest.raises(UserError, match=r"AdamW\.b2=0\.999 needs finer moments than bfloat16"):
        build_optimizer(OptimizerSettings(optimizer=AdamW(b2=0.999), moment_dtype="bfloat16"), 10)


def test_settings_without_meaning_are_refused():
    with pytest.raises(UserError, match="SCHEDULE='cosin' must be 'cosine'"):
        build_optimizer(OptimizerSettings(schedule="cosin"), 10)
    with pytest.raises(UserError, match="at least one step"):
        build_optimizer(OptimizerSettings(), 0)
    with pytest.raises(UserError, match="DECAY_NORMS=False needs the logical axes"):
        build_optimizer(OptimizerSettings(decay_norms=False), 10)


def test_the_optimiser_is_adamw_unless_another_is_given():
    settings = OptimizerSettings()
    assert optimizer_of(settings) == AdamW() == optimizer_of(OptimizerSettings(optimizer=AdamW()))
    assert (optimizer_of(settings).kind, optimizer_of(settings).moments) == ("AdamW", 2.0)
    assert identity_of(settings)["optimizer_kind"] == "AdamW"
    assert identity_of(settings)["optimizer"]["optimizer"] == {"b1": 0.9, "b2": 0.95, "eps": 1e-8}
