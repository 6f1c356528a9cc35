"""Training of MToV: the tri-plane latent of a clip from its conditions (paper section 4.3)."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax.config import DiffusionConfig, LossConfig, SamplingConfig
from moditalker_jax.diffusion.losses import diffusion_loss
from moditalker_jax.diffusion.process import normal_like, prediction_target, q_sample
from moditalker_jax.latents import ClipEncoder, Latents
from moditalker_jax.models.build import init_params
from moditalker_jax.sampling import make_schedule, sample_latents
from moditalker_jax.training.stages.base import Batch, film_strip, loss_by_quarter, to_pixels
from moditalker_jax.triplane import TriPlane


def _motion(latents: TriPlane) -> tuple[jax.Array, jax.Array]:
    """What of the planes that keep time, (B, T, ..., C), differs from their mean over time."""
    return tuple(p - jnp.mean(p, axis=1, keepdims=True) for p in (latents.yt, latents.xt))


def channel_weights(decoder: Any, power: float) -> TriPlane:
    """How much each channel of each plane counts: by how much it can change pixels.

    Args:
      decoder: parameters of a `TriPlaneDecoder`.
      power: of each channel's gain, the norm of what the decoder's linear path makes of it; 0
        counts all channels alike.

    Returns:
      Planes (C,), 1 in the mean.
    """
    to_pixels = decoder["pixels"]["kernel"]
    gains = TriPlane(
        **{
            plane: jnp.linalg.norm(decoder[f"features_{plane}"]["kernel"] @ to_pixels, axis=-1)
            for plane in ("xy", "yt", "xt")
        }
    )
    weights = jax.tree.map(lambda gain: gain**power, gains)
    mean = jnp.mean(jnp.stack(jax.tree.leaves(weights)))
    return jax.tree.map(lambda weight: weight / mean, weights)


@dataclasses.dataclass(frozen=True)
class MToVStage:
    """Diffusion of a clip's latents, given those of its landmarks, pose and identity frames.

    Attributes:
      encoder: the frozen autoencoders; it splits cached latents into planes, or encodes raw clips.
      constants: their parameters.
      audio_width: of the audio features, where the network reads them.
    """

    model: nn.Module
    loss_config: LossConfig
    diffusion: DiffusionConfig
    sampling: SamplingConfig
    encoder: ClipEncoder
    constants: Any
    audio_width: int = 1

    def init_params(self, key: jax.Array) -> Any:
        return init_params(self.model, key, audio_width=self.audio_width)

    def _latents(self, constants: Any, batch: Batch) -> Latents:
        if "landmark_video" not in batch:
            return self.encoder.from_tokens(batch)
        return jax.lax.stop_gradient(self.encoder.encode(constants, batch))

    def loss(
        self,
        params: Any,
        constants: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        *,
        train: bool,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Distance of latents, and `motion` times that of the time planes from their means.

        With `channel_gain` the channels are weighted, see `channel_weights`.

        `batch`: cached latents, or a raw clip with its conditions' videos; audio_features
        (B, 2T, A) too where the network reads them.
        """
        del step
        latents = self._latents(constants, batch)
        x0 = latents.video
        time_key, noise_key, dropout_key = jax.random.split(key, 3)
        timesteps = jax.random.randint(
            time_key, (x0.xy.shape[0],), 0, self.diffusion.num_train_timesteps
        )
        epsilon = normal_like(noise_key, x0)
        schedule = make_schedule(self.diffusion)
        prediction = self.model.apply(
            {"params": params},
            q_sample(schedule, x0, timesteps, epsilon),
            timesteps,
            latents.landmark,
            latents.pose,
            latents.reference,
            batch.get("audio_features"),
            train=train,
            rngs={"dropout": dropout_key},
        )
        target = prediction_target(
            schedule, x0, timesteps, epsilon, prediction_type=self.diffusion.prediction_type
        )
        if power := self.loss_config.channel_gain:
            weights = channel_weights(constants["autoencoder"]["decoder"], power)
            prediction, target = (
                jax.tree.map(lambda plane, weight: plane * jnp.sqrt(weight), planes, weights)
                for planes in (prediction, target)
            )
        distance = functools.partial(diffusion_loss, distance=self.loss_config.diffusion)
        latent_distance = distance(prediction, target)
        motion = distance(_motion(prediction), _motion(target))
        loss = latent_distance + self.loss_config.motion * motion
        errors = jnp.mean(jnp.square(prediction.to_tokens() - target.to_tokens()), axis=(1, 2))
        quarters = loss_by_quarter(errors, timesteps, self.diffusion.num_train_timesteps)
        return loss, {"loss": loss, "latents": latent_distance, "motion": motion, **quarters}

    def pictures(
        self, params: Any, constants: Any, batch: Batch, key: jax.Array
    ) -> dict[str, np.ndarray]:
        """Decoded truth and decoded samples: four frames of up to two clips, and one moving."""
        batch = jax.tree.map(lambda x: x[:2], batch)

        def make(params, constants, batch, key):
            latents = self._latents(constants, batch)
            sampled = sample_latents(
                self.model,
                params,
                latents,
                key,
                diffusion=self.diffusion,
                config=self.sampling,
                audio_features=batch.get("audio_features"),
            )
            decode = self.encoder.decode
            return decode(constants, latents.video), decode(constants, sampled)

        true, made = (to_pixels(v) for v in jax.jit(make)(params, constants, batch, key))
        shown = np.linspace(0, true.shape[1] - 1, 4).astype(int)
        rows = [clip[shown] for pair in zip(true, made, strict=True) for clip in pair]
        moving = np.concatenate([true[0], made[0]], axis=2)
        return {"samples": film_strip(*rows), "sample_moving": moving}
