"""Training of the RGB and of the landmark autoencoder (paper section 4.3, appendix A)."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax import spec
from moditalker_jax.checkpoint import load_params
from moditalker_jax.config import LossConfig
from moditalker_jax.diffusion.process import normal_like
from moditalker_jax.latents import to_unit_range
from moditalker_jax.models.build import abstract_params, init_params
from moditalker_jax.models.perceptual import LPIPS
from moditalker_jax.training.stages.base import Batch, film_strip, to_pixels

MAX_PRE_LATENT = 1.5
"""Where the tanh that makes latents still has a fifth of its slope."""

MOUTH_MARGIN = 0.25
"""Around the mouth's landmarks, in widths of the mouth."""

_LATENT_LAYERS = ("latents_xy", "latents_yt", "latents_xt")


@dataclasses.dataclass(frozen=True)
class AutoencoderStage:
    """Reconstruction of `batch[source]` by L1 and LPIPS.

    Attributes:
      source: "video" for the RGB autoencoder, "landmark_video" for the landmark autoencoder.
      start_from: workdir whose parameters are the start: the landmark autoencoder starts from
        the RGB one, and its config freezes the decoder.
      constants: LPIPS parameters, or {} where the perceptual weight is 0.
    """

    model: nn.Module
    loss_config: LossConfig
    source: str
    start_from: Path | None
    constants: Any

    def init_params(self, key: jax.Array) -> Any:
        if self.start_from is None:
            return init_params(self.model, key)
        return load_params(self.start_from, abstract_params(self.model))

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
        """`l1 * |x - D(E(x))| + perceptual * LPIPS`, and terms of our own, 0 by default.

        LPIPS sets in at `perceptual_start`. `l2` weighs squared errors, `motion` both distances
        once more of what differs from the clip's mean frame, `mouth` those of the pixels around
        `batch["landmarks"]` of the mouth, and `latent_range` the mean square of
        what the latents' tanh is given beyond +-`MAX_PRE_LATENT`. In training the decoder gets
        latents with normal noise of `latent_noise`.
        """
        config = self.loss_config
        noise_key, frames_key = jax.random.split(key)

        def reconstruct(autoencoder: nn.Module, video: jax.Array) -> jax.Array:
            latents = autoencoder.encode(video)
            if train and config.latent_noise:
                noise = normal_like(noise_key, latents)
                latents = jax.tree.map(lambda x, n: x + config.latent_noise * n, latents, noise)
            return autoencoder.decode(latents)

        video = to_unit_range(batch[self.source])
        reconstruction, captured = self.model.apply(
            {"params": params},
            video,
            capture_intermediates=lambda module, _: module.name in _LATENT_LAYERS,
            mutable="intermediates",
            method=reconstruct,
        )

        def distance(error: jax.Array) -> jax.Array:
            return config.l1 * jnp.mean(jnp.abs(error)) + config.l2 * jnp.mean(jnp.square(error))

        error = video - reconstruction
        l1 = jnp.mean(jnp.abs(error))
        # PSNR over pixel values in [0, 1], whose errors are half of those in [-1, 1].
        psnr = -10.0 * jnp.log10(jnp.mean(jnp.square(error)) / 4.0)
        motion = distance(error - jnp.mean(error, axis=1, keepdims=True))
        loss = distance(error) + config.motion * motion
        pre_latents = jax.tree.leaves(captured)
        beyond = [jax.nn.relu(jnp.abs(x) - MAX_PRE_LATENT) for x in pre_latents]
        overshoot = jnp.mean(jnp.stack([jnp.mean(jnp.square(x)) for x in beyond]))
        loss = loss + config.latent_range * overshoot
        metrics = {"l1": l1, "psnr": psnr, "motion": motion, "latent_overshoot": overshoot}
        if config.mouth:
            mask = mouth_mask(batch["landmarks"], video.shape[2])  # (B, T, R, R, 1)
            # A mouth outside the frame has no pixels, and no say.
            one_pixel = 1.0 / mask.size
            mouth = distance(error * mask) / jnp.maximum(jnp.mean(mask), one_pixel)
            loss = loss + config.mouth * mouth
            metrics["mouth"] = mouth
        if config.perceptual:
            perceptual = jax.lax.cond(
                step >= config.perceptual_start,
                lambda: self._perceptual(constants, video, reconstruction, frames_key),
                lambda: jnp.zeros(()),
            )
            loss = loss + config.perceptual * perceptual
            metrics["lpips"] = perceptual
        return loss, {"loss": loss, **metrics}

    def _perceptual(
        self, constants: Any, video: jax.Array, reconstruction: jax.Array, key: jax.Array
    ) -> jax.Array:
        num_clips, num_frames = video.shape[:2]
        if self.loss_config.perceptual_frames is not None:
            count = self.loss_config.perceptual_frames
            frames = jax.random.randint(key, (num_clips, count), 0, num_frames)
            frames = frames[:, :, None, None, None]
            video = jnp.take_along_axis(video, frames, axis=1)
            reconstruction = jnp.take_along_axis(reconstruction, frames, axis=1)
        flat = (-1, *video.shape[2:])
        distances = LPIPS().apply(
            {"params": constants}, video.reshape(flat), reconstruction.reshape(flat)
        )
        return jnp.mean(distances)

    def pictures(
        self, params: Any, constants: Any, batch: Batch, key: jax.Array
    ) -> dict[str, np.ndarray]:
        """Four frames of each of up to four clips, above their reconstructions."""
        del constants, key
        video = batch[self.source][:4]
        made = to_pixels(jax.jit(self.model.apply)({"params": params}, to_unit_range(video)))
        shown = np.linspace(0, video.shape[1] - 1, 4).astype(int)
        rows = [
            frames[shown] for pair in zip(np.asarray(video), made, strict=True) for frames in pair
        ]
        return {"reconstruction": film_strip(*rows)}


def mouth_mask(landmarks: jax.Array, resolution: int) -> jax.Array:
    """1.0 in the box around each frame's mouth, 0.0 elsewhere.

    Args:
      landmarks: (B, T, 68, 3) in units of the frame's width.
      resolution: R, the frame's side in pixels.

    Returns:
      (B, T, R, R, 1) float32.
    """
    mouth = landmarks[:, :, np.array(spec.MOUTH), :2]
    low, high = jnp.min(mouth, axis=2), jnp.max(mouth, axis=2)  # (B, T, 2)
    margin = MOUTH_MARGIN * (high[..., :1] - low[..., :1])
    centres = (jnp.arange(resolution) + 0.5) / resolution
    inside = (centres >= (low - margin)[..., None]) & (centres <= (high + margin)[..., None])
    columns, rows = inside[:, :, 0], inside[:, :, 1]  # (B, T, R)
    return (rows[..., :, None, None] & columns[..., None, :, None]).astype(jnp.float32)
