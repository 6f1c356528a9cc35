"""The tri-plane video autoencoder (paper section 4.3, from PVDM).

Sixteen frames become three planes of latents: one without time, one without rows, one without
columns. MToV denoises these planes instead of pixels.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.timesformer import AxisTransformer, TimeSformer
from moditalker_jax.triplane import TriPlane

_REMOVED_AXES = {"xy": 1, "yt": 2, "xt": 3}
"""The axis of features (B, T, H, W, D) that each plane lacks."""


class AxisProjection(nn.Module):
    """Removes one axis of a feature map: a transformer along it, read at the first position.

    A learned summary token stands *last*, and the result is read at the axis's own first position,
    which meets the token only as a key and value. This is how the authors' models were trained.

    Attributes:
      depth: layers of the transformer.
      num_heads: heads of each attention; each is an eighth of the features wide.
      mlp_width: hidden width of its feed-forward.
      mean_residual: the transformer's layers add to the mean along the axis in place of the first
        position, see `TriPlaneAutoencoder`.
      dtype: of the computation.
    """

    depth: int
    num_heads: int
    mlp_width: int
    mean_residual: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, full: bool = False) -> Array:
        """Projects (..., L, D) to (..., D); with `full`, all outputs (..., L + 1, D)."""
        *batch, length, width = x.shape
        unit = nn.initializers.normal(1.0)
        token = self.param("token", unit, (width,)).astype(x.dtype)
        positions = self.param("positions", unit, (length + 1, width)).astype(x.dtype)
        axis = x
        x = jnp.concatenate([x, jnp.broadcast_to(token, (*batch, 1, width))], axis=-2)
        transformer = AxisTransformer(
            self.depth, self.num_heads, width // 8, self.mlp_width, self.dtype, name="transformer"
        )
        out = transformer(x + positions, first_only=not full)
        if self.mean_residual:
            out = out + (jnp.mean(axis, axis=-2, keepdims=True) - axis[..., :1, :])
        return out if full else out[..., 0, :]


class TriPlaneEncoder(nn.Module):
    """Video to tri-plane latents.

    Attributes:
      timesformer: makes the TimeSformer, given its name.
      num_frames: that a clip of one frame stands for.
      others: see `TriPlaneAutoencoder`.
    """

    timesformer: Callable[..., nn.Module]
    num_frames: int
    patch_size: int
    width: int
    projection_depth: int
    projection_heads: int
    projection_mlp_width: int
    latent_channels: int
    mean_residual: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, video: Array) -> TriPlane:
        """Latents in (-1, 1) of a (B, T, H, W, 3) video in [-1, 1]; T = 1 is a still clip."""
        size = self.patch_size
        patches = rearrange(video, "b t (h p) (w q) c -> b t h w (p q c)", p=size, q=size)
        x = nn.Dense(self.width, dtype=self.dtype, name="patches")(patches)  # (B, T, h, w, D)
        x = self.timesformer(name="timesformer")(x)  # (B, T, h, w, D)
        if x.shape[1] == 1:
            # Attention over equal frames returns what it finds in one: values carry no position.
            x = jnp.repeat(x, self.num_frames, axis=1)
        return TriPlane(**{name: self._plane(x, name) for name in _REMOVED_AXES})

    def _plane(self, x: Array, name: str) -> Array:
        project = AxisProjection(
            self.projection_depth,
            self.projection_heads,
            self.projection_mlp_width,
            self.mean_residual,
            self.dtype,
            name=f"project_{name}",
        )
        plane = project(jnp.moveaxis(x, _REMOVED_AXES[name], -2))
        latents = nn.Dense(self.latent_channels, dtype=jnp.float32, name=f"latents_{name}")
        return jnp.tanh(latents(plane))


class TriPlaneDecoder(nn.Module):
    """Tri-plane latents to video.

    Attributes:
      timesformer: makes the TimeSformer, given its name.
      others: see `TriPlaneAutoencoder`.
    """

    timesformer: Callable[..., nn.Module]
    patch_size: int
    width: int
    linear_pixels: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, latents: TriPlane) -> Array:
        """A (B, T, H, W, 3) video in (-1, 1); with `linear_pixels` it may go beyond."""
        x = self.timesformer(name="timesformer")(self.features(latents))  # (B, T, h, w, D)
        size = self.patch_size
        # A transposed convolution whose stride is its kernel: one linear layer for each patch,
        # with one bias for each colour.
        pixels = nn.Dense(size * size * 3, use_bias=False, dtype=self.dtype, name="pixels")(x)
        bias = self.param("pixels_bias", nn.initializers.zeros, (3,))
        video = rearrange(
            pixels.astype(jnp.float32), "b t h w (p q c) -> b t (h p) (w q) c", p=size, q=size
        )
        return video + bias if self.linear_pixels else jnp.tanh((video + bias) / 2)

    @nn.compact
    def features(self, latents: TriPlane) -> Array:
        """The sum of the planes (B, T, h, w, D), each repeated along the axis that it lacks."""
        return sum(
            jnp.expand_dims(
                nn.Dense(self.width, dtype=self.dtype, name=f"features_{name}")(
                    getattr(latents, name)
                ),
                axis,
            )
            for name, axis in _REMOVED_AXES.items()
        )


class TriPlaneAutoencoder(nn.Module):
    """Video (B, T, H, W, 3) in [-1, 1] to tri-plane latents in (-1, 1) and back.

    All parameters of the decoding side lie under the top-level key "decoder". The authors' release
    freezes only "decoder/timesformer" when it trains the landmark encoder; the paper the decoder.

    Attributes:
      resolution: height and width of a frame in pixels, a multiple of `patch_size`.
      num_frames: frames of a clip.
      patch_size: pixels along the side of a patch; a plane has `resolution / patch_size` along
        each spatial side.
      width: features of a patch, D; a multiple of 8.
      depth: blocks of each of the two TimeSformers.
      num_heads: attention heads of the TimeSformers.
      head_width: width of each, a multiple of 4.
      mlp_ratio: hidden width of the TimeSformers' feed-forward over `width`.
      projection_depth: layers of each plane's projection.
      projection_heads: attention heads of the projections, each `width / 8` wide.
      projection_mlp_width: hidden width of the projections' feed-forward.
      latent_channels: channels of each plane.
      mismatched_frame_rotary: the release's positional encoding of frames, which is no rotation
        (see `timesformer.frame_angles`); needed for the authors' checkpoints.
      mean_residual: each plane starts from the mean along the axis that it lacks, to which its
        projection's layers add; the paper's starts from the first position. With few training
        steps, most of what planes hold is this mean.
      linear_pixels: pixels leave the decoder as they are, in place of `2 * sigmoid(x) - 1`.
      remat: recompute each TimeSformer block in the backward pass, to save memory.
      scan_layers: run the blocks of each TimeSformer by one scan, which compiles sooner.
      dtype: of the computation; norms, softmax, latents and pixels are float32.
    """

    resolution: int = 256
    num_frames: int = 16
    patch_size: int = 8
    width: int = 384
    depth: int = 8
    num_heads: int = 8
    head_width: int = 64
    mlp_ratio: int = 4
    projection_depth: int = 4
    projection_heads: int = 4
    projection_mlp_width: int = 512
    latent_channels: int = 4
    mismatched_frame_rotary: bool = False
    mean_residual: bool = False
    linear_pixels: bool = False
    remat: bool = False
    scan_layers: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        timesformer = functools.partial(
            TimeSformer,
            depth=self.depth,
            num_heads=self.num_heads,
            head_width=self.head_width,
            mlp_ratio=self.mlp_ratio,
            mismatched_frame_rotary=self.mismatched_frame_rotary,
            remat=self.remat,
            scan_layers=self.scan_layers,
            dtype=self.dtype,
        )
        self.encoder = TriPlaneEncoder(
            timesformer,
            self.num_frames,
            self.patch_size,
            self.width,
            self.projection_depth,
            self.projection_heads,
            self.projection_mlp_width,
            self.latent_channels,
            self.mean_residual,
            self.dtype,
        )
        self.decoder = TriPlaneDecoder(
            timesformer, self.patch_size, self.width, self.linear_pixels, self.dtype
        )

    def encode(self, video: Array) -> TriPlane:
        """Latents of a video.

        Args:
          video: (B, num_frames, resolution, resolution, 3) in [-1, 1].

        Raises:
          ValueError: the video has another size.
        """
        expected = (self.num_frames, self.resolution, self.resolution, 3)
        if video.shape[1:] != expected:
            raise ValueError(f"video of {video.shape[1:]}, but the autoencoder takes {expected}")
        return self.encoder(video)

    def encode_still(self, frame: Array) -> TriPlane:
        """Latents of a clip that repeats one frame, as `encode` has them, for a ninth of its work.

        Args:
          frame: (B, resolution, resolution, 3) in [-1, 1].

        Raises:
          ValueError: the frame has another size.
        """
        expected = (self.resolution, self.resolution, 3)
        if frame.shape[1:] != expected:
            raise ValueError(f"frame of {frame.shape[1:]}, but the autoencoder takes {expected}")
        return self.encoder(frame[:, None])

    def decode(self, latents: TriPlane) -> Array:
        """Video (B, T, H, W, 3) of latents, in (-1, 1) unless `linear_pixels`."""
        return self.decoder(latents)

    def __call__(self, video: Array) -> Array:
        """The reconstruction of a video."""
        return self.decode(self.encode(video))
