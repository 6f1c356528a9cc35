"""The interface between the training loop and a stage."""

from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Batch = dict[str, Any]

NAMES = "name"
"""Key of a batch under which its elements' names travel: for messages, not for the network."""


class Stage(Protocol):
    """One of AToM, the two autoencoders and MToV, as the loop sees it.

    Attributes:
      model: the network that is trained.
      constants: pytree of arrays that the loss reads and nothing trains (frozen encoders, LPIPS).
    """

    model: nn.Module
    constants: Any

    def init_params(self, key: jax.Array) -> Any:
        """Parameters at step 0."""

    def loss(
        self,
        params: Any,
        constants: Any,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        *,
        train: bool,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The scalar loss and its terms, "loss" among them."""

    def pictures(
        self, params: Any, constants: Any, batch: Batch, key: jax.Array
    ) -> dict[str, np.ndarray]:
        """What the stage makes of a held-out batch, by name: uint8 pictures (H, W, 3), and clips
        (T, H, W, 3)."""


def loss_by_quarter(
    losses: jax.Array, timesteps: jax.Array, num_train_timesteps: int
) -> dict[str, jax.Array]:
    """Mean loss over the elements whose timesteps lie in each quarter of the schedule.

    Args:
      losses, timesteps: (B,).
      num_train_timesteps: of the schedule.

    Returns:
      Scalars "loss_quarter_1", the least noise, to "loss_quarter_4"; NaN where there is none.
    """
    quarters = 4 * timesteps // num_train_timesteps
    return {
        f"loss_quarter_{quarter + 1}": jnp.mean(losses, where=quarters == quarter)
        for quarter in range(4)
    }


def to_pixels(video: jax.Array) -> np.ndarray:
    """[-1, 1] floats as uint8 pixels, rounded."""
    return np.asarray(np.clip(np.round((np.asarray(video) + 1.0) * 127.5), 0, 255), np.uint8)


def film_strip(*rows: np.ndarray) -> np.ndarray:
    """Rows of frames (T, H, W, 3) of equal size as one picture."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
