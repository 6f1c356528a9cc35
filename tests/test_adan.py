"""Adan, and the AdamW that the other stages use, on the release's recorded trajectories."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from moditalker_jax.training.adan import adan

GOLDEN = np.load(Path(__file__).parent / "goldens" / "adan.npz")
NAMES = ("l1.weight", "l1.bias", "l2.weight", "l2.bias")
RUNS = ("official", "big", "betas")


def recorded(run, kind, step):
    return {name: jnp.asarray(GOLDEN[f"{run}/{kind}/{name}"][step]) for name in NAMES}


def loss(params):
    hidden = jnp.tanh(GOLDEN["X"] @ params["l1.weight"].T + params["l1.bias"])
    return jnp.mean((hidden @ params["l2.weight"].T + params["l2.bias"] - GOLDEN["Y"]) ** 2)


def optimizer_of(run):
    rate, b1, b2, b3, eps, decay = (float(value) for value in GOLDEN[f"{run}/hyper"])
    return adan(rate, b1=b1, b2=b2, b3=b3, eps=eps, weight_decay=decay)


def assert_params_close(params, golden, rtol=1e-5):
    for name in NAMES:
        np.testing.assert_allclose(params[name], golden[name], rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("run", RUNS)
def test_updates_on_the_recorded_gradients(run):
    optimizer = optimizer_of(run)
    params = recorded(run, "params", 0)
    state = optimizer.init(params)
    for step in range(6):
        updates, state = optimizer.update(recorded(run, "grads", step), state, params)
        params = optax.apply_updates(params, updates)
        assert_params_close(params, recorded(run, "params", step + 1))


@pytest.mark.parametrize("run", RUNS)
def test_training_follows_the_recorded_losses(run):
    """The same, with our own gradients fed back: losses, gradients and parameters of six steps."""
    optimizer = optimizer_of(run)
    params = recorded(run, "params", 0)
    state = optimizer.init(params)

    @jax.jit
    def train_step(params, state):
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value, gradients

    for step in range(6):
        params, state, value, gradients = train_step(params, state)
        assert float(value) == pytest.approx(GOLDEN[f"{run}/losses"][step], rel=1e-5)
        for name, golden in recorded(run, "grads", step).items():
            np.testing.assert_allclose(gradients[name], golden, rtol=1e-4, atol=1e-6)
        assert_params_close(params, recorded(run, "params", step + 1), rtol=2e-5)


def test_first_step_only_decays():
    optimizer = adan(0.1, weight_decay=0.5)
    params = {"w": jnp.array([2.0, -4.0])}
    updates, _ = optimizer.update({"w": jnp.array([1.0, 3.0])}, optimizer.init(params), params)
    np.testing.assert_allclose(params["w"] + updates["w"], params["w"] / 1.05, rtol=1e-6)


def test_schedules_count_from_zero():
    """With a rate of 0 at first and 1 from update 1 on, the second update is the first to move."""
    optimizer = adan(lambda count: jnp.where(count < 1, 0.0, 1.0), weight_decay=0.5)
    params = {"w": jnp.array([3.0])}
    state = optimizer.init(params)
    first, state = optimizer.update({"w": jnp.zeros(1)}, state, params)
    second, _ = optimizer.update({"w": jnp.zeros(1)}, state, params)
    assert first["w"][0] == 0
    assert second["w"][0] == pytest.approx(3 / 1.5 - 3, rel=1e-6)


def test_params_are_required():
    optimizer = adan(0.1)
    params = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="params"):
        optimizer.update(params, optimizer.init(params))


def test_adamw_of_optax_is_that_of_the_release():
    optimizer = optax.adamw(1e-4, weight_decay=0.01)
    params = recorded("adamw", "params", 0)
    state = optimizer.init(params)
    for step in range(6):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        assert_params_close(params, recorded("adamw", "params", step + 1))
