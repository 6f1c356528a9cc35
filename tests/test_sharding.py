"""The mesh: eight virtual devices compute what one does, and bad batch sizes are told."""

import os
import subprocess
import sys

import jax
import pytest

from moditalker_jax.errors import InputError
from moditalker_jax.training.sharding import local_batch_size, make_mesh

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from moditalker_jax.training.sharding import make_mesh, replicated, shard_batch

mesh = make_mesh()
assert mesh.size == 8
batch = shard_batch({"x": np.arange(16.0).reshape(16, 1)}, mesh)
assert len(batch["x"].sharding.device_set) == 8
assert batch["x"].addressable_shards[0].data.shape == (2, 1)
weights = jax.device_put(jnp.ones((1, 3)), replicated(mesh))
step = jax.jit(jax.grad(lambda w, b: jnp.mean(jnp.square(b["x"] @ w))))
gradient = step(weights, batch)
assert gradient.sharding.is_fully_replicated
x = np.arange(16.0)
np.testing.assert_allclose(gradient, np.full((1, 3), 2 * np.mean(x * x) / 3), rtol=1e-6)
"""


def test_eight_devices_compute_what_one_does():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_one_process_reads_the_whole_batch():
    mesh = make_mesh()
    assert local_batch_size(4 * jax.device_count(), mesh) == 4 * jax.device_count()


def test_batch_that_does_not_divide_is_told():
    class TwoDevices:
        size = 2

    with pytest.raises(InputError, match="batch_size=3 does not divide by 2"):
        local_batch_size(3, TwoDevices())
