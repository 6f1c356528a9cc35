"""I3D, the video network of the Frechet video distance (Carreira & Zisserman, CVPR 2017).

The RGB network trained on Kinetics-400, as PVDM evaluates with it: its logits are the features.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.metrics.networks.layers import Conv, ConvNorm, Variables, join

SIDE = 224
"""Rows and columns of the network's input."""


def _max_pool(x: Array, window: tuple[int, int, int], strides: tuple[int, int, int]) -> Array:
    return nn.max_pool(x, window, strides=strides, padding="SAME")


class _Mixed(nn.Module):
    """Four branches; `widths` are those of b0, b1a, b1b, b2a, b2b and b3b."""

    widths: tuple[int, int, int, int, int, int]
    epsilon: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = functools.partial(ConvNorm, epsilon=self.epsilon)
        b0, b1a, b1b, b2a, b2b, b3b = self.widths
        return join(
            conv(b0, (1, 1, 1), name="b0")(x),
            conv(b1b, (3, 3, 3), name="b1b")(conv(b1a, (1, 1, 1), name="b1a")(x)),
            conv(b2b, (3, 3, 3), name="b2b")(conv(b2a, (1, 1, 1), name="b2a")(x)),
            conv(b3b, (1, 1, 1), name="b3b")(_max_pool(x, (3, 3, 3), (1, 1, 1))),
        )


class I3D(nn.Module):
    """Clips to logits; the layers have the names of the published file.

    Attributes:
      epsilon: of the batch norms: 1e-5 in the PyTorch code that the field's FVD comes from, 1e-3
        in the original network.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, clips: Array) -> Array:
        """clips (B, T, 224, 224, 3) in [-1, 1], T of at least 9 -> (B, 400)."""
        conv = functools.partial(ConvNorm, epsilon=self.epsilon)
        mixed = functools.partial(_Mixed, epsilon=self.epsilon)
        x = conv(64, (7, 7, 7), strides=2, name="Conv3d_1a_7x7")(clips)  # (B, T/2, 112, 112, 64)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = conv(64, (1, 1, 1), name="Conv3d_2b_1x1")(x)
        x = conv(192, (3, 3, 3), name="Conv3d_2c_3x3")(x)  # (B, T/2, 56, 56, 192)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = mixed((64, 96, 128, 16, 32, 32), name="Mixed_3b")(x)
        x = mixed((128, 128, 192, 32, 96, 64), name="Mixed_3c")(x)  # (B, T/2, 28, 28, 480)
        x = _max_pool(x, (3, 3, 3), (2, 2, 2))
        x = mixed((192, 96, 208, 16, 48, 64), name="Mixed_4b")(x)
        x = mixed((160, 112, 224, 24, 64, 64), name="Mixed_4c")(x)
        x = mixed((128, 128, 256, 24, 64, 64), name="Mixed_4d")(x)
        x = mixed((112, 144, 288, 32, 64, 64), name="Mixed_4e")(x)
        x = mixed((256, 160, 320, 32, 128, 128), name="Mixed_4f")(x)  # (B, T/4, 14, 14, 832)
        x = _max_pool(x, (2, 2, 2), (2, 2, 2))
        x = mixed((256, 160, 320, 32, 128, 128), name="Mixed_5b")(x)
        x = mixed((384, 192, 384, 48, 128, 128), name="Mixed_5c")(x)  # (B, T/8, 7, 7, 1024)
        x = nn.avg_pool(x, (2, 7, 7))  # (B, T/8 - 1, 1, 1, 1024)
        return Conv(400, (1, 1, 1), name="logits")(x).mean(axis=(1, 2, 3))


def to_network_input(clips: Array) -> Array:
    """Bytes (B, T, H, W, 3) to (B, T, 224, 224, 3) in [-1, 1].

    The shorter side becomes 224 pixels, bilinear between pixels' centres and without smoothing; the
    middle of the longer side is kept.
    """
    batch, frames, rows, columns, _ = clips.shape
    scale = SIDE / min(rows, columns)
    if rows < columns:
        rows, columns = SIDE, math.ceil(columns * scale)
    else:
        rows, columns = math.ceil(rows * scale), SIDE
    unit = clips.astype(jnp.float32) / 255
    size = (batch, frames, rows, columns, 3)
    resized = jax.image.resize(unit, size, "bilinear", antialias=False)
    top, left = (rows - SIDE) // 2, (columns - SIDE) // 2
    return (resized[:, :, top : top + SIDE, left : left + SIDE] - 0.5) * 2


@functools.partial(jax.jit, static_argnames="epsilon")
def i3d_logits(variables: Variables, clips: Array, *, epsilon: float = 1e-5) -> Array:
    """Logits whose distribution the Frechet video distance compares.

    Compiled anew for every shape of `clips`.

    Args:
      variables: of `weights.load_variables("i3d", path)`.
      clips: uint8 (B, T, H, W, 3) RGB; T is 16 in the published numbers, and at least 9.
      epsilon: of the batch norms, see `I3D`.

    Returns:
      (B, 400) float32.
    """
    return I3D(epsilon).apply(variables, to_network_input(clips))
