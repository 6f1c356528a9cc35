"""Training losses of the two diffusion models (paper equations 4 to 6)."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.diffusion.process import Tree


def _masked_mean(values: Array, mask: Array | None) -> Array:
    """Mean of (B, T, ...) values over the frames where (B, T) `mask` is true; 0 if none is."""
    if mask is None:
        return values.mean()
    weights = mask.astype(values.dtype)
    frame_means = values.mean(axis=tuple(range(2, values.ndim)))
    return (frame_means * weights).sum() / jnp.maximum(weights.sum(), 1)


def _mean_over_time(values: Array, mask: Array) -> Array:
    """(B, ...) means of (B, T, ...) over the frames where (B, T) `mask` is true; 0 if none is."""
    weights = mask.astype(values.dtype)
    sums = jnp.einsum("bt...,bt->b...", values, weights)
    counts = jnp.maximum(weights.sum(axis=1), 1)
    return sums / counts.reshape(-1, *[1] * (sums.ndim - 1))


def atom_loss(
    x0_prediction: Array,
    x0: Array,
    mask: Array | None = None,
    *,
    reconstruction_weight: float = 7.5,
    velocity_weight: float = 1.5,
    motion_weight: float = 0.0,
) -> dict[str, Array]:
    """AToM's loss: squared error of the landmark residuals and of their frame differences.

    The third term, not in the paper, is the squared error of how the residuals differ from their
    mean over time: where a face rests is hard to foresee and would otherwise drown how it moves.

    Args:
      x0_prediction: (B, T, N, 3), the network's estimate of `x0`.
      x0: (B, T, N, 3) landmark residuals.
      mask: (B, T), true where a frame exists; a velocity needs both of its frames.
      reconstruction_weight: of the first term (7.5 in the release).
      velocity_weight: of the second (1.5).
      motion_weight: of the third.

    Returns:
      Scalars "reconstruction", "velocity" and "motion", each times its weight, and "loss", their
      sum.
    """
    error = x0_prediction - x0
    both = None if mask is None else mask[:, 1:] * mask[:, :-1]
    reconstruction = reconstruction_weight * _masked_mean(error**2, mask)
    velocity = velocity_weight * _masked_mean(jnp.diff(error, axis=1) ** 2, both)
    resting = error.mean(axis=1) if mask is None else _mean_over_time(error, mask)  # (B, N, 3)
    motion = motion_weight * _masked_mean((error - resting[:, None]) ** 2, mask)
    return {
        "loss": reconstruction + velocity + motion,
        "reconstruction": reconstruction,
        "velocity": velocity,
        "motion": motion,
    }


def diffusion_loss(
    prediction: Tree, target: Tree, *, distance: Literal["mse", "l1"] = "mse"
) -> Array:
    """Mean squared or absolute error over all numbers of two pytrees (paper equation 6).

    The mean is over the leaves together, so every token of a tri-plane counts the same however
    large its plane is.
    """
    if distance not in ("mse", "l1"):
        raise ValueError(f"distance {distance!r} is neither 'mse' nor 'l1'")
    size = jnp.square if distance == "mse" else jnp.abs
    sums = jax.tree.map(lambda p, t: size(p - t).sum(), prediction, target)
    count = sum(leaf.size for leaf in jax.tree.leaves(target))
    return sum(jax.tree.leaves(sums)) / count
