"""Adan, the adaptive Nesterov momentum optimiser that trains AToM (Xie et al., 2023)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array


class AdanState(NamedTuple):
    """Moments of the gradient g: each is a pytree like the parameters.

    Attributes:
      count: updates done so far, int32.
      gradient: the previous step's gradient.
      first: running mean of g.
      difference: running mean of g's change from step to step.
      second: running mean of `(g + (1 - b2) change)²`.
    """

    count: Array
    gradient: optax.Updates
    first: optax.Updates
    difference: optax.Updates
    second: optax.Updates


def adan(
    learning_rate: optax.ScalarOrSchedule,
    b1: float = 0.02,
    b2: float = 0.08,
    b3: float = 0.01,
    eps: float = 1e-8,
    weight_decay: float = 0.02,
) -> optax.GradientTransformation:
    """Adan with decoupled weight decay.

    With hats for moments corrected by `1 / (1 - (1 - b)^step)`,
    `params <- (params - lr (m̂ + (1 - b2) v̂) / (sqrt(n̂) + eps)) / (1 + weight_decay lr)`.

    As in the implementation that the release uses, the first step only stores the gradient and
    applies the decay: there is no earlier gradient to difference with, so the moments begin with
    the second step, while the bias correction counts both.

    Args:
      learning_rate: a number or a schedule of the updates done so far.
      b1: weight of the newest gradient in its mean. The three betas are in the paper's
        convention, one minus those of `optax.adan`.
      b2: likewise for the difference of gradients.
      b3: likewise for the squares.
      eps: added to the denominator outside the root.
      weight_decay: strength of the decay, at least 0.

    Returns:
      An optax transformation; its `update` needs `params`.
    """

    def init(params: optax.Params) -> AdanState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdanState(jnp.zeros((), jnp.int32), zeros, zeros, zeros, zeros)

    def update(
        gradients: optax.Updates, state: AdanState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdanState]:
        if params is None:
            raise ValueError("adan needs params for its weight decay")
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        state = _next_state(gradients, state, (b1, b2, b3))
        corrections = [1 / (1 - (1 - b) ** state.count) for b in (b1, b2, b3)]

        def leaf(param: Array, first: Array, difference: Array, second: Array) -> Array:
            direction = first * corrections[0] + (1 - b2) * difference * corrections[1]
            moved = param - rate * direction / (jnp.sqrt(second * corrections[2]) + eps)
            return (moved / (1 + weight_decay * rate) - param).astype(param.dtype)

        return jax.tree.map(leaf, params, state.first, state.difference, state.second), state

    return optax.GradientTransformation(init, update)


def _next_state(
    gradients: optax.Updates, state: AdanState, betas: tuple[float, float, float]
) -> AdanState:
    """Folds `gradients` into the moments, except on the first step."""
    started = state.count > 0
    b1, b2, b3 = (jnp.where(started, b, 0.0) for b in betas)
    change = jax.tree.map(jnp.subtract, gradients, state.gradient)
    ahead = jax.tree.map(lambda g, d: (g + (1 - betas[1]) * d) ** 2, gradients, change)

    def blend(old: optax.Updates, new: optax.Updates, weight: Array) -> optax.Updates:
        return jax.tree.map(lambda o, n: ((1 - weight) * o + weight * n).astype(o.dtype), old, new)

    return AdanState(
        count=state.count + 1,
        gradient=gradients,
        first=blend(state.first, gradients, b1),
        difference=blend(state.difference, change, b2),
        second=blend(state.second, ahead, b3),
    )
