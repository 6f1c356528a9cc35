"""The tri-plane video autoencoder (paper section 4.3, from PVDM).

Sixteen frames become three planes of latents: one without time, one without rows, one without
columns. MToV denoises these planes instead of pixels.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax.nn.timesformer import AxisTransformer, TimeSformer
from moditalker_jax.triplane import TriPlane

_PLANES = {"xy": 1, "yt": 2, "xt": 3}
"""The axis of (B, T, H, W, D) that each plane removes."""


class AxisProjection(nn.Module):
    """Removes one axis of a feature map: a transformer along it, read at the first position.

    A learned summary token is appended *last*, and the result is read at the axis's own first
    position, which has seen the token only as a key and value. So did the authors train it.

    Attributes:
      depth: layers of the transformer.
      num_heads: heads of each attention; each is an eighth of the features wide.
      mlp_width: hidden width of its feed-forward.
      dtype: of the computation.
    """

    depth: int
    num_heads: int
    mlp_width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, full: bool = False) -> Array:
        """Projects (..., L, D) to (..., D); with `full`, all L + 1 outputs (..., L + 1, D)."""
        *batch, length, width = x.shape
        unit = nn.initializers.normal(1.0)
        token = self.param("token", unit, (width,)).astype(x.dtype)
        positions = self.param("positions", unit, (length + 1, width)).astype(x.dtype)
        x = jnp.concatenate([x, jnp.broadcast_to(token, (*batch, 1, width))], axis=-2)
        transformer = AxisTransformer(
            self.depth, self.num_heads, width // 8, self.mlp_width, self.dtype, name="transformer"
        )
        out = transformer(x + positions, first_only=not full)
        return out if full else out[..., 0, :]


class TriPlaneEncoder(nn.Module):
    """Video to tri-plane latents. Attributes: see `TriPlaneAutoencoder`."""

    patch_size: int
    timesformer: TimeSformer
    projection_depth: int
    projection_heads: int
    projection_mlp_width: int
    latent_channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, video: Array) -> TriPlane:
        """Latents in (-1, 1) of a (B, T, H, W, 3) video in [-1, 1]."""
        patches = rearrange(
            video, "b t (h p) (w q) c -> b t h w (p q c)", p=self.patch_size, q=self.patch_size
        )
