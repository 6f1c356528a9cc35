"""SyncNet (Chung & Zisserman, "Out of time", 2016): do lips and sound belong together?

Two towers map a fifth of a second of lips and of sound to vectors that lie close together where the
two are in sync. The published weights take pixels and MFCCs as they are, not scaled.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.metrics.networks.layers import BatchNorm, ConvNorm, Dense, Variables

_HIDDEN_WIDTH = 512
_FEATURE_WIDTH = 1024

_Conv = functools.partial(ConvNorm, use_bias=True)


def _max_pool(x: Array, strides: tuple[int, int], padding: int = 0) -> Array:
    return nn.max_pool(x, (3, 3), strides=strides, padding=((padding, padding),) * 2)


class _Head(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x (N, 1, 1, 512) -> (N, 1024)."""
        x = Dense(_HIDDEN_WIDTH, name="hidden")(x.reshape(x.shape[0], -1))
        x = nn.relu(BatchNorm(name="norm")(x))
        return Dense(_FEATURE_WIDTH, name="features")(x)


class _LipTower(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x (N, 224, 224, 15), the channels of five frames -> (N, 1024)."""
        x = _Conv(96, (7, 7), strides=2, padding="VALID", name="conv_0")(x)  # (N, 109, 109, 96)
        x = _max_pool(x, (2, 2))
        x = _Conv(256, (5, 5), strides=2, padding=1, name="conv_1")(x)  # (N, 26, 26, 256)
        x = _max_pool(x, (2, 2), padding=1)
        x = _Conv(256, (3, 3), name="conv_2")(x)
        x = _Conv(256, (3, 3), name="conv_3")(x)
        x = _Conv(256, (3, 3), name="conv_4")(x)  # (N, 13, 13, 256)
        x = _max_pool(x, (2, 2))
        x = _Conv(512, (6, 6), padding="VALID", name="conv_5")(x)  # (N, 1, 1, 512)
        return _Head(name="head")(x)


class _SoundTower(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x (N, 13, 20, 1) -> (N, 1024)."""
        x = _Conv(64, (3, 3), name="conv_0")(x)
        x = _Conv(192, (3, 3), name="conv_1")(x)  # (N, 13, 20, 192)
        x = _max_pool(x, (1, 2))
        x = _Conv(384, (3, 3), name="conv_2")(x)
        x = _Conv(256, (3, 3), name="conv_3")(x)
        x = _Conv(256, (3, 3), name="conv_4")(x)  # (N, 11, 9, 256)
        x = _max_pool(x, (2, 2))
        x = _Conv(512, (5, 4), padding="VALID", name="conv_5")(x)  # (N, 1, 1, 512)
        return _Head(name="head")(x)


class SyncNet(nn.Module):
    """Both towers."""

    def setup(self) -> None:
        self.lips = _LipTower()
        self.sound = _SoundTower()

    def __call__(self, windows: Array, mfcc: Array) -> tuple[Array, Array]:
        """Features of the lips and of the sound, see `embed_lips` and `embed_sound`."""
        return self.embed_lips(windows), self.embed_sound(mfcc)

    def embed_lips(self, windows: Array) -> Array:
        """windows (N, 5, 224, 224, 3) RGB, 0 to 255 -> (N, 1024)."""
        # The first convolution sees all five frames at once: time is no axis but more channels.
        frames_last = jnp.moveaxis(windows[..., ::-1], 1, 3)  # (N, 224, 224, 5, 3), BGR
        return self.lips(frames_last.reshape(*frames_last.shape[:3], -1))

    def embed_sound(self, mfcc: Array) -> Array:
        """mfcc (N, 20, 13) -> (N, 1024)."""
        return self.sound(mfcc.swapaxes(1, 2)[..., None])


@jax.jit
def lip_features(variables: Variables, windows: Array) -> Array:
    """Features of moving lips.

    Compiled anew for every number of windows.

    Args:
      variables: of `weights.load_variables("syncnet", path)`.
      windows: uint8 (N, 5, 224, 224, 3) RGB, five frames in a row at 25 fps.

    Returns:
      (N, 1024) float32, not normalised.
    """
    windows = windows.astype(jnp.float32)
    return SyncNet().apply(variables, windows, method=SyncNet.embed_lips)


@jax.jit
def sound_features(variables: Variables, mfcc: Array) -> Array:
    """Features of speech.

    Compiled anew for every number of windows.

    Args:
      variables: of `weights.load_variables("syncnet", path)`.
      mfcc: (N, 20, 13), 20 steps of 10 ms, 13 coefficients each, of samples in the int16 range.

    Returns:
      (N, 1024) float32, not normalised.
    """
    mfcc = mfcc.astype(jnp.float32)
    return SyncNet().apply(variables, mfcc, method=SyncNet.embed_sound)
