"""The one training loop: any stage, any number of devices and processes, resumable."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from moditalker_jax.checkpoint import Checkpointer
from moditalker_jax.config import StageConfig
from moditalker_jax.training import sharding
from moditalker_jax.training.evaluation import Evaluation, EvaluationBatches
from moditalker_jax.training.preemption import Preempted, PreemptionNotice
from moditalker_jax.training.reporting import Reporter, summary_table
from moditalker_jax.training.stages.base import NAMES, Batch, Stage
from moditalker_jax.training.state import make_training
from moditalker_jax.training.step_log import StepLog

TrainBatches = Callable[[int], Iterator[Batch]]

PROFILED_STEPS = (5, 10)
"""After the start: the first steps still warm up."""


def train(
    stage: Stage,
    config: StageConfig,
    workdir: Path,
    *,
    train_batches: TrainBatches,
    evaluation_batches: EvaluationBatches,
    start_params: Any = None,
    profile: bool = False,
) -> dict[str, float]:
    """Trains until `config.training.num_steps`, from the newest checkpoint if there is one.

    Args:
      stage: what is trained.
      config: its settings.
      workdir: checkpoints go to `checkpoints/`, scalars and pictures to `tensorboard/`.
      train_batches: given the step to start at, endless batches of this process's numpy arrays.
      evaluation_batches: one pass over held-out batches.
      start_params: trained parameters to start from in place of fresh ones.
      profile: write a trace of some steps to `profile/`.

    Returns:
      The last evaluation's metrics, and the newest "seconds_per_step".

    Raises:
      InputError: the checkpoint is damaged, the batch does not divide by the devices, or too many
        updates were not finite.
      Preempted: SIGTERM came; the state is saved.
    """
    settings = config.training
    mesh = sharding.make_mesh(config.mesh)
    everywhere = sharding.replicated(mesh)
    init_key, step_key, evaluation_key = jax.random.split(jax.random.key(settings.seed), 3)

    state, ema_params, train_step = make_training(stage, config, mesh, init_key, start_params)
    constants = jax.device_put(stage.constants, everywhere)
    checkpointer = Checkpointer(workdir, keep=settings.keep_checkpoints)
    if (latest := checkpointer.latest_step()) is not None:
        state, ema_params = checkpointer.restore(latest, state, ema_params)
    start = int(state.step)

    report = Reporter(config.stage, workdir)
    report.line(f"{mesh.size} device(s), step {start} of {settings.num_steps}")
    evaluation = Evaluation(
        stage, settings, constants, evaluation_batches, evaluation_key, mesh, report
    )
    steps = StepLog(config, report, checkpointer)
    metrics: dict[str, float] = {}
    compiled = None
    batches = train_batches(start)
    progress = tqdm(
        range(start, settings.num_steps),
        desc=config.stage,
        initial=start,
        total=settings.num_steps,
        disable=jax.process_index() != 0,
        mininterval=1.0,
    )
    # However the run ends, what is being written gets finished.
    with contextlib.closing(checkpointer), contextlib.closing(report), PreemptionNotice() as notice:
        for step in progress:
            with steps.waiting():
                batch = dict(next(batches))
                names = batch.pop(NAMES)
                batch = sharding.shard_batch(batch, mesh)
            if compiled is None:
                lowered = train_step.lower(state, ema_params, constants, batch, step_key)
                compiled = lowered.compile()
                report.line(summary_table(state.params, compiled))
                steps.restart_clock()
            if profile and step - start == PROFILED_STEPS[0]:
                jax.profiler.start_trace(str(workdir / "profile"))
            state, ema_params, step_metrics = compiled(
                state, ema_params, constants, batch, step_key
            )
            if profile and step - start == PROFILED_STEPS[1]:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()
            done = step + 1
            steps.add(done, step_metrics, names)
            last, preempted = done == settings.num_steps, notice.reached(done)
            evaluates = (done % settings.evaluate_every == 0 or last) and not preempted
            saves = done % settings.checkpoint_every == 0 or last or preempted
            if done % settings.log_every == 0 or evaluates or saves:
                progress.set_postfix(loss=f"{steps.check():.4f}", refresh=False)
            if done % settings.log_every == 0 or last:
                steps.report(done)
            if evaluates:
                metrics = evaluation(ema_params, done)
            if saves:
                # Events first: what is resumed later must not lack the history before it.
                report.flush()
                held_out = metrics["loss"] if evaluates else None
                checkpointer.save(done, state, ema_params, held_out_loss=held_out)
            if evaluates or saves:
                steps.restart_clock()
            if preempted and not last:
                raise Preempted(f"{workdir}: SIGTERM; saved at step {done}")
    return metrics | {"seconds_per_step": steps.seconds_per_step}
