"""DDIM and DDPM sampling: each is one `lax.scan` over a table of per-step numbers.

A sampler sees only `predict(x_t, timesteps) -> (x0, epsilon)` (`process.make_predictor`) and a
pytree x of (B, ...) leaves. It knows neither networks nor what they predict.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from moditalker_jax.diffusion.process import Predict, Tree, normal_like
from moditalker_jax.diffusion.schedules import NoiseSchedule


def ddim(
    predict: Predict,
    x_start: Tree,
    *,
    schedule: NoiseSchedule,
    timestep_pairs: ArrayLike,
    eta: float,
    key: Array | None = None,
    step_noises: Tree | None = None,
) -> Tree:
    """Denoises `x_start` along `timestep_pairs` (paper equation 3).

    Args:
      predict: `(x_t, timesteps (B,)) -> (x0, epsilon)`.
      x_start: x at the first pair's time: normal noise, or data noised to that time.
      schedule: the noise schedule of training.
      timestep_pairs: (S, 2) int from `schedules.ddim_timestep_pairs`; a next time of -1 is data.
      eta: in [0, 1]. 0 is deterministic; 1 adds as much noise as DDPM.
      key: typed key of the step noises; step i uses `fold_in(key, i)`.
      step_noises: the noises themselves in place of a key, leaves (S, B, ...). A last step to
        data ignores its own.

    Returns:
      x at the last pair's next time, like `x_start`.
    """
    steps = _ddim_steps(schedule, jnp.asarray(timestep_pairs), eta)
    needs_noise = not (isinstance(eta, int | float) and eta == 0)
    return _walk(predict, x_start, steps, _noise_source(x_start, key, step_noises, needs_noise))


def ddpm(
    predict: Predict,
    x_start: Tree,
    *,
    schedule: NoiseSchedule,
    key: Array | None = None,
    step_noises: Tree | None = None,
) -> Tree:
    """Samples the posteriors q(x_{t-1} | x_t, x0) through every training timestep.

    Args and returns are those of `ddim`; step i goes from time T-1-i, so `step_noises` has T rows.
    """
    times = jnp.arange(schedule.num_train_timesteps)[::-1]
    steps = {
        "timestep": times,
        "x0": jnp.asarray(schedule.posterior_x0)[times],
        "x_t": jnp.asarray(schedule.posterior_x_t)[times],
        "epsilon": jnp.zeros(times.shape),
        "noise": jnp.sqrt(jnp.asarray(schedule.posterior_variance))[times],
    }
    return _walk(predict, x_start, steps, _noise_source(x_start, key, step_noises, True))


def _ddim_steps(schedule: NoiseSchedule, pairs: Array, eta: float) -> dict[str, Array]:
    """Weights (S,) of x0, epsilon, x_t and noise in each step's result.

    The weight of epsilon is usually written `sqrt(1 - a_next - s²)` with s the noise's weight. At
    the noisy end that difference of nearly equal numbers loses all digits in float32 and may fall
    below zero, which gave NaN in the release. With
    `s² = eta² (1 - a_next) / (1 - a) (1 - a / a_next)` it equals
    `(1 - a_next) (1 - eta² + eta² (1 - a_next) / (1 - a) · a / a_next)`, a sum of positive terms
    for eta <= 1. The clamp at zero serves eta > 1.
    """
    alpha, sigma = jnp.asarray(schedule.alpha), jnp.asarray(schedule.sigma)
    time, next_time = pairs[:, 0], pairs[:, 1]
    # Time -1 is clean data: alpha 1, sigma 0. So the last step returns x0 without a special case.
    alpha_next = jnp.where(next_time < 0, 1.0, alpha[next_time])
    sigma_next = jnp.where(next_time < 0, 0.0, sigma[next_time])
    kept_signal = (alpha[time] / alpha_next) ** 2
    kept_noise = (sigma_next / sigma[time]) ** 2
    direction = 1 - eta**2 + eta**2 * kept_noise * kept_signal
    return {
        "timestep": time,
        "x0": alpha_next,
        "x_t": jnp.zeros_like(alpha_next),
        "epsilon": sigma_next * jnp.sqrt(jnp.maximum(direction, 0)),
        "noise": eta * jnp.sqrt(kept_noise * (1 - kept_signal)),
    }


def _noise_source(x_start: Tree, key: Array | None, step_noises: Tree | None, needed: bool):
    """A function from the step's index to its noise, like `x_start`."""
    if step_noises is not None:
        return lambda index: jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], step_noises)
    if key is not None:
        return lambda index: normal_like(jax.random.fold_in(key, index), x_start)
    if needed:
        raise ValueError("a stochastic sampler needs a key or step_noises")
    return lambda index: jax.tree.map(jnp.zeros_like, x_start)


def _walk(predict: Predict, x_start: Tree, steps: dict[str, Array], noise_of) -> Tree:
    """Scans `x <- x0·w + epsilon·w + x·w + noise·w` with the weights of each row of `steps`."""
    batch = jax.tree.leaves(x_start)[0].shape[0]

    def step(x_t: Tree, row: dict[str, Array]) -> tuple[Tree, None]:
        x0, epsilon = predict(x_t, jnp.full((batch,), row["timestep"], jnp.int32))
        x_next = jax.tree.map(
            lambda a, e, x, n: (
                row["x0"] * a + row["epsilon"] * e + row["x_t"] * x + row["noise"] * n
            ).astype(x.dtype),
            x0,
            epsilon,
            x_t,
            noise_of(row["index"]),
        )
        return x_next, None

    rows = steps | {"index": np.arange(steps["timestep"].shape[0])}
    return jax.lax.scan(step, x_start, rows)[0]
