"""Averaged parameters against the release's two averages."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.training.ema import constant_decay, update_ema, warmup_decay

GOLDEN = np.load(Path(__file__).parent / "goldens" / "ema.npz")
NAMES = ("l1.weight", "l1.bias", "l2.weight", "l2.bias")


def test_warmup_trajectory():
    decay = warmup_decay(0.9999)
    average = {name: jnp.asarray(GOLDEN[f"shadow/{name}"][0]) for name in NAMES}
    for update in range(1, 9):
        assert float(decay(update)) == pytest.approx(GOLDEN["decay_per_update"][update - 1])
        params = {name: jnp.asarray(GOLDEN[f"params/{name}"][update]) for name in NAMES}
        average = update_ema(average, params, decay(update))
        for name in NAMES:
            golden = GOLDEN[f"shadow/{name}"][update]
            np.testing.assert_allclose(average[name], golden, rtol=1e-5, atol=1e-7)


def test_constant_step():
    old, new = jnp.asarray(GOLDEN["atom_ema_old"]), jnp.asarray(GOLDEN["atom_ema_new"])
    average = update_ema(old, new, constant_decay(0.9999)(1))
    np.testing.assert_allclose(average, GOLDEN["atom_ema_result"], rtol=1e-5)


def test_limits_of_decay():
    old, new = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([5.0, -1.0])}
    np.testing.assert_array_equal(update_ema(old, new, 1.0)["w"], old["w"])
    np.testing.assert_allclose(update_ema(old, new, 0.0)["w"], new["w"], rtol=1e-6)


def test_warmup_rises_to_its_maximum():
    decay = warmup_decay(0.99)
    values = [float(decay(update)) for update in (1, 10, 100, 1000, 10_000)]
    assert values == sorted(values) and values[0] == pytest.approx(2 / 11)
    assert values[-1] == pytest.approx(0.99)


def test_many_small_steps_reach_constant_params():
    """After n updates towards constant parameters the distance left is decay**n."""
    average = {"w": jnp.zeros(3)}
    for update in range(200):
        average = update_ema(average, {"w": jnp.ones(3)}, constant_decay(0.98)(update))
    np.testing.assert_allclose(average["w"], 1 - 0.98**200, rtol=1e-5)
