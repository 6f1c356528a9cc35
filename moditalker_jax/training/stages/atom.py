"""Training of AToM: audio features to landmark residuals (paper section 4.2, equation 5)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax.config import DiffusionConfig, LossConfig, SamplingConfig
from moditalker_jax.diffusion.losses import atom_loss
from moditalker_jax.diffusion.process import q_sample
from moditalker_jax.landmarks import draw_landmarks
from moditalker_jax.models.build import init_params
from moditalker_jax.sampling import make_schedule, sample_motion
from moditalker_jax.training.stages.base import Batch, film_strip, loss_by_quarter


@dataclasses.dataclass(frozen=True)
class AToMStage:
    """Diffusion of the residual to the window's first frame, given audio and that frame.

    Without `diffusion.residual` it is the window's motion itself.

    Attributes:
      data: metadata of the training data.
    """

    model: nn.Module
    loss_config: LossConfig
    diffusion: DiffusionConfig
    sampling: SamplingConfig
    data: Mapping[str, Any]
    constants: Any = dataclasses.field(default_factory=dict)

    def init_params(self, key: jax.Array) -> Any:
        return init_params(self.model, key, audio_width=self.data["audio_encoder"]["width"])

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
        """`batch`: motion (B, T, 68, 3), audio_features (B, 2T, D), mask (B, T)."""
        del constants, step
        if train and self.loss_config.mixup:
            batch = self._mixed(batch, jax.random.fold_in(key, 2))
        motion = batch["motion"]
        x0 = motion - motion[:, :1] if self.diffusion.residual else motion
        batch_size = x0.shape[0]
        time_key, noise_key, drop_key, dropout_key = jax.random.split(key, 4)
        audio, reference = batch["audio_features"], motion[:, 0]
        if train:
            audio, reference = self._noised(audio, reference, jax.random.fold_in(key, 1))
        timesteps = jax.random.randint(
            time_key, (batch_size,), 0, self.diffusion.num_train_timesteps
        )
        epsilon = jax.random.normal(noise_key, x0.shape)
        keep = jax.random.bernoulli(drop_key, 1.0 - self.diffusion.cond_drop_rate, (batch_size,))
        prediction = self.model.apply(
            {"params": params},
            q_sample(make_schedule(self.diffusion), x0, timesteps, epsilon),
            timesteps,
            audio,
            reference,
            keep_condition=keep if train else None,
            train=train,
            rngs={"dropout": dropout_key},
        )
        weights = self.loss_config
        terms = atom_loss(
            prediction,
            x0,
            batch["mask"],
            reconstruction_weight=weights.reconstruction,
            velocity_weight=weights.velocity,
            motion_weight=weights.motion,
        )
        errors = jnp.mean(jnp.square(prediction - x0), axis=(2, 3))  # (B, T)
        errors = jnp.mean(errors, axis=1, where=batch["mask"])
        quarters = loss_by_quarter(errors, timesteps, self.diffusion.num_train_timesteps)
        return terms["loss"], terms | quarters

    def _mixed(self, batch: Batch, key: jax.Array) -> Batch:
        """Weighted means of each window and the one before it in the batch, faces and sound alike.

        mixup (Zhang et al. 2018), the own window with the larger weight; only frames that both
        windows have stay in the mask.
        """
        alpha = self.loss_config.mixup
        share = jax.random.beta(key, alpha, alpha, (len(batch["mask"]),))
        share = jnp.maximum(share, 1 - share)

        def mix(windows: jax.Array) -> jax.Array:
            own = share.reshape(-1, *[1] * (windows.ndim - 1))
            return own * windows + (1 - own) * jnp.roll(windows, 1, axis=0)

        mixed = {name: mix(batch[name]) for name in ("motion", "audio_features")}
        return batch | mixed | {"mask": batch["mask"] & jnp.roll(batch["mask"], 1, axis=0)}

    def _noised(
        self, audio: jax.Array, reference: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Audio features and reference landmarks with the noise that the config asks for."""
        audio_key, reference_key = jax.random.split(key)
        if sigma := self.loss_config.audio_noise:
            audio = audio + sigma * jax.random.normal(audio_key, audio.shape)
        if sigma := self.loss_config.reference_noise:
            reference = reference + sigma * jax.random.normal(reference_key, reference.shape)
        return audio, reference

    def pictures(
        self, params: Any, constants: Any, batch: Batch, key: jax.Array
    ) -> dict[str, np.ndarray]:
        """True landmarks and sampled ones: eight frames of up to two windows, and one moving."""
        del constants
        motion = np.asarray(batch["motion"][:2])
        made = jax.jit(
            lambda *inputs: sample_motion(
                self.model, *inputs, diffusion=self.diffusion, config=self.sampling
            )
        )(params, batch["audio_features"][:2], motion[:, 0], key)
        made = np.asarray(made) + (motion[:, :1] if self.diffusion.residual else 0.0)
        scale, mean_face = self.data["motion_scale"], np.asarray(self.data["mean_face"])
        drawn = [
            draw_frontal(landmarks / scale + mean_face)
            for pair in zip(motion, made, strict=True)
            for landmarks in pair
        ]
        shown = np.linspace(0, motion.shape[1] - 1, 8).astype(int)
        return {
            "landmarks": film_strip(*(row[shown] for row in drawn)),
            "landmarks_moving": np.concatenate(drawn[:2], axis=2),
        }


def draw_frontal(landmarks: np.ndarray, *, resolution: int = 160) -> np.ndarray:
    """uint8 (T, resolution, resolution, 3) pictures of frontal landmarks (T, 68, 3)."""
    across = 3.0  # A mean face is 2 wide.
    columns = (landmarks[..., 0] / across + 0.5) * resolution
    rows = (0.5 - landmarks[..., 1] / across) * resolution
    return draw_landmarks(np.stack([columns, rows], axis=-1), resolution, 1.0)
