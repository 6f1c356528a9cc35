"""Losses on numbers that can be worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.diffusion.losses import atom_loss, diffusion_loss
from moditalker_jax.triplane import TriPlane


def test_atom_loss_of_a_constant_error_has_no_velocity():
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 68, 3)), jnp.float32)
    terms = atom_loss(x0 + 2, x0)
    assert terms["reconstruction"] == pytest.approx(7.5 * 4, rel=1e-5)
    assert terms["velocity"] == pytest.approx(0, abs=1e-10)
    assert terms["loss"] == terms["reconstruction"] + terms["velocity"]


def test_atom_loss_of_a_growing_error():
    """Errors 0, 1, 2: mean square 5/3, differences 1."""
    error = jnp.broadcast_to(jnp.arange(3.0)[None, :, None, None], (2, 3, 68, 3))
    terms = atom_loss(error, jnp.zeros_like(error), reconstruction_weight=3, velocity_weight=0.5)
    assert terms["reconstruction"] == pytest.approx(5, rel=1e-6)
    assert terms["velocity"] == pytest.approx(0.5, rel=1e-6)


def test_atom_loss_ignores_masked_frames():
    random = np.random.default_rng(1)
    prediction, x0 = (jnp.asarray(random.normal(size=(2, 6, 68, 3)), jnp.float32) for _ in "ab")
    mask = jnp.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
    masked = atom_loss(prediction.at[:, 4:].set(9).at[1].set(7), x0, mask)
    alone = atom_loss(prediction[:1, :4], x0[:1, :4])
    for name, value in alone.items():
        assert masked[name] == pytest.approx(float(value), rel=1e-5)


def test_atom_loss_with_a_full_mask_is_that_without():
    random = np.random.default_rng(2)
    prediction, x0 = (jnp.asarray(random.normal(size=(2, 4, 68, 3)), jnp.float32) for _ in "ab")
    masked = atom_loss(prediction, x0, jnp.ones((2, 4), bool))
    for name, value in atom_loss(prediction, x0).items():
        assert masked[name] == pytest.approx(float(value), rel=1e-5)


def test_atom_loss_of_nothing_is_zero():
    """A batch without one valid frame must not become NaN."""
    x0 = jnp.ones((1, 3, 68, 3))
    assert atom_loss(2 * x0, x0, jnp.zeros((1, 3), bool))["loss"] == 0


@pytest.mark.parametrize("distance,expected", [("mse", 4 * 16 / 24), ("l1", 2 * 16 / 24)])
def test_diffusion_loss_weighs_tokens_not_planes(distance, expected):
    """An error of 2 on the 16 numbers of xy, none on the 8 of the other planes."""
    zeros = TriPlane(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 1, 4, 1)), jnp.zeros((1, 1, 4, 1)))
    error = zeros.replace(xy=-2 * jnp.ones_like(zeros.xy))
    assert diffusion_loss(error, zeros, distance=distance) == pytest.approx(expected, rel=1e-6)
    tokens = diffusion_loss(error.to_tokens(), zeros.to_tokens(), distance=distance)
    assert tokens == pytest.approx(expected, rel=1e-6)


def test_unknown_distance():
    with pytest.raises(ValueError, match="'huber'"):
        diffusion_loss(jnp.zeros(3), jnp.zeros(3), distance="huber")
