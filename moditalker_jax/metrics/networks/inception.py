"""Inception-v3 as the Frechet inception distance uses it (Szegedy et al. 2016; Heusel et al. 2017).

This is the network that pytorch-fid runs, after TensorFlow's of 2015. It differs from torchvision's
Inception-v3: average poolings count no padding, and the last block pools by the maximum.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.metrics.networks.layers import ConvNorm, Variables, join

SIDE = 299
"""Rows and columns of the network's input."""

_Conv = functools.partial(ConvNorm, epsilon=1e-3)


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _halve(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), strides=(2, 2))


class _BlockA(nn.Module):
    pool_width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        narrow = _Conv(64, (1, 1), name="branch1x1")(x)
        wide = _Conv(48, (1, 1), name="branch5x5_1")(x)
        wide = _Conv(64, (5, 5), name="branch5x5_2")(wide)
        double = _Conv(64, (1, 1), name="branch3x3dbl_1")(x)
        double = _Conv(96, (3, 3), name="branch3x3dbl_2")(double)
        double = _Conv(96, (3, 3), name="branch3x3dbl_3")(double)
        pooled = _Conv(self.pool_width, (1, 1), name="branch_pool")(_average(x))
        return join(narrow, wide, double, pooled)


class _BlockB(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        wide = _Conv(384, (3, 3), strides=2, padding="VALID", name="branch3x3")(x)
        double = _Conv(64, (1, 1), name="branch3x3dbl_1")(x)
        double = _Conv(96, (3, 3), name="branch3x3dbl_2")(double)
        double = _Conv(96, (3, 3), strides=2, padding="VALID", name="branch3x3dbl_3")(double)
        return join(wide, double, _halve(x))


class _BlockC(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        narrow = _Conv(192, (1, 1), name="branch1x1")(x)
        wide = _Conv(self.width, (1, 1), name="branch7x7_1")(x)
        wide = _Conv(self.width, (1, 7), name="branch7x7_2")(wide)
        wide = _Conv(192, (7, 1), name="branch7x7_3")(wide)
        double = _Conv(self.width, (1, 1), name="branch7x7dbl_1")(x)
        double = _Conv(self.width, (7, 1), name="branch7x7dbl_2")(double)
        double = _Conv(self.width, (1, 7), name="branch7x7dbl_3")(double)
        double = _Conv(self.width, (7, 1), name="branch7x7dbl_4")(double)
        double = _Conv(192, (1, 7), name="branch7x7dbl_5")(double)
        pooled = _Conv(192, (1, 1), name="branch_pool")(_average(x))
        return join(narrow, wide, double, pooled)


class _BlockD(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        wide = _Conv(192, (1, 1), name="branch3x3_1")(x)
        wide = _Conv(320, (3, 3), strides=2, padding="VALID", name="branch3x3_2")(wide)
        wider = _Conv(192, (1, 1), name="branch7x7x3_1")(x)
        wider = _Conv(192, (1, 7), name="branch7x7x3_2")(wider)
        wider = _Conv(192, (7, 1), name="branch7x7x3_3")(wider)
        wider = _Conv(192, (3, 3), strides=2, padding="VALID", name="branch7x7x3_4")(wider)
        return join(wide, wider, _halve(x))


class _BlockE(nn.Module):
    pools_maximum: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        narrow = _Conv(320, (1, 1), name="branch1x1")(x)
        wide = _Conv(384, (1, 1), name="branch3x3_1")(x)
        wide_rows = _Conv(384, (1, 3), name="branch3x3_2a")(wide)
        wide_columns = _Conv(384, (3, 1), name="branch3x3_2b")(wide)
        double = _Conv(448, (1, 1), name="branch3x3dbl_1")(x)
        double = _Conv(384, (3, 3), name="branch3x3dbl_2")(double)
        double_rows = _Conv(384, (1, 3), name="branch3x3dbl_3a")(double)
        double_columns = _Conv(384, (3, 1), name="branch3x3dbl_3b")(double)
        pooled = nn.max_pool(x, (3, 3), padding="SAME") if self.pools_maximum else _average(x)
        pooled = _Conv(192, (1, 1), name="branch_pool")(pooled)
        return join(narrow, wide_rows, wide_columns, double_rows, double_columns, pooled)


class InceptionV3(nn.Module):
    """Images to features; the layers have the names of the published file."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """images (N, 299, 299, 3) in [-1, 1] -> (N, 2048)."""
        x = _Conv(32, (3, 3), strides=2, padding="VALID", name="Conv2d_1a_3x3")(images)
        x = _Conv(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = _Conv(64, (3, 3), name="Conv2d_2b_3x3")(x)  # (N, 147, 147, 64)
        x = _halve(x)
        x = _Conv(80, (1, 1), padding="VALID", name="Conv2d_3b_1x1")(x)
        x = _Conv(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)  # (N, 71, 71, 192)
        x = _halve(x)
        x = _BlockA(32, name="Mixed_5b")(x)
        x = _BlockA(64, name="Mixed_5c")(x)
        x = _BlockA(64, name="Mixed_5d")(x)  # (N, 35, 35, 288)
        x = _BlockB(name="Mixed_6a")(x)
        x = _BlockC(128, name="Mixed_6b")(x)
        x = _BlockC(160, name="Mixed_6c")(x)
        x = _BlockC(160, name="Mixed_6d")(x)
        x = _BlockC(192, name="Mixed_6e")(x)  # (N, 17, 17, 768)
        x = _BlockD(name="Mixed_7a")(x)
        x = _BlockE(pools_maximum=False, name="Mixed_7b")(x)
        x = _BlockE(pools_maximum=True, name="Mixed_7c")(x)  # (N, 8, 8, 2048)
        return x.mean(axis=(1, 2))


def resize(frames: Array) -> Array:
    """Bytes (N, H, W, 3) to (N, 299, 299, 3) in [0, 1], bilinear between pixels' centres.

    Frames that shrink are not smoothed, as in pytorch-fid.
    """
    unit = frames.astype(jnp.float32) / 255
    size = (frames.shape[0], SIDE, SIDE, 3)
    return jax.image.resize(unit, size, "bilinear", antialias=False)


@jax.jit
def fid_features(variables: Variables, frames: Array) -> Array:
    """Features whose distribution the Frechet inception distance compares.

    Compiled anew for every shape of `frames`.

    Args:
      variables: of `weights.load_variables("inception", path)`.
      frames: uint8 (N, H, W, 3) RGB.

    Returns:
      (N, 2048) float32: the means over the last map, pytorch-fid's "pool3".
    """
    return InceptionV3().apply(variables, 2 * resize(frames) - 1)
