"""Exponential moving averages of parameters, and how fast they forget."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

Decay = Callable[[ArrayLike], ArrayLike]
"""From the number of the update, counted from 1, to the weight of the old average."""


def constant_decay(decay: float = 0.9999) -> Decay:
    """The same decay at every update: AToM's, without a warm-up."""
    return lambda update: decay


def warmup_decay(max_decay: float = 0.9999) -> Decay:
    """`min(max_decay, (1 + n) / (10 + n))` at update n = 1, 2, ...: MToV's.

    Early updates follow the parameters closely, so that the average forgets where it started.
    """
    return lambda update: jnp.minimum(max_decay, (1 + update) / (10 + update))


def update_ema(ema_params: optax.Params, params: optax.Params, decay: ArrayLike) -> optax.Params:
    """`decay * ema_params + (1 - decay) * params`, leaf by leaf.

    Computed as a step towards `params`: near a decay of 1 this keeps the digits that the sum of
    two products would round away.
    """

    def leaf(average: Array, param: Array) -> Array:
        return average + (1 - decay) * (param - average)

    return jax.tree.map(leaf, ema_params, params)
