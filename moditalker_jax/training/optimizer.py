"""The optimizers of the paper, built from their settings."""

from typing import Any

import jax
import optax

from moditalker_jax.config import OptimizerConfig
from moditalker_jax.errors import InputError
from moditalker_jax.training.adan import adan


def learning_rate_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant or cosine decay until `num_steps`."""
    peak = config.learning_rate
    if config.decay == "cosine":
        after = optax.cosine_decay_schedule(
            peak, max(1, num_steps - config.warmup_steps), alpha=config.final_fraction
        )
    else:
        after = optax.constant_schedule(peak)
    if not config.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, peak, config.warmup_steps)
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(
    config: OptimizerConfig, num_steps: int, *, trainable: Any
) -> optax.GradientTransformation:
    """The optimizer over the trainable parameters; the others get no update and no moments.

    Args:
      config: its settings.
      num_steps: length of the run, for the cosine decay.
      trainable: pytree of bool shaped like the parameters.
    """
    expected = {"adan": 3, "adamw": 2}[config.name]
    if len(config.betas) != expected:
        raise InputError(
            f"optimizer.betas: {config.name} takes {expected} values, got {len(config.betas)}"
        )
    schedule = learning_rate_schedule(config, num_steps)
    if config.name == "adan":
        b1, b2, b3 = config.betas
        update = adan(
            schedule, b1=b1, b2=b2, b3=b3, eps=config.epsilon, weight_decay=config.weight_decay
        )
    else:
        b1, b2 = config.betas
        update = optax.adamw(
            schedule, b1=b1, b2=b2, eps=config.epsilon, weight_decay=config.weight_decay
        )
    if config.clip_norm is not None:
        update = optax.chain(optax.clip_by_global_norm(config.clip_norm), update)
    labels = jax.tree.map(lambda train: "train" if train else "freeze", trainable)
    return optax.multi_transform({"train": update, "freeze": optax.set_to_zero()}, labels)
