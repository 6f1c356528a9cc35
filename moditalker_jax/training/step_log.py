"""What became of each step: speed, metrics, and updates that were not finite."""

import contextlib
import time
from collections.abc import Iterator

import jax
import numpy as np

from moditalker_jax.checkpoint import Checkpointer
from moditalker_jax.config import StageConfig
from moditalker_jax.errors import InputError
from moditalker_jax.training.optimizer import learning_rate_schedule
from moditalker_jax.training.reporting import Reporter, memory_in_use


class StepLog:
    """Metrics of the steps since the last look at them; until then they stay on the device.

    Attributes:
      seconds_per_step: of the newest report; NaN before it.
    """

    def __init__(self, config: StageConfig, report: Reporter, checkpointer: Checkpointer):
        self._config, self._report, self._checkpointer = config, report, checkpointer
        self._pending: list[tuple[int, dict[str, jax.Array], np.ndarray]] = []
        self._newest: dict[str, float] = {}
        self._skipped = 0
        self.seconds_per_step = float("nan")
        self._learning_rate = learning_rate_schedule(config.optimizer, config.training.num_steps)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Speed is measured from now on."""
        self._since, self._waited, self._steps = time.perf_counter(), 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Context in which the run waits for data."""
        asked = time.perf_counter()
        yield
        self._waited += time.perf_counter() - asked

    def add(self, step: int, metrics: dict[str, jax.Array], names: np.ndarray) -> None:
        """Takes note of a step and its elements' names (B,) bytes, without waiting for it."""
        self._pending.append((step, metrics, names))
        self._steps += 1

    def check(self) -> float:
        """Looks at all steps up to now; returns the last one's loss.

        Raises:
          InputError: more updates than are allowed were not finite.
        """
        for step, metrics, names in self._pending:
            self._newest = {name: float(value) for name, value in metrics.items()}
            if not self._newest.pop("finite"):
                self._skip(step, names)
        self._pending.clear()
        return self._newest["loss"]

    def _skip(self, step: int, names: np.ndarray) -> None:
        self._skipped += 1
        loss, norm = self._newest["loss"], self._newest["gradient_norm"]
        clips = ", ".join(sorted({name.decode() for name in names}))
        what = f"step {step}: loss {loss}, gradient norm {norm}; batch: {clips}"
        allowed = self._config.training.max_skipped_steps
        if self._skipped > allowed:
            good = self._checkpointer.latest_step()
            raise InputError(
                f"{what}; last good checkpoint: {'none' if good is None else good}. Look at these "
                "clips, lower optimizer.learning_rate, or let steps be left out with "
                f"training.max_skipped_steps above {allowed}"
            )
        self._report.line(f"{what}; left out ({self._skipped} of {allowed})")

    def report(self, step: int) -> None:
        """The newest step's metrics and the speed since the clock was started, to TensorBoard."""
        elapsed = time.perf_counter() - self._since
        scalars = dict(self._newest)
        scalars["learning_rate"] = float(self._learning_rate(step - 1))
        scalars["skipped_steps"] = float(self._skipped)
        scalars["memory_gib"] = memory_in_use() / 2**30
        if self._steps:
            scalars["data_wait_share"] = self._waited / elapsed
            scalars["seconds_per_step"] = self.seconds_per_step = elapsed / self._steps
            batch_size = self._config.training.batch_size
            scalars["examples_per_second"] = batch_size * self._steps / elapsed
        self._report.scalars("train", scalars, step)
        self.restart_clock()
