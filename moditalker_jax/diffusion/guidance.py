"""Classifier-free guidance as a wrapper of `denoise`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from moditalker_jax.diffusion.process import Tree


def guide(
    denoise: Callable[[Tree, Array], Tree], guidance_scale: ArrayLike
) -> Callable[[Tree, Array], Tree]:
    """Extrapolates from the unconditional prediction: `uncond + scale * (cond - uncond)`.

    Both branches run as one batch, so a sampling step stays one call of the network.

    Args:
      denoise: takes x_t of 2B rows and timesteps (2B,); the conditions bound inside it belong to
        the rows `[conditional B ; unconditional B]`.
      guidance_scale: 1 gives the conditional prediction, 0 the unconditional one; AToM samples
        with 2.

    Returns:
      A denoiser of B rows.
    """

    def guided(x_t: Tree, timesteps: Array) -> Tree:
        doubled = jax.tree.map(lambda leaf: jnp.concatenate((leaf, leaf)), x_t)
        predictions = denoise(doubled, jnp.concatenate((timesteps, timesteps)))

        def extrapolate(leaf: Array) -> Array:
            conditional, unconditional = jnp.split(leaf, 2)
            return unconditional + guidance_scale * (conditional - unconditional)

        return jax.tree.map(extrapolate, predictions)

    return guided
