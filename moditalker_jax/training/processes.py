"""Several processes that train together, each with devices of its own."""

import jax
from jax.experimental import multihost_utils

from moditalker_jax.errors import InputError


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Joins the other processes; to be called before anything else touches a device.

    Args:
      coordinator: "HOST:PORT" of the first process.
      count, index: of the processes, and of this one. All three are None where the cluster (SLURM,
        MPI, a TPU pod) tells them.

    Raises:
      InputError: the cluster tells nothing, or the others cannot be reached.
    """
    try:
        jax.distributed.initialize(coordinator, count, index)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--distributed: the processes did not come together ({reason}); give --coordinator, "
            "--process_count and --process_index"
        ) from error


def is_first() -> bool:
    """Whether this is the process that writes what only one may write."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come to the same place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)
