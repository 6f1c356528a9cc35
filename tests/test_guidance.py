"""Guidance: its limits, its one batch, and its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.diffusion.guidance import guide
from moditalker_jax.triplane import TriPlane

X_T = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
TIMESTEPS = jnp.array([3, 50, 999])
CONDITION = jnp.array([1.0, 2.0, 3.0])


def denoise(x_t, timesteps, condition):
    """Depends on everything, row by row; the null condition is 0."""
    return jnp.sin(x_t) * (1 + condition[:, None]) + timesteps[:, None] / 1000 - condition[:, None]


def bound(x_t, timesteps):
    return denoise(x_t, timesteps, jnp.concatenate((CONDITION, jnp.zeros(3))))


CONDITIONAL = denoise(X_T, TIMESTEPS, CONDITION)
UNCONDITIONAL = denoise(X_T, TIMESTEPS, jnp.zeros(3))


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 3.5, -1.0])
def test_formula(scale):
    expected = UNCONDITIONAL + scale * (CONDITIONAL - UNCONDITIONAL)
    np.testing.assert_allclose(guide(bound, scale)(X_T, TIMESTEPS), expected, rtol=1e-6)


def test_one_is_no_guidance_and_zero_no_condition():
    np.testing.assert_allclose(guide(bound, 1.0)(X_T, TIMESTEPS), CONDITIONAL, atol=1e-6)
    np.testing.assert_array_equal(guide(bound, 0.0)(X_T, TIMESTEPS), UNCONDITIONAL)


def test_one_call_of_the_doubled_batch():
    calls = []

    def counted(x_t, timesteps):
        calls.append((x_t.xy.shape, timesteps.shape))
        return x_t

    planes = TriPlane(*(jnp.ones((3, 2, 2, 4)) for _ in range(3)))
    guided = guide(counted, 2.0)(planes, TIMESTEPS)
    assert calls == [((6, 2, 2, 4), (6,))]
    assert isinstance(guided, TriPlane) and guided.xt.shape == (3, 2, 2, 4)


def test_the_scale_may_be_traced():
    guided = jax.jit(lambda scale: guide(bound, scale)(X_T, TIMESTEPS))(jnp.float32(2.0))
    np.testing.assert_allclose(guided, 2 * CONDITIONAL - UNCONDITIONAL, rtol=1e-5, atol=1e-6)
