"""Two processes, two devices each, train as one does, and read each other's checkpoints."""

import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.builder import write_dataset
from moditalker_jax.training.endure import losses
from tests.clips import make_clip, make_metadata


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "clips"
    splits = {
        "train": [make_clip(f"t{i}", 20 + i) for i in range(8)],
        "validation": [make_clip(f"v{i}", 20) for i in range(4)],
    }
    write_dataset(directory, splits, make_metadata())
    return directory


def run(data, workdir, steps, *, processes):
    """Trains `workdir` up to `steps` in one or two processes; returns the loss of each step."""
    program = [sys.executable, "-m", "tests.two_processes", str(data), str(workdir), str(steps)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    more = [[]]
    if processes == 2:
        environment["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        more = [[port, "0"], [port, "1"]]
    running = [
        subprocess.Popen(
            [*program, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments in more
    ]
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    history = losses(workdir)
    return np.array([history[step] for step in range(1, steps + 1)])


def test_two_processes_train_as_one_and_exchange_checkpoints(data, tmp_path):
    one = run(data, tmp_path / "one", 4, processes=1)
    two = run(data, tmp_path / "two", 4, processes=2)
    np.testing.assert_allclose(two, one, rtol=1e-5)
    # Each goes on from the other's checkpoint, on another mesh.
    shutil.copytree(tmp_path / "one", tmp_path / "one_then_two")
    shutil.copytree(tmp_path / "two", tmp_path / "two_then_one")
    on_two = run(data, tmp_path / "one_then_two", 6, processes=2)
    on_one = run(data, tmp_path / "two_then_one", 6, processes=1)
    np.testing.assert_allclose(on_two, on_one, rtol=1e-5)
    assert len(set(np.round(on_one, 6))) == 6
