"""The forward process, the conversions between predictions, and the predictor around a network."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.diffusion import process
from moditalker_jax.diffusion.schedules import cosine_schedule, scaled_linear_schedule
from moditalker_jax.triplane import TriPlane

GOLDENS = Path(__file__).parent / "goldens"
SCHEDULE = scaled_linear_schedule()
TYPES = ("x0", "epsilon", "v")


def random_planes(seed):
    random = np.random.default_rng(seed)
    sizes = ((3, 4, 4, 2), (3, 5, 4, 2), (3, 5, 4, 2))
    return TriPlane(*(jnp.asarray(random.normal(size=size), jnp.float32) for size in sizes))


def assert_trees_close(first, second, **tolerances):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerances), first, second)


@pytest.mark.parametrize("draw", ["a", "b"])
def test_q_sample_atom(draw):
    golden = np.load(GOLDENS / "diffusion_atom.npz")
    noised = process.q_sample(
        cosine_schedule(), golden["x0"], golden[f"q_t_{draw}"], golden["noise"]
    )
    np.testing.assert_allclose(noised, golden[f"q_sample_{draw}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("draw", ["a", "b"])
def test_q_sample_mtov(draw):
    golden = np.load(GOLDENS / "diffusion_mtov_ddim.npz")
    noised = process.q_sample(SCHEDULE, golden["z0"], golden[f"q_t_{draw}"], golden["noise"])
    np.testing.assert_allclose(
        noised[..., ::8], golden[f"q_sample_{draw}_sub"], rtol=1e-5, atol=1e-6
    )


def test_q_sample_of_planes_is_that_of_tokens():
    x0, epsilon, timesteps = random_planes(0), random_planes(1), jnp.array([0, 500, 999])
    planes = process.q_sample(SCHEDULE, x0, timesteps, epsilon)
    tokens = process.q_sample(SCHEDULE, x0.to_tokens(), timesteps, epsilon.to_tokens())
    np.testing.assert_array_equal(planes.to_tokens(), tokens)


@pytest.mark.parametrize("schedule", [cosine_schedule(), SCHEDULE], ids=["cosine", "linear"])
def test_conversions_come_back(schedule):
    """x0 -> epsilon -> v -> x0, and each type's own way from x_t, at all noise levels but the end.

    At the noisy end x0 from epsilon divides by alpha, 5e-5 there, so only its absolute error over
    that is bounded.
    """
    timesteps = jnp.array([0, 400, 950])
    x0, epsilon = random_planes(2), random_planes(3)
    x_t = process.q_sample(schedule, x0, timesteps, epsilon)
    v = process.velocity(schedule, x0, timesteps, epsilon)
    loose = {"rtol": 1e-4, "atol": 2e-4}
    assert_trees_close(process.epsilon_from_x0(schedule, x_t, timesteps, x0), epsilon, **loose)
    assert_trees_close(process.epsilon_from_v(schedule, x_t, timesteps, v), epsilon, **loose)
    assert_trees_close(process.x0_from_v(schedule, x_t, timesteps, v), x0, **loose)
    assert_trees_close(process.x0_from_epsilon(schedule, x_t, timesteps, epsilon), x0, **loose)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_predictor_of_a_perfect_network(prediction_type):
    """A network that returns its training target gives back the true x0 and epsilon."""
    timesteps, x0, epsilon = jnp.array([10, 400, 900]), random_planes(4), random_planes(5)
    x_t = process.q_sample(SCHEDULE, x0, timesteps, epsilon)
    target = process.prediction_target(
        SCHEDULE, x0, timesteps, epsilon, prediction_type=prediction_type
    )
    predict = process.make_predictor(
        lambda x, t: target, SCHEDULE, prediction_type=prediction_type, clip_x0=False
    )
    found_x0, found_epsilon = jax.jit(predict)(x_t, timesteps)
    assert_trees_close(found_x0, x0, rtol=1e-4, atol=1e-4)
    assert_trees_close(found_epsilon, epsilon, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_rederived_epsilon_fits_the_clipped_x0(prediction_type):
    timesteps, x_t, prediction = jnp.array([10, 400, 900]), random_planes(6), random_planes(7)

    def predict(**options):
        predictor = process.make_predictor(
            lambda x, t: prediction, SCHEDULE, prediction_type=prediction_type, **options
        )
        return predictor(x_t, timesteps)

    raw_x0, raw_epsilon = predict(clip_x0=False)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(raw_x0)) > 1
    x0, epsilon = predict(rederive_epsilon=True)
    assert_trees_close(x0, jax.tree.map(lambda leaf: jnp.clip(leaf, -1, 1), raw_x0))
    assert_trees_close(
        process.q_sample(SCHEDULE, x0, timesteps, epsilon), x_t, rtol=1e-4, atol=1e-5
    )
    kept_x0, kept_epsilon = predict(rederive_epsilon=False)
    assert_trees_close(kept_x0, x0)
    assert_trees_close(kept_epsilon, raw_epsilon)


def test_unknown_prediction_type():
    with pytest.raises(ValueError, match="'noise'"):
        process.make_predictor(lambda x, t: x, SCHEDULE, prediction_type="noise")


def test_normal_like_draws_every_leaf_anew():
    noise = process.normal_like(jax.random.key(0), random_planes(0))
    assert noise.yt.shape == (3, 5, 4, 2)
    assert not np.allclose(noise.yt, noise.xt)
