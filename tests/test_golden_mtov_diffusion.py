"""MToV's sampling and training against the release: trajectories, noised start, gradients."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from moditalker_jax.convert.mtov import convert_state_dict, table
from moditalker_jax.convert.tables import targets
from moditalker_jax.diffusion.losses import diffusion_loss
from moditalker_jax.diffusion.process import make_predictor, prediction_target, q_sample
from moditalker_jax.diffusion.samplers import ddim
from moditalker_jax.diffusion.schedules import (
    ddim_timestep_pairs,
    scaled_linear_schedule,
    start_timestep,
)
from moditalker_jax.models.mtov import TriPlaneUNet
from moditalker_jax.triplane import TriPlane
from tests.goldens_recipe import recipe_array

SCHEDULE = scaled_linear_schedule()
SIZES = ((32, 32), (16, 32), (16, 32))
MODEL = TriPlaneUNet(
    base_channels=32,
    channel_multipliers=(1, 2),
    num_res_blocks=1,
    attention_downsampling=(1, 2),
    num_heads=4,
    reference_on_xy_only=True,
)


@cache
def load(name):
    return dict(np.load(Path(__file__).parent / "goldens" / f"{name}.npz"))


def planes(flat):
    """The release's (..., B, C, L) as tri-planes; positions past L are zero."""
    tokens = np.moveaxis(np.asarray(flat), -2, -1)
    missing = 2048 - tokens.shape[-2]
    tokens = np.pad(tokens, [(0, 0)] * (tokens.ndim - 2) + [(0, missing), (0, 0)])
    parts = np.split(tokens, (1024, 1536), axis=-2)
    shapes = [(*tokens.shape[:-2], *size, tokens.shape[-1]) for size in SIZES]
    return TriPlane(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def flat(x):
    """(B, L, C) tokens of a tri-plane in the release's order (B, C, L)."""
    return np.asarray(x.to_tokens()).transpose(0, 2, 1)


def assert_close(x, golden, tolerance):
    np.testing.assert_allclose(flat(x), golden, rtol=0, atol=tolerance)


@cache
def conditions(batch):
    arrays = load("unet_tiny_io")
    landmarks, pose = np.split(arrays["cond"][:batch], 2, axis=1)
    return tuple(planes(part) for part in (landmarks, pose, arrays["image_cond"][:batch]))


@cache
def params():
    return convert_state_dict(load("unet_tiny_weights"), model=MODEL)


@jax.jit
def sample(x, pairs, noises, eta):
    """The release's sampler: epsilon predicted, x0 clipped, epsilon kept as it was."""

    def denoise(x_t, timesteps):
        return MODEL.apply({"params": params()}, x_t, timesteps, *conditions(1))

    predict = make_predictor(denoise, SCHEDULE, prediction_type="epsilon", rederive_epsilon=False)
    options = {"schedule": SCHEDULE, "timestep_pairs": pairs, "eta": eta}
    return ddim(predict, x, step_noises=noises, **options)


def step_noises(queue):
    """The queue holds the initial noise first and nothing for the last step."""
    return planes(np.concatenate((queue[1:], np.zeros_like(queue[:1]))))


def walk(x, pairs, noises, eta):
    """x after each step; one step at a time, so that one compiled program serves every length."""
    for step in range(len(pairs)):
        one = jax.tree.map(lambda leaf, step=step: leaf[step : step + 1], noises)
        x = sample(x, pairs[step : step + 1], one, eta)
        yield x


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_trajectory(eta):
    """5 steps, one by one and as one loop."""
    golden, name = load("diffusion_mtov_ddim"), f"ddim5_eta{int(eta)}"
    pairs, noises = ddim_timestep_pairs(1000, 5), step_noises(golden["ddim5_noises"])
    start, final = planes(golden["ddim5_noises"][0]), golden[f"{name}_final"]
    np.testing.assert_array_equal(flat(start), golden[f"{name}_x_in"][0])
    for x, following in zip(
        walk(start, pairs, noises, eta), [*golden[f"{name}_x_in"][1:], final], strict=True
    ):
        assert_close(x, following, 1e-3)
    assert_close(sample(start, pairs, noises, eta), final, 1e-3)


def noised(x0, noise, num_steps):
    """The release's noised start: one step noisier than its first call of the network."""
    time = start_timestep(1000, num_steps, 0.25, truncate_fraction=True)
    return q_sample(SCHEDULE, planes(x0), jnp.array([time]), planes(noise))


def test_noised_start_of_twenty_steps():
    golden = load("diffusion_mtov_noised_start")
    pairs, noises = ddim_timestep_pairs(1000, 20, 0.25), step_noises(golden["s20_noises"])
    start = noised(golden["x_start"], golden["s20_noises"][0], 20)
    assert_close(start, golden["s20_x_in"][0], 1e-5)
    for x, following in zip(
        walk(start, pairs, noises, 1.0), [*golden["s20_x_in"][1:], golden["s20_final"]], strict=True
    ):
        assert_close(x, following, 1e-3)


def test_noised_start_of_a_hundred_steps():
    golden = load("diffusion_mtov_noised_start")
    queue = np.stack([recipe_array(name, (1, 4, 2048), 7) for name in golden["noise_seed_names"]])
    np.testing.assert_allclose(queue.sum((1, 2, 3)), golden["noise_check_sum"], rtol=1e-3)
    np.testing.assert_array_equal(queue[:2], [golden["noise0"], golden["noise1"]])
    pairs = ddim_timestep_pairs(1000, 100, 0.25)
    start = noised(golden["x_start"], queue[0], 100)
    steps = [start, *walk(start, pairs, step_noises(queue), 1.0)]
    assert_close(start, golden["x_in_step0"], 1e-5)
    for step in (1, 12, 24):
        assert_close(steps[step], golden[f"x_in_step{step}"], 1e-3)
    assert_close(steps[25], golden["final"], 1e-3)


@cache
def loss_and_gradients():
    """Loss, error of each clip and gradients, under both distances."""
    data, golden = load("diffusion_mtov_ddim"), load("diffusion_mtov_loss")
    x0, epsilon = planes(data["z0"]), planes(data["noise"])
    timesteps = jnp.asarray(golden["loss_t"], jnp.int32)
    x_t = q_sample(SCHEDULE, x0, timesteps, epsilon)
    target = prediction_target(SCHEDULE, x0, timesteps, epsilon, prediction_type="epsilon")

    def loss(params, l1_share):
        """Either distance by a traced share, so that the gradients are compiled once."""
        prediction = MODEL.apply({"params": params}, x_t, timesteps, *conditions(2))

        def distance(prediction, target):
            l2 = diffusion_loss(prediction, target, distance="mse")
            l1 = diffusion_loss(prediction, target, distance="l1")
            return (1 - l1_share) * l2 + l1_share * l1

        clips = [jax.tree.map(lambda p, i=i: p[i], (prediction, target)) for i in range(2)]
        return distance(prediction, target), jnp.stack([distance(*clip) for clip in clips])

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return {"l2": run(params(), 0.0), "l1": run(params(), 1.0)}


@pytest.mark.parametrize("name", ["l2", "l1"])
def test_losses(name):
    """[loss, its mean over clips, the variational bound's term that the release only logs]."""
    (loss, each), _ = loss_and_gradients()[name]
    golden, times = (
        load("diffusion_mtov_loss")[f"{name}_loss"],
        load("diffusion_mtov_loss")["loss_t"],
    )
    beta, a, variance = (
        np.asarray(array, np.float64)[times]
        for array in (SCHEDULE.betas, SCHEDULE.alphas_cumprod, SCHEDULE.posterior_variance)
    )
    bound = beta**2 / (2 * variance * (1 - beta) * (1 - a))
    np.testing.assert_allclose(bound, load("schedules")["mtov_lvlb_weights"][times], rtol=1e-5)
    found = [float(loss), float(each.mean()), float((bound * np.asarray(each)).mean())]
    np.testing.assert_allclose(found, golden, rtol=1e-5)


@pytest.mark.parametrize("name", ["l2", "l1"])
def test_norm_and_sum_of_every_gradient(name):
    golden, rules = load("diffusion_mtov_loss"), table(MODEL)
    gradients = flatten_dict(loss_and_gradients()[name][1], sep="/")
    total, squares, compared = float(golden[f"{name}_grad_norm"]), 0.0, 0
    norms, sums = (golden[f"{name}_param_grad_{kind}"] for kind in ("norms", "sums"))
    for key, norm, golden_sum in zip(golden["param_names"], norms, sums, strict=True):
        places = [path for path, _ in targets(str(key), rules)]
        parts = [np.asarray(gradients[path], np.float64) for path in places]
        found = np.sqrt(sum(np.sum(part**2) for part in parts))
        squares, compared = squares + found**2, compared + bool(parts)
        assert found == pytest.approx(max(norm, 0), rel=1e-3, abs=1e-5 * total), key
        size = np.sqrt(sum(part.size for part in parts))
        allowed = 1e-3 * max(norm, 1e-2 * total) * max(size, 1)
        assert sum(part.sum() for part in parts) == pytest.approx(golden_sum, abs=allowed), key
    assert np.sqrt(squares) == pytest.approx(total, rel=1e-4)
    assert compared == len(gradients)


@pytest.mark.parametrize(
    "key,path",
    [
        ("out.2.weight", "conv_out/kernel"),
        ("input_blocks.0.0.bias", "conv_in/bias"),
        ("time_embed.0.bias", "time_in/bias"),
    ],
)
def test_whole_gradients(key, path):
    found = np.asarray(flatten_dict(loss_and_gradients()["l2"][1], sep="/")[path])
    golden = load("diffusion_mtov_loss")[f"l2_grad/diffusion_model.{key}"]
    found = found.transpose(3, 2, 0, 1) if found.ndim == 4 else found
    assert np.abs(found - golden).max() <= 1e-4 * np.abs(golden).max()
