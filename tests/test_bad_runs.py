"""Twenty-odd mistakes in starting a run: each is told in one line, before anything is compiled."""

import dataclasses
import importlib
import shutil
from collections import namedtuple

import numpy as np
import pytest

from data_pipelines.builder import write_dataset
from data_pipelines.latents import write_latents
from data_pipelines.records import latent_metadata
from moditalker_jax.checkpoint import save_params
from moditalker_jax.config import stage_config, write_config
from moditalker_jax.errors import InputError
from moditalker_jax.training import loop
from moditalker_jax.training import run as run_module
from moditalker_jax.training.run import run
from tests.clips import make_clip, make_metadata


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    """Parameters are the first thing that a run compiles."""

    def compiled(*arguments, **options):
        raise AssertionError("the run began to compile")

    monkeypatch.setattr(loop, "make_training", compiled)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data sets: whole, without sound, without anything held out, of another encoder."""
    folder = tmp_path_factory.mktemp("data")
    train = [make_clip(f"t{i}", 24) for i in range(4)]
    validation = [make_clip(f"v{i}", 24) for i in range(2)]
    metadata = make_metadata()
    splits = {"train": train, "validation": validation}
    write_dataset(folder / "whole", splits, metadata)
    silent = [dataclasses.replace(c, audio_features=np.zeros((0, 0), np.float32)) for c in train]
    without = metadata | {"audio_encoder": {"name": "none", "width": 0, "version": 0}}
    write_dataset(folder / "silent", {"train": silent, "validation": silent[:1]}, without)
    write_dataset(folder / "train_only", {"train": train}, metadata)
    other = metadata | {"audio_encoder": metadata["audio_encoder"] | {"name": "hubert"}}
    write_dataset(folder / "hubert", splits, other)
    plane_sizes = {"xy": (4, 4), "yt": (16, 4), "xt": (16, 4)}
    facts = latent_metadata(
        plane_sizes=plane_sizes, latent_channels=8, autoencoder="a", landmark_autoencoder="b"
    )
    window = dict.fromkeys(("video", "landmark", "pose", "reference"), np.zeros((144, 8)))
    record = {"name": "clip", "start": 0, **window}
    write_latents(folder / "latents", {"train": [record], "validation": [record]}, facts)
    return folder


def settings(stage: str = "atom", **sections) -> dict:
    values = importlib.import_module(f"configs.{stage}").get_config("tiny").to_dict()
    for section, fields in sections.items():
        values[section] = fields if fields is None else values[section] | fields
    return values


def without(section: str, field: str) -> dict:
    values = settings()
    del values[section][field]
    return values


CONFIGS = {
    "unknown field": (settings(training={"steps": 3}), "config.training: unknown field 'steps'"),
    "unknown section": (settings() | {"optimiser": {}}, "unknown field 'optimiser'"),
    "missing field": (without("optimizer", "learning_rate"), "'learning_rate' is missing"),
    "missing section": (settings(diffusion=None), "config.diffusion is missing"),
    "text for a number": (
        settings(optimizer={"learning_rate": "1e-4"}),
        "learning_rate='1e-4' is not of type float",
    ),
    "real for a whole number": (
        settings(training={"batch_size": 2.5}),
        "batch_size=2.5 is not of type int",
    ),
    "unknown choice": (settings(training={"ema": "slow"}), "ema='slow' is not one of 'none'"),
    "no steps": (settings(training={"num_steps": 0}), "num_steps=0 is too small"),
    "empty batch": (settings(training={"batch_size": 0}), "batch_size=0 is too small"),
    "negative rate": (settings(optimizer={"learning_rate": -1.0}), "learning_rate=-1.0 is too"),
    "batch in uneven parts": (
        settings(training={"accumulate_steps": 4}),
        "batch_size=2 does not divide by 1 device",
    ),
    "more devices than there are": (settings(mesh={"fsdp": 7}), "is not the number of devices, 1"),
    "betas of another optimizer": (
        settings(optimizer={"betas": (0.9, 0.99, 0.9)}),
        "adamw takes 2 values, got 3",
    ),
    "unknown part of the network": (settings(model={"depth": 3}), "AToM has no field 'depth'"),
    "sizes that don't go together": (settings(model={"num_heads": 3}), "can't have these sizes"),
    "unknown stage": (settings() | {"stage": "vton"}, "config.stage='vton' is not one of"),
}
DATA = {
    "missing shards": ("nowhere", "nowhere: does not exist; make one with"),
    "shards of another kind": ("latents", "holds talking_head_latents, not talking_heads"),
    "no sound": ("silent", "holds no audio features; train on other data"),
    "nothing held out": ("train_only", "nothing is held out for validation"),
}


@pytest.mark.parametrize("mistake", CONFIGS)
def test_mistakes_in_a_config(data, tmp_path, mistake):
    values, message = CONFIGS[mistake]
    told(message, values, tmp_path / "run", data / "whole")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("mistake", DATA)
def test_mistakes_in_the_data(data, tmp_path, mistake):
    directory, message = DATA[mistake]
    told(message, settings(), tmp_path / "run", data / directory)


def told(message: str, values: dict, workdir, directory, **options) -> None:
    with pytest.raises(InputError) as error:
        run(values, workdir, directory=str(directory), **options)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.fixture
def used(data, tmp_path):
    """A workdir in which AToM was trained."""
    config = stage_config(settings())
    (tmp_path / "used").mkdir()
    write_config(tmp_path / "used", config, make_metadata())
    save_params(tmp_path / "used", {"bias": np.zeros(3, np.float32)}, step=4)
    return tmp_path / "used"


def test_mistakes_about_what_was_trained_before(data, used, tmp_path):
    whole = data / "whole"
    told("trained with another config.stage: atom", settings("autoencoder"), used, whole)
    told("trained with another config.model", settings(model={"width": 32}), used, whole)
    told("'log_mel' (width 5, version 1), but the data's", settings(), used, data / "hubert")
    told("has no checkpoint of step 3; it has 4", settings(), used, whole, resume_at=3)
    elsewhere = tmp_path / "new"
    stages = tmp_path / "stages"
    told("is not a checkpoint directory", settings(), elsewhere, whole, start_from=stages)
    shutil.copytree(used, stages / "autoencoder")
    told(
        "holds a checkpoint of stage 'atom', not 'autoencoder'",
        settings("autoencoder"),
        elsewhere,
        whole,
        start_from=stages,
    )
    told("autoencoder is not a checkpoint directory", settings("mtov"), elsewhere, whole)


def test_a_full_disk_and_a_workdir_that_cannot_be(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    told("file: cannot be written", settings(), tmp_path / "file", data / "whole")
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(run_module.shutil, "disk_usage", lambda path: usage)
    told("no space left on the device", settings(), tmp_path / "run", data / "whole")
    assert not (tmp_path / "run" / "config.json").exists()
