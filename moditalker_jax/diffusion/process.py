"""The forward process and the three ways to name one prediction: x0, epsilon and v.

All functions take pytrees (arrays or TriPlanes) whose leaves are (B, ...) and timesteps (B,).
With `x_t = alpha x0 + sigma epsilon` the velocity is `v = alpha epsilon - sigma x0`.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from moditalker_jax.diffusion.schedules import NoiseSchedule

Tree = TypeVar("Tree")
PredictionType = Literal["x0", "epsilon", "v"]
Denoise = Callable[[Tree, Array], Tree]
Predict = Callable[[Tree, Array], tuple[Tree, Tree]]


def _combine(first: Array, x: Tree, second: Array, y: Tree) -> Tree:
    """`first * x + second * y` with (B,) weights over (B, ...) leaves."""

    def leaf(a: Array, b: Array) -> Array:
        shape = first.shape + (1,) * (a.ndim - 1)
        return first.reshape(shape) * a + second.reshape(shape) * b

    return jax.tree.map(leaf, x, y)


def _levels(schedule: NoiseSchedule, timesteps: Array) -> tuple[Array, Array]:
    """alpha and sigma (B,) at `timesteps`."""
    return jnp.asarray(schedule.alpha)[timesteps], jnp.asarray(schedule.sigma)[timesteps]


def q_sample(schedule: NoiseSchedule, x0: Tree, timesteps: Array, epsilon: Tree) -> Tree:
    """Noises `x0` to `timesteps` (paper equation 1)."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(alpha, x0, sigma, epsilon)


def velocity(schedule: NoiseSchedule, x0: Tree, timesteps: Array, epsilon: Tree) -> Tree:
    """`v = alpha epsilon - sigma x0`."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(alpha, epsilon, -sigma, x0)


def x0_from_epsilon(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, epsilon: Tree) -> Tree:
    """The clean data that `epsilon` would have noised to `x_t`."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(1 / alpha, x_t, -sigma / alpha, epsilon)


def epsilon_from_x0(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, x0: Tree) -> Tree:
    """The noise that would have taken `x0` to `x_t`."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(1 / sigma, x_t, -alpha / sigma, x0)


def x0_from_v(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, v: Tree) -> Tree:
    """`x0 = alpha x_t - sigma v`."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(alpha, x_t, -sigma, v)


def epsilon_from_v(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, v: Tree) -> Tree:
    """`epsilon = sigma x_t + alpha v`."""
    alpha, sigma = _levels(schedule, timesteps)
    return _combine(sigma, x_t, alpha, v)


def _split_x0(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, x0: Tree) -> tuple[Tree, Tree]:
    return x0, epsilon_from_x0(schedule, x_t, timesteps, x0)


def _split_epsilon(
    schedule: NoiseSchedule, x_t: Tree, timesteps: Array, epsilon: Tree
) -> tuple[Tree, Tree]:
    return x0_from_epsilon(schedule, x_t, timesteps, epsilon), epsilon


def _split_v(schedule: NoiseSchedule, x_t: Tree, timesteps: Array, v: Tree) -> tuple[Tree, Tree]:
    return x0_from_v(schedule, x_t, timesteps, v), epsilon_from_v(schedule, x_t, timesteps, v)


_SPLIT = {"x0": _split_x0, "epsilon": _split_epsilon, "v": _split_v}
"""How each prediction type becomes (x0, epsilon)."""

_TARGET = {
    "x0": lambda schedule, x0, timesteps, epsilon: x0,
    "epsilon": lambda schedule, x0, timesteps, epsilon: epsilon,
    "v": velocity,
}
"""What a network of each prediction type is trained to return."""


def _choose(table: dict, prediction_type: str) -> Callable:
    if prediction_type not in table:
        raise ValueError(f"prediction_type {prediction_type!r} is none of {sorted(table)}")
    return table[prediction_type]


def prediction_target(
    schedule: NoiseSchedule,
    x0: Tree,
    timesteps: Array,
    epsilon: Tree,
    *,
    prediction_type: PredictionType,
) -> Tree:
    """What the network should return for `q_sample(schedule, x0, timesteps, epsilon)`.

    The paper predicts x0 in both stages (equation 6); the release's MToV predicts epsilon.
    """
    return _choose(_TARGET, prediction_type)(schedule, x0, timesteps, epsilon)


def make_predictor(
    denoise: Denoise,
    schedule: NoiseSchedule,
    *,
    prediction_type: PredictionType,
    clip_x0: bool = True,
    rederive_epsilon: bool = True,
) -> Predict:
    """Wraps a network so that samplers need not know what it predicts.

    Args:
      denoise: `denoise(x_t, timesteps)` with its conditions already bound.
      schedule: the noise schedule that the network was trained with.
      prediction_type: what `denoise` returns: "x0", "epsilon" or "v".
      clip_x0: clip x0 to [-1, 1].
      rederive_epsilon: compute epsilon again from the clipped x0, so that the pair stays
        consistent with x_t. The release does so for AToM and not for MToV.

    Returns:
      `predict(x_t, timesteps (B,)) -> (x0, epsilon)`.
    """
    split = _choose(_SPLIT, prediction_type)

    def predict(x_t: Tree, timesteps: Array) -> tuple[Tree, Tree]:
        x0, epsilon = split(schedule, x_t, timesteps, denoise(x_t, timesteps))
        if clip_x0:
            x0 = jax.tree.map(lambda leaf: jnp.clip(leaf, -1, 1), x0)
            if rederive_epsilon:
                epsilon = epsilon_from_x0(schedule, x_t, timesteps, x0)
        return x0, epsilon

    return predict


def normal_like(key: Array, tree: Tree) -> Tree:
    """Standard normal noise in the shapes and dtypes of `tree`; one key per leaf."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noises = [
        jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, noises)
