"""Held-out losses and pictures, while training."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from moditalker_jax.config import TrainingConfig
from moditalker_jax.training import sharding
from moditalker_jax.training.reporting import Reporter
from moditalker_jax.training.stages.base import NAMES, Batch, Stage

EvaluationBatches = Callable[[], Iterator[Batch]]


@dataclasses.dataclass
class Evaluation:
    """Means of the metrics over held-out batches, with the same noise at every evaluation.

    Attributes:
      stage, settings: what is trained, and how.
      constants: of the stage, on the mesh.
      batches: one pass over held-out batches, always the same.
      key: of the noise.
      mesh, report: of the run.
    """

    stage: Stage
    settings: TrainingConfig
    constants: Any
    batches: EvaluationBatches
    key: jax.Array
    mesh: jax.sharding.Mesh
    report: Reporter

    def __post_init__(self) -> None:
        end = jnp.asarray(self.settings.num_steps)
        self._measure = jax.jit(
            lambda params, constants, batch, key: self.stage.loss(
                params, constants, batch, key, end, train=False
            )[1]
        )

    def __call__(self, params: Any, step: int) -> dict[str, float]:
        """Measures averaged parameters, and reports means and pictures."""
        measured: list[dict[str, float]] = []
        shown = None
        for index, batch in enumerate(self.batches()):
            if index == self.settings.evaluation_batches:
                break
            batch = {name: array for name, array in batch.items() if name != NAMES}
            shown = batch if shown is None else shown
            key = jax.random.fold_in(self.key, index)
            values = self._measure(
                params, self.constants, sharding.shard_batch(batch, self.mesh), key
            )
            measured.append({name: float(value) for name, value in values.items()})
        means = {name: _mean([values[name] for values in measured]) for name in measured[0]}
        self.report.scalars("evaluation", means, step)
        told = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        self.report.line(f"step {step}: {told}")
        if jax.process_count() == 1 and shown is not None and self.report.shows_pictures:
            self.report.pictures(self.stage.pictures(params, self.constants, shown, self.key), step)
        return means


def _mean(values: list[float]) -> float:
    """Of those that were measured; NaN if none was."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
