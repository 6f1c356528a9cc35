"""Landmarks to frames: MToV, clip after clip (paper section 4.3)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax.checkpoint import TrainedStage
from moditalker_jax.conditions import landmark_video, pose_video
from moditalker_jax.latents import ClipEncoder
from moditalker_jax.sampling import sample_latents

FinishFrames = Callable[[np.ndarray, int], np.ndarray]


@dataclasses.dataclass
class FrameGenerator:
    """MToV and its autoencoders, compiled once for one clip."""

    autoencoder: TrainedStage
    landmark_autoencoder: TrainedStage
    mtov: TrainedStage

    def __post_init__(self) -> None:
        self._encoder = ClipEncoder(self.autoencoder.model, self.landmark_autoencoder.model)
        self._params = {
            "autoencoder": self.autoencoder.params,
            "landmark_autoencoder": self.landmark_autoencoder.params,
        }
        config = self.mtov.config

        def make_clip(params, encoder_params, batch, audio_features, key):
            conditions = self._encoder.encode(encoder_params, batch)
            latents = sample_latents(
                self.mtov.model,
                params,
                conditions,
                key,
                diffusion=config.diffusion,
                config=config.sampling,
                audio_features=audio_features,
            )
            return self._encoder.decode(encoder_params, latents)

        self._make_clip = jax.jit(make_clip)
        self._reconstruct = jax.jit(
            lambda params, clip: self._encoder.decode(
                params, self._encoder.encode_rgb(params, clip)
            )
        )

    @property
    def resolution(self) -> int:
        """Side of the frames in pixels."""
        return self.autoencoder.model.resolution

    @property
    def clip_frames(self) -> int:
        """Frames of a clip."""
        return self.autoencoder.model.num_frames

    def __call__(
        self,
        landmarks: np.ndarray,
        reference_frames: np.ndarray,
        reference_landmarks: np.ndarray,
        key: jax.Array,
        *,
        audio_features: np.ndarray,
        finish: FinishFrames,
        on_clip: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Frames of any length; each clip's first reference frame is its identity.

        Args:
          landmarks: (T, 68, 3) to draw, in units of the frame's width.
          reference_frames: uint8 (T, H, W, 3), whose upper halves are the pose frames.
          reference_landmarks: (T, 68, 3) of those frames, in units of their width.
          key: typed key; clip k uses `fold_in(key, k)`.
          audio_features: (2T, D) at 50 Hz; read only by a network with that condition.
          finish: given a clip's frames in [-1, 1] and its first frame's number, its uint8 frames.
          on_clip: told the number of clips done and their total.

        Returns:
          uint8 (T, H, W, 3).
        """
        num_frames = len(landmarks)
        clip_frames = self.clip_frames
        num_clips = -(-num_frames // clip_frames)
        clips = []
        for index in range(num_clips):
            # The last clip is filled up with its last frame; what it adds is cut off.
            chosen = np.arange(index * clip_frames, (index + 1) * clip_frames)
            chosen = np.minimum(chosen, num_frames - 1)
            frames = self._generate(
                landmarks[chosen],
                reference_frames[chosen],
                reference_landmarks[chosen],
                # Not the last clip's last frame: what is wrong in it would grow from clip to clip.
                reference_frames[chosen[0]],
                audio_features.reshape(num_frames, -1, audio_features.shape[-1])[chosen],
                jax.random.fold_in(key, index),
            )
            kept = min(clip_frames, num_frames - index * clip_frames)
            clips.append(finish(frames[:kept], index * clip_frames))
            on_clip(index + 1, num_clips)
        return np.concatenate(clips)

    def reconstruct(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (T, H, W, 3) frames through the RGB autoencoder and back, clip by clip.

        The frames after the last whole clip are reconstructed within a clip that ends with them.
        """
        size, length = self.clip_frames, len(frames)
        # A short video is filled up with its last frame.
        frames = frames[np.minimum(np.arange(max(length, size)), length - 1)]
        last = len(frames) - size
        made = np.zeros_like(frames)
        for start in [*range(0, last, size), last]:
            clip = jnp.asarray(frames[start : start + size])[None]
            video = np.asarray(self._reconstruct(self._params, clip)[0])
            made[start : start + size] = np.clip(np.round((video + 1.0) * 127.5), 0, 255)
        return made[:length]

    def _generate(
        self, landmarks, frames, frame_landmarks, identity, audio_features, key
    ) -> np.ndarray:
        batch = {
            "pose_video": pose_video(frames, frame_landmarks),
            "landmark_video": landmark_video(
                landmarks,
                resolution=self.resolution,
                disc_radius=self.mtov.config.data.disc_radius,
            ),
            "reference": identity,
        }
        batch = {name: jnp.asarray(value)[None] for name, value in batch.items()}
        audio = audio_features.reshape(1, -1, audio_features.shape[-1])
        return np.asarray(self._make_clip(self.mtov.params, self._params, batch, audio, key)[0])
