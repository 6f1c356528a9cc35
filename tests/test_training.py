"""The four stages at tiny size: they train, resume, freeze what they should and cache latents."""

import importlib
import shutil

import jax
import numpy as np
import pytest

from data_pipelines.builder import write_dataset
from moditalker_jax.checkpoint import load_stage
from moditalker_jax.config import STAGES
from moditalker_jax.errors import InputError
from moditalker_jax.export import export
from moditalker_jax.training.run import run
from tests.clips import make_clip, make_metadata


def settings(stage: str, **training) -> dict:
    values = importlib.import_module(f"configs.{stage}").get_config("tiny").to_dict()
    values["training"].update(training)
    return values


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "clips"
    splits = {
        "train": [make_clip(f"t{i}", 24, value=30 * i) for i in range(4)],
        "validation": [make_clip(f"v{i}", 24, value=30 * i + 10) for i in range(2)],
    }
    write_dataset(directory, splits, make_metadata())
    return directory


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A directory with all four stages, trained by the one-command config."""
    workdir = tmp_path_factory.mktemp("run")
    values = importlib.import_module("configs.all").get_config("tiny").to_dict()
    run(values, workdir, directory=str(data))
    return workdir


def changed(before, after) -> dict[str, bool]:
    """For each parameter whether it moved, by its path."""
    flat = jax.tree_util.tree_flatten_with_path(
        jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    )[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): moved for path, moved in flat}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_leaves_a_loadable_checkpoint(trained, stage):
    loaded = load_stage(trained / stage, stage=stage)
    assert loaded.data["audio_encoder"]["width"] == 5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loaded.params))
    assert list((trained / stage / "tensorboard").iterdir())


def test_landmark_autoencoder_keeps_the_decoder_and_trains_the_encoder(trained):
    rgb = load_stage(trained / "autoencoder", stage="autoencoder").params
    landmark = load_stage(trained / "landmark_autoencoder", stage="landmark_autoencoder").params
    moved = changed(rgb, landmark)
    assert not any(m for path, m in moved.items() if path.startswith("decoder/"))
    encoder = [m for path, m in moved.items() if path.startswith("encoder/")]
    assert np.mean(encoder) > 0.9


def test_mtov_trained_on_latents_that_were_written_once(trained, data):
    assert (trained / "latents").is_dir()
    stamp = (trained / "latents").stat().st_mtime_ns
    run(settings("mtov", num_steps=5), trained / "mtov", directory=str(data))
    assert (trained / "latents").stat().st_mtime_ns == stamp
    step = max(int(p.name) for p in (trained / "mtov" / "checkpoints").iterdir())
    assert step == 5


def test_mtov_trains_on_raw_clips_too(trained, data):
    values = settings("mtov", num_steps=2, evaluate_every=2)
    values["data"]["source"] = "clips"
    run(values, trained / "mtov_clips", directory=str(data))
    load_stage(trained / "mtov_clips", stage="mtov")


def test_a_run_that_was_stopped_ends_as_one_that_was_not(data, tmp_path, capsys):
    values = settings("atom", num_steps=4, checkpoint_every=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(values, whole, directory=str(data))
    shutil.copytree(whole, stopped)
    shutil.rmtree(stopped / "checkpoints" / "4")
    run(values, stopped, directory=str(data))
    assert "step 2 of 4" in capsys.readouterr().out
    ends = [load_stage(workdir, stage="atom").params for workdir in (whole, stopped)]
    assert not any(changed(*ends).values())


def test_other_model_settings_in_a_used_workdir_are_told(trained, data):
    values = settings("atom")
    values["model"]["width"] = 32
    with pytest.raises(InputError, match="trained with another config.model"):
        run(values, trained / "atom", directory=str(data))


def test_missing_autoencoder_is_told(data, tmp_path):
    with pytest.raises(InputError, match="autoencoder is not a checkpoint directory"):
        run(settings("mtov"), tmp_path / "mtov", directory=str(data))


def test_missing_data_is_told(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run(settings("atom"), tmp_path / "atom", directory="nowhere")


def test_export_keeps_the_averaged_parameters_and_nothing_else(trained, tmp_path):
    export(trained, tmp_path / "exported")
    for stage in STAGES:
        ours = load_stage(tmp_path / "exported" / stage, stage=stage)
        assert not any(
            changed(load_stage(trained / stage, stage=stage).params, ours.params).values()
        )
        assert {p.name for p in (tmp_path / "exported" / stage).iterdir()} == {
            "config.json",
            "checkpoints",
        }
    with pytest.raises(InputError, match="exists already"):
        export(trained, tmp_path / "exported")
