"""The conversion command: a file of the release's kind becomes a stage that loads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from moditalker_jax.checkpoint import load_stage
from moditalker_jax.convert.__main__ import main
from moditalker_jax.landmark_backends import LandmarkBackend
from tests.goldens_recipe import recipe_value

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A full-size autoencoder checkpoint as `torch.save` of a DataParallel model leaves it."""
    entries = json.loads((GOLDENS / "state_dict_autoencoder.json").read_text())["entries"]
    tensors = {
        f"module.{key}": torch.from_numpy(recipe_value(key, tuple(shape)))
        if kind["kind"] == "param"
        else torch.zeros(tuple(shape))
        for key, shape, _, kind in entries
    }
    path = tmp_path_factory.mktemp("release") / "model_last.pth"
    torch.save(tensors, path)
    return path


def test_release_file_becomes_a_stage(checkpoint, tmp_path, capsys):
    assert main(["autoencoder", str(checkpoint), str(tmp_path / "stage")]) == 0
    assert "62,064,399 parameters" in capsys.readouterr().out
    stage = load_stage(tmp_path / "stage", stage="autoencoder")
    assert stage.model.mismatched_frame_rotary
    assert stage.data["audio_encoder"]["width"] == 1024
    bias = stage.params["decoder"]["pixels_bias"]
    np.testing.assert_array_equal(bias, recipe_value("to_pixel.1.bias", (3,)))


def test_the_mean_face_travels_with_the_stage(checkpoint, tmp_path, capsys):
    mean = np.random.default_rng(0).normal(size=(68, 3)).astype(np.float32)
    np.save(tmp_path / "mean.npy", mean)
    arguments = ["autoencoder", str(checkpoint)]
    given = [*arguments, str(tmp_path / "with"), "--mean-face", str(tmp_path / "mean.npy")]
    assert main(given) == 0
    backend = LandmarkBackend.of(load_stage(tmp_path / "with", stage="autoencoder").data)
    np.testing.assert_array_equal(backend.mean_face, mean)
    assert backend.name == "deep3d-bfm/68" and backend.motion_scale == 10.0
    np.save(tmp_path / "mean.npy", mean[:3])
    given[2] = str(tmp_path / "bad")
    assert main(given) == 2
    assert "mean.npy: the mean face has shape (3, 3)" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_a_file_of_another_network_is_told_and_nothing_is_left(checkpoint, tmp_path, capsys):
    assert main(["atom", str(checkpoint), str(tmp_path / "stage")]) == 2
    assert capsys.readouterr().err.startswith("error:")
    assert list(tmp_path.iterdir()) == []
