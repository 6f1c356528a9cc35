"""The conversion command: a file of the release's kind becomes a stage that loads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from moditalker_jax.checkpoint import load_stage
from moditalker_jax.convert.__main__ import main
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


def test_a_file_of_another_network_is_told_and_nothing_is_left(checkpoint, tmp_path, capsys):
    assert main(["atom", str(checkpoint), str(tmp_path / "stage")]) == 2
    assert capsys.readouterr().err.startswith("error:")
    assert list(tmp_path.iterdir()) == []
