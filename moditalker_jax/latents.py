"""The frozen autoencoders at work: clips and their conditions to tri-plane latents and back.

Training on raw clips, the latent cache and generation all encode through `ClipEncoder`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from moditalker_jax.checkpoint import load_stage
from moditalker_jax.models.autoencoder import TriPlaneAutoencoder
from moditalker_jax.triplane import TriPlane


@flax.struct.dataclass
class Latents:
    """Latents of a batch of clips (paper figure 2): Z, Z_L, Z_P and Z_I, each (B, ...) planes.

    `video` is None where the clip is still to be made.
    """

    video: TriPlane | None
    landmark: TriPlane
    pose: TriPlane
    reference: TriPlane


LATENT_NAMES = tuple(field.name for field in dataclasses.fields(Latents))


def to_unit_range(video: jax.Array) -> jax.Array:
    """uint8 pixels as float32 in [-1, 1]."""
    return video.astype(jnp.float32) / 127.5 - 1.0


@dataclasses.dataclass(frozen=True)
class ClipEncoder:
    """The RGB and the landmark autoencoder; their parameters come with every call.

    `params` below is {"autoencoder": ..., "landmark_autoencoder": ...}.
    """

    autoencoder: TriPlaneAutoencoder
    landmark_autoencoder: TriPlaneAutoencoder

    def encode_rgb(self, params: Mapping[str, Any], video: jax.Array) -> TriPlane:
        """Latents of uint8 (B, T, H, W, 3) frames by the RGB encoder."""
        return self.autoencoder.apply(
            {"params": params["autoencoder"]}, to_unit_range(video), method="encode"
        )

    def encode_still(self, params: Mapping[str, Any], frame: jax.Array) -> TriPlane:
        """Latents of clips that repeat one uint8 frame (B, H, W, 3), by the RGB encoder."""
        return self.autoencoder.apply(
            {"params": params["autoencoder"]}, to_unit_range(frame), method="encode_still"
        )

    def encode_landmarks(self, params: Mapping[str, Any], landmark_video: jax.Array) -> TriPlane:
        """Latents of uint8 (B, T, H, W, 3) landmark videos by the landmark encoder."""
        return self.landmark_autoencoder.apply(
            {"params": params["landmark_autoencoder"]},
            to_unit_range(landmark_video),
            method="encode",
        )

    def encode(self, params: Mapping[str, Any], batch: Mapping[str, jax.Array]) -> Latents:
        """All latents of a batch of uint8 clips.

        Args:
          params: of both autoencoders.
          batch: landmark_video and pose_video (B, T, H, W, 3), reference (B, H, W, 3), which stands
            still, and, unless the clip is still to be made, video (B, T, H, W, 3).
        """
        rgb = [batch["pose_video"]] + ([batch["video"]] if "video" in batch else [])
        # One pass of the RGB encoder over both as one batch.
        encoded = self.encode_rgb(params, jnp.concatenate(rgb))
        pose, *video = (
            TriPlane(*planes)
            for planes in zip(
                *(jnp.split(plane, len(rgb)) for plane in jax.tree.leaves(encoded)), strict=True
            )
        )
        reference = self.encode_still(params, batch["reference"])
        landmark = self.encode_landmarks(params, batch["landmark_video"])
        return Latents(video[0] if video else None, landmark, pose, reference)

    def decode(self, params: Mapping[str, Any], latents: TriPlane) -> jax.Array:
        """Frames (B, T, H, W, 3) in [-1, 1]."""
        return self.autoencoder.apply({"params": params["autoencoder"]}, latents, method="decode")

    def from_tokens(self, tokens: Mapping[str, jax.Array]) -> Latents:
        """Cached flat latents (B, L, C), one array for each of `LATENT_NAMES`, as planes."""
        grid = self.autoencoder.resolution // self.autoencoder.patch_size
        frames = self.autoencoder.num_frames
        shape = TriPlane(*(jnp.zeros((1, rows, grid, 1)) for rows in (grid, frames, frames)))
        return Latents(**{name: shape.with_tokens(tokens[name]) for name in LATENT_NAMES})


def load_clip_encoder(
    autoencoder: Path, landmark_autoencoder: Path
) -> tuple[ClipEncoder, dict[str, Any]]:
    """Both trained autoencoders, and their parameters as `ClipEncoder` takes them.

    Raises:
      InputError: one of the workdirs holds no checkpoint of its stage.
    """
    rgb = load_stage(autoencoder, stage="autoencoder")
    landmark = load_stage(landmark_autoencoder, stage="landmark_autoencoder")
    params = {"autoencoder": rgb.params, "landmark_autoencoder": landmark.params}
    return ClipEncoder(rgb.model, landmark.model), params
