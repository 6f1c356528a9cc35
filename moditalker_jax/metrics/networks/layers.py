"""Layers that the networks share.

Matrix products and convolutions are in full float32 everywhere: accelerators would otherwise round
their factors, and the numbers would not be those of CPUs.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

Variables = Mapping[str, Any]
"""Weights ("params") and the batch norms' means and variances ("batch_stats"), by module."""

Conv = functools.partial(nn.Conv, precision=lax.Precision.HIGHEST)
Dense = functools.partial(nn.Dense, precision=lax.Precision.HIGHEST)
BatchNorm = functools.partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)


class ConvNorm(nn.Module):
    """Convolution, batch norm and ReLU.

    Attributes:
      width: number of output channels.
      window: of the convolution; its length is the number of axes that it slides over.
      strides: one for all of these axes.
      padding: "SAME" (in front as many as behind, or one less), "VALID" (none), or one number for
        all sides.
      use_bias: whether the convolution has one.
      epsilon: of the batch norm.
    """

    width: int
    window: Sequence[int]
    strides: int = 1
    padding: str | int = "SAME"
    use_bias: bool = False
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x (B, *sizes, C) -> (B, *sizes', width)."""
        x = Conv(
            self.width,
            self.window,
            strides=self.strides,
            padding=self.padding,
            use_bias=self.use_bias,
            name="conv",
        )(x)
        return nn.relu(BatchNorm(epsilon=self.epsilon, name="norm")(x))


def join(*branches: Array) -> Array:
    """The branches' channels one after another."""
    return jnp.concatenate(branches, axis=-1)
