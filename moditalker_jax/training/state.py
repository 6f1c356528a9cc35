"""The training state and the one training step that all stages share, on any mesh."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange

from moditalker_jax.config import StageConfig, TrainingConfig
from moditalker_jax.training import sharding
from moditalker_jax.training.ema import constant_decay, update_ema, warmup_decay
from moditalker_jax.training.optimizer import make_optimizer
from moditalker_jax.training.stages.base import Batch, Stage

Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """What a checkpoint holds, averaged parameters apart.

    Attributes:
      step: number of updates made, those that were left out included.
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


def _gradients(
    loss: Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]],
    params: Any,
    batch: Batch,
    key: jax.Array,
    parts: int,
) -> tuple[Any, Metrics]:
    """Gradient and metrics: means over `parts` parts of the batch, one after the other."""
    differentiate = jax.grad(loss, has_aux=True)
    if parts == 1:
        return differentiate(params, batch, key)
    # Every device computes a part of each part: neighbours in the batch go to different parts.
    split = jax.tree.map(lambda x: rearrange(x, "(b parts) ... -> parts b ...", parts=parts), batch)

    def add(total, part_and_key):
        return jax.tree.map(jnp.add, total, differentiate(params, *part_and_key)), None

    keys = jax.random.split(key, parts)
    shapes = jax.eval_shape(differentiate, params, jax.tree.map(lambda x: x[0], split), keys[0])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (split, keys))
    return jax.tree.map(lambda x: x / parts, total)


def make_train_step(
    stage: Stage,
    optimizer: optax.GradientTransformation,
    config: TrainingConfig,
    trainable: Any,
    *,
    gather: Callable[[Any], Any] = lambda params: params,
):
    """The pure step `(state, ema_params, constants, batch, key) -> (state, ema_params, metrics)`.

    `key` is the run's key: the step folds its own number in. Gradients of frozen parameters are
    cut off before differentiation, so that XLA computes none of them. An update whose loss or
    gradient is not finite changes nothing but the step's number; the metric "finite" tells.

    Args:
      stage, optimizer, config: of the run.
      trainable: pytree of bool shaped like the parameters.
      gather: makes parameters that are split over devices whole before the network reads them.
    """

    def step_fn(state: TrainState, ema_params: Any, constants: Any, batch: Batch, key: jax.Array):
        def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
            params = jax.tree.map(
                lambda p, train: p if train else jax.lax.stop_gradient(p), params, trainable
            )
            return stage.loss(gather(params), constants, batch, key, state.step, train=True)

        step_key = jax.random.fold_in(key, state.step)
        gradients, metrics = _gradients(
            loss, state.params, batch, step_key, config.accumulate_steps
        )
        gradient_norm = optax.global_norm(gradients)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(gradient_norm)

        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        decay = _ema_decay(config, step // config.ema_every)
        decay = jnp.where(step % config.ema_every == 0, decay, 1.0)
        changed = (params, opt_state, update_ema(ema_params, params, decay))
        kept = (state.params, state.opt_state, ema_params)
        params, opt_state, ema_params = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), changed, kept
        )
        metrics = {**metrics, "gradient_norm": gradient_norm, "finite": finite}
        return TrainState(step, params, opt_state), ema_params, metrics

    return step_fn


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """How a stage is trained on a mesh, before there is any array.

    Attributes:
      shapes: of the state and the averaged parameters, with their shardings.
      start: from parameters to the state and the averaged parameters, on the mesh.
      step: the jitted step of `make_train_step`.
    """

    shapes: tuple[TrainState, Any]
    start: Callable[[Any], tuple[TrainState, Any]]
    step: jax.stages.Wrapped


def plan_training(
    stage: Stage, config: StageConfig, mesh: jax.sharding.Mesh, params: Any
) -> TrainingPlan:
    """The plan for (abstract) parameters."""
    trainable = trainable_mask(params, config.frozen)
    optimizer = make_optimizer(config.optimizer, config.training.num_steps, trainable=trainable)

    def start(params: Any) -> tuple[TrainState, Any]:
        state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
        # A copy, since the step gives away the buffers of both.
        return state, jax.tree.map(jnp.copy, params)

    shapes = jax.eval_shape(start, params)
    shardings = sharding.state_shardings(
        mesh, shapes, min_sharded_size=config.mesh.min_sharded_size
    )
    everywhere = sharding.replicated(mesh)
    gather = functools.partial(jax.lax.with_sharding_constraint, shardings=everywhere)
    step = make_train_step(
        stage,
        optimizer,
        config.training,
        trainable,
        gather=gather if mesh.shape["fsdp"] > 1 else lambda params: params,
    )
    return TrainingPlan(
        shapes=jax.tree.map(
            lambda shape, where: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where),
            shapes,
            shardings,
        ),
        start=jax.jit(start, out_shardings=shardings),
        step=jax.jit(step, donate_argnums=(0, 1), out_shardings=(*shardings, everywhere)),
    )


def make_training(
    stage: Stage,
    config: StageConfig,
    mesh: jax.sharding.Mesh,
    key: jax.Array,
    start_params: Any = None,
) -> tuple[TrainState, Any, jax.stages.Wrapped]:
    """What a run starts with: the state and averaged parameters on the mesh, and the jitted step.

    Args:
      stage, config: what is trained, and how.
      mesh: from `sharding.make_mesh`.
      key: of fresh parameters.
      start_params: trained parameters to start from in place of fresh ones.
    """
    params = stage.init_params(key)
    if start_params is not None:
        # What is frozen belongs to the stage that this one rests on, not to the start.
        params = jax.tree.map(
            lambda train, own, start: start if train else own,
            trainable_mask(params, config.frozen),
            params,
            start_params,
        )
    plan = plan_training(stage, config, mesh, params)
    # From the host every process puts its part on its devices.
    return *plan.start(jax.tree.map(np.asarray, params)), plan.step
