"""SIGTERM, with which clusters take machines back: training saves and ends at the next step."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

EXIT_STATUS = 75
"""Of a command that saved and ended because of SIGTERM (sysexits' EX_TEMPFAIL: call it again)."""


class Preempted(Exception):
    """The run was asked to end and has saved its state."""


class PreemptionNotice:
    """Within its context SIGTERM is noted instead of ending the process.

    With several processes JAX's distributed runtime notes it, and all of them learn of it at the
    same step.
    """

    def __enter__(self) -> "PreemptionNotice":
        self._noted = False
        self._previous = None
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._noted = True

    def reached(self, step: int) -> bool:
        """Whether the run is to end after this step; to be asked at every step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._noted
