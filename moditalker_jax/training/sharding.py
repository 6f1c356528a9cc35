"""The one place that knows devices: a mesh with two axes, from one CPU to many hosts.

The batch is split over both axes. Parameters, their average and the optimizer's state are split
over "fsdp" by a rule on shapes; with one device along it they are whole on every device.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from moditalker_jax.config import MeshConfig
from moditalker_jax.errors import InputError

AXES = ("data", "fsdp")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices of all processes, or of those given.

    Raises:
      InputError: the axes ask for other than all devices.
    """
    devices = jax.devices() if devices is None else devices
    count, fsdp = len(devices), config.fsdp
    data = count // fsdp if config.data == -1 and fsdp > 0 else config.data
    if data < 1 or fsdp < 1 or data * fsdp != count:
        raise InputError(
            f"config.mesh: data={config.data} times fsdp={fsdp} is not the number of devices, "
            f"{count}; choose axes whose product is {count} (data=-1 takes what fsdp leaves)"
        )
    return jax.make_mesh((data, fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading (batch) axis is split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def state_shardings(mesh: Mesh, arrays: Any, *, min_sharded_size: int) -> Any:
    """For each (abstract) array how it lies: split along its longest axis that divides by fsdp."""
    fsdp = mesh.shape["fsdp"]

    def sharding(array: Any) -> NamedSharding:
        divisible = [axis for axis, side in enumerate(array.shape) if side and side % fsdp == 0]
        if fsdp == 1 or not divisible or math.prod(array.shape) < min_sharded_size:
            return replicated(mesh)
        longest = max(divisible, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))

    return jax.tree.map(sharding, arrays)


def local_batch_size(global_batch_size: int, mesh: Mesh, *, accumulate_steps: int = 1) -> int:
    """This process's share of the global batch.

    Raises:
      InputError: the batch does not divide by the devices and the parts it is computed in.
    """
    parts = mesh.size * accumulate_steps
    if accumulate_steps < 1 or global_batch_size < 1 or global_batch_size % parts:
        raise InputError(
            f"training.batch_size={global_batch_size} does not divide by {mesh.size} device(s) "
            f"times training.accumulate_steps={accumulate_steps}; choose a multiple of "
            f"{max(parts, 1)}"
        )
    return global_batch_size // jax.process_count()


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """This process's numpy arrays as its part of globally sharded arrays."""
    sharding = over_batch(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
