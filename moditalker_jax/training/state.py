"""The training state and the one training step that all stages share."""

from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from moditalker_jax.config import TrainingConfig
from moditalker_jax.training.ema import constant_decay, update_ema, warmup_decay
from moditalker_jax.training.stages.base import Stage


@flax.struct.dataclass
class TrainState:
    """What a checkpoint holds, averaged parameters apart.

    Attributes:
      step: number of updates made.
    """

    step: jax.Array
    params: Any
    opt_state: optax.OptState


def trainable_mask(params: Any, frozen: tuple[str, ...]) -> Any:
    """True for every parameter not under one of the "/"-separated `frozen` prefixes."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    mask = {
        path: not any(path == prefix or path.startswith(prefix + "/") for prefix in frozen)
        for path in flat
    }
    return flax.traverse_util.unflatten_dict(mask, sep="/")


def _ema_decay(config: TrainingConfig, num_updates: jax.Array) -> jax.Array:
    match config.ema:
        case "constant":
            return constant_decay(config.ema_decay)(num_updates)
        case "warmup":
            return warmup_decay(config.ema_decay)(num_updates)
        case "none":
            return jnp.zeros(())


def make_train_step(
    stage: Stage, optimizer: optax.GradientTransformation, config: TrainingConfig, trainable: Any
):
    """The pure step `(state, ema_params, constants, batch, key) -> (state, ema_params, metrics)`.

    `key` is the run's key: the step folds its own number in. Gradients of frozen parameters are
    cut off before differentiation, so that XLA computes none of them.
    """

    def step_fn(state: TrainState, ema_params: Any, constants: Any, batch: Any, key: jax.Array):
        step_key = jax.random.fold_in(key, state.step)

        def loss_fn(params):
            params = jax.tree.map(
                lambda p, train: p if train else jax.lax.stop_gradient(p), params, trainable
            )
            return stage.loss(params, constants, batch, step_key, state.step, train=True)

        (_, metrics), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        decay = _ema_decay(config, step // config.ema_every)
        decay = jnp.where(step % config.ema_every == 0, decay, 1.0)
        ema_params = update_ema(ema_params, params, decay)
        metrics = {**metrics, "gradient_norm": optax.global_norm(gradients)}
        return TrainState(step, params, opt_state), ema_params, metrics

    return step_fn
