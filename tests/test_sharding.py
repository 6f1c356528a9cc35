"""The mesh: eight devices compute what one does, with the collectives that it takes."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moditalker_jax.config import STAGES, MeshConfig
from moditalker_jax.errors import InputError
from moditalker_jax.training.sharding import local_batch_size, make_mesh, state_shardings


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What `tests.eight_devices` found."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.eight_devices"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mesh", ["data", "fsdp", "both"])
@pytest.mark.parametrize("stage", STAGES)
def test_five_steps_on_eight_devices_are_those_on_one(results, stage, mesh):
    one, eight = results[stage]["one"], results[stage][mesh]
    np.testing.assert_allclose(eight["losses"], one["losses"], rtol=1e-5)
    assert len(set(one["losses"])) == 5
    assert eight["difference"] < 1e-5


@pytest.mark.parametrize("stage", STAGES)
def test_the_step_holds_the_collectives_that_it_takes_and_no_others(results, stage):
    """Gradients are summed, split parameters gathered; no batch and no activation travels."""
    collectives = {name: set(result["collectives"]) for name, result in results[stage].items()}
    assert collectives["one"] == set()
    assert collectives["data"] == {"all-reduce"}
    for mesh in ("fsdp", "both"):
        assert collectives[mesh] == {"all-reduce", "all-gather"}
    assert collectives.get("accumulated", collectives["both"]) == collectives["both"]


def test_accumulated_gradients_learn_the_same_within_their_noise(results):
    """Parts of a batch draw their own noise, so that losses are near and not equal."""
    one, parts = (results["mtov"][name]["losses"] for name in ("one", "accumulated"))
    np.testing.assert_allclose(parts, one, rtol=0.05)


def test_the_longest_divisible_axis_of_large_arrays_is_split():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])

    class Four:
        shape = {"data": 1, "fsdp": 4}

    shapes = {"kernel": (3, 3, 8, 64), "odd": (7, 9), "small": (8,), "tall": (64, 8)}
    arrays = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    unsplit = state_shardings(mesh, arrays, min_sharded_size=16)
    assert all(sharding.is_fully_replicated for sharding in unsplit.values())
    split = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "moditalker_jax.training.sharding.NamedSharding", lambda mesh, spec: tuple(spec)
        )
        split = state_shardings(Four(), arrays, min_sharded_size=16)
    assert split == {
        "kernel": (None, None, None, "fsdp"),
        "odd": (),
        "small": (),
        "tall": ("fsdp",),
    }


def test_axes_that_are_not_all_devices_are_told():
    one = jax.devices()[:1]
    for config in (MeshConfig(fsdp=2), MeshConfig(data=3), MeshConfig(fsdp=0)):
        with pytest.raises(InputError, match="is not the number of devices, 1"):
            make_mesh(config, one)


def test_one_process_reads_the_whole_batch():
    mesh = make_mesh(MeshConfig())
    assert local_batch_size(4 * jax.device_count(), mesh) == 4 * jax.device_count()


def test_batch_that_does_not_divide_is_told():
    class TwoDevices:
        size = 2

    with pytest.raises(InputError, match=r"batch_size=6 does not divide by 2 device\(s\) times"):
        local_batch_size(6, TwoDevices(), accumulate_steps=2)
