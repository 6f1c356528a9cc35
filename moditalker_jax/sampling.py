"""A trained network and its settings bound to a sampler: pure functions, one jit each."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from moditalker_jax.config import DiffusionConfig, SamplingConfig
from moditalker_jax.diffusion.guidance import guide
from moditalker_jax.diffusion.process import make_predictor, normal_like, q_sample
from moditalker_jax.diffusion.samplers import ddim
from moditalker_jax.diffusion.schedules import (
    NoiseSchedule,
    cosine_schedule,
    ddim_timestep_pairs,
    scaled_linear_schedule,
    start_timestep,
)
from moditalker_jax.latents import Latents
from moditalker_jax.triplane import TriPlane

_SCHEDULES = {"cosine": cosine_schedule, "scaled_linear": scaled_linear_schedule}


def make_schedule(config: DiffusionConfig) -> NoiseSchedule:
    """The noise schedule that a config names."""
    return _SCHEDULES[config.schedule](config.num_train_timesteps)


def sample_motion(
    model: nn.Module,
    params,
    audio_features: jax.Array,
    reference_motion: jax.Array,
    key: jax.Array,
    *,
    diffusion: DiffusionConfig,
    config: SamplingConfig,
) -> jax.Array:
    """Samples AToM (paper section 4.2).

    The conditions are encoded once, for both guidance branches, and the branches run as one batch.

    Args:
      audio_features: (B, 2T, D).
      reference_motion: (B, 68, 3), motion space.

    Returns:
      (B, T, 68, 3) in [-1, 1]: residuals to the reference; without `diffusion.residual`, motion.
    """
    batch_size = audio_features.shape[0]
    guided = config.guidance_scale != 1.0
    keep = jnp.ones((batch_size,), bool)
    if guided:
        audio_features = jnp.concatenate([audio_features, audio_features])
        reference_motion = jnp.concatenate([reference_motion, reference_motion])
        keep = jnp.concatenate([keep, ~keep])
    variables = {"params": params}
    conditions = model.apply(
        variables, audio_features, reference_motion, keep_condition=keep, method="encode_conditions"
    )

    def denoise(x_t, timesteps):
        return model.apply(variables, x_t, timesteps, conditions, method="denoise")

    schedule = make_schedule(diffusion)
    predict = make_predictor(
        guide(denoise, config.guidance_scale) if guided else denoise,
        schedule,
        prediction_type=diffusion.prediction_type,
        clip_x0=True,
        rederive_epsilon=config.rederive_epsilon,
    )
    start_key, step_key = jax.random.split(key)
    num_frames, *landmark_shape = model.num_frames, *reference_motion.shape[1:]
    x_start = jax.random.normal(start_key, (batch_size, num_frames, *landmark_shape))
    return ddim(
        predict,
        x_start,
        schedule=schedule,
        timestep_pairs=ddim_timestep_pairs(
            diffusion.num_train_timesteps, config.num_sampling_steps
        ),
        eta=config.eta,
        key=step_key,
    )


def sample_latents(
    model: nn.Module,
    params,
    conditions: Latents,
    key: jax.Array,
    *,
    diffusion: DiffusionConfig,
    config: SamplingConfig,
    audio_features: jax.Array | None = None,
) -> TriPlane:
    """Samples MToV (paper section 4.3); `conditions.video` is not read.

    With `start_fraction` below 1 the start is the reference, noised to that part of the schedule.

    Returns:
      Latents of the clips in [-1, 1].
    """
    schedule = make_schedule(diffusion)

    def denoise(x_t, timesteps):
        return model.apply(
            {"params": params},
            x_t,
            timesteps,
            conditions.landmark,
            conditions.pose,
            conditions.reference,
            audio_features,
        )

    predict = make_predictor(
        denoise,
        schedule,
        prediction_type=diffusion.prediction_type,
        clip_x0=True,
        rederive_epsilon=config.rederive_epsilon,
    )
    start_key, step_key = jax.random.split(key)
    x_start = normal_like(start_key, conditions.reference)
    if config.start_fraction < 1.0:
        start = start_timestep(
            diffusion.num_train_timesteps,
            config.num_sampling_steps,
            config.start_fraction,
            truncate_fraction=config.truncate_fraction,
        )
        timesteps = jnp.full(conditions.reference.xy.shape[:1], start, jnp.int32)
        x_start = q_sample(schedule, conditions.reference, timesteps, x_start)
    return ddim(
        predict,
        x_start,
        schedule=schedule,
        timestep_pairs=ddim_timestep_pairs(
            diffusion.num_train_timesteps, config.num_sampling_steps, config.start_fraction
        ),
        eta=config.eta,
        key=step_key,
    )
