"""The one place that knows devices: a mesh with a data axis, from one CPU to many hosts."""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from moditalker_jax.errors import InputError


def make_mesh() -> Mesh:
    """All devices of all processes along the axis "data"."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array: parameters and optimizer state."""
    return NamedSharding(mesh, PartitionSpec())


def over_data(mesh: Mesh) -> NamedSharding:
    """The leading (batch) axis is split over the mesh."""
    return NamedSharding(mesh, PartitionSpec("data"))


def local_batch_size(global_batch_size: int, mesh: Mesh) -> int:
    """This process's share of the global batch.

    Raises:
      InputError: the batch does not divide by the number of devices.
    """
    if global_batch_size % mesh.size:
        raise InputError(
            f"training.batch_size={global_batch_size} does not divide by {mesh.size} devices; "
            f"choose a multiple of {mesh.size}"
        )
    return global_batch_size // jax.process_count()


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """This process's numpy arrays as its part of globally sharded arrays."""
    sharding = over_data(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
