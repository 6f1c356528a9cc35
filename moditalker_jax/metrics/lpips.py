"""LPIPS of each frame of a video against the true one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from moditalker_jax.metrics.pixels import check_videos
from moditalker_jax.models.perceptual import LPIPS, Network, load_lpips_params

_BATCH = 16
_BATCH_PIXELS = _BATCH * 128 * 128
"""Batches of larger frames hold fewer of them: VGG16 keeps 64 numbers of each pixel."""


def lpips(frames: np.ndarray, truth: np.ndarray, *, network: Network = "alexnet") -> np.ndarray:
    """Learned perceptual distance of each frame (Zhang et al., CVPR 2018), version 0.1; 0 is equal.

    The values depend on the network. Most papers on talking heads take AlexNet, the metric's own
    default; MoDiTalker's does not say which it takes and trains with VGG16.

    Args:
      frames, truth: uint8 (T, H, W, 3) in RGB, at least 31 pixels a side for AlexNet and 16 for
        VGG16.

    Returns:
      (T,) float32.

    Raises:
      ValueError: the videos are not uint8, or not of one shape.
      InputError: the weights are missing or damaged.
    """
    check_videos(frames, truth)
    params = load_lpips_params(network)
    rows, columns = frames.shape[1:3]
    size = max(1, min(_BATCH, _BATCH_PIXELS // (rows * columns)))
    distances = [
        _distances(params, *(_batch(x, start, size) for x in (frames, truth)), network=network)
        for start in range(0, len(frames), size)
    ]
    return np.concatenate(distances)[: len(frames)]


def _batch(frames: np.ndarray, start: int, size: int) -> np.ndarray:
    """A batch of always one size, so that it is compiled once: the last frame fills it up."""
    return frames[np.minimum(np.arange(start, start + size), len(frames) - 1)]


@functools.partial(jax.jit, static_argnames="network")
def _distances(params: Any, frames: Array, truth: Array, *, network: Network) -> Array:
    images, others = (x.astype(jnp.float32) / 127.5 - 1 for x in (frames, truth))
    # Accelerators would round the convolutions' inputs, and with them the distance.
    with jax.default_matmul_precision("highest"):
        return LPIPS(network).apply({"params": params}, images, others)
