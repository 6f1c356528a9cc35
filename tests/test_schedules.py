"""Noise schedules against the release's buffers, and the times that samplers visit."""

from pathlib import Path

import numpy as np
import pytest

from moditalker_jax.diffusion.schedules import (
    cosine_schedule,
    ddim_timestep_pairs,
    scaled_linear_schedule,
    schedule_from_betas,
    start_timestep,
)
from moditalker_jax.errors import InputError

GOLDEN = np.load(Path(__file__).parent / "goldens" / "schedules.npz")
SCHEDULES = {"atom": cosine_schedule(), "mtov": scaled_linear_schedule()}


def release_buffers(schedule):
    """Every buffer that the release derives from its betas, from the fields of ours in float64."""
    alpha, sigma, betas, a, posterior_variance = (
        np.asarray(getattr(schedule, name), np.float64)
        for name in ("alpha", "sigma", "betas", "alphas_cumprod", "posterior_variance")
    )
    return {
        "betas": betas,
        "alphas_cumprod": a,
        "alphas_cumprod_prev": np.append(1, a[:-1]),
        "sqrt_alphas_cumprod": alpha,
        "sqrt_one_minus_alphas_cumprod": sigma,
        # log(1 - a) is within 2e-9 of 0 at the noisy end; sigma in float32 cannot carry it.
        "log_one_minus_alphas_cumprod": np.log1p(-a),
        "sqrt_recip_alphas_cumprod": 1 / alpha,
        "sqrt_recipm1_alphas_cumprod": sigma / alpha,
        "posterior_variance": posterior_variance,
        "posterior_log_variance_clipped": np.log(np.maximum(posterior_variance, 1e-20)),
        "posterior_mean_coef1": schedule.posterior_x0,
        "posterior_mean_coef2": schedule.posterior_x_t,
    }


BUFFERS = sorted(release_buffers(SCHEDULES["mtov"]))


@pytest.mark.parametrize("name", BUFFERS)
def test_mtov_buffers(name):
    """The release computes these in float64, as we do."""
    ours, golden = release_buffers(SCHEDULES["mtov"])[name], GOLDEN[f"mtov_{name}"]
    if name == "posterior_log_variance_clipped":
        ours, golden = ours[1:], golden[1:]  # the first has no variance; the release clips it anew
        assert GOLDEN[f"mtov_{name}"][0] < -15
    np.testing.assert_allclose(ours, golden, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", BUFFERS)
def test_atom_buffers(name):
    """The release multiplies and subtracts in float32, so its own rounding bounds the agreement.

    Its alphas_cumprod is off by up to 3e-7 (1.4e-5 of itself at t = 999, where a factor is 0.001),
    which 1 - alphas_cumprod inherits. So where that is small, near t = 0, what is divided by it or
    is its root or logarithm agrees to 5e-7 / (1 - alphas_cumprod) relatively and no better.
    """
    ours, golden = release_buffers(SCHEDULES["atom"])[name], GOLDEN[f"atom_{name}"]
    variance = 1 - np.asarray(SCHEDULES["atom"].alphas_cumprod, np.float64)
    through_variance = name not in ("betas", "alphas_cumprod", "alphas_cumprod_prev") and (
        name not in ("sqrt_alphas_cumprod", "sqrt_recip_alphas_cumprod")
    )
    previous_variance = np.append(variance[0], variance[:-1])
    relative = 1.4e-5 + (1e-6 / previous_variance if through_variance else 0)
    allowed = relative * np.abs(golden)
    if "log" in name:  # a relative error under a logarithm is an absolute one
        allowed = relative
    if name == "posterior_log_variance_clipped":
        assert ours[0] == pytest.approx(golden[0], rel=1e-6)  # both are log(1e-20)
    assert np.all(np.abs(ours - golden) <= allowed + 1e-12)
    if not through_variance:
        assert np.abs(ours - golden)[:990].max() <= 1e-5 * np.abs(golden[:990]).max()


@pytest.mark.parametrize("name", ["atom", "mtov"])
def test_betas_in_float64(name):
    np.testing.assert_allclose(SCHEDULES[name].betas, GOLDEN[f"{name}_betas_f64"], rtol=1e-7)


def test_atom_buffers_as_the_release_rounds():
    """The release's own roundings, repeated on our betas, give all its arrays to 1e-5.

    1 - beta is rounded to float32, multiplied up in float64 (as PyTorch does on a CPU), and each
    product rounded again; the rest is float32. So the schedules themselves are the same.
    """
    betas = np.asarray(SCHEDULES["atom"].betas, np.float32)
    one = np.float32(1)
    a = np.cumprod(one - betas, dtype=np.float64).astype(np.float32)
    previous = np.append(one, a[:-1])
    variance = betas * (one - previous) / (one - a)
    rounded = {
        "betas": betas,
        "alphas_cumprod": a,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": np.sqrt(a),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(one - a),
        "log_one_minus_alphas_cumprod": np.log(one - a),
        "sqrt_recip_alphas_cumprod": np.sqrt(one / a),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(one / a - one),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, np.float32(1e-20))),
        "posterior_mean_coef1": betas * np.sqrt(previous) / (one - a),
        "posterior_mean_coef2": (one - previous) * np.sqrt(one - betas) / (one - a),
    }
    assert sorted(rounded) == BUFFERS
    for name, value in rounded.items():
        np.testing.assert_allclose(value, GOLDEN[f"atom_{name}"], rtol=1e-5, err_msg=name)


