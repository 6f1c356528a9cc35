"""Samplers against closed forms and recorded steps of the release; no network is needed.

For normal data N(MEAN, STD²) the best denoiser is linear in x_t, so where a sampler must arrive is
known exactly.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.diffusion.process import make_predictor, normal_like, q_sample
from moditalker_jax.diffusion.samplers import ddim, ddpm
from moditalker_jax.diffusion.schedules import (
    cosine_schedule,
    ddim_timestep_pairs,
    scaled_linear_schedule,
)
from moditalker_jax.triplane import TriPlane

GOLDENS = Path(__file__).parent / "goldens"
COSINE, LINEAR = cosine_schedule(), scaled_linear_schedule()
SCHEDULES = pytest.mark.parametrize("schedule", [COSINE, LINEAR], ids=["cosine", "linear"])
MEAN, STD = 0.7, 0.3


def normal_predictor(schedule):
    """x0 and epsilon as the best denoiser of N(MEAN, STD²) sees them."""

    def denoise(x_t, timesteps):
        alpha, sigma = (jnp.asarray(a)[timesteps[0]] for a in (schedule.alpha, schedule.sigma))
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return jax.tree.map(lambda leaf: MEAN + gain * (leaf - alpha * MEAN), x_t)

    return make_predictor(denoise, schedule, prediction_type="x0", clip_x0=False)


def noised_normal(schedule, normal, time=999):
    """Turns standard normal numbers into the data's distribution at `time`."""
    alpha, sigma = schedule.alpha[time], schedule.sigma[time]
    return alpha * MEAN + np.sqrt(alpha**2 * STD**2 + sigma**2) * normal


def run_ddim(schedule, x_start, num_steps, **options):
    pairs = ddim_timestep_pairs(1000, num_steps)
    predict = normal_predictor(schedule)
    return jax.jit(lambda x: ddim(predict, x, schedule=schedule, timestep_pairs=pairs, **options))(
        x_start
    )


def exact_moments(schedule, pairs, eta):
    """Mean and spread of DDIM's results, carried along the chain in float64 (paper equation 3).

    With the best denoiser every step is `x -> slope x + offset + noise`, so no sample is needed.
    """
    a = np.append(np.cumprod(1 - schedule.betas.astype(np.float64)), 1.0)
    first = a[pairs[0, 0]]
    mean, variance = np.sqrt(first) * MEAN, first * STD**2 + 1 - first
    for now, after in ((a[t], a[t_next]) for t, t_next in pairs):
        noise = eta**2 * (1 - after) / (1 - now) * (1 - now / after)
        gain = np.sqrt(now) * STD**2 / (now * STD**2 + 1 - now)
        along = np.sqrt(1 - after - noise) / np.sqrt(1 - now)
        x0_weight = np.sqrt(after) - along * np.sqrt(now)
        slope = x0_weight * gain + along
        mean = slope * mean + x0_weight * MEAN * (1 - gain * np.sqrt(now))
        variance = slope**2 * variance + noise
    return mean, np.sqrt(variance)


@SCHEDULES
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_exact_chain_ends_at_the_data(schedule, eta):
    """The truth below is itself right: its error halves as the steps double."""
    moments = [
        exact_moments(schedule, ddim_timestep_pairs(1000, num), eta) for num in (125, 250, 500)
    ]
    for mean, _ in moments:
        assert mean == pytest.approx(MEAN, rel=1e-9)
    errors = [STD - spread for _, spread in moments]
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[2] < (0.004 if schedule is COSINE else 0.016)
    assert errors[0] / errors[1] > 1.5 and errors[1] / errors[2] > 1.5


@SCHEDULES
def test_deterministic_ddim_maps_quantiles_to_quantiles(schedule):
    """eta 0 moves a start at k spreads from its mean to k spreads from the data's mean."""
    normal = np.linspace(-2, 2, 5)[None].astype(np.float32)
    for num_steps in (50, 500):
        result = run_ddim(schedule, noised_normal(schedule, normal), num_steps, eta=0)
        mean, spread = exact_moments(schedule, ddim_timestep_pairs(1000, num_steps), 0)
        np.testing.assert_allclose(result, mean + spread * normal, rtol=1e-4, atol=1e-4)


def response_moments(sample, start_mean, start_spread, num_steps):
    """Mean and spread of a sampler that is linear in its start and noises, with no chance left.

    Row 0 runs without noise and gives the mean; row 1 moves the start by one spread and row i + 2
    is hit by one unit of noise at step i, so their distances from row 0 add up in squares.
    """
    x_start = np.full((num_steps + 2, 1), start_mean, np.float32)
    x_start[1] += start_spread
    noises = np.eye(num_steps, num_steps + 2, k=2, dtype=np.float32)[..., None]
    rows = np.asarray(jax.jit(sample)(x_start, noises), np.float64)[:, 0]
    return rows[0], np.sqrt(np.sum((rows[1:] - rows[0]) ** 2))


