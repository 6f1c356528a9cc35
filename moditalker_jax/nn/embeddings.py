"""Timestep and rotary embeddings."""

import math

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def sinusoidal_embedding(
    timesteps: ArrayLike, width: int, *, cosine_first: bool = False, inclusive: bool = True
) -> Array:
    """Sinusoids of the timestep at geometrically spaced frequencies from 1 down to 1/10000.

    Args:
      timesteps: (B,), any real numbers.
      width: even width of the embedding.
      cosine_first: `[cos | sin]` (latent diffusion's U-Net) instead of `[sin | cos]` (AToM).
      inclusive: the last frequency is exactly 1/10000 (AToM); otherwise it stops one step before
        (latent diffusion).

    Returns:
      (B, width) float32.
    """
    half = width // 2
    exponents = jnp.arange(half, dtype=jnp.float32) / (half - 1 if inclusive else half)
    frequencies = jnp.exp(-math.log(10_000.0) * exponents)
    angles = jnp.asarray(timesteps, jnp.float32)[:, None] * frequencies
    waves = (
        (jnp.cos(angles), jnp.sin(angles)) if cosine_first else (jnp.sin(angles), jnp.cos(angles))
    )
    return jnp.concatenate(waves, axis=-1)


def rotary_angles(positions: ArrayLike, width: int, *, theta: float = 10_000.0) -> Array:
    """Angles (L, width) of interleaved rotary pairs: entries 2i and 2i+1 share one frequency."""
    frequencies = theta ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = jnp.asarray(positions, jnp.float32)[:, None] * frequencies
    return jnp.repeat(angles, 2, axis=-1)


def rotate(x: Array, angles: Array) -> Array:
    """Rotates interleaved pairs of the last axis: `x * cos + rotate_half(x) * sin`.

    Args:
      x: (..., L, D).
      angles: (L, D') with D' <= D; entries past D' pass unchanged.
    """
    width = angles.shape[-1]
    rotated, rest = x[..., :width], x[..., width:]
    even, odd = rotated[..., ::2], rotated[..., 1::2]
    half_turned = jnp.stack((-odd, even), axis=-1).reshape(rotated.shape)
    rotated = rotated * jnp.cos(angles) + half_turned * jnp.sin(angles)
    return jnp.concatenate((rotated, rest), axis=-1) if rest.shape[-1] else rotated
