"""Every config builds its network; mistakes in one fail by name."""

import importlib

import jax
import pytest

from moditalker_jax.config import STAGES, read_config, stage_config, write_config
from moditalker_jax.errors import InputError
from moditalker_jax.models.build import abstract_params, build_model, count_params

FULL_SIZE = {
    "atom": 48_491_724,
    "autoencoder": 62_064_399,
    "landmark_autoencoder": 62_064_399,
    "mtov": 132_172_804,
}


def load(stage: str, variant: str) -> dict:
    return importlib.import_module(f"configs.{stage}").get_config(variant).to_dict()


@pytest.mark.parametrize("variant", ["paper", "demo", "finetune", "tiny"])
@pytest.mark.parametrize("stage", STAGES)
def test_config_builds_its_network(stage, variant):
    config = stage_config(load(stage, variant))
    assert config.stage == stage
    shapes = abstract_params(build_model(stage, config.model), audio_width=1024)
    if variant == "paper":
        assert count_params(shapes) == FULL_SIZE[stage]
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(shapes))


def test_all_config_has_every_stage():
    stages = importlib.import_module("configs.all").get_config("tiny").to_dict()["stages"]
    assert set(stages) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_flags_can_override_what_a_config_leaves_at_its_default(stage):
    written = importlib.import_module(f"configs.{stage}").tiny()
    filled = load(stage, "tiny")
    assert stage_config(filled) == stage_config(written)
    assert "max_frame_stride" in filled["data"] and "ema_every" in filled["training"]
    assert ("diffusion" in filled) == ("diffusion" in written)


def test_unknown_variant_is_named():
    with pytest.raises(ValueError, match="paper, demo, small_data, strangers, finetune, tiny"):
        load("atom", "huge")


def test_unknown_field_is_named():
    values = load("atom", "tiny")
    values["training"]["bacth_size"] = 3
    with pytest.raises(InputError, match=r"config.training: unknown field 'bacth_size'"):
        stage_config(values)


def test_missing_field_is_named():
    values = load("atom", "tiny")
    del values["optimizer"]["learning_rate"]
    with pytest.raises(InputError, match="'learning_rate' is missing"):
        stage_config(values)


def test_unknown_model_field_is_named():
    with pytest.raises(InputError, match="AToM has no field 'widht'"):
        build_model("atom", {"widht": 3})


def test_config_is_read_back_as_written(tmp_path):
    config = stage_config(load("mtov", "demo"))
    write_config(tmp_path, config, {"audio_encoder": {"width": 80}})
    assert read_config(tmp_path) == (config, {"audio_encoder": {"width": 80}})


def test_directory_without_checkpoint_is_told(tmp_path):
    with pytest.raises(InputError, match="is not a checkpoint directory"):
        read_config(tmp_path)