def test_release_weights_no_timestep():
    """The release's p2 weights are all one: our loss needs none."""
    np.testing.assert_array_equal(GOLDEN["atom_p2_loss_weight"], 1)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_is_consistent(schedule):
    np.testing.assert_allclose(schedule.alpha**2 + schedule.sigma**2, 1, rtol=1e-6)
    assert np.all(np.diff(schedule.sigma) >= 0)
    assert schedule.num_train_timesteps == 1000
    assert schedule.posterior_variance[0] == 0 and schedule.posterior_x0[0] == 1
    # For data that stay at 1, x_{t-1} must have the mean alpha_{t-1}.
    mean = schedule.posterior_x0[1:] + schedule.posterior_x_t[1:] * schedule.alpha[1:]
    np.testing.assert_allclose(mean, schedule.alpha[:-1], rtol=1e-5)


@pytest.mark.parametrize("betas", [[0.1, 1.0], [0.0, 0.1], [[0.1]], [0.1, np.nan]])
def test_impossible_betas(betas):
    with pytest.raises(InputError, match="betas"):
        schedule_from_betas(np.array(betas))


@pytest.mark.parametrize("num_steps", [5, 25, 50, 100, 250, 1000])
def test_timestep_pairs(num_steps):
    pairs = ddim_timestep_pairs(1000, num_steps)
    assert pairs.dtype == np.int32
    np.testing.assert_array_equal(pairs, GOLDEN[f"time_pairs_{num_steps}"])


@pytest.mark.parametrize("fraction", [0.25, 0.75])
def test_timestep_pairs_of_a_noised_start(fraction):
    golden = GOLDEN[f"time_pairs_100_noised_start_ratio_{fraction}"]
    np.testing.assert_array_equal(ddim_timestep_pairs(1000, 100, fraction), golden)


@pytest.mark.parametrize("num_steps,fraction", [(7, 1.0), (33, 0.5), (50, 0.25), (1, 1.0)])
def test_timestep_pairs_form_a_chain_to_data(num_steps, fraction):
    pairs = ddim_timestep_pairs(1000, num_steps, fraction)
    assert len(pairs) == int(num_steps * fraction)
    np.testing.assert_array_equal(pairs[1:, 0], pairs[:-1, 1])
    assert pairs[-1, 1] == -1 and np.all(pairs[:, 0] > pairs[:, 1])
    if fraction == 1:
        assert pairs[0, 0] == 999


@pytest.mark.parametrize(
    "num_steps,fraction", [(0, 1.0), (1001, 1.0), (10, 0.05), (10, 0.0), (10, 1.5), (10, -1.0)]
)
def test_impossible_timestep_pairs(num_steps, fraction):
    with pytest.raises(InputError, match="choose"):
        ddim_timestep_pairs(1000, num_steps, fraction)


def test_start_timestep():
    assert start_timestep(1000, 100, 0.25) == 249
    assert start_timestep(1000, 100, 0.25, truncate_fraction=True) == 250
    assert start_timestep(1000, 50, 1.0) == 999
    assert start_timestep(1000, 50, 1.0, truncate_fraction=True) == 999
