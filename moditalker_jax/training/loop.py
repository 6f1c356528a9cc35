"""The one training loop: any stage, any number of devices, resumable."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from moditalker_jax.checkpoint import Checkpointer
from moditalker_jax.config import StageConfig
from moditalker_jax.models.build import count_params
from moditalker_jax.training import sharding
from moditalker_jax.training.optimizer import learning_rate_schedule, make_optimizer
from moditalker_jax.training.stages.base import Batch, Stage
from moditalker_jax.training.state import TrainState, make_train_step, trainable_mask

TrainBatches = Callable[[int], Iterator[Batch]]
EvaluationBatches = Callable[[], Iterator[Batch]]


def train(
    stage: Stage,
    config: StageConfig,
    workdir: Path,
    *,
    train_batches: TrainBatches,
    evaluation_batches: EvaluationBatches,
    start_params: Any = None,
) -> dict[str, float]:
    """Trains until `config.training.num_steps`, from the newest checkpoint if there is one.

    Args:
      stage: what is trained.
      config: its settings.
      workdir: checkpoints go to `checkpoints/`, scalars and pictures to `tensorboard/`.
      train_batches: given the step to start at, endless batches of this process's numpy arrays.
      evaluation_batches: one pass over held-out batches.
      start_params: trained parameters to start from in place of fresh ones.

    Returns:
      The last evaluation's metrics.
    """
    settings = config.training
    mesh = sharding.make_mesh()
    everywhere = sharding.replicated(mesh)
    key = jax.random.key(settings.seed)
    init_key, step_key, evaluation_key = jax.random.split(key, 3)

    params = stage.init_params(init_key)
    trainable = trainable_mask(params, config.frozen)
    if start_params is not None:
        # What is frozen belongs to the stage that this one rests on, not to the start.
        params = jax.tree.map(
            lambda train, own, start: start if train else own, trainable, params, start_params
        )
    params = jax.device_put(params, everywhere)
    optimizer = make_optimizer(config.optimizer, settings.num_steps, trainable=trainable)
    state = TrainState(jnp.zeros((), jnp.int32), params, jax.jit(optimizer.init)(params))
    state = jax.device_put(state, everywhere)
    # A copy, since the step gives away the buffers of both.
    ema_params = jax.tree.map(jnp.copy, params)
    constants = jax.device_put(stage.constants, everywhere)

    checkpointer = Checkpointer(workdir, keep=settings.keep_checkpoints)
    if (latest := checkpointer.latest_step()) is not None:
        state, ema_params = checkpointer.restore(latest, state, ema_params)
    start = int(state.step)

    train_step = jax.jit(
        make_train_step(stage, optimizer, settings, trainable), donate_argnums=(0, 1)
    )
    evaluate = jax.jit(
        lambda p, c, b, k: stage.loss(p, c, b, k, jnp.asarray(settings.num_steps), train=False)[1]
    )
    learning_rate = learning_rate_schedule(config.optimizer, settings.num_steps)
    main_process = jax.process_index() == 0
    writer = SummaryWriter(str(workdir / "tensorboard")) if main_process else None
    report = _Reporter(config.stage, writer)
    report.line(
        f"{count_params(params):,} parameters, {mesh.size} device(s), step {start} of "
        f"{settings.num_steps}"
    )

    batches = train_batches(start)
    metrics: dict[str, float] = {}
    since, waited, steps = time.perf_counter(), 0.0, 0
    progress = tqdm(
        range(start, settings.num_steps),
        desc=config.stage,
        initial=start,
        total=settings.num_steps,
        disable=not main_process,
        mininterval=1.0,
    )
    for step in progress:
        asked = time.perf_counter()
        batch = sharding.shard_batch(next(batches), mesh)
        waited += time.perf_counter() - asked
        state, ema_params, step_metrics = train_step(state, ema_params, constants, batch, step_key)
        done, steps = step + 1, steps + 1
        last = done == settings.num_steps
        if done % settings.log_every == 0 or last:
            scalars = {name: float(value) for name, value in step_metrics.items()}
            elapsed = time.perf_counter() - since
            scalars["learning_rate"] = float(learning_rate(step))
            scalars["data_wait_share"] = waited / elapsed
            scalars["seconds_per_step"] = elapsed / steps
            report.scalars("train", scalars, done)
            progress.set_postfix(loss=f"{scalars['loss']:.4f}", refresh=False)
            since, waited, steps = time.perf_counter(), 0.0, 0
        if done % settings.evaluate_every == 0 or last:
            metrics = _evaluate(
                stage,
                evaluate,
                ema_params,
                constants,
                evaluation_batches(),
                evaluation_key,
                mesh,
                report,
                done,
                settings.evaluation_batches,
            )
            since, waited, steps = time.perf_counter(), 0.0, 0
        if done % settings.checkpoint_every == 0 or last:
            checkpointer.save(done, state, ema_params)
    checkpointer.close()
    if writer is not None:
        writer.close()
    return metrics


class _Reporter:
    """Scalars and pictures to TensorBoard, and a text line now and then."""

    def __init__(self, stage: str, writer: SummaryWriter | None):
        self._stage, self._writer = stage, writer

    def line(self, text: str) -> None:
        if self._writer is not None:
            tqdm.write(f"{self._stage}: {text}")

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, pictures: dict[str, np.ndarray], step: int) -> None:
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(name, picture, step, dataformats="HWC")


def _evaluate(
    stage: Stage,
    evaluate: Callable[..., dict[str, jax.Array]],
    params: Any,
    constants: Any,
    batches: Iterator[Batch],
    key: jax.Array,
    mesh: jax.sharding.Mesh,
    report: _Reporter,
    step: int,
    num_batches: int,
) -> dict[str, float]:
    """Means of the metrics over held-out batches, with the same noise at every evaluation."""
    sums: dict[str, float] = {}
    count = 0
    shown = None
    for index, batch in enumerate(batches):
        if index == num_batches:
            break
        shown = batch if shown is None else shown
        sharded = sharding.shard_batch(batch, mesh)
        for name, value in evaluate(
            params, constants, sharded, jax.random.fold_in(key, index)
        ).items():
            sums[name] = sums.get(name, 0.0) + float(value)
        count += 1
    means = {name: value / count for name, value in sums.items()}
    report.scalars("evaluation", means, step)
    report.line(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in means.items()))
    if jax.process_count() == 1 and shown is not None:
        report.pictures(stage.pictures(params, constants, shown, key), step)
    return means