@SCHEDULES
@pytest.mark.parametrize("sampler,eta", [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("ddpm", 1)])
def test_samplers_return_the_data_distribution(schedule, sampler, eta):
    predict = normal_predictor(schedule)
    pairs = ddim_timestep_pairs(1000, 250 if sampler == "ddim" else 1000)

    def sample(x, noises):
        if sampler == "ddpm":
            return ddpm(predict, x, schedule=schedule, step_noises=noises)
        options = {"schedule": schedule, "timestep_pairs": pairs, "eta": eta}
        return ddim(predict, x, step_noises=noises, **options)

    start_mean, start_spread = schedule.alpha[999] * MEAN, noised_normal(schedule, 1.0)
    found = response_moments(sample, start_mean, start_spread - start_mean, len(pairs))
    np.testing.assert_allclose(found, exact_moments(schedule, pairs, eta), rtol=2e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_key_draws_new_noise_for_every_step(sampler):
    num_steps, key = (20 if sampler == "ddim" else 1000), jax.random.key(3)
    x_start = jax.random.normal(jax.random.key(1), (2, 5))
    draw = jax.vmap(lambda step: normal_like(jax.random.fold_in(key, step), x_start))
    noises = draw(jnp.arange(num_steps))
    assert len(np.unique(np.asarray(noises)[:, 0, 0])) == num_steps

    def run(**source):
        if sampler == "ddim":
            return run_ddim(LINEAR, x_start, num_steps, eta=1.0, **source)
        return ddpm(normal_predictor(LINEAR), x_start, schedule=LINEAR, **source)

    np.testing.assert_allclose(run(key=key), run(step_noises=noises), rtol=1e-5, atol=1e-6)


@SCHEDULES
def test_ddpm_is_ddim_of_eta_one_through_every_step(schedule):
    noises = jax.random.normal(jax.random.key(0), (1000, 2, 7))
    x_start = jax.random.normal(jax.random.key(1), (2, 7))
    through_ddim = run_ddim(schedule, x_start, 1000, eta=1.0, step_noises=noises)
    through_ddpm = ddpm(normal_predictor(schedule), x_start, schedule=schedule, step_noises=noises)
    np.testing.assert_allclose(through_ddim, through_ddpm, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_any_eta_keeps_the_marginal(eta):
    """For a known x0, one large step leads from q(x_t | x0) to q(x_next | x0)."""
    x0, time, next_time = 0.5, 800, 300
    predict = make_predictor(lambda x, t: jnp.full_like(x, x0), LINEAR, prediction_type="x0")
    pairs = np.array([[time, next_time]])

    def sample(x, noises):
        options = {"schedule": LINEAR, "timestep_pairs": pairs, "eta": eta}
        return ddim(predict, x, step_noises=noises, **options)

    found = response_moments(sample, LINEAR.alpha[time] * x0, LINEAR.sigma[time], 1)
    expected = LINEAR.alpha[next_time] * x0, LINEAR.sigma[next_time]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_same_key_gives_the_same_sample_and_another_does_not():
    x_start = jax.random.normal(jax.random.key(0), (2, 5))
    samples = [
        run_ddim(COSINE, x_start, 10, eta=1.0, key=jax.random.key(seed)) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert not np.allclose(samples[0], samples[2])


def test_eta_zero_reads_no_noise():
    x_start = jax.random.normal(jax.random.key(0), (2, 5))
    without = run_ddim(COSINE, x_start, 10, eta=0)
    for seed in (1, 2):
        keyed = run_ddim(COSINE, x_start, 10, eta=0, key=jax.random.key(seed))
        np.testing.assert_array_equal(keyed, without)


def test_noise_needs_a_source():
    x_start = jnp.zeros((1, 3))
    with pytest.raises(ValueError, match="key or step_noises"):
        run_ddim(COSINE, x_start, 5, eta=0.5)
    with pytest.raises(ValueError, match="key or step_noises"):
        ddpm(normal_predictor(COSINE), x_start, schedule=COSINE)


@SCHEDULES
@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 20, 50])
@pytest.mark.parametrize("eta", [1.0, 1.5])
def test_few_steps_stay_finite(schedule, num_steps, eta):
    """The release turns NaN with 5 steps of the cosine schedule at eta 1."""
    x_start = jax.random.normal(jax.random.key(0), (2, 9))
    sample = run_ddim(schedule, x_start, num_steps, eta=eta, key=jax.random.key(1))
    assert np.all(np.isfinite(sample))


def test_the_difference_that_fails_in_float32():
    """1 - a_next - s² as it is usually written is negative at the first of 3 cosine steps."""
    time, next_time = ddim_timestep_pairs(1000, 3)[0]
    a, a_next = COSINE.alphas_cumprod[time], COSINE.alphas_cumprod[next_time]
    one = np.float32(1)
    noise = np.sqrt((one - a / a_next) * (one - a_next) / (one - a))
    assert one - a_next - noise**2 < 0


def test_planes_are_sampled_as_their_tokens():
    sizes, random = ((2, 4, 4, 3), (2, 5, 4, 3), (2, 5, 4, 3)), np.random.default_rng(0)
    planes = TriPlane(*(random.normal(size=size).astype(np.float32) for size in sizes))
    noises = TriPlane(*(random.normal(size=(8, *size)).astype(np.float32) for size in sizes))
    tokens = jnp.stack(
        [jax.tree.map(lambda leaf, i=i: leaf[i], noises).to_tokens() for i in range(8)]
    )
    from_planes = run_ddim(LINEAR, planes, 8, eta=1.0, step_noises=noises)
    from_tokens = run_ddim(LINEAR, planes.to_tokens(), 8, eta=1.0, step_noises=tokens)
    assert isinstance(from_planes, TriPlane)
    np.testing.assert_allclose(from_planes.to_tokens(), from_tokens, rtol=1e-5, atol=1e-6)


def test_one_compiled_loop_calls_the_network_in_one_place():
    traces = []

    def denoise(x_t, timesteps):
        traces.append((timesteps.shape, timesteps.dtype))
        return x_t * 0.5

    predict = make_predictor(denoise, LINEAR, prediction_type="v")
    pairs = ddim_timestep_pairs(1000, 50)
    sample = jax.jit(
        lambda x, key: ddim(predict, x, schedule=LINEAR, timestep_pairs=pairs, eta=1.0, key=key)
    )
    sample(jnp.ones((3, 4)), jax.random.key(0))
    assert len(set(traces)) == 1 and len(traces) <= 2  # a scan traces its body once or twice
    assert traces[0] == ((3,), jnp.int32)


def test_noised_start_returns_the_data_distribution():
    """The last quarter of the pairs leads from noised data back to the data."""
    pairs, predict = ddim_timestep_pairs(1000, 400, 0.25), normal_predictor(LINEAR)
    time = pairs[:1, 0]

    def sample(x, noises):
        options = {"schedule": LINEAR, "timestep_pairs": pairs, "eta": 1.0}
        return ddim(predict, x, step_noises=noises, **options)

    start_mean = q_sample(LINEAR, jnp.full((1, 1), MEAN), time, jnp.zeros((1, 1)))[0, 0]
    start_spread = noised_normal(LINEAR, 1.0, time[0]) - start_mean
    mean, spread = response_moments(sample, start_mean, start_spread, len(pairs))
    np.testing.assert_allclose((mean, spread), exact_moments(LINEAR, pairs, 1.0), rtol=2e-4)
    assert mean == pytest.approx(MEAN, rel=1e-4) and spread == pytest.approx(STD, rel=0.06)


def replay(schedule, outputs, pairs, **options):
    """A predictor that returns recorded outputs, (S, B, ...), in place of a network."""
    outputs = jnp.asarray(outputs)

    def denoise(x_t, timesteps):
        return outputs[jnp.argmax(jnp.asarray(pairs[:, 0]) == timesteps[0])]

    return make_predictor(denoise, schedule, **options)


def assert_follows(predict, schedule, x_in, final, *, noises, eta, tolerance):
    """Each recorded x must lead to the next, and the first through all steps to the last."""
    pairs = ddim_timestep_pairs(1000, len(x_in))
    noises = np.concatenate((noises[1:], np.zeros_like(noises[:1])))

    @jax.jit
    def walk(x, pairs, noises):
        return ddim(
            predict, x, schedule=schedule, timestep_pairs=pairs, eta=eta, step_noises=noises
        )

    for step, golden in enumerate([*x_in[1:], final]):
        x = walk(x_in[step], pairs[step : step + 1], noises[step : step + 1])
        np.testing.assert_allclose(x, golden, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(walk(x_in[0], pairs, noises), final, rtol=tolerance, atol=tolerance)


def test_recorded_steps_of_atom():
    golden = np.load(GOLDENS / "diffusion_atom.npz")
    predict = replay(
        COSINE,
        golden["ddim5_eta0_model_out"],
        ddim_timestep_pairs(1000, 5),
        prediction_type="x0",
        rederive_epsilon=True,
    )
    x_in, noises = golden["ddim5_eta0_x_in"], golden["ddim5_noises"]
    np.testing.assert_array_equal(x_in[0], noises[0])
    final = golden["ddim5_eta0_final"]
    assert_follows(predict, COSINE, x_in, final, noises=noises, eta=0.0, tolerance=2e-5)


@pytest.mark.parametrize("eta", [0, 1])
def test_recorded_steps_of_mtov(eta):
    """The release's outputs were recorded at every eighth position; a step mixes none."""
    golden = np.load(GOLDENS / "diffusion_mtov_ddim.npz")
    predict = replay(
        LINEAR,
        golden[f"ddim5_eta{eta}_eps_sub"],
        ddim_timestep_pairs(1000, 5),
        prediction_type="epsilon",
        rederive_epsilon=False,
    )
    x_in, final, noises = (
        golden[name][..., ::8]
        for name in (f"ddim5_eta{eta}_x_in", f"ddim5_eta{eta}_final", "ddim5_noises")
    )
    assert_follows(predict, LINEAR, x_in, final, noises=noises, eta=eta, tolerance=1e-5)
