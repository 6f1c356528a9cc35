"""The interface between the training loop and a stage."""

from typing import Any, Protocol

import jax
import numpy as np

Batch = dict[str, Any]


class Stage(Protocol):
    """One of AToM, the two autoencoders and MToV, as the loop sees it.

    Attributes:
      constants: pytree of arrays that the loss reads and nothing trains (frozen encoders, LPIPS).
    """

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
        """uint8 (H, W, 3) pictures of what the stage makes of a held-out batch, by name."""


def to_pixels(video: jax.Array) -> np.ndarray:
    """[-1, 1] floats as uint8 pixels, rounded."""
    return np.asarray(np.clip(np.round((np.asarray(video) + 1.0) * 127.5), 0, 255), np.uint8)


def film_strip(*rows: np.ndarray) -> np.ndarray:
    """Rows of frames (T, H, W, 3) of equal size as one picture."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
