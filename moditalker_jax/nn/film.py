"""Feature-wise linear modulation (FiLM)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike


class FiLM(nn.Module):
    """`(1 + scale) * x + shift`, where `scale, shift = linear(mish(vector))`.

    Attributes:
      dtype: of the computation.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, vector: Array) -> Array:
        """Modulates every position of x (B, L, D) by the vector (B, V) of its sample."""
        modulation = nn.Dense(2 * x.shape[-1], dtype=self.dtype, name="linear")(jax.nn.mish(vector))
        scale, shift = jnp.split(modulation[:, None], 2, axis=-1)  # 2 x (B, 1, D)
        return (1 + scale) * x + shift
