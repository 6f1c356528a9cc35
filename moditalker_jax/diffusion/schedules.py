"""Noise schedules and the times that a sampler visits (paper equation 1 and section 3)."""

import flax.struct
import numpy as np
from jax import Array

from moditalker_jax.errors import InputError


@flax.struct.dataclass
class NoiseSchedule:
    """One forward process `x_t = alpha_t x0 + sigma_t epsilon`; a pytree of (T,) float32 arrays.

    Everything is computed in float64 and rounded once, so that `sigma` at the clean end and
    `alpha` at the noisy end keep their full relative precision.

    Attributes:
      betas: variance added by each step, in (0, 1).
      alphas_cumprod: running product of `1 - betas`; the paper's alpha_t.
      alpha: sqrt(alphas_cumprod), the signal's share of x_t.
      sigma: sqrt(1 - alphas_cumprod), the noise's standard deviation in x_t.
      posterior_x0: weight of x0 in the mean of q(x_{t-1} | x_t, x0).
      posterior_x_t: weight of x_t in that mean.
      posterior_variance: variance of q(x_{t-1} | x_t, x0); zero at t = 0.
    """

    betas: Array
    alphas_cumprod: Array
    alpha: Array
    sigma: Array
    posterior_x0: Array
    posterior_x_t: Array
    posterior_variance: Array

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of steps of the forward process."""
        return self.betas.shape[0]


def schedule_from_betas(betas: np.ndarray) -> NoiseSchedule:
    """The schedule of any (T,) `betas` in (0, 1)."""
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or not np.all((betas > 0) & (betas < 1)):
        raise InputError("betas must be one axis of numbers between 0 and 1")
    alphas_cumprod = np.cumprod(1 - betas)
    variance = 1 - alphas_cumprod
    previous = np.concatenate(([1.0], alphas_cumprod[:-1]))
    fields = {
        "betas": betas,
        "alphas_cumprod": alphas_cumprod,
        "alpha": np.sqrt(alphas_cumprod),
        "sigma": np.sqrt(variance),
        "posterior_x0": betas * np.sqrt(previous) / variance,
        "posterior_x_t": (1 - previous) * np.sqrt(1 - betas) / variance,
        "posterior_variance": betas * (1 - previous) / variance,
    }
    return NoiseSchedule(**{name: value.astype(np.float32) for name, value in fields.items()})


def cosine_schedule(num_train_timesteps: int = 1000) -> NoiseSchedule:
    """AToM's schedule: alphas_cumprod is `cos²((t/T + 0.008) / 1.008 · pi/2)`, beta <= 0.999."""
    offset = 0.008
    times = np.arange(num_train_timesteps + 1, dtype=np.float64) / num_train_timesteps
    alphas_cumprod = np.cos((times + offset) / (1 + offset) * np.pi / 2) ** 2
    return schedule_from_betas(np.clip(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], 0, 0.999))


def scaled_linear_schedule(
    num_train_timesteps: int = 1000, beta_start: float = 0.0015, beta_end: float = 0.0195
) -> NoiseSchedule:
    """MToV's schedule, latent diffusion's "linear": betas are linear in their square roots."""
    return schedule_from_betas(
        np.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=np.float64) ** 2
    )


def ddim_timestep_pairs(
    num_train_timesteps: int, num_sampling_steps: int, start_fraction: float = 1.0
) -> np.ndarray:
    """The (time, next time) pairs that DDIM walks, noisiest first; -1 stands for clean data.

    Args:
      num_train_timesteps: T of the schedule.
      num_sampling_steps: steps from pure noise to data, from 1 to T.
      start_fraction: in (0, 1]; below 1 only the last `int(num_sampling_steps * start_fraction)`
        pairs are kept, for a start from partly noised data (`start_timestep`).

    Returns:
      (S, 2) int32.
    """
    if not 1 <= num_sampling_steps <= num_train_timesteps:
        raise InputError(
            f"num_sampling_steps is {num_sampling_steps}; choose 1 to {num_train_timesteps}"
        )
    kept = int(num_sampling_steps * start_fraction)
    if not 0 < start_fraction <= 1 or kept < 1:
        raise InputError(
            f"start_fraction {start_fraction} leaves none of {num_sampling_steps} sampling steps;"
            f" choose {1 / num_sampling_steps:.3g} to 1"
        )
    times = np.linspace(-1, num_train_timesteps - 1, num_sampling_steps + 1).astype(np.int32)[::-1]
    return np.stack((times[:-1], times[1:]), axis=1)[-kept:]


def start_timestep(
    num_train_timesteps: int,
    num_sampling_steps: int,
    start_fraction: float,
    *,
    truncate_fraction: bool = False,
) -> int:
    """The time to which clean data is noised before a sampler starts from it.

    By default the first time of `ddim_timestep_pairs`, so that the first call of the network sees
    the noise level that it is told. The release takes `int(T * start_fraction)` instead
    (`truncate_fraction=True`), one step noisier than its first call: 250 for a call at 249.
    """
    if truncate_fraction:
        return min(int(num_train_timesteps * start_fraction), num_train_timesteps - 1)
    return int(ddim_timestep_pairs(num_train_timesteps, num_sampling_steps, start_fraction)[0, 0])
